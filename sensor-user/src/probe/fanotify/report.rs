//! From an event to the records that the kernel programs would have made of the operation.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use sensor_common::record::{TaskContext, kind};
use sensor_common::watch;

use super::change::Modified;
use super::handle;
use super::marker::Shared;
use super::parse::{Entry, Event};
use super::tables::{File, Found, Key, Place, Seen};
use super::tasks::Tasks;
use crate::event::encode::FileRecordBuilder;

/// What a batch of events is told with.
pub(super) struct Report<'a> {
    pub shared: &'a mut Shared,
    pub tasks: &'a Tasks,
    /// Of the processes in this batch, each looked up once.
    pub contexts: HashMap<u32, TaskContext>,
    pub modified: &'a mut HashMap<Key, Modified>,
    pub now_ns: u64,
    pub out: &'a mut Vec<Vec<u8>>,
}

/// The object of an event: its key, and how it looks now where it is still there.
pub(super) struct Object<'e> {
    pub key: Option<&'e [u8]>,
    opened: Option<OwnedFd>,
    pub seen: Option<Seen>,
}

impl Object<'_> {
    fn file_type(&self) -> Option<FileType> {
        self.seen.map(|seen| FileType::from_raw_mode(seen.identity.mode))
    }
}

/// A directory's key and a name in it.
pub(super) type PlaceRef<'e> = (&'e [u8], &'e [u8]);

