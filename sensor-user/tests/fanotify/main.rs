//! Every file operation that the fanotify backend can see, in a watched directory and in an unwatched one, on this
//! machine's kernel. Needs root; says "skipped" with the reason where it cannot run.

mod around;
mod bench;

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use bench::{Bench, nothing, places, short};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use sensor_common::record::kind;
use sensor_common::watch;

const ME: fn() -> u32 = std::process::id;

/// truncate(2), with no descriptor of the file.
fn truncate(path: &Path, length: i64) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a terminated string.
    assert_eq!(unsafe { libc::truncate(path.as_ptr(), length) }, 0);
}

fn mknod(path: &Path, kind: FileType) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), 0).unwrap();
}

fn touch(path: &Path) {
    let times = fs::FileTimes::new().set_accessed(std::time::UNIX_EPOCH).set_modified(std::time::UNIX_EPOCH);
    File::open(path).unwrap().set_times(times).unwrap();
}

/// What is done, and the kinds and paths that are to be told of it.
type Case = (&'static str, fn(&Path), &'static [(&'static str, &'static str)]);

#[test]
fn each_operation_is_told_in_the_watched_directory_and_only_there() {
    let cases: &[Case] = &[
        (
            "write",
            |d| fs::write(d.join("new"), "x").unwrap(),
            &[("file_create", "new"), ("file_close_write", "new")],
        ),
        ("overwrite", |d| fs::write(d.join("old"), "0123456789").unwrap(), &[("file_close_write", "old")]),
        (
            "append",
            |d| OpenOptions::new().append(true).open(d.join("old")).unwrap().write_all(b"x").unwrap(),
            &[("file_close_write", "old")],
        ),
        ("truncate", |d| truncate(&d.join("old"), 3), &[("file_truncate", "old")]),
        ("mkdir", |d| fs::create_dir(d.join("dir")).unwrap(), &[("file_mkdir", "dir")]),
        ("symlink", |d| symlink("/dev/null", d.join("masked")).unwrap(), &[("file_symlink", "masked")]),
        ("fifo", |d| mknod(&d.join("fifo"), FileType::Fifo), &[("file_mknod", "fifo")]),
        ("socket", |d| mknod(&d.join("socket"), FileType::Socket), &[("file_mknod", "socket")]),
        ("link", |d| fs::hard_link(d.join("old"), d.join("link")).unwrap(), &[("file_link", "link")]),
        ("rename", |d| fs::rename(d.join("old"), d.join("renamed")).unwrap(), &[("file_rename", "renamed")]),
        (
            "chmod",
            |d| fs::set_permissions(d.join("old"), fs::Permissions::from_mode(0o755)).unwrap(),
            &[("file_attribute", "old")],
        ),
        (
            "chown",
            |d| std::os::unix::fs::chown(d.join("old"), Some(7), None).unwrap(),
            &[("file_attribute", "old")],
        ),
        ("touch", |d| touch(&d.join("old")), &[]),
        ("read", |d| drop(fs::read(d.join("old")).unwrap()), &[]),
        ("list", |d| assert_ne!(fs::read_dir(d).unwrap().count(), 0), &[]),
        ("unlink", |d| fs::remove_file(d.join("old")).unwrap(), &[("file_unlink", "old")]),
        ("rmdir", |d| fs::remove_dir(d.join("empty")).unwrap(), &[("file_rmdir", "empty")]),
        (
            "chmod of a directory",
            |d| fs::set_permissions(d.join("empty"), fs::Permissions::from_mode(0o700)).unwrap(),
            &[("file_attribute", "empty")],
        ),
        (
            "chmod of the watched directory",
            |d| fs::set_permissions(d, fs::Permissions::from_mode(0o700)).unwrap(),
            &[("file_attribute", "")],
        ),
    ];
    for place in places() {
        for (name, act, expected) in cases {
            let mut bench = Bench::new(place, |units, other| {
                for directory in [units, other] {
                    fs::write(directory.join("old"), "something").unwrap();
                    fs::create_dir(directory.join("empty")).unwrap();
                }
            });
            let elsewhere = bench.of(|_, other| act(other));
            assert_eq!(short(&elsewhere), [], "{name} in the unwatched directory on {}", place.display());
            let told = bench.of(|units, _| act(units));
            assert_eq!(short(&told), *expected, "{name} on {}", place.display());
            for record in &told {
                assert_eq!((record.tgid, record.matched), (ME(), watch::SUBTREE), "{name}");
                assert_ne!(record.start_ns, 0, "{name}");
            }
            assert_eq!(short(&bench.told()), [], "{name} is told once");
            bench.now_ns += 2_000_000_000;
            assert_eq!(short(&bench.told()), [], "{name} is told once, also after a while");
        }
    }
}

