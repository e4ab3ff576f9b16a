//! The program that runs in the machine, as a static binary: there is no other file in its root.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::sh;

/// The one target for which the machines' kernels are built.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds it and returns its path.
///
/// # Errors
/// Where the build fails, or cargo names no program.
pub fn build() -> Result<PathBuf> {
    sh::say("building the guest's program");
    let messages = sh::output(
        sh::cargo()
            .args(["build", "--quiet", "--release", "--package", "tests", "--bin", "bench"])
            // Naming the target keeps its flags from build scripts and macros, which must not be static.
            .args(["--target", TARGET, "--message-format", "json-render-diagnostics"])
            .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Ctarget-feature=+crt-static"),
    )?;
    executable(&messages).context("cargo built no guest program")
}

/// The program that `cargo build --message-format json-render-diagnostics` says it made.
fn executable(messages: &str) -> Option<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_cargo_names() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["/t/liba.rlib"],"executable":null}
            {"reason":"compiler-artifact","filenames":["/t/bench"],"executable":"/t/bench"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/bench")));
        assert_eq!(executable("warning: none"), None);
    }
}
