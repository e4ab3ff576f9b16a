use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn root() -> (TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path().to_str().unwrap()).unwrap();
    (directory, root)
}

fn want(path: &str, expected: Expected) -> Want {
    Want::File { path: path.into(), expected }
}

#[test]
fn a_file_is_read_with_its_attributes() {
    let (directory, root) = root();
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    std::fs::write(directory.path().join("etc/a.service"), "[Unit]\n").unwrap();
    let Found::Regular(file) = root.read(b"/etc/a.service") else { panic!("a regular file") };
    assert_eq!((file.content.as_slice(), file.size, file.truncated()), (&b"[Unit]\n"[..], 7, false));
    assert!(file.mode & 0o170_000 == 0o100_000 && file.inode != 0 && !file.unstable);
    assert_eq!(root.read(b"/etc/none"), Found::Absent);
    assert_eq!(root.read(b"/etc/a.service/below"), Found::Absent);
    let names = vec![Name(b"a.service".to_vec())];
    assert_eq!(root.read(b"/etc"), Found::Directory { names, truncated: false });
}

#[test]
fn of_a_binary_nothing_is_told_but_that_it_is_one() {
    let (directory, root) = root();
    std::fs::write(directory.path().join("program"), [ELF, &vec![7; 100_000]].concat()).unwrap();
    let Found::Regular(file) = root.read(b"/program") else { panic!("a regular file") };
    assert_eq!((file.content.as_slice(), file.size), (ELF, 100_004));
    assert!(file.is_binary() && !file.truncated());
}

#[test]
fn links_are_followed_within_the_root_only() {
    let (directory, root) = root();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("payload"), "inside").unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink("/payload", at("absolute")).unwrap();
    symlink("../../../payload", at("relative")).unwrap();
    symlink(outside.path(), at("outside")).unwrap();
    symlink("loop", at("loop")).unwrap();
    symlink("/proc/self/fd/0", at("magic")).unwrap();
    for name in ["absolute", "relative"] {
        let found = root.read(format!("/{name}").as_bytes());
        assert_eq!(found.regular().unwrap().content, b"inside", "{name}");
    }
    for name in ["outside", "magic"] {
        assert_eq!(*root.read(format!("/{name}").as_bytes()).end(), Found::Absent, "{name}");
    }
    let Found::Symlink { target, end } = root.read(b"/loop") else { panic!("a link") };
    assert_eq!(target, b"loop");
    assert!(matches!(*end, Found::Unreadable { .. }), "{end:?}");
}

#[test]
fn a_fifo_is_not_waited_on_nor_opened() {
    let (directory, root) = root();
    let path = directory.path().join("fifo.service");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, 0o600.into(), 0).unwrap();
    symlink("fifo.service", directory.path().join("link.service")).unwrap();
    assert!(matches!(root.read(b"/fifo.service"), Found::Special { .. }));
    assert!(matches!(root.read(b"/link.service").end(), Found::Special { .. }));
    // Nobody opened it for reading: a writer that does not wait is refused (fifo(7)).
    let writer = rustix::fs::open(&path, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
    assert_eq!(writer.unwrap_err(), Errno::NXIO);
}

#[test]
fn a_huge_file_is_cut_and_a_full_directory_too() {
    let (directory, root) = root();
    let file = File::create(directory.path().join("huge")).unwrap();
    file.set_len(10 << 20).unwrap();
    let found = root.read(b"/huge");
    let regular = found.regular().unwrap();
    assert_eq!((regular.content.len(), regular.size, regular.truncated()), (CONTENT_MAX, 10 << 20, true));
    let full = directory.path().join("full.service.d");
    std::fs::create_dir(&full).unwrap();
    for number in 0..=NAMES_MAX {
        File::create(full.join(format!("{number}.conf"))).unwrap();
    }
    let Found::Directory { names, truncated } = root.read(b"/full.service.d") else { panic!("a directory") };
    assert_eq!((names.len(), truncated), (NAMES_MAX, true));
}