#[test]
fn what_a_record_says_of_the_object() {
    for place in places() {
        let mut bench = Bench::new(place, |units, _| fs::write(units.join("old"), "something").unwrap());
        let inode = fs::metadata(bench.units.join("old")).unwrap().ino();
        let told = bench.of(|units, _| {
            symlink("/etc/x.service", units.join("x")).unwrap();
            fs::set_permissions(units.join("old"), fs::Permissions::from_mode(0o755)).unwrap();
            truncate(&units.join("old"), 4);
            fs::hard_link(units.join("old"), units.join("link")).unwrap();
        });
        assert_eq!(told[0].extra, "/etc/x.service");
        let ours: Vec<_> = told.iter().filter(|record| record.inode == inode).collect();
        let attribute = ours.iter().find(|record| record.kind == kind::FILE_ATTRIBUTE).expect("the chmod");
        assert_eq!(attribute.argument, 1 << 32 | 0o100_755, "ATTR_MODE and the new mode");
        assert_eq!(attribute.mode, 0o100_755);
        let truncated =
            ours.iter().find(|record| record.kind == kind::FILE_TRUNCATE).expect("the truncation");
        assert_eq!(truncated.argument, 4);
        let link = ours.iter().find(|record| record.kind == kind::FILE_LINK).expect("the link");
        assert_eq!((&*link.path, &*link.other, link.other_matched), ("link", "old", watch::SUBTREE));
    }
}

#[test]
fn renames_tell_both_names() {
    for place in places() {
        let mut bench = Bench::new(place, |units, other| {
            for name in ["a", "b", "c"] {
                fs::write(units.join(name), "").unwrap();
                fs::write(other.join(name), "").unwrap();
            }
        });
        let full = |path: &Path| {
            let root = if place == Path::new("/tmp") { Path::new("/") } else { place };
            path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
        };
        let out = full(&bench.other.join("out"));
        let c = full(&bench.other.join("c"));
        let told = bench.of(|units, other| {
            fs::rename(units.join("a"), other.join("out")).unwrap();
            fs::rename(other.join("c"), units.join("in")).unwrap();
            rustix::fs::renameat_with(CWD, units.join("b"), CWD, other.join("b"), RenameFlags::EXCHANGE)
                .unwrap();
            fs::rename(other.join("a"), other.join("z")).unwrap();
        });
        let names: Vec<_> = told.iter().map(|r| (&*r.path, r.matched, &*r.other, r.other_matched)).collect();
        let b = full(&bench.other.join("b"));
        assert_eq!(
            names,
            [
                (&*out, 0, "a", watch::SUBTREE),
                ("in", watch::SUBTREE, &*c, 0),
                (&*b, 0, "b", watch::SUBTREE),
                ("b", watch::SUBTREE, &*b, 0),
            ],
            "on {}",
            place.display()
        );
        assert!(told.iter().all(|record| record.kind == kind::FILE_RENAME));
    }
}

#[test]
fn a_file_without_a_name_is_told_when_it_gets_one() {
    for place in places() {
        let mut bench = Bench::new(place, nothing);
        let make = |at: &Path| {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::open(at, flags, Mode::from_raw_mode(0o644)).unwrap());
            file.write_all(b"[Service]").unwrap();
            file
        };
        // One that never gets a name is nothing.
        let told = bench.of(|units, _| drop(make(units)));
        assert_eq!(short(&told), []);
        for elsewhere in [false, true] {
            let name = if elsewhere { "from-elsewhere" } else { "from-here" };
            let told = bench.of(|units, other| {
                let file = make(if elsewhere { other } else { units });
                let from = format!("/proc/self/fd/{}", file.as_raw_fd());
                rustix::fs::linkat(CWD, from, CWD, units.join(name), AtFlags::SYMLINK_FOLLOW).unwrap();
            });
            assert_eq!(
                short(&told),
                [("file_create", name), ("file_close_write", name)],
                "{}",
                place.display()
            );
            assert!(told.iter().all(|record| record.matched == watch::SUBTREE));
        }
    }
}

