//! The micro VM: one kernel, one static program as init, no disk. It boots in two to three seconds.
//!
//! What the guest finds: its program as /init with the arguments given; nothing mounted; /dev/console (its standard
//! streams: the console), /dev/null and /dev/ttyS1 (the result port; see [`super::machine`] for the protocol). After
//! its `EXIT` line it has nothing more to do: the machine is stopped. An init that ends without one is a kernel panic,
//! and a failed run. Modules lie in /modules, uncompressed, and /modules/order has their file names, one in each line,
//! in the order in which `finit_module(2)` wants them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::cache::{self, RunDir};
use super::cpio::{Archive, File};
use super::kernel::{Kernel, Series};
use super::machine::{Boot, COMMAND_LINE, Hardware, LIMIT, Outcome, ResultPort};
use super::suites::{Apt, Mirror, Suite};
use crate::sh;

/// The LSMs with which BPF's programs attach, on every kernel.
pub const LSM_WITH_BPF: &str = "lockdown,capability,yama,bpf";

/// The LSMs of a machine that leaves BPF out: the sensor falls back to fentry.
pub const LSM_WITHOUT_BPF: &str = "lockdown,capability,yama";

/// A micro VM to run. Build one with [`MicroVm::new`] or [`MicroVm::shell`] and set what differs.
pub struct MicroVm<'a> {
    pub kernel: &'a Kernel,
    /// What is in /init.
    pub init: Vec<u8>,
    pub args: Vec<String>,
    pub files: Vec<File>,
    /// Names or aliases of the modules to put in /modules, with all they need.
    pub modules: Vec<String>,
    pub hardware: Hardware,
    /// The active LSMs. None is the kernel's default, plus `bpf` where the default lacks it (5.10).
    pub lsm: Option<String>,
}

impl<'a> MicroVm<'a> {
    /// A machine with one processor and 512 MiB whose init is the static program at `init`.
    ///
    /// # Errors
    /// Where the program cannot be read.
    pub fn new(kernel: &'a Kernel, init: &Path) -> Result<Self> {
        let init = std::fs::read(init).with_context(|| format!("cannot read {}", init.display()))?;
        let hardware = Hardware { memory_mib: 512, cpus: 1, icount: false, limit: LIMIT };
        Ok(Self { kernel, init, args: vec![], files: vec![], modules: vec![], hardware, lsm: None })
    }

    /// A machine that mounts the usual file systems, loads the modules, and runs a command in busybox's shell; what
    /// the command writes are the results, and its status is the outcome's.
    ///
    /// # Errors
    /// Where busybox cannot be fetched.
    pub fn shell(kernel: &'a Kernel, command: &str) -> Result<Self> {
        let busybox = busybox()?;
        let mut vm = Self::new(kernel, &busybox)?;
        let program = std::mem::replace(&mut vm.init, SHELL_INIT.into());
        vm.files.push(File::program("bin/busybox", program));
        vm.files.push(File::data("command", command.into()));
        Ok(vm)
    }

    /// Boots it and waits for its `EXIT` line, giving each line before it to `on_line`.
    ///
    /// # Errors
    /// As [`Boot::run`], and where a module is unknown or the arguments do not fit a kernel's command line.
    pub fn run(&self, on_line: &mut dyn FnMut(&str)) -> Result<Outcome> {
        ensure!(!self.hardware.icount || self.hardware.cpus == 1, "icount counts for one processor only");
        let boot = Boot {
            kernel: self.kernel,
            initramfs: &self.initramfs()?,
            command_line: &self.command_line()?,
            hardware: &self.hardware,
            port: ResultPort::Serial,
            reboots: false,
            extra: &[],
        };
        boot.run(&RunDir::new()?, on_line)
    }

    fn initramfs(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        archive.device("dev/console", 5, 1);
        archive.device("dev/null", 1, 3);
        archive.device("dev/ttyS1", 4, 65);
        let names: Vec<&str> = self.modules.iter().map(String::as_str).collect();
        add_modules(&mut archive, self.kernel.modules(&names)?);
        for file in &self.files {
            archive.file(file);
        }
        archive.file(&File::program("init", self.init.clone()));
        Ok(archive.finish())
    }

