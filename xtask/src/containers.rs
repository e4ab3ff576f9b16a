//! `cargo xtask containers`: whether short-lived containers are known, and whether an engine's restart is quiet.

use anyhow::{Result, bail};

use crate::test::e2e;
use crate::{programs, sh};

/// Start containers that end at once, and see that each is known by id, name and image
///
/// In a Debian guest without KVM (QEMU's TCG), docker and podman by turns, with the sensor as a service. Each container
/// writes a unit of the host, so that there is an alert about it. Then docker is restarted with containers that come back:
/// nothing of it may be of medium severity or above. Also shown: the time, and the sensor's memory before and after.
#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Containers
    #[arg(short, long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Containers with a restart policy that are there when the engine is restarted
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=200))]
    restarted: u32,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  each was known
  1  one was not, or something cannot be built or fetched, or the machine failed
  2  usage

Examples:
  cargo xtask containers
  cargo xtask containers --count 50 --restarted 0";

/// Runs `cargo xtask containers`.
///
/// # Errors
/// Where the machine fails, or a container was not known.
pub fn main(args: &Args) -> Result<()> {
    let [sensor] = programs::build([("sensor-user", "svcsensor")])?;
    sh::say("a Debian guest without KVM: a container takes about a second there");
    if e2e::containers(&sensor, args.count, args.restarted)?.has_failed() {
        bail!("not every assertion holds");
    }
    Ok(())
}
