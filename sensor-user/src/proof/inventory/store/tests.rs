use super::*;
use crate::proof::inventory::{Entry, Kind};
use crate::proof::package::Verdict;

pub(super) fn entry(name: &str) -> Entry {
    Entry {
        kind: Kind::Unit,
        user: None,
        name: name.to_owned(),
        path: format!("/etc/systemd/system/{name}").into_bytes(),
        target: None,
        sha256: Some("a".repeat(64)),
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        modified_ns: 7,
        proof: Verdict::Unowned,
        programs: Vec::new(),
    }
}

fn begun(entries: &[Entry]) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, found) = Store::open(directory.path(), 1).unwrap();
    assert_eq!(found, Found::Nothing);
    follow(&mut store, entries, 1);
    (directory, store)
}

fn follow(store: &mut Store, entries: &[Entry], now: i64) -> Vec<Difference> {
    let differences = store.compare(entries, &Scope::AllBut(Vec::new())).unwrap();
    store.update(entries, &differences, |_| None, now).unwrap();
    differences
}

fn changes(differences: &[Difference]) -> Vec<(Change, &str)> {
    differences.iter().map(|one| (one.change, one.entry.name.as_str())).collect()
}

#[test]
fn what_differs_is_told_and_then_known() {
    let mut odd = entry("b.service");
    odd.path = b"/etc/systemd/system/\xff\n.service".to_vec();
    odd.proof = Verdict::Unknown { reason: "no database".to_owned() };
    let (directory, mut store) = begun(&[entry("a.service"), odd.clone()]);
    assert!(store.history(&odd.path).unwrap().is_empty(), "the baseline has no history");
    let changed = Entry { sha256: None, ..odd.clone() };
    let now = [changed.clone(), entry("c.service")];
    let differences = store.compare(&now, &Scope::AllBut(Vec::new())).unwrap();
    // Sorted by path.
    assert_eq!(
        changes(&differences),
        [(Change::Removed, "a.service"), (Change::Added, "c.service"), (Change::Changed, "b.service")]
    );
    let by = By { process: "vi (pid 7)".to_owned(), user: "root".to_owned(), alert: "ab".to_owned() };
    store.update(&now, &differences, |_| Some(by.clone()), 2).unwrap();
    drop(store);
    let (mut store, found) = Store::open(directory.path(), 3).unwrap();
    assert_eq!((found, store.verify().unwrap()), (Found::Known, Vec::new()));
    assert_eq!(follow(&mut store, &now, 3), []);
    let known = store.named("b.service").unwrap().remove(0);
    assert_eq!(
        (known.entry, known.first_seen_ns, known.last_changed_ns, known.last_seen_ns, known.changed_by),
        (changed, 1, 2, 3, Some(by))
    );
    assert_eq!(store.history(&odd.path).unwrap().len(), 1);
    assert_eq!(store.named("/etc/systemd/system/c.service").unwrap().len(), 1);
}

#[test]
fn only_what_was_looked_at_can_be_gone() {
    let mut far = entry("far.service");
    far.path = b"/usr/lib/systemd/system/far.service".to_vec();
    let (_directory, store) = begun(&[entry("a.service"), far]);
    let gone = |scope| store.compare(&[], &scope).unwrap().len();
    assert_eq!(gone(Scope::AllBut(vec![b"/etc/systemd".to_vec()])), 1);
    assert_eq!(gone(Scope::Below(vec![b"/etc/systemd/system/a.service".to_vec()])), 1);
    assert_eq!(gone(Scope::Below(vec![b"/etc/systemd/sys".to_vec()])), 0, "a path is no prefix of a name");
    assert_eq!(gone(Scope::AllBut(Vec::new())), 2);
}

#[test]
fn what_a_package_says_is_no_change_of_the_file() {
    let (_directory, mut store) = begun(&[entry("a.service")]);
    let proved = Entry { proof: Verdict::Unknown { reason: "x".to_owned() }, ..entry("a.service") };
    assert_eq!(follow(&mut store, std::slice::from_ref(&proved), 2), []);
    assert_eq!(store.named("a.service").unwrap()[0].entry, proved);
}

