//! The same walks that the kernel programs make, over tables.

use super::*;

fn mark(flags: u32, number: u32) -> Mark {
    Mark { flags, number }
}

/// /etc (anchor, number 1) / systemd (anchor, 2) / system (subtree, 3) / a.d / deep, and /etc's pending "cni" (1).
fn tables() -> Tables {
    let mut tables = Tables::default();
    for (key, place) in [
        (&b"etc"[..], None),
        (b"systemd", Some((b"etc", &b"systemd"[..]))),
        (b"system", Some((b"systemd", b"system"))),
        (b"a.d", Some((b"system", b"a.d"))),
        (b"deep", Some((b"a.d", b"deep"))),
        (b"cni", Some((b"etc", b"cni"))),
        (b"cni.net", Some((b"cni", b"net.d"))),
    ] as [(&[u8], Option<(&[u8], &[u8])>); 7]
    {
        assert!(tables.add_directory(key, place.map(|(parent, name)| (parent.into(), name.into()))));
    }
    tables.objects.insert((*b"etc").into(), mark(watch::ANCHOR, 1));
    tables.objects.insert((*b"systemd").into(), mark(watch::ANCHOR, 2));
    tables.objects.insert((*b"system").into(), mark(watch::SUBTREE | watch::ANCHOR, 3));
    tables.set_child(b"etc", b"systemd", mark(watch::ENTRY, 1));
    tables.set_child(b"etc", b"cni", mark(watch::ENTRY | watch::PENDING, 1));
    tables.set_child(b"systemd", b"system", mark(watch::ENTRY, 2));
    tables
}

fn found(tables: &Tables, directory: &[u8], name: &[u8]) -> (u32, u32, String) {
    let found = tables.find(Some((directory, name)), None);
    (found.number, found.matched, String::from_utf8(found.path).unwrap())
}

#[test]
fn the_nearest_mark_wins() {
    let tables = tables();
    assert_eq!(found(&tables, b"system", b"x.service"), (3, watch::SUBTREE, "x.service".into()));
    assert_eq!(found(&tables, b"deep", b"x"), (3, watch::SUBTREE, "a.d/deep/x".into()));
    assert_eq!(found(&tables, b"etc", b"systemd"), (1, watch::ENTRY, "systemd".into()));
    assert_eq!(found(&tables, b"etc", b"cni"), (1, watch::PENDING | watch::ENTRY, "cni".into()));
    assert_eq!(found(&tables, b"cni.net", b"f"), (1, watch::PENDING, "cni/net.d/f".into()));
    for other in [&b"passwd"[..], b"system", b"cnix"] {
        assert_eq!(tables.find(Some((b"etc", other)), None), Found::NOTHING);
    }
    // An entry is the object directly below the anchor only.
    assert_eq!(tables.find(Some((b"systemd", b"user")), None), Found::NOTHING);
    assert_eq!(tables.find(Some((b"elsewhere", b"systemd")), None), Found::NOTHING);
}

#[test]
fn an_object_is_known_by_itself_last() {
    let mut tables = tables();
    tables.objects.insert((*b"rc").into(), mark(watch::FILE, 9));
    tables.set_child(b"etc", b"rc.local", mark(watch::ENTRY, 1));
    let by_name = tables.find(Some((b"etc", b"rc.local")), Some(b"rc"));
    assert_eq!((by_name.number, by_name.matched), (1, watch::ENTRY));
    let by_itself = tables.find(Some((b"elsewhere", b"alias")), Some(b"rc"));
    assert_eq!((by_itself.number, by_itself.matched), (9, watch::FILE));
    // A watched directory itself.
    let itself = tables.find(Some((b"systemd", b"system")), Some(b"system"));
    assert_eq!((itself.number, itself.matched, itself.path.len()), (3, watch::SUBTREE, 0));
}

#[test]
fn any_child_reaches_one_level() {
    let mut tables = Tables::default();
    tables.add_directory(b"home", None);
    tables.add_directory(b"alice", Some(((*b"home").into(), (*b"alice").into())));
    tables.objects.insert((*b"home").into(), mark(watch::ANY_CHILD, 4));
    assert_eq!(found(&tables, b"home", b"bob"), (4, watch::ANY_CHILD, "bob".into()));
    assert_eq!(tables.find(Some((b"alice", b"x")), None), Found::NOTHING);
}

#[test]
fn a_loop_of_directories_ends() {
    let mut tables = Tables::default();
    tables.add_directory(b"a", Some(((*b"b").into(), (*b"a").into())));
    tables.add_directory(b"b", Some(((*b"a").into(), (*b"b").into())));
    assert_eq!(tables.find(Some((b"a", b"x")), None), Found::NOTHING);
}

#[test]
fn what_is_not_covered_goes() {
    let mut tables = tables();
    let file = |directory: &[u8]| File {
        number: 3,
        place: (directory.into(), (*b"f").into()),
        seen: Seen::default(),
    };
    tables.add_file(b"f1", file(b"deep"));
    tables.add_file(b"f2", file(b"cni.net"));
    assert!(tables.prune().is_empty());
    tables.set_child(b"etc", b"cni", mark(0, 0));
    let mut gone = tables.prune();
    gone.sort();
    assert_eq!(gone, [Key::from(*b"cni"), Key::from(*b"cni.net")]);
    assert!(tables.files.contains_key(&b"f1"[..]) && !tables.files.contains_key(&b"f2"[..]));
    tables.objects.remove(&b"system"[..]);
    assert_eq!(tables.prune().len(), 3);
    assert!(tables.files.is_empty());
}
