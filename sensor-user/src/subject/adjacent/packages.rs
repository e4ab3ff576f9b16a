//! The row of package databases.

use super::{Kind, Names};
use crate::event::user::WatchClass;
use crate::subject::service::UnitPart;

/// This row.
pub static KINDS: &[Kind] = &[Kind {
    class: WatchClass::PackageDatabase,
    part: UnitPart::PackageDatabase,
    noun: "package database",
    names: Names::Books,
    programs: false,
    // dpkg(1) and dpkg-query(1); rpm's %_dbpath, old and new; apk(8); pacman(8).
    paths: &[
        "/var/lib/dpkg",
        "/var/lib/rpm",
        "/usr/lib/sysimage/rpm",
        "/lib/apk/db",
        "/usr/lib/apk/db",
        "/var/lib/pacman/local",
    ],
    files: &[],
    users: &[],
    packages: &[],
}];

/// Whether a path below a database's directory is one on which proof rests: dpkg's lists, digests, diversions and
/// alternatives, and its scripts, which it runs; rpm's database with its log; apk's list; pacman's descriptions. Locks,
/// backups and what is still being written are none.
pub(super) fn is_book(relative: &[u8]) -> bool {
    const LISTS: [&[u8]; 8] = [
        b".list",
        b".md5sums",
        b".conffiles",
        b".preinst",
        b".postinst",
        b".prerm",
        b".postrm",
        b".triggers",
    ];
    const SINGLE: [&[u8]; 8] = [
        b"status",
        b"diversions",
        b"statoverride",
        b"installed",
        b"rpmdb.sqlite",
        b"rpmdb.sqlite-wal",
        b"Packages",
        b"Packages.db",
    ];
    let in_info =
        relative.strip_prefix(b"info/").is_some_and(|name| LISTS.iter().any(|end| name.ends_with(end)));
    let described = [&b"/desc"[..], b"/files", b"/mtree"].iter().any(|end| relative.ends_with(end));
    SINGLE.contains(&relative) || in_info || relative.starts_with(b"alternatives/") || described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proof_rests_on_books_and_not_on_locks() {
        for book in [
            "status",
            "info/at.md5sums",
            "info/libc6:amd64.list",
            "alternatives/editor",
            "rpmdb.sqlite-wal",
            "at-3.2-1/mtree",
        ] {
            assert!(is_book(book.as_bytes()), "{book}");
        }
        for other in [
            "lock",
            "lock-frontend",
            "status-old",
            "info/at.list-new",
            "updates/0001",
            "triggers/Lock",
            "available",
        ] {
            assert!(!is_book(other.as_bytes()), "{other}");
        }
    }
}
