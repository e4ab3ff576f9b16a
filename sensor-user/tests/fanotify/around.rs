//! What is around the operations: a full queue, mounts, filesystems that cannot be watched, waking, the ring.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use sensor_common::watch;

use crate::bench::{Bench, alone, nothing, places, short};

/// The queue holds 16384 events by default (`fs.fanotify.max_queued_events`); more are lost, and found.
#[test]
fn an_overflow_is_said_and_what_it_hid_is_found() {
    let limit = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events").unwrap_or_default();
    let limit: usize = limit.trim().parse().unwrap_or(16_384);
    if limit > 100_000 {
        println!("skipped: the queue holds {limit} events");
        return;
    }
    for place in places() {
        let mut bench = Bench::new(place, |units, _| fs::write(units.join("old"), "x").unwrap());
        for number in 0..=limit {
            fs::write(bench.other.join("noise"), format!("{number}")).unwrap();
            fs::remove_file(bench.other.join("noise")).unwrap();
        }
        fs::create_dir_all(bench.units.join("lost.d")).unwrap();
        fs::write(bench.units.join("lost.d/lost.conf"), "x").unwrap();
        fs::write(bench.units.join("old"), "changed").unwrap();
        symlink("/dev/null", bench.units.join("masked")).unwrap();
        fs::create_dir_all(bench.dir.path().join("later")).unwrap();
        fs::write(bench.dir.path().join("later/early"), "x").unwrap();
        let told = bench.told();
        assert!(told.is_empty(), "{told:?}");
        let overflow = bench.last.overflow.expect("more was written than the queue holds");
        let mut found: Vec<_> =
            bench.found.iter().map(|file| (&*file.path, file.target.as_deref())).collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                ("later/early", None),
                ("lost.d", None),
                ("lost.d/lost.conf", None),
                ("masked", Some("/dev/null")),
                ("old", None)
            ]
        );
        assert_eq!(overflow.found, 5);
        assert!(bench.fanotify.stats().unrelated > 1000);
        // From here on everything is seen again.
        let told = bench.of(|units, _| fs::write(units.join("lost.d/next.conf"), "x").unwrap());
        assert_eq!(
            short(&told),
            [("file_create", "lost.d/next.conf"), ("file_close_write", "lost.d/next.conf")]
        );
    }
}

