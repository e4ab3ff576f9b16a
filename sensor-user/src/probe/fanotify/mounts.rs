//! Mounts, by comparing the mount table with how it was: fanotify tells nothing of them that its filters could use.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use sensor_common::record::{TaskContext, kind};

use super::FanotifyError;
use super::handle;
use super::marker::Shared;
use super::tables::{Found, Key};
use crate::event::encode::FileRecordBuilder;

/// Bytes of the mount table that are read: more than 100,000 mounts.
const TABLE_MAX: u64 = 32 << 20;

/// One line of the mount table (`proc_pid_mountinfo(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    id: u64,
    parent: u64,
    /// "major:minor".
    device: Vec<u8>,
    /// The part of the filesystem that is mounted.
    root: Vec<u8>,
    mountpoint: Vec<u8>,
    source: Vec<u8>,
}

fn parse(table: &[u8]) -> HashMap<u64, Line> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).map(|line| (line.id, line)).collect()
}

fn parse_line(line: &[u8]) -> Option<Line> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let device = fields.next()?.to_vec();
    let (root, mountpoint) = (unescape(fields.next()?), unescape(fields.next()?));
    // Options, then a varying number of optional fields up to a dash, the type, the source.
    let mut fields = fields.skip_while(|field| *field != b"-").skip(2);
    Some(Line { id, parent, device, root, mountpoint, source: unescape(fields.next()?) })
}

/// Blanks, tabs, newlines and backslashes are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    out
}

/// A mount, and what it lies on.
struct Mount {
    line: Line,
    /// The directory (or file) that it hides, where that lies on a watched filesystem: its directory, name and key.
    over: Option<(Key, Vec<u8>, Option<Key>)>,
    /// Its own root.
    root: Option<Key>,
}

/// The mount table. Its descriptor has an exceptional condition (`POLLPRI`, tokio's `Interest::PRIORITY`) when the table
/// has changed.
pub struct Mounts {
    shared: Rc<RefCell<Shared>>,
    path: String,
    root: &'static str,
    file: File,
    /// To ask whether the table has changed since it was read: each open file is told once (`mounts_poll` of
    /// `fs/proc_namespace.c`), and `file` may have told a runtime already.
    changes: File,
    /// [`Shared::registrations`] when the table was read.
    registrations: u64,
    known: HashMap<u64, Mount>,
}

impl AsFd for Mounts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Mounts {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Mounts {
    pub(super) fn new(shared: Rc<RefCell<Shared>>, root: &'static str) -> Result<Self, FanotifyError> {
        let path = if root == "/" { "/proc/self/mountinfo" } else { "/proc/1/mountinfo" }.to_owned();
        let open =
            || File::open(&path).map_err(|source| FanotifyError::Mounts { path: path.clone(), source });
        let (file, changes) = (open()?, open()?);
        let mut mounts = Self { shared, path, root, file, changes, registrations: 0, known: HashMap::new() };
        let table = mounts.table()?;
        mounts.known =
            table.into_values().map(|line| (line.id, Mount { line, over: None, root: None })).collect();
        Ok(mounts)
    }

    fn table(&mut self) -> Result<HashMap<u64, Line>, FanotifyError> {
        let mut table = Vec::new();
        let read = self.file.rewind().and_then(|()| (&self.file).take(TABLE_MAX).read_to_end(&mut table));
        read.map_err(|source| FanotifyError::Mounts { path: self.path.clone(), source })?;
        Ok(parse(&table))
    }

    fn has_changed(&self) -> bool {
        let mut polled = [PollFd::new(&self.changes, PollFlags::PRI)];
        // Where it cannot be asked, the table is read.
        rustix::event::poll(&mut polled, Some(&Timespec::default())).is_err()
            || polled[0].revents().intersects(PollFlags::PRI | PollFlags::ERR)
    }