#[test]
fn writes_through_descriptors_of_before_and_mappings_are_told_at_close() {
    for place in places() {
        let mut open = None;
        let mut bench = Bench::new(place, |units, _| open = Some(File::create(units.join("held")).unwrap()));
        let mut held = open.take().unwrap();
        held.write_all(b"x").unwrap();
        assert_eq!(short(&bench.told()), [], "the close is awaited");
        // A file that stays open is told a second after it was written.
        bench.now_ns += 2_000_000_000;
        let told = bench.told();
        assert_eq!(short(&told), [("file_truncate", "held")]);
        assert_eq!((told[0].argument, told[0].tgid), (1, ME()));
        let told = bench.of(|_, _| drop(held));
        assert_eq!(short(&told), [("file_close_write", "held")]);
    }
}

#[test]
fn hard_links_from_and_to_elsewhere() {
    for place in places() {
        let mut bench = Bench::new(place, |units, other| {
            fs::write(units.join("inside"), "x").unwrap();
            fs::hard_link(units.join("inside"), other.join("alias")).unwrap();
            fs::write(other.join("outside"), "x").unwrap();
        });
        // The alias was made before the start.
        let told = bench.of(|_, other| fs::write(other.join("alias"), "longer than before").unwrap());
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].kind, told[0].matched), (kind::FILE_CLOSE_WRITE, watch::FILE));
        assert!(told[0].path.ends_with("other/alias"), "{}", told[0].path);

        let told =
            bench.of(|units, other| fs::hard_link(other.join("outside"), units.join("linked")).unwrap());
        assert_eq!(short(&told), [("file_link", "linked")]);
        let told =
            bench.of(|_, other| fs::write(other.join("outside"), "written through the other name").unwrap());
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].kind, told[0].matched), (kind::FILE_CLOSE_WRITE, watch::FILE));

        let told =
            bench.of(|units, other| fs::hard_link(units.join("inside"), other.join("second")).unwrap());
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].kind, told[0].matched, &*told[0].other), (kind::FILE_LINK, 0, "inside"));
    }
}

#[test]
fn a_tree_that_appears_is_told_or_found_whole() {
    for place in places() {
        let mut bench = Bench::new(place, nothing);
        let deep = bench.dir.path().join("later/deep");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("a.service"), "x").unwrap();
        fs::create_dir(deep.join("a.service.d")).unwrap();
        fs::write(deep.join("a.service.d/x.conf"), "x").unwrap();
        let told = bench.told();
        assert_eq!(
            short(&told),
            [
                ("file_mkdir", "later"),
                ("file_mkdir", "later/deep"),
                ("file_create", "later/deep/a.service"),
                ("file_close_write", "later/deep/a.service"),
                ("file_mkdir", "later/deep/a.service.d"),
                ("file_create", "later/deep/a.service.d/x.conf"),
                ("file_close_write", "later/deep/a.service.d/x.conf"),
            ]
        );
        assert!(told.iter().all(|record| record.matched & watch::PENDING != 0));
        let changes = bench.resolve();
        assert_eq!(changes.found.len(), 3, "{:?}", changes.found);
        let told = bench.of(|_, _| fs::write(deep.join("a.service.d/y.conf"), "x").unwrap());
        assert_eq!(
            short(&told),
            [("file_create", "a.service.d/y.conf"), ("file_close_write", "a.service.d/y.conf")]
        );
        assert_eq!(told[0].matched, watch::SUBTREE);

        // Walked in between: what the walk finds and what is read afterwards leave nothing out.
        fs::remove_dir_all(bench.dir.path().join("later")).unwrap();
        assert_eq!(bench.told().len(), 6);
        bench.resolve();
        fs::create_dir(bench.dir.path().join("later")).unwrap();
        bench.resolve();
        fs::create_dir(&deep).unwrap();
        fs::write(deep.join("b.service"), "x").unwrap();
        let found = bench.resolve().found;
        assert!(found.iter().any(|file| file.path == "b.service"), "{found:?}");
    }
}