/// Runs again in a mount namespace of its own.
#[test]
fn mounts_over_watched_directories_are_told() {
    const INSIDE: &str = "SVCSENSOR_TEST_INSIDE";
    const NAME: &str = "around::mounts_over_watched_directories_are_told";
    let places = places();
    if places.is_empty() {
        return;
    }
    if std::env::var_os(INSIDE).is_none() {
        let _alone = alone();
        let test = std::env::current_exe().unwrap();
        let mut inside = Command::new("unshare");
        inside.args(["-m", "--propagation", "private"]).arg(test).args(["--exact", NAME]).env(INSIDE, "1");
        let output = inside.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let run = |program: &str, arguments: &[&Path]| {
        assert!(Command::new(program).args(arguments).status().unwrap().success());
    };
    for place in places {
        let mut bench = Bench::new(place, |units, other| {
            fs::create_dir(units.join("x.d")).unwrap();
            fs::create_dir(other.join("kit")).unwrap();
        });
        let told = bench.of(|_, other| run("mount", &[Path::new("--bind"), other, &other.join("kit")]));
        assert_eq!(short(&told), [], "not on a watched directory");
        let told = bench.of(|units, other| run("mount", &[Path::new("--bind"), other, &units.join("x.d")]));
        assert_eq!(short(&told), [("mount", "x.d")]);
        assert!(told[0].extra.ends_with("/other"), "{}", told[0].extra);
        let told = bench.of(|units, _| run("umount", &[&units.join("x.d")]));
        assert_eq!(short(&told), [("umount", "x.d")]);

        // The watched directory itself: another is seen in its place.
        let told = bench.of(|units, other| run("mount", &[Path::new("--bind"), other, units]));
        assert_eq!(short(&told), [("mount", "")]);
        assert_eq!(told[0].matched, watch::SUBTREE);
        bench.resolve();
        let told = bench.of(|units, _| fs::write(units.join("through"), "").unwrap());
        assert_eq!(short(&told), [("file_create", "through"), ("file_close_write", "through")]);
        let told = bench.of(|units, _| run("umount", &[units]));
        assert_eq!(short(&told), [("umount", "")]);
        bench.resolve();

        // A filesystem with a watched directory can be unmounted and mounted again.
        let told = bench.of(|units, _| {
            run("mount", &[Path::new("-t"), Path::new("tmpfs"), Path::new("none"), units]);
        });
        assert_eq!(short(&told), [("mount", "")]);
        assert_eq!(told[0].extra, "none");
        bench.resolve();
        let told = bench.of(|units, _| fs::write(units.join("on-tmpfs"), "").unwrap());
        assert_eq!(short(&told), [("file_create", "on-tmpfs"), ("file_close_write", "on-tmpfs")]);
        let told = bench.of(|units, _| run("umount", &[units]));
        assert_eq!(short(&told), [("umount", "")]);
        bench.resolve();
        let told = bench.of(|units, _| fs::write(units.join("below"), "").unwrap());
        assert_eq!(short(&told), [("file_create", "below"), ("file_close_write", "below")]);
    }
}

/// What has no handles cannot be watched, and is named.
#[test]
fn a_filesystem_without_handles_is_an_error_that_names_the_path() {
    use sensor_user::probe::fanotify::Fanotify;
    use sensor_user::probe::watches::{Spec, WatchSet};
    if places().is_empty() {
        return;
    }
    let fanotify = Fanotify::new().unwrap();
    let spec = Spec { path: "/proc/self/fdinfo".into(), class: None, owner: None };
    let mut set = WatchSet::new(fanotify.marker(), "/", vec![spec]);
    let changes = set.resolve().unwrap();
    let [error] = &changes.errors[..] else { panic!("{:?}", changes.errors) };
    assert!(error.to_string().contains("/proc"), "{error}");
}

#[tokio::test]
async fn both_descriptors_wake_tokio() {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    let Some(place) = places().into_iter().next() else { return };
    let bench = Bench::new(place, nothing);
    // SAFETY: the descriptor lives as long as the bench, which is dropped last.
    let group =
        unsafe { AsyncFd::register_with_interest(bench.fanotify.as_fd(), Interest::READABLE) }.unwrap();
    // SAFETY: as above.
    let mounts =
        unsafe { AsyncFd::register_with_interest(bench.mounts.as_fd(), Interest::PRIORITY) }.unwrap();
    let wait = Duration::from_secs(5);
    fs::write(bench.units.join("wake"), "").unwrap();
    drop(tokio::time::timeout(wait, group.readable()).await.expect("the queue wakes").unwrap());
    // A mount of nothing into a directory that nobody watches; taken away again whatever happens.
    let on = bench.other.clone();
    let status = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&on).status().unwrap();
    let woken = tokio::time::timeout(wait, mounts.ready(Interest::PRIORITY)).await;
    let undone = Command::new("umount").arg(&on).status().unwrap();
    assert!(status.success() && undone.success());
    drop(woken.expect("the mount table wakes").unwrap());
}

/// With the real ring: the processes of the events are those of the process records, to the nanosecond.
#[test]
fn the_rings_records_tell_who_acted() {
    use sensor_user::event::decode::{Event, decode};
    use sensor_user::probe::hooks::Backend;
    use sensor_user::probe::load::{self, Options};
    let Some(place) = places().into_iter().next() else { return };
    let mut loaded = match load::load(Backend::Fanotify, &Options::default()) {
        Ok(loaded) => loaded,
        Err(error) => {
            assert_ne!(std::env::var("SVCSENSOR_REQUIRE_TOOLS").as_deref(), Ok("1"), "{error}");
            println!("skipped: {error}");
            return;
        }
    };
    let mut ring = loaded.take_ring().unwrap();
    let mut bench = Bench::new(place, nothing);
    // A subshell: forked, never executed, and gone when its events are read.
    let script = r#"(echo x > "$1/by-subshell"); exec true"#;
    let mut child = Command::new("sh").args(["-c", script, "sh"]).arg(&bench.units).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    let mut forked = None;
    while let Some(record) = ring.next() {
        bench.fanotify.observe(&record);
        if let Ok(Event::Fork(fork)) = decode(&record) {
            if fork.task.tgid == pid {
                forked = Some((fork.child_tgid, fork.child_start_boottime_ns));
            }
        }
    }
    let told = bench.told();
    assert_eq!(short(&told), [("file_create", "by-subshell"), ("file_close_write", "by-subshell")]);
    let forked = forked.expect("the subshell's fork");
    assert!(told.iter().all(|record| (record.tgid, record.start_ns) == forked), "{forked:?}: {told:?}");
}
