//! What is watched, as fanotify names it, and where in it a directory lies.
//!
//! A mark on a filesystem reports everything that happens on it, so nearly every event is about something else, and
//! must cost no more than one look into [`Tables::directories`]. That map holds every directory below a watched one,
//! kept up to date by the events themselves: a directory is entered when its creation is read, before anything that
//! happened in it afterwards can be.

use std::collections::{HashMap, HashSet};

use sensor_common::limits::WALK_LEVELS;
use sensor_common::record::FileIdentity;
use sensor_common::watch;

/// An object: the filesystem's id (8 bytes, as statfs(2) has it), then its `struct file_handle` (length, type,
/// handle). It is what fanotify reports, byte for byte; the handle holds the inode's generation, so a reused inode
/// number is another object.
pub type Key = Box<[u8]>;

/// Bytes of the filesystem's id at the start of a [`Key`].
pub const FSID: usize = 8;

/// Directories that are known, and files, at most: a tree that holds more is watched in part, and counted.
pub const ENTRIES_MAX: usize = 65_536;

/// The place of an object: its directory and its name there.
pub type Place = (Key, Box<[u8]>);

/// Flags of [`sensor_common::watch`], and the watch's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// `SUBTREE`, `FILE`, `ANCHOR`, `ENTRY`, `PENDING`, `ANY_CHILD`.
    pub flags: u32,
    /// The watch.
    pub number: u32,
}

/// A name in a directory, and its mark.
pub type NamedMark = (Box<[u8]>, Mark);

/// A directory that is marked or lies below one that is.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Where it lies, where that is known; not told across a mount.
    pub place: Option<Place>,
    /// As last seen.
    pub seen: Option<Seen>,
}

/// An object's attributes at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Identity, owner, mode, length.
    pub identity: FileIdentity,
    /// Last change of the inode (stat(2), `st_ctime`): seconds and nanoseconds.
    pub changed: (i64, u64),
}

/// A file in a watched place: recognised under its other names, and compared after a change.
#[derive(Clone, Debug)]
pub struct File {
    /// The watch that it was found in.
    pub number: u32,
    /// The last watched name that it was seen under.
    pub place: Place,
    /// As last seen.
    pub seen: Seen,
}

/// How an object is watched; the same meaning as in the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The watch, or [`watch::NONE`].
    pub number: u32,
    /// The flag by which it matched; 0 for not at all.
    pub matched: u32,
    /// Names below the watched directory, "/"-separated. Without meaning where nothing or only `FILE` matched.
    pub path: Vec<u8>,
}

impl Found {
    /// Not watched.
    pub const NOTHING: Self = Self { number: watch::NONE, matched: 0, path: Vec::new() };

    /// Whether what lies below the object is watched as well.
    #[must_use]
    pub fn covers(&self) -> bool {
        self.matched & (watch::SUBTREE | watch::PENDING) != 0
    }
}

/// All marks, and what is known of the places that they cover.
#[derive(Default)]
pub struct Tables {
    /// Marked objects.
    pub objects: HashMap<Key, Mark>,
    /// Marked names, by directory.
    pub children: HashMap<Key, Vec<NamedMark>>,
    /// Every directory that is marked or covered.
    pub directories: HashMap<Key, Directory>,
    /// Everything but directories in a covered directory, and every file that is marked itself.
    pub files: HashMap<Key, File>,
    /// Directories and files that found no room.
    pub refused: u64,
}

impl Tables {
    /// Sets the mark of a named child; flags 0 take it away.
    pub fn set_child(&mut self, parent: &[u8], name: &[u8], mark: Mark) {
        let names = self.children.entry(parent.into()).or_default();
        names.retain(|(known, _)| **known != *name);
        if mark.flags != 0 {
            names.push((name.into(), mark));
        }
        if names.is_empty() {
            self.children.remove(parent);
        }
    }