#[test]
fn a_directory_that_is_moved_in_is_covered_and_one_moved_out_is_not() {
    for place in places() {
        let mut bench = Bench::new(place, |units, other| {
            fs::create_dir_all(other.join("kit.d/sub")).unwrap();
            fs::write(other.join("kit.d/sub/f"), "").unwrap();
            fs::create_dir_all(units.join("old.d/sub")).unwrap();
        });
        let told = bench.of(|units, other| {
            fs::rename(other.join("kit.d"), units.join("kit.d")).unwrap();
            fs::write(units.join("kit.d/sub/g"), "").unwrap();
            fs::rename(units.join("kit.d"), units.join("set.d")).unwrap();
        });
        assert_eq!(
            short(&told),
            [
                ("file_rename", "kit.d"),
                ("file_create", "kit.d/sub/g"),
                ("file_close_write", "kit.d/sub/g"),
                ("file_rename", "set.d"),
            ]
        );
        let told = bench.of(|units, _| truncate(&units.join("set.d/sub/f"), 100));
        assert_eq!(short(&told), [], "a growth may be a write; its close is awaited");
        bench.now_ns += 2_000_000_000;
        assert_eq!(short(&bench.told()), [("file_truncate", "set.d/sub/f")]);
        let told = bench.of(|units, other| {
            fs::rename(units.join("old.d"), other.join("old.d")).unwrap();
            fs::write(other.join("old.d/sub/x"), "").unwrap();
        });
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&*told[0].other, told[0].matched), ("old.d", 0));
        let told = bench.of(|_, other| fs::write(other.join("old.d/sub/y"), "").unwrap());
        assert_eq!(short(&told), []);
    }
}

#[test]
fn other_ways_to_the_directory_are_the_same() {
    for place in places() {
        let mut bench = Bench::new(place, |units, other| symlink(units, other.join("way")).unwrap());
        let told = bench.of(|_, other| fs::write(other.join("way/by-symlink"), "").unwrap());
        assert_eq!(short(&told), [("file_create", "by-symlink"), ("file_close_write", "by-symlink")]);
        // A bind mount, in a mount namespace of its own, by a process that has ended when it is told.
        let script = r#"mount --bind "$1" "$2/alias" && echo x > "$2/alias/by-mount""#;
        let told = bench.of(|units, other| {
            fs::create_dir(other.join("alias")).unwrap();
            let status = Command::new("unshare")
                .args(["-m", "sh", "-c", script, "sh"])
                .args([units, other])
                .status()
                .unwrap();
            assert!(status.success());
        });
        assert_eq!(short(&told), [("file_create", "by-mount"), ("file_close_write", "by-mount")]);
        assert!(told.iter().all(|record| record.tgid != ME() && record.tgid != 0));
    }
}

#[test]
fn io_uring_is_seen() {
    use io_uring::{IoUring, opcode, types};
    for place in places() {
        let mut ring = match IoUring::new(8) {
            Ok(ring) => ring,
            Err(error) => {
                assert_ne!(std::env::var("SVCSENSOR_REQUIRE_TOOLS").as_deref(), Ok("1"), "{error}");
                println!("skipped: no io_uring here: {error}");
                return;
            }
        };
        let mut submit = |entry: io_uring::squeue::Entry| {
            // SAFETY: what the entry points to lives until the completion is awaited below.
            unsafe { ring.submission().push(&entry) }.unwrap();
            ring.submit_and_wait(1).unwrap();
            ring.completion().next().unwrap().result()
        };
        let mut bench = Bench::new(place, nothing);
        let told = bench.of(|units, _| {
            let path = |name: &str| CString::new(units.join(name).as_os_str().as_bytes()).unwrap();
            let (file, renamed) = (path("ring"), path("renamed"));
            let here = types::Fd(libc::AT_FDCWD);
            let open =
                opcode::OpenAt::new(here, file.as_ptr()).flags(libc::O_CREAT | libc::O_WRONLY).mode(0o644);
            let fd = submit(open.build());
            assert!(fd >= 0, "{fd}");
            let data = b"[Service]";
            assert_eq!(
                submit(opcode::Write::new(types::Fd(fd), data.as_ptr(), data.len() as u32).build()),
                9
            );
            assert_eq!(submit(opcode::Close::new(types::Fd(fd)).build()), 0);
            let rename = opcode::RenameAt::new(here, file.as_ptr(), here, renamed.as_ptr());
            assert_eq!(submit(rename.build()), 0);
        });
        assert_eq!(
            short(&told),
            [("file_create", "ring"), ("file_close_write", "ring"), ("file_rename", "renamed")]
        );
        assert!(told.iter().all(|record| record.tgid == ME()));
    }
}

