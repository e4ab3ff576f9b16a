//! The search for files that are open, mapped or linked, with a marker that knows nothing of the kernel.

use std::fs::{self, OpenOptions};
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::CWD;

use super::super::watches::Spec;
use super::*;

#[derive(Default)]
struct Fake(HashMap<Stat, (u32, u32)>);

impl Marker for Fake {
    type Identity = Stat;

    fn identify(&mut self, fd: BorrowedFd<'_>, _: &str) -> Result<Vec<Stat>, WatchError> {
        Ok(vec![stat(fd, c"", AtFlags::EMPTY_PATH).unwrap().stat])
    }

    fn mark(&mut self, object: &Stat, flags: u32, number: u32) -> Result<(), WatchError> {
        if flags == 0 {
            self.0.remove(object)
        } else {
            self.0.insert(*object, (flags, number))
        };
        Ok(())
    }

    fn mark_child(&mut self, _: &Stat, _: &[u8], _: u32, _: u32) -> Result<(), WatchError> {
        Ok(())
    }

    fn mark_socket(&mut self, _: &Stat, _: &[u8], _: Option<u32>) -> Result<(), WatchError> {
        Ok(())
    }
}

fn set(path: &Path) -> WatchSet<Fake> {
    let spec = Spec { path: path.to_str().unwrap().to_owned(), class: None, owner: None };
    let mut set = WatchSet::new(Fake::default(), "/", vec![spec]);
    set.resolve().unwrap();
    set
}

fn id(path: &Path) -> Stat {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    stat(CWD, &path, AtFlags::empty()).unwrap().stat
}

/// The files that are marked as such.
fn marked(set: &mut WatchSet<Fake>) -> Vec<Stat> {
    set.marker_mut().0.iter().filter(|(_, mark)| mark.0 == watch::FILE).map(|(stat, _)| *stat).collect()
}

#[test]
fn files_with_another_name_or_an_open_descriptor_are_marked() {
    let dir = tempfile::tempdir().unwrap();
    let units = dir.path().join("units/a.service.d");
    fs::create_dir_all(&units).unwrap();
    let [linked, open, read, plain] = ["linked", "open", "read", "plain"].map(|name| units.join(name));
    for path in [&linked, &open, &read, &plain] {
        fs::write(path, "x").unwrap();
    }
    fs::hard_link(&linked, dir.path().join("outside")).unwrap();
    let writer = OpenOptions::new().append(true).open(&open).unwrap();
    let _reader = File::open(&read).unwrap();

    let mut set = set(&dir.path().join("units"));
    let seeded = set.seed_files().unwrap();
    assert!(seeded.errors.is_empty() && !seeded.cut);
    assert_eq!((seeded.files, seeded.marked), (4, 2));
    let mut expected = vec![id(&linked), id(&open)];
    let mut found = marked(&mut set);
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);

    drop(writer);
    assert_eq!(set.seed_files().unwrap().marked, 1);
    assert_eq!(marked(&mut set), [id(&linked)]);
}

#[test]
fn a_file_below_a_path_that_is_too_long_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let name = "n".repeat(255);
    let mut here = File::open(dir.path()).unwrap();
    for _ in 0..17 {
        rustix::fs::mkdirat(&here, &name, Mode::from_raw_mode(0o700)).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        here = rustix::fs::openat(&here, &name, flags, Mode::empty()).unwrap().into();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    rustix::fs::openat(&here, "open", flags, Mode::from_raw_mode(0o600)).unwrap();
    rustix::fs::linkat(&here, "open", &here, "linked", AtFlags::empty()).unwrap();
    let mut set = set(dir.path());
    let seeded = set.seed_files().unwrap();
    assert!(seeded.errors.is_empty() && !seeded.cut);
    assert_eq!((seeded.files, seeded.marked), (2, 1));
}

#[test]
fn a_shared_writable_mapping_is_a_way_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mapped");
    fs::write(&path, "x").unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of a page, at an address of the kernel's choice.
    let mapping = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            protection,
            libc::MAP_SHARED,
            std::os::fd::AsRawFd::as_raw_fd(&file),
            0,
        )
    };
    assert_ne!(mapping, libc::MAP_FAILED);
    drop(file);
    let mut set = set(dir.path());
    let marked = set.seed_files().unwrap().marked;
    // SAFETY: the mapping made above, to which nothing refers.
    unsafe { libc::munmap(mapping, 4096) };
    // /proc/PID/map_files is for those with CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE (proc(5)).
    let allowed = rustix::process::geteuid().is_root();
    assert_eq!(marked, usize::from(allowed));
}