#[test]
fn what_is_not_there_yet_is_asked_for_again() {
    let (directory, root) = root();
    let path = directory.path().join("a.service");
    let gone = want("/a.service", Expected::Gone(0));
    assert_eq!(root.answer(&gone, false).unwrap().files[0].found, Found::Absent);
    assert!(root.answer(&want("/a.service", Expected::Present), false).is_none());
    assert_eq!(
        root.answer(&want("/a.service", Expected::Present), true).unwrap().files[0].found,
        Found::Absent
    );
    std::fs::write(&path, "x").unwrap();
    let inode = rustix::fs::stat(&path).unwrap().st_ino;
    assert!(root.answer(&want("/a.service", Expected::Inode(inode)), false).is_some());
    assert!(root.answer(&want("/a.service", Expected::Inode(inode + 1)), false).is_none());
    assert!(root.answer(&want("/a.service", Expected::Gone(inode)), false).is_none());
    assert!(root.answer(&want("/a.service", Expected::Gone(inode + 1)), false).is_some());
    assert!(
        root.answer(&gone, false).is_none(),
        "of an unknown inode only its absence tells that it is gone"
    );
}

#[test]
fn a_walk_takes_units_and_their_drop_ins() {
    let (directory, root) = root();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir_all(at("units/a.service.d/too/deep")).unwrap();
    std::fs::create_dir(at("elsewhere")).unwrap();
    for file in
        ["units/a.service", "units/a.service.d/x.conf", "units/a.service.d/too/deep.conf", "elsewhere/y.conf"]
    {
        std::fs::write(at(file), file).unwrap();
    }
    symlink("/elsewhere", at("units/b.service.d")).unwrap();
    let mut paths = Vec::new();
    walk(
        &root,
        b"/units",
        |_| true,
        |content| {
            assert!(content.baseline);
            paths.push(String::from_utf8(content.path).unwrap());
            true
        },
    );
    paths.sort();
    let expected =
        ["/units/a.service", "/units/a.service.d/x.conf", "/units/b.service.d", "/units/b.service.d/y.conf"];
    assert_eq!(paths, expected);
    let mut seen = 0;
    walk(
        &root,
        b"/units",
        |_| true,
        |_| {
            seen += 1;
            false
        },
    );
    assert_eq!(seen, 1, "it stops where it is told to");
}

#[test]
fn a_survey_tells_what_is_there_and_in_directories() {
    let (directory, root) = root();
    std::fs::create_dir(directory.path().join("a.service.d")).unwrap();
    std::fs::write(directory.path().join("a.service.d/x.conf"), "x").unwrap();
    std::fs::write(directory.path().join("a.service"), "a").unwrap();
    let paths = ["/a.service", "/none", "/a.service.d"].map(|path| path.as_bytes().to_vec()).to_vec();
    let answer = root.answer(&Want::Survey { id: 3, paths }, false).unwrap();
    let told: Vec<_> = answer.files.iter().map(|file| (file.path.as_slice(), file.survey)).collect();
    assert_eq!(told, [(&b"/a.service"[..], Some(3)), (b"/a.service.d/x.conf", Some(3))]);
    assert_eq!(answer.survey, Some(3));
}

#[test]
fn a_walk_takes_the_wanted_names_only() {
    let (directory, root) = root();
    let container = directory.path().join("containers/abc");
    std::fs::create_dir_all(&container).unwrap();
    for name in ["config.v2.json", "abc-json.log"] {
        std::fs::write(container.join(name), "{}").unwrap();
    }
    let mut seen = Vec::new();
    walk(
        &root,
        b"/containers",
        |name| name.ends_with(b"v2.json"),
        |content| {
            seen.push(content.path);
            true
        },
    );
    assert_eq!(seen, [b"/containers/abc/config.v2.json"]);
}

#[test]
fn a_token_is_read_without_what_proves_it() {
    let (directory, root) = root();
    let volume = "var/lib/kubelet/pods/u/volumes/kubernetes.io~projected/kube-api-access-x";
    let data = directory.path().join(volume).join("..data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("token"), "head.claims.signature").unwrap();
    std::fs::write(data.join("odd"), "secret").unwrap();
    symlink("..data/token", directory.path().join(volume).join("token")).unwrap();
    let path = format!("/{volume}/token").into_bytes();
    let answer = root.answer(&Want::Survey { id: 1, paths: vec![path.clone()] }, true).unwrap();
    assert_eq!(answer.files[0].found.regular().unwrap().content, b"head.claims");
    std::fs::remove_file(directory.path().join(volume).join("token")).unwrap();
    symlink("..data/odd", directory.path().join(volume).join("token")).unwrap();
    let answer = root.answer(&Want::Survey { id: 1, paths: vec![path] }, true).unwrap();
    assert_eq!(answer.files[0].found.regular().unwrap().content, b"");
}
