//! Marking: from what [`crate::probe::watches::WatchSet`] wants to what the kernel reports and the tables hold.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sensor_common::watch;

use super::handle::{self, Filesystem};
use super::sys;
use super::tables::{ENTRIES_MAX, FSID, File, Key, Mark, Place, Seen, Tables};
use crate::event::user::FileFound;
use crate::probe::watches::{Marker, WatchError};

/// Reported of a whole filesystem: names that come and go, and files that were written. `FAN_MODIFY` and
/// `FAN_ATTRIB` are not, for every write and every change of a time would pass through the queue.
const EVERYWHERE: u64 =
    libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_RENAME | libc::FAN_CLOSE_WRITE | libc::FAN_ONDIR;
/// Reported of each watched directory and what lies directly in it.
const INSIDE: u64 = libc::FAN_MODIFY | libc::FAN_ATTRIB | libc::FAN_ONDIR | libc::FAN_EVENT_ON_CHILD;
/// Reported of a marked object that is watched without what lies in it.
const ITSELF: u64 = libc::FAN_MODIFY | libc::FAN_ATTRIB;

/// Files in the tables below which those that are gone are not looked for.
const SWEEP_AT: usize = 2048;

/// What the marker and the reader share.
pub(super) struct Shared {
    /// The fanotify group.
    pub group: Rc<OwnedFd>,
    pub tables: Tables,
    pub filesystems: HashMap<[u8; FSID], Filesystem>,
    /// How often a filesystem was added to these.
    pub registrations: u64,
    /// What was identified since the last read.
    identified: HashMap<Key, Identified>,
    /// Marks were taken away: something may not be covered any more.
    stale: bool,
    /// Files in the tables at which those that are gone are looked for.
    sweep_at: usize,
}

/// An object that is about to be marked.
#[derive(Clone, Default)]
struct Identified {
    /// As configured, for messages.
    path: String,
    /// Where it lies, if it is a directory and that is known.
    place: Option<Place>,
}

/// An entry that a scan came upon.
pub(super) struct Met<'a> {
    pub directory: &'a [u8],
    pub name: &'a [u8],
    pub seen: Seen,
    /// What was known of it before.
    pub before: Option<Seen>,
    /// Where a symlink leads.
    pub target: Option<Vec<u8>>,
}

impl Shared {
    pub fn new(group: Rc<OwnedFd>) -> Self {
        Self {
            group,
            tables: Tables::default(),
            filesystems: HashMap::new(),
            registrations: 0,
            identified: HashMap::new(),
            stale: false,
            sweep_at: SWEEP_AT,
        }
    }

    /// The filesystem of an object.
    pub fn filesystem(&self, key: &[u8]) -> Option<&Filesystem> {
        self.filesystems.get(&handle::fsid(key))
    }

    fn open(&self, key: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        self.filesystem(key).ok_or(Errno::STALE)?.open(key, flags)
    }

    /// Asks for the events of one object by itself.
    fn mark_object(&self, object: BorrowedFd<'_>, mask: u64) -> Result<(), Errno> {
        sys::mark(self.group.as_fd(), libc::FAN_MARK_ADD, mask, object)
    }

