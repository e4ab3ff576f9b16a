//! What an init has to do before anything else works: file systems, modules, the result port.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::mount::MountFlags;

/// The port on which results leave the machine.
const RESULT_PORT: &str = "/dev/ttyS1";

/// The result port, one line for each result.
pub struct Results {
    port: File,
    /// Results that say "not ok".
    pub failed: u32,
    /// Results that say "ok".
    pub passed: u32,
    /// Results that say "skipped".
    pub skipped: u32,
}

impl Results {
    /// Opens the port, and keeps the terminal layer from changing what is written.
    ///
    /// # Errors
    /// Where there is no such port.
    pub fn open() -> Result<Self> {
        let port = OpenOptions::new().write(true).open(RESULT_PORT).context("cannot open the result port")?;
        // SAFETY: a termios is plain data, for which zeroes are a value.
        let mut terminal: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open, the structure is a local.
        let status = unsafe { libc::tcgetattr(port.as_raw_fd(), &raw mut terminal) };
        ensure!(status == 0, "the port is no terminal");
        // SAFETY: changes the local only.
        unsafe { libc::cfmakeraw(&raw mut terminal) };
        // SAFETY: as for tcgetattr.
        let set = unsafe { libc::tcsetattr(port.as_raw_fd(), libc::TCSANOW, &raw const terminal) };
        ensure!(set == 0, "cannot set the result port raw");
        Ok(Self { port, failed: 0, passed: 0, skipped: 0 })
    }

    /// Writes a line that is no result.
    pub fn say(&mut self, line: impl std::fmt::Display) {
        let text = line.to_string().replace(['\n', '\r'], " | ");
        // Where the port is gone nobody can be told; the missing EXIT line tells.
        let _ = self.port.write_all(format!("{text}\n").as_bytes());
    }

    /// Reports a result.
    pub fn report(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                self.say(format_args!("ok {name}"));
            }
            Err(error) => {
                self.failed += 1;
                self.say(format_args!("not ok {name}: {error:#}"));
            }
        }
    }

    /// Reports what could not be tried.
    pub fn skip(&mut self, name: &str, reason: &str) {
        self.skipped += 1;
        self.say(format_args!("skipped {name}: {reason}"));
    }

    /// The last line: the harness stops the machine when it has read it.
    pub fn exit(mut self) {
        let status = i32::from(self.failed > 0 || self.passed == 0);
        self.say(format_args!("EXIT {status}"));
    }
}

/// Mounts what a running system has.
///
/// # Errors
/// Where the kernel lacks one of them.
pub fn mount_all() -> Result<()> {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("securityfs", "/sys/kernel/security"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("tmpfs", "/tmp"),
    ] {
        mount(kind, kind, at, None)?;
    }
    // The modes in records are then those that were asked for.
    rustix::process::umask(rustix::fs::Mode::empty());
    Ok(())
}

/// Mounts a filesystem on a directory, which is made.
///
/// # Errors
/// Where the kernel refuses.
pub fn mount(source: &str, kind: &str, at: &str, data: Option<&str>) -> Result<()> {
    if !Path::new(at).is_dir() {
        fs::create_dir_all(at).with_context(|| format!("cannot make {at}"))?;
    }
    let data = data.map(CString::new).transpose()?;
    rustix::mount::mount(source, at, kind, MountFlags::empty(), data.as_deref())
        .with_context(|| format!("cannot mount {kind} on {at}"))
}

/// Brings the loopback interface up; the kernel then gives it 127.0.0.1 (net/ipv4/devinet.c, `inetdev_event`).
///
/// # Errors
/// Where the kernel refuses.
pub fn raise_loopback() -> Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").context("no socket")?;
    // SAFETY: an ifreq is plain data, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the descriptor is open; the kernel reads the structure (netdevice(7)).
    let set = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    ensure!(set == 0, "cannot bring up lo: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Loads the modules that the harness put into /modules.
///
/// # Errors
/// Where one is refused.
pub fn load_modules() -> Result<()> {
    for name in fs::read_to_string("/modules/order").unwrap_or_default().lines() {
        let file = File::open(format!("/modules/{name}"))?;
        // SAFETY: finit_module(2) reads the file and the empty string of parameters.
        let loaded = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) };
        let error = std::io::Error::last_os_error();
        ensure!(loaded == 0 || error.raw_os_error() == Some(libc::EEXIST), "module {name}: {error}");
    }
    Ok(())
}

/// `LOOP_SET_FD` and `LOOP_CTL_GET_FREE` (include/uapi/linux/loop.h).
const LOOP_SET_FD: libc::Ioctl = 0x4c00;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;

/// Makes a block device of an image file and returns the device's path.
///
/// # Errors
/// Where the kernel has no loop devices.
pub fn loop_device(image: &str) -> Result<String> {
    let control = File::open("/dev/loop-control").context("no loop devices")?;
    // SAFETY: the request has no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    ensure!(number >= 0, "no free loop device: {}", std::io::Error::last_os_error());
    let device = format!("/dev/loop{number}");
    let opened = OpenOptions::new().read(true).write(true).open(&device)?;
    let backing = OpenOptions::new().read(true).write(true).open(image)?;
    // SAFETY: both descriptors are open; the request takes the second as a number.
    let set = unsafe { libc::ioctl(opened.as_raw_fd(), LOOP_SET_FD, backing.as_raw_fd()) };
    ensure!(set == 0, "cannot attach {image} to {device}: {}", std::io::Error::last_os_error());
    Ok(device)
}
