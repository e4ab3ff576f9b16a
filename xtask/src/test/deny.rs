//! Licences, doubled crates and sources of everything that is built: cargo-deny, by `deny.toml`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Tally;
use crate::{installed, sh};

/// The newest cargo-deny that builds with the workspace's `rust-version`.
const CARGO_DENY: &str = "0.18.3";

/// What has a lock file of its own.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "sensor-ebpf/Cargo.toml", "tests/fuzz/Cargo.toml"];

/// Checks the workspace, the kernel programs and the fuzzers.
///
/// # Errors
/// Where cargo-deny cannot be installed.
pub fn deny() -> Result<Tally> {
    // Its default features are the network's part of the advisories.
    let program = installed::subcommand("cargo-deny", CARGO_DENY, &["--no-default-features"])?;
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

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