#[test]
fn shared_mappings_are_told_after_they_are_gone() {
    for place in places() {
        let mut bench = Bench::new(place, |units, _| fs::write(units.join("mapped"), "0123456789").unwrap());
        let script = r#"
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
memory = mmap.mmap(fd, 10)
os.close(fd)
memory[0:4] = b"evil"
memory.close()
"#;
        let told = bench.of(|units, _| {
            let status = Command::new("python3").args(["-c", script]).arg(units.join("mapped")).status();
            assert!(status.expect("python3 makes the mapping").success());
        });
        assert_eq!(short(&told), [("file_close_write", "mapped")]);
    }
}

#[test]
fn a_single_file_is_watched_by_its_name_and_by_itself() {
    for place in places() {
        let mut bench = Bench::new(place, |_, other| fs::write(other.join("rc.local"), "x").unwrap());
        let file = bench.other.join("rc.local");
        bench.set.set_specs(vec![bench::spec(&file)]);
        let changes = bench.resolve();
        assert!(changes.errors.is_empty(), "{:?}", changes.errors);
        let acts: &[Case] = &[
            ("write", |f| fs::write(f, "longer").unwrap(), &[("file_close_write", "rc.local")]),
            ("truncate", |f| truncate(f, 2), &[("file_truncate", "rc.local")]),
            (
                "chmod",
                |f| fs::set_permissions(f, fs::Permissions::from_mode(0o755)).unwrap(),
                &[("file_attribute", "rc.local")],
            ),
            ("sibling", |f| fs::write(f.with_extension("bak"), "x").unwrap(), &[]),
            ("replace", |f| fs::rename(f.with_extension("bak"), f).unwrap(), &[("file_rename", "rc.local")]),
            ("unlink", |f| fs::remove_file(f).unwrap(), &[("file_unlink", "rc.local")]),
        ];
        for (name, act, expected) in acts {
            let told = bench.of(|_, _| act(&file));
            assert_eq!(short(&told), *expected, "{name} on {}", place.display());
            assert!(told.iter().all(|record| record.matched & watch::ENTRY != 0), "{name}: {told:?}");
            bench.resolve();
        }
        // What was watched before is not any more.
        let told = bench.of(|units, _| fs::write(units.join("x"), "x").unwrap());
        assert_eq!(short(&told), []);
        assert!(bench.fanotify.stats().directories < 8, "{:?}", bench.fanotify.stats());
    }
}

#[test]
fn who_acted_is_known_after_the_process_has_ended() {
    use sensor_common::record::TaskContext;
    use sensor_user::event::encode::{encode_exit, encode_fork};
    for place in places() {
        let mut bench = Bench::new(place, nothing);
        let script = r#"echo x > "$1/by-child""#;
        let mut child = Command::new("sh").args(["-c", script, "sh"]).arg(&bench.units).spawn().unwrap();
        let pid = child.id();
        assert!(child.wait().unwrap().success());
        // What the ring says of it; the real programs' records are tested with the programs.
        let parent = TaskContext { tgid: ME(), start_boottime_ns: 5, uid: 7, ..TaskContext::default() };
        bench.fanotify.observe(&encode_fork(1, parent, pid, 12_345));
        bench.fanotify.observe(&encode_exit(2, pid, 12_345, 0));
        let told = bench.told();
        assert_eq!(short(&told), [("file_create", "by-child"), ("file_close_write", "by-child")]);
        assert!(told.iter().all(|record| (record.tgid, record.start_ns) == (pid, 12_345)), "{told:?}");
    }
}
