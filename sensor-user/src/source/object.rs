//! Objects below a [`Root`] one by one: what they are, whether they changed, their bytes as far as a bound.
//!
//! As in [`super::content`] nothing is opened before it is known to be a regular file or a directory, and nothing outside
//! of the root is reached.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::fs::{Dir, FileType, OFlags, Stat};

use super::content::{Root, reopen};

/// Symbolic links that are followed on one path (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// What tells one state of a file from another without reading it.
///
/// The time of the last status change cannot be set by utimensat(2), only by setting the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: i64,
    modified_ns: i64,
    changed_ns: i64,
}

impl Stamp {
    /// Of an object as stat(2) tells it.
    pub fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }

    /// Last change of the inode, nanoseconds since 1970.
    pub fn changed_ns(&self) -> i64 {
        self.changed_ns
    }
}

/// A moment of stat(2) as nanoseconds since 1970; those beyond the years 1677 and 2262 stand at the end.
pub fn nanoseconds(seconds: i64, rest: impl TryInto<i64>) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest.try_into().unwrap_or(0))
}

impl Root {
    /// What is at `path`; a symbolic link at its end is not followed.
    ///
    /// # Errors
    /// The system's.
    pub fn stat(&self, path: &[u8]) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.locate(path, OFlags::NOFOLLOW)?)?)
    }

    /// The state of the file or directory that `path` leads to; `None` where there is none, or it cannot be reached.
    pub fn stamp(&self, path: &[u8]) -> Option<Stamp> {
        let object = self.locate(path, OFlags::empty()).ok()?;
        Some(Stamp::of(&rustix::fs::fstat(object).ok()?))
    }

    /// Where a symbolic link points to, as it is written.
    ///
    /// # Errors
    /// The system's; EINVAL where it is no link.
    pub fn link(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let object = self.locate(path, OFlags::NOFOLLOW)?;
        Ok(rustix::fs::readlinkat(object, "", Vec::new())?.into_bytes())
    }

    /// Opens the regular file that `path` leads to; with `follow` over symbolic links at its end too.
    ///
    /// # Errors
    /// The system's, and `InvalidInput` where there is something else than a regular file: that is not opened.
    pub fn open_regular(&self, path: &[u8], follow: bool) -> io::Result<(File, Stat)> {
        let flags = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let object = self.locate(path, flags)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&object)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = File::from(reopen(object.as_fd(), OFlags::NOCTTY)?);
        let stat = rustix::fs::fstat(&file)?;
        Ok((file, stat))
    }

    /// All bytes of the regular file that `path` leads to, and its state before they were read.
    ///
    /// # Errors
    /// As [`Root::open_regular`], and `FileTooLarge` where there are more than `most` bytes.
    pub fn bytes(&self, path: &[u8], most: u64) -> io::Result<(Vec<u8>, Stamp)> {
        let (file, stat) = self.open_regular(path, true)?;
        let stamp = Stamp::of(&stat);
        let too_large =
            || io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {most} bytes, not read"));
        if stamp.size() > most {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stamp.size()).unwrap_or(0));
        file.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(too_large());
        }
        Ok((bytes, stamp))
    }

    /// Names in the directory that `path` leads to, in no order, without `.` and `..`.
    ///
    /// # Errors
    /// The system's, and `FileTooLarge` where there are more than `most`.
    pub fn names(&self, path: &[u8], most: usize) -> io::Result<Vec<Vec<u8>>> {
        let object = self.locate(path, OFlags::DIRECTORY)?;
        let directory = reopen(object.as_fd(), OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if names.len() == most {
                let message = format!("more than {most} names, not read");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
            }
            names.push(name.to_vec());
        }
        Ok(names)
    }

    /// The path below the root at which following `path` ends: without links, `.` or `..`. What is there need not exist.
    ///
    /// # Errors
    /// The system's, and `FilesystemLoop` behind forty links.
    pub fn resolve(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let mut done: Vec<u8> = Vec::new();
        // The last is the next one.
        let mut ahead: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                done.truncate(done.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            let here = [&done[..], &name].join(&b'/');
            let target = match self.link(&here) {
                Ok(target) => target,
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                    done = here;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    done = here;
                    continue;
                }
                Err(error) => return Err(error),
            };
            links += 1;
            if links > LINKS_MAX {
                return Err(rustix::io::Errno::LOOP.into());
            }
            if target.starts_with(b"/") {
                done.clear();
            }
            ahead.extend(components(&target).rev().map(<[u8]>::to_vec));
        }
        Ok(if done.is_empty() { b"/".to_vec() } else { done })
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_resolved_below_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(at("usr/lib/systemd")).unwrap();
        std::fs::write(at("usr/lib/systemd/a"), "x").unwrap();
        symlink("usr/lib", at("lib")).unwrap();
        symlink("/lib/systemd/../systemd/./a", at("link")).unwrap();
        symlink("../../../../link", at("up")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let root = Root::open(directory.path().to_str().unwrap()).unwrap();
        for path in ["/lib/systemd/a", "link", "/up", "//usr/./lib/systemd/a"] {
            assert_eq!(root.resolve(path.as_bytes()).unwrap(), b"/usr/lib/systemd/a", "{path}");
        }
        assert_eq!(root.resolve(b"/lib/none/x").unwrap(), b"/usr/lib/none/x");
        assert_eq!(root.resolve(b"/../..").unwrap(), b"/");
        assert!(root.resolve(b"/loop").is_err());
    }

    #[test]
    fn what_is_no_file_or_too_long_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, 0o600.into(), 0).unwrap();
        std::fs::write(directory.path().join("four"), "four").unwrap();
        let root = Root::open(directory.path().to_str().unwrap()).unwrap();
        assert_eq!(root.bytes(b"/fifo", 9).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(root.bytes(b"/four", 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(root.bytes(b"/four", 4).unwrap().0, b"four");
        assert_eq!(root.names(b"/", 1).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(root.names(b"/", 2).unwrap().len(), 2);
    }
}
