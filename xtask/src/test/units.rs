//! The stage `units`: the effective unit against systemd's own, on the unit files of Debian packages; and Quadlets against
//! podman's own generator.
//!
//! The packages are those of this machine's release that depend on init-system-helpers, which is what makes a package's
//! scripts enable its units: known to apt without a question to the mirror. The smallest are fetched, and systemd's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Tally;
use crate::vm::tool;
use crate::{apt, sh};

/// How many packages are laid out.
const PACKAGES: usize = 160;

/// Has many units, though it does not depend on init-system-helpers.
const ALWAYS: [&str; 2] = ["systemd", "udev"];

/// Runs the comparison; without the packages (offline) only on generated units, and said so.
pub fn run() -> Result<Tally> {
    apt::need(&["systemd"], "systemd-analyze, to compare with")?;
    let mut test = sh::cargo();
    test.args([
        "test",
        "--quiet",
        "--package",
        "sensor-user",
        "--test",
        "unit_semantics",
        "--test",
        "quadlet_semantics",
        "--",
        "--nocapture",
    ]);
    let mut tally = Tally::PASSED;
    match packages() {
        Ok(root) => {
            test.env("SVCSENSOR_UNITS", root);
        }
        Err(error) => {
            println!("skipped units of packages: {error:#}");
            tally.skipped += 1;
        }
    }
    match tool::quadlet() {
        Ok(tools) => {
            test.env("SVCSENSOR_QUADLET", tools);
        }
        Err(error) => {
            println!("skipped Quadlets: {error:#}");
            tally.skipped += 1;
        }
    }
    sh::run(&mut test)?;
    Ok(tally)
}

/// The folder with the packages' files, filled where it is not.
///
/// # Errors
/// Where apt cannot reach its archive.
pub fn packages() -> Result<PathBuf> {
    let dir = sh::cache().join("units");
    let root = dir.join("root");
    if root.is_dir() {
        return Ok(root);
    }
    apt::update()?;
    let names = choose()?;
    ensure!(names.len() >= PACKAGES, "apt knows only {} packages with units", names.len());
    let debs = dir.join("debs");
    fs::create_dir_all(&debs).with_context(|| format!("cannot make {}", debs.display()))?;
    sh::say(format!("fetching {} packages for their units", names.len()));
    sh::output(Command::new("apt-get").args(["download", "--quiet"]).args(&names).current_dir(&debs))?;
    // Complete or absent: the name is given at the end.
    let partial = dir.join("partial");
    let _ = fs::remove_dir_all(&partial);
    lay_out(&debs, &partial)?;
    fs::rename(&partial, &root).with_context(|| format!("cannot make {}", root.display()))?;
    fs::remove_dir_all(&debs).with_context(|| format!("cannot remove {}", debs.display()))?;
    Ok(root)
}

/// The names of the packages, by apt's own lists on this machine.
fn choose() -> Result<Vec<String>> {
    let depending = sh::output(Command::new("apt-cache").args(["rdepends", "init-system-helpers"]))?;
    let mut names: Vec<&str> =
        depending.lines().skip(2).map(|line| line.trim().trim_start_matches('|')).collect();
    names.sort_unstable();
    names.dedup();
    let shown = sh::output(Command::new("apt-cache").args(["show", "--no-all-versions"]).args(&names))?;
    let mut sized = sizes(&shown);
    sized.sort();
    let smallest = sized.into_iter().map(|(_, name)| name).take(PACKAGES);
    Ok(ALWAYS.iter().map(|name| (*name).to_owned()).chain(smallest).collect())
}

/// Sizes and names in the stanzas of `apt-cache show`.
fn sizes(shown: &str) -> Vec<(u64, String)> {
    let stanza = |text: &str| {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Some((field("Size")?.parse().ok()?, field("Package")?.to_owned()))
    };
    shown.split("\n\n").filter_map(stanza).collect()
}

fn lay_out(debs: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("usr/lib")).with_context(|| format!("cannot make {}", root.display()))?;
    for name in ["lib", "bin", "sbin"] {
        fs::create_dir_all(root.join("usr").join(name))?;
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
    }
    // `dpkg-deb --extract` replaces links to directories; tar can be told not to.
    let archive = root.join("archive.tar");
    for deb in fs::read_dir(debs)? {
        let deb = deb?.path();
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--fsys-tarfile").arg(&deb).stdout(fs::File::create(&archive)?);
        sh::run(&mut unpack)?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--keep-directory-symlink", "--no-same-owner", "--file"]).arg(&archive);
        sh::output(tar.arg("--directory").arg(root))?;
    }
    fs::remove_file(archive)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_give_names_and_sizes() {
        let shown = "Package: a\nVersion: 1\nInstalled-Size: 9\nSize: 1200\n\nPackage: b\nSize: x\n\nPackage: c\nSize: 7\n";
        assert_eq!(sizes(shown), [(1200, "a".to_owned()), (7, "c".to_owned())]);
    }
}
