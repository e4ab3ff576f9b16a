//! QEMU 10, from trixie: fetched once with the libraries and the loader it was built for.
//!
//! The QEMU 7.2 of bookworm miscomputes flags when it emulates x86 (TCG): kernels hang at random points of their boot.
//! The machines here have no KVM, so a newer one is worth its own C library.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;
use super::suites::{Apt, Mirror, Suite};
use crate::sh;

/// A QEMU that can be started.
pub struct Qemu {
    root: PathBuf,
}

impl Qemu {
    /// The cached QEMU, or a new one: 40 MB to download.
    ///
    /// # Errors
    /// Where it cannot be downloaded, or does not start.
    pub fn fetch() -> Result<Self> {
        let root = cache::entry("qemu-1", |dir| {
            sh::say("fetching QEMU from Debian's trixie");
            let apt = Apt::open(&dir.join("apt"), &Mirror::of_this_machine()?, &[Suite::Trixie])?;
            apt.unpack_with_dependencies("qemu-system-x86", dir)?;
            std::fs::remove_dir_all(dir.join("apt"))?;
            let version = sh::output(Self { root: dir.to_owned() }.command().arg("--version"))
                .context("the QEMU that was fetched does not start")?;
            sh::say(version.lines().next().unwrap_or_default());
            Ok(())
        })?;
        Ok(Self { root })
    }

    /// The command that starts it: through its own loader, with its own firmware, and killed by the kernel if the
    /// thread that starts it ends first (setpriv(1), `--pdeathsig`), so that no machine outlives its test.
    pub fn command(&self) -> Command {
        let path = |part: &str| self.root.join(part);
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(path("usr/lib64/ld-linux-x86-64.so.2"))
            .arg("--library-path")
            .arg(path("usr/lib/x86_64-linux-gnu"))
            .arg(path("usr/bin/qemu-system-x86_64"))
            .arg("-L")
            .arg(path("usr/share/qemu"))
            .arg("-L")
            .arg(path("usr/share/seabios"));
        command
    }
}
