//! The real `svcsensor run` beside the guest: its alerts, what it says of itself, and the memory it takes.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::setup;

/// Where the harness puts the program.
const PROGRAM: &str = "/svcsensor";
const ALERTS: &str = "/tmp/alerts.jsonl";
const LOG: &str = "/tmp/svcsensor.log";
/// Its default.
const METRICS: &str = "127.0.0.1:9543";

/// How long it may take to be ready, and to end: an emulated machine may share its processors.
const PATIENCE: Duration = Duration::from_secs(60);
/// It brings its figures up to date every second.
const FIGURES: Duration = Duration::from_millis(1200);

/// A daemon with the default configuration, alerts going to a file.
pub struct Daemon {
    child: Child,
}

/// Figures by their name with labels, as /metrics has them.
pub type Figures = HashMap<String, u64>;

/// Resident memory in KiB (proc(5), /proc/pid/status).
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now.
    pub now: u64,
    /// At most so far.
    pub peak: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} KiB resident, {} at most", self.now, self.peak)
    }
}

impl Daemon {
    /// Starts it, and waits until it watches.
    ///
    /// # Errors
    /// Where it ends, or is not ready in time.
    pub fn start() -> Result<Self> {
        setup::raise_loopback()?;
        let child = Command::new(PROGRAM)
            .args(["run", "--output", "jsonl"])
            .stdin(Stdio::null())
            .stdout(File::create(ALERTS)?)
            .stderr(File::create(LOG)?)
            .spawn()
            .context("cannot start svcsensor")?;
        let mut daemon = Self { child };
        let deadline = Instant::now() + PATIENCE;
        while !get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("svcsensor ended with {status}: {}", log());
            }
            ensure!(Instant::now() < deadline, "svcsensor is not ready: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(daemon)
    }

    /// The memory it takes.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok())
                .with_context(|| format!("no {name}"))
        };
        Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// Ends it. It must say that it delivered everything.
    ///
    /// # Errors
    /// Where it ends otherwise.
    pub fn stop(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "svcsensor does not end: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "svcsensor ended with {status}: {}", log());
        Ok(())
    }
}

/// The daemon's figures at a moment when it has told all that it received.
///
/// # Errors
/// Where it does not answer.
pub fn settled() -> Result<Figures> {
    let received = |figures: &Figures| -> u64 {
        let records = figures.iter().filter(|(name, _)| name.starts_with("svcsensor_records_"));
        records.map(|(_, count)| count).sum()
    };
    let mut before = figures()?;
    loop {
        std::thread::sleep(FIGURES);
        let now = figures()?;
        if received(&before) == received(&now) {
            return Ok(now);
        }
        before = now;
    }
}

/// How many things its alerts stand for, by the file that they name.
///
/// # Errors
/// Where a line is no alert.
pub fn alerts() -> Result<HashMap<String, u64>> {
    let mut files = HashMap::new();
    for line in BufReader::new(File::open(ALERTS)?).lines() {
        let alert: Value = serde_json::from_str(&line?).context("a line is no JSON")?;
        if let Some(path) = alert["file"]["path"].as_str() {
            let collapsed = alert["svcsensor"]["collapsed"].as_u64().unwrap_or(0);
            *files.entry(path.to_owned()).or_default() += 1 + collapsed;
        }
    }
    Ok(files)
}

fn figures() -> Result<Figures> {
    let answer = get("/metrics")?;
    let figure = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(answer.lines().filter_map(figure).collect())
}

fn get(path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(METRICS)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The end of what it said of itself.
fn log() -> String {
    let log = fs::read_to_string(LOG).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}
