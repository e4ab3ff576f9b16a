//! Changes of units.

use super::*;
use crate::detect::rule::Severity;
use crate::subject::service::{Scope, UnitPart};

#[test]
fn a_unit_written_by_a_shell_is_one_alert_with_everything_in_it() {
    let mut machine = Machine::new();
    let begin = machine.now;
    machine.write(shell(), SYSTEM, "evil.service");
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.unit.written");
    assert_eq!((alert.severity, alert.score), (Severity::High, 70));
    assert_eq!(
        alert.summary,
        "bash (pid 812, root, login alice) wrote unit evil.service in /etc/systemd/system"
    );
    assert_eq!(alert.actions, ["file_create", "file_open_write", "file_close_write"]);
    assert_eq!(alert.event_type, "creation");
    assert_eq!(alert.boottime_ns, begin);
    assert_eq!(alert.time_us, 1_700_000_000_000_000 + i64::try_from(begin / 1000).expect("a small time"));
    let file = alert.file.expect("a file");
    assert_eq!((file.path.as_str(), file.inode), ("/etc/systemd/system/evil.service", 4711));
    let unit = alert.unit.expect("a unit");
    assert_eq!(
        (unit.name.as_str(), unit.part, unit.scope),
        ("evil.service", UnitPart::Fragment, Scope::System)
    );
    assert_eq!(alert.actor.process.executable, "/usr/bin/bash");
    assert_eq!(alert.actor.ancestors.iter().map(|process| process.pid).collect::<Vec<_>>(), [1]);
    assert_eq!(alert.actor.unit.as_deref(), Some("session-3.scope"));
    assert_eq!(alert.actor.on_behalf_of, None);
    assert_eq!(alert.host.hostname, "host");
    assert_eq!(alert.id.len(), 32);
}

#[test]
fn every_road_to_a_unit_is_told() {
    type Road = fn(&mut Machine);
    let roads: [(&str, Road); 12] = [
        ("systemd.unit.written", |m| m.rename(shell(), (NONE, "/tmp/x"), (SYSTEM, "evil.service"))),
        ("systemd.unit.written", |m| m.rename(shell(), (SYSTEM, "sedAbCdEf"), (SYSTEM, "evil.service"))),
        ("systemd.unit.written", |m| m.file(kind::FILE_LINK, shell(), SYSTEM, "evil.timer")),
        ("systemd.unit.linked", |m| m.symlink(shell(), SYSTEM, "evil.service", "/opt/evil.service")),
        ("systemd.unit.enabled", |m| {
            m.symlink(shell(), SYSTEM, "dbus-org.x.service", "/lib/systemd/system/x.service");
        }),
        ("systemd.unit.enabled", |m| {
            m.symlink(shell(), SYSTEM, "a.target.wants/evil.service", "../evil.service");
        }),
        ("systemd.unit.masked", |m| m.symlink(shell(), SYSTEM, "auditd.service", "/dev/null")),
        ("systemd.dropin.written", |m| m.write(shell(), SYSTEM, "ssh.service.d/x.conf")),
        ("systemd.dropin.written", |m| m.symlink(shell(), SYSTEM, "ssh.service.d", "/opt/d")),
        ("systemd.unit.written", |m| m.write(shell(), USER, "evil.service")),
        ("systemd.init-script.written", |m| m.write(shell(), INIT_D, "evil")),
        ("systemd.runlevel-link.set", |m| m.symlink(shell(), RC_D, "S20evil", "../init.d/evil")),
    ];
    for (at, (rule, road)) in roads.into_iter().enumerate() {
        let mut machine = Machine::new();
        road(&mut machine);
        assert_eq!(machine.rules(), [rule], "road {at}");
    }
}

#[test]
fn a_write_that_is_not_closed_is_told_after_a_quarter_of_a_second() {
    for kind in [kind::FILE_OPEN_WRITE, kind::FILE_TRUNCATE, kind::FILE_MMAP_WRITE] {
        let mut machine = Machine::new();
        machine.file(kind, shell(), SYSTEM, "evil.service");
        assert_eq!(machine.pipeline.next_deadline(), Some(machine.now - MS + 250 * MS));
        machine.tick(248 * MS);
        assert!(machine.alerts().is_empty());
        machine.tick(MS);
        let alert = machine.one();
        assert_eq!(alert.rule.id, "systemd.unit.written");
        assert_eq!(machine.pipeline.next_deadline(), None);
    }
}

#[test]
fn a_descriptor_inherited_by_a_child_closes_the_parents_write() {
    let mut machine = Machine::new();
    machine.file(kind::FILE_OPEN_WRITE, shell(), SYSTEM, "evil.service");
    let child = machine.fork(shell(), 900);
    machine.exec(child, "/usr/bin/cat", 5, &["cat"]);
    machine.file(kind::FILE_CLOSE_WRITE, child, SYSTEM, "evil.service");
    let alert = machine.one();
    assert_eq!(alert.actions, ["file_open_write", "file_close_write"]);
    assert_eq!(alert.actor.process.pid, SHELL);
}

