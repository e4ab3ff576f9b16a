//! Programs that a test needs from a Debian package which would start a service where it is installed.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

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

/// podman's Quadlet generator, out of trixie's package `podman`, which is unpacked and not installed: a folder with
/// `quadlet`, and the loader and C library that it was built for (`ld.so`, `lib`).
///
/// # Errors
/// Where it cannot be downloaded.
pub fn quadlet() -> Result<PathBuf> {
    cache::entry("quadlet-1", |dir| {
        sh::say("fetching podman's Quadlet generator from Debian's trixie");
        let apt = Apt::open(&dir.join("apt"), &Mirror::of_this_machine()?, &[Suite::Trixie])?;
        let unpacked = dir.join("unpacked");
        apt.unpack(&["podman".to_owned(), "libc6".to_owned()], &unpacked)?;
        std::fs::create_dir(dir.join("lib"))?;
        for (from, to) in [
            ("usr/libexec/podman/quadlet", "quadlet"),
            ("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "ld.so"),
            ("usr/lib/x86_64-linux-gnu/libc.so.6", "lib/libc.so.6"),
        ] {
            std::fs::copy(unpacked.join(from), dir.join(to))
                .with_context(|| format!("podman or libc6 has no {from}"))?;
        }
        std::fs::remove_dir_all(unpacked)?;
        std::fs::remove_dir_all(dir.join("apt"))?;
        Ok(())
    })
}
