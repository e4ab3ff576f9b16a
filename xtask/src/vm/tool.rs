//! Programs that a test needs from a Debian package which would start a service where it is installed.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::cache;
use super::suites::{Apt, Mirror, Suite};
use crate::sh;

/// promtool, out of the package `prometheus`, which is unpacked and not installed.
///
/// # Errors
/// Where it cannot be downloaded.
pub fn promtool() -> Result<PathBuf> {
    let dir = cache::entry("promtool-1", |dir| {
        sh::say("fetching promtool from Debian's bookworm");
        let apt = Apt::open(&dir.join("apt"), &Mirror::of_this_machine()?, &[Suite::Bookworm])?;
        apt.unpack(&["prometheus".to_owned()], &dir.join("unpacked"))?;
        ensure!(dir.join("unpacked/usr/bin/promtool").exists(), "prometheus has no promtool");
        std::fs::copy(dir.join("unpacked/usr/bin/promtool"), dir.join("promtool"))?;
        std::fs::remove_dir_all(dir.join("unpacked"))?;
        std::fs::remove_dir_all(dir.join("apt"))?;
        Ok(())
    })?;
    Ok(dir.join("promtool"))
}