#[test]
fn systemctl_enable_names_the_client_behind_pid_1() {
    let mut machine = Machine::new();
    let client = machine.fork(shell(), 900);
    machine.exec(client, "/usr/bin/systemctl", 50, &["systemctl", "enable", "evil.service"]);
    let other = machine.fork(shell(), 901);
    machine.exec(other, "/usr/bin/systemctl", 50, &["systemctl", "start", "other"]);
    machine.exit(client);
    machine.tick(SECOND);
    machine.symlink(
        init(),
        SYSTEM,
        "multi-user.target.wants/evil.service",
        "/etc/systemd/system/evil.service",
    );
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.unit.enabled");
    assert_eq!(alert.actor.process.pid, 1);
    assert!(reasons(&alert).contains("+0 made by the service manager on a client's request"));
    let requester = alert.actor.on_behalf_of.as_ref().expect("a client");
    assert_eq!(requester.confidence, "recent-client");
    let pids: Vec<u32> = requester.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [900, SHELL, 1], "the one that names the unit, though another is later");
    assert_eq!(
        alert.summary,
        "systemd (pid 1, root) enabled unit evil.service in multi-user.target.wants \
         (a link to /etc/systemd/system/evil.service), probably for systemctl (pid 900, root, login alice)"
    );
}

#[test]
fn nobody_is_named_where_no_client_ran() {
    let mut machine = Machine::new();
    let client = machine.fork(shell(), 900);
    machine.exec(client, "/usr/bin/systemctl", 50, &["systemctl", "enable", "evil.service"]);
    machine.exit(client);
    let query = machine.fork(shell(), 901);
    machine.exec(query, "/usr/bin/systemctl", 50, &["systemctl", "--no-pager", "status", "evil.service"]);
    machine.tick(3 * SECOND);
    machine.symlink(init(), SYSTEM, "a.target.wants/evil.service", "../evil.service");
    assert_eq!(machine.one().actor.on_behalf_of, None);
}

#[test]
fn reasons_raise_the_score() {
    let container = TaskContext { cgroup_id: 78, mnt_ns: 99, ..task(950, 812) };
    let mut machine = Machine::new();
    let id = "a".repeat(64);
    machine.user(
        kind::CGROUP_SNAPSHOT,
        &CgroupSnapshot { id: 78, path: format!("/system.slice/docker-{id}.scope") },
    );
    machine.write(container, SYSTEM, "evil.service");
    let alert = machine.one();
    assert_eq!((alert.severity, alert.score), (Severity::Critical, 90));
    assert!(alert.actor.foreign_mount_namespace);
    assert_eq!(alert.actor.container.as_ref().expect("a container").id, id);
    assert!(alert.summary.contains("in container aaaaaaaaaaaa wrote"), "{}", alert.summary);

    machine.write(shell(), SYSTEM, "service.d/x.conf");
    let alert = machine.one();
    assert_eq!(alert.severity, Severity::Critical);
    assert!(reasons(&alert).contains("+15 it applies to every service"));
    assert!(alert.summary.contains("wrote drop-in x.conf of every service"), "{}", alert.summary);

    machine.symlink(shell(), SYSTEM, "x.service", "/dev/shm/x.service");
    let alert = machine.one();
    assert!(reasons(&alert).contains("+15 it leads to where anyone may put files"));

    let child = machine.fork(shell(), 960);
    let memfd = sensor_common::record::flags::EXE_MEMFD;
    machine.exec_flagged(child, "/memfd:x", "/dev/fd/3", 9, &["x"], memfd);
    machine.write(child, SYSTEM, "m.service");
    assert!(reasons(&machine.one()).contains("+20 the process runs a program that is in no filesystem"));

    let writable = machine
        .record(kind::FILE_RENAME, shell())
        .path(SYSTEM, SUBTREE, b"w.service")
        .other(NONE, 0, b"/tmp/w")
        .object(FileIdentity { mode: 0o100_666, inode: 1, uid: 1000, ..FileIdentity::default() });
    machine.feed(writable.build());
    let said = reasons(&machine.one());
    for reason in
        ["+10 everyone may write", "+5 it belongs to user alice (1000)", "+5 it was moved from where anyone"]
    {
        assert!(said.contains(reason), "{reason} in {said}");
    }
}

