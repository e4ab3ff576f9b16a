//! Files out of which units take variables (`EnvironmentFile=`).

use super::*;
use crate::detect::follow::Follow;
use crate::detect::rule::Severity;
use crate::event::content::Name;

const DEFAULTS: u32 = 60;
const ETC_DEFAULT_SSH: &str = "/etc/default/ssh";
const SSH: &str = "/usr/lib/systemd/system/ssh.service";
const SSH_TEXT: &str =
    "[Service]\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\nEnvironmentFile=-/etc/default/ssh\n";

fn machine() -> Machine {
    let mut machine = Machine::new();
    let class = Some(WatchClass::ServiceEnvironment);
    machine.user(kind::WATCH, &Watch { watch: DEFAULTS, path: "/etc/default".into(), class, owner: None });
    machine
}

fn changes(alert: &Alert) -> Vec<&str> {
    alert.unit.as_ref().map(|unit| unit.changes.iter().map(String::as_str).collect()).unwrap_or_default()
}

fn put(machine: &mut Machine, path: &str, text: &str) {
    machine.files.insert(path.into(), text_file(text));
}

#[test]
fn a_file_written_after_its_unit_is_told_by_what_it_makes_of_the_unit() {
    let mut machine = machine();
    machine.baseline(ETC_DEFAULT_SSH, "SSHD_OPTS=\n");
    machine.baseline(SSH, SSH_TEXT);
    put(&mut machine, ETC_DEFAULT_SSH, "# options\nSSHD_OPTS='-o PermitRootLogin=yes'\n");
    machine.write(shell(), DEFAULTS, "ssh");
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("systemd.environment-file.written", Severity::Low));
    assert_eq!(
        changes(&alert),
        [
            "ssh.service: ExecStart becomes: /usr/sbin/sshd -D -o PermitRootLogin=yes",
            "ssh.service: /etc/default/ssh: SSHD_OPTS= -> SSHD_OPTS=-o PermitRootLogin=yes",
        ]
    );
    assert!(reasons(&alert).contains("+0 ssh.service takes variables from it"));

    put(&mut machine, ETC_DEFAULT_SSH, "SSHD_OPTS=\nLD_PRELOAD=/tmp/x.so\n");
    machine.tick(20 * SECOND);
    machine.write(shell(), DEFAULTS, "ssh");
    let alert = machine.one();
    assert_eq!(alert.severity, Severity::High, "{}", reasons(&alert));
    assert_eq!(alert.unit.as_ref().unwrap().signals, ["environment.loads"]);
    assert!(
        reasons(&alert).contains(
            "+15 LD_PRELOAD=/tmp/x.so makes programs load or run something else (out of /etc/default/ssh)"
        ),
        "{}",
        reasons(&alert)
    );
    assert!(reasons(&alert).contains("+15 ssh.service runs with that when it is started next"));

    machine.tick(20 * SECOND);
    machine.files.remove(ETC_DEFAULT_SSH.as_bytes());
    machine.file(kind::FILE_UNLINK, shell(), DEFAULTS, "ssh");
    let alert = machine.one();
    assert_eq!(alert.rule.id, "startup.entry.removed");
    assert_eq!(
        changes(&alert),
        [
            "ssh.service: /etc/default/ssh does not set LD_PRELOAD=/tmp/x.so any more",
            "ssh.service: /etc/default/ssh does not set SSHD_OPTS= any more",
        ]
    );
}

#[test]
fn of_a_file_that_no_known_unit_takes_the_variables_are_told() {
    let mut machine = machine();
    put(&mut machine, "/etc/default/other", "A=1\nLD_AUDIT=/opt/x.so\n");
    machine.write(shell(), DEFAULTS, "other");
    let alert = machine.one();
    assert_eq!(
        changes(&alert),
        ["/etc/default/other sets A=1", "/etc/default/other sets LD_AUDIT=/opt/x.so"]
    );
    assert_eq!(alert.severity, Severity::High, "{}", reasons(&alert));
}

#[test]
fn a_file_that_was_there_before_its_unit_is_read_and_watched_with_the_unit() {
    let mut machine = machine();
    put(&mut machine, "/opt/app/env", "MODE=serve\nLD_PRELOAD=/opt/app/x.so\n");
    let text =
        "[Service]\nExecStart=/usr/bin/app ${MODE}\nEnvironment=MODE=idle\nEnvironmentFile=/opt/app/env\n";
    put(&mut machine, "/etc/systemd/system/app.service", text);
    machine.write(shell(), SYSTEM, "app.service");
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.unit.written");
    let told = changes(&alert);
    for change in ["/opt/app/env sets LD_PRELOAD=/opt/app/x.so", "/opt/app/env sets MODE=serve"] {
        assert!(told.contains(&change), "{told:?}");
    }
    assert!(alert.unit.as_ref().unwrap().signals.contains(&"environment.loads"));
    let follow = Follow { path: "/opt/app/env".into(), class: WatchClass::EnvironmentFile };
    assert_eq!(machine.pipeline.follows().collect::<Vec<_>>(), [follow]);

    let class = Some(WatchClass::EnvironmentFile);
    machine.user(kind::WATCH, &Watch { watch: 61, path: "/opt/app/env".into(), class, owner: None });
    put(&mut machine, "/opt/app/env", "MODE=serve --root\n");
    let close = machine.record(kind::FILE_CLOSE_WRITE, shell()).path(61, sensor_common::watch::FILE, b"x");
    machine.feed(close.build());
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.environment-file.written");
    let told = changes(&alert);
    assert_eq!(told[0], "app.service: ExecStart becomes: /usr/bin/app 'serve --root'");
    let close = machine.record(kind::FILE_UNLINK, shell()).path(61, sensor_common::watch::FILE, b"x");
    machine.files.remove(&b"/opt/app/env"[..]);
    machine.feed(close.build());
    let alert = machine.one();
    assert_eq!(changes(&alert)[0], "app.service: ExecStart becomes: /usr/bin/app idle");
}

