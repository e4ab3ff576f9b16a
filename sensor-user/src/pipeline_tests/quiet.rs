//! What must stay quiet, and its malicious twin that must not.

use super::*;
use crate::detect::quiet::Quiet;

fn quiet(machine: &Machine, why: Quiet) -> u64 {
    machine.pipeline.stats().quiet[why as usize]
}

/// PID 1 forks a helper, which runs a generator.
fn generator(machine: &mut Machine, parent: TaskContext) -> TaskContext {
    let helper = machine.fork(parent, 1000);
    let generator = machine.fork(helper, 1001);
    machine.exec(generator, "/usr/lib/systemd/system-generators/systemd-fstab-generator", 70, &["gen"]);
    generator
}

#[test]
fn generators_that_the_manager_started_may_write_their_output() {
    let mut machine = Machine::new();
    let generator = generator(&mut machine, init());
    machine.write(generator, OUTPUT, "boot.mount");
    machine.symlink(generator, OUTPUT, "local-fs.target.requires/boot.mount", "../boot.mount");
    // A shell script's tools are its children.
    let tool = machine.fork(generator, 1002);
    machine.exec(tool, "/usr/bin/ln", 71, &["ln"]);
    machine.symlink(tool, OUTPUT, "a.target.wants/b.service", "../b.service");
    machine.file(kind::FILE_UNLINK, init(), OUTPUT, "boot.mount");
    machine.tick(SECOND);
    assert!(machine.alerts().is_empty());
    assert_eq!(quiet(&machine, Quiet::GeneratorOutput), 5);
    assert_eq!(quiet(&machine, Quiet::ManagerOwnFiles), 1);
}

#[test]
fn the_same_program_started_by_a_shell_may_not() {
    let mut machine = Machine::new();
    let generator = generator(&mut machine, shell());
    machine.write(generator, OUTPUT, "evil.service");
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.unit.written");
    assert!(reasons(&alert).contains("-20 the next daemon-reload removes it"));
    // Nor may a generator write elsewhere.
    let generator = self::generator(&mut machine, init());
    machine.write(generator, SYSTEM, "evil.service");
    assert_eq!(machine.rules(), ["systemd.unit.written"]);
}

#[test]
fn what_a_generator_writes_elsewhere_is_told_with_who_asked_for_the_reload() {
    let mut machine = Machine::new();
    let client = machine.fork(shell(), 900);
    machine.exec(client, "/usr/bin/systemctl", 50, &["systemctl", "daemon-reload"]);
    let generator = generator(&mut machine, init());
    machine.write(generator, SYSTEM, "evil.service");
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.actor.process.pid), ("systemd.unit.written", 1001));
    assert_eq!(alert.actor.on_behalf_of.expect("who asked").processes[0].pid, 900);
}

#[test]
fn login_scopes_are_quiet_and_transient_services_are_not() {
    let mut machine = Machine::new();
    machine.write(init(), TRANSIENT, "session-4.scope");
    machine.write(init(), TRANSIENT, "session-4.scope.d/50-x.conf");
    assert!(machine.alerts().is_empty());
    let client = machine.fork(shell(), 900);
    machine.exec(client, "/usr/bin/systemd-run", 51, &["systemd-run", "/tmp/x"]);
    machine.write(init(), TRANSIENT, "run-u1.service");
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.unit.transient");
    assert_eq!(alert.actor.on_behalf_of.expect("a client").processes[0].pid, 900);
    machine.file(kind::FILE_UNLINK, init(), TRANSIENT, "run-u1.service");
    assert!(machine.alerts().is_empty());
    machine.write(shell(), TRANSIENT, "session-5.scope");
    assert_eq!(machine.rules(), ["systemd.unit.written"], "only the manager's own are quiet");
}

#[test]
fn a_scope_found_after_it_was_seen_being_made_says_nothing() {
    let mut machine = Machine::new();
    let found = |path: &str| crate::event::user::FileFound {
        watch: TRANSIENT,
        path: path.into(),
        target: None,
        mode: 0o100_644,
        uid: 0,
        replaces: false,
    };
    // The manager makes the directory with its first transient unit; a walk then finds the unit there.
    machine.write(init(), TRANSIENT, "run-r1.scope");
    machine.user(kind::FILE_FOUND, &found("run-r1.scope"));
    assert!(machine.alerts().is_empty());
    assert_eq!(quiet(&machine, Quiet::Echo), 1);
    // One that nobody was seen to make is told, and so is one of long ago.
    machine.user(kind::FILE_FOUND, &found("run-r2.scope"));
    assert_eq!(machine.rules(), ["systemd.unit.written"]);
    machine.tick(11 * SECOND);
    machine.user(kind::FILE_FOUND, &found("run-r1.scope"));
    assert_eq!(machine.rules(), ["systemd.unit.written"]);
}

