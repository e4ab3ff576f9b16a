//! The machine's files: the watched places and those beside them.

use std::ffi::CStr;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, mount};
use sensor_user::config::Watch;
use sensor_user::probe::watches::Spec;
use sensor_user::subject::adjacent;

use crate::operations::{DEPTH_2, DEPTH_9, ELSEWHERE, TINY, WATCHED};

/// An x86-64 program that ends with status 0: ELF header, one program header, `mov $60,%eax; xor %edi,%edi; syscall`.
const TINY_PROGRAM: [u8; 129] = tiny_program();

/// Brings the loopback interface up (netdevice(7)).
fn raise_loopback() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: a request is plain data, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l'.cast_signed(), b'o'.cast_signed()]);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: an open descriptor, and a request that is a local.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    ensure!(result == 0, "cannot bring lo up: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Mounts what the loader reads, and makes the watched places and those beside them. Returns what is to be watched.
pub fn prepare() -> Result<Vec<Spec>> {
    for (kind, target) in [
        (c"proc", c"/proc"),
        (c"sysfs", c"/sys"),
        (c"securityfs", c"/sys/kernel/security"),
        (c"tmpfs", c"/run"),
        (c"tmpfs", c"/mnt"),
    ] {
        let path = target.to_str()?;
        fs::create_dir_all(path).with_context(|| path.to_owned())?;
        mount(kind, target, kind, MountFlags::empty(), None).with_context(|| format!("mounting {path}"))?;
    }
    raise_loopback()?;
    // Else the work of mapping a program, in page tables, would differ from run to run.
    fs::write("/proc/sys/kernel/randomize_va_space", "0")?;
    // As Debian's base-files, adduser(8) and user@.service(5) leave them.
    for directory in ["/root", "/home/user", "/run/user/1000/systemd", "/var/lib"] {
        fs::create_dir_all(directory)?;
    }

    let mut specs = Vec::new();
    for watch in Watch::default().effective() {
        let path = watch.path.replacen('~', "/root", 1);
        let place = path.replace('*', "1000");
        let beside_units = adjacent::of(watch.class).is_some();
        let foreign = FOREIGN.iter().any(|prefix| place.starts_with(prefix));
        if foreign || beside_units && !DEBIANS.contains(&place.as_str()) {
            // Not made: it stays a name to wait for.
        } else if watch.class.is_socket() {
            // Nobody listens there.
            let directory = Path::new(&place).parent().context("a socket lies in a directory")?;
            fs::create_dir_all(directory)?;
        } else if adjacent::is_file(watch.class, &place) {
            touch(&place)?;
        } else {
            fs::create_dir_all(&place)?;
        }
        specs.push(Spec { path, class: Some(watch.class), owner: None });
    }
    for file in [WATCHED, DEPTH_2, DEPTH_9, ELSEWHERE] {
        touch(file.to_str()?)?;
    }
    write_program(TINY)?;
    Ok(specs)
}

/// Default watches of which Debian's minimal system has nothing: they are waited for.
const FOREIGN: [&str; 6] = [
    "/etc/rc.d",
    "/run/capsules",
    "/var/lib/capsules",
    "/var/lib/flatpak",
    "/var/lib/snapd",
    "/root/.local/share/flatpak",
];

/// Default watches beside units that Debian's minimal system, with a kernel, GRUB, cron and D-Bus, does have.
const DEBIANS: [&str; 38] = [
    "/etc/systemd/system.conf",
    "/etc/systemd/user.conf",
    "/usr/lib/systemd/system-preset",
    "/usr/lib/systemd/user-preset",
    "/usr/lib/systemd/system-sleep",
    "/usr/lib/systemd/system-shutdown",
    "/etc/tmpfiles.d",
    "/run/tmpfiles.d",
    "/usr/lib/tmpfiles.d",
    "/usr/share/user-tmpfiles.d",
    "/etc/environment",
    "/etc/security/pam_env.conf",
    "/usr/lib/environment.d",
    "/etc/default",
    "/etc/default/grub",
    "/boot/grub/grub.cfg",
    "/usr/share/dbus-1/system-services",
    "/usr/share/dbus-1/services",
    "/usr/share/dbus-1/system.d",
    "/usr/share/dbus-1/session.d",
    "/etc/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/etc/fstab",
    "/etc/initramfs-tools",
    "/usr/share/initramfs-tools",
    "/etc/apt/apt.conf.d",
    "/etc/dpkg/dpkg.cfg",
    "/etc/dpkg/dpkg.cfg.d",
    "/etc/kernel/install.d",
    "/etc/kernel/postinst.d",
    "/etc/grub.d",
    "/etc/crontab",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/var/spool/cron/crontabs",
    "/etc/modules",
    "/etc/modules-load.d",
    "/etc/modprobe.d",
];

fn touch(path: &str) -> Result<()> {
    if let Some(directory) = Path::new(path).parent() {
        fs::create_dir_all(directory).with_context(|| path.to_owned())?;
    }
    File::create(path).map(drop).with_context(|| path.to_owned())
}

fn write_program(path: &CStr) -> Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CREATE, mode)?;
    rustix::io::write(&file, &TINY_PROGRAM)?;
    Ok(())
}

const fn tiny_program() -> [u8; 129] {
    const BASE: u64 = 0x40_0000;
    const CODE_AT: u64 = 64 + 56;
    const CODE: [u8; 9] = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
    // 64-bit, little-endian, version 1; then: executable, x86-64, version 1 (elf(5)).
    const IDENTITY: [u8; 24] =
        [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0];
    let mut bytes = [0; 129];
    put(&mut bytes, 0, &IDENTITY);
    put(&mut bytes, 24, &(BASE + CODE_AT).to_le_bytes());
    put(&mut bytes, 32, &64_u64.to_le_bytes());
    // Sizes of the two headers, and the number of program headers.
    put(&mut bytes, 52, &[64, 0, 56, 0, 1, 0]);
    // One segment, to load, readable and executable: the whole file, to BASE.
    put(&mut bytes, 64, &[1, 0, 0, 0, 5, 0, 0, 0]);
    put(&mut bytes, 80, &BASE.to_le_bytes());
    put(&mut bytes, 88, &BASE.to_le_bytes());
    put(&mut bytes, 96, &129_u64.to_le_bytes());
    put(&mut bytes, 104, &129_u64.to_le_bytes());
    put(&mut bytes, 112, &4096_u64.to_le_bytes());
    put(&mut bytes, CODE_AT as usize, &CODE);
    bytes
}

const fn put(bytes: &mut [u8; 129], at: usize, what: &[u8]) {
    let mut index = 0;
    while index < what.len() {
        bytes[at + index] = what[index];
        index += 1;
    }
}
