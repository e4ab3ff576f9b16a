//! What clients ask of container engines.

use sensor_common::record::{Header, IpcRecord};

use super::*;
use crate::detect::rule::Severity;
use crate::event::encode::encode_send;

const DOCKER_SOCKET: u32 = 40;
const PODMAN_SOCKET: u32 = 41;

fn machine() -> Machine {
    let mut machine = Machine::new();
    for (watch, path) in [(DOCKER_SOCKET, "/run/docker.sock"), (PODMAN_SOCKET, "/run/podman/podman.sock")] {
        let class = Some(WatchClass::EngineSocket);
        machine.user(kind::WATCH, &Watch { watch, path: path.into(), class, owner: None });
    }
    machine
}

impl Machine {
    fn ask(&mut self, task: TaskContext, watch: u32, target: &str, body: &str) {
        let text =
            format!("POST {target} HTTP/1.1\r\nHost: docker\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.bytes(task, watch, text.as_bytes());
    }

    fn bytes(&mut self, task: TaskContext, watch: u32, bytes: &[u8]) {
        let fixed = IpcRecord {
            header: Header { boottime_ns: self.now, ..Header::default() },
            task,
            connection: u64::from(task.tgid) << 8 | u64::from(watch),
            watch,
            ..IpcRecord::default()
        };
        self.feed(encode_send(&fixed, bytes));
    }

    fn client(&mut self, pid: u32, line: &str) -> TaskContext {
        let child = self.fork(shell(), pid);
        let args: Vec<&str> = line.split(' ').collect();
        self.exec(child, &format!("/usr/bin/{}", args[0]), u64::from(pid), &args);
        child
    }
}

const ALWAYS: &str =
    r#"{"Image":"box","Cmd":["sleep","9"],"HostConfig":{"RestartPolicy":{"Name":"always"}}}"#;
const ROOT: &str = r#"{"Image":"box","HostConfig":{"Binds":["/:/host"]}}"#;
const PLAIN: &str = r#"{"Image":"box","HostConfig":{"RestartPolicy":{"Name":"no"},"AutoRemove":true}}"#;

#[test]
fn any_client_that_asks_is_told() {
    let mut machine = machine();
    let curl = machine.client(900, "curl --unix-socket /run/docker.sock -d @x http://d/containers/create");
    machine.ask(curl, DOCKER_SOCKET, "/containers/create?name=keeper", ALWAYS);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.restart-policy.set", Severity::Medium));
    assert_eq!(
        alert.summary,
        "other (pid 900, root, login alice) asked docker to create container keeper with restart policy always"
    );
    assert_eq!(alert.actor.ancestors[0].pid, SHELL);
    let service = alert.container_service.expect("a service");
    assert_eq!(service.command, ["sleep", "9"]);
}

#[test]
fn a_command_line_and_its_request_are_one_alert_with_both() {
    let mut machine = machine();
    let docker = machine.client(900, "docker run -d --restart=always --name keeper box sleep 9");
    assert!(machine.alerts().is_empty(), "held for the request");
    machine.bytes(docker, DOCKER_SOCKET, b"HEAD /_ping HTTP/1.1\r\nHost: docker\r\n\r\n");
    machine.ask(docker, DOCKER_SOCKET, "/v1.41/containers/create?name=keeper", ALWAYS);
    let alert = machine.one();
    assert_eq!(alert.actions, ["process_exec", "ipc_send"]);
    assert_eq!(alert.severity, Severity::Medium);
    machine.ask(docker, DOCKER_SOCKET, "/v1.41/containers/0123456789abcdef/start", "");
    machine.tick(20 * SECOND);
    assert!(machine.alerts().is_empty());
}

#[test]
fn a_request_that_comes_late_is_no_second_alert_unless_it_says_more() {
    let mut machine = machine();
    let docker = machine.client(900, "docker run -d --restart=always box sleep 9");
    machine.tick(SECOND);
    assert_eq!(
        machine.rules(),
        ["container.restart-policy.set"],
        "a command line that failed is told as well"
    );
    // The image had to be pulled; a plugin does the work.
    machine.tick(30 * SECOND);
    let plugin = machine.fork(docker, 901);
    machine.ask(plugin, DOCKER_SOCKET, "/containers/create", ALWAYS);
    machine.tick(20 * SECOND);
    assert!(machine.alerts().is_empty());
    machine.ask(
        plugin,
        DOCKER_SOCKET,
        "/containers/create",
        &ALWAYS.replace("{\"RestartPolicy", "{\"Privileged\":true,\"RestartPolicy"),
    );
    let alert = machine.one();
    assert_eq!(alert.severity, Severity::High);
    assert!(alert.summary.ends_with("with restart policy always and --privileged"), "{}", alert.summary);
}

#[test]
fn the_host_for_a_while_counts_for_less_than_the_host_for_good() {
    let mut machine = machine();
    let python = machine.client(900, "python3 -");
    machine.ask(python, DOCKER_SOCKET, "/containers/create", ROOT);
    let once = machine.one();
    assert_eq!((once.rule.id, once.severity), ("container.host-access.granted", Severity::High));
    let both = ROOT.replace("{\"Binds", "{\"RestartPolicy\":{\"Name\":\"always\"},\"Binds");
    machine.ask(python, DOCKER_SOCKET, "/containers/create", &both);
    let kept = machine.one();
    assert_eq!(kept.rule.id, "container.restart-policy.set");
    assert!(kept.score > once.score);
    let part = r#"{"Image":"other","HostConfig":{"NetworkMode":"host"}}"#;
    machine.ask(python, DOCKER_SOCKET, "/containers/create", part);
    assert_eq!(machine.one().severity, Severity::Medium);
}

#[test]
fn podman_by_its_command_line_is_told_at_once_and_by_its_socket_too() {
    let mut machine = machine();
    machine.client(900, "podman run -d --privileged box");
    assert_eq!(machine.one().rule.id, "container.host-access.granted");
    let curl = machine.client(901, "curl --unix-socket x");
    let body = r#"{"name":"keeper","image":"box","restart_policy":"always"}"#;
    machine.ask(curl, PODMAN_SOCKET, "/v4.3.1/libpod/containers/create", body);
    let alert = machine.one();
    assert_eq!(alert.container_service.expect("a service").engine, "podman");
}

#[test]
fn a_volume_that_is_the_host_is_the_host_for_whoever_gets_it() {
    let mut machine = machine();
    let curl = machine.client(900, "curl x");
    let body = r#"{"Name":"evil","DriverOpts":{"type":"none","o":"bind","device":"/"}}"#;
    machine.ask(curl, DOCKER_SOCKET, "/volumes/create", body);
    let alert = machine.one();
    assert_eq!(alert.rule.id, "container.host-access.granted");
    assert!(alert.summary.ends_with("asked docker to create volume evil with -v /"), "{}", alert.summary);
    machine.ask(
        curl,
        DOCKER_SOCKET,
        "/containers/create",
        r#"{"Image":"box","HostConfig":{"Binds":["evil:/x"]}}"#,
    );
    let alert = machine.one();
    assert_eq!(alert.severity, Severity::High, "{}", alert.summary);
    machine.ask(
        curl,
        DOCKER_SOCKET,
        "/containers/create",
        r#"{"Image":"box","HostConfig":{"Binds":["data:/x"]}}"#,
    );
    assert!(machine.alerts().is_empty());
}

#[test]
fn swarms_and_plugins() {
    let mut machine = machine();
    let docker = machine.client(900, "docker swarm join");
    machine.ask(docker, DOCKER_SOCKET, "/swarm/join", r#"{"RemoteAddrs":["192.0.2.1:2377"]}"#);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.swarm.changed", Severity::High));
    assert!(alert.summary.contains("asked docker to join a swarm 192.0.2.1:2377"), "{}", alert.summary);
    let body = r#"{"Name":"agent","TaskTemplate":{"ContainerSpec":{"Image":"box"}},"Mode":{"Global":{}}}"#;
    machine.ask(docker, DOCKER_SOCKET, "/services/create", body);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.swarm-service.created", Severity::High));
    assert!(alert.summary.ends_with("to create service agent with restart policy any"), "{}", alert.summary);
    machine.ask(docker, DOCKER_SOCKET, "/plugins/pull?remote=vieux/sshfs", "[]");
    assert_eq!(machine.one().rule.id, "container.engine.plugin-added");
}

#[test]
fn a_container_that_commands_an_engine_is_high_and_with_the_host_critical() {
    let mut machine = machine();
    let id = "c".repeat(64);
    let path = format!("/system.slice/docker-{id}.scope");
    machine.user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id: 88, path });
    let inside = TaskContext { cgroup_id: 88, ..machine.fork(shell(), 950) };
    machine.exec(inside, "/usr/bin/wget", 70, &["wget"]);
    machine.ask(inside, DOCKER_SOCKET, "/containers/x/restart", "");
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.engine.request-from-container", Severity::High));
    machine.ask(inside, DOCKER_SOCKET, "/containers/create", ROOT);
    let alert = machine.one();
    assert_eq!(
        (alert.rule.id, alert.severity),
        ("container.engine.request-from-container", Severity::Critical)
    );
    assert_eq!(alert.actor.container.expect("a container").id, id);
}