    fn command_line(&self) -> Result<String> {
        let mut line = COMMAND_LINE.to_owned();
        if let Some(lsm) = lsm(self.kernel.series(), self.lsm.as_deref()) {
            line.push_str(" lsm=");
            line.push_str(lsm);
        }
        if !self.args.is_empty() {
            line += " --";
            for arg in &self.args {
                line += &quoted(arg)?;
            }
        }
        Ok(line)
    }
}

/// Adds modules and the list of their order.
pub fn add_modules(archive: &mut Archive, modules: Vec<(String, Vec<u8>)>) {
    let mut order = String::new();
    for (name, bytes) in modules {
        order.push_str(&name);
        order.push('\n');
        archive.file(&File::data(format!("modules/{name}"), bytes));
    }
    archive.file(&File::data("modules/order", order.into()));
}

/// The LSM list to pass to a kernel.
pub fn lsm(series: Series, wanted: Option<&str>) -> Option<&str> {
    wanted.or((series == Series::V5_10).then_some(LSM_WITH_BPF))
}

/// An argument as the kernel's parser takes it (lib/cmdline.c, `next_arg`): quotes hold blanks together, and nothing
/// escapes a quote.
fn quoted(arg: &str) -> Result<String> {
    ensure!(
        !arg.is_empty() && !arg.contains(['"', '\n', '\r', '\0']),
        "a kernel cannot hand init the argument {arg:?}: put it in a file"
    );
    Ok(if arg.contains([' ', '\t']) { format!(" \"{arg}\"") } else { format!(" {arg}") })
}

/// Runs /command with results on the result port. The port echoes nothing and translates nothing.
const SHELL_INIT: &str = "#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /tmp /run /etc /usr/bin /usr/sbin /sbin
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
$b mount -t securityfs securityfs /sys/kernel/security
$b mount -t tracefs tracefs /sys/kernel/tracing
$b mount -t bpf bpf /sys/fs/bpf
$b mount -t tmpfs tmpfs /run
$b mount -t cgroup2 cgroup2 /sys/fs/cgroup
$b --install -s
$b stty -F /dev/ttyS1 raw -echo
for module in $($b cat /modules/order); do $b insmod /modules/$module; done
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM=dumb
$b sh /command >/dev/ttyS1 2>&1 </dev/null
status=$?
$b printf '\\nEXIT %d\\n' $status >/dev/ttyS1
$b sleep 1000
";

/// The path of a static busybox, from bookworm.
///
/// # Errors
/// Where it cannot be downloaded.
pub fn busybox() -> Result<std::path::PathBuf> {
    let dir = cache::entry("busybox-1", |dir| {
        sh::say("fetching busybox-static from bookworm");
        let apt = Apt::open(&dir.join("apt"), &Mirror::of_this_machine()?, &[Suite::Bookworm])?;
        apt.unpack(&["busybox-static".into()], dir)?;
        std::fs::remove_dir_all(dir.join("apt"))?;
        Ok(())
    })?;
    Ok(dir.join("bin/busybox"))
}

/// What a limit in seconds is.
pub fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_with_blanks_are_quoted() {
        assert_eq!(quoted("a=b").unwrap(), " a=b");
        assert_eq!(quoted("a b").unwrap(), " \"a b\"");
        assert!(quoted("").is_err());
        assert!(quoted("say \"x\"").is_err());
    }

    #[test]
    fn the_shells_init_is_sound() {
        cache::filter(std::process::Command::new("sh").arg("-n"), SHELL_INIT.as_bytes()).unwrap();
    }

    #[test]
    fn bpf_is_asked_for_only_where_the_default_lacks_it() {
        assert_eq!(lsm(Series::V5_10, None), Some(LSM_WITH_BPF));
        assert_eq!(lsm(Series::V6_12, None), None);
        assert_eq!(lsm(Series::V5_10, Some(LSM_WITHOUT_BPF)), Some(LSM_WITHOUT_BPF));
    }
}
