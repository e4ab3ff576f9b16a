//! The stages that need no machine but this one.

use anyhow::{Context, Result};

use super::Tally;
use crate::vm::tool;
use crate::{apt, sh};

/// `cargo fmt --check`, of the kernel programs and the fuzzers too.
pub fn format() -> Result<Tally> {
    sh::run(sh::cargo().args(["fmt", "--all", "--check"]))?;
    for manifest in ["sensor-ebpf/Cargo.toml", "tests/fuzz/Cargo.toml"] {
        sh::run(sh::cargo().args(["fmt", "--check", "--manifest-path"]).arg(sh::root().join(manifest)))?;
    }
    Ok(Tally { passed: 3, ..Tally::default() })
}

/// clippy and rustdoc, warnings being errors.
pub fn lint() -> Result<Tally> {
    apt::need(&["gcc", "libc6-dev"], "linking")?;
    sh::run(sh::cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut doc = sh::cargo();
    doc.args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    sh::run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Tally { passed: 2, ..Tally::default() })
}

/// `cargo test`. As root every tool is required; others see what is skipped and why.
pub fn unit() -> Result<Tally> {
    apt::need(&["systemd", "util-linux"], "tests that run journald by itself")?;
    let promtool = tool::promtool()?;
    let mut path = promtool.parent().context("promtool lies in no folder")?.as_os_str().to_owned();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    let mut test = sh::cargo();
    test.args(["test", "--workspace"]).env("PATH", path);
    if sh::is_root() {
        test.env("SVCSENSOR_REQUIRE_TOOLS", "1");
    }
    let out = test.stderr(std::process::Stdio::inherit()).output().context("cannot start cargo test")?;
    let text = String::from_utf8_lossy(&out.stdout);
    print!("{text}");
    let mut tally = Tally::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        tally.add(result(line));
    }
    if !out.status.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// The counts in `ok. 3 passed; 0 failed; 1 ignored; ...`.
fn result(line: &str) -> Tally {
    let count = |word: &str| {
        line.split([';', '.'])
            .filter_map(|part| part.trim().strip_suffix(word))
            .find_map(|number| number.trim().parse().ok())
            .unwrap_or(0)
    };
    Tally { passed: count("passed"), failed: count("failed"), skipped: count("ignored") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_counts_are_read() {
        let line = "FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(result(line), Tally { passed: 3, failed: 2, skipped: 1 });
    }
}
