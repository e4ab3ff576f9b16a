//! The filesystems on which cells lie, and what is mounted beside them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use super::super::case::{Child, call};
use super::super::filesystems::DISKS;
use super::super::setup::{self, Results};
use super::operations::Operation;

/// Where symlinks lead to the filesystems.
pub const LINKS: &str = "/by-link";
/// Where the filesystems are bound.
pub const ALIASES: &str = "/by-bind";
/// Where a tree is merged whose upper layer is watched.
pub const OVER_UPPER: &str = "/over-upper";
/// Where a tree is merged whose lower layer is watched.
pub const OVER_LOWER: &str = "/over-lower";

const MEMORY: &str = "/w";
const BTRFS: &str = "/btrfs";
const UPPER: &str = "/btrfs/upper";
const LOWER: &str = "/btrfs/lower";

/// Which part of which filesystem.
#[derive(Clone, Copy)]
pub enum Ground {
    /// A filesystem in memory, or where blocks must be shared btrfs.
    Plain,
    /// The upper layer of a merged tree.
    Above,
    /// The lower one.
    Below,
}

impl Ground {
    /// Where the watched and the unwatched directory lie, and the mount point of their filesystem.
    pub fn paths(self, operation: &Operation) -> (&'static str, &'static str) {
        match self {
            Self::Plain if operation.shares_blocks => (BTRFS, BTRFS),
            Self::Plain => (MEMORY, MEMORY),
            Self::Above => (UPPER, BTRFS),
            Self::Below => (LOWER, BTRFS),
        }
    }
}

/// The watched directories.
pub fn watched() -> Vec<String> {
    [MEMORY, BTRFS, UPPER, LOWER].map(|path| format!("{path}/watched")).to_vec()
}

/// What cells find when they run.
pub struct Scene {
    /// A process in a mount namespace of its own.
    pub other: i32,
    /// Directories of cells, opened before the sensor started.
    pub directories: HashMap<String, OwnedFd>,
    /// Files of cells, opened before the sensor started. Each is the cell's own process's alone once that is there: the
    /// last close is then its.
    pub files: RefCell<HashMap<String, OwnedFd>>,
    /// This program, in a memfd.
    pub program: OwnedFd,
    /// The process [`Self::other`] ends when this is closed.
    _go: OwnedFd,
}

impl Scene {
    /// Mounts the filesystems and starts the other process: it comes first, so that it holds none of the descriptors
    /// that cells hand out.
    ///
    /// # Errors
    /// Where the kernel lacks a filesystem.
    pub fn new(results: &mut Results) -> Result<Self> {
        setup::mount("tmpfs", "tmpfs", MEMORY, None)?;
        let btrfs = DISKS.iter().find(|disk| disk.name == "btrfs").context("btrfs is not among the disks")?;
        anyhow::ensure!(btrfs.prepare(results, &[])?, "the matrix needs btrfs");
        for path in [MEMORY, BTRFS, UPPER, LOWER] {
            // A chroot that programs work in has it: linkat(2) of an unnamed file needs it.
            setup::mount("proc", "proc", &format!("{path}/proc"), None)?;
        }
        if !Path::new("/dev/fd").exists() {
            symlink("/proc/self/fd", "/dev/fd")?;
        }
        let (wait, go) = rustix::pipe::pipe()?;
        let (ready, tell) = rustix::pipe::pipe()?;
        let writing_end = std::os::fd::AsRawFd::as_raw_fd(&go);
        let other = Child::start(|| {
            // SAFETY: the child's copy, which nothing uses.
            call("close", unsafe { libc::close(writing_end) })?;
            // SAFETY: a plain flag.
            call("unshare", unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
            rustix::io::write(&tell, b"r")?;
            fs::File::from(wait).read_exact(&mut [0]).ok();
            Ok(())
        })?;
        fs::File::from(ready).read_exact(&mut [0]).context("the other process did not start")?;
        // SAFETY: a string with its NUL.
        let program = super::super::case::descriptor("memfd_create", unsafe {
            libc::memfd_create(c"payload".as_ptr(), libc::MFD_CLOEXEC)
        })?;
        std::io::copy(&mut fs::File::open("/proc/self/exe")?, &mut fs::File::from(program.try_clone()?))?;
        let (directories, files) = (HashMap::new(), RefCell::default());
        Ok(Self { other: other.pid, directories, files, program, _go: go })
    }

    /// What is mounted after the sensor has started, which does not know of it.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn mount_aliases() -> Result<()> {
        for path in [MEMORY, BTRFS] {
            let (link, alias) = (format!("{LINKS}{path}"), format!("{ALIASES}{path}"));
            fs::create_dir_all(LINKS)?;
            fs::create_dir_all(&alias)?;
            symlink(path, link)?;
            rustix::mount::mount_bind(path, &alias).context("bind mount")?;
        }
        for path in ["empty", "over-upper-work", "over-lower-upper", "over-lower-work"] {
            fs::create_dir(Path::new(BTRFS).join(path))?;
        }
        let upper = format!("lowerdir={BTRFS}/empty,upperdir={UPPER},workdir={BTRFS}/over-upper-work");
        setup::mount("overlay", "overlay", OVER_UPPER, Some(&upper))?;
        let lower =
            format!("lowerdir={LOWER},upperdir={BTRFS}/over-lower-upper,workdir={BTRFS}/over-lower-work");
        setup::mount("overlay", "overlay", OVER_LOWER, Some(&lower))
    }
}
