use proptest::prelude::*;

use super::*;

fn said(digest: &Digest) -> Vec<String> {
    digest
        .assignments()
        .map(|a| format!("{}:{}={}", a.line, a.key.name(), String::from_utf8_lossy(a.value)))
        .collect()
}

#[test]
fn only_what_counts_is_kept() {
    let digest = Digest::new(
        b"ExecStart=/nowhere\n[Unit]\nDocumentation=man:x\nConditionPathExists=!/x\nAssertUser=\n[X-Other]\nUser=a\n\
          [Service]\nExecStart=/bin/x \\\n -y\nX-Mine=1\n[ Service ]\nUser=b\n[Service]\nUser=\n",
    );
    assert_eq!(
        said(&digest),
        ["4:Condition=PathExists=!/x", "5:Assert=", "9:ExecStart=/bin/x   -y", "15:User="]
    );
    assert!(!digest.is_empty() && !digest.is_cut() && digest.fault().is_none());
    assert!(Digest::new(b"").is_empty() && !Digest::new(b"\n").is_empty());
}

#[test]
fn what_stands_before_a_fault_is_kept() {
    let digest = Digest::new(b"[Service]\nUser=a\nX=\xff\nUser=b");
    assert_eq!((said(&digest), digest.fault()), (vec!["2:User=a".into()], Some(Fault::NotUtf8 { line: 3 })));
}

#[test]
fn a_file_is_bounded_whatever_it_is_filled_with() {
    let comments = [b"# x\n".repeat(3_000_000), b"[Service]\nExecStart=/tmp/x\n".to_vec()].concat();
    let digest = Digest::new(&comments);
    assert_eq!(said(&digest), ["3000002:ExecStart=/tmp/x"]);
    assert!(digest.bytes() < 100);
    let many = [b"[Service]\n".to_vec(), b"ExecStart=/x\n".repeat(ASSIGNMENTS_MAX + 1)].concat();
    assert!(Digest::new(&many).is_cut());
    let long = [
        b"[Service]\n".to_vec(),
        [b"ExecStart=".to_vec(), vec![b'/'; 600_000], b"\n".to_vec()].concat().repeat(2),
    ];
    let digest = Digest::new(&long.concat());
    assert!(digest.is_cut() && digest.assignments().count() == 1);
}

#[test]
fn the_store_is_bounded_and_counts_back() {
    let mut store = UnitFiles::new(1000);
    assert!(store.insert_file(b"/a/x.service", b"[Service]\nExecStart=/bin/x").is_ok());
    assert!(store.insert_link(b"/a/y.service", b"x.service").is_ok());
    let held = store.bytes();
    assert!(store.insert_file(b"/a/y.service", b"").is_ok(), "a file replaces a link");
    assert_eq!(store.link(b"/a/y.service"), None);
    assert_eq!(
        store.insert_file(b"/a/x.service", &[&b"[Service]\nExecStart="[..], &[b'/'; 1000]].concat()),
        Err(Full { limit: 1000 })
    );
    assert!(store.file(b"/a/x.service").is_none(), "what it held is not true any more");
    assert_eq!(store.remove_below(b"/a"), 1);
    assert!(store.bytes() < held);
    assert_eq!((store.bytes(), store.remove(b"/a/y.service")), (0, false));
}

#[test]
fn paths_are_resolved_in_the_store() {
    let mut store = UnitFiles::new(10_000);
    for (path, target) in [
        ("/a/loop", "loop"),
        ("/a/up", "../b/./c"),
        ("/a/dir", "/opt/dir"),
        ("/opt/dir/x", "../y"),
        ("/a/null", "/dev/../dev/null"),
    ] {
        store.insert_link(path.as_bytes(), target.as_bytes()).unwrap();
    }
    let say = |path: &str, follow| {
        store.resolve(path.as_bytes(), follow).map(|path| String::from_utf8(path).unwrap())
    };
    assert_eq!(say("/lib/systemd//system/.", true).as_deref(), Some("/usr/lib/systemd/system"));
    assert_eq!(say("/a/up/x", true).as_deref(), Some("/b/c/x"));
    assert_eq!(say("/a/dir/x", true).as_deref(), Some("/opt/y"));
    assert_eq!(say("/a/dir/x", false).as_deref(), Some("/opt/dir/x"));
    assert_eq!(say("/a/loop", true), None);
    assert_eq!(say("/a/loop", false).as_deref(), Some("/a/loop"));
    assert_eq!(say("/../..", true).as_deref(), Some("/"));
    assert_eq!(store.read(b"/a/null"), Found::Null);
    assert_eq!(store.read(b"/a/dir/x"), Found::Unread(b"/opt/y".to_vec()));
}

#[test]
fn a_directory_ends_at_its_slash() {
    let mut store = UnitFiles::new(10_000);
    for path in ["/a/x", "/a/b/c", "/a.d/x", "/a0/x", "/a"] {
        store.insert_file(path.as_bytes(), b"").unwrap();
    }
    assert_eq!(store.below(b"/a").collect::<Vec<_>>(), [&b"/a/b/c"[..], b"/a/x"]);
}

proptest! {
    #[test]
    fn no_content_panics(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Digest::new(&content).assignments().count() <= content.len());
    }

    #[test]
    fn no_path_panics_or_runs_away(paths in proptest::collection::vec("[/.ab]{0,8}", 1..12)) {
        let mut store = UnitFiles::new(100_000);
        for pair in paths.windows(2) {
            store.insert_link(format!("/{}", pair[0]).as_bytes(), pair[1].as_bytes()).unwrap();
        }
        for path in &paths {
            for follow in [true, false] {
                if let Some(found) = store.resolve(path.as_bytes(), follow) {
                    prop_assert_eq!(found[0], b'/');
                }
            }
        }
    }
}
