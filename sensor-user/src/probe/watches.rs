//! From configured paths to watched identities, and again whenever a directory on the way changes.
//!
//! Each path is walked component by component as PID 1 sees it. The directories on the way become anchors that
//! report what happens to the next component, so a directory that appears, is replaced, or is mounted over leads to
//! a new walk; until then everything below a missing component is reported by name.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::hash::Hash;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use sensor_common::watch;

use crate::event::user::{FileFound, Watch, WatchClass};

/// Symlinks followed in one path, as the kernel's own limit (`path_resolution(7)`).
const SYMLINKS_MAX: usize = 40;
/// Entries of one directory that are looked at.
const ENTRIES_MAX: usize = 10_000;
/// Levels below a directory that are looked at when it appears.
const SCAN_DEPTH: usize = 8;

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

/// Why a directory could not be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// An object could not be opened or identified.
    #[error("cannot watch {path}: {source}")]
    Object {
        /// Which.
        path: String,
        /// Why.
        source: Errno,
    },
    /// The programs did not see the sensor's own open.
    #[error("the kernel programs did not see the sensor open {0}: they are attached but do not run")]
    Unseen(String),
    /// A map refused an entry.
    #[error("cannot enter {what} into the kernel's watch map: {source}")]
    Map {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

/// How a backend marks objects.
pub trait Marker {
    /// An object as the backend recognises it.
    type Identity: Clone + Eq + Hash;

    /// What the backend will see for this open object (an `O_PATH` descriptor of a directory or a regular file): more
    /// than one identity where a stacked filesystem shows it twice.
    ///
    /// # Errors
    /// Where it cannot be opened, or the backend does not see it.
    fn identify(&mut self, object: BorrowedFd<'_>, path: &str) -> Result<Vec<Self::Identity>, WatchError>;

    /// Marks an object with flags of [`sensor_common::watch`], or takes the mark away where they are 0.
    ///
    /// # Errors
    /// Where there is no room.
    fn mark(&mut self, object: &Self::Identity, flags: u32, number: u32) -> Result<(), WatchError>;

    /// The same for a named child of an anchor.
    ///
    /// # Errors
    /// Where there is no room.
    fn mark_child(
        &mut self,
        parent: &Self::Identity,
        name: &[u8],
        flags: u32,
        number: u32,
    ) -> Result<(), WatchError>;

    /// Has what clients send to the listener whose file has this name in the directory reported under `number`, or not
    /// any more. A backend that cannot see it does nothing.
    ///
    /// # Errors
    /// Where there is no room.
    fn mark_socket(
        &mut self,
        directory: &Self::Identity,
        name: &[u8],
        number: Option<u32>,
    ) -> Result<(), WatchError>;
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
                    Err(error) => errors.push(error),
                }
            }
        }
        for (key, number) in &plan.sockets {
            if self.sockets.get(key) != Some(number) {
                match self.marker.mark_socket(&key.0, &key.1, Some(*number)) {
                    Ok(()) => drop(self.sockets.insert(key.clone(), *number)),
                    Err(error) => errors.push(error),
                }
            }
        }
        for (object, mark) in &plan.objects {
            if self.objects.get(object) != Some(mark) {
                match self.marker.mark(object, mark.0, mark.1) {
                    Ok(()) => drop(self.objects.insert(object.clone(), *mark)),
                    Err(error) => errors.push(error),
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

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            std::path::Component::Normal(name) => Some(name.to_owned()),
            std::path::Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// One walk over one path.
struct Walk<'a, M: Marker> {
    set: &'a mut WatchSet<M>,
    plan: &'a mut Plan<M::Identity>,
    /// Of the directories seen in this walk over all paths, by their resolved path.
    identities: &'a mut HashMap<String, Vec<M::Identity>>,
    changes: &'a mut Changes,
}

impl<M: Marker> Walk<'_, M> {
    fn path(&mut self, root: &OwnedFd, spec: &Spec, mut rest: VecDeque<OsString>) -> Result<(), WatchError> {
        // Known by its configured name too, so that what appears below a missing directory can be named.
        if !spec.path.contains('*') {
            self.set.number(&spec.path, spec.class, spec.owner, self.changes);
        }
        let mut here =
            root.try_clone().map_err(|e| object("/", Errno::from_io_error(&e).unwrap_or(Errno::MFILE)))?;
        // Names of the directories from the root to `here`.
        let mut names: Vec<OsString> = Vec::new();
        let mut symlinks = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                names.pop();
                here = open_below(root, &names)?;
                continue;
            }
            let parent_path = join(&names);
            let parents = self.identify(&here, &parent_path)?;
            let anchor = self.set.number(&parent_path, None, None, self.changes);
            if name == "*" {
                for parent in &parents {
                    self.add_object(parent, watch::ANY_CHILD, anchor);
                }
                return self.every_child(root, spec, &here, &parent_path, &rest);
            }
            let opened = rustix::fs::openat(
                &here,
                name.as_os_str(),
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            );
            let missing = matches!(opened, Err(Errno::NOENT));
            for parent in &parents {
                let awaited = missing
                    && (spec.class.is_none_or(WatchClass::is_of_units) || !is_busy(&parent_path, spec));
                let flags = if awaited { watch::ENTRY | watch::PENDING } else { watch::ENTRY };
                let key = (parent.clone(), name.as_bytes().to_vec());
                self.plan.children.entry(key).or_insert((0, anchor)).0 |= flags;
                self.add_object(parent, watch::ANCHOR, anchor);
            }
            let path = join_one(&parent_path, &name);
            if rest.is_empty() && spec.class.is_some_and(WatchClass::is_socket) {
                // By name, so that it counts from the moment at which a listener binds it. Of a symlink the name counts
                // for nothing: no listener's file is one.
                let number = self.set.number(&path, spec.class, spec.owner, self.changes);
                for parent in &parents {
                    self.plan.sockets.insert((parent.clone(), name.as_bytes().to_vec()), number);
                }
            }
            if missing {
                return Ok(());
            }
            let child = opened.map_err(|source| object(&path, source))?;
            let kind = rustix::fs::fstat(&child).map_err(|source| object(&path, source))?.st_mode;
            match FileType::from_raw_mode(kind) {
                FileType::Directory if rest.is_empty() && spec.class.is_some_and(WatchClass::is_socket) => {
                    return Ok(());
                }
                FileType::Directory => {
                    here = child;
                    names.push(name);
                }
                FileType::Symlink => {
                    symlinks += 1;
                    if symlinks > SYMLINKS_MAX {
                        return Err(object(&path, Errno::LOOP));
                    }
                    let target = rustix::fs::readlinkat(&child, "", Vec::new())
                        .map_err(|source| object(&path, source))?
                        .into_bytes();
                    if target.starts_with(b"/") {
                        names.clear();
                        here = open_below(root, &names)?;
                    }
                    let target = components(Path::new(&OsString::from_vec(target)));
                    for component in target.into_iter().rev() {
                        rest.push_front(component);
                    }
                }
                FileType::RegularFile if rest.is_empty() => {
                    let number = self.set.number(&path, spec.class, spec.owner, self.changes);
                    for identity in self.set.marker.identify(child.as_fd(), &path)? {
                        self.add_object(&identity, watch::FILE, number);
                    }
                    return Ok(());
                }
                // Something else lies where a directory should: its replacement is watched as an entry.
                _ => return Ok(()),
            }
        }
        let path = join(&names);
        let number = self.set.number(&path, spec.class, spec.owner, self.changes);
        let identities = self.identify(&here, &path)?;
        for identity in &identities {
            self.add_object(identity, watch::SUBTREE, number);
        }
        self.plan.directories.push((number, here, Directory { names, identities }));
        Ok(())
    }

    /// Goes on with each directory in `here` in the place of a `*`.
    fn every_child(
        &mut self,
        root: &OwnedFd,
        spec: &Spec,
        here: &OwnedFd,
        here_path: &str,
        rest: &VecDeque<OsString>,
    ) -> Result<(), WatchError> {
        // An O_PATH descriptor cannot be read.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let entries = rustix::fs::openat(here, ".", flags, Mode::empty())
            .and_then(Dir::new)
            .map_err(|source| object(here_path, source))?;
        for entry in entries.take(ENTRIES_MAX) {
            let entry = entry.map_err(|source| object(here_path, source))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." || entry.file_type() != FileType::Directory {
                continue;
            }
            let mut path = join_one(here_path, &OsString::from_vec(name.to_vec()));
            for component in rest {
                path = join_one(&path, component);
            }
            let one = Spec { path, ..spec.clone() };
            let parts = components(Path::new(&one.path));
            if let Err(error) = self.path(root, &one, parts) {
                self.changes.errors.push(error);
            }
        }
        Ok(())
    }

    /// Sets flags on an object; the number of a watched directory or file goes before that of an anchor.
    fn add_object(&mut self, identity: &M::Identity, flags: u32, number: u32) {
        let mark = self.plan.objects.entry(identity.clone()).or_insert((0, number));
        let owns = mark.0 & (watch::SUBTREE | watch::FILE) != 0;
        if flags & (watch::SUBTREE | watch::FILE) != 0 && !owns {
            mark.1 = number;
        }
        mark.0 |= flags;
    }

    fn identify(&mut self, directory: &OwnedFd, path: &str) -> Result<Vec<M::Identity>, WatchError> {
        if let Some(known) = self.identities.get(path) {
            return Ok(known.clone());
        }
        let identities = self.set.marker.identify(directory.as_fd(), path)?;
        self.identities.insert(path.to_owned(), identities.clone());
        Ok(identities)
    }
}

