//! Debian packages that a command needs: installed when missing, and said so.

use std::process::{Command, Stdio};
use std::sync::Once;

use anyhow::{Context, Result};

use crate::sh;

/// Installs those of `packages` that are missing, for `purpose`.
///
/// # Errors
/// Where apt fails, or sudo is needed and refused; the error names the packages.
pub fn need(packages: &[&str], purpose: &str) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|p| !installed(p)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    sh::say(format!("installing {} with apt ({purpose})", missing.join(" ")));
    update()?;
    sh::run(
        sh::as_root("apt-get")
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null()),
    )
    .with_context(|| format!("cannot install {} (needed for {purpose})", missing.join(" ")))
}

/// `apt-get update`, once in a run.
///
/// # Errors
/// Where apt fails; the first caller sees the error, and later callers try again through their own install.
pub fn update() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| result = sh::run(sh::as_root("apt-get").args(["update", "-q"]).stdout(Stdio::null())));
    result
}

/// Whether dpkg has `package` installed and configured.
fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", package])
        .output()
        .is_ok_and(|out| out.stdout == b"installed")
}
