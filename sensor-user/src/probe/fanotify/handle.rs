//! Objects by their file handles: the only name of an object that fanotify, stat and open agree on.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, StatxFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use sensor_common::record::FileIdentity;

use super::sys::{self, HANDLE_MAX, Handle};
use super::tables::{FSID, Key, Place, Seen};

/// `FILEID_INO32_GEN` (include/linux/exportfs.h): inode number and generation, 4 bytes each.
const INO32_GEN: i32 = 1;

/// Levels that are climbed to find a mount's root.
const CLIMB_MAX: usize = 128;

/// The key of `name` in `directory`, or with an empty name of `directory` itself (which may be an `O_PATH`
/// descriptor). A symlink is not followed.
///
/// # Errors
/// `EOPNOTSUPP` where the filesystem has no handles, or no id to tell it from others (`fanotify_mark(2)`, `ENODEV`).
pub fn key(directory: BorrowedFd<'_>, name: &CStr) -> Result<Key, Errno> {
    let id = rustix::fs::fstatvfs(directory)?.f_fsid;
    if id == 0 {
        return Err(Errno::OPNOTSUPP);
    }
    // AT_HANDLE_FID (6.5) asks for the handle as fanotify reports it; an older kernel knows no difference.
    let handle = match sys::name_to_handle(directory, name, libc::AT_HANDLE_FID) {
        Err(Errno::INVAL) => sys::name_to_handle(directory, name, 0)?,
        other => other?,
    };
    let length = (handle.bytes as usize).min(HANDLE_MAX);
    let mut key = Vec::with_capacity(FSID + 8 + length);
    // statvfs(3) joins the two halves of the id, the first being the lower.
    key.extend((id as u32).to_ne_bytes());
    key.extend(((id >> 32) as u32).to_ne_bytes());
    key.extend(handle.bytes.to_ne_bytes());
    key.extend(handle.kind.to_ne_bytes());
    key.extend(&handle.data[..length]);
    Ok(key.into_boxed_slice())
}

/// Length, type and bytes of the handle in a key.
fn parts(key: &[u8]) -> Option<(i32, &[u8])> {
    let kind = i32::from_ne_bytes(key.get(FSID + 4..FSID + 8)?.try_into().ok()?);
    let data = &key[FSID + 8..];
    (data.len() <= HANDLE_MAX).then_some((kind, data))
}

/// The filesystem's id in a key.
#[must_use]
pub fn fsid(key: &[u8]) -> [u8; FSID] {
    let mut id = [0; FSID];
    let length = key.len().min(FSID);
    id[..length].copy_from_slice(&key[..length]);
    id
}

/// Opens the object of a key; `mount` is a descriptor on its filesystem.
///
/// # Errors
/// `ESTALE` where it is gone.
pub fn open(mount: BorrowedFd<'_>, key: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let (kind, data) = parts(key).ok_or(Errno::INVAL)?;
    let mut handle = Handle { bytes: data.len() as u32, kind, data: [0; HANDLE_MAX] };
    handle.data[..data.len()].copy_from_slice(data);
    sys::open_by_handle(mount, &mut handle, flags | OFlags::CLOEXEC)
}

/// What stat(2) says, in a record's terms. The generation is known where the handle has the common form of inode
/// number and generation, else 0.
#[must_use]
pub fn seen(stat: &Stat, key: &[u8]) -> Seen {
    let generation = match parts(key) {
        Some((INO32_GEN, data)) if data.len() == 8 => {
            u32::from_ne_bytes([data[4], data[5], data[6], data[7]])
        }
        _ => 0,
    };
    let identity = FileIdentity {
        inode: stat.st_ino,
        size: stat.st_size.cast_unsigned(),
        device: device(stat.st_dev),
        generation,
        mode: stat.st_mode,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
    };
    Seen { identity, changed: (stat.st_ctime, stat.st_ctime_nsec) }
}

/// A device number in the kernel's own encoding (`MKDEV` of `include/linux/kdev_t.h`).
fn device(number: u64) -> u32 {
    rustix::fs::major(number) << 20 | rustix::fs::minor(number)
}

