//! A flood against the real daemon: what is watched is alerted, every record is counted, and memory stays bounded.

use std::ffi::{CStr, CString};
use std::fs::{self, OpenOptions};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FileType, Mode};

use super::case::{Child, call};
use super::daemon::{self, Daemon, Figures};
use super::setup::Results;

/// Processes that make a flood; the machine has as many processors.
pub const WORKERS: u32 = 2;
/// Watched writes among the executions of a flood.
pub const WATCHED: u32 = 500;
/// Executions, and as many unrelated writes.
const EXECUTIONS: u32 = 200_000;
/// Executions that one process makes: more processes end than the daemon remembers (4,096).
const CHAIN: u32 = 40;
/// Where the daemon watches.
const UNITS: &str = "/etc/systemd/system";
/// Different unit files: as many as the daemon counts repeats of.
const DIFFERENT: u32 = 4096;
/// Ancestors of who writes them.
const ANCESTORS: u32 = 8;
/// What the daemon may take in the long run, in KiB: 25 MiB.
const MEMORY: u64 = 25 * 1024;
/// What it may take while it looks through the thousands of units of the second flood, some KiB for each: 48 MiB.
const PEAK: u64 = 48 * 1024;

/// Makes a flood, and says what came of it.
type Told = fn() -> Result<String>;

/// With what the daemon may take afterwards: what the second changed of the inventory is being looked through then.
const FLOODS: [(&str, Told, u64); 2] =
    [("executions", executions, MEMORY), ("different units", different, PEAK)];

/// Floods a daemon.
///
/// # Errors
/// Where it cannot be started or asked.
pub fn run_all(results: &mut Results) -> Result<()> {
    fs::create_dir_all(UNITS)?;
    let daemon = Daemon::start()?;
    results.say(format_args!("the daemon at its start: {}", daemon.memory()?));
    for (name, flood, most) in FLOODS {
        let start = Instant::now();
        let outcome = flood();
        if let Ok(told) = &outcome {
            let (elapsed, memory) = (start.elapsed().as_secs_f32(), daemon.memory()?);
            results.say(format_args!("the daemon, {name}: {elapsed:.1} s, {told}; {memory}"));
        }
        results.report(&format!("burst/the daemon, {name}"), outcome.map(drop));
        results.report(&format!("burst/the daemon's memory, {name}"), bounded(&daemon, most));
    }
    results.report("burst/the daemon delivers all and ends", daemon.stop());
    Ok(())
}

fn bounded(daemon: &Daemon, most: u64) -> Result<()> {
    let memory = daemon.memory()?;
    ensure!(memory.now < most && memory.peak < PEAK, "{memory}: more than {most}, or {PEAK} at some time");
    Ok(())
}

/// A number of executions, as many unrelated writes, and [`WATCHED`] watched writes among them.
pub struct Flood {
    /// Executions.
    pub each: u32,
    /// Executions that one process makes, one after another. Forks cost an emulated machine more than all the rest.
    pub chain: u32,
    /// The watched directory.
    pub directory: &'static str,
}

impl Flood {
    /// Makes it.
    ///
    /// # Errors
    /// Where a worker fails.
    pub fn run(&self) -> Result<()> {
        each_worker(|worker| self.work(worker))
    }

    fn work(&self, worker: u32) -> Result<()> {
        let every = self.each / WATCHED;
        for number in 0..self.each / WORKERS {
            if number % self.chain == 0 {
                spawn(self.chain)?;
            }
            let unrelated = format!("/w/plain/{worker}-{}", number % 64);
            OpenOptions::new().write(true).create(true).truncate(false).open(unrelated)?;
            if number % every == 0 {
                fs::write(format!("{}/{worker}-{}.service", self.directory, number / every), "x")?;
            }
        }
        Ok(())
    }

    /// Forks, executions and exits between two moments of which one is before the flood and one after it.
    ///
    /// # Errors
    /// Where others than the workers have made processes.
    pub fn made(&self, before: Processes, after: Processes) -> Result<[u64; 3]> {
        let forked = after.forks - before.forks;
        let ended = forked + before.alive - after.alive;
        let of_workers = u64::from(self.each / self.chain + WORKERS);
        // The kernel starts threads of its own now and then.
        ensure!(
            (of_workers..of_workers + 50).contains(&forked),
            "{forked} forks, {of_workers} of them by workers"
        );
        Ok([forked, u64::from(self.each), ended])
    }
}

/// What the kernel counts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processes {
    /// Processes ever made (proc(5), "/proc/stat", `processes`).
    pub forks: u64,
    /// Processes that are there.
    pub alive: u64,
}

impl Processes {
    /// At this moment.
    ///
    /// # Errors
    /// Where /proc cannot be read.
    pub fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let forks =
            stat.lines().find_map(|line| line.strip_prefix("processes ")).context("no count of forks")?;
        let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        let alive = fs::read_dir("/proc")?.flatten().filter(|entry| is_process(&entry.file_name())).count();
        Ok(Self { forks: forks.trim().parse()?, alive: alive as u64 })
    }
}