#[test]
fn what_an_engine_writes_is_told_with_its_client() {
    let mut machine = machine();
    let dockerd = machine.fork(init(), 700);
    machine.exec(dockerd, "/usr/sbin/dockerd", 71, &["/usr/sbin/dockerd", "-H", "fd://"]);
    let docker = machine.client(900, "docker cp evil.service c:/mnt/systemd/system/");
    let put = "PUT /v1.41/containers/c/archive?path=%2Fmnt HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    machine.bytes(docker, DOCKER_SOCKET, put.as_bytes());
    machine.bytes(docker, DOCKER_SOCKET, b"3\r\ntar\r\n0\r\n\r\n");
    let untar = machine.fork(dockerd, 701);
    machine.exec(untar, "/usr/sbin/dockerd", 71, &["docker-untar", "/"]);
    machine.write(untar, SYSTEM, "evil.service");
    let alert = machine.one();
    let client = alert.actor.on_behalf_of.expect("a client");
    assert_eq!((client.confidence, client.processes[0].pid), ("recent-request", 900));
    assert_eq!(
        client.request.as_deref(),
        Some("to copy files into a container c (PUT /v1.41/containers/c/archive)")
    );
}

#[test]
fn what_an_engine_asks_another_one_for_says_nothing() {
    let mut machine = machine();
    let rke2 = machine.fork(init(), 700);
    machine.exec(rke2, "/usr/local/bin/rke2", 71, &["rke2", "server"]);
    let kubelet = machine.fork(rke2, 701);
    machine.exec(kubelet, "/var/lib/rancher/rke2/data/v1/bin/kubelet", 72, &["kubelet"]);
    machine.ask(kubelet, DOCKER_SOCKET, "/containers/create", ROOT);
    assert!(machine.alerts().is_empty());
    // The name alone does not help.
    let other = machine.fork(shell(), 702);
    machine.exec(other, "/tmp/kubelet", 73, &["kubelet"]);
    assert_eq!(machine.rules(), ["container.kubelet.started"]);
    machine.ask(other, DOCKER_SOCKET, "/containers/create", ROOT);
    assert_eq!(machine.one().rule.id, "container.host-access.granted");
}

