//! Who asked a service manager.

use sensor_common::record::{Header, IpcRecord};

use super::*;
use crate::detect::rule::Severity;
use crate::event::encode::encode_send;
use crate::subject::dbus::tests::Message;

impl Machine {
    fn send(&mut self, task: TaskContext, watch: u32, message: &Message) {
        let fixed = IpcRecord {
            header: Header { boottime_ns: self.now, ..Header::default() },
            task,
            connection: u64::from(task.tgid) << 8 | u64::from(watch),
            watch,
            ..IpcRecord::default()
        };
        self.feed(encode_send(&fixed, &message.build()));
    }

    fn enabled(&mut self, unit: &str) -> Alert {
        let link = format!("multi-user.target.wants/{unit}");
        self.symlink(init(), SYSTEM, &link, &format!("/etc/systemd/system/{unit}"));
        self.one()
    }
}

fn enable(unit: &str) -> Message {
    Message::manager("EnableUnitFiles").signature("asbb").texts(&[unit]).bool(false).bool(false)
}

fn set_environment(variable: &str) -> Message {
    Message::manager("SetEnvironment").signature("as").texts(&[variable])
}

#[test]
fn what_pid_1_does_is_told_with_the_client_that_asked_for_it() {
    let mut machine = Machine::new();
    let client = machine.fork(shell(), 900);
    machine.exec(client, "/usr/bin/python3", 60, &["python3", "-c", "..."]);
    machine.send(client, PRIVATE, &enable("evil.service"));
    assert!(machine.alerts().is_empty(), "a request alone changes nothing");
    // systemctl runs as well, and is not it.
    let other = machine.fork(shell(), 901);
    machine.exec(other, "/usr/bin/systemctl", 50, &["systemctl", "enable", "evil.service"]);
    machine.exit(client);
    machine.tick(SECOND);
    let alert = machine.enabled("evil.service");
    let requester = alert.actor.on_behalf_of.as_ref().expect("a client");
    assert_eq!(requester.confidence, "request");
    assert_eq!(requester.request.as_deref(), Some("to enable evil.service (EnableUnitFiles)"));
    let pids: Vec<u32> = requester.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [900, SHELL, 1]);
    assert!(
        alert.summary.ends_with(
            ", asked by other (pid 900, root, login alice) to enable evil.service (EnableUnitFiles)"
        ),
        "{}",
        alert.summary
    );
}

#[test]
fn a_request_over_the_bus_counts_and_one_to_another_manager_does_not() {
    let mut machine = Machine::new();
    let mut message = enable("evil.service");
    message.destination = "org.freedesktop.systemd1".into();
    machine.send(shell(), BUS, &message);
    let alert = machine.enabled("evil.service");
    assert_eq!(alert.actor.on_behalf_of.expect("a client").confidence, "request");

    let mut machine = Machine::new();
    machine.send(shell(), USER_PRIVATE, &enable("evil.service"));
    assert_eq!(machine.enabled("evil.service").actor.on_behalf_of, None);
}

#[test]
fn a_request_that_names_something_else_counts_for_seconds_only() {
    let mut machine = Machine::new();
    machine.send(shell(), PRIVATE, &enable("other.service"));
    let alert = machine.enabled("alias.service");
    assert_eq!(alert.actor.on_behalf_of.expect("a client").confidence, "recent-request");
    machine.tick(20 * SECOND);
    assert_eq!(machine.enabled("late.service").actor.on_behalf_of, None);
}

#[test]
fn variables_for_every_service_are_a_finding() {
    let mut machine = Machine::new();
    machine.send(shell(), PRIVATE, &set_environment("LD_PRELOAD=/tmp/x.so"));
    let alert = machine.one();
    assert_eq!(alert.rule.id, "systemd.environment.set");
    assert!(alert.severity >= Severity::High, "{} {}", alert.score, reasons(&alert));
    assert!(alert.summary.contains("asked a service manager to change the environment"), "{}", alert.summary);
    machine.send(shell(), USER_PRIVATE, &set_environment("DISPLAY=:0"));
    assert_eq!(machine.one().severity, Severity::Low, "a graphical session begins");
}

#[test]
fn a_container_that_commands_pid_1_is_critical() {
    let mut machine = Machine::new();
    let id = "c".repeat(64);
    machine.user(
        kind::CGROUP_SNAPSHOT,
        &CgroupSnapshot { id: 88, path: format!("/system.slice/docker-{id}.scope") },
    );
    let inside = TaskContext { cgroup_id: 88, ..machine.fork(shell(), 950) };
    machine.exec(inside, "/usr/bin/nsenter", 70, &["busctl"]);
    machine.send(inside, PRIVATE, &Message::manager("Reload"));
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("systemd.request.from-container", Severity::Critical));
    assert_eq!(alert.actor.container.expect("a container").id, id);
}