#[test]
fn what_generators_make_anew_unseen_is_told_only_where_it_differs() {
    let mut machine = Machine::new();
    let found = |path: &str, target: Option<&str>| crate::event::user::FileFound {
        watch: OUTPUT,
        path: path.into(),
        target: target.map(Into::into),
        mode: if target.is_some() { 0o120_777 } else { 0o100_644 },
        uid: 0,
        replaces: false,
    };
    let wants = "local-fs.target.wants/boot.mount";
    let link = Found::Symlink { target: b"../boot.mount".to_vec(), end: Box::new(Found::Absent) };
    let content = FileContent {
        path: format!("/run/systemd/generator/{wants}").into_bytes(),
        baseline: true,
        survey: None,
        found: link.clone(),
    };
    machine.user(kind::FILE_CONTENT, &content);
    machine.files.insert(content.path.clone(), link);
    machine.baseline("/run/systemd/generator/boot.mount", "[Mount]\nWhat=/dev/vda1\n");
    machine.user(kind::FILE_FOUND, &found(wants, Some("../boot.mount")));
    machine.user(kind::FILE_FOUND, &found("boot.mount", None));
    machine.tick(SECOND);
    assert_eq!(machine.rules(), [""; 0]);
    assert_eq!(quiet(&machine, Quiet::GeneratorOutput), 2);

    machine
        .files
        .insert(content.path, Found::Symlink { target: b"../x".to_vec(), end: Box::new(Found::Absent) });
    machine.user(kind::FILE_FOUND, &found(wants, Some("../x")));
    machine.files.insert(b"/run/systemd/generator/boot.mount".to_vec(), text_file("[Mount]\nWhat=/tmp/x\n"));
    machine.user(kind::FILE_FOUND, &found("boot.mount", None));
    machine.tick(SECOND);
    assert_eq!(machine.rules(), ["systemd.unit.enabled", "systemd.unit.written"]);

    // What a generator was seen to make since counts as known.
    let generator = generator(&mut machine, init());
    machine.files.insert(b"/run/systemd/generator/new.mount".to_vec(), text_file("[Mount]\nWhat=/dev/vdb\n"));
    machine.write(generator, OUTPUT, "new.mount");
    machine.tick(20 * SECOND);
    machine.user(kind::FILE_FOUND, &found("new.mount", None));
    machine.tick(SECOND);
    assert_eq!(machine.rules(), [""; 0]);
}

#[test]
fn what_is_found_while_its_alert_is_held_is_told_once() {
    let mut machine = Machine::new();
    let client = machine.fork(shell(), 900);
    machine.exec(client, "/usr/bin/systemd-run", 51, &["systemd-run", "/tmp/x"]);
    machine.file(kind::FILE_OPEN_WRITE, init(), TRANSIENT, "run-u1.service");
    machine.user(
        kind::FILE_FOUND,
        &crate::event::user::FileFound {
            watch: TRANSIENT,
            path: "run-u1.service".into(),
            target: None,
            mode: 0o100_644,
            uid: 0,
            replaces: false,
        },
    );
    machine.tick(20 * SECOND);
    assert_eq!(machine.rules(), ["systemd.unit.transient"]);
}

#[test]
fn a_users_sockets_go_with_the_session() {
    let mut machine = Machine::new();
    machine.file(kind::FILE_UNLINK, init(), USER_PRIVATE, "");
    machine.file(kind::FILE_UNLINK, shell(), BUS, "");
    machine.tick(SECOND);
    assert!(machine.alerts().is_empty());
    assert_eq!(quiet(&machine, Quiet::Meaningless), 2);
}

#[test]
fn set_property_counts_for_less_where_the_manager_did_it() {
    use crate::detect::rule::Severity;
    let mut machine = Machine::new();
    for (watch, path) in [(60, "/run/systemd/system.control"), (61, "/etc/systemd/system.control")] {
        let class = Some(WatchClass::SystemUnit);
        machine.user(kind::WATCH, &Watch { watch, path: path.into(), class, owner: None });
    }
    machine.write(init(), 60, "cron.service.d/50-CPUWeight.conf");
    assert_eq!(machine.one().severity, Severity::Low);
    machine.write(init(), 61, "cron.service.d/50-CPUWeight.conf");
    assert_eq!(machine.one().severity, Severity::Medium);
    machine.write(shell(), 60, "cron.service.d/50-MemoryMax.conf");
    assert_eq!(machine.one().severity, Severity::High);
}