    /// Finds the watch that an object lies in.
    ///
    /// `place` is its directory and name, `object` its own key; either may be unknown. The nearest mark above it wins,
    /// and one on the object alone comes last.
    #[must_use]
    pub fn find(&self, place: Option<(&[u8], &[u8])>, object: Option<&[u8]>) -> Found {
        let own = object.and_then(|object| self.objects.get(object));
        if let Some(mark) = own.filter(|mark| mark.flags & watch::SUBTREE != 0) {
            return Found { number: mark.number, matched: watch::SUBTREE, path: Vec::new() };
        }
        let mut names: Vec<&[u8]> = Vec::new();
        let mut here = place;
        while let Some((directory, name)) = here {
            let Some(known) = self.directories.get(directory) else { break };
            names.push(name);
            if let Some((number, matched)) = self.examine(directory, name, names.len()) {
                names.reverse();
                return Found { number, matched, path: names.join(&b'/') };
            }
            if names.len() >= WALK_LEVELS {
                break;
            }
            here = known.place.as_ref().map(|(parent, name)| (&**parent, &**name));
        }
        let single = own.filter(|mark| mark.flags & watch::FILE != 0).map(|mark| mark.number);
        let single = single.or_else(|| self.files.get(object?).map(|file| file.number));
        single.map_or(Found::NOTHING, |number| Found { number, matched: watch::FILE, path: Vec::new() })
    }

    /// What the marks say of a directory above an object: `level` levels above, `name` being the one just below.
    fn examine(&self, directory: &[u8], name: &[u8], level: usize) -> Option<(u32, u32)> {
        let mark = self.objects.get(directory)?;
        if mark.flags & watch::SUBTREE != 0 {
            return Some((mark.number, watch::SUBTREE));
        }
        if mark.flags & watch::ANCHOR != 0 {
            let named = self.children.get(directory).into_iter().flatten();
            if let Some((_, child)) = named.into_iter().find(|(known, _)| **known == *name) {
                let matched = child.flags & (watch::PENDING | if level == 1 { watch::ENTRY } else { 0 });
                if matched != 0 {
                    return Some((child.number, matched));
                }
            }
        }
        (level == 1 && mark.flags & watch::ANY_CHILD != 0).then_some((mark.number, watch::ANY_CHILD))
    }

    /// The place of a known directory.
    #[must_use]
    pub fn place_of(&self, directory: &[u8]) -> Option<(&[u8], &[u8])> {
        let (parent, name) = self.directories.get(directory)?.place.as_ref()?;
        Some((parent, name))
    }

    /// Whether everything below a directory is watched.
    #[must_use]
    pub fn is_covered(&self, directory: &[u8]) -> bool {
        self.find(self.place_of(directory), Some(directory)).covers()
    }

    /// Enters a directory, or notes where it lies now. False where it was known, or there is no room.
    pub fn add_directory(&mut self, key: &[u8], place: Option<Place>) -> bool {
        if let Some(known) = self.directories.get_mut(key) {
            if place.is_some() {
                known.place = place;
            }
            return false;
        }
        if self.directories.len() >= ENTRIES_MAX {
            self.refuse("directories");
            return false;
        }
        self.directories.insert(key.into(), Directory { place, seen: None });
        true
    }

    /// Enters a file, or brings it up to date.
    pub fn add_file(&mut self, key: &[u8], file: File) {
        if let Some(known) = self.files.get_mut(key) {
            *known = file;
        } else if self.files.len() < ENTRIES_MAX {
            self.files.insert(key.into(), file);
        } else {
            self.refuse("files");
        }
    }

    fn refuse(&mut self, what: &str) {
        if self.refused == 0 {
            tracing::warn!(bound = ENTRIES_MAX, "watched directories hold more {what} than are kept in view");
        }
        self.refused += 1;
    }

    /// Drops what no mark covers any more. Returns the directories that went.
    pub fn prune(&mut self) -> Vec<Key> {
        let gone: HashSet<Key> = self
            .directories
            .keys()
            .filter(|key| !self.objects.contains_key(*key) && !self.is_covered(key))
            .cloned()
            .collect();
        let lost: Vec<Key> = self
            .files
            .iter()
            .filter(|(key, file)| {
                let (directory, name) = &file.place;
                let gone = gone.contains(directory) || !self.find(Some((directory, name)), None).covers();
                gone && !self.objects.contains_key(*key)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in &lost {
            self.files.remove(key);
        }
        for key in &gone {
            self.directories.remove(key);
        }
        gone.into_iter().collect()
    }
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
