//! From configured paths to watched identities, and again whenever a directory on the way changes.
//!
//! Each path is walked component by component as PID 1 sees it. The directories on the way become anchors that
//! report what happens to the next component, so a directory that appears, is replaced, or is mounted over leads to
//! a new walk; until then everything below a missing component is reported by name.

mod marker;
mod scan;
mod walk;

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::event::user::{FileFound, Watch, WatchClass};
use marker::object;
pub use marker::{Marker, WatchError};
use scan::scan;
use walk::{Walk, components, open_below};

/// Entries of one directory that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// A path to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Absolute. A component `*` stands for every directory there.
    pub path: String,
    /// What it holds; `None` for a file that the sensor itself goes by (the user database).
    pub class: Option<WatchClass>,
    /// The user whose directory it is.
    pub owner: Option<u32>,
}

/// Flags and watch number.
type Mark = (u32, u32);

/// What is to be marked.
struct Plan<I> {
    objects: HashMap<I, Mark>,
    children: HashMap<(I, Vec<u8>), Mark>,
    /// Watch numbers of listeners, by the directory and name of their file.
    sockets: HashMap<(I, Vec<u8>), u32>,
    /// Directories watched with everything below.
    directories: Vec<(u32, OwnedFd, Directory<I>)>,
}

/// A directory that is watched with everything below.
struct Directory<I> {
    /// From the root, symlinks resolved.
    names: Vec<OsString>,
    identities: Vec<I>,
}

impl<I> Default for Plan<I> {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            children: HashMap::new(),
            sockets: HashMap::new(),
            directories: Vec::new(),
        }
    }
}

/// What a walk over all paths changed.
#[derive(Default)]
pub struct Changes {
    /// Watch numbers that are new.
    pub watches: Vec<Watch>,
    /// Configured paths of directories that lead to another path by symbolic links, and that path; of one that does so no
    /// more, itself.
    pub links: Vec<(String, String)>,
    /// Objects in directories that were not watched before.
    pub found: Vec<FileFound>,
    /// What could not be watched.
    pub errors: Vec<WatchError>,
}

/// All watches of one backend.
pub struct WatchSet<M: Marker> {
    marker: M,
    /// The directory in which all paths begin.
    root: &'static str,
    specs: Vec<Spec>,
    numbers: HashMap<(String, Option<WatchClass>), u32>,
    objects: HashMap<M::Identity, Mark>,
    children: HashMap<(M::Identity, Vec<u8>), Mark>,
    sockets: HashMap<(M::Identity, Vec<u8>), u32>,
    /// By watch number.
    directories: HashMap<u32, Directory<M::Identity>>,
    /// Single files below them that [`Self::seed_files`] marked.
    pub(super) seeded: HashMap<M::Identity, u32>,
    /// Where configured paths lead, as far as links are on the way.
    links: HashMap<String, String>,
    resolved_once: bool,
}

impl<M: Marker> WatchSet<M> {
    /// Nothing is watched until [`Self::resolve`]. `root` is [`host_root`]'s.
    pub fn new(marker: M, root: &'static str, specs: Vec<Spec>) -> Self {
        Self {
            marker,
            root,
            specs,
            numbers: HashMap::new(),
            objects: HashMap::new(),
            children: HashMap::new(),
            sockets: HashMap::new(),
            directories: HashMap::new(),
            seeded: HashMap::new(),
            links: HashMap::new(),
            resolved_once: false,
        }
    }

    /// Replaces the paths; takes effect at the next [`Self::resolve`].
    pub fn set_specs(&mut self, specs: Vec<Spec>) {
        self.specs = specs;
    }

    /// The backend's side.
    pub fn marker_mut(&mut self) -> &mut M {
        &mut self.marker
    }

