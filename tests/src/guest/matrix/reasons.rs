//! Why a cell is no record: the one table of all that is not seen, and what comes of each.

use std::fmt;

/// Why there is no record of an operation done in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The kernel refuses with this error.
    Refused(Errno),
    /// Way and operation cannot be combined: nothing is tried.
    Apart,
    /// The kernel's `io_uring` has no such operation: it is tried where it has.
    Lacking,
    /// It is done and nothing below the watched directory changes.
    Unchanged,
}

/// An error of a system call, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub &'static str, pub i32);

/// One reason.
pub struct Reason {
    ways: &'static [&'static str],
    operations: &'static [&'static str],
    /// What comes of it.
    pub why: Why,
    /// The reason itself, a sentence.
    pub because: &'static str,
}

/// Outcome and error, as the results have them.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(errno) => return write!(f, "refused\t{}", errno.0),
            Self::Apart | Self::Lacking | Self::Unchanged => "n/a\t-",
        })
    }
}

const ANY: &[&str] = &[];
const FILES: &[&str] = &["old-fd", "scm-rights", "handle"];
const RINGS: &[&str] = &["uring", "uring-async", "uring-sqpoll"];
const EINVAL: Errno = Errno("EINVAL", libc::EINVAL);
const EOPNOTSUPP: Errno = Errno("EOPNOTSUPP", libc::EOPNOTSUPP);
const EPERM: Errno = Errno("EPERM", libc::EPERM);
const EXDEV: Errno = Errno("EXDEV", libc::EXDEV);

/// The table. An empty list is all of them; the first that fits is meant.
#[rustfmt::skip]
const REASONS: &[Reason] = &[
    Reason { ways: FILES, operations: &["create"], why: Why::Apart,
        because: "there is no descriptor of a file that is not there yet" },
    Reason { ways: FILES, operations: &["O_TRUNC"], why: Why::Apart,
        because: "a flag of open(2): the descriptor is open already" },
    Reason { ways: FILES, operations: &["other_link", "link_target"], why: Why::Apart,
        because: "about the name by which a file is opened: a descriptor has none" },
    Reason { ways: FILES, operations: ANY, why: Why::Apart,
        because: "the operation is on a name, not on an open file" },
    Reason { ways: RINGS, operations: &["mmap", "copy_range", "sendfile", "FICLONE", "mknod", "chmod", "bind_file", "bind_dir", "move_mount"],
        why: Why::Apart, because: "io_uring has no such operation on any kernel" },
    Reason { ways: RINGS, operations: ANY, why: Why::Lacking,
        because: "this kernel's io_uring does not have the operation yet" },
    Reason { ways: &["proc-pid-root"], operations: &["bind_file", "bind_dir", "move_mount"], why: Why::Refused(EINVAL),
        because: "mount(2) and move_mount(2) work in the caller's own mount namespace only" },
    Reason { ways: &["user-ns"], operations: &["mknod"], why: Why::Refused(EPERM),
        because: "devices are made with CAP_MKNOD in the first user namespace only" },
    Reason { ways: &["overlay-upper"], operations: &["bind_file", "bind_dir", "move_mount"], why: Why::Unchanged,
        because: "the mount is over the merged tree: the watched directory, which PID 1 reads, stays as it is" },
    Reason { ways: &["overlay-upper", "overlay-lower"], operations: &["O_TMPFILE"], why: Why::Refused(EOPNOTSUPP),
        because: "this kernel's overlayfs has no O_TMPFILE yet" },
    Reason { ways: &["overlay-lower"], operations: &["rename_dir"], why: Why::Refused(EXDEV),
        because: "overlayfs renames no directory of a lower layer unless it is mounted with redirect_dir" },
    Reason { ways: &["overlay-lower"], operations: ANY, why: Why::Unchanged,
        because: "writes go to the upper layer: the watched directory, which PID 1 reads, stays as it is" },
];

/// The reason for which a cell may come out so.
pub fn find(way: &str, operation: &str, fits: impl Fn(Why) -> bool) -> Option<&'static Reason> {
    let among = |list: &[&str], name: &str| list.is_empty() || list.contains(&name);
    REASONS
        .iter()
        .find(|reason| among(reason.ways, way) && among(reason.operations, operation) && fits(reason.why))
}

#[cfg(test)]
mod tests {
    use super::super::{operations, ways};
    use super::*;

    #[test]
    fn every_name_in_the_table_is_one() {
        let operations: Vec<&str> =
            operations::all().unwrap().iter().map(|operation| operation.name).collect();
        let ways: Vec<&str> = ways::all().iter().map(|way| way.name).collect();
        for reason in REASONS {
            assert!(reason.ways.iter().all(|way| ways.contains(way)), "{:?}", reason.ways);
            assert!(
                reason.operations.iter().all(|name| operations.contains(name)),
                "{:?}",
                reason.operations
            );
        }
    }

    #[test]
    fn the_first_that_fits_is_meant() {
        let found = find("handle", "O_TRUNC", |why| why == Why::Apart).unwrap();
        assert!(found.because.contains("flag of open"), "{}", found.because);
        assert!(find("absolute", "create", |_| true).is_none());
        assert!(find("overlay-upper", "write", |_| true).is_none());
        assert_eq!(find("overlay-lower", "write", |_| true).unwrap().why, Why::Unchanged);
    }
}
