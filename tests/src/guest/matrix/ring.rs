//! The operations by `io_uring`: a kernel that lacks one says so, and the cell has that for its reason.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::Result;
use io_uring::types::Fd;
use io_uring::{opcode, squeue::Entry};

use super::super::case::Place;
use super::super::uring::{self, CWD, How, Queue};
use super::cell::Lacking;

/// An error where this kernel's `io_uring` does not have one of these operations.
fn need(codes: &[u8]) -> Result<()> {
    match codes.iter().find_map(|code| uring::lacks(*code)) {
        Some(reason) => Err(Lacking(reason).into()),
        None => Ok(()),
    }
}

/// Opens a file; the descriptor is an ordinary one.
fn open(queue: &mut Queue, at: &Place, name: &str, flags: i32) -> Result<OwnedFd> {
    let path = at.c(name);
    let number = queue.run(opcode::OpenAt::new(CWD, path.as_ptr()).flags(flags).mode(0o600).build())?;
    // SAFETY: the kernel has just given the number to us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn put(queue: &mut Queue, file: &OwnedFd) -> Result<()> {
    queue.run(opcode::Write::new(Fd(file.as_raw_fd()), b"[Service]".as_ptr(), 9).build()).map(drop)
}

/// The close of the ring's own: what is written is closed by no system call either.
fn close(queue: &mut Queue, file: OwnedFd) -> Result<()> {
    let number = std::os::fd::IntoRawFd::into_raw_fd(file);
    queue.run(opcode::Close::new(Fd(number)).build()).map(drop)
}

/// Opens with these flags, and writes.
pub fn write(at: &Place, how: How, name: &str, flags: i32) -> Result<()> {
    need(&[opcode::OpenAt::CODE, opcode::Write::CODE, opcode::Close::CODE])?;
    let mut queue = Queue::new(how)?;
    let file = open(&mut queue, at, name, libc::O_WRONLY | flags)?;
    put(&mut queue, &file)?;
    close(&mut queue, file)
}

/// Does something to the open file `a`.
fn on_file(at: &Place, how: How, code: u8, entry: impl FnOnce(Fd) -> Entry) -> Result<()> {
    need(&[opcode::OpenAt::CODE, code, opcode::Close::CODE])?;
    let mut queue = Queue::new(how)?;
    let file = open(&mut queue, at, "a", libc::O_WRONLY)?;
    queue.run(entry(Fd(file.as_raw_fd())))?;
    close(&mut queue, file)
}

pub fn truncate(at: &Place, how: How) -> Result<()> {
    on_file(at, how, opcode::Ftruncate::CODE, |file| opcode::Ftruncate::new(file, 2).build())
}

pub fn punch(at: &Place, how: How) -> Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    on_file(at, how, opcode::Fallocate::CODE, |file| opcode::Fallocate::new(file, 2).mode(mode).build())
}

pub fn splice(at: &Place, how: How) -> Result<()> {
    let (read, write) = rustix::pipe::pipe()?;
    rustix::io::write(&write, b"xyz")?;
    on_file(at, how, opcode::Splice::CODE, |file| {
        opcode::Splice::new(Fd(read.as_raw_fd()), -1, file, -1, 3).build()
    })
}

pub fn rename(at: &Place, how: How) -> Result<()> {
    need(&[opcode::RenameAt::CODE])?;
    uring::names(at, how, |at| opcode::RenameAt::new(CWD, at[1].as_ptr(), CWD, at[0].as_ptr()).build())
}

pub fn rename_directory(at: &Place, how: How) -> Result<()> {
    need(&[opcode::RenameAt::CODE])?;
    let (from, to) = (at.c(":x.service.d"), at.c("x.service.d"));
    Queue::new(how)?.run(opcode::RenameAt::new(CWD, from.as_ptr(), CWD, to.as_ptr()).build()).map(drop)
}

pub fn exchange(at: &Place, how: How) -> Result<()> {
    need(&[opcode::RenameAt::CODE])?;
    uring::names(at, how, |at| {
        let rename = opcode::RenameAt::new(CWD, at[1].as_ptr(), CWD, at[0].as_ptr());
        rename.flags(libc::RENAME_EXCHANGE).build()
    })
}

pub fn link(at: &Place, how: How) -> Result<()> {
    need(&[opcode::LinkAt::CODE])?;
    uring::names(at, how, |at| opcode::LinkAt::new(CWD, at[1].as_ptr(), CWD, at[0].as_ptr()).build())
}

pub fn symlink(at: &Place, how: How) -> Result<()> {
    need(&[opcode::SymlinkAt::CODE])?;
    uring::names(at, how, |at| opcode::SymlinkAt::new(CWD, c"/dev/null".as_ptr(), at[0].as_ptr()).build())
}

pub fn unlink(at: &Place, how: How) -> Result<()> {
    need(&[opcode::UnlinkAt::CODE])?;
    uring::names(at, how, |at| opcode::UnlinkAt::new(CWD, at[0].as_ptr()).build())
}

pub fn tmpfile(at: &Place, how: How) -> Result<()> {
    need(&[opcode::OpenAt::CODE, opcode::LinkAt::CODE])?;
    let mut queue = Queue::new(how)?;
    let file = open(&mut queue, at, "", libc::O_TMPFILE | libc::O_WRONLY)?;
    put(&mut queue, &file)?;
    let old = std::ffi::CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let new = at.c("a");
    let link = opcode::LinkAt::new(CWD, old.as_ptr(), CWD, new.as_ptr()).flags(libc::AT_SYMLINK_FOLLOW);
    queue.run(link.build())?;
    close(&mut queue, file)
}

pub fn directory(at: &Place, how: How) -> Result<()> {
    need(&[opcode::MkDirAt::CODE, opcode::OpenAt::CODE])?;
    let mut queue = Queue::new(how)?;
    let path = at.c("d");
    queue.run(opcode::MkDirAt::new(CWD, path.as_ptr()).mode(0o755).build())?;
    let file = open(&mut queue, at, "d/f", libc::O_CREAT | libc::O_WRONLY)?;
    put(&mut queue, &file)?;
    close(&mut queue, file)
}
