//! Objects of a file system by descriptors that only name them: what a survey looks at, and reads to its end.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Dir, FileType, OFlags, Stat};
use rustix::io::Errno;

use super::{Root, reopen};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Something at a path. Nothing was opened for it but a descriptor that names it, so no FIFO or device notices.
#[derive(Debug)]
pub struct Object {
    handle: OwnedFd,
    /// What stat(2) says of it.
    pub stat: Stat,
}

/// What there is in a directory.
#[derive(Debug, Default)]
pub struct Names {
    /// Names without `.` and `..`, sorted, each with its type as the directory says; [`FileType::Unknown`] where it
    /// does not.
    pub names: Vec<(Vec<u8>, FileType)>,
    /// There are more than were asked for.
    pub truncated: bool,
}

/// How reading a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Bytes read.
    pub bytes: u64,
    /// There is more than was asked for.
    pub truncated: bool,
    /// It changed while it was read.
    pub unstable: bool,
}

impl Root {
    /// What is at `path`; of a symbolic link what is at its end, where `follow`.
    ///
    /// # Errors
    /// The system's.
    pub fn object(&self, path: &[u8], follow: bool) -> Result<Object, Errno> {
        let handle = self.locate(path, if follow { OFlags::empty() } else { OFlags::NOFOLLOW })?;
        let stat = rustix::fs::fstat(&handle)?;
        Ok(Object { handle, stat })
    }

    /// The path of an object below this root, without symbolic links. The kernel's name for it is believed only where
    /// it leads back to the same object: it may have been removed, or lie outside of what this process can name.
    pub fn canonical(&self, object: &Object) -> Option<Vec<u8>> {
        let name = |descriptor: i32| {
            let link = format!("/proc/self/fd/{descriptor}");
            rustix::fs::readlink(link, Vec::new()).map(std::ffi::CString::into_bytes).ok()
        };
        let (own, whole) = (name(self.0.as_raw_fd())?, name(object.handle.as_raw_fd())?);
        let below = if own == b"/" { &whole[..] } else { whole.strip_prefix(&own[..])? };
        let path = if below.is_empty() { b"/".to_vec() } else { below.to_vec() };
        let again = self.object(&path, false).ok().filter(|_| path.starts_with(b"/"))?;
        again.is_same(object).then_some(path)
    }
}

impl Object {
    /// What it is.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Whether two descriptors name one object.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.stat.st_dev, self.stat.st_ino) == (other.stat.st_dev, other.stat.st_ino)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// The system's; `EINVAL` for what is none.
    pub fn target(&self) -> Result<Vec<u8>, Errno> {
        Ok(rustix::fs::readlinkat(&self.handle, "", Vec::new())?.into_bytes())
    }

    /// The names in a directory, `most` at most.
    ///
    /// # Errors
    /// The system's.
    pub fn names(&self, most: usize) -> Result<Names, Errno> {
        let directory = reopen(self.handle.as_fd(), OFlags::DIRECTORY)?;
        let mut found = Names::default();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if found.names.len() == most {
                found.truncated = true;
                break;
            }
            found.names.push((name.to_vec(), entry.file_type()));
        }
        found.names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// Reads a regular file, `most` bytes at most, a piece at a time.
    ///
    /// # Errors
    /// The system's; `EINVAL` for what is no regular file: that is not opened.
    pub fn read(&self, most: u64, mut take: impl FnMut(&[u8])) -> Result<Done, Errno> {
        if self.file_type() != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let file = File::from(reopen(self.handle.as_fd(), OFlags::NOCTTY)?);
        let before = rustix::fs::fstat(&file)?;
        let mut buffer = vec![0; CHUNK];
        let mut bytes = 0;
        let mut truncated = false;
        loop {
            let length = match (&file).read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            };
            let left = usize::try_from(most - bytes).unwrap_or(usize::MAX);
            if length > left {
                truncated = true;
                take(&buffer[..left]);
                bytes = most;
                break;
            }
            take(&buffer[..length]);
            bytes += length as u64;
        }
        let after = rustix::fs::fstat(&file)?;
        let moment = |stat: &Stat| {
            (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
        };
        Ok(Done { bytes, truncated, unstable: moment(&before) != moment(&after) })
    }
}
