//! Records of what happened to an object's content and attributes.

use sensor_common::record::{TaskContext, kind};

use super::report::{Object, PlaceRef, Report, is_temporary, is_temporary_name};
use super::tables::{File, Found, Key, Seen};

/// Within this time a modified file's close is awaited, in nanoseconds.
const CLOSE_NS: u64 = 1_000_000_000;
/// Modified files whose close is awaited, at most; of more the modification is told at once.
const MODIFIED_MAX: usize = 1024;
/// `ATTR_MODE`, `ATTR_UID`, `ATTR_GID` (include/linux/fs.h).
const ATTR_MODE: u64 = 1;
const ATTR_UID: u64 = 2;
const ATTR_GID: u64 = 4;

/// A file that was modified and not closed yet; or closed, and not named yet.
pub(super) struct Modified {
    since_ns: u64,
    task: TaskContext,
    closed: bool,
}

impl Report<'_> {
    /// A change of mode or owner. The event also comes for times, extended attributes and the number of links, so the
    /// object is compared with how it looked before; one that was not seen before counts as changed.
    pub fn attributes(
        &mut self,
        task: TaskContext,
        place: Option<PlaceRef<'_>>,
        object: &Object<'_>,
        on_directory: bool,
    ) {
        let Some((key, seen)) = object.key.zip(object.seen) else { return };
        let found = self.shared.tables.find(place, Some(key));
        let tables = &mut self.shared.tables;
        let before = if on_directory {
            tables.directories.get_mut(key).and_then(|directory| directory.seen.replace(seen))
        } else {
            tables.files.get_mut(key).map(|file| {
                // The length is FAN_MODIFY's to compare.
                let mut updated = seen;
                updated.identity.size = file.seen.identity.size;
                std::mem::replace(&mut file.seen, updated)
            })
        };
        let changed = before.map_or(ATTR_MODE | ATTR_UID | ATTR_GID, |before| {
            let (old, new) = (before.identity, seen.identity);
            let flag = |bit, differs| if differs { bit } else { 0 };
            flag(ATTR_MODE, old.mode != new.mode)
                | flag(ATTR_UID, old.uid != new.uid)
                | flag(ATTR_GID, old.gid != new.gid)
        });
        if changed == 0 || found.matched == 0 {
            return;
        }
        let argument = changed << 32 | u64::from(seen.identity.mode & 0xffff);
        let record = self.record(kind::FILE_ATTRIBUTE, task, &found, place, Some(seen)).argument(argument);
        self.out.push(record.build());
    }

    /// A file that became shorter was truncated. Otherwise it may have been written, which its close tells, or its
    /// length may have been set without a descriptor: where no close follows, that is told a second later.
    pub fn modified(
        &mut self,
        task: TaskContext,
        place: Option<PlaceRef<'_>>,
        object: &Object<'_>,
        closed: bool,
    ) {
        let Some((key, seen)) = object.key.zip(object.seen) else { return };
        let found = self.shared.tables.find(place, Some(key));
        if found.matched == 0 {
            return;
        }
        let known = self.shared.tables.files.get_mut(key);
        let before = known.map(|file| std::mem::replace(&mut file.seen, seen));
        if before.is_some_and(|before| seen.identity.size < before.identity.size) {
            self.truncated(task, &found, place, seen);
        } else if !closed {
            if self.modified.len() < MODIFIED_MAX || self.modified.contains_key(key) {
                self.modified.entry(key.into()).or_insert(Modified {
                    since_ns: self.now_ns,
                    task,
                    closed: false,
                });
            } else {
                self.truncated(task, &found, place, seen);
            }
        }
    }

    fn truncated(&mut self, task: TaskContext, found: &Found, place: Option<PlaceRef<'_>>, seen: Seen) {
        let size = seen.identity.size;
        let record = self.record(kind::FILE_TRUNCATE, task, found, place, Some(seen)).argument(size);
        self.out.push(record.build());
    }

    /// Tells of modified files whose close has not come.
    pub fn overdue(&mut self) {
        let now = self.now_ns;
        let is_due = |modified: &Modified| now.saturating_sub(modified.since_ns) >= CLOSE_NS;
        let due: Vec<Key> = self
            .modified
            .iter()
            .filter(|(_, modified)| is_due(modified))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            let Some(modified) = self.modified.remove(&key) else { continue };
            let Some(file) = self.shared.tables.files.get(&key).cloned() else { continue };
            let place = Some((&*file.place.0, &*file.place.1));
            let found = self.shared.tables.find(place, Some(&key));
            let seen = self.object(Some(&key)).seen.unwrap_or(file.seen);
            if found.matched != 0 && !modified.closed {
                self.truncated(modified.task, &found, place, seen);
            }
        }
    }

    pub fn closed(&mut self, task: TaskContext, place: Option<PlaceRef<'_>>, object: &Object<'_>) {
        let found = self.shared.tables.find(place, object.key);
        let waiting = object.key.and_then(|key| self.modified.remove(key));
        if found.matched == 0 {
            return;
        }
        if place.is_some_and(|(_, name)| is_temporary(name)) {
            // Without a name it is nothing that anyone can come upon; if it has got one since, that is told next. The
            // kernel adds the close to the event of an earlier write, and so puts it before the link.
            if let (Some(key), Some(seen)) = (object.key, object.seen) {
                let name = place.map_or(&b""[..], |(_, name)| name);
                let has_name = seen.identity.nlink > 0;
                if is_temporary_name(name, seen.identity.inode)
                    && has_name
                    && self.modified.len() < MODIFIED_MAX
                {
                    let task = waiting.map_or(task, |waiting| waiting.task);
                    self.modified.insert(key.into(), Modified { since_ns: self.now_ns, task, closed: true });
                    return;
                }
            }
            if object.seen.is_none_or(|seen| seen.identity.nlink == 0) {
                return;
            }
        }
        let last = object.seen.or_else(|| Some(self.shared.tables.files.get(object.key?)?.seen));
        let record = self.record(kind::FILE_CLOSE_WRITE, task, &found, place, last);
        self.out.push(record.build());
        if let (Some(key), Some(seen)) = (object.key, object.seen) {
            if let Some(file) = self.shared.tables.files.get_mut(key) {
                file.seen = seen;
            } else if let Some(place) = place.filter(|_| found.covers()) {
                let place = (place.0.into(), place.1.into());
                self.shared.tables.add_file(key, File { number: found.number, place, seen });
            }
        }
    }

    /// A file has got a name: if its close was read already, that is told now.
    pub fn named(&mut self, place: PlaceRef<'_>, object: &Object<'_>) {
        let Some(key) = object.key.filter(|key| self.modified.get(*key).is_some_and(|known| known.closed))
        else {
            return;
        };
        if let Some(waiting) = self.modified.remove(key) {
            self.closed(waiting.task, Some(place), object);
        }
    }
}