/// Runs the workers to their end.
fn each_worker(work: impl Fn(u32) -> Result<()>) -> Result<()> {
    let workers: Result<Vec<Child>> = (0..WORKERS).map(|worker| Child::start(|| work(worker))).collect();
    workers?.into_iter().try_for_each(Child::wait)
}

/// Starts the smallest program, without copying this process, to be executed so many times, and waits for it.
fn spawn(times: u32) -> Result<()> {
    const PATH: &CStr = c"/w/bin/tiny";
    let further = CString::new(format!("{:08}", times - 1))?;
    let args = [PATH.as_ptr().cast_mut(), further.as_ptr().cast_mut(), std::ptr::null_mut()];
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

/// The daemon's figures at a moment in which no process was made, and it has received all there is.
fn quiet() -> Result<(Processes, Figures)> {
    loop {
        let before = Processes::now()?;
        let figures = daemon::settled()?;
        if before == Processes::now()? {
            return Ok((before, figures));
        }
    }
}

/// Every execution is received or counted as dropped, and every watched write is alerted.
fn executions() -> Result<String> {
    let flood = Flood { each: EXECUTIONS, chain: CHAIN, directory: UNITS };
    let (processes, before) = quiet()?;
    flood.run()?;
    let (afterwards, after) = quiet()?;
    let mut told = Vec::new();
    let made = flood.made(processes, afterwards)?;
    for (kind, made) in ["process_fork", "process_exec", "process_exit"].into_iter().zip(made) {
        let more = |name: String| {
            let count = |figures: &Figures| figures.get(&name).copied();
            count(&after).zip(count(&before)).map(|(after, before)| after - before).context(name.clone())
        };
        let received = more(format!("svcsensor_records_received_total{{kind=\"{kind}\"}}"))?;
        let dropped = more(format!("svcsensor_records_dropped_total{{kind=\"{kind}\"}}"))?;
        let missed = more(format!("svcsensor_recursion_misses_total{{program=\"{kind}\"}}"))?;
        ensure!(
            received + dropped + missed == made,
            "{kind}: {made} made, but {received} received, {dropped} dropped, {missed} skipped"
        );
        told.push(format!("{kind} {received} received {dropped} dropped"));
    }
    ensure!(dropped_files(&after) == 0, "{} records of files were dropped", dropped_files(&after));
    let mut alerts = daemon::alerts()?;
    // The beginning of the inventory names its file.
    alerts.retain(|path, _| path.starts_with(UNITS));
    let single = alerts.values().filter(|count| **count == 1).count();
    ensure!(
        single == WATCHED as usize && alerts.len() == single,
        "of {WATCHED} watched writes {single} are alerted once, {} at all, such as {:?}",
        alerts.len(),
        alerts.iter().find(|(path, count)| **count != 1 || !path.starts_with(UNITS))
    );
    told.push(format!("{single} watched writes alerted"));
    Ok(told.join(", "))
}

/// Different files, each written and written again, so that its repeats are kept; then as many that are held because
/// nobody closes them. What is dropped of so much is counted.
fn different() -> Result<String> {
    let (_, before) = quiet()?;
    each_worker(|worker| below(ANCESTORS, &|| units(worker)))?;
    let (_, after) = quiet()?;
    let dropped = dropped_files(&after) - dropped_files(&before);
    let mut alerts = daemon::alerts()?;
    alerts.retain(|path, _| path.contains("/written-") || path.contains("/held-"));
    let told: u64 = alerts.values().sum();
    let lost = (2 * DIFFERENT as usize).saturating_sub(alerts.len());
    ensure!(
        lost as u64 <= dropped,
        "{lost} files have no alert, but {dropped} records of files were dropped"
    );
    Ok(format!("{} files in {told} alerts or repeats, {dropped} records dropped", alerts.len()))
}

/// Does something in a process with so many ancestors more.
fn below(ancestors: u32, act: &dyn Fn() -> Result<()>) -> Result<()> {
    if ancestors == 0 {
        return act();
    }
    Child::start(|| below(ancestors - 1, act))?.wait()
}

fn units(worker: u32) -> Result<()> {
    for _ in 0..2 {
        for number in 0..DIFFERENT / WORKERS {
            fs::write(format!("{UNITS}/written-{worker}-{number}.service"), "[Service]")?;
        }
    }
    for number in 0..DIFFERENT / WORKERS {
        let path = format!("{UNITS}/held-{worker}-{number}.service");
        rustix::fs::mknodat(CWD, path, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)?;
    }
    Ok(())
}

fn dropped_files(figures: &Figures) -> u64 {
    let of_files =
        figures.iter().filter(|(name, _)| name.starts_with("svcsensor_records_dropped_total{kind=\"file_"));
    of_files.map(|(_, count)| count).sum()
}
