//! Alerts for the tests of this room.

use crate::detect::rule::{Rule, Severity, Technique};
use crate::incident::alert::{Alert, HostInfo, Reason};
use crate::lineage::actor::{Actor, Container, ContainerIdentity, Process, Requester, User};
use crate::subject::container::service::ContainerService;
use crate::subject::service::{File, Scope, Unit, UnitPart};

static UNIT_WRITTEN: Rule = Rule {
    id: "systemd.unit.written",
    name: "A systemd unit was written",
    severity: Severity::High,
    techniques: &[Technique {
        id: "T1543.002",
        technique: "Create or Modify System Process",
        subtechnique: Some("Systemd Service"),
        tactics: &[("TA0003", "Persistence"), ("TA0004", "Privilege Escalation")],
    }],
    description: "",
    false_positives: &[],
};

static CONTAINER: Rule = Rule {
    id: "container.restart-policy.set",
    name: "A container was given a restart policy",
    severity: Severity::Medium,
    techniques: &[Technique {
        id: "T1543.005",
        technique: "Create or Modify System Process",
        subtechnique: Some("Container Service"),
        tactics: &[("TA0003", "Persistence")],
    }],
    description: "",
    false_positives: &[],
};

static BARE: Rule = Rule {
    id: "test.bare",
    name: "A rule without a sub-technique",
    severity: Severity::Info,
    techniques: &[Technique {
        id: "T1543",
        technique: "Create or Modify System Process",
        subtechnique: None,
        tactics: &[("TA0003", "Persistence")],
    }],
    description: "",
    false_positives: &[],
};

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn user(id: u32, name: &str) -> User {
    User { id, name: Some(name.to_owned()) }
}

fn process(pid: u32, exe: &str, args: &[&str]) -> Process {
    Process {
        pid,
        start_boottime_ns: 8_000_000_000,
        name: exe.rsplit('/').next().unwrap_or_default().to_owned(),
        executable: exe.to_owned(),
        args: strings(args),
        working_directory: "/etc/systemd/system".to_owned(),
        user: user(0, "root"),
        ..Default::default()
    }
}

fn host() -> HostInfo {
    HostInfo {
        hostname: "web1".to_owned(),
        machine_id: "0123456789abcdef0123456789abcdef".to_owned(),
        boot_id: "88a1f0ed-5ae5-41ee-af6b-41921c311872".to_owned(),
        kernel_release: "6.1.0-41-amd64".to_owned(),
        backend: "lsm".to_owned(),
    }
}

/// A unit written by a shell that a login user got root through.
pub(crate) fn unit_written() -> Alert {
    let mut shell = process(4242, "/usr/bin/dash", &["sh", "-c", "echo '[Service]' > evil.service"]);
    shell.user = user(1000, "ada");
    shell.euid = 0;
    Alert {
        id: "00112233445566778899aabbccddeeff".to_owned(),
        time_us: 1_796_042_096_000_007,
        boottime_ns: 10_000_000_000,
        rule: &UNIT_WRITTEN,
        also: &[],
        severity: Severity::High,
        score: 73,
        reasons: vec![
            Reason { points: 60, text: "a unit of the system manager was created".to_owned() },
            Reason { points: 13, text: "by a shell of a login session".to_owned() },
        ],
        summary: "sh (pid 4242, ada) created the unit evil.service in /etc/systemd/system".to_owned(),
        event_type: "creation",
        actions: vec!["file_create", "file_close_write"],
        collapsed: 0,
        actor: Actor {
            process: shell,
            ancestors: vec![
                process(4200, "/usr/bin/sudo", &["sudo", "sh"]),
                process(4100, "/usr/bin/bash", &["-bash"]),
                process(900, "/usr/sbin/sshd", &["sshd: ada [priv]"]),
                process(1, "/usr/lib/systemd/systemd", &["/sbin/init"]),
            ],
            login_user: Some(user(1000, "ada")),
            session: Some(3),
            cgroup: "/user.slice/user-1000.slice/session-3.scope".to_owned(),
            unit: Some("session-3.scope".to_owned()),
            ..Default::default()
        },
        file: Some(File {
            path: "/etc/systemd/system/evil.service".to_owned(),
            inode: 4711,
            mode: 0o10_0644,
            size: 123,
            ..Default::default()
        }),
        unit: Some(Unit {
            changes: vec!["it runs /tmp/x".to_owned()],
            signals: vec!["path.world-writable"],
            ..Unit::new("evil.service", UnitPart::Fragment, Scope::System)
        }),
        approved: None,
        container_service: None,
        proof: None,
        host: host(),
    }
}

