//! Reading a file that somebody hostile may have put there: bounded, never waited on, never outside PID 1's root.

mod object;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::event::content::{
    Answer, CONTENT_MAX, ELF, Expected, FileContent, Found, NAMES_MAX, Name, Regular, Want,
};

pub use object::{Done, Names, Object};

/// Bytes of all files of a survey at most; those behind are left out.
const SURVEY_MAX: usize = 16 * CONTENT_MAX;

/// A directory as the root of paths: PID 1's.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens it.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &str) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// What is at `path` now.
    pub fn read(&self, path: &[u8]) -> Found {
        match self.look(path) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => Found::Absent,
            Err(error) => Found::Unreadable { error: error.to_string() },
        }
    }

    fn look(&self, path: &[u8]) -> Result<Found, Errno> {
        let object = self.locate(path, OFlags::NOFOLLOW)?;
        let stat = rustix::fs::fstat(&object)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return open_found(object.as_fd(), &stat);
        }
        let target = rustix::fs::readlinkat(&object, "", Vec::new())?.into_bytes();
        let end = match self.locate(path, OFlags::empty()) {
            Ok(end) => open_found(end.as_fd(), &rustix::fs::fstat(&end)?)?,
            Err(Errno::NOENT | Errno::NOTDIR) => Found::Absent,
            Err(error) => Found::Unreadable { error: error.to_string() },
        };
        Ok(Found::Symlink { target, end: Box::new(end) })
    }

    /// A descriptor that only names the object: taking it opens nothing, so no FIFO or device notices.
    pub(super) fn locate(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let below: &[u8] = path.strip_prefix(b"/").filter(|rest| !rest.is_empty()).unwrap_or(b".");
        // Absolute targets and `..` stay below the root, as they do for PID 1 (openat2(2)).
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC | flags;
        let path = Path::new(std::ffi::OsStr::from_bytes(below));
        rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve)
    }

    /// Whether a path is worth reading yet. Asks for the object's identity only.
    fn is_settled(&self, path: &[u8], expected: Expected) -> bool {
        let inode = || {
            let object = self.locate(path, OFlags::NOFOLLOW).ok()?;
            rustix::fs::fstat(&object).ok().map(|stat| stat.st_ino)
        };
        match expected {
            Expected::Anything => true,
            Expected::Present => inode().is_some(),
            Expected::Inode(expected) => inode() == Some(expected),
            Expected::Gone(unwanted) => inode().is_none_or(|inode| unwanted != 0 && inode != unwanted),
        }
    }

    /// Reads what is wanted, or `None` where it is to be asked for again; with `at_once` it is read as it is.
    pub fn answer(&self, want: &Want, at_once: bool) -> Option<Answer> {
        match want {
            Want::File { path, expected } => (at_once || self.is_settled(path, *expected)).then(|| {
                let found = self.read(path);
                let file = FileContent { path: path.clone(), baseline: false, survey: None, found };
                Answer { files: vec![file], survey: None }
            }),
            Want::Survey { id, paths } => Some(self.survey(*id, paths)),
            // Another thread's (`proof::prover`): it is asked for nothing here.
            Want::Proof { .. } => Some(Answer { files: Vec::new(), survey: None }),
        }
    }

    fn survey(&self, id: u64, paths: &[Vec<u8>]) -> Answer {
        let mut files = Vec::new();
        let mut bytes = 0;
        let mut add = |path: Vec<u8>, mut found: Found| {
            if is_token(&path) {
                without_signature(&mut found);
            }
            bytes += found.regular().map_or(0, |regular| regular.content.len());
            if found != Found::Absent && files.len() < NAMES_MAX && bytes <= SURVEY_MAX {
                files.push(FileContent { path, baseline: false, survey: Some(id), found });
            }
        };
        for path in paths {
            let found = self.read(path);
            let names = match found.end() {
                Found::Directory { names, .. } => names.clone(),
                _ => Vec::new(),
            };
            if !matches!(found, Found::Directory { .. }) {
                add(path.clone(), found);
            }
            for name in names {
                let below = [&path[..], &name.0].join(&b'/');
                let found = self.read(&below);
                add(below, found);
            }
        }
        Answer { files, survey: Some(id) }
    }
}

