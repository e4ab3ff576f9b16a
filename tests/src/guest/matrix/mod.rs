//! The evasion matrix: each operation on a unit, done in each way, and whether the sensor saw it.
//!
//! A cell is `seen` if the records without which nobody would know are there, with the path of the host and the process
//! that did it; `refused` if the kernel itself does not allow it; `n/a` if operation and way cannot be combined or
//! change nothing that is watched; `missed` if there is a hole. All but `seen` have a reason in [`reasons`], or the cell
//! fails. Lines of the results are
//!
//! ```text
//! operation NAME GROUP WHAT
//! way NAME WHAT
//! ok cell WAY OPERATION OUTCOME ERRNO BECAUSE
//! not ok cell WAY OPERATION: what happened
//! ```
//!
//! with tabs between the fields; an errno or a reason that is not there is a dash.

mod cell;
mod ground;
mod operations;
mod reasons;
mod ring;
mod ways;

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};
use sensor_user::probe::hooks::Backend;

use cell::{Cell, Verdict};
pub use cell::{PROGRAM, program};
use ground::Scene;
use operations::Operation;
use reasons::Why;
use ways::{Reach, Way};

use super::case::{Child, Place};
use super::sensor::Sensor;
use super::setup::Results;
use super::text::{Seen, Text};

/// How long a record may take that must come: `io_uring`'s threads act when they please.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one may take that is not expected.
const BRIEFLY: Duration = Duration::from_millis(50);

/// Does all of it.
///
/// # Errors
/// Where the ground cannot be laid; a cell that fails is a result.
pub fn run_all(backend: Backend, results: &mut Results) -> Result<()> {
    let (ways, operations) = (ways::all(), operations::all()?);
    for operation in &operations {
        results.say(format_args!("operation\t{}\t{}\t{}", operation.name, operation.group, operation.what));
    }
    for way in &ways {
        results.say(format_args!("way\t{}\t{}", way.name, way.what));
    }
    let mut scene = Scene::new(results)?;
    let (mut directories, mut files, mut watched) = (Vec::new(), Vec::new(), ground::watched());
    for cell in cells(&ways, &operations, &scene) {
        cell.prepare().with_context(|| cell.key.clone())?;
        let open = |path: &Path, write| -> Result<OwnedFd> {
            Ok(fs::OpenOptions::new().read(true).write(write).open(path)?.into())
        };
        match cell.way.name {
            "old-dirfd" => directories.push((cell.key.clone(), open(&cell.host.watched, false)?)),
            "old-fd" if cell.operation.on_file.is_some() => {
                files.push((cell.key.clone(), open(&cell.host.at("a"), true)?));
            }
            _ => {}
        }
        if cell.operation.name == "link_target" {
            // The daemon reads each unit that is a symlink, and has its end watched (`detect/follow.rs`).
            watched.push(cell.host.at(":b").to_string_lossy().into_owned());
        }
    }
    scene.directories.extend(directories);
    scene.files.get_mut().extend(files);

    let start = Instant::now();
    let mut sensor = Sensor::start(backend, &watched, None)?;
    let seeded = sensor.watches.seed_files()?;
    ensure!(seeded.errors.is_empty() && !seeded.cut, "{:?}", seeded.errors);
    results.say(format_args!("{} is in place after {:.1} s", backend.name(), start.elapsed().as_secs_f32()));
    Scene::mount_aliases()?;
    for way in &ways {
        for operation in &operations {
            let outcome = outcome(&mut sensor, &scene, way, operation);
            let name = format!("cell\t{}\t{}", way.name, operation.name);
            match outcome {
                Ok(None) => results.report(&format!("{name}\tseen\t-\t-"), Ok(())),
                Ok(Some(reason)) => {
                    results.report(&format!("{name}\t{}\t{}", reason.why, reason.because), Ok(()));
                }
                Err(error) => results.report(&name, Err(error)),
            }
        }
    }
    let losses = sensor.losses()?;
    let complete = || {
        ensure!(losses.is_empty(), "{losses:?}");
        Ok(())
    };
    results.report("no record is lost", complete());
    Ok(())
}

/// Every cell that is tried.
fn cells<'a>(
    ways: &'a [Way],
    operations: &'a [Operation],
    scene: &'a Scene,
) -> impl Iterator<Item = Cell<'a>> {
    ways.iter()
        .flat_map(move |way| operations.iter().filter_map(move |operation| Cell::new(way, operation, scene)))
}

impl<'a> Cell<'a> {
    /// The cell; nothing where way and operation cannot be combined.
    fn new(way: &'a Way, operation: &'a Operation, scene: &'a Scene) -> Option<Self> {
        let possible = match way.reach {
            Reach::File(_) => operation.on_file.is_some(),
            Reach::Ring(_) => operation.by_ring.is_some(),
            Reach::Names(_) | Reach::Thread | Reach::Memfd => true,
        };
        if !possible {
            return None;
        }
        let key = format!("{}-{}", way.name, operation.name);
        let (base, filesystem) = way.ground.paths(operation);
        let mut host = Place::new(base, &key, false);
        let start = host.watched.clone();
        if way.name == "long-path" {
            host.watched = start.join(ways::long_directory());
        }
        Some(Self { key, way, operation, host, start, filesystem, scene })
    }

