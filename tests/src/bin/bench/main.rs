//! The guest of `cargo xtask bench`: init of a micro VM whose clock counts instructions.
//!
//! It measures a few operations without programs, then under empty ones in the same places, then under the sensor with
//! its default watch list, and writes one JSON document to the result port.

#![expect(clippy::cast_precision_loss, reason = "counts of instructions stay far below 2^52")]

mod operations;
mod place;
mod worker;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use sensor_common::record::kind;
use sensor_user::probe::hooks::Backend;
use sensor_user::probe::load::{self, Loaded, Options};
use sensor_user::probe::mark::MapMarker;
use sensor_user::probe::watches::WatchSet;
use serde::Serialize;

use operations::OPERATIONS;
use worker::{ProgramFigure, WORKER, Worker};

/// Where `cargo xtask bench` puts the objects.
const EMPTY: &str = "/empty.bpf.o";
const SENSOR: &str = "/svcsensor.bpf.o";

/// What goes to the host.
#[derive(Serialize)]
struct Report {
    /// Watched objects.
    objects: usize,
    /// Watched names of entries.
    names: usize,
    figures: Vec<Figure>,
}

/// One operation in one phase.
#[derive(Serialize)]
struct Figure {
    phase: &'static str,
    operation: &'static str,
    /// Instructions for one operation.
    instructions: f64,
    programs: Vec<ProgramFigure>,
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some(WORKER) {
        return worker::serve().expect("every operation works");
    }
    let result = report();
    // The port is opened last: in the minimal root of a micro VM there is nothing else to tell of a failure.
    let mut port = File::options().write(true).open("/dev/ttyS1").expect("the initramfs has the result port");
    let (text, status) = match result.and_then(|report| Ok(serde_json::to_string(&report)?)) {
        Ok(text) => (text, 0),
        Err(error) => (format!("{error:#}"), 1),
    };
    writeln!(port, "{text}\nEXIT {status}").expect("the result port takes text");
    loop {
        // An init that ends is a kernel panic; the host stops the machine.
        std::thread::park();
    }
}

fn report() -> Result<Report> {
    let backend = match std::env::args().nth(1).as_deref() {
        Some("lsm") => Backend::Lsm,
        Some("fentry") => Backend::Fentry,
        other => bail!("the first argument must be lsm or fentry, not {other:?}"),
    };
    let specs = place::prepare().context("cannot prepare the filesystem")?;
    let mut worker = Worker::start()?;
    let mut figures = Vec::new();

    // The first round after the boot shares the processor with the kernel's own late work; and once programs
    // have been loaded and gone again, the kernel hands out memory differently, which shows in what processes cost.
    let warm_up = load_object(EMPTY, backend)?;
    for operation in &OPERATIONS {
        worker.measure(operation, &mut || Ok(()))?;
    }
    drop(warm_up);
    for operation in &OPERATIONS {
        let instructions = worker.measure(operation, &mut || Ok(()))?;
        figures.push(Figure { phase: "baseline", operation: operation.name, instructions, programs: vec![] });
    }

    let empty = load_object(EMPTY, backend)?;
    for operation in &OPERATIONS {
        let instructions = worker.measure(operation, &mut || Ok(()))?;
        let programs = worker.measure_programs(operation, &empty.hooks, &mut || Ok(()))?;
        figures.push(Figure { phase: "empty", operation: operation.name, instructions, programs });
    }
    drop(empty);

    let mut sensor = load_object(SENSOR, backend)?;
    let mut watches = WatchSet::new(MapMarker::new(&mut sensor)?, "/", specs);
    if let Some(error) = watches.resolve()?.errors.into_iter().next() {
        return Err(error.into());
    }
    let (objects, names) = watches.len();
    let mut ring = sensor.take_ring()?;
    while ring.next().is_some() {}
    for operation in &OPERATIONS {
        let mut check = || {
            let (mut files, mut processes) = (0, 0);
            while let Some(record) = ring.next() {
                if u16::from_ne_bytes([record[0], record[1]]) < kind::PROCESS_FORK {
                    files += 1;
                } else {
                    processes += 1;
                }
            }
            ensure!(
                files == operation.batch * operation.file_records
                    && processes >= operation.batch * operation.process_records,
                "{} times `{}` gave {files} records of files and {processes} of processes",
                operation.batch,
                operation.name
            );
            Ok(())
        };
        let instructions = worker.measure(operation, &mut check)?;
        let programs = worker.measure_programs(operation, &sensor.hooks, &mut check)?;
        figures.push(Figure { phase: "sensor", operation: operation.name, instructions, programs });
    }
    Ok(Report { objects, names, figures })
}

fn load_object(path: &str, backend: Backend) -> Result<Loaded> {
    let options = Options { object: Some(PathBuf::from(path)), ..Options::default() };
    load::load(backend, &options).with_context(|| format!("{path}, backend {}", backend.name()))
}
