//! The four system calls that no library in use wraps: `fanotify_init(2)`, `fanotify_mark(2)`,
//! `name_to_handle_at(2)` and `open_by_handle_at(2)`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// `MAX_HANDLE_SZ` (include/linux/exportfs.h).
pub const HANDLE_MAX: usize = 128;

/// A `struct file_handle` with room for any handle.
#[repr(C)]
pub struct Handle {
    /// Bytes of `data` in use.
    pub bytes: u32,
    /// The filesystem's own number of the handle's form.
    pub kind: i32,
    /// The handle.
    pub data: [u8; HANDLE_MAX],
}

fn owned(fd: RawFd) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(last());
    }
    // SAFETY: the kernel has just handed out this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// A group that reports the directory, the name and the object of every event, through a queue of bounded length
/// (`fs.fanotify.max_queued_events`).
pub fn init() -> Result<OwnedFd, Errno> {
    let flags = libc::FAN_CLASS_NOTIF
        | libc::FAN_CLOEXEC
        | libc::FAN_NONBLOCK
        | libc::FAN_UNLIMITED_MARKS
        | libc::FAN_REPORT_DFID_NAME_TARGET;
    // SAFETY: no pointers are passed.
    owned(unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) })
}

/// Adds events to, or (`FAN_MARK_REMOVE`) takes them from, what is reported of `object`, which must not be an
/// `O_PATH` descriptor. `flags` and `mask` are those of `fanotify_mark(2)`.
pub fn mark(group: BorrowedFd<'_>, flags: u32, mask: u64, object: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a null path stands for the object itself (fanotify_mark(2)); both descriptors are open.
    let result =
        unsafe { libc::fanotify_mark(group.as_raw_fd(), flags, mask, object.as_raw_fd(), std::ptr::null()) };
    if result == 0 { Ok(()) } else { Err(last()) }
}

/// The handle of `name` in `directory`, or with an empty name of `directory` itself; a symlink is not followed.
pub fn name_to_handle(directory: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<Handle, Errno> {
    let mut handle = Handle { bytes: HANDLE_MAX as u32, kind: 0, data: [0; HANDLE_MAX] };
    let mut mount = 0;
    let flags = flags | if name.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    // SAFETY: `handle` has the layout of a file_handle and as much room after its header as `bytes` says; the other
    // pointers are to a terminated string and an integer.
    let result = unsafe {
        libc::name_to_handle_at(
            directory.as_raw_fd(),
            name.as_ptr(),
            (&raw mut handle).cast(),
            &raw mut mount,
            flags,
        )
    };
    if result == 0 { Ok(handle) } else { Err(last()) }
}

/// Opens what a handle stands for; `mount` is a descriptor (not `O_PATH`) on the filesystem.
pub fn open_by_handle(mount: BorrowedFd<'_>, handle: &mut Handle, flags: OFlags) -> Result<OwnedFd, Errno> {
    handle.bytes = handle.bytes.min(HANDLE_MAX as u32);
    // SAFETY: as in `name_to_handle`; `bytes` is within the array.
    owned(unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            std::ptr::from_mut(handle).cast(),
            flags.bits().cast_signed(),
        )
    })
}
