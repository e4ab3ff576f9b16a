//! Commands of cargo's that crates.io has and the machine may lack.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{apt, sh};

/// A subcommand of cargo's in just this version, built into the cache where it is not there or does not start.
///
/// # Errors
/// Where it cannot be built, or does not start then.
pub fn subcommand(name: &str, version: &str, options: &[&str]) -> Result<PathBuf> {
    let root = std::path::absolute(sh::cache())?.join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    let works = || {
        let said = sh::output(Command::new(&program).arg("--version"));
        said.is_ok_and(|said| said == format!("{name} {version}"))
    };
    if works() {
        return Ok(program);
    }
    apt::need(&["gcc", "libc6-dev"], "linking")?;
    sh::say(format!("installing {name} {version} with cargo into {} (minutes, once)", root.display()));
    let mut install = sh::cargo();
    install.args(["install", name, "--version", version, "--locked", "--force", "--quiet"]);
    // Unoptimised it is there sooner, and what it does still takes no more than a second.
    install.arg("--debug").args(options).arg("--root").arg(&root);
    // A temporary folder can be a part of memory: too small for what is left behind.
    let leavings = root.join("build");
    install.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_TARGET_DIR", &leavings);
    sh::run(&mut install)?;
    fs::remove_dir_all(&leavings).with_context(|| format!("cannot remove {}", leavings.display()))?;
    if !works() {
        bail!("{} was installed, but does not start: run it to see why", program.display());
    }
    Ok(program)
}