#[test]
fn what_packaged_units_name_elsewhere_is_read_and_watched_from_the_start() {
    let mut machine = machine();
    put(&mut machine, "/etc/rpcbind.conf", "OPTIONS=-w\n");
    let text = "[Service]\nExecStart=/sbin/rpcbind $OPTIONS\nEnvironmentFile=-/etc/rpcbind.conf\nEnvironmentFile=-/etc/default/rpcbind\n";
    machine.baseline("/usr/lib/systemd/system/rpcbind.service", text);
    let follows: Vec<String> = machine.pipeline.follows().map(|follow| follow.path).collect();
    assert_eq!(follows, ["/etc/rpcbind.conf"], "the other lies where everything is watched");
    put(&mut machine, "/etc/default/rpcbind", "OPTIONS='-w -h 0.0.0.0'\n");
    machine.write(shell(), DEFAULTS, "rpcbind");
    assert_eq!(
        changes(&machine.one())[1],
        "rpcbind.service: /etc/default/rpcbind: OPTIONS=-w -> OPTIONS=-w -h 0.0.0.0"
    );
}

#[test]
fn a_pattern_means_what_its_directory_holds() {
    let mut machine = machine();
    for (name, text) in [("a.env", "A=1\n"), ("b.env", "A=2\n"), ("c.txt", "A=3\n")] {
        put(&mut machine, &format!("/etc/app.d/{name}"), text);
    }
    let text = "[Service]\nExecStart=/usr/bin/app $A\nEnvironmentFile=/etc/app.d/*.env\n";
    put(&mut machine, "/etc/systemd/system/app.service", text);
    machine.write(shell(), SYSTEM, "app.service");
    let alert = machine.one();
    let told = changes(&alert);
    assert!(told.contains(&"/etc/app.d/b.env sets A=2"), "{told:?}");
    assert!(!told.iter().any(|change| change.contains("c.txt")), "{told:?}");
    let follows: Vec<String> = machine.pipeline.follows().map(|follow| follow.path).collect();
    assert_eq!(follows, ["/etc/app.d/a.env", "/etc/app.d/b.env"]);
}

#[test]
fn nobody_has_what_they_may_not_read_told() {
    let mut machine = machine();
    put(&mut machine, "/etc/shadow", "root=secret\n");
    put(&mut machine, "/proc/1/environ", "A=1\n");
    put(&mut machine, "/home/alice/env", "A=1\n");
    let text = "[Service]\nExecStart=/usr/bin/app\nEnvironmentFile=/etc/shadow\nEnvironmentFile=%h/env\n";
    put(&mut machine, "/home/alice/.config/systemd/user/app.service", text);
    machine.write(shell(), USER, "app.service");
    let alert = machine.one();
    let told = changes(&alert);
    assert!(told.contains(&"/home/alice/env sets A=1"), "{told:?}");
    assert!(!told.iter().any(|change| change.contains("secret")), "{told:?}");
    let text =
        "[Service]\nExecStart=/usr/bin/app\nEnvironmentFile=/proc/1/environ\nEnvironmentFile=/opt/key\n";
    put(&mut machine, "/etc/systemd/system/app.service", text);
    let Found::Regular(key) = text_file("KEY=secret\n") else { unreachable!("a regular file") };
    machine.files.insert(b"/opt/key".to_vec(), Found::Regular(Regular { mode: 0o100_600, ..key }));
    machine.write(shell(), SYSTEM, "app.service");
    let alert = machine.one();
    let told = changes(&alert).join("\n");
    assert!(told.contains("/opt/key sets KEY (its value is not told"), "{told}");
    assert!(!told.contains("secret") && !told.contains("/proc/1/environ sets"), "{told}");
    let read = machine.records.iter().filter(|record| record.windows(11).any(|part| part == b"/etc/shadow"));
    assert_eq!(read.filter(|record| record.windows(11).any(|part| part == b"root=secret")).count(), 0);
}

#[test]
fn a_unit_that_is_named_as_a_file_of_variables_stays_a_unit() {
    let mut machine = machine();
    let unit = "/etc/systemd/system/evil.service";
    let text = format!("[Service]\nExecStart=/tmp/x\nEnvironmentFile={unit}\n");
    put(&mut machine, unit, &text);
    machine.write(shell(), SYSTEM, "evil.service");
    let alert = machine.one();
    assert!(changes(&alert).contains(&"ExecStart added: /tmp/x"), "{:?}", changes(&alert));
}

#[test]
fn a_directory_that_replaces_drop_ins_waits_for_variables_as_well() {
    let mut machine = machine();
    machine.baseline(SSH, SSH_TEXT);
    let directory = "/etc/systemd/system/ssh.service.d";
    put(&mut machine, "/opt/env", "SSHD_OPTS=-x\n");
    put(&mut machine, &format!("{directory}/x.conf"), "[Service]\nEnvironmentFile=/opt/env\n");
    let names = vec![Name(b"x.conf".to_vec())];
    machine.files.insert(directory.into(), Found::Directory { names, truncated: false });
    machine.rename(shell(), (NONE, "/root/d"), (SYSTEM, "ssh.service.d"));
    let alert = machine.one();
    assert_eq!(changes(&alert)[0], "ExecStart becomes: /usr/sbin/sshd -D -x");
}
