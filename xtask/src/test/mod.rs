//! `cargo xtask test`.

pub mod e2e;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::sh;

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// A static svcsensor to test, instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Runs the end-to-end test.
///
/// # Errors
/// Where something cannot be built, or an assertion does not hold.
pub fn main(args: &Args) -> Result<()> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build_static()?,
    };
    e2e::run(&program)
}

/// Builds svcsensor without shared libraries, so that it runs on any distribution's kernel and root.
fn build_static() -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    sh::say("building svcsensor, static");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    sh::run(
        Command::new(cargo)
            .args(["build", "--release", "--package", "sensor-user", "--target", TARGET])
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .current_dir(sh::root()),
    )?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| sh::root().join("target"), PathBuf::from);
    Ok(target.join(TARGET).join("release/svcsensor"))
}
