//! How a file is reached, and by whom: the rows.

use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::chroot;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::super::case::{Child, Place, call};
use super::super::paths::{directories, open_by_handle};
use super::super::uring::How;
use super::cell::Cell;
use super::ground::{self, Ground};

/// One row.
pub struct Way {
    /// In results: one word.
    pub name: &'static str,
    /// For people.
    pub what: &'static str,
    /// Where its cells lie.
    pub ground: Ground,
    /// How.
    pub reach: Reach,
}

/// What differs from a process that opens an absolute path.
pub enum Reach {
    /// The names by which the operation finds the files, after what the process does to itself first.
    Names(fn(&Cell) -> Result<Place>),
    /// A descriptor of the file, on which the operation works.
    File(fn(&Cell) -> Result<OwnedFd>),
    /// `io_uring` instead of system calls.
    Ring(How),
    /// Another thread of the process.
    Thread,
    /// A program that is nowhere in a filesystem.
    Memfd,
}

/// All of them, in the order of the printed tables.
#[rustfmt::skip]
pub fn all() -> Vec<Way> {
    use Ground::{Plain, Below, Above};
    use Reach::{File, Names, Ring};
    let way = |name, what, ground, reach| Way { name, what, ground, reach };
    vec![
        way("absolute", "absolute path", Plain, Names(|cell| Ok(cell.host.clone()))),
        way("dot-dot", "relative path with ..", Plain, Names(dot_dot)),
        way("long-path", "path of more than 4096 bytes, by chdir(2) in steps", Plain, Names(long)),
        way("symlink", "symlinked directory", Plain, Names(|cell| Ok(cell.below(ground::LINKS)))),
        way("bind", "bind mount of the directory elsewhere", Plain, Names(|cell| Ok(cell.below(ground::ALIASES)))),
        way("chroot", "chroot(2)", Plain, Names(in_chroot)),
        way("proc-self-root", "/proc/self/root", Plain, Names(|cell| Ok(cell.below("/proc/self/root")))),
        way("proc-pid-root", "/proc/PID/root of a process in another mount namespace", Plain,
            Names(|cell| Ok(cell.below(&format!("/proc/{}/root", cell.scene.other))))),
        way("dev-fd", "/dev/fd/N of the directory", Plain, Names(dev_fd)),
        way("mount-ns", "private mount namespace", Plain, Names(mount_namespace)),
        way("user-ns", "user and mount namespace, mapped root", Plain, Names(user_namespace)),
        way("old-dirfd", "directory descriptor older than the sensor", Plain, Names(old_directory)),
        way("old-fd", "file descriptor older than the sensor", Plain, File(old_file)),
        way("scm-rights", "descriptor from another process (SCM_RIGHTS)", Plain, File(|cell| passed(&cell.host))),
        way("handle", "open_by_handle_at(2)", Plain, File(|cell| open_by_handle(&cell.host, libc::O_RDWR))),
        way("uring", "io_uring", Plain, Ring(How::Inline)),
        way("uring-async", "io_uring, in workers (IOSQE_ASYNC)", Plain, Ring(How::Worker)),
        way("uring-sqpoll", "io_uring, by a polling thread (SQPOLL)", Plain, Ring(How::Polled)),
        way("overlay-upper", "overlayfs, the directory its upper layer", Above, Names(|cell| Ok(cell.host.reached_at(ground::OVER_UPPER)))),
        way("overlay-lower", "overlayfs, the directory its lower layer", Below, Names(|cell| Ok(cell.host.reached_at(ground::OVER_LOWER)))),
        way("thread", "another thread (CLONE_FS, CLONE_FILES)", Plain, Reach::Thread),
        way("spoofed", "comm and argv of systemd (prctl(2))", Plain, Names(spoofed)),
        way("memfd", "program executed from a memfd", Plain, Reach::Memfd),
    ]
}

/// Below the case's own directory, for the row of long paths: 16 times 256 bytes are no path any more (`PATH_MAX`).
pub fn long_directory() -> String {
    directories(&"n".repeat(255), 16)
}

fn dot_dot(cell: &Cell) -> Result<Place> {
    let host = &cell.host;
    std::env::set_current_dir(&host.plain)?;
    let up = |path: &Path| path.strip_prefix(&host.mount).map(|rest| Path::new("../..").join(rest));
    Ok(Place { watched: up(&host.watched)?, plain: up(&host.plain)?, ..host.clone() })
}

