//! Units that name one another.

use super::*;
use crate::detect::rule::Severity;

fn changes(alert: &Alert) -> String {
    alert.unit.as_ref().map(|unit| unit.changes.join("\n")).unwrap_or_default()
}

fn put(machine: &mut Machine, path: &str, text: &str) {
    machine.files.insert(path.into(), text_file(text));
}

#[test]
fn a_new_unit_that_others_name_is_told_with_them() {
    let mut machine = Machine::new();
    machine.baseline(
        "/usr/lib/systemd/system/backup.service",
        "[Unit]\nOnFailure=evil.service\n[Service]\nExecStart=/usr/bin/backup\n",
    );
    machine.baseline("/usr/lib/systemd/system/evil.timer", "[Timer]\nOnBootSec=1\n");
    put(&mut machine, "/etc/systemd/system/evil.service", "[Service]\nExecStart=/usr/bin/x\n");
    machine.write(shell(), SYSTEM, "evil.service");
    assert_eq!(
        changes(&machine.one()),
        "is new\nExecStart added: /usr/bin/x\nis started by evil.timer, which is called like it\n\
         is started by backup.service (OnFailure=)"
    );
    // Changed later, it is started as before: no change, and worth to know.
    put(&mut machine, "/etc/systemd/system/evil.service", "[Service]\nExecStart=/usr/bin/y\n");
    machine.tick(20 * SECOND);
    machine.write(shell(), SYSTEM, "evil.service");
    let alert = machine.one();
    assert!(!changes(&alert).contains("backup.service"), "{}", changes(&alert));
    assert!(reasons(&alert).contains("+0 evil.service is started by backup.service (OnFailure=)"));
}

#[test]
fn a_drop_in_that_names_a_unit_is_told_with_what_that_runs() {
    let mut machine = Machine::new();
    machine.baseline("/usr/lib/systemd/system/ssh.service", "[Service]\nExecStart=/usr/sbin/sshd -D\n");
    machine.baseline("/etc/systemd/system/evil.service", "[Service]\nExecStart=/tmp/x --quiet\n");
    put(
        &mut machine,
        "/etc/systemd/system/ssh.service.d/x.conf",
        "[Unit]\nOnFailure=evil.service\nWants=later.service\n",
    );
    machine.write(shell(), SYSTEM, "ssh.service.d/x.conf");
    let alert = machine.one();
    assert_eq!(
        changes(&alert),
        "Wants added: later.service\nOnFailure added: evil.service\nevil.service runs /tmp/x --quiet\n\
         of later.service there is no unit file"
    );
    assert!(
        reasons(&alert).contains("+15 evil.service: /tmp/x lies where everybody may write"),
        "{}",
        reasons(&alert)
    );
    assert_eq!(alert.severity, Severity::Critical);
    // Told once: what it starts already is no change.
    machine.tick(20 * SECOND);
    put(
        &mut machine,
        "/etc/systemd/system/ssh.service.d/x.conf",
        "[Unit]\nOnFailure=evil.service\nWants=later.service\n[Service]\nNice=1\nUser=x\n",
    );
    machine.write(shell(), SYSTEM, "ssh.service.d/x.conf");
    let alert = machine.one();
    assert_eq!(changes(&alert), "User: the manager's own -> x");
}

#[test]
fn a_timer_is_told_with_what_it_starts() {
    let mut machine = Machine::new();
    machine.baseline("/etc/systemd/system/job.service", "[Service]\nExecStart=/opt/job\n");
    put(&mut machine, "/etc/systemd/system/job.timer", "[Timer]\nOnBootSec=1\n");
    machine.write(shell(), SYSTEM, "job.timer");
    assert!(changes(&machine.one()).ends_with("job.service runs /opt/job"));
}

#[test]
fn many_that_name_it_are_cut() {
    let mut machine = Machine::new();
    for number in 0..20 {
        let path = format!("/usr/lib/systemd/system/a{number}.service");
        machine.baseline(&path, "[Unit]\nWants=evil.service\n[Service]\nExecStart=/x\n");
    }
    put(&mut machine, "/etc/systemd/system/evil.service", "[Service]\nExecStart=/usr/bin/x\n");
    machine.write(shell(), SYSTEM, "evil.service");
    assert_eq!(changes(&machine.one()).matches("is started by").count(), 4);
}
