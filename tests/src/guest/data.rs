//! What changes a file: opening, writing, truncating, attributes, mapping.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::ptr::null_mut;

use anyhow::{Context, Result};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::case::{Case, Place, call, case, case_with};

const RW: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// The table.
#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    vec![
        case("create", |at| Ok(fs::write(at.at("a"), "x")?), &["create a 666", "open_write a trunc created", "close_write a"]),
        case("create-exclusive", create_exclusive, &["create a 640", "open_write a created", "close_write a"]),
        case_with("open-for-writing", &["a"], open_for_writing, &["open_write a", "close_write a"]),
        case_with("append", &["a"], append, &["open_write a append", "close_write a append"]),
        case_with("open-truncating", &["a"], |at| Ok(fs::write(at.at("a"), "x")?),
            &["open_write a trunc", "truncate a 0", "close_write a"]),
        case_with("open-for-reading", &["a"], |at| Ok(fs::read(at.at("a")).map(drop)?), &[]),
        case_with("look", &["a", "d/"], look, &[]),
        case_with("truncate", &["a"], truncate, &["truncate a 2"]),
        case_with("ftruncate", &["a"], ftruncate, &["open_write a", "truncate a 1", "close_write a"]),
        case_with("fallocate", &["a"], fallocate, &["open_write a", "close_write a"]),
        case_with("chmod", &["a"], |at| Ok(fs::set_permissions(at.at("a"), fs::Permissions::from_mode(0o755))?),
            &["attribute a mode=755"]),
        case_with("fchmod", &["a"], fchmod, &["attribute a mode=4711"]),
        case_with("chown", &["a"], |at| Ok(std::os::unix::fs::chown(at.at("a"), Some(7), Some(8))?),
            &["attribute a uid gid"]),
        case_with("fchown", &["a"], fchown, &["attribute a uid"]),
        case_with("chmod-directory", &["d/"], |at| Ok(fs::set_permissions(at.at("d"), fs::Permissions::from_mode(0o700))?),
            &["attribute d mode=700"]),
        case_with("touch", &["a"], touch, &[]),
        case_with("map-shared-writable", &["a"], |at| map(at, true, RW, MapFlags::SHARED),
            &["open_write a", "mmap_write a prot=3", "close_write a"]),
        case_with("map-private-writable", &["a"], |at| map(at, true, RW, MapFlags::PRIVATE),
            &["open_write a", "close_write a"]),
        case_with("map-shared-read-only", &["a"], |at| map(at, false, ProtFlags::READ, MapFlags::SHARED), &[]),
        case_with("map-private-of-a-reader", &["a"], |at| map(at, false, RW, MapFlags::PRIVATE), &[]),
        case_with("make-a-mapping-writable", &["a"], make_a_mapping_writable,
            &["open_write a", "mmap_write a prot=3", "close_write a"]),
        case_with("write-to-a-mapping-after-close", &["a"], map_and_close,
            &["open_write a", "mmap_write a prot=3", "close_write a"]),
        case_with("copy_file_range", &["a", ":b"], |at| copy_file_range(at, &open(at)?), &["open_write a", "close_write a"]),
        case_with("sendfile", &["a", ":b"], |at| sendfile(at, &open(at)?), &["open_write a", "close_write a"]),
        case_with("splice", &["a"], |at| splice(at, &open(at)?), &["open_write a", "close_write a"]),
        case_with("write-by-two-descriptors", &["a"], duplicate, &["open_write a", "close_write a"]),
        case_with("open-path-only", &["a"], open_path, &[]),
    ]
}

fn create_exclusive(at: &Place) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(at.at("a"))?;
    Ok(())
}

fn open_for_writing(at: &Place) -> Result<()> {
    OpenOptions::new().write(true).open(at.at("a"))?.write_all(b"x").context("write")
}

fn append(at: &Place) -> Result<()> {
    OpenOptions::new().append(true).open(at.at("a"))?.write_all(b"x").context("write")
}

fn look(at: &Place) -> Result<()> {
    fs::metadata(at.at("a"))?;
    fs::read_dir(&at.watched)?.count();
    fs::read_dir(at.at("d"))?.count();
    rustix::fs::access(at.at("a"), rustix::fs::Access::WRITE_OK)?;
    Ok(())
}

fn truncate(at: &Place) -> Result<()> {
    // SAFETY: the path is a string with its NUL.
    call("truncate", unsafe { libc::truncate(at.c("a").as_ptr(), 2) }).map(drop)
}

fn ftruncate(at: &Place) -> Result<()> {
    Ok(OpenOptions::new().write(true).open(at.at("a"))?.set_len(1)?)
}

