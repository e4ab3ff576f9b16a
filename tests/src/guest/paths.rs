//! Ways to a file: whatever the path, the object is the same.

use std::fs::{self, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::Result;
use rustix::fs::{Mode, OFlags};
use sensor_common::limits::WALK_LEVELS;

use super::case::{Case, Place, c_path, call, case, case_with, descriptor};

/// The longest name, in bytes.
const LONG: usize = 255;

/// Name, operation, and levels of directories.
type Depth = (&'static str, fn(&Place) -> Result<()>, usize);

/// The table.
#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case_with("through-dot-dot", &["a", "d/"], |at| write(at.at("d/../d/.././a")), &WRITTEN),
        case_with("relative", &["a"], relative, &WRITTEN),
        case_with("below-a-descriptor", &["d/"], below_descriptor,
            &["create d/a 600", "open_write d/a created", "close_write d/a"]),
        case_with("through-proc-self-root", &["a"],
            |at| write(PathBuf::from(format!("/proc/self/root{}", at.at("a").display()))), &WRITTEN),
        case_with("through-proc-self-cwd", &["a"], through_cwd, &WRITTEN),
        case_with("reopened-through-proc-self-fd", &["a"], reopened, &WRITTEN),
        case_with("through-a-symlink-outside", &["a"], through_symlink, &WRITTEN),
        case_with("in-a-chroot", &["a"], in_chroot, &WRITTEN),
        case_with("in-a-chroot-of-the-directory-itself", &["a"], in_own_chroot, &WRITTEN),
        case_with("by-handle", &["a"], by_handle, &WRITTEN),
    ];
    // Names of the greatest length, and paths that need the large record.
    let written = |path: &str, end: &str| {
        [format!("create {path} 600{end}"), format!("open_write {path} created{end}"), format!("close_write {path}{end}")]
    };
    let name = "n".repeat(LONG);
    let long = directories(&name, 8);
    // The names of a path come leaf first, so the leaf is there whatever is cut.
    let kept = format!("^{}/a", directories(&name, 17));
    cases.extend([
        Case { before: vec![format!("{name}/")], want: written(&format!("{name}/a"), "").into(),
            ..case("name-of-255-bytes", |at| create_in(at, &"n".repeat(LONG)), &[]) },
        Case { before: vec![format!("{long}/")], want: written(&format!("{long}/a"), "").into(),
            ..case("path-of-2048-bytes", |at| create_in(at, &directories(&"n".repeat(LONG), 8)), &[]) },
        Case { before: vec![format!("{long}/"), format!("{long}/a")], want: vec![format!("rename {long}/b < {long}/a")],
            ..case("rename-of-paths-of-2048-bytes", rename_long, &[]) },
        Case { before: vec![format!("{}/", directories(&name, 20))], want: written(&kept, " path-cut").into(),
            ..case("path-of-5120-bytes", |at| create_in(at, &directories(&"n".repeat(LONG), 20)), &[]) },
    ]);
    let depths: [Depth; 4] = [
        ("20-levels-below", |at| create_in(at, &directories("d", 20)), 20),
        ("29-levels-below", |at| create_in(at, &directories("d", 29)), 29),
        ("30-levels-below", |at| create_in(at, &directories("d", 30)), 30),
        ("40-levels-below", |at| create_in(at, &directories("d", 40)), 40),
    ];
    for (name, act, levels) in depths {
        let path = directories("d", levels);
        // The file is level 0, and one more is the case's own directory.
        let in_reach = 1 + levels + 1 < WALK_LEVELS;
        let want = if in_reach { written(&format!("{path}/a"), "").into() } else { Vec::new() };
        cases.push(Case { before: vec![format!("{path}/")], want, ..case(name, act, &[]) });
    }
    cases
}

/// What a write to an existing file `a` gives.
const WRITTEN: [&str; 2] = ["open_write a", "close_write a"];

fn write(path: PathBuf) -> Result<()> {
    OpenOptions::new().write(true).open(path)?;
    Ok(())
}

fn relative(at: &Place) -> Result<()> {
    std::env::set_current_dir(&at.watched)?;
    write("a".into())
}

fn below_descriptor(at: &Place) -> Result<()> {
    let directory = fs::File::open(at.at("d"))?;
    rustix::fs::openat(&directory, "a", OFlags::CREATE | OFlags::RDWR, Mode::from_raw_mode(0o600))?;
    Ok(())
}

fn through_cwd(at: &Place) -> Result<()> {
    std::env::set_current_dir(&at.watched)?;
    write("/proc/self/cwd/a".into())
}

fn reopened(at: &Place) -> Result<()> {
    let file = fs::File::open(at.at("a"))?;
    write(format!("/proc/self/fd/{}", file.as_raw_fd()).into())
}

fn through_symlink(at: &Place) -> Result<()> {
    symlink(&at.watched, at.at(":link"))?;
    write(at.at(":link/a"))
}

fn in_chroot(at: &Place) -> Result<()> {
    std::os::unix::fs::chroot(&at.mount)?;
    write(PathBuf::from("/").join(at.at("a").strip_prefix(&at.mount)?))
}

fn in_own_chroot(at: &Place) -> Result<()> {
    std::os::unix::fs::chroot(&at.watched)?;
    write("/a".into())
}

/// `struct file_handle` with room for any handle (`open_by_handle_at(2)`, `MAX_HANDLE_SZ`).
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    handle: [u8; 128],
}

fn by_handle(at: &Place) -> Result<()> {
    open_by_handle(at, libc::O_WRONLY).map(drop)
}

/// The file `a` by its handle, which needs no name.
///
/// # Errors
/// Where the filesystem has no handles, or the caller no `CAP_DAC_READ_SEARCH`.
pub fn open_by_handle(at: &Place, flags: i32) -> Result<OwnedFd> {
    let mut handle = Handle { bytes: 128, kind: 0, handle: [0; 128] };
    let mut mount = 0;
    let path = c_path(&at.at("a"));
    // SAFETY: the structure says how much room it has.
    let named = unsafe {
        libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), (&raw mut handle).cast(), &raw mut mount, 0)
    };
    call("name_to_handle_at", named)?;
    let filesystem = fs::File::open(&at.mount)?;
    // SAFETY: the handle was filled above.
    let opened = unsafe { libc::open_by_handle_at(filesystem.as_raw_fd(), (&raw mut handle).cast(), flags) };
    descriptor("open_by_handle_at", opened)
}

/// Creates a file in a directory whose path may be too long for a system call.
fn create_in(at: &Place, directory: &str) -> Result<()> {
    let directory = at.directory(directory)?;
    rustix::fs::openat(&directory, "a", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o600))?;
    Ok(())
}

fn rename_long(at: &Place) -> Result<()> {
    let directory = at.directory(&directories(&"n".repeat(LONG), 8))?;
    Ok(rustix::fs::renameat(&directory, "a", &directory, "b")?)
}

/// A path of so many directories of one name.
pub fn directories(name: &str, levels: usize) -> String {
    vec![name; levels].join("/")
}