    /// Marks an object: its filesystem, itself, and what it covers.
    fn mark(&mut self, object: &Key, mark: Mark) -> Result<(), WatchError> {
        let identified = self.identified.get(object).cloned().unwrap_or_default();
        let failed = |source| WatchError::Object { path: identified.path.clone(), source };
        let group = self.group.as_fd();
        let filesystem =
            self.filesystems.get_mut(&handle::fsid(object)).ok_or_else(|| failed(Errno::STALE))?;
        if !filesystem.marked {
            let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
            sys::mark(group, flags, EVERYWHERE, filesystem.mount.as_fd()).map_err(failed)?;
            filesystem.marked = true;
        }
        let (opened, seen) = filesystem.look(object).map_err(failed)?;
        let before = self.tables.objects.insert(object.clone(), mark);
        let is_directory = FileType::from_raw_mode(seen.identity.mode) == FileType::Directory;
        if is_directory {
            self.tables.add_directory(object, identified.place.clone());
            if let Some(known) = self.tables.directories.get_mut(object) {
                known.seen = Some(seen);
            }
        } else {
            let place = filesystem.place_of_file(opened.as_fd(), object).unwrap_or_default();
            self.tables.add_file(object, File { number: mark.number, place, seen });
        }
        let was = before.map_or(0, |mark| mark.flags);
        if mark.flags & watch::SUBTREE != 0 && was & watch::SUBTREE == 0 {
            self.scan(object, &mut |_| {});
        } else {
            self.stale |= was & watch::SUBTREE != 0 && mark.flags & watch::SUBTREE == 0;
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            let opened = self.open(object, flags).map_err(failed)?;
            let events = ITSELF | if is_directory { libc::FAN_ONDIR } else { 0 };
            self.mark_object(opened.as_fd(), events).map_err(failed)?;
        }
        Ok(())
    }

    /// Enters a directory that has just come into a covered one, and everything below it.
    pub fn enter(&mut self, key: &[u8], place: Place) {
        if self.tables.add_directory(key, Some(place)) {
            self.scan(key, &mut |_| {});
        }
    }

