//! The program that boots as init in the micro VM.
//!
//! `/init hooks BACKEND` tries every hook with the backend `lsm` or `fentry`; `/init burst BACKEND` counts what a flood
//! leaves. Each result is a line on the result port: `ok NAME`, `not ok NAME: ...` or `skipped NAME: reason`; the last
//! line is `EXIT n`.

mod case;
mod data;
mod mounts;
mod names;
mod paths;
mod sensor;
mod setup;
mod text;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sensor_common::record::kind;
use sensor_user::probe::hooks::Backend;

use case::{Case, Child, Place};
use sensor::Sensor;
use setup::Results;
use text::{Seen, Text};

/// Runs as init and never returns.
pub fn main() -> ! {
    let arguments: Vec<String> = std::env::args().collect();
    if let Err(error) = init(&arguments) {
        // The console: the harness shows it where there was no EXIT line.
        eprintln!("guest: {error:#}");
        std::process::exit(1);
    }
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

fn init(arguments: &[String]) -> Result<()> {
    setup::mount_all()?;
    let mut results = Results::open()?;
    if let Err(error) = tests(arguments, &mut results) {
        results.report("run", Err(error));
    }
    results.exit();
    Ok(())
}

fn tests(arguments: &[String], results: &mut Results) -> Result<()> {
    let backend = match arguments.get(2).map(String::as_str) {
        Some("lsm") => Backend::Lsm,
        Some("fentry") => Backend::Fentry,
        other => bail!("no backend {other:?}"),
    };
    setup::load_modules()?;
    match arguments.get(1).map(String::as_str) {
        Some("hooks") => hooks(backend, results),
        other => bail!("no test {other:?}"),
    }
}

/// Every case of every table.
fn hooks(backend: Backend, results: &mut Results) -> Result<()> {
    setup::mount("tmpfs", "tmpfs", "/w", None)?;
    let cases: Vec<Case> = [data::cases(), names::cases(), paths::cases(), mounts::cases()].into_iter().flatten().collect();
    for case in &cases {
        for control in [false, true] {
            Place::new("/w", case.name, control).prepare(&case.before)?;
        }
    }
    let start = Instant::now();
    let mut sensor = Sensor::start(backend, &["/w/watched".into()], None)?;
    results.say(format_args!("{} is in place after {:.1} s", backend.name(), start.elapsed().as_secs_f32()));
    for case in &cases {
        let result = run(&mut sensor, case, &Place::new("/w", case.name, false), &case.want);
        results.report(case.name, result);
        let control = run(&mut sensor, case, &Place::new("/w", case.name, true), &[]);
        results.report(&format!("{} (unwatched)", case.name), control);
    }
    let losses = sensor.losses()?;
    results.report("no record was lost", if losses.is_empty() { Ok(()) } else { bail!("{losses:?}") });
    Ok(())
}

/// How long a record may take: io_uring's threads act when they please.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs one case and compares its records.
fn run(sensor: &mut Sensor, case: &Case, place: &Place, want: &[String]) -> Result<()> {
    let text = |sensor: &Sensor| sensor.names.clone();
    let names = text(sensor);
    let text = Text { names: &names, place };
    let mut late = Vec::new();
    sensor.drain(|record| late.extend(text.file(record)));
    let before = boottime_ns()?;
    let child = Child::start(|| (case.act)(place))?;
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
    ensure!(got == want, "expected {want:?}, got {got:?}");
    for seen in &seen {
        identity(seen)?;
        ensure!(seen.task.tgid == pid as u32, "{}: by process {}, not {pid}", seen.line, seen.task.tgid);
        ensure!(
            (before..=after).contains(&seen.boottime_ns),
            "{}: at {}, not between {before} and {after}",
            seen.line,
            seen.boottime_ns
        );
    }
    ensure!(late.is_empty(), "the case before this one left {late:?}");
    Ok(())
}

/// Compares what a record says of its object with what is there now.
fn identity(seen: &Seen) -> Result<()> {
    let object = &seen.object;
    let not_yet = [kind::FILE_CREATE, kind::FILE_MKDIR, kind::FILE_MKNOD, kind::FILE_SYMLINK].contains(&seen.kind);
    ensure!(not_yet == (object.inode == 0), "{}: inode {}", seen.line, object.inode);
    let Ok(there) = rustix::fs::lstat(&seen.path) else { return Ok(()) };
    if not_yet || seen.kind == kind::FILE_UNLINK || seen.kind == kind::FILE_RMDIR {
        return Ok(());
    }
    let device = rustix::fs::major(there.st_dev) << 20 | rustix::fs::minor(there.st_dev);
    let (inode, kind) = (there.st_ino, there.st_mode & libc::S_IFMT);
    ensure!(
        (object.inode, object.device, object.mode & libc::S_IFMT) == (inode, device, kind),
        "{}: is inode {inode} of device {device:#x}, the record says {object:?}",
        seen.line
    );
    Ok(())
}

/// `CLOCK_BOOTTIME`.
fn boottime_ns() -> Result<u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).context("the clock stands before the boot")
}