#[test]
fn attributes_alone_are_low_and_an_executable_generator_is_not() {
    let mut machine = Machine::new();
    let chmod = |m: &Machine, watch, path: &str, old, new: u64| {
        m.record(kind::FILE_ATTRIBUTE, shell())
            .path(watch, SUBTREE, path.as_bytes())
            .object(FileIdentity { mode: old, inode: 5, device: 8, ..FileIdentity::default() })
            .argument(1 << 32 | new)
            .build()
    };
    let record = chmod(&machine, SYSTEM, "x.service", 0o100_644, 0o600);
    machine.feed(record);
    machine.tick(SECOND);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("systemd.unit.attributes-changed", Severity::Low));

    let record = chmod(&machine, GENERATORS, "evil", 0o100_644, 0o755);
    machine.feed(record);
    machine.tick(SECOND);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("systemd.generator.written", Severity::Critical));
    assert!(alert.summary.contains("made executable generator evil"), "{}", alert.summary);
}

#[test]
fn a_program_among_units_counts_for_more_than_a_text() {
    let mut machine = Machine::new();
    let record = |m: &Machine, kind, mode: u32, to: u64| {
        m.record(kind, shell())
            .path(SYSTEM, SUBTREE, b"agent")
            .object(FileIdentity { mode, inode: 5, device: 8, ..FileIdentity::default() })
            .argument(to)
            .build()
    };
    for (kind, mode, to, severity) in [
        (kind::FILE_CLOSE_WRITE, 0o100_644, 0, Severity::Medium),
        (kind::FILE_CLOSE_WRITE, 0o100_755, 0, Severity::High),
        (kind::FILE_ATTRIBUTE, 0o100_600, 1 << 32 | 0o755, Severity::High),
    ] {
        machine.tick(11 * SECOND);
        let record = record(&machine, kind, mode, to);
        machine.feed(record);
        machine.tick(SECOND);
        let alert = machine.one();
        assert_eq!(alert.rule.id, "systemd.unit-directory.file-written");
        assert_eq!(alert.severity, severity, "{}", reasons(&alert));
    }
}

#[test]
fn content_and_attributes_together_are_content() {
    let mut machine = Machine::new();
    let chmod = machine
        .record(kind::FILE_ATTRIBUTE, shell())
        .path(SYSTEM, SUBTREE, b"x.service")
        .argument(1 << 32 | 0o666);
    machine.feed(chmod.build());
    machine.file(kind::FILE_OPEN_WRITE, shell(), SYSTEM, "x.service");
    machine.file(kind::FILE_CLOSE_WRITE, shell(), SYSTEM, "x.service");
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.unit.written");
    assert_eq!(alert.actions, ["file_attribute", "file_open_write", "file_close_write"]);
    assert_eq!(alert.score, 80, "{}", reasons(&alert));
    assert_eq!(alert.reasons.iter().filter(|reason| reason.points >= 30).count(), 1);
}

#[test]
fn removal_is_low_and_follows_what_it_removes() {
    let mut machine = Machine::new();
    machine.file(kind::FILE_OPEN_WRITE, shell(), SYSTEM, "x.service");
    machine.file(kind::FILE_UNLINK, shell(), SYSTEM, "x.service");
    let alerts = machine.alerts();
    assert_eq!(
        alerts.iter().map(|alert| alert.rule.id).collect::<Vec<_>>(),
        ["systemd.unit.written", "systemd.unit.removed"]
    );
    assert_eq!((alerts[1].severity, alerts[1].event_type), (Severity::Low, "deletion"));
    machine.rename(shell(), (SYSTEM, "y.service"), (NONE, "/root/y.service"));
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.unit.removed");
    assert_eq!(alert.file.expect("a file").path, "/etc/systemd/system/y.service");
    assert!(alert.summary.contains("moved away unit y.service in /etc/systemd/system (to /root/y.service)"));
}

#[test]
fn a_forced_link_keeps_its_target_through_the_rename() {
    let mut machine = Machine::new();
    machine.symlink(shell(), SYSTEM, "CuAbCdEf", "/tmp/evil.service");
    machine.rename(shell(), (SYSTEM, "CuAbCdEf"), (SYSTEM, "evil.service"));
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.unit.linked");
    assert_eq!(alert.file.as_ref().expect("a file").target.as_deref(), Some("/tmp/evil.service"));
    assert_eq!(alert.unit.expect("a unit").part, UnitPart::Alias);
}

#[test]
fn a_generator_under_an_unfinished_name_waits_for_its_rename() {
    let mut machine = Machine::new();
    machine.write(shell(), GENERATORS, "gen;0123abcd");
    assert!(machine.alerts().is_empty());
    machine.rename(shell(), (GENERATORS, "gen;0123abcd"), (GENERATORS, "gen"));
    let alert = machine.one();
    assert_eq!(alert.unit.expect("a unit").name, "gen");
    assert_eq!(alert.actions, ["file_create", "file_open_write", "file_close_write", "file_rename"]);
    // One that stays is told under its own name: systemd runs it.
    machine.write(shell(), GENERATORS, "sedAbCdEf");
    machine.tick(SECOND);
    assert_eq!(machine.one().unit.expect("a unit").name, "sedAbCdEf");
}

