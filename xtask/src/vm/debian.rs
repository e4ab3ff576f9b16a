//! A Debian guest, booted by a kernel of choice, with a script run by its systemd.
//!
//! A first root (initramfs) loads the disk's driver, lays the given files over the image, and hands over to systemd, so
//! the files are there before anything starts: units, configuration, programs. After multi-user.target the unit
//! svcsensor-guest.service runs the script; what it writes are the results, its status is the outcome's (see
//! [`super::machine`] for the protocol). On a status other than 0 the end of the journal is on the console.
//!
//! `AppArmor` is off, unless the caller lists it: docker refuses to start a container without its parser, which is not
//! in the image and takes seconds to load a profile.
//!
//! With `reboots` the guest may reboot: its disk lasts for the run, and the script is run again at each boot, until it
//! ends by itself.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result};

use super::cache::RunDir;
use super::cpio::{Archive, File};
use super::image::{self, Release};
use super::kernel::Kernel;
use super::machine::{Boot, COMMAND_LINE, Hardware, LIMIT, Outcome, ResultPort, disk};
use super::micro::{LSM_WITH_BPF, add_modules, busybox};

/// A Debian guest to run. Build one with [`DebianVm::new`] and set what differs.
pub struct DebianVm<'a> {
    pub kernel: &'a Kernel,
    /// Which Debian; bookworm by default.
    pub release: Release,
    /// What runs as root once the system is up: any executable text or program.
    pub script: Vec<u8>,
    /// What is laid over the image; owned by root.
    pub files: Vec<File>,
    pub hardware: Hardware,
    /// The active LSMs; [`LSM_WITH_BPF`] by default.
    pub lsm: String,
    /// Whether a reboot boots again, instead of ending the machine.
    pub reboots: bool,
}

impl<'a> DebianVm<'a> {
    /// A guest with two processors and 1.5 GiB.
    pub fn new(kernel: &'a Kernel, script: impl Into<Vec<u8>>) -> Self {
        let hardware = Hardware { memory_mib: 1536, cpus: 2, icount: false, limit: LIMIT };
        Self {
            kernel,
            release: Release::Bookworm,
            script: script.into(),
            files: vec![],
            hardware,
            lsm: LSM_WITH_BPF.into(),
            reboots: false,
        }
    }

    /// Boots it and waits for its script's end, giving each line of results to `on_line`.
    ///
    /// # Errors
    /// As [`Boot::run`], and where the image cannot be built.
    pub fn run(&self, on_line: &mut dyn FnMut(&str)) -> Result<Outcome> {
        let dir = RunDir::new()?;
        let input = dir.join("input");
        let mut file = OpenOptions::new().write(true).create_new(true).open(&input)?;
        file.write_all(&self.input()).with_context(|| format!("cannot write {}", input.display()))?;
        let mut extra = Vec::new();
        extra.extend(disk(&image::debian(self.release)?, "root"));
        extra.extend(disk(&image::modules(self.kernel)?, "modules"));
        extra.extend(disk(&input, "input"));

        let command_line = format!(
            "{COMMAND_LINE} systemd.show_status=no systemd.journald.forward_to_console=1 \
             systemd.journald.max_level_console=warning systemd.machine_id={MACHINE_ID} \
             lsm={lsm}",
            lsm = self.lsm
        );
        let boot = Boot {
            kernel: self.kernel,
            initramfs: &self.initramfs()?,
            command_line: &command_line,
            hardware: &self.hardware,
            port: ResultPort::Virtio,
            reboots: self.reboots,
            extra: &extra,
        };
        boot.run(&dir, on_line)
    }

    /// The files to lay over the image, as a cpio archive on a disk: whole sectors, and no directory entries, which
    /// would replace the modes of those that are there.
    fn input(&self) -> Vec<u8> {
        let mut archive = Archive::without_directories();
        for file in &self.files {
            archive.file(file);
        }
        archive.file(&File::program("svcsensor/script", self.script.clone()));
        archive.file(&File::program("svcsensor/runner", RUNNER.into()));
        let mut bytes = archive.finish();
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        bytes
    }

    fn initramfs(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        archive.device("dev/console", 5, 1);
        archive.directory("root");
        add_modules(
            &mut archive,
            self.kernel.modules(&["virtio_pci", "virtio_blk", "virtio_console", "ext4"])?,
        );
        let busybox = busybox()?;
        let program =
            std::fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
        archive.file(&File::program("bin/busybox", program));
        archive.file(&File::program("init", INIT.into()));
        Ok(archive.finish())
    }
}

/// The same in every run, so that alerts can be compared (machine-id(5)).
const MACHINE_ID: &str = "5fc5e25060de4ae58dc5f0c3a4d6f1b2";

/// Finds the disks by their serial numbers. A failing step ends init, which is a panic with the reason above it.
const INIT: &str = r#"#!/bin/busybox sh
set -eu
b=/bin/busybox
fail() { echo "first root: $*"; exit 1; }
$b mkdir -p /proc /sys /dev
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
for module in $($b cat /modules/order); do $b insmod "/modules/$module" || fail "cannot load $module"; done
root= modules= input=
for disk in /sys/block/vd*; do
    device=/dev/${disk##*/}
    case $($b cat "$disk/serial") in
    root) root=$device ;;
    modules) modules=$device ;;
    input) input=$device ;;
    esac
done
[ -n "$root" ] && [ -n "$modules" ] && [ -n "$input" ] || fail "a disk is missing: $root, $modules, $input"
$b mount -t ext4 "$root" /root || fail "cannot mount the root"
cd /root
# Laid once: what the guest changes in these files outlasts its reboot.
if [ ! -e svcsensor/laid ]; then
    $b cpio --quiet -idmu <"$input" || fail "cannot unpack the files"
    : >svcsensor/laid
fi
[ -d usr/lib/modules ] || $b mkdir usr/lib/modules
$b mount -t ext4 -o ro "$modules" /root/usr/lib/modules || fail "cannot mount the modules"
for dir in proc sys dev; do $b mount --move "/$dir" "/root/$dir"; done
exec $b switch_root /root /sbin/init
"#;

/// Gives the script the result port as its output, and says how it ended.
const RUNNER: &str = r#"#!/bin/sh
for name in /sys/class/virtio-ports/*/name; do
    [ "$(cat "$name")" = svcsensor ] || continue
    port=${name%/name}
    port=/dev/${port##*/}
done
exec 3>"$port"
cd /root
/svcsensor/script >&3 2>&3
status=$?
# A script that asked for a reboot is stopped by it and has not failed.
[ "$(systemctl is-system-running)" = stopping ] && exit 0
[ "$status" = 0 ] || journalctl --boot --no-pager --lines=150 >/dev/console
printf '\nEXIT %d\n' "$status" >&3
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::cache;

    #[test]
    fn the_guests_scripts_are_sound_shell() {
        for script in [INIT, RUNNER] {
            cache::filter(std::process::Command::new("sh").arg("-n"), script.as_bytes()).unwrap();
        }
    }
}
