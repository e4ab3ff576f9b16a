//! What is fetched or built once: made beside its final place and renamed, so what is there is complete.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::sh;

/// The directory `name` of the cache, made by `build` in a temporary directory where it is missing.
///
/// `name` carries whatever would make an old one wrong (a recipe's version, a hash of its inputs). Two processes may
/// build the same entry at once: the first rename wins and both use it.
///
/// # Errors
/// Where `build` fails (nothing is left behind), or the cache cannot be written.
pub fn entry(name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let parent = sh::cache().join("vm");
    let done = parent.join(name);
    if done.is_dir() {
        return Ok(done);
    }
    fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
    sweep(&parent);
    let partial = parent.join(format!("{name}{PARTIAL}{}", std::process::id()));
    fs::create_dir(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    let result = build(&partial).and_then(|()| match fs::rename(&partial, &done) {
        Err(_) if done.is_dir() => Ok(()),
        other => other.with_context(|| format!("cannot move {} into place", partial.display())),
    });
    if partial.exists() {
        remove(&partial);
    }
    result.map(|()| done)
}

/// Marks a directory that is being built; the builder's process id follows.
const PARTIAL: &str = ".partial-";

/// Removes what builders that are gone have left half done.
fn sweep(parent: &Path) {
    for left in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = left.file_name();
        let pid =
            name.to_str().and_then(|n| n.rsplit_once(PARTIAL)).and_then(|(_, pid)| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove(&left.path());
        }
    }
}

/// Removes a tree, through sudo where root's files lie in it.
fn remove(dir: &Path) {
    if fs::remove_dir_all(dir).is_err() {
        let removed = sh::run(sh::as_root("rm").arg("-rf").arg("--one-file-system").arg(dir));
        if let Err(error) = removed {
            sh::say(format!("left behind: {} ({error:#})", dir.display()));
        }
    }
}

/// A directory for one run of a machine: its initramfs, disks and console; removed when dropped.
pub struct RunDir(PathBuf);

impl RunDir {
    /// Makes an empty directory that no other run has.
    ///
    /// # Errors
    /// Where the cache cannot be written.
    pub fn new() -> Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let parent = sh::cache().join("vm");
        fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
        sweep(&parent);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("run{number}{PARTIAL}{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// A path in the directory.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// The path as QEMU's option lists want it: a comma is doubled (qemu(1), "-drive").
pub fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// What a decompressor (`xz -dc`, ...) makes of `input`.
///
/// # Errors
/// Where it cannot be started, or rejects the input.
pub fn filter(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut stdin = child.stdin.take().context("no pipe to the decompressor")?;
    let out = std::thread::scope(|scope| {
        // A decompressor that stops early closes its input; its status says why.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output()
    })?;
    anyhow::ensure!(
        out.status.success(),
        "{command:?} failed: {}\n{}",
        out.status,
        String::from_utf8_lossy(&out.stderr).trim_end()
    );
    Ok(out.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_returns_what_the_program_wrote() {
        assert_eq!(filter(Command::new("tr").args(["a-z", "A-Z"]), b"abc").unwrap(), b"ABC");
    }

    #[test]
    fn a_filter_that_fails_says_what_the_program_said() {
        let error = filter(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]), b"x").unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
    }

    #[test]
    fn a_comma_in_a_path_is_doubled_for_qemu() {
        assert_eq!(escaped(Path::new("/a,b/c")), "/a,,b/c");
    }
}
