//! File operations where the kernel lets neither LSM nor fentry programs load: fanotify(7), turned into the records
//! that those programs would have made.
//!
//! Needs Linux 5.17 (`FAN_RENAME`, `FAN_REPORT_TARGET_FID`), `CAP_SYS_ADMIN` and `CAP_DAC_READ_SEARCH`. A filesystem is
//! watched as a whole, so bind mounts, namespaces, hard links and `io_uring` change nothing, and a directory that
//! appears is covered by its own creation event. What differs from the kernel programs:
//! - A record comes after the operation, with the attributes that the object has when the event is read, and with the
//!   time of that moment.
//! - There is no `FILE_OPEN_WRITE`, and no `FILE_MMAP_WRITE`: the close, after the last unmapping too, tells of both.
//!   The flags of a file that was written are not known (`argument` is 0).
//! - `FILE_TRUNCATE` is told of a file that became shorter, and of one that was modified without being closed for a
//!   second: its length was set, or it was written through a descriptor that stays open (or nothing but its
//!   modification time was set, which the kernel reports alike).
//! - `FILE_ATTRIBUTE` is told where mode or owner differ from what was seen before.
//! - A file made with `O_TMPFILE` and linked afterwards is a `FILE_CREATE`. The existing name of a hard link (`other`) is
//!   told where it is watched or the kernel still knows it.
//! - Only the process is known, not the thread; one that has ended and that no ring record told of is a number.
//! - A filesystem without file handles that can be opened again (overlayfs without `nfs_export`, proc) cannot be
//!   watched; marking says so.
//! - Of more than 65,536 directories, or files, below watched ones the rest is not kept in view: such directories are
//!   not watched, such files only by their name. They are counted ([`Stats::refused`]).

mod change;
mod handle;
mod marker;
mod mounts;
mod parse;
mod report;
mod sys;
mod tables;
mod tasks;

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use rustix::io::Errno;
use sensor_common::record::kind;

use self::change::Modified;
use self::marker::Shared;
use self::parse::Events;
use self::report::Report;
use self::tables::Key;
use crate::event::encode::encode_user;

pub use self::marker::FanotifyMarker;
pub use self::mounts::Mounts;
pub use self::tasks::Tasks;

/// Bytes read at once: some 600 events.
const BUFFER: usize = 64 << 10;
/// Buffers read before other work gets its turn.
const BUFFERS: usize = 16;

/// Why fanotify cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FanotifyError {
    /// No group could be made.
    #[error(
        "cannot create a fanotify group: {0} (needs Linux 5.17 with CONFIG_FANOTIFY, CAP_SYS_ADMIN and \
         CAP_DAC_READ_SEARCH)"
    )]
    Init(Errno),
    /// The events cannot be read.
    #[error("cannot read fanotify events: {0}")]
    Read(Errno),
    /// The mount table cannot be read.
    #[error("cannot read the mount table {path}: {source}")]
    Mounts {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The kernel's queue was full, and events were dropped; how many, it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// The queue was last known to be complete at this moment on `CLOCK_BOOTTIME`, in nanoseconds.
    pub since_boottime_ns: u64,
    /// Objects that are new or changed since they were last seen; each was told as a `FILE_FOUND`.
    pub found: usize,
}

/// What a read left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// More is waiting than one batch.
    pub more: bool,
    /// Events were dropped: to be told as a loss of file records, and to be followed by a walk over all watches.
    pub overflow: Option<Overflow>,
}

/// Counts since the start, and sizes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events read.
    pub events: u64,
    /// Of these, about nothing that is watched.
    pub unrelated: u64,
    /// Of these, not understood.
    pub malformed: u64,
    /// Times that the queue was full.
    pub overflows: u64,
    /// Directories kept in view.
    pub directories: usize,
    /// Files kept in view.
    pub files: usize,
    /// Directories and files that found no room.
    pub refused: u64,
}

/// The reading end. Its descriptor is readable when events wait.
pub struct Fanotify {
    group: Rc<OwnedFd>,
    shared: Rc<RefCell<Shared>>,
    tasks: Tasks,
    modified: HashMap<Key, Modified>,
    buffer: Box<[u8]>,
    stats: Stats,
    /// When the queue was last read to its end.
    complete_ns: Option<u64>,
}

impl AsFd for Fanotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }
}

impl AsRawFd for Fanotify {
    fn as_raw_fd(&self) -> RawFd {
        self.group.as_raw_fd()
    }
}