    /// Marks in force: objects and named children.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.objects.len(), self.children.len())
    }

    /// Whether nothing is marked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.children.is_empty()
    }

    /// Walks all paths and brings the marks up to date: first what is new, then what is gone.
    ///
    /// Objects in a directory that is watched for the first time, or that has taken the place of another, are listed
    /// in [`Changes::found`], but for the first walk: what is there when the sensor starts is the state of the machine,
    /// not a change.
    ///
    /// # Errors
    /// Where the root cannot be opened. What fails on a single path is in [`Changes::errors`].
    pub fn resolve(&mut self) -> Result<Changes, WatchError> {
        let root = open_root(self.root).map_err(|source| object(self.root, source))?;
        let mut changes = Changes::default();
        let mut plan = Plan::default();
        let mut identities = HashMap::new();
        for spec in self.specs.clone() {
            let components = components(Path::new(&spec.path));
            let mut walk =
                Walk { set: self, plan: &mut plan, identities: &mut identities, changes: &mut changes };
            if let Err(error) = walk.path(&root, &spec, components) {
                changes.errors.push(error);
            }
        }
        self.apply(&plan, &mut changes.errors);
        let mut now = HashMap::new();
        for (number, opened, directory) in plan.directories {
            let known = self.directories.get(&number);
            // On overlayfs a directory that is copied up keeps one identity of two: it is still the same.
            let same =
                |known: &Directory<_>| known.identities.iter().any(|one| directory.identities.contains(one));
            if self.resolved_once && !known.is_some_and(same) {
                scan(opened.as_fd(), number, known.is_some(), &mut changes.found);
            }
            now.insert(number, directory);
        }
        self.directories = now;
        self.resolved_once = true;
        Ok(changes)
    }

    /// Opens the directories that are watched with everything below, as the last walk found them, in the order in
    /// which they are configured: units come first.
    ///
    /// # Errors
    /// Where the root cannot be opened; a directory that is gone is left out.
    pub(super) fn open_directories(&self) -> Result<Vec<(u32, OwnedFd)>, WatchError> {
        let root = open_root(self.root).map_err(|source| object(self.root, source))?;
        let open = |(number, directory): (&u32, &Directory<_>)| {
            Some((*number, open_below(&root, &directory.names).ok()?))
        };
        let mut opened: Vec<_> = self.directories.iter().filter_map(open).collect();
        opened.sort_unstable_by_key(|(number, _)| *number);
        Ok(opened)
    }

    /// Whether a configured path led to this object.
    pub(super) fn is_configured(&self, object: &M::Identity) -> bool {
        self.objects.contains_key(object)
    }

    fn apply(&mut self, plan: &Plan<M::Identity>, errors: &mut Vec<WatchError>) {
        for (key, mark) in &plan.children {
            if self.children.get(key) != Some(mark) {
                match self.marker.mark_child(&key.0, &key.1, mark.0, mark.1) {
                    Ok(()) => drop(self.children.insert(key.clone(), *mark)),
                    Err(error) => error.gather(errors),
                }
            }
        }
        for (key, number) in &plan.sockets {
            if self.sockets.get(key) != Some(number) {
                match self.marker.mark_socket(&key.0, &key.1, Some(*number)) {
                    Ok(()) => drop(self.sockets.insert(key.clone(), *number)),
                    Err(error) => error.gather(errors),
                }
            }
        }
        for (object, mark) in &plan.objects {
            if self.objects.get(object) != Some(mark) {
                match self.marker.mark(object, mark.0, mark.1) {
                    Ok(()) => drop(self.objects.insert(object.clone(), *mark)),
                    Err(error) => error.gather(errors),
                }
            }
        }
        let marker = &mut self.marker;
        self.objects.retain(|object, _| {
            plan.objects.contains_key(object)
                || marker.mark(object, 0, 0).map_err(|e| errors.push(e)).is_err()
        });
        self.children.retain(|key, _| {
            plan.children.contains_key(key)
                || marker.mark_child(&key.0, &key.1, 0, 0).map_err(|e| errors.push(e)).is_err()
        });
        self.sockets.retain(|key, _| {
            plan.sockets.contains_key(key)
                || marker.mark_socket(&key.0, &key.1, None).map_err(|e| errors.push(e)).is_err()
        });
    }

    /// The number of a watched path; announces it when it is new.
    fn number(
        &mut self,
        path: &str,
        class: Option<WatchClass>,
        owner: Option<u32>,
        changes: &mut Changes,
    ) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry((path.to_owned(), class)).or_insert_with(|| {
            changes.watches.push(Watch { watch: next, path: path.to_owned(), class, owner });
            next
        })
    }
}

/// The root directory of the host: PID 1's, or, where this process may not look at PID 1 (ptrace(2), "access mode
/// checking"), its own.
#[must_use]
pub fn host_root() -> &'static str {
    const INIT: &str = "/proc/1/root";
    match open_root(INIT) {
        Ok(_) => INIT,
        Err(error) => {
            tracing::warn!(%error, "cannot look at PID 1's root directory; going by this process's own");
            "/"
        }
    }
}

fn open_root(path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests;