fn mount_id(directory: BorrowedFd<'_>, path: &CStr) -> Result<u64, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    Ok(rustix::fs::statx(directory, path, flags, StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// Where a directory lies: its parent's key, and `name`. `None` at the root of a mount, above which another
/// filesystem's, or another part of the same one's, directories begin.
pub fn place(directory: BorrowedFd<'_>, name: &[u8]) -> Option<Place> {
    if name.is_empty() || mount_id(directory, c"").ok()? != mount_id(directory, c"..").ok()? {
        return None;
    }
    let parent = key(directory, c"..").ok()?;
    (parent != key(directory, c"").ok()?).then(|| (parent, name.into()))
}

/// A filesystem with marked objects on it.
pub struct Filesystem {
    /// A descriptor on a mount of it, to open handles with.
    pub mount: OwnedFd,
    /// Nothing can be mounted over its directories: a private copy of the mount.
    pub private: bool,
    /// Id of the mount that it was reached through (statx(2), `stx_mnt_id`).
    pub mount_id: u64,
    /// What happens on it is reported.
    pub marked: bool,
}

impl Filesystem {
    /// The filesystem of an open directory (`O_PATH` will do) or file.
    ///
    /// The descriptor kept is on a private, detached copy of the mount (`open_tree(2)`) where the kernel gives one: so
    /// umount(8) of the filesystem does not find it busy.
    ///
    /// # Errors
    /// Where the object cannot be opened.
    pub fn of(object: BorrowedFd<'_>, is_directory: bool) -> Result<Self, Errno> {
        let mount_id = mount_id(object, c"")?;
        if !is_directory {
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&object));
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let mount = rustix::fs::open(path, flags, Mode::empty())?;
            return Ok(Self { mount, private: false, mount_id, marked: false });
        }
        let root = root_of_mount(object, mount_id)?;
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(tree) = rustix::mount::open_tree(&root, ".", clone) {
            let mount = rustix::fs::openat(&tree, ".", flags, Mode::empty())?;
            return Ok(Self { mount, private: true, mount_id, marked: false });
        }
        let mount = rustix::fs::openat(&root, ".", flags, Mode::empty())?;
        Ok(Self { mount, private: false, mount_id, marked: false })
    }

    /// Opens an object of this filesystem.
    ///
    /// # Errors
    /// `ESTALE` where it is gone.
    pub fn open(&self, key: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        open(self.mount.as_fd(), key, flags)
    }

    /// The object as it is now, and the descriptor by which it was looked at.
    ///
    /// # Errors
    /// `ESTALE` where it is gone.
    pub fn look(&self, key: &[u8]) -> Result<(OwnedFd, Seen), Errno> {
        let object = self.open(key, OFlags::PATH | OFlags::NOFOLLOW)?;
        let stat = rustix::fs::fstat(&object)?;
        Ok((object, seen(&stat, key)))
    }

    /// The directory and the name of an open file of this filesystem, as the kernel has them at hand; of a file with
    /// several names one of them.
    pub fn place_of_file(&self, file: BorrowedFd<'_>, key: &[u8]) -> Option<Place> {
        let path = path_of(file).ok()?;
        let slash = path.iter().rposition(|byte| *byte == b'/')?;
        let (directory, name) = (&path[..slash], &path[slash + 1..]);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let directory = if directory.is_empty() { b"." } else { directory };
        let directory = rustix::fs::openat2(&self.mount, directory, flags, Mode::empty(), within).ok()?;
        let there = self::key(directory.as_fd(), &CString::new(name).ok()?).ok()?;
        (*there == *key).then(|| Some((self::key(directory.as_fd(), c"").ok()?, name.into())))?
    }

    /// The names from the filesystem's root to a directory, "/"-separated.
    ///
    /// # Errors
    /// Where it is gone, or the path is too long.
    pub fn path(&self, directory: &[u8]) -> Result<Vec<u8>, Errno> {
        path_of(self.open(directory, OFlags::PATH)?.as_fd())
    }
}

/// The path of an open object in the mount that it was opened through.
pub fn path_of(object: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&object));
    Ok(rustix::fs::readlink(link, Vec::new())?.into_bytes())
}

/// The root of the mount that a directory was reached through.
fn root_of_mount(directory: BorrowedFd<'_>, mount: u64) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    for _ in 0..CLIMB_MAX {
        let above = rustix::fs::openat(&here, "..", flags, Mode::empty())?;
        if mount_id(above.as_fd(), c"")? != mount || same(&here, &above)? {
            break;
        }
        here = above;
    }
    Ok(here)
}

fn same(one: &OwnedFd, other: &OwnedFd) -> Result<bool, Errno> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    fn open_path(path: &std::path::Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    /// Handles need no privilege to be made, only to be opened.
    #[test]
    fn a_key_is_the_object_whatever_its_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "x").unwrap();
        std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        std::fs::write(dir.path().join("c"), "x").unwrap();
        let directory = open_path(dir.path());
        let keys = [c"a", c"b", c"c"].map(|name| match key(directory.as_fd(), name) {
            Ok(key) => Some(key),
            Err(Errno::OPNOTSUPP) => None,
            Err(error) => panic!("{error}"),
        });
        let [Some(a), Some(b), Some(c)] = keys else {
            eprintln!("skipped: the temporary directory's filesystem has no file handles");
            return;
        };
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_eq!(fsid(&a), fsid(&c));
        assert_eq!(key(open_path(&dir.path().join("a")).as_fd(), c"").unwrap(), a);
        let name = dir.path().file_name().unwrap().as_bytes();
        let (parent, told) = place(directory.as_fd(), name).expect("the temporary directory is no mount");
        assert_eq!(&*told, name);
        assert_eq!(parent, key(open_path(dir.path().parent().unwrap()).as_fd(), c"").unwrap());
    }

    #[test]
    fn a_root_lies_nowhere() {
        assert_eq!(place(open_path("/".as_ref()).as_fd(), b"x"), None);
    }

    #[test]
    fn short_keys_are_refused() {
        let directory = open_path("/".as_ref());
        for length in 0..FSID + 8 {
            assert_eq!(open(directory.as_fd(), &vec![0; length], OFlags::PATH).err(), Some(Errno::INVAL));
        }
    }

    proptest! {
        #[test]
        fn no_key_panics(key in proptest::collection::vec(any::<u8>(), 0..FSID + 8 + 2 * HANDLE_MAX)) {
            prop_assert_eq!(parts(&key).is_some(), (FSID + 8..=FSID + 8 + HANDLE_MAX).contains(&key.len()));
            prop_assert!(key.len() < FSID || key.starts_with(&fsid(&key)));
        }
    }
}
