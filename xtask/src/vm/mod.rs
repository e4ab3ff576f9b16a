//! Virtual machines for the tests: real kernels and a real Debian, on a machine without KVM.
//!
//! - [`sources`], [`suites`]: where this machine gets Debian packages, and an apt that looks at one suite alone.
//! - [`qemu`], [`kernel`]: what is fetched. [`cache`]: how it is kept.
//! - [`machine`]: one run of QEMU, and the protocol between guest and host.
//! - [`micro`]: a kernel with one static program. [`image`], [`mod@debian`]: Debian with systemd, docker and podman.

mod cache;
pub mod cpio;
pub mod debian;
pub mod image;
pub mod kernel;
pub mod machine;
pub mod micro;
mod qemu;
mod sources;
mod suites;
pub mod tool;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::sh;
use cpio::File;
use debian::DebianVm;
use kernel::{Kernel, Series};
use machine::{Hardware, Outcome};
use micro::MicroVm;

/// Fetch, build and start the virtual machines in which the tests run
///
/// Real kernels of four Debian releases under QEMU's emulation: no KVM, no root but to install what is missing.
#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  something cannot be fetched or built, or the machine did not start
  2  usage
  `boot` and `debian` end with the status of what ran in the machine

Examples:
  cargo xtask vm fetch
  cargo xtask vm boot -- uname -r
  cargo xtask vm debian -- systemctl --failed";

#[derive(clap::Subcommand)]
enum Command {
    /// Download and build what the machines need; at once where it is there already
    #[command(after_long_help = AFTER_FETCH_HELP)]
    Fetch(FetchArgs),
    /// Boot a kernel with busybox and run a command in it; exits with the command's status
    ///
    /// The command's output is printed as it comes. Two to three seconds until it runs.
    #[command(after_long_help = AFTER_BOOT_HELP)]
    Boot(BootArgs),
    /// Boot Debian with systemd, docker and podman, and run a script in it; exits with the script's status
    ///
    /// The script runs as root, under the guest's systemd. There is no network but loopback; /srv/busybox.tar is a
    /// container's root for `docker import`.
    #[command(after_long_help = AFTER_DEBIAN_HELP)]
    Debian(DebianArgs),
}

const AFTER_FETCH_HELP: &str = "\
Exit codes:
  0  all is there
  1  something cannot be fetched or built
  2  usage

Examples:
  cargo xtask vm fetch
  cargo xtask vm fetch -k 6.1 -k 6.12";

const AFTER_BOOT_HELP: &str = "\
Exit codes:
  0  the command's, as any other number
  1  also: the machine could not be made, or did not answer in time
  2  also: usage

Examples:
  cargo xtask vm boot -k 6.1 -- cat /proc/version
  cargo xtask vm boot -k 5.10 --lsm no-bpf -m overlay -- cat /proc/modules";

const AFTER_DEBIAN_HELP: &str = "\
Exit codes:
  0  the script's, as any other number
  1  also: the machine could not be made, or did not answer in time
  2  also: usage

Examples:
  cargo xtask vm debian -- 'systemctl --failed'
  cargo xtask vm debian -k 6.12 -f ./svcsensor:/usr/bin/svcsensor -- ./script.sh";

#[derive(clap::Args)]
struct FetchArgs {
    /// Only this kernel (all of them where not given)
    #[arg(short, long)]
    kernel: Vec<Series>,
}

#[derive(clap::Args)]
struct BootArgs {
    /// Which kernel
    #[arg(short, long, default_value = "6.12")]
    kernel: Series,
    #[command(flatten)]
    guest: GuestArgs,
    /// A static program to boot as init instead of busybox; COMMAND becomes its arguments
    #[arg(long, value_name = "PROGRAM")]
    init: Option<PathBuf>,
    /// A module to load (with --init: to put into /modules)
    #[arg(short, long)]
    module: Vec<String>,
    /// Let the machine's clock count instructions instead of time, for measurements that repeat
    #[arg(long)]
    icount: bool,
    /// What to run
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(clap::Args)]
struct DebianArgs {
    /// Which kernel
    #[arg(short, long, default_value = "6.1")]
    kernel: Series,
    /// Which Debian
    #[arg(short, long, default_value = "bookworm")]
    release: image::Release,
    #[command(flatten)]
    guest: GuestArgs,
    /// Boot again when the guest reboots; the script is then run at each boot
    #[arg(long)]
    reboots: bool,
    /// A script's file on this machine, or else a command for the guest's shell
    #[arg(last = true, required = true)]
    script: Vec<String>,
}