/// Goes down one directory after the other; the path from there is short.
fn long(cell: &Cell) -> Result<Place> {
    let short = Place { watched: cell.start.clone(), ..cell.host.clone() };
    rustix::process::fchdir(short.directory(&long_directory())?)?;
    Ok(Place { watched: ".".into(), ..cell.host.clone() })
}

/// There is a /proc in it, as in any chroot that a program works in.
fn in_chroot(cell: &Cell) -> Result<Place> {
    chroot(&cell.host.mount)?;
    std::env::set_current_dir("/")?;
    Ok(cell.host.reached_at("/"))
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).with_context(|| path.display().to_string())
}

/// /dev/fd is the link that udev makes.
fn dev_fd(cell: &Cell) -> Result<Place> {
    let directory = open_directory(&cell.host.watched)?;
    let watched = PathBuf::from(format!("/dev/fd/{}", directory.as_raw_fd()));
    // Open until the process ends.
    std::mem::forget(directory);
    Ok(Place { watched, ..cell.host.clone() })
}

fn unshare(flags: i32) -> Result<()> {
    // SAFETY: plain flags.
    call("unshare", unsafe { libc::unshare(flags) }).map(drop)
}

fn mount_namespace(cell: &Cell) -> Result<Place> {
    unshare(libc::CLONE_NEWNS)?;
    Ok(cell.host.clone())
}

fn user_namespace(cell: &Cell) -> Result<Place> {
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    // user_namespaces(7): an own group map only without setgroups(2).
    for (file, text) in [("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")] {
        fs::write(Path::new("/proc/self").join(file), text).context(file)?;
    }
    Ok(cell.host.clone())
}

fn old_directory(cell: &Cell) -> Result<Place> {
    rustix::process::fchdir(cell.scene.directories.get(&cell.key).context("no descriptor")?)?;
    Ok(Place { watched: ".".into(), ..cell.host.clone() })
}

fn old_file(cell: &Cell) -> Result<OwnedFd> {
    cell.scene.files.borrow_mut().remove(&cell.key).context("no descriptor")
}

/// The file `a`, opened by another process that has ended when this returns: the last close is the caller's.
fn passed(at: &Place) -> Result<OwnedFd> {
    let kind = SocketType::STREAM;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    Child::start(|| {
        let file = fs::OpenOptions::new().read(true).write(true).open(at.at("a"))?;
        let descriptors = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        ensure!(control.push(SendAncillaryMessage::ScmRights(&descriptors)), "no room for a descriptor");
        sendmsg(&theirs, &[IoSlice::new(b"f")], &mut control, SendFlags::empty())?;
        Ok(())
    })?
    .wait()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&ours, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    files.next().and_then(|mut files| files.next()).context("no descriptor came")
}

/// `PR_SET_MM` and what is set with it (include/uapi/linux/prctl.h).
const SET_ARGUMENTS: [libc::c_int; 2] = [libc::PR_SET_MM_ARG_START, libc::PR_SET_MM_ARG_END];

/// Takes the name and the arguments of PID 1's program.
fn spoofed(cell: &Cell) -> Result<Place> {
    const ARGUMENTS: &[u8] = b"/usr/lib/systemd/systemd\0";
    // SAFETY: a string with its NUL.
    call("PR_SET_NAME", unsafe { libc::prctl(libc::PR_SET_NAME, c"systemd".as_ptr()) })?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping that nothing refers to.
    let page = unsafe { rustix::mm::mmap_anonymous(null_mut(), 4096, protection, MapFlags::PRIVATE) }?;
    // SAFETY: the mapping has room, and nothing else refers to it.
    unsafe { std::ptr::copy_nonoverlapping(ARGUMENTS.as_ptr(), page.cast(), ARGUMENTS.len()) };
    for (option, address) in SET_ARGUMENTS.into_iter().zip([page as usize, page as usize + ARGUMENTS.len()]) {
        // SAFETY: an address in this process, which the kernel checks.
        call("PR_SET_MM", unsafe { libc::prctl(libc::PR_SET_MM, option, address, 0, 0) })?;
    }
    let told = fs::read("/proc/self/cmdline")?;
    ensure!(told == ARGUMENTS, "the arguments are {:?}", String::from_utf8_lossy(&told));
    Ok(cell.host.clone())
}
