//! One walk over one path, component by component.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use sensor_common::watch;

use super::marker::object;
use super::{Changes, Directory, ENTRIES_MAX, Marker, Plan, Spec, WatchError, WatchSet};
use crate::event::user::WatchClass;

/// Symlinks followed in one path, as the kernel's own limit (`path_resolution(7)`).
const SYMLINKS_MAX: usize = 40;
/// The components of a path, `.` left out.
pub(super) fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            std::path::Component::Normal(name) => Some(name.to_owned()),
            std::path::Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// One walk over one path.
pub(super) struct Walk<'a, M: Marker> {
    pub set: &'a mut WatchSet<M>,
    pub plan: &'a mut Plan<M::Identity>,
    /// Of the directories seen in this walk over all paths, by their resolved path.
    pub identities: &'a mut HashMap<String, Vec<M::Identity>>,
    pub changes: &'a mut Changes,
}

impl<M: Marker> Walk<'_, M> {
    /// Walks one path and plans its marks.
    pub fn path(
        &mut self,
        root: &OwnedFd,
        spec: &Spec,
        mut rest: VecDeque<OsString>,
    ) -> Result<(), WatchError> {
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
                let flags = if missing { watch::ENTRY | watch::PENDING } else { watch::ENTRY };
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
        if self.set.links.get(&spec.path).map_or(&spec.path, |known| known) != &path {
            self.set.links.insert(spec.path.clone(), path.clone());
            self.changes.links.push((spec.path.clone(), path.clone()));
        }
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

fn join(names: &[OsString]) -> String {
    names.iter().fold("/".to_owned(), |path, name| join_one(&path, name))
}

fn join_one(path: &str, name: &std::ffi::OsStr) -> String {
    format!("{}/{}", path.trim_end_matches('/'), name.to_string_lossy())
}

/// Opens a directory by names that were walked before; a symlink that came in between is not followed.
pub(super) fn open_below(root: &OwnedFd, names: &[OsString]) -> Result<OwnedFd, WatchError> {
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