#[test]
fn every_edit_is_noticed_as_far_as_stated() {
    let edits: [(&str, &[Tampering]); 4] = [
        ("UPDATE entry SET sha256 = 'b'", &[Tampering::Content]),
        ("DELETE FROM entry", &[Tampering::Content]),
        ("UPDATE meta SET value = 'c' WHERE key = 'seal'", &[Tampering::Content, Tampering::Seal]),
        ("UPDATE history SET changed_by = 'nobody'", &[Tampering::History]),
    ];
    for (edit, expected) in edits {
        let (directory, mut store) = begun(&[entry("a.service")]);
        follow(&mut store, &[entry("a.service"), entry("b.service")], 2);
        assert!(!store.was_written_by_others().unwrap());
        let other = Connection::open(directory.path().join(DATABASE)).unwrap();
        other.execute_batch(edit).unwrap();
        drop(other);
        assert!(store.was_written_by_others().unwrap(), "{edit}");
        assert!(!store.was_written_by_others().unwrap(), "it is told once");
        assert_eq!(store.verify().unwrap(), expected, "{edit}");
        store.accept().unwrap();
        assert!(!store.verify().unwrap().contains(&Tampering::Content), "{edit}");
    }
}

#[test]
fn an_older_copy_put_back_is_noticed() {
    let (directory, mut store) = begun(&[entry("a.service")]);
    drop(store);
    let path = directory.path().join(DATABASE);
    let old = std::fs::read(&path).unwrap();
    store = Store::open(directory.path(), 2).unwrap().0;
    follow(&mut store, &[entry("b.service")], 2);
    follow(&mut store, &[entry("c.service")], 3);
    drop(store);
    std::fs::write(&path, old).unwrap();
    let (mut store, found) = Store::open(directory.path(), 4).unwrap();
    assert_eq!((found, store.verify().unwrap()), (Found::Known, vec![Tampering::Seal]));
    store.accept().unwrap();
    std::fs::remove_file(directory.path().join(SEAL)).unwrap();
    assert_eq!(store.verify().unwrap(), [Tampering::SealMissing]);
}

#[test]
fn what_is_no_inventory_is_set_aside() {
    let foreign = |sql: &str| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        std::fs::read(path).unwrap()
    };
    let ours = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; {SCHEMA}");
    let cases: [(Vec<u8>, &str); 6] = [
        (b"hello".repeat(1000), "not a database"),
        (foreign("CREATE TABLE entry (x)"), "another program's"),
        (
            foreign(&format!(
                "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 99; CREATE TABLE x (y)"
            )),
            "newer",
        ),
        (
            foreign(&format!("{ours} CREATE TRIGGER t AFTER INSERT ON entry BEGIN DELETE FROM entry; END;")),
            "tables",
        ),
        (
            foreign(&format!(
                "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 1; CREATE TABLE x (y)"
            )),
            "tables",
        ),
        (
            {
                let mut cut = foreign(&ours);
                cut.truncate(4096);
                cut
            },
            "malformed",
        ),
    ];
    for (bytes, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(DATABASE);
        std::fs::write(&path, &bytes).unwrap();
        let (mut store, found) = Store::open(directory.path(), 5).unwrap();
        let Found::SetAside { to, why } = found else { panic!("{expected}: {found:?}") };
        assert!(why.contains(expected), "{expected}: {why}");
        assert_eq!(std::fs::read(to).unwrap(), bytes);
        assert!(!store.has_begun().unwrap());
        follow(&mut store, &[entry("a.service")], 6);
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn of_what_is_set_aside_little_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    for now in 0..20 {
        std::fs::write(directory.path().join(DATABASE), b"x".repeat(5000)).unwrap();
        let (_store, found) = Store::open(directory.path(), now / 2).unwrap();
        assert!(matches!(found, Found::SetAside { .. }));
    }
    let aside = std::fs::read_dir(directory.path()).unwrap().count();
    assert!(aside < 12, "{aside} files");
}

#[test]
fn links_fifos_and_directories_in_its_place_are_set_aside() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 4] = [
        ("link", |at| std::os::unix::fs::symlink("/etc/hostname", at).unwrap()),
        ("fifo", |at| {
            rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        }),
        ("directory", |at| std::fs::create_dir(at).unwrap()),
        ("hard link", |at| {
            std::fs::write(at, b"").unwrap();
            std::fs::hard_link(at, at.with_extension("other")).unwrap();
        }),
    ];
    for (name, plant) in plants {
        let directory = tempfile::tempdir().unwrap();
        plant(&directory.path().join(DATABASE));
        let (store, found) = Store::open(directory.path(), 5).unwrap();
        assert!(matches!(found, Found::SetAside { .. }), "{name}: {found:?}");
        assert_eq!(store.len().unwrap(), 0);
    }
}