#[test]
fn an_engine_that_listens_on_the_network() {
    let mut machine = machine();
    let dockerd = machine.fork(init(), 700);
    let line = ["/usr/sbin/dockerd", "-H", "tcp://0.0.0.0:2375", "-H", "unix:///srv/d.sock"];
    machine.exec(dockerd, "/usr/sbin/dockerd", 71, &line);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.engine.exposed", Severity::High));
    assert!(
        alert.summary.ends_with("lets docker take requests from the network on tcp://0.0.0.0:2375"),
        "{}",
        alert.summary
    );
    let follows = machine.pipeline.follows().filter(|follow| follow.class == WatchClass::EngineSocket);
    assert_eq!(follows.map(|follow| follow.path).collect::<Vec<_>>(), ["/srv/d.sock"]);
    let dockerd = machine.fork(init(), 701);
    machine.exec(dockerd, "/usr/sbin/dockerd", 71, &["dockerd", "-H", "tcp://:2376", "--tlsverify"]);
    assert!(machine.alerts().is_empty());
}

#[test]
fn dockerds_configuration_is_read_once_it_runs() {
    let mut machine = machine();
    machine.files.insert(
        "/srv/d.json".into(),
        text_file(r#"{"hosts": ["unix:///srv/d.sock", "tcp://0.0.0.0:2375"], "data-root": "/srv/docker/"}"#),
    );
    let dockerd = machine.fork(init(), 700);
    machine.exec(dockerd, "/usr/sbin/dockerd", 71, &["/usr/sbin/dockerd", "--config-file", "/srv/d.json"]);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.engine.exposed", Severity::High));
    assert!(reasons(&alert).contains("as /srv/d.json says"), "{}", reasons(&alert));
    let mut follows: Vec<_> = machine.pipeline.follows().map(|follow| follow.path).collect();
    follows.sort();
    assert_eq!(follows, ["/srv/d.sock", "/srv/docker/containers", "/usr/sbin/dockerd"]);
    // For each container, for `docker cp`: the same program again.
    let untar = machine.fork(dockerd, 701);
    machine.exec(untar, "/usr/sbin/dockerd", 71, &["docker-untar", "--config-file", "/srv/d.json"]);
    assert!(machine.alerts().is_empty());
    // Verified clients, and another data-root by an option.
    machine
        .files
        .insert("/etc/docker/daemon.json".into(), text_file(r#"{"hosts": ["tcp://h"], "tlsverify": true}"#));
    let other = machine.fork(init(), 702);
    machine.exec(other, "/usr/sbin/dockerd", 71, &["dockerd", "--data-root=/srv/second"]);
    assert!(machine.alerts().is_empty());
    assert!(machine.pipeline.follows().any(|follow| follow.path == "/srv/second/containers"));
}

#[test]
fn everyday_requests_say_nothing() {
    let mut machine = machine();
    let docker = machine.client(900, "docker run --rm box true");
    for target in [
        "/containers/x/start",
        "/containers/x/restart",
        "/containers/x/stop",
        "/containers/x/exec",
        "/exec/x/start",
        "/build?t=x",
        "/images/create?fromImage=box",
        "/images/load",
        "/networks/create",
    ] {
        machine.ask(docker, DOCKER_SOCKET, target, "{}");
    }
    machine.ask(docker, DOCKER_SOCKET, "/containers/create", PLAIN);
    machine.ask(docker, DOCKER_SOCKET, "/containers/x/update", r#"{"Memory":1000000}"#);
    machine.bytes(docker, DOCKER_SOCKET, b"GET /v1.41/containers/json HTTP/1.1\r\n\r\n");
    machine.tick(SECOND);
    assert!(machine.alerts().is_empty());
}

#[test]
fn a_request_that_is_blown_up_is_told_as_such() {
    let mut machine = machine();
    let python = machine.client(900, "python3 -");
    let body = format!(
        r#"{{"Image":"box","Labels":{{"x":"{}"}},"HostConfig":{{"Privileged":true}}}}"#,
        "x".repeat(20_000)
    );
    machine.ask(python, DOCKER_SOCKET, "/containers/create", &body);
    let alert = machine.one();
    assert_eq!(alert.rule.id, "container.engine.request-unread");
    assert!(reasons(&alert).contains("only a part of the request was seen"));
    // The next one is in step.
    machine.ask(python, DOCKER_SOCKET, "/containers/create", ALWAYS);
    assert_eq!(machine.one().rule.id, "container.restart-policy.set");
}

/// Beside each other: docker asks dockerd, dockerd asks containerd, and podman makes its containers by itself.
#[test]
fn each_container_is_told_with_who_asked_for_it() {
    let mut machine = machine();
    let containerd = Watch {
        watch: PODMAN_SOCKET + 1,
        path: "/run/containerd/containerd.sock".into(),
        class: Some(WatchClass::EngineSocket),
        owner: None,
    };
    machine.user(kind::WATCH, &containerd);
    let dockerd = machine.fork(init(), 700);
    machine.exec(dockerd, "/usr/sbin/dockerd", 71, &["/usr/sbin/dockerd", "-H", "fd://"]);
    let [first, second, by_podman] = ["a", "b", "c"].map(|digit| digit.repeat(64));
    let docker = machine.client(900, "docker start first");
    machine.ask(docker, DOCKER_SOCKET, &format!("/v1.41/containers/{first}/start"), "");
    let curl = machine.client(901, "curl --unix-socket /run/docker.sock");
    machine.ask(curl, DOCKER_SOCKET, &format!("/v1.41/containers/{second}/start"), "");
    machine.ask(dockerd, containerd.watch, &format!("/containers/{first}/start"), "");
    let podman = machine.client(902, "podman start third");
    machine.alerts();
    for (group, path) in [
        (80, format!("/system.slice/docker-{first}.scope")),
        (81, format!("/system.slice/docker-{second}.scope")),
        (82, format!("/machine.slice/libpod-{by_podman}.scope/container")),
    ] {
        machine.feed(crate::event::encode::encode_cgroup(machine.now, dockerd, group, path.as_bytes()));
    }
    // However late.
    machine.tick(3600 * SECOND);
    for (group, pid, confidence) in
        [(80, docker.tgid, "request"), (81, curl.tgid, "request"), (82, podman.tgid, "recent-client")]
    {
        let name = format!("evil-{group}.service");
        let inside = TaskContext { cgroup_id: group, mnt_ns: INIT_MNT + 9, ..task(500 + group as u32, 499) };
        machine.write(inside, SYSTEM, &name);
        let asker = machine.one().actor.on_behalf_of.expect("who asked");
        assert_eq!((asker.processes[0].pid, asker.confidence), (pid, confidence), "{name}");
    }
}
