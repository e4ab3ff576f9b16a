//! On a database that rpm made (see the README beside it), and on ones made to be hard.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::header::Header;
use super::sqlite::{ReadAt, Sqlite};
use super::{ndb, *};
use crate::proof::package::tests::told;
use crate::proof::package::{Digest, Packages};

fn fixture() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proof/package/rpm/fixture/rpmdb.sqlite"))
        .unwrap()
}

/// A tree with the contents of package `one`, and a database.
fn tree(name: &str, database: &[u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let at = |path: &str| directory.path().join(path);
    for path in ["var/lib/rpm", "usr/lib/systemd/system", "etc", "usr/sbin", "var/log", "usr/share/two"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    fs::write(at("usr/lib/systemd/system/one.service"), "[Service]\nExecStart=/usr/sbin/one\n").unwrap();
    std::os::unix::fs::symlink("one.service", at("usr/lib/systemd/system/alias.service")).unwrap();
    fs::write(at("etc/one.conf"), "a=2\n").unwrap();
    fs::write(at("usr/sbin/one"), "#!/bin/sh\n").unwrap();
    fs::write(at("var/log/one.log"), "a line\n").unwrap();
    fs::write(at("usr/share/two/a-file-with-a-rather-long-name-77"), "77").unwrap();
    let path = at("var/lib/rpm").join(name);
    fs::write(&path, database).unwrap();
    (directory, path)
}

fn packages(tree: &TempDir) -> Packages {
    Packages::open(Arc::new(Root::open(tree.path().to_str().unwrap()).unwrap()))
}

/// What `rpm --verify` says of this tree, too.
fn expect_all(packages: &mut Packages) {
    for (path, expected) in [
        ("/usr/lib/systemd/system/one.service", "proved one 2:1.5-3"),
        ("/usr/lib/systemd/system/alias.service", "proved one 2:1.5-3"),
        ("/usr/lib/systemd/system", "claimed one"),
        ("/etc/one.conf", "modified one true"),
        ("/usr/sbin/one", "proved one 2:1.5-3"),
        ("/var/log/one.log", "claimed one"),
        ("/usr/share/two/a-file-with-a-rather-long-name-77", "proved two 0-1"),
        ("/usr/share", "unowned"),
    ] {
        assert_eq!(told(packages, path), expected, "{path}");
    }
}

#[test]
fn a_database_of_rpms_own_is_read() {
    let (tree, _) = tree("rpmdb.sqlite", &fixture());
    let mut packages = packages(&tree);
    let status = packages.status().remove(0);
    assert_eq!((status.manager, status.packages, status.problems), (Manager::Rpm, 2, vec![]));
    expect_all(&mut packages);
    let claim = packages.claims(b"/usr/share/two/a-file-with-a-rather-long-name-77").remove(0);
    assert!(matches!(claim.digest, Some(Digest::Md5(_))));
    assert_eq!(packages.script(b"/var/tmp/rpm-tmp.aBc").unwrap().name, "rpm-tmp.aBc");
    assert_eq!(packages.under_way(), []);
}

#[test]
fn what_is_in_the_log_counts_when_it_is_committed() {
    let (tree, path) = tree("rpmdb.sqlite", &fixture());
    let mut packages = packages(&tree);
    let rpm = rusqlite::Connection::open(&path).unwrap();
    rpm.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    rpm.pragma_update(None, "foreign_keys", false).unwrap();
    // An open transaction holds the lock: it is not waited for, and does not count yet.
    rpm.execute_batch("BEGIN IMMEDIATE; DELETE FROM Packages WHERE hnum = (SELECT max(hnum) FROM Packages)")
        .unwrap();
    expect_all(&mut packages);
    rpm.execute_batch("COMMIT").unwrap();
    let state = packages.under_way().remove(0);
    assert_eq!((state.manager, state.state.as_str()), (Manager::Rpm, "/var/lib/rpm/rpmdb.sqlite-wal"));
    assert_eq!(told(&mut packages, "/usr/sbin/one"), "unowned");
    assert_eq!(packages.status()[0].packages, 1);
    // Rows enough for a tree of several levels, one of them with an overflow chain of many pages.
    let blob: Vec<u8> = rpm.query_row("SELECT blob FROM Packages", [], |row| row.get(0)).unwrap();
    for _ in 0..200 {
        rpm.execute("INSERT INTO Packages (blob) VALUES (?1)", [&blob]).unwrap();
    }
    rpm.execute("INSERT INTO Packages (blob) VALUES (zeroblob(3000000))", []).unwrap();
    packages.refresh();
    let status = packages.status().remove(0);
    assert_eq!((status.packages, status.problems), (201, vec!["1 packages have no sound header".to_owned()]));
    assert_eq!(packages.claims(b"/usr/share/two/a-file-with-a-rather-long-name-1").len(), 16);
    // The last connection writes the log back.
    drop(rpm);
    packages.refresh();
    assert_eq!((packages.status()[0].packages, packages.under_way().len()), (201, 0));
}

/// A `Packages.db` of headers, as lib/backend/ndb/rpmpkg.c lays it out. Debian's rpm is built without ndb.
fn ndb_of(headers: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut put = |numbers: &[u32]| file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    let word = |text: &[u8; 4]| u32::from_le_bytes(*text);
    let mut begin = 4096 / 16;
    let mut slots = vec![[0; 3]; 254];
    for (at, header) in headers.iter().enumerate() {
        let blocks = (header.len() as u32 + 28).div_ceil(16);
        // Not one behind the other: a slot in between may be free.
        slots[at * 3] = [at as u32 + 1, begin, blocks];
        begin += blocks;
    }
    put(&[word(b"RpmP"), 0, 7, 1, headers.len() as u32 + 1, 0, 0, 0]);
    for slot in slots {
        put(&[word(b"Slot"), slot[0], slot[1], slot[2]]);
    }
    for (at, header) in headers.iter().enumerate() {
        let end = (file.len() + header.len() + 28).next_multiple_of(16);
        let numbers = [word(b"BlbS"), at as u32 + 1, 0, header.len() as u32];
        file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        file.extend(header);
        file.resize(end - 12, 0);
        let numbers = [0, header.len() as u32, word(b"BlbE")];
        file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }
    file
}

/// The headers of the fixture.
fn headers() -> Vec<Vec<u8>> {
    let of = Sqlite::open(fixture(), None).unwrap();
    let table = of.table("Packages").unwrap();
    of.rows(table, 10).unwrap().into_iter().map(|row| of.blob(table, row).unwrap().unwrap()).collect()
}

#[test]
fn an_ndb_of_the_same_headers_says_the_same() {
    let (tree, path) = tree("Packages.db", &ndb_of(&headers()));
    let mut packages = packages(&tree);
    expect_all(&mut packages);
    fs::write(path, ndb_of(&headers()[..1])).unwrap();
    packages.refresh();
    assert_eq!(packages.status()[0].packages, 1);
}

#[test]
fn a_damaged_database_is_told_and_leaves_nothing_unowned() {
    let sound = fixture();
    let (tree, path) = tree("rpmdb.sqlite", &[]);
    for (bytes, reason) in [
        (&b"SQLite"[..], "failed to fill whole buffer"),
        (&[0; 4096], "damaged: the page size"),
        (&sound[..sound.len() / 2], ""),
    ] {
        fs::write(&path, bytes).unwrap();
        let mut packages = packages(&tree);
        let told = told(&mut packages, "/usr/share");
        assert!(told.contains("/var/lib/rpm/rpmdb.sqlite: ") && told.contains(reason), "{told}");
    }
    // A table whose root is its own child.
    let mut circle = sound.clone();
    let page = usize::from(u16::from_be_bytes([sound[16], sound[17]]));
    let root = Sqlite::open(sound, None).unwrap().table("Packages").unwrap();
    let at = (root as usize - 1) * page;
    circle[at..at + 12].copy_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, root as u8]);
    fs::write(&path, circle).unwrap();
    let mut packages = packages(&tree);
    assert!(told(&mut packages, "/usr/share").contains("circles"));
    fs::rename(&path, path.with_file_name("Packages")).unwrap();
    assert!(told(&mut packages, "/usr/share").contains("Berkeley"));
}

