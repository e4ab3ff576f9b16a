//! A flood: what is watched must come through, and what is dropped must be counted to the last record.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::{self, OpenOptions};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sensor_common::record::{counter, kind};
use sensor_user::event::decode::{Event, decode};
use sensor_user::probe::hooks::Backend;

use super::case::{Child, call};
use super::process;
use super::sensor::Sensor;
use super::setup::{self, Results};

/// Processes that make the flood; the machine has as many processors.
const WORKERS: u32 = 2;
/// Watched writes in each flood.
const WATCHED: u32 = 500;
/// Executions and unrelated writes in the flood with a reader.
const READ: u32 = 10_000;
/// The same in the one without: several times what the ring holds.
const UNREAD: u32 = 30_000;
/// Processes with a second thread that ends at the moment the first does.
const THREADED: u32 = 2_000;
/// Files replaced by a rename: more than the map of files has entries.
const REPLACED: u32 = 20_000;

/// Runs the floods with this backend.
///
/// # Errors
/// Where the sensor cannot be started.
pub fn run_all(backend: Backend, results: &mut Results) -> Result<()> {
    setup::mount("tmpfs", "tmpfs", "/w", None)?;
    for directory in ["watched", "plain"] {
        fs::create_dir(format!("/w/{directory}"))?;
    }
    process::prepare()?;
    let mut sensor = Sensor::start(backend, &["/w/watched".into()], None)?;
    for (name, flood) in [
        (format!("{READ} execs and writes, read as they come"), Flood { each: READ, read: true }),
        (format!("{UNREAD} execs and writes, read afterwards"), Flood { each: UNREAD, read: false }),
    ] {
        let start = Instant::now();
        let outcome = flood.run(&mut sensor);
        if let Ok(tally) = &outcome {
            results.say(format_args!("{name}: {:.1} s, {tally}", start.elapsed().as_secs_f32()));
        }
        results.report(&format!("burst/{name}"), outcome.map(drop));
    }
    results.report("burst/threads that end together", threads(&mut sensor));
    results.report("burst/files replaced by rename", replaced(&mut sensor));
    for (hook, misses) in sensor.loaded.recursion_misses() {
        results.say(format_args!("{hook}: {misses} runs skipped by the recursion guard"));
    }
    Ok(())
}

/// What is counted by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    received: u64,
    dropped: u64,
    /// Runs of the program that the kernel left out.
    missed: u64,
}

/// What came of a flood.
#[derive(Default)]
struct Tally {
    kinds: HashMap<u16, Count>,
    /// Records of each watched file: created, opened, closed.
    watched: HashMap<String, [u32; 3]>,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for number in PROCESS_KINDS {
            let count = self.kind(number);
            let name = kind::name(number).unwrap_or_default();
            write!(out, "{name} {} received {} dropped; ", count.received, count.dropped)?;
        }
        write!(out, "{} watched files", self.watched.len())
    }
}

const PROCESS_KINDS: [u16; 3] = [kind::PROCESS_FORK, kind::PROCESS_EXEC, kind::PROCESS_EXIT];

impl Tally {
    fn kind(&self, number: u16) -> Count {
        self.kinds.get(&number).copied().unwrap_or_default()
    }

    fn take(&mut self, sensor: &mut Sensor) {
        sensor.drain(|record| {
            // Only what is watched is decoded: the flood of the rest is counted.
            let number = u16::from_ne_bytes([record[0], record[1]]);
            self.kinds.entry(number).or_default().received += 1;
            if let (kind::FILE_CREATE..=kind::FILE_CLOSE_WRITE, Ok(Event::File(event))) =
                (number, decode(record))
            {
                let steps = self.watched.entry(event.path.to_path("")).or_default();
                steps[usize::from(number - kind::FILE_CREATE)] += 1;
            }
        });
    }
}

/// A number of executions, as many unrelated writes, and watched writes among them.
struct Flood {
    each: u32,
    /// Whether the ring is read meanwhile.
    read: bool,
}

impl Flood {
    fn run(&self, sensor: &mut Sensor) -> Result<Tally> {
        sensor.drain(|_| {});
        let before = Losses::now(sensor)?;
        let mut tally = Tally::default();
        let mut workers = Vec::new();
        for worker in 0..WORKERS {
            workers.push(Child::start(|| self.work(worker))?);
        }
        for worker in workers {
            while self.read && !worker.has_ended()? {
                tally.take(sensor);
                std::thread::sleep(Duration::from_millis(1));
            }
            worker.wait()?;
        }
        tally.take(sensor);
        let lost = Losses::now(sensor)?;
        for (index, number) in PROCESS_KINDS.into_iter().enumerate() {
            let count = tally.kinds.entry(number).or_default();
            count.dropped = lost.dropped[index] - before.dropped[index];
            count.missed = lost.missed[index] - before.missed[index];
        }
        self.check(&tally)?;
        ensure!(lost.files == before.files, "records of watched files were dropped: {}", lost.files);
        Ok(tally)
    }

    /// One worker's part.
    fn work(&self, worker: u32) -> Result<()> {
        let mine = self.each / WORKERS;
        let every = self.each / WATCHED;
        for number in 0..mine {
            spawn()?;
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(format!("/w/plain/{worker}-{}", number % 64))?;
            if number % every == 0 {
                fs::write(format!("/w/watched/{}-{worker}-{}", self.each, number / every), "x")?;
            }
        }
        Ok(())
    }