    /// Looks at everything below a covered directory: directories are entered and marked, files remembered; `met` is
    /// told of every entry. Symlinks are not followed and no mount is crossed.
    pub fn scan(&mut self, top: &[u8], met: &mut dyn FnMut(&Met<'_>)) {
        let mut waiting: Vec<Key> = vec![top.into()];
        let mut visited = HashSet::new();
        while let Some(directory) = waiting.pop() {
            if visited.len() >= ENTRIES_MAX || !visited.insert(directory.clone()) {
                continue;
            }
            match self.scan_one(&directory, &mut waiting, met) {
                // What is gone already is told by its own events.
                Ok(()) | Err(Errno::STALE | Errno::NOENT) => {}
                Err(error) => {
                    let path = self.filesystem(&directory).and_then(|known| known.path(&directory).ok());
                    let path = String::from_utf8_lossy(&path.unwrap_or_default()).into_owned();
                    tracing::warn!(%error, path, "cannot look into a watched directory");
                }
            }
        }
    }

    fn scan_one(
        &mut self,
        directory: &Key,
        waiting: &mut Vec<Key>,
        met: &mut dyn FnMut(&Met<'_>),
    ) -> Result<(), Errno> {
        let opened = self.open(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        // Before the first look, so that no change falls between the two.
        self.mark_object(opened.as_fd(), INSIDE)?;
        let stat = rustix::fs::fstat(&opened)?;
        if let Some(known) = self.tables.directories.get_mut(directory) {
            known.seen = Some(handle::seen(&stat, directory));
        }
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(key) = handle::key(opened.as_fd(), name) else { continue };
            let Ok(stat) = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let seen = handle::seen(&stat, &key);
            let place = (directory.clone(), name.to_bytes().into());
            let mut before = None;
            let mut target = None;
            match kind {
                FileType::Directory => {
                    // The root of another mount stands in its mount point's stead where the copy is not private.
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let crossing = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
                    if rustix::fs::openat2(&opened, name, flags, Mode::empty(), crossing).is_err() {
                        continue;
                    }
                    before = self.tables.directories.get(&key).and_then(|known| known.seen);
                    self.tables.add_directory(&key, Some(place));
                    if self.tables.directories.contains_key(&key) {
                        waiting.push(key.clone());
                    }
                }
                FileType::Symlink => {
                    target = rustix::fs::readlinkat(&opened, name, Vec::new()).ok().map(CString::into_bytes);
                }
                _ => {}
            }
            if kind != FileType::Directory {
                before = self.tables.files.get(&key).map(|file| file.seen);
                let number = self.tables.find(Some((directory, name.to_bytes())), None).number;
                self.tables.add_file(
                    &key,
                    File { number, place: (directory.clone(), name.to_bytes().into()), seen },
                );
            }
            met(&Met { directory, name: name.to_bytes(), seen, before, target });
        }
        Ok(())
    }

    /// Something may not be covered any more.
    pub fn reconsider(&mut self) {
        self.stale = true;
    }

    /// Looks at everything that is covered, after events were lost: what is new or changed since it was last seen.
    pub fn rescan(&mut self) -> Vec<FileFound> {
        self.sweep();
        let mut tops: Vec<Key> = Vec::new();
        for (key, mark) in &self.tables.objects {
            if mark.flags & watch::SUBTREE != 0 {
                tops.push(key.clone());
            }
        }
        let mut pending = Vec::new();
        for (parent, names) in &self.tables.children {
            for (name, _) in names.iter().filter(|(_, mark)| mark.flags & watch::PENDING != 0) {
                pending.push((parent.clone(), name.clone()));
            }
        }
        let mut met = Vec::new();
        for (parent, name) in pending {
            let appeared = || {
                let opened = self.open(&parent, OFlags::PATH).ok()?;
                let name = CString::new(&*name).ok()?;
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&opened, &*name, flags, Mode::empty()).ok()?;
                handle::key(opened.as_fd(), &name).ok()
            };
            if let Some(key) = appeared() {
                self.tables.add_directory(&key, Some((parent, name)));
                tops.push(key);
            }
        }
        for top in tops {
            self.scan(&top, &mut |entry| {
                if entry.before != Some(entry.seen) {
                    met.push((
                        entry.directory.to_vec(),
                        entry.name.to_vec(),
                        entry.seen,
                        entry.target.clone(),
                    ));
                }
            });
        }
        let describe = |(directory, name, seen, target): (Vec<u8>, Vec<u8>, Seen, Option<Vec<u8>>)| {
            let found = self.tables.find(Some((&directory, &name)), None);
            FileFound {
                watch: found.number,
                path: String::from_utf8_lossy(&found.path).into_owned(),
                target: target.map(|target| String::from_utf8_lossy(&target).into_owned()),
                mode: seen.identity.mode,
                uid: seen.identity.uid,
                replaces: false,
            }
        };
        met.into_iter().map(describe).collect()
    }

    /// Forgets what is gone without an event of its own: a file that another was renamed over, or whatever went while
    /// events were lost.
    fn sweep(&mut self) {
        let filesystems = &self.filesystems;
        let is_there = |key: &Key| {
            let known = filesystems.get(&handle::fsid(key));
            known
                .is_some_and(|filesystem| filesystem.look(key).is_ok_and(|(_, seen)| seen.identity.nlink > 0))
        };
        self.tables.files.retain(|key, _| is_there(key));
        let objects = &self.tables.objects;
        self.tables.directories.retain(|key, _| objects.contains_key(key) || is_there(key));
        self.sweep_at = SWEEP_AT.max(2 * self.tables.files.len()).min(ENTRIES_MAX);
    }

    /// Lets go of what is not watched any more, and of what only an ongoing walk needed.
    pub fn settle(&mut self) {
        self.identified.clear();
        if self.tables.files.len() >= self.sweep_at {
            self.sweep();
        }
        if std::mem::take(&mut self.stale) {
            for key in self.tables.prune() {
                if let Ok(directory) = self.open(&key, OFlags::RDONLY | OFlags::DIRECTORY) {
                    // One that was removed has lost its mark already.
                    let (group, flags) = (self.group.as_fd(), libc::FAN_MARK_REMOVE);
                    if let Err(error) = sys::mark(group, flags, INSIDE, directory.as_fd()) {
                        tracing::debug!(%error, "cannot take the mark from a directory");
                    }
                }
            }
        }
        let needed: HashSet<[u8; FSID]> = self.tables.objects.keys().map(|key| handle::fsid(key)).collect();
        let group = self.group.as_fd();
        self.filesystems.retain(|id, filesystem| {
            let keep = needed.contains(id);
            if !keep && filesystem.marked {
                let flags = libc::FAN_MARK_REMOVE | libc::FAN_MARK_FILESYSTEM;
                if let Err(error) = sys::mark(group, flags, EVERYWHERE, filesystem.mount.as_fd()) {
                    tracing::debug!(%error, "cannot take the mark from a filesystem");
                }
            }
            keep
        });
    }

    /// Drops filesystems of which no mount is left, so that they can go.
    pub fn release(&mut self, is_mounted: impl Fn(u64) -> bool) {
        self.filesystems.retain(|_, filesystem| is_mounted(filesystem.mount_id));
    }
}

/// The fanotify backend's side of a [`crate::probe::watches::WatchSet`]. Made by [`super::Fanotify::new`].
pub struct FanotifyMarker {
    pub(super) shared: Rc<RefCell<Shared>>,
}

impl Marker for FanotifyMarker {
    type Identity = Key;

