//! A watched directory and an unwatched sibling under the fanotify backend.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sensor_common::record::kind;
use sensor_user::event::decode::{Event, UserRecord, decode};
use sensor_user::event::user::{FileFound, WatchClass};
use sensor_user::probe::fanotify::{Fanotify, FanotifyError, FanotifyMarker, Mounts, Reading};
use sensor_user::probe::watches::{Changes, Spec, WatchSet};

/// What a record says, in the terms of the tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub kind: u16,
    /// Below the watched directory, or with its flag `FILE` or none from the filesystem's root.
    pub path: String,
    pub matched: u32,
    pub other: String,
    pub other_matched: u32,
    pub extra: String,
    pub argument: u64,
    pub tgid: u32,
    pub start_ns: u64,
    pub mode: u32,
    pub inode: u64,
    pub watch: u32,
}

impl Told {
    /// Kind and path, for comparison.
    pub fn short(&self) -> (&'static str, &str) {
        (kind::name(self.kind).expect("a known kind"), &self.path)
    }
}

/// Watches `units` (there) and `later/deep` (not there yet) below a temporary directory.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub units: PathBuf,
    pub other: PathBuf,
    pub fanotify: Fanotify,
    pub set: WatchSet<FanotifyMarker>,
    pub mounts: Mounts,
    pub found: Vec<FileFound>,
    pub now_ns: u64,
    pub last: Reading,
    _alone: MutexGuard<'static, ()>,
}

/// Lets one test run at a time: a process that another one starts has, until it executes its program, a copy of every
/// descriptor of this one, and a file is closed when the last copy is.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The filesystems that the tests run on, or a reason why they cannot.
pub fn places() -> Vec<&'static Path> {
    let reason = if rustix::process::geteuid().is_root() {
        match Fanotify::new() {
            Ok(_) => None,
            Err(error @ FanotifyError::Init(_)) => Some(error.to_string()),
            Err(error) => panic!("{error}"),
        }
    } else {
        Some("needs root".to_owned())
    };
    if let Some(reason) = reason {
        assert_ne!(std::env::var("SVCSENSOR_REQUIRE_TOOLS").as_deref(), Ok("1"), "{reason}");
        println!("skipped: {reason}");
        return Vec::new();
    }
    let mut places = vec![Path::new("/tmp")];
    // tmpfs has handles of another form.
    places.extend(Some(Path::new("/dev/shm")).filter(|place| place.is_dir()));
    places
}

/// One path.
pub fn spec(path: &Path) -> Spec {
    Spec { path: path.to_str().unwrap().to_owned(), class: Some(WatchClass::SystemUnit), owner: None }
}

impl Bench {
    /// `prepare` puts things in place before the watches are set: it gets the watched and the unwatched directory.
    pub fn new(place: &Path, prepare: impl FnOnce(&Path, &Path)) -> Self {
        let alone = alone();
        let dir = tempfile::tempdir_in(place).unwrap();
        let (units, other) = (dir.path().join("units"), dir.path().join("other"));
        std::fs::create_dir(&units).unwrap();
        std::fs::create_dir(&other).unwrap();
        prepare(&units, &other);
        let fanotify = Fanotify::new().unwrap();
        let mounts = fanotify.mounts("/").unwrap();
        let specs = vec![spec(&units), spec(&dir.path().join("later/deep"))];
        let set = WatchSet::new(fanotify.marker(), "/", specs);
        let (found, now_ns, last) = (Vec::new(), 1, Reading::default());
        let mut bench = Self { dir, units, other, fanotify, set, mounts, found, now_ns, last, _alone: alone };
        let changes = bench.resolve();
        assert!(changes.errors.is_empty(), "{:?}", changes.errors);
        let before = bench.told();
        assert_eq!(before, [], "nothing has happened yet");
        bench
    }

    pub fn resolve(&mut self) -> Changes {
        let changes = self.set.resolve().unwrap();
        self.mounts.read(self.now_ns, &mut |_| {}).unwrap();
        changes
    }

    /// Everything that is told until nothing waits. Time goes on by a millisecond.
    pub fn told(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        let mut found = Vec::new();
        self.now_ns += 1_000_000;
        let mut overflow = None;
        let mut emit = |record: &[u8]| match decode(record).expect("a well-formed record") {
            Event::File(event) => told.push(Told {
                kind: event.record.header.kind,
                path: event.path.to_path("").trim_start_matches('/').to_owned(),
                matched: event.record.matched,
                other: event.other.to_path("").trim_start_matches('/').to_owned(),
                other_matched: event.record.other_matched,
                extra: String::from_utf8_lossy(event.extra).into_owned(),
                argument: event.record.argument,
                tgid: event.record.task.tgid,
                start_ns: event.record.task.start_boottime_ns,
                mode: event.record.object.mode,
                inode: event.record.object.inode,
                watch: event.record.watch,
            }),
            Event::User(_, UserRecord::FileFound(file)) => found.push(file),
            other => panic!("unexpected {other:?}"),
        };
        loop {
            let reading = self.fanotify.read(self.now_ns, &mut emit).unwrap();
            overflow = overflow.or(reading.overflow);
            if !reading.more {
                self.last = Reading { overflow, ..reading };
                break;
            }
        }
        self.mounts.read(self.now_ns, &mut emit).unwrap();
        self.found.extend(found);
        told
    }

    /// Does something and returns what is told of it.
    pub fn of(&mut self, act: impl FnOnce(&Path, &Path)) -> Vec<Told> {
        act(&self.units, &self.other);
        self.told()
    }
}

/// Kinds and paths.
pub fn short(told: &[Told]) -> Vec<(&'static str, &str)> {
    told.iter().map(Told::short).collect()
}

/// Puts nothing in place.
pub fn nothing(_: &Path, _: &Path) {}
