//! `cargo xtask fuzz`: libFuzzer on every reader of foreign bytes.
//!
//! The targets are functions of `tests/src/fuzz`; `tests/fuzz`, a workspace of its own, makes programs of them. No
//! sanitizer is asked for, so that a stable compiler does: the readers are safe Rust, and what can go wrong in them is a
//! panic, an overflow (checked here), a broken assertion, or too much time or memory.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{apt, installed, sh};

/// Fixed, so that what is installed does not change by itself.
const CARGO_FUZZ: &str = "0.13.2";

/// The one target for which the rest of the tests is built too.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// The programs of `tests/fuzz/Cargo.toml`.
const TARGETS: [&str; 7] = ["unit", "command", "bus", "records", "recording", "btf", "packages"];

/// Bytes of an input, seconds for one, and MiB for all: beyond each libFuzzer calls it a fault.
const LIMITS: [&str; 3] = ["-max_len=8192", "-timeout=10", "-rss_limit_mb=1024"];

/// Give every reader of foreign bytes inputs that a fuzzer makes up
///
/// libFuzzer, guided by coverage: unit files and command lines, messages of D-Bus, records and recordings of them, kernel
/// types. Corpora begin with small sound inputs, and grow from run to run in the cache.
#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Only these targets: a list with commas, or repeated
    #[arg(short, long, value_delimiter = ',', value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    target: Vec<String>,
    /// For so long each
    #[arg(short, long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  no input made a reader fail
  1  one did, and is kept: its path is said. Or something cannot be built
  2  usage

Examples:
  cargo xtask fuzz
  cargo xtask fuzz --target unit,command --seconds 600";

/// Runs `cargo xtask fuzz`.
///
/// # Errors
/// Where something cannot be built, or an input makes a reader fail: all targets have run.
pub fn main(args: &Args) -> Result<()> {
    let cache = std::path::absolute(sh::cache())?.join("fuzz");
    let corpora = cache.join("corpus");
    sh::run(sh::cargo().args(["run", "--quiet", "--package", "tests", "--bin", "fuzz-seeds"]).arg(&corpora))?;
    let target = std::path::absolute(sh::target())?.join("fuzz");
    sh::say("building the fuzzers (minutes, once)");
    // By its own name: cargo would look for it on PATH.
    // libFuzzer itself is C++.
    apt::need(&["g++"], "libFuzzer")?;
    let mut command = Command::new(installed::subcommand("cargo-fuzz", CARGO_FUZZ, &[])?);
    command.args(["build", "--fuzz-dir", "tests/fuzz", "--sanitizer", "none", "--target", HOST]);
    command.current_dir(sh::root()).env("CARGO_TARGET_DIR", &target);
    sh::run(&mut command)?;

    let mut failed = Vec::new();
    for name in
        TARGETS.into_iter().filter(|name| args.target.is_empty() || args.target.iter().any(|t| t == name))
    {
        let program = target.join(HOST).join("release").join(name);
        let faults = cache.join("faults").join(name);
        fs::create_dir_all(&faults).with_context(|| format!("cannot make {}", faults.display()))?;
        let mut fuzzer = Command::new(program);
        fuzzer.arg(corpora.join(name)).args(LIMITS).args(["-print_final_stats=1", "-verbosity=0"]);
        fuzzer.arg(format!("-max_total_time={}", args.seconds)).arg(prefix(&faults));
        let out = fuzzer.output().with_context(|| format!("cannot start {fuzzer:?}"))?;
        let said = String::from_utf8_lossy(&out.stderr);
        println!("{name}: {}", summary(&said));
        if !out.status.success() {
            println!("{}", said.trim_end());
            failed.push(name);
        }
    }
    ensure!(
        failed.is_empty(),
        "{} failed; the inputs are in {}",
        failed.join(", "),
        cache.join("faults").display()
    );
    Ok(())
}

/// libFuzzer puts this before the names of the inputs that it keeps.
fn prefix(faults: &Path) -> String {
    format!("-artifact_prefix={}/", faults.display())
}

/// libFuzzer's `-print_final_stats`, in a line.
fn summary(said: &str) -> String {
    let stat = |name: &str| {
        let line =
            said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':'));
        line.map_or("?", str::trim).to_owned()
    };
    format!(
        "{} executions, {} a second, {} new inputs, {} MiB at most",
        stat("number_of_executed_units"),
        stat("average_exec_per_sec"),
        stat("new_units_added"),
        stat("peak_rss_mb")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_program() {
        let manifest = fs::read_to_string(sh::root().join("tests/fuzz/Cargo.toml")).unwrap();
        let named = |name: &str| manifest.contains(&format!("[[bin]]\nname = \"{name}\"\n"));
        assert!(TARGETS.into_iter().all(named));
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }

    #[test]
    fn figures_are_read() {
        let said = "Done 5 runs\nstat::number_of_executed_units: 57640\nstat::average_exec_per_sec:     286\n\
                    stat::new_units_added:          2991\nstat::peak_rss_mb:              35\n";
        assert_eq!(summary(said), "57640 executions, 286 a second, 2991 new inputs, 35 MiB at most");
        assert!(summary("").starts_with("? executions"));
    }
}