    /// Compares the table with how it was and tells of mounts on, and taken from, watched objects. Costs one poll(2)
    /// where nothing has changed. To be called when the descriptor says so, and after every walk over the watches,
    /// since what a mount hides is looked up while it is there. Who mounted is not known.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub fn read(&mut self, now_ns: u64, emit: &mut dyn FnMut(&[u8])) -> Result<(), FanotifyError> {
        let registrations = self.shared.borrow().registrations;
        if !self.has_changed() && registrations == self.registrations {
            return Ok(());
        }
        self.registrations = registrations;
        let mut table = self.table()?;
        let mut out = Vec::new();
        let is_gone = |mount: &Mount| table.get(&mount.line.id) != Some(&mount.line);
        let gone: Vec<u64> =
            self.known.values().filter(|mount| is_gone(mount)).map(|mount| mount.line.id).collect();
        let gone: Vec<Mount> = gone.iter().filter_map(|id| self.known.remove(id)).collect();
        {
            let mut shared = self.shared.borrow_mut();
            shared.release(|mount| table.contains_key(&mount));
            for mount in gone {
                let own =
                    mount.root.as_ref().map_or(Found::NOTHING, |root| shared.tables.find(None, Some(root)));
                let found = if own.matched == 0 { mount.over(&shared) } else { own };
                if found.matched != 0 {
                    let record = FileRecordBuilder::new(kind::UMOUNT, now_ns, TaskContext::default()).path(
                        found.number,
                        found.matched,
                        &found.path,
                    );
                    out.push(record.build());
                }
            }
            // Those that are not known yet which hidden object they lie on, and new ones.
            let devices: Vec<Vec<u8>> = shared
                .filesystems
                .values()
                .filter_map(|filesystem| Some(table.get(&filesystem.mount_id)?.device.clone()))
                .collect();
            let parents: HashMap<u64, Vec<u8>> =
                table.values().map(|line| (line.id, line.device.clone())).collect();
            for (id, line) in table.drain() {
                let is_new = !self.known.contains_key(&id);
                let mount = self.known.entry(id).or_insert(Mount { line, over: None, root: None });
                // Only filesystems that are watched anyway are touched: another may hang.
                let on_watched =
                    parents.get(&mount.line.parent).is_some_and(|device| devices.contains(device));
                if mount.over.is_none() && on_watched {
                    mount.over = hidden(&shared, self.root, &mount.line.mountpoint);
                }
                if mount.root.is_none() && devices.contains(&mount.line.device) {
                    mount.root = shown(self.root, &mount.line.mountpoint);
                }
                let found = if is_new { mount.over(&shared) } else { Found::NOTHING };
                if found.matched != 0 {
                    let line = &mount.line;
                    let source = if line.root == b"/" { &line.source } else { &line.root };
                    let record = FileRecordBuilder::new(kind::MOUNT, now_ns, TaskContext::default())
                        .path(found.number, found.matched, &found.path)
                        .extra(source);
                    out.push(record.build());
                }
            }
        }
        for record in out {
            emit(&record);
        }
        Ok(())
    }
}

impl Mount {
    /// How the object that it hides is watched.
    fn over(&self, shared: &Shared) -> Found {
        let Some((directory, name, object)) = &self.over else { return Found::NOTHING };
        shared.tables.find(Some((directory, name)), object.as_deref())
    }
}

/// Opens a path of the mount table, which holds no symlinks.
fn open(root: &str, path: &Path) -> Option<std::os::fd::OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), within).ok()
}

/// What lies below a mount point, seen through a copy of the filesystem on which nothing is mounted.
fn hidden(shared: &Shared, root: &str, mountpoint: &[u8]) -> Option<(Key, Vec<u8>, Option<Key>)> {
    let mountpoint = Path::new(std::ffi::OsStr::from_bytes(mountpoint));
    let name = mountpoint.file_name()?.as_bytes();
    let parent = handle::key(open(root, mountpoint.parent()?)?.as_fd(), c"").ok()?;
    let filesystem = shared.filesystem(&parent)?;
    let object = filesystem.private.then(|| {
        let directory = filesystem.open(&parent, OFlags::PATH).ok()?;
        handle::key(directory.as_fd(), &CString::new(name).ok()?).ok()
    });
    Some((parent, name.to_vec(), object.flatten()))
}

/// The root of what is mounted.
fn shown(root: &str, mountpoint: &[u8]) -> Option<Key> {
    let path = Path::new(std::ffi::OsStr::from_bytes(mountpoint));
    handle::key(open(root, path)?.as_fd(), c"").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
        37 36 0:5 / /a\\040b\\134c rw - tmpfs none rw\nbroken\n38 36 0:6 / /x rw shared:1 master:2\n";

    #[test]
    fn lines_are_read_and_broken_ones_passed_over() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 2);
        let first = &table[&36];
        assert_eq!((first.parent, &first.device[..], &first.root[..]), (35, &b"98:0"[..], &b"/mnt1"[..]));
        assert_eq!((&first.mountpoint[..], &first.source[..]), (&b"/mnt2"[..], &b"/dev/root"[..]));
        assert_eq!(table[&37].mountpoint, b"/a b\\c");
        assert_eq!(table[&37].source, b"none");
    }

    #[test]
    fn escapes_are_undone_where_they_are_some() {
        assert_eq!(unescape(b"\\040x\\0"), b" x\\0");
        assert_eq!(unescape(b"\\999\\"), b"\\999\\");
        assert_eq!(unescape(b"caf\xe9\\012"), b"caf\xe9\n");
    }

    proptest::proptest! {
        #[test]
        fn any_table_is_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            proptest::prop_assert!(parse(&bytes).len() <= lines);
        }
    }
}
