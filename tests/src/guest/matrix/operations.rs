//! What is done to a unit: the columns.
//!
//! Each is a case of the hooks' tables, done in other ways; what no table has is here.

use std::fs::{self, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, Mode, OFlags};

use super::super::case::{Case, Place};
use super::super::uring::{self, How};
use super::super::{data, mounts, names};
use super::ring;

/// Does an operation on a file that is open already.
pub type OnFile = fn(&Place, OwnedFd) -> Result<()>;

/// One column.
pub struct Operation {
    /// In results: one word.
    pub name: &'static str,
    /// For people.
    pub what: &'static str,
    /// Which of the printed tables it belongs to.
    pub group: &'static str,
    /// What is there before.
    pub before: Vec<String>,
    /// Further names that are there before: given the place as it is reached, and as the host sees it.
    pub arrange: fn(&Place, &Place) -> Result<()>,
    /// Does it by names.
    pub act: fn(&Place) -> Result<()>,
    /// Does it to the open file `a`.
    pub on_file: Option<OnFile>,
    /// Does it by `io_uring`.
    pub by_ring: Option<fn(&Place, How) -> Result<()>>,
    /// The records without which it was not seen: how their lines begin ([`super::super::text`]), alternatives with a
    /// bar between them.
    pub needs: &'static [&'static str],
    /// Whether it needs a filesystem that shares blocks between files.
    pub shares_blocks: bool,
}

const CONTENT: &str = "content";
const NAMES: &str = "names";
const MOUNTS: &str = "mounts and others";

/// All of them, in the order of the printed tables.
///
/// # Errors
/// Where a case has another name than here.
#[rustfmt::skip]
pub fn all() -> Result<Vec<Operation>> {
    let cases: Vec<Case> = [data::cases(), names::cases(), mounts::cases()].into_iter().flatten().collect();
    let of = |case: &str, name, what, group, needs| -> Result<Operation> {
        let case = cases.iter().find(|known| known.name == case).with_context(|| format!("no case {case}"))?;
        Ok(Operation { before: case.before.clone(), ..own(name, what, group, &[], case.act, needs) })
    };
    Ok(vec![
        Operation { by_ring: Some(uring::write),
            ..of("create", "create", "create and write", CONTENT, &["create a", "close_write a"])? },
        Operation { on_file: Some(overwrite), by_ring: Some(|at, how| ring::write(at, how, "a", 0)),
            ..of("open-for-writing", "write", "overwrite in place", CONTENT, &["close_write a"])? },
        Operation { on_file: Some(append), by_ring: Some(|at, how| ring::write(at, how, "a", libc::O_APPEND)),
            ..of("append", "append", "append", CONTENT, &["close_write a"])? },
        Operation { by_ring: Some(|at, how| ring::write(at, how, "a", libc::O_TRUNC)),
            ..of("open-truncating", "O_TRUNC", "open with O_TRUNC and write", CONTENT, &["truncate a", "close_write a"])? },
        Operation { on_file: Some(|_, file| Ok(rustix::fs::ftruncate(file, 2)?)), by_ring: Some(ring::truncate),
            ..of("truncate", "truncate", "truncate(2), ftruncate(2)", CONTENT, &["truncate a"])? },
        Operation { on_file: Some(|_, file| data::store(file)),
            ..of("write-to-a-mapping-after-close", "mmap", "store to a shared mapping", CONTENT, &["mmap_write a|open_write a"])? },
        Operation { arrange: other_content, on_file: Some(|at, file| data::copy_file_range(at, &file)),
            ..of("copy_file_range", "copy_range", "copy_file_range(2)", CONTENT, &["close_write a"])? },
        Operation { arrange: other_content, on_file: Some(|at, file| data::sendfile(at, &file)),
            ..of("sendfile", "sendfile", "sendfile(2)", CONTENT, &["close_write a"])? },
        Operation { on_file: Some(|at, file| data::splice(at, &file)), by_ring: Some(ring::splice),
            ..of("splice", "splice", "splice(2) from a pipe", CONTENT, &["close_write a"])? },
        Operation { on_file: Some(|_, file| punch(&file)), by_ring: Some(ring::punch),
            ..own("punch", "fallocate(2), punching a hole", CONTENT, &["a"], |at| punch(&data::open(at)?), &["close_write a"]) },
        Operation { arrange: other_content, on_file: Some(|at, file| clone(at, &file)), shares_blocks: true,
            ..own("FICLONE", "ioctl FICLONE (btrfs)", CONTENT, &["a", ":b"], |at| clone(at, &data::open(at)?), &["close_write a"]) },
        Operation { arrange: second_name, by_ring: Some(|at, how| ring::write(at, how, ":b", 0)),
            ..own("other_link", "write through a hard link outside that is older than the sensor", CONTENT, &["a"],
                |at| write(at, ":b"), &["close_write :b"]) },
        Operation { arrange: target_outside, by_ring: Some(|at, how| ring::write(at, how, ":b", 0)),
            ..own("link_target", "write to the file outside to which a unit is a symlink", CONTENT, &[":b"],
                |at| write(at, ":b"), &["close_write a|close_write :b"]) },

        Operation { by_ring: Some(ring::rename),
            ..of("rename-in", "rename", "rename a file in", NAMES, &["rename a < :b"])? },
        Operation { by_ring: Some(ring::rename_directory),
            ..own("rename_dir", "rename a whole .d directory in", NAMES, &[":x.service.d/", ":x.service.d/f.conf"],
                |at| Ok(fs::rename(at.at(":x.service.d"), at.at("x.service.d"))?), &["rename x.service.d < :x.service.d"]) },
        Operation { by_ring: Some(ring::exchange),
            ..of("exchange-from-outside", "exchange", "renameat2(2) with RENAME_EXCHANGE", NAMES, &["rename a < :b"])? },
        Operation { by_ring: Some(ring::link),
            ..of("link-in", "link", "hard link in", NAMES, &["link a < :b"])? },
        Operation { by_ring: Some(ring::symlink),
            ..of("symlink", "symlink", "symlink in", NAMES, &["symlink a -> /dev/null"])? },
        Operation { by_ring: Some(ring::tmpfile),
            ..of("tmpfile-and-link", "O_TMPFILE", "O_TMPFILE and linkat(2)", NAMES, &["link a"])? },
        Operation { by_ring: Some(ring::directory),
            ..of("write-in-a-new-directory", "mkdir", "mkdir(2), and a file in it", NAMES, &["mkdir d", "create d/f", "close_write d/f"])? },
        Operation { by_ring: Some(ring::unlink),
            ..of("unlink", "unlink", "unlink(2)", NAMES, &["unlink a"])? },
        of("mknod-device", "mknod", "mknod(2) of a device", NAMES, &["mknod a"])?,

        Operation { on_file: Some(|_, file| Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(0o755))?)),
            ..of("chmod", "chmod", "chmod(2), fchmod(2) +x", MOUNTS, &["attribute a"])? },
        of("bind-over-a-file", "bind_file", "bind mount over the file", MOUNTS, &["mount a"])?,
        of("bind-over-a-directory", "bind_dir", "bind mount over a directory", MOUNTS, &["mount d"])?,
        of("move-a-tree-over-a-directory", "move_mount", "open_tree(2) and move_mount(2) over a directory", MOUNTS, &["mount d"])?,
    ])
}

