use proptest::prelude::*;

use super::*;

/// A store of `path` (a file with one line), `path -> target` (a link), `path (empty)`.
pub(in crate::subject::unit) fn store(lines: &str) -> UnitFiles {
    let mut files = UnitFiles::new(1 << 20);
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some((path, target)) = line.split_once(" -> ") {
            files.insert_link(path.as_bytes(), target.as_bytes()).unwrap();
        } else if let Some(path) = line.strip_suffix(" (empty)") {
            files.insert_file(path.as_bytes(), b"").unwrap();
        } else {
            files.insert_file(line.as_bytes(), b"[Unit]\n").unwrap();
        }
    }
    files
}

fn fragment(files: &UnitFiles, name: &str) -> String {
    let load = LoadPath::system();
    match View::new(files, &load).fragment(name.as_bytes()) {
        Fragment::Path(path) => String::from_utf8(path).unwrap(),
        other => format!("{other:?}"),
    }
}

fn names(files: &UnitFiles, name: &str) -> String {
    let load = LoadPath::system();
    let (names, _) = View::new(files, &load).names(Name::parse(name.as_bytes()).unwrap());
    names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(" ")
}

fn drop_ins(files: &UnitFiles, name: &str) -> Vec<String> {
    let load = LoadPath::system();
    let view = View::new(files, &load);
    let (names, _) = view.names(Name::parse(name.as_bytes()).unwrap());
    let paths = view.belonging(&names, b".d", b".conf");
    paths.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
}

#[test]
fn the_most_important_directory_counts() {
    let files = store(
        "/usr/lib/systemd/system/a.service
         /etc/systemd/system/a.service
         /run/systemd/system/b.service
         /run/systemd/system/b.service.dpkg-new
         /etc/systemd/system.control/b.service
         /usr/lib/systemd/system/sub/c.service",
    );
    assert_eq!(fragment(&files, "a.service"), "/etc/systemd/system/a.service");
    assert_eq!(fragment(&files, "b.service"), "/etc/systemd/system.control/b.service");
    assert_eq!(fragment(&files, "c.service"), "Missing");
}

#[test]
fn links_are_aliases_linked_units_or_nothing() {
    let files = store(
        "/usr/lib/systemd/system/a.service
         /usr/lib/systemd/system/t@.service
         /etc/systemd/system/alias.service -> /lib/systemd/system/a.service
         /etc/systemd/system/relative.service -> ../../../usr/lib/systemd/system/a.service
         /etc/systemd/system/linked.service -> /opt/x
         /etc/systemd/system/mask.service -> /dev/null
         /etc/systemd/system/wrong.socket -> /usr/lib/systemd/system/a.service
         /etc/systemd/system/a.service -> /usr/lib/systemd/system/a.service
         /etc/systemd/system/u@.service -> t@.service
         /etc/systemd/system/v@x.service -> t@.service
         /etc/systemd/system/w@x.service -> t@y.service
         /etc/systemd/system/plain.service -> t@.service
         /etc/systemd/system/l1.service -> l2.service
         /etc/systemd/system/l2.service -> l1.service
         /etc/systemd/system/gone.service -> nothing.service
         /etc/systemd/system/x.mount -> y.mount
         /usr/lib/systemd/system/x.mount",
    );
    for (name, expected) in [
        ("alias.service", "/usr/lib/systemd/system/a.service"),
        ("relative.service", "/usr/lib/systemd/system/a.service"),
        ("linked.service", "/etc/systemd/system/linked.service"),
        ("mask.service", "/etc/systemd/system/mask.service"),
        ("wrong.socket", "Missing"),
        ("a.service", "/usr/lib/systemd/system/a.service"),
        ("v@x.service", "/usr/lib/systemd/system/t@.service"),
        ("w@x.service", "Missing"),
        ("plain.service", "Missing"),
        ("l1.service", "Loop"),
        ("gone.service", "Dangling"),
        ("x.mount", "/usr/lib/systemd/system/x.mount"),
    ] {
        assert_eq!(fragment(&files, name), expected, "{name}");
    }
}

#[test]
fn a_unit_goes_by_its_files_name_and_has_all_that_lead_to_it() {
    let files = store(
        "/usr/lib/systemd/system/a.service
         /usr/lib/systemd/system/t@.service
         /usr/lib/systemd/system/t@own.service
         /etc/systemd/system/alias.service -> a.service
         /etc/systemd/system/again.service -> alias.service
         /etc/systemd/system/u@.service -> t@.service
         /etc/systemd/system/v@x.service -> t@.service
         /etc/systemd/system/x.wants/zzz.service -> a.service
         /etc/systemd/system/dead.service -> /dev/null",
    );
    for (name, expected) in [
        ("a.service", "a.service again.service alias.service"),
        ("again.service", "a.service again.service alias.service"),
        ("t@1.service", "t@1.service u@1.service"),
        ("u@1.service", "t@1.service u@1.service"),
        ("v@x.service", "t@x.service u@x.service v@x.service"),
        ("t@x.service", "t@x.service u@x.service v@x.service"),
        ("t@own.service", "t@own.service"),
        ("t@.service", "t@.service u@.service"),
        ("dead.service", "dead.service"),
        ("none.service", "none.service"),
    ] {
        assert_eq!(names(&files, name), expected, "{name}");
    }
}