/// Whether a path is that of a service account's token as kubelet projects it (kubernetes.io, "Projected Volumes").
fn is_token(path: &[u8]) -> bool {
    let projected = b"/volumes/kubernetes.io~projected/";
    path.ends_with(b"/token") && path.windows(projected.len()).any(|at| at == projected)
}

/// Leaves of a token its head and claims. With the signature, whoever reads a recording could use it.
fn without_signature(found: &mut Found) {
    match found {
        Found::Symlink { end, .. } => without_signature(end),
        Found::Regular(file) => {
            let claims = file.content.iter().enumerate().filter(|(_, byte)| **byte == b'.').nth(1);
            // What has no such form may be a secret as a whole.
            let end = claims.map_or(0, |(at, _)| at);
            file.content.truncate(end);
        }
        _ => {}
    }
}

/// Reads an object that is no symbolic link, by a descriptor that only names it.
fn open_found(object: BorrowedFd<'_>, stat: &Stat) -> Result<Found, Errno> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => read_regular(object),
        FileType::Directory => list(object),
        _ => Ok(Found::Special { mode: stat.st_mode }),
    }
}

/// The same object, opened: by its descriptor, so that it cannot be exchanged in between.
pub(super) fn reopen(object: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", object.as_raw_fd());
    rustix::fs::open(path, flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
}

fn read_regular(object: BorrowedFd<'_>) -> Result<Found, Errno> {
    let file = File::from(reopen(object, OFlags::NOCTTY)?);
    let before = rustix::fs::fstat(&file)?;
    let mut content = Vec::with_capacity(usize::try_from(before.st_size).unwrap_or(0).min(CONTENT_MAX));
    (&file)
        .take(CONTENT_MAX as u64)
        .read_to_end(&mut content)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if content.starts_with(ELF) {
        content.truncate(ELF.len());
    }
    let after = rustix::fs::fstat(&file)?;
    let moment = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ino);
    Ok(Found::Regular(Regular {
        inode: after.st_ino,
        mode: after.st_mode,
        uid: after.st_uid,
        size: u64::try_from(after.st_size).unwrap_or(0).max(content.len() as u64),
        content,
        unstable: moment(&before) != moment(&after),
    }))
}

fn list(object: BorrowedFd<'_>) -> Result<Found, Errno> {
    let directory = reopen(object, OFlags::DIRECTORY)?;
    let mut names: Vec<Name> = Vec::new();
    let mut truncated = false;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        truncated = names.len() == NAMES_MAX;
        if truncated {
            break;
        }
        names.push(Name(name.to_vec()));
    }
    names.sort_unstable();
    Ok(Found::Directory { names, truncated })
}

/// Everything below a directory that is a file or a link to one, each read: what was there before the sensor was.
/// Files of which the name is not `wanted` are passed over. `found` is given the path and what is there, and says whether
/// to go on.
pub fn walk(
    root: &Root,
    directory: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
    mut found: impl FnMut(FileContent) -> bool,
) {
    /// Unit directories have one level of their own below them (`x.service.d`).
    const DEPTH: usize = 2;
    let mut waiting = vec![(directory.to_vec(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        let Ok(object) = root.locate(&path, OFlags::empty()) else { continue };
        let Ok(opened) = reopen(object.as_fd(), OFlags::DIRECTORY) else { continue };
        let Ok(entries) = Dir::read_from(&opened) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let below = [&path, name.to_bytes()].join(&b'/');
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                if depth + 1 < DEPTH {
                    waiting.push((below, depth + 1));
                }
                continue;
            }
            if !wanted(name.to_bytes()) {
                continue;
            }
            let content = FileContent { found: root.read(&below), path: below, baseline: true, survey: None };
            // A link to a directory of drop-ins is one like any other.
            if depth + 1 < DEPTH && matches!(content.found.end(), Found::Directory { .. }) {
                waiting.push((content.path.clone(), depth + 1));
            }
            if !found(content) {
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
