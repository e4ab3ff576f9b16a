//! Programs without shared libraries, so that they run on any kernel with nothing else there.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{apt, sh};

/// The one target for which the machines' kernels are built.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds programs, each named by its package and its binary, and returns their paths in the same order.
///
/// # Errors
/// Where the build fails, or cargo does not name one of them.
pub fn build<const N: usize>(programs: [(&str, &str); N]) -> Result<[PathBuf; N]> {
    apt::need(&["gcc", "libc6-dev"], "linking")?;
    let names = programs.map(|(_, binary)| binary);
    sh::say(format!("building {}, static", names.join(" and ")));
    let mut cargo = sh::cargo();
    // Naming the target keeps its flags from build scripts and macros, which must not be static.
    cargo
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    for (package, binary) in programs {
        cargo.args(["--package", package, "--bin", binary]);
    }
    let messages = sh::output(&mut cargo)?;
    let mut paths = Vec::new();
    for name in names {
        paths.push(executable(&messages, name).with_context(|| format!("cargo built no program {name}"))?);
    }
    Ok(paths.try_into().expect("as many as there are names"))
}

/// The program that `cargo build --message-format json-render-diagnostics` says it made.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
        .find(|path| path.file_name().is_some_and(|file| file == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_the_one_cargo_names() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["/t/liba.rlib"],"executable":null}
            {"reason":"compiler-artifact","filenames":["/t/bench"],"executable":"/t/bench"}
            {"reason":"compiler-artifact","filenames":["/t/guest"],"executable":"/t/guest"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "bench"), Some(PathBuf::from("/t/bench")));
        assert_eq!(executable(messages, "guest"), Some(PathBuf::from("/t/guest")));
        assert_eq!(executable(messages, "other"), None);
        assert_eq!(executable("warning: none", "bench"), None);
    }
}