#[test]
fn what_cannot_be_had_now_is_said_and_nothing_is_lost() {
    let (directory, mut store) = begun(&[entry("a.service")]);
    let other = Connection::open(directory.path().join(DATABASE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let differences = store.compare(&[entry("b.service")], &Scope::AllBut(Vec::new())).unwrap();
    store.connection.busy_timeout(Duration::ZERO).unwrap();
    let error = store.update(&[entry("b.service")], &differences, |_| None, 2).unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable { why } if why.contains("lock")), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    // The bound of pages stands for a full disk: SQLite gives the same error.
    let pages: i64 = store.pragma("page_count").unwrap();
    store.connection.pragma_update(None, "max_page_count", pages).unwrap();
    let many: Vec<Entry> = (0..500).map(|number| entry(&format!("{number}.service"))).collect();
    let differences = store.compare(&many, &Scope::AllBut(Vec::new())).unwrap();
    let error = store.update(&many, &differences, |_| None, 2).unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable { why } if why.contains("make room")), "{error}");
    assert_eq!(store.len().unwrap(), 1);
    assert_eq!(store.verify().unwrap(), [], "the seal that was written for it is one of two");
    std::fs::write(directory.path().join("file"), "").unwrap();
    let error = Store::open(&directory.path().join("file/x"), 3).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
}

#[test]
fn files_are_roots_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, store) = begun(&[entry("a.service")]);
    for name in [DATABASE, SEAL, "inventory.sqlite-wal"] {
        let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(store);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open.clone()).unwrap();
    std::fs::set_permissions(directory.path().join(DATABASE), open).unwrap();
    let _store = Store::open(directory.path(), 2).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(directory.path()), mode(&directory.path().join(DATABASE))), (0o700, 0o600));
}

#[test]
fn the_time_in_which_nobody_watched() {
    let (_directory, mut store) = begun(&[]);
    assert_eq!(store.begin_session("boot", 10).unwrap(), None);
    store.heartbeat(20).unwrap();
    assert_eq!(store.begin_session("boot", 25).unwrap(), None, "nothing was compared yet");
    store.compared(30).unwrap();
    store.heartbeat(40).unwrap();
    let killed = Window { since_ns: 40, until_ns: 50, clean: false, rebooted: true };
    assert_eq!(store.begin_session("other", 50).unwrap(), Some(killed));
    // Killed before it had compared: what happened since 40 is still to be told.
    assert_eq!(store.begin_session("other", 60).unwrap().unwrap().since_ns, 40);
    store.compared(61).unwrap();
    store.end_session(70).unwrap();
    let ended = Window { since_ns: 70, until_ns: 80, clean: true, rebooted: false };
    assert_eq!(store.begin_session("other", 80).unwrap(), Some(ended));
    assert_eq!(store.begin_session("other", 65).unwrap().unwrap().since_ns, 65, "the clock was set back");
}

#[test]
fn history_and_sessions_are_bounded_and_the_chain_still_holds() {
    let (_directory, mut store) = begun(&[entry("a.service")]);
    let one = |number: i64| Entry { sha256: Some(number.to_string()), ..entry("a.service") };
    let first = store.compare(&[one(0)], &Scope::AllBut(Vec::new())).unwrap();
    let many = vec![first[0].clone(); bounds::HISTORY_MAX as usize];
    store.update(&[one(0)], &many, |_| None, 2).unwrap();
    follow(&mut store, &[one(1)], 3);
    follow(&mut store, &[one(2)], 4);
    assert_eq!(store.refused().unwrap(), (0, 2));
    assert_eq!(store.history(&one(0).path).unwrap().len(), bounds::HISTORY_MAX as usize);
    assert_eq!(store.verify().unwrap(), []);
    for now in 0..bounds::SESSIONS_MAX + 50 {
        store.begin_session("boot", now).unwrap();
        if now == 3 {
            store.compared(now).unwrap();
        }
    }
    let rows: i64 = store.connection.query_row("SELECT count(*) FROM session", [], |row| row.get(0)).unwrap();
    assert!(rows <= bounds::SESSIONS_MAX + 1, "{rows}");
    assert_eq!(store.begin_session("boot", 1000).unwrap().unwrap().since_ns, 3);
}

#[test]
fn more_entries_than_there_is_room_for_are_counted() {
    let (_directory, mut store) = begun(&[]);
    let many: Vec<Entry> =
        (0..bounds::ENTRIES_MAX + 3).map(|number| entry(&format!("{number}.service"))).collect();
    let differences = store.compare(&many, &Scope::AllBut(Vec::new())).unwrap();
    store.update(&many, &differences[..], |_| None, 2).unwrap();
    assert_eq!((store.len().unwrap(), store.refused().unwrap().0), (bounds::ENTRIES_MAX, 3));
}

#[test]
fn reading_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Store::open_to_read(directory.path()).unwrap_err().to_string().contains("svcsensor run"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let (directory, store) = begun(&[entry("a.service")]);
    let reader = Store::open_to_read(directory.path()).unwrap();
    assert_eq!((reader.len().unwrap(), reader.verify().unwrap()), (1, Vec::new()));
    drop(store);
}