impl Report<'_> {
    /// Tells of one event; false where it is about nothing watched.
    pub fn event(&mut self, event: &Event<'_>) -> bool {
        if event.mask & libc::FAN_RENAME != 0 {
            return self.rename(event);
        }
        let on_directory = event.mask & libc::FAN_ONDIR != 0;
        let itself = event.entry.filter(|entry| entry.name == b".").map(|entry| entry.directory);
        let key = event.object.or(itself);
        let tables = &self.shared.tables;
        let in_known = event.entry.is_some_and(|entry| tables.directories.contains_key(entry.directory));
        let concerns_known = || match key {
            Some(key) if on_directory => tables.directories.contains_key(key),
            Some(key) => tables.files.contains_key(key),
            None => false,
        };
        if !in_known && !concerns_known() {
            return false;
        }
        let place = if itself.is_some() {
            key.and_then(|key| tables.place_of(key))
                .map(|(directory, name)| (directory.to_vec(), name.to_vec()))
        } else {
            self.real_place(event.entry, key)
        };
        let place = place.as_ref().map(|(directory, name)| (&directory[..], &name[..]));
        if self.shared.tables.find(place, key).matched == 0 {
            return false;
        }
        let task = self.task(event.pid);
        let object = self.object(key);

        let (created, deleted) = (event.mask & libc::FAN_CREATE != 0, event.mask & libc::FAN_DELETE != 0);
        // The kernel joins what happened to one name in a row; what is there now tells which came last.
        let deleted_first = created && deleted && place.is_some_and(|place| self.is_there(place, key));
        if deleted && deleted_first {
            self.deleted(task, place, &object, on_directory);
        }
        if created {
            self.created(task, place, &object, on_directory);
        }
        if event.mask & libc::FAN_ATTRIB != 0 {
            self.attributes(task, place, &object, on_directory);
        }
        if event.mask & libc::FAN_MODIFY != 0 {
            self.modified(task, place, &object, event.mask & libc::FAN_CLOSE_WRITE != 0);
        }
        if event.mask & libc::FAN_CLOSE_WRITE != 0 {
            self.closed(task, place, &object);
        }
        if deleted && !deleted_first {
            self.deleted(task, place, &object, on_directory);
        }
        true
    }

    fn task(&mut self, tgid: u32) -> TaskContext {
        *self.contexts.entry(tgid).or_insert_with(|| self.tasks.context(tgid))
    }

    pub fn object<'e>(&self, key: Option<&'e [u8]>) -> Object<'e> {
        let looked = key.and_then(|key| self.shared.filesystem(key)?.look(key).ok());
        let (opened, seen) = looked.map_or((None, None), |(opened, seen)| (Some(opened), Some(seen)));
        Object { key, opened, seen }
    }

    /// Where an object lies: as the event says, or, where that is no name (a file made with `O_TMPFILE` keeps "#" and
    /// its inode number as its name, whatever it is linked to later) or none at all, where it was seen last.
    fn real_place(&self, entry: Option<Entry<'_>>, key: Option<&[u8]>) -> Option<(Vec<u8>, Vec<u8>)> {
        let known = key.and_then(|key| self.shared.tables.files.get(key));
        match (entry, known) {
            (Some(entry), Some(known)) if is_temporary_name(entry.name, known.seen.identity.inode) => {
                Some((known.place.0.to_vec(), known.place.1.to_vec()))
            }
            (Some(entry), _) => Some((entry.directory.to_vec(), entry.name.to_vec())),
            (None, Some(known)) => Some((known.place.0.to_vec(), known.place.1.to_vec())),
            (None, None) => None,
        }
    }

    /// Whether the name stands for this very object.
    fn is_there(&self, (directory, name): PlaceRef<'_>, key: Option<&[u8]>) -> bool {
        let opened = self
            .shared
            .filesystem(directory)
            .and_then(|filesystem| filesystem.open(directory, rustix::fs::OFlags::PATH).ok());
        let Some((opened, name)) = opened.zip(std::ffi::CString::new(name).ok()) else { return false };
        handle::key(opened.as_fd(), &name).is_ok_and(|found| key.is_none_or(|key| *found == *key))
    }

    /// The names of an object as a record has them; false where those above are not known any more.
    fn names(&self, found: &Found, place: Option<PlaceRef<'_>>) -> (Vec<u8>, bool) {
        if found.matched & !watch::FILE != 0 {
            return (found.path.clone(), true);
        }
        let Some((directory, name)) = place else { return (Vec::new(), false) };
        let above = self.shared.filesystem(directory).and_then(|filesystem| filesystem.path(directory).ok());
        let whole = above.is_some();
        let mut path = above.unwrap_or_default();
        path.push(b'/');
        path.extend_from_slice(name);
        (path, whole)
    }

    pub fn record(
        &self,
        kind: u16,
        task: TaskContext,
        found: &Found,
        place: Option<PlaceRef<'_>>,
        seen: Option<Seen>,
    ) -> FileRecordBuilder {
        let (names, whole) = self.names(found, place);
        FileRecordBuilder::new(kind, self.now_ns, task)
            .path(found.number, found.matched, &names)
            .path_cut(!whole)
            .object(seen.unwrap_or_default().identity)
    }

    fn with_other(&self, record: FileRecordBuilder, found: &Found, place: PlaceRef<'_>) -> FileRecordBuilder {
        let (names, whole) = self.names(found, Some(place));
        record.other(found.number, found.matched, &names).path_cut(!whole)
    }

    fn created(
        &mut self,
        task: TaskContext,
        place: Option<PlaceRef<'_>>,
        object: &Object<'_>,
        on_directory: bool,
    ) {
        let Some(place) = place else { return };
        let found = self.shared.tables.find(Some(place), None);
        let known = object.key.and_then(|key| self.shared.tables.files.get(key)).cloned();
        // A name of an object that has another: no new object.
        let links = object.seen.map_or(0, |seen| seen.identity.nlink);
        let kind = match object.file_type() {
            _ if on_directory => kind::FILE_MKDIR,
            Some(_) if links > 1 => kind::FILE_LINK,
            Some(FileType::Symlink) => kind::FILE_SYMLINK,
            Some(FileType::RegularFile) | None => kind::FILE_CREATE,
            Some(_) => kind::FILE_MKNOD,
        };
        if found.matched == 0 && (known.is_none() || kind != kind::FILE_LINK) {
            return;
        }
        let mode = object.seen.map_or(0, |seen| u64::from(seen.identity.mode));
        let mut record = self.record(kind, task, &found, Some(place), object.seen).argument(mode);
        if kind == kind::FILE_SYMLINK {
            let target =
                object.opened.as_ref().and_then(|opened| rustix::fs::readlinkat(opened, "", Vec::new()).ok());
            record = record.extra(target.unwrap_or_default().as_bytes());
        }
        if kind == kind::FILE_LINK {
            let other = known.map(|known| known.place).or_else(|| self.other_name(object, place));
            if let Some((directory, name)) = other.as_ref().filter(|(directory, _)| !directory.is_empty()) {
                let old = (&**directory, &**name);
                let other = self.shared.tables.find(Some(old), object.key);
                record = self.with_other(record, &other, old);
            }
        }
        self.out.push(record.build());
        self.remember(object, place, &found, on_directory);
        self.named(place, object);
    }

    /// Another name of a file, where the kernel still has one at hand.
    fn other_name(&self, object: &Object<'_>, place: PlaceRef<'_>) -> Option<Place> {
        let (key, opened) = object.key.zip(object.opened.as_ref())?;
        let other = self.shared.filesystem(key)?.place_of_file(opened.as_fd(), key)?;
        ((&*other.0, &*other.1) != place).then_some(other)
    }

    /// Notes what lies in a covered directory from now on.
    fn remember(&mut self, object: &Object<'_>, place: PlaceRef<'_>, found: &Found, on_directory: bool) {
        let Some(key) = object.key.filter(|_| found.covers()) else { return };
        let place = (place.0.into(), place.1.into());
        if on_directory {
            self.shared.enter(key, place);
        } else if let Some(seen) = object.seen {
            self.shared.tables.add_file(key, File { number: found.number, place, seen });
        }
    }

    fn deleted(
        &mut self,
        task: TaskContext,
        place: Option<PlaceRef<'_>>,
        object: &Object<'_>,
        on_directory: bool,
    ) {
        let found = self.shared.tables.find(place, object.key);
        let tables = &mut self.shared.tables;
        let mut last = object.seen;
        if let Some(key) = object.key {
            if on_directory {
                last = last.or_else(|| tables.directories.get(key)?.seen);
            } else {
                last = last.or_else(|| Some(tables.files.get(key)?.seen));
            }
        }
        if found.matched != 0 {
            let kind = if on_directory { kind::FILE_RMDIR } else { kind::FILE_UNLINK };
            let record = self.record(kind, task, &found, place, last);
            self.out.push(record.build());
        }
        let Some(key) = object.key else { return };
        if on_directory {
            self.shared.tables.directories.remove(key);
        } else if object.seen.is_none_or(|seen| seen.identity.nlink == 0) {
            self.shared.tables.files.remove(key);
            self.modified.remove(key);
        }
    }

    fn rename(&mut self, event: &Event<'_>) -> bool {
        let (Some(old), Some(new)) = (event.old, event.new) else { return false };
        let (old, new) = ((old.directory, old.name), (new.directory, new.name));
        let tables = &self.shared.tables;
        let found = tables.find(Some(new), None);
        let from = tables.find(Some(old), event.object);
        if found.matched | from.matched == 0 {
            return false;
        }
        let object = self.object(event.object);
        let task = self.task(event.pid);
        let record = self.record(kind::FILE_RENAME, task, &found, Some(new), object.seen);
        let record = self.with_other(record, &from, old);
        self.out.push(record.build());
        let on_directory = event.mask & libc::FAN_ONDIR != 0;
        let Some(key) = event.object else { return true };
        if found.covers() {
            self.remember(&object, new, &found, on_directory);
        } else if on_directory {
            if self.shared.tables.directories.contains_key(key) {
                self.shared.tables.add_directory(key, Some((new.0.into(), new.1.into())));
                self.shared.reconsider();
            }
        } else if object.seen.is_none_or(|seen| seen.identity.nlink <= 1)
            && !self.shared.tables.objects.contains_key(key)
        {
            self.shared.tables.files.remove(key);
        }
        true
    }
}

/// Whether a name has the form that the kernel gives to files without one (fs/dcache.c, `d_mark_tmpfile`).
pub(super) fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(b"#").is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

pub(super) fn is_temporary_name(name: &[u8], inode: u64) -> bool {
    is_temporary(name) && name[1..] == *inode.to_string().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_without_one() {
        assert!(is_temporary(b"#123") && is_temporary_name(b"#123", 123));
        for name in [&b"#"[..], b"#12a", b"123", b"", b"#12#"] {
            assert!(!is_temporary(name), "{name:?}");
        }
        assert!(!is_temporary_name(b"#124", 123));
    }
}