/// `docker run --restart=always` from inside a container.
pub(crate) fn container_started() -> Alert {
    let args = ["docker", "run", "-d", "--restart=always", "--privileged", "evil:latest"];
    Alert {
        id: "ffeeddccbbaa99887766554433221100".to_owned(),
        rule: &CONTAINER,
        also: &[],
        severity: Severity::Medium,
        score: 50,
        summary: "docker was asked to keep a container of evil:latest running".to_owned(),
        event_type: "start",
        actions: vec!["process_exec"],
        collapsed: 4,
        actor: Actor {
            process: process(77, "/usr/bin/docker", &args),
            ancestors: vec![process(1, "/usr/lib/systemd/systemd", &["/sbin/init"])],
            on_behalf_of: Some(Requester {
                confidence: "recent-client",
                processes: vec![process(70, "/usr/bin/bash", &["bash", "-i"])],
                login_user: Some(user(1000, "ada")),
                ..Default::default()
            }),
            container: Some(Container {
                id: "c0ffee".repeat(10) + "c0ff",
                runtime: Some("docker".to_owned()),
                identity: Some(Box::new(ContainerIdentity {
                    name: Some("agent".to_owned()),
                    image: Some("registry.example:5000/ci/agent:2.1".to_owned()),
                    digest: Some("sha256:".to_owned() + &"ab".repeat(32)),
                    labels: vec![("com.example.tier".to_owned(), "ci".to_owned())],
                    pod: Some("agent-0".to_owned()),
                    namespace: Some("ci".to_owned()),
                    pod_uid: Some("5f2c9f0e-3f7e-4d3a-9d7a-6b1f6a4c0d11".to_owned()),
                    service_account: Some("builder".to_owned()),
                })),
            }),
            foreign_mount_namespace: true,
            ..Default::default()
        },
        file: None,
        unit: None,
        approved: None,
        container_service: Some(container_service()),
        ..unit_written()
    }
}

fn container_service() -> ContainerService {
    let mut service = ContainerService {
        engine: "docker".to_owned(),
        verb: "run".to_owned(),
        restart_policy: "always".to_owned(),
        image: Some("evil:latest".to_owned()),
        ..ContainerService::default()
    };
    service.access.privileged(true);
    service
}

/// Of the process only the pid is known, and there is no subject.
pub(crate) fn bare() -> Alert {
    Alert {
        rule: &BARE,
        also: &[],
        severity: Severity::Info,
        score: 0,
        reasons: Vec::new(),
        event_type: "change",
        actions: Vec::new(),
        actor: Actor {
            process: Process { pid: 5, incomplete: true, ..Default::default() },
            ..Default::default()
        },
        file: None,
        unit: None,
        proof: None,
        host: HostInfo { machine_id: String::new(), ..host() },
        ..unit_written()
    }
}

/// One of which nobody knows who acted.
pub(crate) fn nobody() -> Alert {
    Alert {
        actor: Actor { process: Process { incomplete: true, ..Default::default() }, ..Default::default() },
        ..bare()
    }
}

/// Strings that try to steer terminals, log lines and parsers.
pub(crate) fn hostile() -> Alert {
    let mut alert = unit_written();
    let evil = "x\x1b]0;owned\x07\u{202e}\nMESSAGE=fake\r\u{9b}31m";
    alert.summary = format!("sh wrote {evil}");
    alert.actor.process.name = evil.to_owned();
    alert.actor.process.args = strings(&["sh", evil, &"long ".repeat(5000)]);
    alert.actor.process.args_truncated = true;
    alert.actor.process.memfd = true;
    alert.actor.ancestors[0].deleted = true;
    alert.actor.ancestors[1].executable = evil.to_owned();
    alert.actor.login_user = Some(user(7, evil));
    alert.actor.container = Some(Container {
        id: "e".repeat(64),
        runtime: None,
        identity: Some(Box::new(ContainerIdentity {
            name: Some(evil.to_owned()),
            image: Some(evil.to_owned()),
            labels: vec![(evil.to_owned(), evil.to_owned())],
            pod: Some(evil.to_owned()),
            ..ContainerIdentity::default()
        })),
    });
    alert.actor.ancestors_truncated = true;
    alert.reasons[0].text = evil.to_owned();
    alert.file = Some(File {
        path: format!("/etc/systemd/system/{evil}"),
        other_path: Some(evil.to_owned()),
        target: Some(evil.to_owned()),
        ..Default::default()
    });
    alert.unit = Some(Unit::new(evil, UnitPart::Other, Scope::User));
    alert.severity = Severity::Critical;
    alert
}