/// What a reader can be asked, of any bytes.
fn ask_all(main: Vec<u8>, log: Option<Vec<u8>>) {
    let Ok(of) = Sqlite::open(main, log) else { return };
    let Ok(table) = of.table("Packages") else { return };
    for row in of.rows(table, 100).unwrap_or_default() {
        if let Ok(Some(blob)) = of.blob(table, row) {
            ask_header(&blob);
        }
    }
}

fn ask_header(blob: &[u8]) {
    if let Some(header) = Header::parse(blob) {
        let _ = (header.package(), header.paths().count(), header.claim(&[b"/usr/sbin/one".to_vec()]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_header_is_read(bytes in proptest::collection::vec(any::<u8>(), 1..40), at in any::<prop::sample::Index>()) {
        ask_header(&bytes);
        for mut header in headers() {
            let begin = at.index(header.len().min(2000));
            let end = header.len().min(begin + bytes.len());
            header[begin..end].copy_from_slice(&bytes[..end - begin]);
            ask_header(&header);
            header.truncate(begin);
            ask_header(&header);
        }
    }

    #[test]
    fn any_sqlite_is_read(bytes in proptest::collection::vec(any::<u8>(), 1..40), at in any::<prop::sample::Index>(), page in 0_usize..60) {
        let mut database = fixture();
        let begin = (page * 4096 + at.index(120)).min(database.len() - bytes.len());
        database[begin..begin + bytes.len()].copy_from_slice(&bytes);
        ask_all(database, Some(bytes));
    }

    #[test]
    fn any_ndb_is_read(bytes in proptest::collection::vec(any::<u8>(), 1..40), at in 0_usize..5000) {
        let mut database = ndb_of(&headers());
        let begin = at.min(database.len() - bytes.len());
        database[begin..begin + bytes.len()].copy_from_slice(&bytes);
        for slot in ndb::slots(&database).unwrap_or_default() {
            let _ = ndb::blob(&database, slot).map(|blob| ask_header(&blob));
        }
        prop_assert!(database.length().is_ok());
    }
}