/// An operation that names alone can do.
fn own(
    name: &'static str,
    what: &'static str,
    group: &'static str,
    before: &[&str],
    act: fn(&Place) -> Result<()>,
    needs: &'static [&'static str],
) -> Operation {
    let before = before.iter().map(|name| (*name).to_owned()).collect();
    Operation {
        name,
        what,
        group,
        before,
        arrange: |_, _| Ok(()),
        act,
        on_file: None,
        by_ring: None,
        needs,
        shares_blocks: false,
    }
}

/// What is copied differs from what is there.
fn other_content(at: &Place, _: &Place) -> Result<()> {
    Ok(fs::write(at.at(":b"), "new")?)
}

fn second_name(at: &Place, _: &Place) -> Result<()> {
    Ok(fs::hard_link(at.at("a"), at.at(":b"))?)
}

/// The link's text is what PID 1 reads: the path on the host.
fn target_outside(at: &Place, host: &Place) -> Result<()> {
    Ok(symlink(host.at(":b"), at.at("a"))?)
}

fn write(at: &Place, name: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).open(at.at(name))?;
    rustix::io::write(file, b"[Service]").map(drop).context("write")
}

fn overwrite(_: &Place, file: OwnedFd) -> Result<()> {
    rustix::io::pwrite(file, b"[Service]", 0).map(drop).context("pwrite")
}

fn append(_: &Place, file: OwnedFd) -> Result<()> {
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND).context("F_SETFL")?;
    rustix::io::write(file, b"[Service]").map(drop).context("write")
}

fn punch(file: &impl AsFd) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, flags, 0, 2).context("fallocate")
}

fn clone(at: &Place, to: &OwnedFd) -> Result<()> {
    let from = fs::File::open(at.at(":b"))?;
    // SAFETY: two open descriptors; the request takes the second as a number (ioctl_ficlone(2)).
    let cloned = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) };
    super::super::case::call("FICLONE", cloned).map(drop)
}
