//! Virtual machines for the tests: real kernels and a real Debian, on a machine without KVM.
//!
//! - [`sources`], [`suites`]: where this machine gets Debian packages, and an apt that looks at one suite alone.
//! - [`qemu`], [`kernel`]: what is fetched. [`cache`]: how it is kept.
//! - [`machine`]: one run of QEMU, and the protocol between guest and host.
//! - [`micro`]: a kernel with one static program.

mod cache;
mod cpio;
mod kernel;
mod machine;
mod micro;
mod qemu;
mod sources;
mod suites;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::sh;
use cpio::File;
use kernel::{Kernel, Series};
use machine::Outcome;
use micro::MicroVm;

/// Options of `cargo xtask vm`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Download and build what the machines need; at once where it is there already
    Fetch(FetchArgs),
    /// Boot a kernel with busybox and run a command in it; exits with the command's status
    ///
    /// The command's output is printed as it comes. Example: cargo xtask vm boot -k 6.1 -- cat /proc/version
    Boot(BootArgs),
}

#[derive(clap::Args)]
struct FetchArgs {
    /// Only this kernel (all of them where not given)
    #[arg(short, long)]
    kernel: Vec<Series>,
}

#[derive(clap::Args)]
struct BootArgs {
    #[arg(short, long, default_value = "6.12")]
    kernel: Series,
    #[command(flatten)]
    hardware: HardwareArgs,
    /// A static program to boot as init instead of busybox; COMMAND becomes its arguments
    #[arg(long, value_name = "PROGRAM")]
    init: Option<PathBuf>,
    /// A file to put into the machine, as HOST or HOST:GUEST
    #[arg(short, long, value_name = "HOST[:GUEST]")]
    file: Vec<String>,
    /// A module to load (with --init: to put into /modules)
    #[arg(short, long)]
    module: Vec<String>,
    /// The active LSMs: a list as the kernel's lsm= has it, or `bpf` or `no-bpf` for a minimal one
    #[arg(long)]
    lsm: Option<String>,
    /// Count instructions instead of time: the same work takes the same time in every run
    #[arg(long)]
    icount: bool,
    /// Print the kernel's messages too, when all is over
    #[arg(long)]
    console: bool,
    /// What to run
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(clap::Args)]
struct HardwareArgs {
    /// Virtual processors
    #[arg(long, default_value_t = 1)]
    cpus: u32,
    /// Memory in MiB
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Kill the machine after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = micro::seconds)]
    limit: Duration,
}

/// Runs `cargo xtask vm`.
///
/// # Errors
/// Where something cannot be fetched, or a guest fails.
pub fn main(args: &Args) -> Result<()> {
    match &args.command {
        Command::Fetch(args) => fetch(args),
        Command::Boot(args) => boot(args),
    }
}

fn fetch(args: &FetchArgs) -> Result<()> {
    let start = Instant::now();
    qemu::Qemu::fetch()?;
    micro::busybox()?;
    let wanted = if args.kernel.is_empty() { &Series::ALL[..] } else { &args.kernel };
    for series in wanted {
        let kernel = Kernel::fetch(*series)?;
        sh::say(format!("kernel {} in {}", kernel.release(), kernel.image().display()));
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
    for file in &args.file {
        let (host, guest) = file.split_once(':').unwrap_or((file, file));
        let data = std::fs::read(host).with_context(|| format!("cannot read {host}"))?;
        vm.files.push(File::program(guest, data));
    }
    vm.modules.clone_from(&args.module);
    vm.lsm = args.lsm.as_deref().map(|lsm| {
        match lsm {
            "bpf" => micro::LSM_WITH_BPF,
            "no-bpf" => micro::LSM_WITHOUT_BPF,
            list => list,
        }
        .to_owned()
    });
    vm.hardware.cpus = args.hardware.cpus;
    vm.hardware.limit = args.hardware.limit;
    vm.hardware.icount = args.icount;
    if let Some(memory) = args.hardware.memory {
        vm.hardware.memory_mib = memory;
    }
    let outcome = vm.run(&mut |line| println!("{line}"))?;
    finish(&outcome, args.console, kernel.release())
}

/// Says how it went, and exits with the guest's status where that is not 0.
fn finish(outcome: &Outcome, console: bool, release: &str) -> Result<()> {
    if console {
        eprintln!("{}", outcome.console.trim_end());
    }
    sh::say(format!(
        "{release}: status {} after {:.1} s, {} lines",
        outcome.status,
        outcome.elapsed.as_secs_f32(),
        outcome.lines.len()
    ));
    anyhow::ensure!(outcome.status == 0, "the guest's command failed with status {}", outcome.status);
    Ok(())
}
