//! A record that leads to no finding costs no allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sensor_common::record::{FileIdentity, TaskContext, kind};
use sensor_common::watch::{ANY_CHILD, NONE, SUBTREE};
use sensor_user::event::encode::{
    ExecParts, FileRecordBuilder, encode_exec, encode_exit, encode_fork, encode_namespace, encode_tick,
    encode_user,
};
use sensor_user::event::user::{Watch, WatchClass};
use sensor_user::pipeline::{Limits, Pipeline};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread.
struct Counting;

// SAFETY: every method hands its arguments on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as our caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WATCHED: u32 = 1;
const ANCHOR: u32 = 2;

fn task(tgid: u32) -> TaskContext {
    TaskContext {
        tgid,
        tid: tgid,
        start_boottime_ns: u64::from(tgid) * 10_000_000,
        parent_tgid: 1,
        ..TaskContext::default()
    }
}

fn exec(tgid: u32, args: &[&[u8]]) -> Vec<u8> {
    let parts = ExecParts {
        task: task(tgid),
        exe: FileIdentity { inode: 7, device: 8, ..FileIdentity::default() },
        filename: b"/usr/bin/true",
        exe_path: b"/usr/bin/true",
        cwd: b"/",
        args,
        flags: 0,
    };
    encode_exec(5, &parts)
}

fn pipeline() -> Pipeline {
    let mut pipeline = Pipeline::new(Limits::default());
    let mut out = Vec::new();
    for (watch, path, class) in
        [(WATCHED, "/etc/systemd/system", Some(WatchClass::SystemUnit)), (ANCHOR, "/home", None)]
    {
        let watch = Watch { watch, path: path.into(), class, owner: None };
        let record = encode_user(kind::WATCH, 1, &watch).expect("JSON");
        pipeline.feed(&record, &mut out).expect("a good record");
    }
    // Processes that come and go, so that tables have their everyday size.
    for tgid in 100..12_000 {
        for record in [
            encode_fork(2, task(1), tgid, u64::from(tgid) * 10_000_000),
            exec(tgid, &[b"true", b"argument"]),
            encode_exit(3, tgid, u64::from(tgid) * 10_000_000, 0),
        ] {
            pipeline.feed(&record, &mut out).expect("a good record");
        }
    }
    assert!(out.is_empty());
    pipeline
}

/// Allocations while `records` pass.
fn allocations(pipeline: &mut Pipeline, records: &[Vec<u8>]) -> u64 {
    let mut out = Vec::new();
    let before = ALLOCATIONS.get();
    for record in records {
        pipeline.feed(record, &mut out).expect("a good record");
    }
    let after = ALLOCATIONS.get();
    assert!(out.is_empty());
    after - before
}

fn file(kind: u16, watch: u32, matched: u32, path: &[u8]) -> Vec<u8> {
    FileRecordBuilder::new(kind, 9, task(1)).path(watch, matched, path).build()
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![0u8; 10]));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn what_is_left_unsaid_allocates_nothing() {
    let mut pipeline = pipeline();
    let quiet = |round: u32| {
        vec![
            file(kind::FILE_OPEN_WRITE, NONE, 0, b"tmp/x"),
            file(kind::FILE_CREATE, ANCHOR, ANY_CHILD, b"alice"),
            file(kind::FILE_MKDIR, WATCHED, SUBTREE, b"x.service.d"),
            file(kind::FILE_OPEN_WRITE, WATCHED, SUBTREE, format!("sed00{:04}", round % 1000).as_bytes()),
            file(kind::FILE_UNLINK, WATCHED, SUBTREE, b"README"),
            encode_namespace(9, task(1), 0x0002_0000),
            encode_namespace(9, task(50_000), 0x0002_0000),
            encode_exit(9, 60_000, 1, 0),
            encode_tick(9).to_vec(),
        ]
    };
    // The first of each kind may size a scratch buffer.
    allocations(&mut pipeline, &quiet(0));
    for round in 1..200 {
        assert_eq!(allocations(&mut pipeline, &quiet(round)), 0, "round {round}");
    }
}

#[test]
fn a_life_that_was_lived_before_allocates_nothing() {
    let mut pipeline = pipeline();
    let lives: Vec<Vec<u8>> = (20_000..22_000)
        .flat_map(|tgid| {
            [
                encode_fork(9, task(1), tgid, u64::from(tgid) * 10_000_000),
                exec(tgid, &[b"true", b"argument"]),
                encode_exit(9, tgid, u64::from(tgid) * 10_000_000, 0),
            ]
        })
        .collect();
    let count = allocations(&mut pipeline, &lives);
    // Fork, known exec and exit reuse what ended processes left: at most a table grows once.
    assert!(count <= 4, "{count} allocations for {} records", lives.len());
}
