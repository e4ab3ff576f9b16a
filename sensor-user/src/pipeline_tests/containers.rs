//! Containers that are told to come back.

use super::*;
use crate::detect::rule::Severity;

const DOCKER: u64 = 60;

fn run(machine: &mut Machine, pid: u32, exe: &str, inode: u64, line: &str) {
    let child = machine.fork(shell(), pid);
    let args: Vec<&str> = line.split(' ').collect();
    machine.exec(child, exe, inode, &args);
}

#[test]
fn docker_run_with_a_policy_is_told() {
    let mut machine = Machine::new();
    run(&mut machine, 900, "/usr/bin/docker", DOCKER, "docker run -d --name web --restart=always nginx");
    // Held for the request to the engine.
    machine.tick(SECOND);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.restart-policy.set", Severity::Medium));
    assert_eq!(alert.rule.techniques[0].id, "T1543.005");
    let service = alert.container_service.expect("a service");
    assert_eq!((service.engine.as_str(), service.verb.as_str()), ("docker", "run"));
    assert_eq!(service.image.as_deref(), Some("nginx"));
    assert_eq!(
        alert.summary,
        "docker (pid 900, root, login alice) asked docker to run container web with restart policy always"
    );
    assert_eq!(alert.actor.ancestors[0].pid, SHELL);
}

#[test]
fn a_container_with_the_host_is_high() {
    let mut machine = Machine::new();
    run(&mut machine, 900, "/usr/bin/podman", 61, "podman run -d -v /:/host --restart always img");
    let alert = machine.one();
    assert_eq!(alert.severity, Severity::High);
    assert!(reasons(&alert).contains("+25 the container can take over its host"));
    assert!(alert.summary.ends_with("and -v /:/host"), "{}", alert.summary);
}

#[test]
fn another_name_does_not_help() {
    let mut machine = Machine::new();
    run(&mut machine, 900, "/usr/bin/docker", DOCKER, "docker ps");
    // A hard link: the same file.
    run(&mut machine, 901, "/tmp/innocent", DOCKER, "innocent run -d --restart=always img");
    machine.tick(SECOND);
    let alert = machine.one();
    assert!(reasons(&alert).contains("+15 docker under another name"), "{}", reasons(&alert));
    assert_eq!(alert.container_service.expect("a service").engine, "docker");
    // A copy: only the arguments tell.
    run(&mut machine, 902, "/tmp/copy", 999, "copy --debug run -d --restart=always other");
    machine.tick(SECOND);
    let alert = machine.one();
    assert!(reasons(&alert).contains("-10 recognised by its arguments alone"));
    assert_eq!(alert.severity, Severity::Medium);
}

#[test]
fn everyday_commands_say_nothing() {
    let mut machine = Machine::new();
    for (at, line) in [
        "docker ps",
        "docker run --rm img",
        "docker run --restart=no img",
        "docker exec c sh -c --restart=always",
        "sudo docker run --restart=always img",
        "systemctl --restart=always run img",
    ]
    .into_iter()
    .enumerate()
    {
        let exe = format!("/usr/bin/{}", line.split(' ').next().unwrap_or_default());
        run(&mut machine, 900 + at as u32, &exe, 60 + at as u64, line);
    }
    machine.tick(SECOND);
    assert!(machine.alerts().is_empty());
}

#[test]
fn an_engine_that_executes_itself_again_is_one() {
    let mut machine = Machine::new();
    let line = ["podman", "run", "--restart=always", "img"];
    let first = machine.fork(shell(), 900);
    machine.exec(first, "/usr/bin/podman", 61, &line);
    let again = machine.fork(first, 901);
    machine.exec(again, "/usr/bin/podman", 61, &line);
    assert_eq!(machine.rules(), ["container.restart-policy.set"]);
    // A second command is another.
    let second = machine.fork(shell(), 902);
    machine.exec(second, "/usr/bin/podman", 61, &line);
    assert_eq!(machine.rules(), ["container.restart-policy.set"]);
}