#[test]
fn a_hard_link_leads_back_to_the_unit() {
    let mut machine = Machine::new();
    machine.write(shell(), SYSTEM, "x.service");
    machine.alerts();
    machine.tick(20 * SECOND);
    let record = machine
        .record(kind::FILE_CLOSE_WRITE, shell())
        .path(SYSTEM, sensor_common::watch::FILE, b"/srv/alias")
        .build();
    machine.feed(record);
    let alert = machine.one();
    let file = alert.file.as_ref().expect("a file");
    assert_eq!(
        (file.path.as_str(), file.other_path.as_deref()),
        ("/etc/systemd/system/x.service", Some("/srv/alias"))
    );
    assert!(reasons(&alert).contains("+10 it was reached under another name"));
}

#[test]
fn unit_directories_are_guarded_themselves() {
    let mut machine = Machine::new();
    let entry = sensor_common::watch::ENTRY;
    let mount = machine.record(kind::MOUNT, shell()).path(ETC_SYSTEMD, entry, b"system").extra(b"tmpfs");
    machine.feed(mount.build());
    assert_eq!(machine.rules(), ["systemd.unit-directory.mounted-over"]);
    let over_a_unit = machine.record(kind::MOUNT, shell()).path(SYSTEM, SUBTREE, b"ssh.service");
    machine.feed(over_a_unit.build());
    assert_eq!(machine.rules(), ["systemd.unit-directory.mounted-over"]);
    let moved = machine
        .record(kind::FILE_RENAME, shell())
        .path(ETC_SYSTEMD, entry, b"system")
        .other(NONE, 0, b"/opt/system")
        .build();
    machine.feed(moved);
    assert_eq!(machine.rules(), ["systemd.unit-directory.replaced"]);
}

#[test]
fn what_was_there_before_its_watch_is_told_once() {
    let mut machine = Machine::new();
    let found = |path: &str| crate::event::user::FileFound {
        watch: USER,
        path: path.into(),
        target: None,
        mode: 0o100_644,
        uid: 1000,
        replaces: false,
    };
    machine.user(kind::FILE_FOUND, &found("early.service"));
    let alert = machine.one();
    assert_eq!(alert.actions, ["file_found"]);
    assert!(alert.actor.process.incomplete);
    assert!(
        alert.summary.starts_with("somebody unseen made unit early.service in /home/alice"),
        "{}",
        alert.summary
    );
    machine.write(shell(), USER, "seen.service");
    machine.alerts();
    machine.user(kind::FILE_FOUND, &found("seen.service"));
    machine.user(kind::FILE_FOUND, &found("README"));
    assert_eq!(machine.rules(), ["systemd.unit-directory.file-written"]);
}

#[test]
fn a_users_manager_is_known_by_its_file_though_the_device_is_told_otherwise() {
    let mut machine = Machine::new();
    let manager = machine.fork(init(), 700);
    // PID 1 is known from stat(2), with device 8; btrfs has another one in the kernel.
    let parts = ExecParts {
        task: manager,
        exe: FileIdentity { device: 55, inode: 100, ..FileIdentity::default() },
        exe_path: b"/usr/lib/systemd/systemd",
        args: &[b"/lib/systemd/systemd", b"--user"],
        ..ExecParts::default()
    };
    let record = encode_exec(machine.now, &parts);
    machine.feed(record);
    let client = machine.fork(shell(), 900);
    machine.exec(client, "/usr/bin/systemctl", 50, &["systemctl", "--user", "enable", "x"]);
    machine.symlink(manager, USER, "default.target.wants/x.service", "../x.service");
    assert_eq!(machine.one().actor.on_behalf_of.expect("a client").processes[0].pid, 900);
    // The same path in a namespace of its own proves nothing.
    let false_one = TaskContext { mnt_ns: 99, ..task(701, 812) };
    let record = encode_exec(machine.now, &ExecParts { task: false_one, ..parts });
    machine.feed(record);
    machine.symlink(false_one, USER, "default.target.wants/y.service", "../y.service");
    assert_eq!(machine.one().actor.on_behalf_of, None);
}

#[test]
fn an_editor_that_moves_the_old_unit_aside_wrote_it() {
    let mut machine = Machine::new();
    machine.answers = false;
    machine.rename(shell(), (SYSTEM, "x.service"), (SYSTEM, "x.service~"));
    machine.write(shell(), SYSTEM, "x.service");
    machine.tick(SECOND);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.score), ("systemd.unit.written", 70));
    assert!(alert.summary.ends_with("wrote unit x.service in /etc/systemd/system"), "{}", alert.summary);
    assert_eq!(alert.actions[0], "file_rename");
}