    /// Makes what is there before the sensor starts; below a long path by a process that goes there.
    fn prepare(&self) -> Result<()> {
        if self.host.watched == self.start {
            self.host.prepare(&self.operation.before)?;
            return (self.operation.arrange)(&self.host, &self.host);
        }
        Child::start(|| {
            let short = Place { watched: self.start.clone(), ..self.host.clone() };
            short.prepare(&[format!("{}/", ways::long_directory())])?;
            rustix::process::fchdir(short.directory(&ways::long_directory())?)?;
            let here = Place { watched: ".".into(), ..self.host.clone() };
            here.prepare(&self.operation.before)?;
            (self.operation.arrange)(&here, &self.host)
        })?
        .wait()
    }
}

/// Tries a cell: nothing is a record, else there is a reason.
fn outcome(
    sensor: &mut Sensor,
    scene: &Scene,
    way: &Way,
    operation: &Operation,
) -> Result<Option<&'static reasons::Reason>> {
    let find = |fits: &dyn Fn(Why) -> bool| reasons::find(way.name, operation.name, fits);
    let Some(cell) = Cell::new(way, operation, scene) else {
        return Ok(Some(find(&|why| why == Why::Apart).context("no reason why it is not tried")?));
    };
    let names = sensor.names.clone();
    let place = Place { mount: cell.filesystem.into(), ..cell.host.clone() };
    let text = Text { names: &names, place: &place };
    sensor.drain(|_| {});
    let before = fingerprint(&cell.start)?;
    let (pid, verdict) = cell.run()?;
    match verdict {
        Verdict::Done => {}
        Verdict::Failed(what) => bail!("{what}"),
        Verdict::Lacking(what) => return Ok(Some(find(&|why| why == Why::Lacking).context(what)?)),
        Verdict::Refused(number, what) => {
            let fits = |why| matches!(why, Why::Refused(errno) if errno.1 == number);
            return Ok(Some(find(&fits).with_context(|| format!("refused without a reason: {what}"))?));
        }
    }
    let silent = find(&|why| why == Why::Unchanged);
    let deadline = Instant::now() + if silent.is_some() { BRIEFLY } else { PATIENCE };
    let mut seen: Vec<Seen> = Vec::new();
    let lacking = loop {
        sensor.drain(|record| seen.extend(text.file(record)));
        let lacking = lacking(operation.needs, &seen, pid);
        if lacking.is_none() || Instant::now() > deadline {
            break lacking;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let changed = fingerprint(&cell.start)? != before;
    let lines: Vec<String> = seen.iter().map(|seen| format!("{} by {}", seen.line, seen.task.tgid)).collect();
    match (lacking, silent) {
        (None, None) => Ok(None),
        (None, Some(reason)) => bail!("seen now, {lines:?}: take out the reason {:?}", reason.because),
        (Some(_), Some(reason)) if !changed => Ok(Some(reason)),
        (Some(lacking), _) => bail!("missed: no {lacking:?} by {pid}, but {lines:?}"),
    }
}

/// The first of the needed records that no line of this process begins with.
fn lacking(needs: &[&'static str], seen: &[Seen], pid: u32) -> Option<&'static str> {
    let is_there = |need: &str| {
        seen.iter().filter(|seen| seen.task.tgid == pid).any(|seen| {
            seen.line.strip_prefix(need).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    };
    needs.iter().copied().find(|needs| !needs.split('|').any(is_there))
}

/// Everything below a directory that would be another unit to PID 1, symlinks of files followed. Each directory is
/// opened from the one above: paths may be too long for a system call.
fn fingerprint(directory: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut waiting = vec![rustix::fs::open(directory, flags, Mode::empty())?];
    while let Some(directory) = waiting.pop() {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let itself = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let mut content = Vec::new();
            if statat(&directory, name, AtFlags::empty())
                .is_ok_and(|there| there.st_mode & libc::S_IFMT == libc::S_IFREG)
            {
                let file = openat(&directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
                fs::File::from(file).read_to_end(&mut content)?;
            }
            found.push(format!(
                "{name:?} {:o} {} {} {content:?}",
                itself.st_mode, itself.st_ino, itself.st_nlink
            ));
            if itself.st_mode & libc::S_IFMT == libc::S_IFDIR {
                waiting.push(openat(&directory, name, flags, Mode::empty())?);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_has_every_row_and_column() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/EVASION.md");
        let document = fs::read_to_string(path).unwrap();
        let (ways, operations) = (ways::all(), operations::all().unwrap());
        let titles = ways.iter().map(|way| (way.name, way.what));
        for (name, what) in titles.chain(operations.iter().map(|operation| (operation.name, operation.what)))
        {
            let line = format!("- `{name}`: {what}");
            assert!(document.lines().any(|known| known == line), "docs/EVASION.md lacks {line:?}");
        }
        for way in &ways {
            let cells: usize = document
                .lines()
                .filter(|line| line.starts_with(&format!("| {} |", way.name)))
                .map(|row| row.matches('|').count() - 2)
                .sum();
            assert_eq!(cells, operations.len(), "cells of {}", way.name);
        }
    }
}
