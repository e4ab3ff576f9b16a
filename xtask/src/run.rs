//! `cargo xtask run`: the sensor, built and started, alerts in this terminal.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{apt, sh};

/// Build the sensor and start it, with alerts in this terminal
///
/// The release build, started through sudo where this is not root. Ctrl-C ends it.
#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Arguments of `svcsensor run`; by default `--output pretty`
    #[arg(last = true)]
    sensor: Vec<String>,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  ended as asked
  1  it cannot be built or started
  2  usage
  3  privilege or kernel support missing
  4  the sensor failed at run time

Examples:
  cargo xtask run
  cargo xtask run -- --output jsonl --backend fentry";

/// Builds svcsensor and takes its place, through sudo where this is not root.
///
/// # Errors
/// Where it cannot be built or started.
pub fn main(args: &Args) -> Result<()> {
    apt::need(&["gcc", "libc6-dev"], "linking")?;
    let program = build()?;
    let mut command = sh::as_root(program.to_str().context("the target folder's path is not UTF-8")?);
    command.arg("run");
    if args.sensor.is_empty() {
        command.args(["--output", "pretty"]);
    } else {
        command.args(&args.sensor);
    }
    sh::say(format!("starting {command:?} (Ctrl-C ends it)"));
    Err(command.exec()).context("cannot start svcsensor; is sudo installed?")
}

/// Builds the release binary and returns its path.
fn build() -> Result<PathBuf> {
    sh::say("building svcsensor");
    sh::run(sh::cargo().args(["build", "--release", "--package", "sensor-user"]))?;
    Ok(sh::target().join("release/svcsensor"))
}
