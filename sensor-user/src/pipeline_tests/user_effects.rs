//! What the managers of users start.

use super::*;
use crate::detect::rule::Severity;
use crate::event::content::Name;

const UNITS: &str = "/home/alice/.config/systemd/user";
const MANAGER: u32 = 700;
const GROUP: u64 = 901;

/// alice's manager runs.
fn machine() -> (Machine, TaskContext) {
    let mut machine = Machine::new();
    let manager = machine.fork(init(), MANAGER);
    machine.exec(manager, "/usr/lib/systemd/systemd", 100, &["/lib/systemd/systemd", "--user"]);
    (machine, manager)
}

/// The manager forks a process into `unit`'s group, and it executes `program`.
fn start(machine: &mut Machine, manager: TaskContext, pid: u32, unit: &str, program: &str) {
    let path = format!("/user.slice/user-1000.slice/user@1000.service/app.slice/{unit}");
    machine.user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id: GROUP, path });
    let child = machine.fork(manager, pid);
    machine.exec(TaskContext { cgroup_id: GROUP, ..child }, program, 9000, &[program]);
}

fn put(machine: &mut Machine, path: &str, text: &str) {
    machine.files.insert(path.into(), text_file(text));
}

#[test]
fn what_was_seen_written_starts_quietly() {
    let (mut machine, manager) = machine();
    machine.baseline("/usr/lib/systemd/user/shared.service", "[Service]\nExecStart=/usr/bin/shared\n");
    machine.baseline(&format!("{UNITS}/own.service"), "[Service]\nExecStart=/usr/bin/own\n");
    put(
        &mut machine,
        "/run/user/1000/systemd/generator.late/app-x@autostart.service",
        "[Service]\nExecStart=/usr/bin/x\n",
    );
    for (pid, unit) in (2000..).zip(["shared.service", "own.service", "app-x@autostart.service"]) {
        start(&mut machine, manager, pid, unit, "/usr/bin/x");
    }
    assert!(machine.rules().is_empty());
    // Of a system service of the same name nothing is known.
    machine
        .user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id: 902, path: "/system.slice/own.service".into() });
    let child = machine.fork(init(), 2010);
    machine.exec(TaskContext { cgroup_id: 902, ..child }, "/usr/bin/x", 9000, &["x"]);
    assert_eq!(machine.rules(), ["systemd.service.unexplained"]);
}

#[test]
fn a_file_that_nobody_was_seen_writing_is_a_finding_when_a_user_manager_takes_it() {
    let (mut machine, manager) = machine();
    let path = format!("{UNITS}/own.service");
    machine.baseline(&path, "[Service]\nExecStart=/usr/bin/own\n");
    put(&mut machine, &path, "[Service]\nExecStart=/tmp/raw\n");
    start(&mut machine, manager, 2000, "own.service", "/tmp/raw");
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("systemd.unit.changed-unseen", Severity::Critical));
    let unit = alert.unit.as_ref().unwrap();
    assert_eq!(unit.scope, crate::subject::service::Scope::User);
    assert!(unit.changes.contains(&"ExecStart added: /tmp/raw".to_owned()), "{:?}", unit.changes);
    assert_eq!(alert.file.as_ref().unwrap().path, path);
}

#[test]
fn a_service_without_a_file_may_lie_elsewhere() {
    let (mut machine, manager) = machine();
    start(&mut machine, manager, 2000, "ghost.service", "/usr/bin/ghost");
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("systemd.service.unexplained", Severity::Medium));
    assert!(reasons(&alert).contains("-20 the user's manager may have been told to look elsewhere"));
    machine.files.insert(UNITS.into(), Found::Unreadable { error: "Permission denied".into() });
    machine.files.insert(
        format!("{UNITS}/other.service").into_bytes(),
        Found::Unreadable { error: "Permission denied".into() },
    );
    start(&mut machine, manager, 2001, "other.service", "/usr/bin/ghost");
    assert_eq!(machine.one().severity, Severity::Low);
}

#[test]
fn a_directory_that_is_reached_by_a_link_is_known_by_its_own_name() {
    let (mut machine, manager) = machine();
    let real = "/home/alice/dotfiles/units";
    let class = Some(WatchClass::UserUnit);
    machine.user(kind::WATCH, &Watch { watch: 80, path: real.into(), class, owner: Some(1000) });
    let link = Found::Symlink {
        target: real.into(),
        end: Box::new(Found::Directory { names: Vec::<Name>::new(), truncated: false }),
    };
    machine.user(
        kind::FILE_CONTENT,
        &FileContent { path: UNITS.into(), baseline: true, survey: None, found: link },
    );
    assert_eq!(machine.pipeline.follows().count(), 0, "it is watched by its own name");
    machine.baseline(&format!("{UNITS}/own.service"), "[Service]\nExecStart=/usr/bin/own\n");
    put(&mut machine, &format!("{real}/own.service"), "[Service]\nExecStart=/usr/bin/own\n");
    start(&mut machine, manager, 2000, "own.service", "/usr/bin/own");
    assert!(machine.rules().is_empty());
}

#[test]
fn of_users_whose_homes_are_not_known_nothing_is_compared() {
    let (mut machine, manager) = machine();
    machine.user(kind::USERS, &Users::default());
    start(&mut machine, manager, 2000, "ghost.service", "/usr/bin/ghost");
    assert!(machine.rules().is_empty());
}

#[test]
fn a_flood_of_services_is_bounded() {
    let (mut machine, manager) = machine();
    for number in 0..400 {
        start(&mut machine, manager, 3000 + number, &format!("ghost-{number}.service"), "/usr/bin/ghost");
    }
    let told = machine.rules().len();
    assert!((5..200).contains(&told), "{told}");
    // The system's are looked at all the same.
    let id = 903;
    machine.user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id, path: "/system.slice/g.service".into() });
    let child = machine.fork(init(), 4000);
    machine.exec(TaskContext { cgroup_id: id, ..child }, "/usr/bin/x", 9000, &["x"]);
    assert_eq!(machine.rules(), ["systemd.service.unexplained"]);
}
