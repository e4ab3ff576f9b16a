//! The stage `show`: the effective unit against running service managers, in a Debian guest (`tests/src/show`).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Tally, units};
use crate::vm::cpio::File;
use crate::vm::debian::DebianVm;
use crate::vm::kernel::{Kernel, Series};
use crate::{programs, sh};

/// What is taken of the packages: units, drop-ins, presets.
const TAKEN: [&str; 6] = [
    "etc/systemd/system",
    "etc/systemd/user",
    "usr/lib/systemd/system",
    "usr/lib/systemd/user",
    "usr/lib/systemd/system-preset",
    "usr/lib/systemd/user-preset",
];

/// Runs the comparison. The guest's release is that of the packages' suite: its systemd reads what they are made for.
///
/// # Errors
/// Where the packages or the guest cannot be had, or it does not come to its end.
pub fn run() -> Result<Tally> {
    let root = units::packages()?;
    let [program] = programs::build([("tests", "show")])?;
    let kernel = Kernel::fetch(Series::V6_1)?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut vm = DebianVm::new(&kernel, read(&program)?);
    // Two minutes on an idle machine, and twice where a manager has to share it.
    vm.hardware.limit = Duration::from_secs(600);
    vm.files = vec![File::data("svcsensor/units.tar", packed(&root)?)];
    let mut tally = Tally::default();
    let outcome = vm.run(&mut |line| {
        tally.line(line);
        println!("{line}");
    })?;
    sh::say(format!("guest: {:.1} s", outcome.elapsed.as_secs_f32()));
    if outcome.status != 0 && tally.failed == 0 {
        println!("not ok show.guest: it ended with status {}\n{}", outcome.status, outcome.console);
        tally.failed = 1;
    }
    Ok(tally)
}

fn packed(root: &Path) -> Result<Vec<u8>> {
    let archive = sh::cache().join("units/units.tar");
    let taken = TAKEN.iter().filter(|folder| root.join(folder).is_dir());
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--directory"]).arg(root).arg("--file").arg(&archive);
    sh::output(tar.args(taken))?;
    let bytes = fs::read(&archive).with_context(|| format!("cannot read {}", archive.display()))?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    Ok(bytes)
}
