//! The process that does what is measured, and what was measured of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use sensor_user::probe::hooks::Hook;
use serde::Serialize;

use crate::operations::{OPERATIONS, Operation};

/// The argument of the process that does what is measured.
pub const WORKER: &str = "worker";

/// One hook's program during an operation.
#[derive(Serialize)]
pub struct ProgramFigure {
    hook: &'static str,
    /// Runs for one operation.
    runs: f64,
    /// Instructions for one run, as the kernel accounts them (`kernel.bpf_stats_enabled`).
    instructions: f64,
}

/// The process that does what is measured: a small one of its own, because what a fork costs depends on how much the
/// forking process has mapped, and where.
pub struct Worker {
    requests: ChildStdin,
    answers: ChildStdout,
}

impl Worker {
    pub fn start() -> Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg(WORKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the worker")?;
        let requests = child.stdin.take().context("a pipe was asked for")?;
        Ok(Self { requests, answers: child.stdout.take().context("a pipe was asked for")? })
    }

    /// Instructions that one batch took.
    fn batch(&mut self, operation: &Operation) -> Result<i64> {
        let index = OPERATIONS.iter().position(|other| other.name == operation.name);
        self.requests.write_all(&[index.context("an operation of the list")? as u8])?;
        let mut answer = [0; 8];
        let answered = self.answers.read_exact(&mut answer);
        answered.with_context(|| format!("`{}` failed; the console says why", operation.name))?;
        Ok(i64::from_ne_bytes(answer))
    }

    /// Instructions for one operation, in the batch that took fewest. `after` is called after each batch.
    pub fn measure(&mut self, operation: &Operation, after: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        let mut fewest = i64::MAX;
        for _ in 0..operation.rounds {
            fewest = fewest.min(self.batch(operation)?);
            after()?;
        }
        Ok(fewest as f64 / f64::from(operation.batch))
    }

    /// What each program took in the median batch, while the kernel accounts for it; that makes the programs' callers
    /// slower, so it is a measurement of its own.
    pub fn measure_programs(
        &mut self,
        operation: &Operation,
        hooks: &[Hook],
        after: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Vec<ProgramFigure>> {
        let _accounting = aya::sys::enable_stats(aya::sys::Stats::RunTime)?;
        let mut batches: BTreeMap<&'static str, Vec<(f64, f64)>> = BTreeMap::new();
        for _ in 0..operation.rounds / 10 {
            // Looking runs programs, too: once for nothing, to know how often.
            let looked = run_times(hooks)?;
            let before = run_times(hooks)?;
            self.batch(operation)?;
            for (hook, (time, runs)) in run_times(hooks)? {
                let (time_before, runs_before) = before.get(hook).copied().unwrap_or_default();
                let (time_looked, runs_looked) = looked.get(hook).copied().unwrap_or_default();
                let runs = (runs - runs_before).saturating_sub(runs_before - runs_looked);
                let time = (time - time_before).saturating_sub(time_before - time_looked);
                // A run now and then is the kernel's own doing, not the operation's.
                if runs >= u64::from(operation.batch) {
                    let runs_of_one = runs as f64 / f64::from(operation.batch);
                    batches.entry(hook).or_default().push((time as f64 / runs as f64, runs_of_one));
                }
            }
            after()?;
        }
        let median = |(hook, mut batches): (_, Vec<(f64, f64)>)| {
            batches.sort_by(|one, other| one.0.total_cmp(&other.0));
            let (instructions, runs) = batches[batches.len() / 2];
            ProgramFigure { hook, runs, instructions }
        };
        Ok(batches.into_iter().map(median).collect())
    }
}

/// The worker's side: for each byte on standard input, the number of an operation, the time of a batch of it on standard
/// output. Ends with an error, or with the input.
pub fn serve() -> Result<()> {
    let (requests, answers) = (std::io::stdin(), std::io::stdout());
    let mut request = [0; 1];
    while rustix::io::read(&requests, &mut request)? == 1 {
        let operation = OPERATIONS.get(usize::from(request[0])).context("an operation of the list")?;
        let start = now();
        for _ in 0..operation.batch {
            (operation.run)()?;
        }
        rustix::io::write(&answers, &(now() - start).to_ne_bytes())?;
    }
    Ok(())
}

/// Nanoseconds, which in this machine are instructions.
fn now() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// For each hook the time that its program has taken, in nanoseconds, and its runs.
fn run_times(hooks: &[Hook]) -> Result<BTreeMap<&'static str, (u64, u64)>> {
    /// Bytes of a program's name that the kernel keeps (`BPF_OBJ_NAME_LEN`, with the NUL).
    const NAME: usize = 15;
    let mut times = BTreeMap::new();
    for program in aya::programs::loaded_programs() {
        let program = program?;
        let name = program.name_as_str().unwrap_or_default();
        let of_program = |hook: &&Hook| &hook.program[..hook.program.len().min(NAME)] == name;
        if let Some(hook) = hooks.iter().find(of_program) {
            let time: &mut (u64, u64) = times.entry(hook.name).or_default();
            time.0 += program.run_time().as_nanos() as u64;
            time.1 += program.run_count();
        }
    }
    Ok(times)
}