#[test]
fn unfinished_files_say_nothing() {
    let mut machine = Machine::new();
    for name in [
        "x.service.dpkg-new",
        ".#x.service1234",
        "sedAbCdEf",
        "x.service~",
        "4913",
        "a.service.d/.x.conf.swp",
    ] {
        machine.write(shell(), SYSTEM, name);
        machine.file(kind::FILE_UNLINK, shell(), SYSTEM, name);
    }
    machine.tick(SECOND);
    assert!(machine.alerts().is_empty());
    assert_eq!(quiet(&machine, Quiet::Temporary), 6 * 4);
}

#[test]
fn mounts_in_private_namespaces_and_of_homes_say_nothing() {
    let mut machine = Machine::new();
    let private = TaskContext { mnt_ns: 99, ..shell() };
    let entry = sensor_common::watch::ENTRY;
    let over = machine.record(kind::MOUNT, private).path(ETC_SYSTEMD, entry, b"system").build();
    machine.feed(over);
    let home = machine.record(kind::MOUNT, init()).path(RUN_USER, entry, b"alice").build();
    machine.feed(home);
    let remount =
        machine.record(kind::MOUNT, init()).path(ETC_SYSTEMD, entry, b"system").argument(32).build();
    machine.feed(remount);
    machine.file(kind::UMOUNT, shell(), SYSTEM, "");
    assert!(machine.alerts().is_empty());
    assert_eq!(quiet(&machine, Quiet::PrivateMount), 2);
}

#[test]
fn directories_and_neighbours_say_nothing() {
    let mut machine = Machine::new();
    machine.file(kind::FILE_MKDIR, shell(), SYSTEM, "x.service.d");
    machine.file(kind::FILE_RMDIR, shell(), SYSTEM, "x.service.d");
    machine.file(kind::FILE_UNLINK, shell(), SYSTEM, "README");
    machine.symlink(shell(), RC_D, "README", "x");
    let neighbour = machine
        .record(kind::FILE_CREATE, shell())
        .path(RUN_USER, sensor_common::watch::ANY_CHILD, b"bob")
        .build();
    machine.feed(neighbour);
    let unknown = machine.record(kind::FILE_CREATE, shell()).path(4000, SUBTREE, b"x.service").build();
    machine.feed(unknown);
    machine.tick(SECOND);
    assert!(machine.alerts().is_empty());
}

#[test]
fn a_lower_layers_echo_is_no_second_write() {
    let mut machine = Machine::new();
    machine.write(shell(), SYSTEM, "x.service");
    let lower = machine
        .record(kind::FILE_CLOSE_WRITE, shell())
        .object(FileIdentity { inode: 9, device: 77, mode: 0o100_644, ..FileIdentity::default() })
        .path(SYSTEM, SUBTREE, b"x.service")
        .build();
    machine.feed(lower);
    machine.tick(11 * SECOND);
    assert_eq!(machine.one().collapsed, 0);
    assert_eq!(quiet(&machine, Quiet::Echo), 1);
}

#[test]
fn a_mount_that_comes_back_from_a_namespace_is_told_by_what_it_brings() {
    let foreign = TaskContext { mnt_ns: 99, ..task(950, 812) };
    let found = |watch, path: &str| crate::event::user::FileFound {
        watch,
        path: path.into(),
        target: None,
        mode: 0o100_644,
        uid: 0,
        replaces: true,
    };
    let mut machine = Machine::new();
    machine.baseline("/etc/systemd/system/known.service", "[Service]\nExecStart=/bin/true\n");
    let entry = sensor_common::watch::ENTRY;
    let mount = machine.record(kind::MOUNT, foreign).path(ETC_SYSTEMD, entry, b"system");
    machine.feed(mount.build());
    assert_eq!(machine.rules(), [""; 0], "so do services with a file system of their own");
    // The paths are walked again, and there is another directory.
    machine.user(kind::FILE_FOUND, &found(SYSTEM, "known.service"));
    machine.user(kind::FILE_FOUND, &found(SYSTEM, "README"));
    machine
        .files
        .insert(b"/etc/systemd/system/new.service".to_vec(), text_file("[Service]\nExecStart=/tmp/x\n"));
    machine.user(kind::FILE_FOUND, &found(SYSTEM, "new.service"));
    machine.tick(SECOND);
    let alerts = machine.alerts();
    let told: Vec<(&str, &str)> =
        alerts.iter().map(|alert| (alert.rule.id, &*alert.file.as_ref().expect("a file").path)).collect();
    let expected = [
        ("systemd.unit-directory.mounted-over", "/etc/systemd/system"),
        ("systemd.unit.written", "/etc/systemd/system/new.service"),
    ];
    assert_eq!(told, expected);
    assert_eq!(alerts[0].actor.process.pid, 950);
    assert_eq!(quiet(&machine, Quiet::Mounted), 1);
}
