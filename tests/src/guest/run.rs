//! Doing something and looking at the records that come of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sensor_common::record::kind;

use super::case::{Case, Child, Place, Who};
use super::sensor::Sensor;
use super::setup::Results;
use super::text::{Seen, Text};

/// How long a record may take: `io_uring`'s threads act when they please.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs cases on the filesystem mounted at `mount`: each where it is watched, then where it is not.
pub fn table(sensor: &mut Sensor, results: &mut Results, label: &str, mount: &str, cases: &[Case]) {
    for case in cases {
        let name = format!("{label}/{}", case.name);
        if let Some(reason) = &case.skip {
            results.skip(&name, reason);
            continue;
        }
        let watched = run(sensor, case, &Place::new(mount, case.name, false), &case.want);
        results.report(&name, watched);
        let control = run(sensor, case, &Place::new(mount, case.name, true), &[]);
        results.report(&format!("{name} (unwatched)"), control);
    }
}

/// Makes what the cases need before the sensor starts.
///
/// # Errors
/// Where a file cannot be made.
pub fn prepare(mount: &str, cases: &[Case]) -> Result<()> {
    for case in cases {
        for control in [false, true] {
            Place::new(mount, case.name, control).prepare(&case.before)?;
        }
    }
    Ok(())
}

/// Runs one case and compares its records.
fn run(sensor: &mut Sensor, case: &Case, place: &Place, want: &[String]) -> Result<()> {
    expect(sensor, place, case.who, || (case.act)(place), want)
}

/// Does something in a process of its own; its records must be these, by this process and of this moment.
///
/// # Errors
/// Where they are others, or the act fails.
pub fn expect<S: AsRef<str>>(
    sensor: &mut Sensor,
    place: &Place,
    who: Who,
    act: impl FnOnce() -> Result<()>,
    want: &[S],
) -> Result<()> {
    let names = sensor.names.clone();
    let text = Text { names: &names, place };
    let mut late = Vec::new();
    sensor.drain(|record| late.extend(text.file(record)));
    let late: Vec<String> = late.into_iter().map(|seen| seen.line).collect();
    ensure!(late.is_empty(), "what was done before this left {late:?}");

    let before = boottime_ns()?;
    let child = Child::start(act)?;
    let pid = child.pid;
    child.wait()?;
    let deadline = Instant::now() + PATIENCE;
    let mut seen: Vec<Seen> = Vec::new();
    loop {
        sensor.drain(|record| seen.extend(text.file(record)));
        if seen.len() >= want.len() || Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let after = boottime_ns()?;

    let got: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).collect();
    let want: Vec<&str> = want.iter().map(AsRef::as_ref).collect();
    // Names of 255 bytes are not for reading.
    let short = |lines: &[&str]| format!("{lines:?}").replace(&"n".repeat(255), "N");
    let as_wanted = if place.layers { contains_in_order(&got, &want) } else { got == want };
    ensure!(as_wanted, "expected {}, got {}", short(&want), short(&got));
    for seen in &seen {
        identity(seen, place)?;
        let by = seen.task.tgid;
        ensure!(who == Who::Anyone || by == pid.cast_unsigned(), "{}: by process {by}, not {pid}", seen.line);
        ensure!(
            (before..=after).contains(&seen.boottime_ns),
            "{}: at {}, not between {before} and {after}",
            seen.line,
            seen.boottime_ns
        );
    }
    Ok(())
}

/// Whether `got` has everything in `want` in this order, with other things between.
fn contains_in_order(got: &[&str], want: &[&str]) -> bool {
    let mut got = got.iter();
    want.iter().all(|line| got.any(|other| other == line)) && (!want.is_empty() || got.len() == 0)
}

/// Compares what a record says of its object with what is there now.
fn identity(seen: &Seen, place: &Place) -> Result<()> {
    let object = &seen.object;
    let not_yet =
        [kind::FILE_CREATE, kind::FILE_MKDIR, kind::FILE_MKNOD, kind::FILE_SYMLINK].contains(&seen.kind);
    ensure!(not_yet == (object.inode == 0), "{}: inode {}", seen.line, object.inode);
    let Ok(there) = rustix::fs::lstat(&seen.path) else { return Ok(()) };
    // With layers a directory above may be another one by now.
    let moved_on =
        place.layers || [kind::FILE_UNLINK, kind::FILE_RMDIR, kind::MOUNT, kind::UMOUNT].contains(&seen.kind);
    if not_yet || moved_on {
        return Ok(());
    }
    let device = rustix::fs::major(there.st_dev) << 20 | rustix::fs::minor(there.st_dev);
    let device = if place.stat_has_device { device } else { object.device };
    let (inode, kind) = (there.st_ino, there.st_mode & libc::S_IFMT);
    ensure!(
        (object.inode, object.device, object.mode & libc::S_IFMT) == (inode, device, kind),
        "{}: is inode {inode} of device {device:#x}, the record says {object:?}",
        seen.line
    );
    Ok(())
}

/// `CLOCK_BOOTTIME`.
///
/// # Errors
/// Where the clock is before the boot.
pub fn boottime_ns() -> Result<u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).context("the clock stands before the boot")
}