    fn identify(&mut self, object: BorrowedFd<'_>, path: &str) -> Result<Vec<Key>, WatchError> {
        let failed = |source| WatchError::Object { path: path.to_owned(), source };
        let stat = rustix::fs::fstat(object).map_err(failed)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let key = handle::key(object, c"").map_err(failed)?;
        let mut shared = self.shared.borrow_mut();
        if shared.filesystem(&key).is_none_or(|known| known.open(&key, OFlags::PATH).is_err()) {
            let filesystem = Filesystem::of(object, is_directory).map_err(failed)?;
            // A handle that can be made but not opened again would make every later look at the object fail.
            filesystem.open(&key, OFlags::PATH).map_err(failed)?;
            let id = handle::fsid(&key);
            shared.filesystems.insert(id, filesystem);
            shared.registrations += 1;
            // Mounted again, with the same objects: the kernel's marks went with the old mount.
            let marked = shared.tables.objects.iter().filter(|(key, _)| handle::fsid(key) == id);
            let again: Vec<(Key, Mark)> = marked.map(|(key, mark)| (key.clone(), *mark)).collect();
            for (object, mark) in again {
                shared.tables.objects.remove(&object);
                if let Err(error) = shared.mark(&object, mark) {
                    tracing::debug!(%error, "an object of a filesystem that was mounted again is gone");
                }
            }
        }
        let name = Path::new(path).file_name().map_or(&b""[..], |name| name.as_encoded_bytes());
        let place = is_directory.then(|| handle::place(object, name)).flatten();
        shared.identified.insert(key.clone(), Identified { path: path.to_owned(), place });
        Ok(vec![key])
    }

    fn mark(&mut self, object: &Key, flags: u32, number: u32) -> Result<(), WatchError> {
        let mut shared = self.shared.borrow_mut();
        if flags == 0 {
            shared.tables.objects.remove(object);
            shared.stale = true;
            return Ok(());
        }
        shared.mark(object, Mark { flags, number })
    }

    fn mark_child(&mut self, parent: &Key, name: &[u8], flags: u32, number: u32) -> Result<(), WatchError> {
        let mut shared = self.shared.borrow_mut();
        let pending = |shared: &Shared| {
            let names = shared.tables.children.get(parent)?;
            names.iter().find(|(known, _)| **known == *name).map(|(_, mark)| mark.flags & watch::PENDING)
        };
        shared.stale |= pending(&shared).is_some_and(|was| was != 0) && flags & watch::PENDING == 0;
        shared.tables.set_child(parent, name, Mark { flags, number });
        Ok(())
    }

    /// fanotify knows nothing of sockets, which `selftest` says.
    fn mark_socket(&mut self, _: &Key, _: &[u8], _: Option<u32>) -> Result<(), WatchError> {
        Ok(())
    }
}
