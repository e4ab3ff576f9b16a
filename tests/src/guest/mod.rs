//! The program that boots as init in the micro VM.
//!
//! `/init hooks BACKEND` tries every hook with the backend `lsm` or `fentry`; `/init matrix BACKEND` tries every operation
//! in every way; `/init burst BACKEND` counts what a flood leaves, of the daemon and of the library. Each result is a line on the result port: `ok NAME`, `not ok NAME: ...` or `skipped NAME: reason`; the last
//! line is `EXIT n`.

mod awaited;
mod burst;
mod case;
mod context;
mod daemon;
mod data;
mod filesystems;
mod flood;
mod ipc;
mod lives;
mod matrix;
mod mounts;
mod names;
mod paths;
mod process;
mod run;
mod sensor;
mod setup;
mod text;
mod tiny;
mod uring;

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use sensor_common::record::counter;
use sensor_user::probe::hooks::Backend;

use sensor::Sensor;
use setup::Results;

/// Runs as init and never returns.
pub fn main() -> ! {
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == matrix::PROGRAM) {
        matrix::program(&words[2..]);
    }
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
        Some("burst") => burst::run_all(backend, results),
        Some("matrix") => matrix::run_all(backend, results),
        other => bail!("no test {other:?}"),
    }
}

/// Every case of every table.
fn hooks(backend: Backend, results: &mut Results) -> Result<()> {
    setup::mount("tmpfs", "tmpfs", "/w", None)?;
    let everywhere =
        [data::cases(), names::cases(), paths::cases()].into_iter().flatten().collect::<Vec<_>>();
    let once =
        [names::in_memory(), mounts::cases(), uring::cases()].into_iter().flatten().collect::<Vec<_>>();
    run::prepare("/w", &everywhere)?;
    run::prepare("/w", &once)?;
    process::prepare()?;
    let holder = lives::prepare()?;
    let sockets = ipc::prepare()?;
    let mut paths = vec!["/w/watched".to_owned()];
    paths.extend(lives::PATHS.map(str::to_owned));
    paths.extend(ipc::PATHS.map(str::to_owned));
    awaited::prepare()?;
    paths.extend(awaited::paths());
    let mut disks = Vec::new();
    for disk in filesystems::DISKS {
        if disk.prepare(results, &everywhere)? {
            paths.push(disk.watched());
            disks.push(disk);
        }
    }
    filesystems::prepare_overlay()?;
    filesystems::prepare_layer()?;
    paths.extend([filesystems::OVERLAY_WATCHED, filesystems::LAYER_WATCHED].map(str::to_owned));
    let start = Instant::now();
    let mut sensor = Sensor::start(backend, &paths, None)?;
    let seconds = start.elapsed().as_secs_f32();
    results.say(format_args!(
        "{} is in place after {seconds:.1} s and {} verified instructions",
        backend.name(),
        verified()
    ));
    run::table(&mut sensor, results, "tmpfs", "/w", &everywhere);
    run::table(&mut sensor, results, "tmpfs", "/w", &once);
    for disk in &disks {
        disk.run(&mut sensor, results, &everywhere);
    }
    filesystems::run_overlay(&mut sensor, results);
    filesystems::run_layer(&mut sensor, results)?;
    process::run_all(&mut sensor, results);
    context::run_all(&mut sensor, results);
    sensor.drain(|_| {});
    ipc::run_all(&mut sensor, results, sockets);
    lives::run_all(&mut sensor, results, holder);
    awaited::run_all(&mut sensor, results);
    let losses = sensor.losses()?;
    // What `paths` does deeper than the programs walk, on each filesystem: create and open of two cases, and of three
    // in the control run.
    let expected = [(counter::WALK_CUT, 10 * (1 + disks.len() as u64))];
    let complete = || {
        ensure!(losses == expected, "expected {expected:?}, got {losses:?}");
        Ok(())
    };
    results.report("no record is lost, and walks that are cut short are counted", complete());
    Ok(())
}

/// Instructions that the verifier went through for all programs of this process; 0 before 5.16, where the kernel does not
/// say (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`).
fn verified() -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc/self/fdinfo") else { return 0 };
    let each = |entry: std::io::Result<std::fs::DirEntry>| {
        let info = std::fs::read_to_string(entry.ok()?.path()).ok()?;
        info.lines().find_map(|line| line.strip_prefix("verified_insns:"))?.trim().parse::<u64>().ok()
    };
    entries.filter_map(each).sum()
}
