//! The writer is killed, and the power fails, in the middle of a write.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::place::{DATABASE, SEAL};
use super::tests::entry;
use super::{Difference, Found, Scope, Store, Tampering};
use crate::proof::inventory::Entry;

/// Names the directory to the writer.
const DIRECTORY: &str = "SVCSENSOR_TEST_STORE";
const TIMES: u32 = 100;
/// Entries of each state: a transaction of some pages.
const ENTRIES: usize = 40;

fn state(number: u64) -> Vec<Entry> {
    let one = |at: usize| Entry { sha256: Some(number.to_string()), ..entry(&format!("{at:03}.service")) };
    (0..ENTRIES).map(one).collect()
}

/// The state that the store is in; it must be one, whole.
fn number(store: &Store) -> u64 {
    let mut numbers = Vec::new();
    store.each(|known| numbers.push(known.entry.sha256.unwrap().parse().unwrap())).unwrap();
    assert!(numbers.is_empty() || numbers.len() == ENTRIES, "{} entries", numbers.len());
    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "a mixture: {numbers:?}");
    numbers.first().copied().unwrap_or_default()
}

fn write(store: &mut Store, number: u64) {
    let entries = state(number);
    let differences: Vec<Difference> = store.compare(&entries, &Scope::AllBut(Vec::new())).unwrap();
    store.update(&entries, &differences, |_| None, number.cast_signed()).unwrap();
}

#[test]
#[ignore = "the writer of the tests below, which start it in a process of its own and kill that"]
fn writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let (mut store, _found) = Store::open(Path::new(&directory), 1).unwrap();
    let mut out = std::io::stdout();
    for next in number(&store) + 1.. {
        write(&mut store, next);
        // Once this is read the write was promised.
        writeln!(out, "\ndone {next}").unwrap();
    }
}

/// Neither being killed nor a copy of the kernel's state depends on a disk; waiting for one would make minutes of it.
fn in_memory() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared).unwrap() } else { tempfile::tempdir().unwrap() }
}

struct Writer {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn start(directory: &Path) -> Self {
        let test = "proof::inventory::store::crash_tests::writer";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The next write that was promised; `None` at the writer's end.
    fn promised(&mut self) -> Option<u64> {
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(number) = line.trim().strip_prefix("done ") {
                return Some(number.parse().unwrap());
            }
        }
    }
}

/// Pauses of 0 to 8 ms, another each time; a write takes about one.
fn pause(at: u32) {
    std::thread::sleep(Duration::from_micros(u64::from(at.wrapping_mul(2_654_435_761) >> 19)));
}

#[test]
fn killed_a_hundred_times_nothing_that_was_promised_is_lost() {
    let directory = in_memory();
    let mut last = 0;
    for at in 0..TIMES {
        let mut writer = Writer::start(directory.path());
        last = last.max(writer.promised().unwrap());
        pause(at);
        writer.child.kill().unwrap();
        while let Some(promised) = writer.promised() {
            last = last.max(promised);
        }
        writer.child.wait().unwrap();
        let (store, found) = Store::open(directory.path(), 1).unwrap();
        assert_eq!((found, store.verify().unwrap()), (Found::Known, Vec::new()), "after kill {at}");
        let is = number(&store);
        // The last write may have been done, and its promise not made.
        assert!(is == last || is == last + 1, "{last} was promised, {is} is there");
        last = is;
    }
    assert!(last >= u64::from(TIMES));
}

#[test]
fn the_power_fails_a_hundred_times() {
    let directory = in_memory();
    let mut writer = Writer::start(directory.path());
    let process = rustix::process::Pid::from_child(&writer.child);
    let mut promised = 0;
    for at in 0..TIMES {
        promised = writer.promised().unwrap().max(promised);
        pause(at);
        rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
        // What the kernel has of the files at this moment.
        let copy = in_memory();
        for name in [DATABASE, "inventory.sqlite-wal", SEAL] {
            std::fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        }
        rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
        let read = |name: &str| std::fs::read(copy.path().join(name)).unwrap();
        let (base, whole, seal) = (read(DATABASE), read("inventory.sqlite-wal"), read(SEAL));
        {
            let (store, found) = Store::open(copy.path(), 1).unwrap();
            assert_eq!((found, store.verify().unwrap()), (Found::Known, Vec::new()), "failure {at}");
            assert!(number(&store) >= promised, "{promised} was promised");
        }
        // Of what was not synced any part may be missing: a log that is cut anywhere leaves a whole state.
        let cut = whole.len() * (at as usize + 1) / (TIMES as usize + 1);
        let torn = in_memory();
        for (name, content) in [(DATABASE, &*base), ("inventory.sqlite-wal", &whole[..cut]), (SEAL, &seal)] {
            std::fs::write(torn.path().join(name), content).unwrap();
        }
        let (store, _found) = Store::open(torn.path(), 1).unwrap();
        let edits = store.verify().unwrap();
        assert!(!edits.contains(&Tampering::Content) && !edits.contains(&Tampering::History), "{edits:?}");
        let _whole = number(&store);
    }
    writer.child.kill().unwrap();
    writer.child.wait().unwrap();
}
