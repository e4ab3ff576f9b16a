//! Operations through `io_uring`, in the caller's context, in the kernel's workers, and in a polling thread. No system
//! call of the operation itself is made.

use std::ffi::CStr;

use anyhow::{Context, Result};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{DestinationSlot, Fd, Fixed};
use io_uring::{IoUring, Probe, opcode};

use super::case::{Case, Place, Who, case, case_with};

/// Where relative names begin.
pub const CWD: Fd = Fd(libc::AT_FDCWD);

/// Where the kernel carries an operation out.
#[derive(Clone, Copy)]
pub enum How {
    /// Where it likes, at first in the caller.
    Inline,
    /// In a worker (`IOSQE_ASYNC`).
    Worker,
    /// In a thread that polls the queue (`IORING_SETUP_SQPOLL`).
    Polled,
}

/// The table.
#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    let written = ["create a 600", "open_write a created", "close_write a"];
    let needs = |code: u8, case: Case| Case { skip: lacks(code), ..case };
    vec![
        needs(opcode::OpenAt::CODE, case("uring-create", |at| write(at, How::Inline), &written)),
        needs(opcode::OpenAt::CODE, case("uring-create-by-worker", |at| write(at, How::Worker), &written)),
        needs(opcode::OpenAt::CODE, case("uring-create-by-poller", |at| write(at, How::Polled), &written)),
        // The file is in no process's table, and the last reference goes when the kernel takes the ring apart.
        Case { who: Who::Anyone, ..needs(opcode::MkDirAt::CODE, case("uring-create-fixed", fixed, &written)) },
        needs(opcode::RenameAt::CODE, case_with("uring-rename", &[":b"], |at| names(at, How::Inline,
            |at| opcode::RenameAt::new(CWD, at[1].as_ptr(), CWD, at[0].as_ptr()).build()), &["rename a < :b"])),
        needs(opcode::RenameAt::CODE, case_with("uring-rename-by-poller", &[":b"], |at| names(at, How::Polled,
            |at| opcode::RenameAt::new(CWD, at[1].as_ptr(), CWD, at[0].as_ptr()).build()), &["rename a < :b"])),
        needs(opcode::LinkAt::CODE, case_with("uring-link", &[":b"], |at| names(at, How::Worker,
            |at| opcode::LinkAt::new(CWD, at[1].as_ptr(), CWD, at[0].as_ptr()).build()), &["link a < :b"])),
        needs(opcode::SymlinkAt::CODE, case("uring-symlink", |at| names(at, How::Inline,
            |at| opcode::SymlinkAt::new(CWD, c"/dev/null".as_ptr(), at[0].as_ptr()).build()), &["symlink a -> /dev/null"])),
        needs(opcode::SymlinkAt::CODE, case("uring-symlink-by-poller", |at| names(at, How::Polled,
            |at| opcode::SymlinkAt::new(CWD, c"/dev/null".as_ptr(), at[0].as_ptr()).build()), &["symlink a -> /dev/null"])),
        needs(opcode::UnlinkAt::CODE, case_with("uring-unlink", &["a"], |at| names(at, How::Inline,
            |at| opcode::UnlinkAt::new(CWD, at[0].as_ptr()).build()), &["unlink a"])),
        needs(opcode::MkDirAt::CODE, case("uring-mkdir", |at| names(at, How::Inline,
            |at| opcode::MkDirAt::new(CWD, at[0].as_ptr()).mode(0o700).build()), &["mkdir a 700"])),
    ]
}

/// Why this kernel's `io_uring` cannot do an operation.
pub fn lacks(code: u8) -> Option<String> {
    let supported = || -> std::io::Result<bool> {
        let ring = IoUring::new(2)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        Ok(probe.is_supported(code))
    };
    match supported() {
        Ok(true) => None,
        Ok(false) => Some("this kernel's io_uring has no such operation".into()),
        Err(error) => Some(format!("no io_uring: {error}")),
    }
}

/// A ring and the way it is used.
pub struct Queue {
    /// The ring.
    pub ring: IoUring,
    flags: Flags,
}

impl Queue {
    /// A ring.
    ///
    /// # Errors
    /// Where the kernel gives none.
    pub fn new(how: How) -> Result<Self> {
        let mut builder = IoUring::builder();
        if matches!(how, How::Polled) {
            builder.setup_sqpoll(50);
        }
        let flags = if matches!(how, How::Worker) { Flags::ASYNC } else { Flags::empty() };
        Ok(Self { ring: builder.build(4)?, flags })
    }

    /// Does one operation and returns its result. What `entry` points to must still be there.
    ///
    /// # Errors
    /// The operation's error, as [`std::io::Error`].
    pub fn run(&mut self, entry: Entry) -> Result<i32> {
        let entry = entry.flags(self.flags);
        // SAFETY: what the entry points to outlives this call, which returns when the operation is done.
        unsafe { self.ring.submission().push(&entry) }?;
        self.ring.submit_and_wait(1)?;
        let result = self.ring.completion().next().context("no completion")?.result();
        if result < 0 {
            return Err(std::io::Error::from_raw_os_error(-result)).context("io_uring operation");
        }
        Ok(result)
    }
}

/// Creates and writes the file `a`.
///
/// # Errors
/// Where the kernel refuses.
pub fn write(at: &Place, how: How) -> Result<()> {
    let mut queue = Queue::new(how)?;
    let path = at.c("a");
    let open = opcode::OpenAt::new(CWD, path.as_ptr()).flags(libc::O_CREAT | libc::O_WRONLY).mode(0o600);
    let file = Fd(queue.run(open.build())?);
    queue.run(opcode::Write::new(file, b"[Service]".as_ptr(), 9).build())?;
    queue.run(opcode::Close::new(file).build())?;
    Ok(())
}

fn fixed(at: &Place) -> Result<()> {
    let mut queue = Queue::new(How::Inline)?;
    queue
        .ring
        .submitter()
        .register_files_sparse(1)
        .or_else(|_| queue.ring.submitter().register_files(&[-1]))?;
    let path = at.c("a");
    let open = opcode::OpenAt::new(CWD, path.as_ptr()).flags(libc::O_CREAT | libc::O_WRONLY).mode(0o600);
    let slot = DestinationSlot::try_from_slot_target(0).ok().context("slot 0")?;
    queue.run(open.file_index(Some(slot)).build())?;
    queue.run(opcode::Write::new(Fixed(0), b"[Service]".as_ptr(), 9).build())?;
    Ok(())
}

/// One operation on the names `a` and `:b`.
///
/// # Errors
/// Where the kernel refuses.
pub fn names(at: &Place, how: How, entry: fn(&[&CStr; 2]) -> Entry) -> Result<()> {
    let (a, b) = (at.c("a"), at.c(":b"));
    Queue::new(how)?.run(entry(&[&a, &b])).map(drop)
}