    fn check(&self, tally: &Tally) -> Result<()> {
        let workers = u64::from(WORKERS);
        let each = u64::from(self.each);
        let made = [each + workers, each, each + workers];
        for (number, made) in PROCESS_KINDS.into_iter().zip(made) {
            let count = tally.kind(number);
            let name = kind::name(number).unwrap_or_default();
            ensure!(
                count.received + count.dropped + count.missed == made,
                "{name}: {made} made, but {count:?}"
            );
            // Without a reader the ring must have overflowed, or nothing was tried.
            ensure!(self.read || count.dropped > 0, "{name}: nothing was dropped: {count:?}");
        }
        let whole = tally.watched.values().filter(|steps| **steps == [1, 1, 1]).count();
        ensure!(
            whole == WATCHED as usize && tally.watched.len() == whole,
            "{whole} of {WATCHED} watched writes came through whole, {} at all",
            tally.watched.len()
        );
        Ok(())
    }
}

/// What the programs and the kernel say of records that were not made.
struct Losses {
    /// As in [`PROCESS_KINDS`].
    dropped: [u64; 3],
    missed: [u64; 3],
    /// Dropped records of files, of all kinds.
    files: u64,
}

impl Losses {
    fn now(sensor: &Sensor) -> Result<Self> {
        let misses: HashMap<&str, u64> = sensor.loaded.recursion_misses().into_iter().collect();
        let missed = |hook| misses.get(hook).copied().with_context(|| format!("no count of {hook}'s misses"));
        let mut files = 0;
        for number in kind::FILE_CREATE..=kind::UMOUNT {
            files += sensor.counter(u32::from(number))?;
        }
        Ok(Self {
            dropped: [
                sensor.counter(u32::from(kind::PROCESS_FORK))?,
                sensor.counter(u32::from(kind::PROCESS_EXEC))?,
                sensor.counter(u32::from(kind::PROCESS_EXIT))?,
            ],
            missed: [missed("process_fork")?, missed("process_exec")?, missed("process_exit")?],
            files,
        })
    }
}

/// Starts the smallest program, without copying this process, and waits for it.
fn spawn() -> Result<()> {
    const PATH: &CStr = c"/w/bin/tiny";
    let args = [PATH.as_ptr().cast_mut(), std::ptr::null_mut()];
    let environment = [std::ptr::null_mut()];
    let (mut pid, mut status) = (0, 0);
    // SAFETY: a path, and arrays of strings that end with null pointers.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            PATH.as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            args.as_ptr(),
            environment.as_ptr(),
        )
    };
    ensure!(error == 0, "posix_spawn: {}", std::io::Error::from_raw_os_error(error));
    // SAFETY: waits for a child of ours; the status is a local.
    call("waitpid", unsafe { libc::waitpid(pid, &raw mut status, 0) })?;
    ensure!(status == 0, "status {status:#x}");
    Ok(())
}

/// A process ends once, although two of its threads may find themselves to be the last.
fn threads(sensor: &mut Sensor) -> Result<()> {
    sensor.drain(|_| {});
    let before = Losses::now(sensor)?;
    let worker = Child::start(|| {
        for _ in 0..THREADED {
            let child = Child::start(|| std::thread::spawn(|| {}).join().ok().context("thread"))?;
            child.wait()?;
        }
        Ok(())
    })?;
    let mut tally = Tally::default();
    while !worker.has_ended()? {
        tally.take(sensor);
        std::thread::sleep(Duration::from_millis(1));
    }
    worker.wait()?;
    tally.take(sensor);
    let after = Losses::now(sensor)?;
    let lost = after.dropped[2] + after.missed[2] - before.dropped[2] - before.missed[2];
    let exits = tally.kind(kind::PROCESS_EXIT).received + lost;
    let made = u64::from(THREADED) + 1;
    ensure!(exits == made, "{exits} exits of {made} processes");
    Ok(())
}

/// However many files were replaced, one that is moved in while it is open is seen to be closed.
fn replaced(sensor: &mut Sensor) -> Result<()> {
    const FROM: &str = "/w/plain/new";
    const TO: &str = "/w/watched/replaced";
    let worker = Child::start(|| {
        for _ in 0..REPLACED {
            let kind = rustix::fs::FileType::RegularFile;
            rustix::fs::mknodat(rustix::fs::CWD, FROM, kind, rustix::fs::Mode::from_raw_mode(0o600), 0)?;
            fs::rename(FROM, TO)?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(FROM)?;
        fs::rename(FROM, TO)?;
        rustix::io::write(&file, b"x")?;
        Ok(())
    })?;
    let mut tally = Tally::default();
    while !worker.has_ended()? {
        tally.take(sensor);
    }
    worker.wait()?;
    tally.take(sensor);
    let (renames, closes) =
        (tally.kind(kind::FILE_RENAME).received, tally.kind(kind::FILE_CLOSE_WRITE).received);
    ensure!((renames, closes) == (u64::from(REPLACED) + 1, 1), "{renames} renames, {closes} closes");
    ensure!(sensor.counter(counter::WATCH_FULL)? == 0, "the map of files was full");
    Ok(())
}
