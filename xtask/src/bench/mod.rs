//! `cargo xtask bench`: what the kernel programs cost, in instructions; with `--latency`, how long an alert takes.
//!
//! A micro VM whose clock counts instructions (QEMU's `-icount`) runs a few operations without programs, under empty
//! programs in the same places, and under the sensor with its default watches. What the sensor adds is set against what
//! the empty programs add: that much any program there costs. Caches and mispredicted branches do not count, so this is
//! a ratio and a guard against regressions, not a time. Nobody waits for the ring buffer: the guest drains it between
//! batches.
//!
//! The program that runs in the machine is `tests/src/bin/bench`; [`table`] puts its figures side by side.

mod latency;
mod table;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::vm::cpio::File;
use crate::vm::kernel::{Kernel, Series};
use crate::vm::micro::{LSM_WITH_BPF, LSM_WITHOUT_BPF, MicroVm};
use crate::{ebpf, programs, sh};
use table::{Report, Table};

/// Count what the programs cost in instructions, against empty ones in the same places
///
/// In a micro VM whose clock counts instructions, so figures repeat to under 1% on any machine. Ratios, not times.
/// With --latency instead the time from a changed unit file to the line in the journal, in a Debian guest under QEMU's
/// emulation: a real machine is faster.
#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// In which kernel
    #[arg(short, long, default_value = "6.12")]
    kernel: Series,
    /// Which of the sensor's backends
    #[arg(short, long, value_enum, default_value_t = Backend::Lsm)]
    backend: Backend,
    /// Boots; with more than one, says how far their figures differ
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Form of the figures
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
    /// Measure how long alerts take, instead of instructions
    #[arg(long, conflicts_with_all = ["kernel", "backend", "repeat"])]
    latency: bool,
    /// With --latency: changes of unit files, ten a second
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    #[arg(requires = "latency")]
    changes: u32,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  measured
  1  something cannot be built or fetched, the machine failed, or a change was not told
  2  usage

Examples:
  cargo xtask bench
  cargo xtask bench --latency
  cargo xtask bench --kernel 5.10 --backend fentry --repeat 3 --output json";

/// Which of the sensor's backends, and the kernel's LSMs with it.
#[derive(Clone, Copy, ValueEnum)]
pub enum Backend {
    /// BPF LSM programs, in a kernel whose list of LSMs has bpf
    Lsm,
    /// fentry programs, in one whose list has not
    Fentry,
}

impl Backend {
    /// As the sensor calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Fentry => "fentry",
        }
    }

    /// The kernel's list of LSMs with which it is the one.
    pub fn modules(self) -> &'static str {
        match self {
            Self::Lsm => LSM_WITH_BPF,
            Self::Fentry => LSM_WITHOUT_BPF,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// A table
    Text,
    /// One JSON document
    Json,
}

/// Runs `cargo xtask bench`.
///
/// # Errors
/// Where something cannot be built or fetched, or the guest fails.
pub fn main(args: &Args) -> Result<()> {
    if args.latency {
        return latency::measure(args.changes, args.output);
    }
    let (empty, sensor) = ebpf::for_bench()?;
    let [guest] = programs::build([("tests", "bench")])?;
    let kernel = Kernel::fetch(args.kernel)?;
    let mut vm = MicroVm::new(&kernel, &guest)?;
    vm.args = vec![args.backend.name().into()];
    vm.files.push(File::data("empty.bpf.o", empty));
    vm.files.push(File::data("svcsensor.bpf.o", sensor));
    vm.lsm = Some(args.backend.modules().into());
    vm.hardware.icount = true;
    // The root in memory holds the guest's program, and reading the kernel's types takes a while of it.
    vm.hardware.memory_mib = 1024;

    let mut reports = Vec::new();
    for boot in 1..=args.repeat {
        let outcome = vm.run(&mut |_| {})?;
        let text = outcome.lines.join("\n");
        ensure!(outcome.status == 0, "the guest failed: {text}\n{}", outcome.console.trim_end());
        let report: Report =
            serde_json::from_str(&text).with_context(|| format!("the guest wrote no report: {text}"))?;
        reports.push(report);
        sh::say(format!("boot {boot} of {}: {:.1} s", args.repeat, outcome.elapsed.as_secs_f32()));
    }
    let table = Table::of(kernel.release(), args.backend.name(), &reports)?;
    match args.output {
        Output::Text => print!("{table}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&table)?),
    }
    Ok(())
}
