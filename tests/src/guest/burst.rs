//! A flood that nobody reads: what is watched must come through, and what is dropped must be counted to the last record.
//! The one that the daemon reads is in [`flood`].

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sensor_common::record::{counter, kind};
use sensor_user::event::decode::{Event, decode};
use sensor_user::probe::hooks::Backend;

use super::case::Child;
use super::flood::{self, Flood, Processes, WATCHED};
use super::process;
use super::sensor::Sensor;
use super::setup::{self, Results};

/// Executions, and as many unrelated writes: several times what the ring holds.
const UNREAD: u32 = 10_000;
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
    flood::run_all(results)?;
    let mut sensor = Sensor::start(backend, &["/w/watched".into()], None)?;
    let start = Instant::now();
    let outcome = unread(&mut sensor);
    let name = format!("{UNREAD} execs and writes, read afterwards");
    if let Ok(tally) = &outcome {
        results.say(format_args!("{name}: {:.1} s, {tally}", start.elapsed().as_secs_f32()));
    }
    results.report(&format!("burst/{name}"), outcome.map(drop));
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

impl Count {
    fn all(self) -> u64 {
        self.received + self.dropped + self.missed
    }
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

    /// Enters what was lost between two moments.
    fn lost(&mut self, before: &Kernel, after: &Kernel) {
        for (index, number) in PROCESS_KINDS.into_iter().enumerate() {
            let count = self.kinds.entry(number).or_default();
            count.dropped = after.dropped[index] - before.dropped[index];
            count.missed = after.missed[index] - before.missed[index];
        }
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

/// The flood is over before the ring is read.
fn unread(sensor: &mut Sensor) -> Result<Tally> {
    let flood = Flood { each: UNREAD, chain: 1, directory: "/w/watched" };
    let before = Kernel::quiet(sensor, &mut Tally::default())?;
    flood.run()?;
    let mut tally = Tally::default();
    let after = Kernel::quiet(sensor, &mut tally)?;
    tally.lost(&before, &after);

    let made = flood.made(before.processes, after.processes)?;
    for (number, made) in PROCESS_KINDS.into_iter().zip(made) {
        let count = tally.kind(number);
        let name = kind::name(number).unwrap_or_default();
        ensure!(count.all() == made, "{name}: {made} made, but {count:?}");
        // The ring must overflow, or nothing was tried.
        ensure!(count.dropped > 0, "{name}: nothing was dropped: {count:?}");
    }
    let whole = tally.watched.values().filter(|steps| **steps == [1, 1, 1]).count();
    ensure!(
        whole == WATCHED as usize && tally.watched.len() == whole,
        "{whole} of {WATCHED} watched writes came through whole, {} at all",
        tally.watched.len()
    );
    ensure!(after.files == before.files, "records of watched files were dropped: {}", after.files);
    Ok(tally)
}

/// What the kernel counts by itself, and what the programs and it say of records that were not made.
struct Kernel {
    processes: Processes,
    /// As in [`PROCESS_KINDS`].
    dropped: [u64; 3],
    missed: [u64; 3],
    /// Dropped records of files, of all kinds.
    files: u64,
}

impl Kernel {
    /// Reads the ring to its end and all counters, at a moment in which no process was made.
    fn quiet(sensor: &mut Sensor, tally: &mut Tally) -> Result<Self> {
        loop {
            let before = Processes::now()?;
            tally.take(sensor);
            let now = Self::now(sensor)?;
            if before == now.processes {
                return Ok(now);
            }
        }
    }

    fn now(sensor: &Sensor) -> Result<Self> {
        let misses: HashMap<&str, u64> = sensor.loaded.recursion_misses().into_iter().collect();
        let missed = |hook| misses.get(hook).copied().with_context(|| format!("no count of {hook}'s misses"));
        let mut files = 0;
        for number in kind::FILE_CREATE..=kind::UMOUNT {
            files += sensor.counter(u32::from(number))?;
        }
        let dropped = PROCESS_KINDS.map(|number| sensor.counter(u32::from(number)));
        let [fork, exec, exit] = dropped;
        Ok(Self {
            processes: Processes::now()?,
            dropped: [fork?, exec?, exit?],
            missed: [missed("process_fork")?, missed("process_exec")?, missed("process_exit")?],
            files,
        })
    }
}

/// A process ends once, although two of its threads may find themselves to be the last.
fn threads(sensor: &mut Sensor) -> Result<()> {
    let before = Kernel::quiet(sensor, &mut Tally::default())?;
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
    let after = Kernel::quiet(sensor, &mut tally)?;
    tally.lost(&before, &after);
    let [forks, _, exits] = PROCESS_KINDS.map(|number| tally.kind(number).all());
    // The kernel's own count has the threads in it.
    let made = after.processes.forks - before.processes.forks - u64::from(THREADED);
    let ended = made + before.processes.alive - after.processes.alive;
    ensure!((forks, exits) == (made, ended), "{forks} forks of {made}, {exits} exits of {ended}");
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