#[test]
fn drop_ins_of_a_units_relatives_are_sorted_by_file_name() {
    let files = store(
        "/usr/lib/systemd/system/a-b@.service
         /etc/systemd/system/a-b@i.service.d/50-instance.conf
         /etc/systemd/system/a-b@.service.d/40-template.conf
         /etc/systemd/system/a-@i.service.d/30-prefix-of-instance.conf
         /etc/systemd/system/a-.service.d/20-prefix.conf
         /etc/systemd/system/a-@.service.d/25-prefix-of-template.conf
         /etc/systemd/system/service.d/10-type.conf
         /etc/systemd/system/service.d/.hidden.conf
         /etc/systemd/system/service.d/readme
         /etc/systemd/system/a.service.d/10-other.conf
         /usr/lib/systemd/system/a-b@i.service.d/60-vendor.conf
         /etc/systemd/system/alias@.service -> a-b@.service
         /etc/systemd/system/alias@i.service.d/70-alias.conf",
    );
    let base = "/etc/systemd/system";
    assert_eq!(
        drop_ins(&files, "alias@i.service"),
        [
            format!("{base}/service.d/10-type.conf"),
            format!("{base}/a-.service.d/20-prefix.conf"),
            format!("{base}/a-@.service.d/25-prefix-of-template.conf"),
            format!("{base}/a-@i.service.d/30-prefix-of-instance.conf"),
            format!("{base}/a-b@.service.d/40-template.conf"),
            format!("{base}/a-b@i.service.d/50-instance.conf"),
            "/usr/lib/systemd/system/a-b@i.service.d/60-vendor.conf".into(),
            format!("{base}/alias@i.service.d/70-alias.conf"),
        ]
    );
}

#[test]
fn of_two_drop_ins_of_a_name_the_more_important_counts() {
    let files = store(
        "/usr/lib/systemd/system/a-b.service
         /usr/lib/systemd/system/a-b.service.d/x.conf
         /etc/systemd/system/a-.service.d/x.conf
         /etc/systemd/system/service.d/y.conf
         /usr/lib/systemd/system/a-b.service.d/y.conf
         /etc/systemd/system/a-b.service.d -> /opt/d
         /opt/d/z.conf",
    );
    assert_eq!(
        drop_ins(&files, "a-b.service"),
        [
            // The directory counts for more than how near the name is.
            "/etc/systemd/system/a-.service.d/x.conf",
            // But a type's comes after all.
            "/usr/lib/systemd/system/a-b.service.d/y.conf",
            "/opt/d/z.conf",
        ]
    );
}

#[test]
fn a_users_load_path_and_a_given_one() {
    let user = LoadPath::user(b"/home/u", 1000);
    let shown = |load: &LoadPath| {
        load.directories.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&user)[0], "/home/u/.config/systemd/user.control");
    assert_eq!(shown(&user)[1], "/run/user/1000/systemd/user.control");
    assert_eq!(shown(&user)[5], "/etc/xdg/systemd/user");
    assert_eq!(shown(&user.clone().with_unit_path(b"/tmp/u:x:/v")), ["/tmp/u", "/v"]);
    let before = user.with_unit_path(b"/tmp/u:");
    assert_eq!((&shown(&before)[0][..], before.directories.len()), ("/tmp/u", USER.len() + 1));
}

#[test]
fn names_are_bounded() {
    let mut files = store("/usr/lib/systemd/system/a.service");
    for at in 0..2 * ALIASES_MAX {
        let path = format!("/etc/systemd/system/x{at}.service");
        files.insert_link(path.as_bytes(), b"/usr/lib/systemd/system/a.service").unwrap();
    }
    assert_eq!(names(&files, "x7.service").split(' ').count(), ALIASES_MAX);
    assert!(names(&files, "x7.service").starts_with("a.service "));
}

#[test]
fn activators_have_the_same_name() {
    let files = store(
        "/etc/systemd/system/a.timer
         /etc/systemd/system/a.socket -> /dev/null
         /etc/systemd/system/s.socket
         /etc/systemd/system/m.automount",
    );
    let load = LoadPath::system();
    let view = View::new(&files, &load);
    let of = |name: &str| activators(&view, Name::parse(name.as_bytes()).unwrap());
    assert_eq!(of("a.service"), [b"a.timer".to_vec()]);
    assert_eq!(of("s@.service"), [b"s.socket".to_vec()]);
    assert_eq!(of("m.mount"), [b"m.automount".to_vec()]);
    assert!(of("x.service").is_empty());
}

proptest! {
    /// Names that lead to one another in any way end somewhere, and no directory is left out or seen twice.
    #[test]
    fn any_tangle_of_links_ends(pairs in proptest::collection::vec(("[ab](@[xy]?)?", "[ab](@[xy]?)?"), 0..12)) {
        let mut files = UnitFiles::new(1 << 20);
        for (at, (from, to)) in pairs.iter().enumerate() {
            let directory = SYSTEM[at % SYSTEM.len()];
            files.insert_link(format!("{directory}/{from}.service").as_bytes(), format!("{to}.service").as_bytes()).unwrap();
        }
        files.insert_file(b"/usr/lib/systemd/system/a@.service", b"[Unit]\n").unwrap();
        for name in ["a.service", "b@x.service", "a@.service", "a@y.service"] {
            let found = names(&files, name);
            let mut list: Vec<&str> = found.split(' ').collect();
            list.sort_unstable();
            list.dedup();
            prop_assert_eq!(list.len(), found.split(' ').count());
            let _ = drop_ins(&files, name);
        }
    }
}