#[test]
fn symlinks_lead_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let units = dir.path().join("units");
    fs::create_dir(&units).unwrap();
    fs::write(dir.path().join("outside"), "x").unwrap();
    fs::hard_link(dir.path().join("outside"), dir.path().join("outside2")).unwrap();
    std::os::unix::fs::symlink("../outside", units.join("link")).unwrap();
    std::os::unix::fs::symlink("..", units.join("up")).unwrap();
    let mut set = set(&units);
    assert_eq!(set.seed_files().unwrap().files, 0);
}

#[test]
fn descriptors_are_judged_by_their_flags_and_inode() {
    let inodes = Inodes::from([42]);
    assert!(may_write("pos:\t0\nflags:\t0100001\nmnt_id:\t29\nino:\t42\n", &inodes));
    assert!(may_write("pos:\t0\nflags:\t0100002\nmnt_id:\t29\n", &inodes), "before 5.14 no inode is told");
    assert!(!may_write("pos:\t0\nflags:\t0100001\nmnt_id:\t29\nino:\t43\n", &inodes));
    assert!(!may_write("pos:\t0\nflags:\t0100000\nmnt_id:\t29\nino:\t42\n", &inodes));
    assert!(!may_write("", &inodes));
}

#[test]
fn mappings_are_judged_by_their_permissions_and_inode() {
    let inodes = Inodes::from([42]);
    let range = |line: &'static str| shared_writable(line.as_bytes(), &inodes);
    assert_eq!(range("7f00-7f01 rw-s 00000000 00:1a 42      /etc/systemd/system/a b\n"), Some("7f00-7f01"));
    assert_eq!(range("7f00-7f01 rw-s 00000000 00:1a 42\n"), Some("7f00-7f01"));
    assert_eq!(range("7f00-7f01 rw-p 00000000 00:1a 42      /x\n"), None);
    assert_eq!(range("7f00-7f01 r--s 00000000 00:1a 42      /x\n"), None);
    assert_eq!(range("7f00-7f01 rw-s 00000000 00:1a 43      /x\n"), None);
    assert_eq!(range("7f00-7f01 rw-s\n"), None);
    assert_eq!(range(""), None);
}

proptest! {
    #[test]
    fn any_line_of_proc_is_read(
        info in "((pos|flags|ino|mnt_id):\\t?[0-9x-]{0,12}\\n?|[a-zé]{0,5}){0,8}",
        map in "([0-9a-f-]{0,9}|rw-s|[é ]){0,12}",
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        // No file is looked for: whatever else stands there, nothing may be one.
        let none = Inodes::default();
        prop_assert_eq!(shared_writable(map.as_bytes(), &none), None);
        prop_assert_eq!(shared_writable(&bytes, &none), None);
        let _any_answer = may_write(&info, &none);
    }

    #[test]
    fn a_writable_descriptor_is_recognised(flags in any::<u32>(), inode in any::<u64>()) {
        let info = format!("pos:\t0\nflags:\t0{flags:o}\nmnt_id:\t29\nino:\t{inode}\n");
        let flags = OFlags::from_bits_retain(flags);
        let writable = flags.intersects(OFlags::ACCMODE) && !flags.contains(OFlags::PATH);
        prop_assert_eq!(may_write(&info, &Inodes::from([inode])), writable);
        prop_assert!(!may_write(&info, &Inodes::from([inode ^ 1])));
    }

    #[test]
    fn a_shared_writable_mapping_is_recognised(start in any::<u32>(), inode in 1..u64::MAX, path in "(/[a-z ]{1,9}){1,4}") {
        let line = format!("{start:x}-{start:x}000 rw-s 00000000 fe:01 {inode}    {path}");
        prop_assert_eq!(
            shared_writable(line.as_bytes(), &Inodes::from([inode])),
            Some(&*format!("{start:x}-{start:x}000"))
        );
    }
}
