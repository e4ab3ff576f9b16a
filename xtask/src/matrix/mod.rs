//! `cargo xtask matrix`: what the sensor sees of each operation on a unit, done in each way, on each kernel.
//!
//! The guest (`tests/src/guest/matrix`) tries every cell and writes a line for each; [`grid`] reads the lines, [`mod@print`]
//! sets kernels side by side.

mod grid;
mod print;

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::bench::Backend;
use crate::sh;
use crate::test::{Programs, Tally, btrfs};
use crate::vm::cpio::File;
use crate::vm::kernel::{Kernel, Series};
use crate::vm::micro::MicroVm;
use grid::{Grid, Run};

/// Where the run's document is committed.
const DOCUMENT: &str = "docs/EVASION.md";

/// Try each operation on a unit in each way, and print what the sensor saw of it
///
/// One micro VM for each kernel. A cell is seen, refused by the kernel, not applicable, or missed; for all but the first
/// the reason is printed. With `--output markdown` and every kernel it is docs/EVASION.md.
#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Only this kernel (all of them where not given)
    #[arg(short, long)]
    kernel: Vec<Series>,
    /// Which of the sensor's backends
    #[arg(short, long, value_enum, default_value_t = Backend::Lsm)]
    backend: Backend,
    /// Form of the table
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  every cell is seen or has its reason
  1  a cell has none, or a machine failed
  2  usage

Examples:
  cargo xtask matrix
  cargo xtask matrix -k 6.12 -b fentry
  cargo xtask matrix --output markdown   # what docs/EVASION.md holds";

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// A table
    Text,
    /// One JSON document
    Json,
    /// The committed document
    Markdown,
}

/// Runs `cargo xtask matrix`.
///
/// # Errors
/// Where something cannot be built or fetched, a machine fails, or a cell has no reason.
pub fn main(args: &Args) -> Result<()> {
    let programs = Programs::guest_alone()?;
    let kernels = if args.kernel.is_empty() { &Series::ALL[..] } else { &args.kernel };
    let mut runs = Vec::new();
    for kernel in kernels {
        runs.push(run(&programs, *kernel, args.backend)?);
    }
    let failures: Vec<String> = runs.iter().flat_map(Run::failures).collect();
    let grid = Grid::of(runs)?;
    match args.output {
        Output::Text => print!("{}", print::text(&grid)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&grid)?),
        Output::Markdown => print!("{}", print::markdown(&grid)),
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(())
}

/// One kernel with one backend.
fn run(programs: &Path, series: Series, backend: Backend) -> Result<Run> {
    let kernel = Kernel::fetch(series)?;
    let mut vm = MicroVm::new(&kernel, programs)?;
    vm.args = vec!["matrix".into(), backend.name().into()];
    vm.modules = ["overlay", "btrfs", "loop"].map(str::to_owned).to_vec();
    vm.lsm = Some(backend.modules().into());
    vm.hardware.memory_mib = 1024;
    let (name, image) = btrfs()?;
    vm.files = vec![File::data(name, image)];
    let mut run = Run::new(&series.name(), backend.name());
    let outcome = vm.run(&mut |line| run.line(line)).with_context(|| kernel.release().to_owned())?;
    if outcome.status != 0 && run.failures().is_empty() {
        bail!("{}: the guest ended with status {}\n{}", kernel.release(), outcome.status, outcome.console);
    }
    let seconds = outcome.elapsed.as_secs_f32();
    sh::say(format!("{} {}: {} in {seconds:.1} s", kernel.release(), backend.name(), run.count()));
    Ok(run)
}

/// The stage of `cargo xtask test`: every kernel with the LSM backend, one with fentry; and the committed document must
/// be what that gives.
///
/// # Errors
/// Where a machine cannot be made.
pub fn stage(guest: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut tried = |series, backend| -> Result<Run> {
        let run = run(guest, series, backend)?;
        for failure in run.failures() {
            println!("{failure}");
        }
        tally.add(run.tally());
        Ok(run)
    };
    let runs: Result<Vec<Run>> = Series::ALL.into_iter().map(|series| tried(series, Backend::Lsm)).collect();
    tried(Series::V6_12, Backend::Fentry)?;
    let printed = print::markdown(&Grid::of(runs?)?);
    let path = sh::root().join(DOCUMENT);
    let committed =
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if printed == committed {
        tally.add(Tally::PASSED);
    } else {
        println!(
            "not ok {DOCUMENT} is not what this run gives: `cargo xtask matrix --output markdown > {DOCUMENT}`, look at \
             the difference, and take its sentence of counts into README.md"
        );
        for (old, new) in committed.lines().zip(printed.lines()).filter(|(old, new)| old != new).take(10) {
            println!("  committed: {old}\n  this run:  {new}");
        }
        tally.add(Tally::FAILED);
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_documents_counts() {
        let read = |name: &str| std::fs::read_to_string(sh::root().join(name)).unwrap();
        let (document, readme) = (read(DOCUMENT), read("README.md"));
        let counts = document.lines().find(|line| line.contains(" cells: ")).unwrap();
        assert!(readme.contains(counts), "README.md lacks {counts:?}");
    }
}