/// Whether so much is written below a directory that a walk for each write would be felt. What is missing there and is
/// not for units is found when it appears, with what it holds by then.
fn is_busy(directory: &str, spec: &Spec) -> bool {
    directory == "/" || directory == "/var" || directory.starts_with("/var/") || spec.owner.is_some()
}

fn object(path: &str, source: Errno) -> WatchError {
    WatchError::Object { path: path.to_owned(), source }
}

fn join(names: &[OsString]) -> String {
    names.iter().fold("/".to_owned(), |path, name| join_one(&path, name))
}

fn join_one(path: &str, name: &std::ffi::OsStr) -> String {
    format!("{}/{}", path.trim_end_matches('/'), name.to_string_lossy())
}

/// Opens a directory by names that were walked before; a symlink that came in between is not followed.
fn open_below(root: &OwnedFd, names: &[OsString]) -> Result<OwnedFd, WatchError> {
    let mut here =
        rustix::fs::openat(root, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|source| object("/", source))?;
    for (index, name) in names.iter().enumerate() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        here = rustix::fs::openat(&here, name.as_os_str(), flags, Mode::empty())
            .map_err(|source| object(&join(&names[..=index]), source))?;
    }
    Ok(here)
}

/// Lists what lies below a directory. Nothing is opened but directories, and no symlink is followed.
fn scan(directory: BorrowedFd<'_>, number: u32, replaces: bool, found: &mut Vec<FileFound>) {
    let mut waiting = vec![(String::new(), 0)];
    while let Some((below, depth)) = waiting.pop() {
        let path = if below.is_empty() { "." } else { &below };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(opened) = rustix::fs::openat(directory, path, flags, Mode::empty()) else { continue };
        let Ok(entries) = Dir::read_from(&opened) else { continue };
        for entry in entries.flatten() {
            if found.len() >= ENTRIES_MAX {
                tracing::warn!(bound = ENTRIES_MAX, "a directory that appeared holds more than is looked at");
                return;
            }
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(&opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let name = String::from_utf8_lossy(name);
            let path = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let target = (kind == FileType::Symlink)
                .then(|| rustix::fs::readlinkat(&opened, entry.file_name(), Vec::new()).ok())
                .flatten()
                .map(|target| target.to_string_lossy().into_owned());
            if kind == FileType::Directory && depth < SCAN_DEPTH {
                waiting.push((path.clone(), depth + 1));
            }
            let (mode, uid) = (stat.st_mode, stat.st_uid);
            found.push(FileFound { watch: number, path, target, mode, uid, replaces });
        }
    }
}

#[cfg(test)]
#[path = "watches_tests.rs"]
mod tests;