fn fallocate(at: &Place) -> Result<()> {
    let file = open(at)?;
    Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 8192)?)
}

fn fchmod(at: &Place) -> Result<()> {
    Ok(rustix::fs::fchmod(fs::File::open(at.at("a"))?, rustix::fs::Mode::from_raw_mode(0o4711))?)
}

fn fchown(at: &Place) -> Result<()> {
    Ok(rustix::fs::fchown(fs::File::open(at.at("a"))?, Some(rustix::fs::Uid::from_raw(7)), None)?)
}

/// Times are no content: `ATTR_MTIME` alone is passed over.
fn touch(at: &Place) -> Result<()> {
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
    };
    Ok(rustix::fs::utimensat(rustix::fs::CWD, at.at("a"), &times, rustix::fs::AtFlags::empty())?)
}

fn map(at: &Place, writable: bool, protection: ProtFlags, flags: MapFlags) -> Result<()> {
    let file = OpenOptions::new().read(true).write(writable).open(at.at("a"))?;
    // SAFETY: a new mapping that nothing refers to.
    unsafe { rustix::mm::mmap(null_mut(), 1, protection, flags, &file, 0) }?;
    Ok(())
}

/// Maps a file, open for both, for reading, and then allows writing.
///
/// # Errors
/// Where the file cannot be mapped.
pub fn make_a_mapping_writable(at: &Place) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(at.at("a"))?;
    // SAFETY: as in `map`.
    let mapping = unsafe { rustix::mm::mmap(null_mut(), 1, ProtFlags::READ, MapFlags::SHARED, &file, 0) }?;
    // SAFETY: the mapping made above.
    Ok(unsafe { rustix::mm::mprotect(mapping, 1, MprotectFlags::READ | MprotectFlags::WRITE) }?)
}

fn map_and_close(at: &Place) -> Result<()> {
    store(OpenOptions::new().read(true).write(true).open(at.at("a"))?.into())
}

/// Writes to a file, open for both, by a mapping alone. The file stays open as long as it is mapped, so the close comes
/// with the end of the mapping.
///
/// # Errors
/// Where the file cannot be mapped.
pub fn store(file: OwnedFd) -> Result<()> {
    // SAFETY: as in `map`.
    let mapping = unsafe { rustix::mm::mmap(null_mut(), 1, RW, MapFlags::SHARED, &file, 0) }?;
    drop(file);
    // SAFETY: the first byte of the mapping, which the file of three bytes backs.
    unsafe { mapping.cast::<u8>().write_volatile(b'x') };
    Ok(())
}

/// The file `a`, for writing.
///
/// # Errors
/// Where there is none.
pub fn open(at: &Place) -> Result<OwnedFd> {
    Ok(OpenOptions::new().write(true).open(at.at("a"))?.into())
}

/// `:b` into an open file, by `copy_file_range(2)`.
///
/// # Errors
/// Where the kernel refuses.
pub fn copy_file_range(at: &Place, to: &OwnedFd) -> Result<()> {
    rustix::fs::copy_file_range(fs::File::open(at.at(":b"))?, None, to, None, 3)?;
    Ok(())
}

/// `:b` into an open file, by sendfile(2).
///
/// # Errors
/// Where the kernel refuses.
pub fn sendfile(at: &Place, to: &OwnedFd) -> Result<()> {
    rustix::fs::sendfile(to, fs::File::open(at.at(":b"))?, None, 3)?;
    Ok(())
}

/// A pipe into an open file, by splice(2).
///
/// # Errors
/// Where the kernel refuses.
pub fn splice(_: &Place, to: &OwnedFd) -> Result<()> {
    let (read, write) = rustix::pipe::pipe()?;
    fs::File::from(write).write_all(b"xyz")?;
    rustix::pipe::splice(&read, None, to, None, 3, rustix::pipe::SpliceFlags::empty())?;
    Ok(())
}

/// Only the last close counts.
fn duplicate(at: &Place) -> Result<()> {
    let mut one = OpenOptions::new().read(true).write(true).open(at.at("a"))?;
    let mut two = one.try_clone()?;
    one.write_all(b"x")?;
    drop(one);
    two.rewind()?;
    two.read_exact(&mut [0])?;
    Ok(two.write_all(b"y")?)
}

fn open_path(at: &Place) -> Result<()> {
    let flags = rustix::fs::OFlags::PATH;
    let file = rustix::fs::open(at.at("a"), flags, rustix::fs::Mode::empty())?;
    fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(())
}