impl Fanotify {
    /// A group that watches nothing yet.
    ///
    /// # Errors
    /// Where the kernel or a missing capability does not allow it.
    pub fn new() -> Result<Self, FanotifyError> {
        let group = Rc::new(sys::init().map_err(FanotifyError::Init)?);
        let shared = Rc::new(RefCell::new(Shared::new(Rc::clone(&group))));
        Ok(Self {
            group,
            shared,
            tasks: Tasks::new(),
            modified: HashMap::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            stats: Stats::default(),
            complete_ns: None,
        })
    }

    /// The side that a [`crate::probe::watches::WatchSet`] marks objects with.
    #[must_use]
    pub fn marker(&self) -> FanotifyMarker {
        FanotifyMarker { shared: Rc::clone(&self.shared) }
    }

    /// The mount table of the host, whose root is `root` (that of [`crate::probe::watches::host_root`]).
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn mounts(&self, root: &'static str) -> Result<Mounts, FanotifyError> {
        Mounts::new(Rc::clone(&self.shared), root)
    }

    /// To be told of every record of the ring, before [`Self::read`]: so the processes behind the events are known.
    pub fn observe(&mut self, record: &[u8]) {
        self.tasks.observe(record);
    }

    /// Reads what is waiting, at most one batch, and hands out the records. Must also be called when nothing waits, at
    /// least once a second, for what is told after a while. Nothing of this backend is borrowed while `emit` runs.
    ///
    /// `now_ns` is `CLOCK_BOOTTIME`: events carry no time of their own.
    ///
    /// # Errors
    /// Where the queue cannot be read.
    pub fn read(&mut self, now_ns: u64, emit: &mut dyn FnMut(&[u8])) -> Result<Reading, FanotifyError> {
        let mut reading = Reading::default();
        let since_boottime_ns = *self.complete_ns.get_or_insert(now_ns);
        let mut out = Vec::new();
        self.shared.borrow_mut().settle();
        for turn in 0..BUFFERS {
            let length = match rustix::io::read(&*self.group, &mut self.buffer[..]) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(length) => length,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(FanotifyError::Read(error)),
            };
            reading.more = turn + 1 == BUFFERS;
            if self.events(length, now_ns, &mut out) {
                self.stats.overflows += 1;
                let found = self.rescan(now_ns, &mut out);
                reading.overflow = Some(Overflow { since_boottime_ns, found });
            }
            for record in out.drain(..) {
                emit(&record);
            }
        }
        if !reading.more {
            self.complete_ns = Some(now_ns);
        }
        {
            let mut shared = self.shared.borrow_mut();
            let (tasks, modified) = (&self.tasks, &mut self.modified);
            let contexts = HashMap::new();
            Report { shared: &mut shared, tasks, contexts, modified, now_ns, out: &mut out }.overdue();
        }
        for record in out {
            emit(&record);
        }
        Ok(reading)
    }

    /// Tells of the events in the buffer; true where the queue was full.
    fn events(&mut self, length: usize, now_ns: u64, out: &mut Vec<Vec<u8>>) -> bool {
        let mut overflow = false;
        let mut shared = self.shared.borrow_mut();
        let (tasks, modified) = (&self.tasks, &mut self.modified);
        let contexts = HashMap::new();
        let mut report = Report { shared: &mut shared, tasks, contexts, modified, now_ns, out };
        for event in Events::new(&self.buffer[..length]) {
            self.stats.events += 1;
            match event {
                Err(parse::Malformed) => self.stats.malformed += 1,
                Ok(event) if event.mask & libc::FAN_Q_OVERFLOW != 0 => overflow = true,
                Ok(event) => self.stats.unrelated += u64::from(!report.event(&event)),
            }
        }
        overflow
    }

    /// Looks at everything that is covered and tells what is new or changed since it was last seen.
    fn rescan(&mut self, now_ns: u64, out: &mut Vec<Vec<u8>>) -> usize {
        let found = self.shared.borrow_mut().rescan();
        for file in &found {
            match encode_user(kind::FILE_FOUND, now_ns, file) {
                Ok(record) => out.push(record),
                Err(error) => tracing::error!(%error, "cannot encode a found file"),
            }
        }
        found.len()
    }

    /// Counts and sizes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = self.shared.borrow();
        Stats {
            directories: shared.tables.directories.len(),
            files: shared.tables.files.len(),
            refused: shared.tables.refused,
            ..self.stats
        }
    }
}
