//! Licences, doubled crates and sources of everything that is built: cargo-deny, by `deny.toml`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Tally;
use crate::{apt, sh};

/// The newest cargo-deny that builds with the workspace's `rust-version`.
const CARGO_DENY: &str = "0.18.3";

/// What has a lock file of its own.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "sensor-ebpf/Cargo.toml", "tests/fuzz/Cargo.toml"];

/// Checks the workspace, the kernel programs and the fuzzers.
///
/// # Errors
/// Where cargo-deny cannot be installed.
pub fn deny() -> Result<Tally> {
    let program = program()?;
    // Said even where the rest fails: nobody shall take this stage for a check against known vulnerabilities.
    println!("skipped deny.advisories: their database is a git repository on github.com (see deny.toml)");
    let mut tally = Tally { skipped: 1, ..Tally::default() };
    for manifest in MANIFESTS {
        match sh::run(&mut check(&program, manifest)) {
            Ok(()) => tally.passed += 1,
            Err(error) => {
                println!("not ok deny.{manifest}: {error:#}");
                tally.failed += 1;
            }
        }
    }
    Ok(tally)
}

fn check(program: &Path, manifest: &str) -> Command {
    let root = sh::root();
    let mut command = Command::new(program);
    command.current_dir(&root);
    // The fuzzers have the workspace's crates, so their lock is behind whenever one of these has a new dependency.
    if !manifest.contains("fuzz") {
        command.arg("--locked");
    }
    command.arg("--manifest-path").arg(root.join(manifest));
    command.args(["check", "--hide-inclusion-graph", "--config"]).arg(root.join("deny.toml"));
    // The configuration is for both: what one of them does not need, the other may.
    for lint in ["unmatched-skip", "license-not-encountered", "license-exception-not-encountered"] {
        command.args(["--allow", lint]);
    }
    command.args(["licenses", "bans", "sources"]);
    command
}

/// cargo-deny, built into the cache where it is not there or does not start.
fn program() -> Result<PathBuf> {
    let root = std::path::absolute(sh::cache())?.join(format!("cargo-deny-{CARGO_DENY}"));
    let program = root.join("bin/cargo-deny");
    let works = || {
        let version = sh::output(Command::new(&program).arg("--version"));
        version.is_ok_and(|version| version == format!("cargo-deny {CARGO_DENY}"))
    };
    if works() {
        return Ok(program);
    }
    apt::need(&["gcc", "libc6-dev"], "linking")?;
    sh::say(format!("installing cargo-deny {CARGO_DENY} with cargo into {} (minutes, once)", root.display()));
    let mut install = sh::cargo();
    install.args(["install", "cargo-deny", "--version", CARGO_DENY, "--locked", "--force", "--quiet"]);
    // Unoptimised it is there sooner, and a check still takes no more than a second. Its default features are the
    // network's part of the advisories.
    install.args(["--debug", "--no-default-features", "--root"]).arg(&root);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lock_file_is_checked() {
        let folders = fs::read_dir(sh::root()).expect("the checkout can be listed");
        let mut found: Vec<PathBuf> =
            folders.map(|entry| entry.expect("listed").path().join("Cargo.lock")).collect();
        found.extend(["Cargo.lock", "tests/fuzz/Cargo.lock"].map(|lock| sh::root().join(lock)));
        found.retain(|lock| lock.exists());
        found.sort();
        assert_eq!(found, MANIFESTS.map(|manifest| sh::root().join(manifest).with_extension("lock")));
    }
}