/// What both machines have in common.
#[derive(clap::Args)]
struct GuestArgs {
    /// Virtual processors (1 for a micro VM, 2 for Debian)
    #[arg(long)]
    cpus: Option<u32>,
    /// Memory in MiB (512, 1536)
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Kill the machine after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = micro::seconds)]
    limit: Duration,
    /// A file to put into the machine, as HOST or HOST:GUEST
    #[arg(short, long, value_name = "HOST[:GUEST]")]
    file: Vec<String>,
    /// The active LSMs: a list as the kernel's lsm= has it, or `bpf` or `no-bpf` for a minimal one
    #[arg(long)]
    lsm: Option<String>,
    /// Print the guest's console when all is over; it is printed anyway where the guest fails
    #[arg(long)]
    console: bool,
}

impl GuestArgs {
    fn files(&self) -> Result<Vec<File>> {
        let read = |file: &String| {
            let (host, guest) = file.split_once(':').unwrap_or((file, file));
            let data = std::fs::read(host).with_context(|| format!("cannot read {host}"))?;
            Ok(File::program(guest, data))
        };
        self.file.iter().map(read).collect()
    }

    fn lsm(&self) -> Option<String> {
        let list = match self.lsm.as_deref()? {
            "bpf" => micro::LSM_WITH_BPF,
            "no-bpf" => micro::LSM_WITHOUT_BPF,
            list => list,
        };
        Some(list.to_owned())
    }

    fn apply(&self, hardware: &mut Hardware) {
        hardware.limit = self.limit;
        hardware.cpus = self.cpus.unwrap_or(hardware.cpus);
        hardware.memory_mib = self.memory.unwrap_or(hardware.memory_mib);
    }
}

/// Runs `cargo xtask vm`.
///
/// # Errors
/// Where something cannot be fetched, or a guest fails.
pub fn main(args: &Args) -> Result<()> {
    match &args.command {
        Command::Fetch(args) => fetch(args),
        Command::Boot(args) => boot(args),
        Command::Debian(args) => debian(args),
    }
}

fn fetch(args: &FetchArgs) -> Result<()> {
    let start = Instant::now();
    qemu::Qemu::fetch()?;
    micro::busybox()?;
    let wanted = if args.kernel.is_empty() { &Series::ALL[..] } else { &args.kernel };
    for series in wanted {
        let kernel = Kernel::fetch(*series)?;
        image::modules(&kernel)?;
        sh::say(format!("kernel {} in {}", kernel.release(), kernel.image().display()));
    }
    for release in image::Release::value_variants() {
        image::debian(*release)?;
    }
    sh::say(format!("all there, after {:.1} s", start.elapsed().as_secs_f32()));
    Ok(())
}

fn boot(args: &BootArgs) -> Result<()> {
    let kernel = Kernel::fetch(args.kernel)?;
    let mut vm = match &args.init {
        Some(program) => {
            let mut vm = MicroVm::new(&kernel, program)?;
            vm.args.clone_from(&args.command);
            vm
        }
        None => MicroVm::shell(&kernel, &args.command.join(" "))?,
    };
    vm.files.extend(args.guest.files()?);
    vm.modules.clone_from(&args.module);
    vm.lsm = args.guest.lsm();
    vm.hardware.icount = args.icount;
    args.guest.apply(&mut vm.hardware);
    let outcome = vm.run(&mut |line| println!("{line}"))?;
    finish(&outcome, args.guest.console, kernel.release());
    Ok(())
}

fn debian(args: &DebianArgs) -> Result<()> {
    let kernel = Kernel::fetch(args.kernel)?;
    let script = match args.script.as_slice() {
        [file] if Path::new(file).is_file() => {
            std::fs::read(file).with_context(|| format!("cannot read {file}"))?
        }
        words => format!("#!/bin/bash\n{}\n", words.join(" ")).into_bytes(),
    };
    let mut vm = DebianVm::new(&kernel, script);
    vm.release = args.release;
    vm.files = args.guest.files()?;
    vm.lsm = args.guest.lsm().unwrap_or(vm.lsm);
    vm.reboots = args.reboots;
    args.guest.apply(&mut vm.hardware);
    let outcome = vm.run(&mut |line| println!("{line}"))?;
    finish(&outcome, args.guest.console, kernel.release());
    Ok(())
}

/// Says how it went, and ends this process with the guest's status where that is not 0.
fn finish(outcome: &Outcome, console: bool, release: &str) {
    if console || outcome.status != 0 {
        eprintln!("{}", outcome.console.trim_end());
    }
    sh::say(format!(
        "{release}: status {} after {:.1} s, {} lines",
        outcome.status,
        outcome.elapsed.as_secs_f32(),
        outcome.lines.len()
    ));
    if outcome.status != 0 {
        std::process::exit(outcome.status);
    }
}
