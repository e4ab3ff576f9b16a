//! `cargo xtask latency`: how long an alert takes.

use anyhow::Result;

use crate::test::e2e;
use crate::{programs, sh};

/// Measure the time from a changed unit file to the line in the journal
///
/// In a Debian guest without KVM (QEMU's TCG), with the sensor as a service: files written, renamed, linked and
/// symlinked among the units, ten a second. From the return of the last system call to journald's receipt. A real
/// machine is faster.
#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Changes
    #[arg(short, long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    changes: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  measured
  1  something cannot be built or fetched, the machine failed, or a change was not told
  2  usage

Examples:
  cargo xtask latency
  cargo xtask latency --changes 100 --json";

/// Runs `cargo xtask latency`.
///
/// # Errors
/// Where the machine fails, or a change is not in the journal.
pub fn main(args: &Args) -> Result<()> {
    let [sensor] = programs::build([("sensor-user", "svcsensor")])?;
    sh::say("a Debian guest without KVM: all figures are QEMU's TCG's");
    let figures = e2e::latency(&sensor, args.changes)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        println!("{figures} (TCG)");
    }
    Ok(())
}
