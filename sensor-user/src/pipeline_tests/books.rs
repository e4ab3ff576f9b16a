//! What engines' files say of containers, who writes these files, and containers that none of them has.

use super::*;
use crate::detect::rule::Severity;
use crate::event::encode::{encode_cgroup, encode_namespace};

const ID: &str = "4e05565f7c8ea1afa56c80273c8c4cbf2929cdbd73c23d2d20150657de4d1811";
const OTHER: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const GROUP: u64 = 5000;
const STATE: u32 = 40;
const CONTAINER_MNT: u32 = 99;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/engines/", $name))
    };
}

fn docker(name: &str) -> Vec<u8> {
    format!("/var/lib/docker/containers/{ID}/{name}").into_bytes()
}

/// With an engine's service running, and its directory watched.
fn machine() -> Machine {
    let mut machine = Machine::new();
    let path = "/var/lib/docker/containers".into();
    let class = Some(WatchClass::EngineState);
    machine.user(kind::WATCH, &Watch { watch: STATE, path, class, owner: None });
    for (pid, exe, inode) in [(300, "/usr/sbin/dockerd", 70), (301, "/usr/bin/containerd", 71)] {
        machine.snapshot(pid, PID1, exe, inode);
    }
    machine
}

fn dockerd() -> TaskContext {
    task(300, PID1)
}

fn with_docker_files(machine: &mut Machine) {
    machine.files.insert(docker("config.v2.json"), text_file(fixture!("docker-web-config.v2.json")));
    machine.files.insert(docker("hostconfig.json"), text_file(fixture!("docker-web-hostconfig.json")));
}

fn group(machine: &mut Machine, path: &str) {
    let record = encode_cgroup(machine.now, init(), GROUP, path.as_bytes());
    machine.feed(record);
}

fn inside(pid: u32) -> TaskContext {
    TaskContext { cgroup_id: GROUP, mnt_ns: CONTAINER_MNT, loginuid: u32::MAX, ..task(pid, 301) }
}

fn set(text: &str, member: &str, from: &str, to: &str) -> String {
    let (old, new) = (format!("\"{member}\":{from}"), format!("\"{member}\":{to}"));
    assert!(text.contains(&old), "{old} in {text}");
    text.replace(&old, &new)
}

#[test]
fn what_a_container_does_is_told_with_its_name_and_image() {
    let mut machine = machine();
    with_docker_files(&mut machine);
    group(&mut machine, &format!("/system.slice/docker-{ID}.scope"));
    machine.write(inside(400), SYSTEM, "evil.service");
    let alert = machine.one();
    let container = alert.actor.container.expect("a container");
    let identity = container.identity.expect("its identity");
    assert_eq!(identity.name.as_deref(), Some("web"));
    assert!(identity.digest.is_some_and(|digest| digest.starts_with("sha256:6dca")));
    assert!(
        alert.summary.contains(" in container web (registry.example/team/box:1.2) wrote "),
        "{}",
        alert.summary
    );
    // It is gone, and so are its files: who it was is still known.
    machine.exit(inside(400));
    machine.files.clear();
    machine.tick(60 * SECOND);
    machine.write(inside(401), SYSTEM, "later.service");
    assert!(machine.one().summary.contains(" in container web "));
    assert_eq!(table(&machine, "containers").entries, 1);
    assert_eq!(table(&machine, "container_lookups").evicted, 0);
}

fn table(machine: &Machine, name: &str) -> Table {
    *machine.pipeline.stats().tables.iter().find(|table| table.name == name).expect("a table")
}

#[test]
fn an_alert_waits_for_the_name_but_not_for_long() {
    let mut machine = machine();
    with_docker_files(&mut machine);
    machine.answers = false;
    group(&mut machine, &format!("/system.slice/docker-{ID}.scope"));
    let wants: Vec<Want> = machine.pipeline.wants().collect();
    machine.answers = true;
    machine.write(inside(400), SYSTEM, "evil.service");
    assert!(machine.alerts().is_empty(), "it waits");
    for want in wants {
        machine.answer(want);
    }
    assert!(machine.one().summary.contains(" in container web "));

    machine.answers = false;
    group(&mut machine, &format!("/system.slice/docker-{OTHER}.scope"));
    machine.pipeline.wants().for_each(drop);
    machine.write(inside(401), SYSTEM, "evil2.service");
    assert!(machine.alerts().is_empty());
    machine.tick(260 * MS);
    assert!(machine.one().summary.contains(&format!(" in container {} wrote ", &OTHER[..12])));
}

#[test]
fn containers_that_were_there_before_are_known() {
    let mut machine = machine();
    with_docker_files(&mut machine);
    let path = format!("/system.slice/docker-{ID}.scope");
    machine.user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id: GROUP, path });
    machine.write(inside(400), SYSTEM, "evil.service");
    assert!(machine.one().summary.contains(" in container web "));
    // A group without any file says nothing, if it was there before.
    let path = format!("/system.slice/docker-{OTHER}.scope");
    machine.user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id: GROUP + 1, path });
    machine.tick(4 * SECOND);
    machine.tick(4 * SECOND);
    assert!(machine.alerts().is_empty());
}

#[test]
fn podman_is_known_by_its_list_and_conmons_command_line() {
    let id = "b22fd00201d0a08061807b091aeaf264744e1ca5d44e2d884b4d2576c5ceb547";
    for (storage, files) in
        [("/var/lib/containers/storage", true), ("/home/alice/.local/share/containers/storage", false)]
    {
        let mut machine = machine();
        let bundle = format!("{storage}/overlay-containers/{id}/userdata");
        if files {
            let list = format!("{storage}/overlay-containers/containers.json").into_bytes();
            machine.files.insert(list, text_file(fixture!("podman-containers.json")));
            let config = format!("{bundle}/config.json").into_bytes();
            machine.files.insert(config, text_file(fixture!("podman-web-bundle.json")));
        }
        let conmon = machine.fork(shell(), 600);
        machine.exec(
            conmon,
            "/usr/bin/conmon",
            90,
            &["/usr/bin/conmon", "-c", id, "-u", id, "-r", "/usr/bin/crun", "-b", &bundle, "-n", "pweb"],
        );
        group(&mut machine, &format!("/machine.slice/libpod-{id}.scope"));
        machine.tick(3 * SECOND);
        machine.tick(3 * SECOND);
        machine.write(inside(400), SYSTEM, "evil.service");
        let expected =
            if files { " in container pweb (localhost/box:latest) " } else { " in container pweb wrote " };
        let summary = machine.one().summary;
        assert!(summary.contains(expected), "{summary}");
    }
}

#[test]
fn an_engine_writes_its_own_files_quietly() {
    let mut machine = machine();
    machine.files.insert(docker("hostconfig.json"), text_file(fixture!("docker-plain-hostconfig.json")));
    let name = format!("{ID}/hostconfig.json");
    for file in ["hosts", "mounts/shm/x", "config.v2.json", "x-json.log", "hostconfig.json"] {
        machine.write(dockerd(), STATE, &format!("{ID}/{file}"));
    }
    machine.rename(dockerd(), (STATE, &format!("{ID}/.tmp-hostconfig.json123")), (STATE, &name));
    machine.file(kind::FILE_UNLINK, dockerd(), STATE, &name);
    // The container's own /etc/hosts is that file.
    machine.write(inside(400), STATE, &format!("{ID}/hosts"));
    machine.tick(SECOND);
    assert!(machine.alerts().is_empty());
}

#[test]
fn another_hand_on_an_engines_files_is_told_with_what_it_changed() {
    let mut machine = machine();
    let before = fixture!("docker-plain-hostconfig.json");
    machine.baseline(&format!("/var/lib/docker/containers/{ID}/hostconfig.json"), before);
    let text = set(before, "Binds", "null", "[\"/:/host\"]");
    let text = set(&text, "Name", "\"no\"", "\"always\"");
    machine.files.insert(docker("hostconfig.json"), text_file(&text));
    machine.write(shell(), STATE, &format!("{ID}/hostconfig.json"));
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.state.edited", Severity::Critical));
    assert_eq!(alert.rule.techniques[0].id, "T1543.005");
    let changes = alert.unit.expect("what changed").changes;
    assert_eq!(changes, ["restart policy always instead of no", "-v /:/host is new"]);
    assert_eq!(alert.container_service.expect("it").restart_policy, "always");
    assert_eq!(
        alert.summary,
        format!(
            "bash (pid 812, root, login alice) wrote hostconfig.json of container {} in /var/lib/docker/containers/{ID}",
            &ID[..12]
        )
    );

    // Somebody with the engine's name is not the engine, nor is the engine's file in another mount namespace (`docker cp`).
    let fake = machine.fork(shell(), 700);
    machine.exec(fake, "/tmp/dockerd", 999, &["dockerd"]);
    let copy = TaskContext { mnt_ns: CONTAINER_MNT, ..machine.fork(dockerd(), 701) };
    for who in [fake, copy] {
        machine.tick(11 * SECOND);
        machine.write(who, STATE, &format!("{ID}/hostconfig.json"));
        assert_eq!(machine.rules(), ["container.state.edited"], "{}", who.tgid);
    }
}

#[test]
fn what_is_no_file_of_an_engines_is_told_all_the_same() {
    for (text, reason) in [
        ("no JSON".to_owned(), "+0 it is nothing that the engine would read"),
        (format!("{{\"x\":\"{}", "a".repeat(100)), "+0 it is nothing that the engine would read"),
    ] {
        let mut machine = machine();
        machine.files.insert(docker("hostconfig.json"), text_file(&text));
        machine.write(shell(), STATE, &format!("{ID}/hostconfig.json"));
        let alert = machine.one();
        assert!(reasons(&alert).contains(reason), "{}", reasons(&alert));
        assert_eq!(alert.severity, Severity::High);
    }
    let mut machine = machine();
    let size = 100 << 20;
    let huge = Regular { inode: 4711, mode: 0o100_644, size, content: vec![b'{'; 100], ..Regular::default() };
    machine.files.insert(docker("hostconfig.json"), Found::Regular(huge));
    machine.write(shell(), STATE, &format!("{ID}/hostconfig.json"));
    assert!(reasons(&machine.one()).contains("of its 104857600 bytes the first 100 were looked at"));
    machine.files.insert(docker("hostconfig.json"), Found::Special { mode: 0o010_644 });
    machine.tick(11 * SECOND);
    machine.write(shell(), STATE, &format!("{ID}/hostconfig.json"));
    assert_eq!(machine.rules(), ["container.state.edited"]);
}

#[test]
fn an_engine_that_makes_a_container_come_back_unasked_is_told() {
    let mut machine = machine();
    machine.files.insert(docker("config.v2.json"), text_file(fixture!("docker-web-config.v2.json")));
    machine.baseline(
        &format!("/var/lib/docker/containers/{ID}/hostconfig.json"),
        fixture!("docker-plain-hostconfig.json"),
    );
    machine.files.insert(docker("hostconfig.json"), text_file(fixture!("docker-web-hostconfig.json")));
    let names = (format!("{ID}/.tmp-hostconfig.json1"), format!("{ID}/hostconfig.json"));
    machine.rename(dockerd(), (STATE, &names.0), (STATE, &names.1));
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.restart-policy.set", Severity::High));
    let service = alert.container_service.clone().expect("a service");
    assert_eq!((service.name.as_deref(), service.restart_policy.as_str()), (Some("web"), "unless-stopped"));
    assert!(alert.summary.ends_with(
        " keeps container web with restart policy unless-stopped and -v /etc:/hostetc:ro --cap-add=SYS_ADMIN \
         --pid=host --security-opt=label=disable"
    ), "{}", alert.summary);
    assert!(reasons(&alert).contains("nobody on this machine was seen asking for it"));
    // The same again is nothing new.
    machine.rename(dockerd(), (STATE, &names.0), (STATE, &names.1));
    machine.tick(11 * SECOND);
    assert!(machine.alerts().is_empty());
}

#[test]
fn what_was_asked_for_is_told_once() {
    let mut machine = machine();
    with_docker_files(&mut machine);
    let client = machine.fork(shell(), 900);
    let line = "docker run -d --restart=unless-stopped --name web registry.example/team/box:1.2";
    machine.exec(client, "/usr/bin/docker", 60, &line.split(' ').collect::<Vec<_>>());
    let names = (format!("{ID}/.tmp-hostconfig.json1"), format!("{ID}/hostconfig.json"));
    machine.rename(dockerd(), (STATE, &names.0), (STATE, &names.1));
    machine.tick(SECOND);
    assert_eq!(machine.one().actor.process.pid, 900);
}

#[test]
fn a_runtime_called_by_hand_is_told_with_its_bundle() {
    let mut machine = machine();
    let bundle = fixture!("runc-spec.json").replacen("CAP_KILL", "CAP_SYS_ADMIN", 1);
    machine.files.insert(b"/srv/bundle/config.json".to_vec(), text_file(&bundle));
    let runc = machine.fork(shell(), 900);
    machine.exec(runc, "/usr/sbin/runc", 80, &["runc", "run", "-b", "/srv/bundle", "hidden"]);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.unbooked.started", Severity::High));
    let service = alert.container_service.expect("what it is");
    assert_eq!((service.engine.as_str(), service.name.as_deref()), ("runc", Some("hidden")));
    assert_eq!(service.command, ["sh"]);
    assert_eq!(
        alert.summary,
        "runc (pid 900, root, login alice) started container hidden (known to no engine) with \
         --cap-add=SYS_ADMIN --security-opt=seccomp=unconfined"
    );
    // What it then does is told with its name.
    group(&mut machine, "/user.slice/user-1000.slice/hidden");
    machine.write(inside(901), SYSTEM, "evil.service");
    assert!(machine.one().summary.contains(" in container hidden wrote "));
}

#[test]
fn bundles_that_are_gone_or_odd_are_said_to_be() {
    for (found, reason) in [
        (None, "+0 the bundle was gone when it was looked at"),
        (Some(Found::Special { mode: 0o010_644 }), "+0 /srv/b/config.json is a FIFO, socket or device"),
        (
            Some(Found::Unreadable { error: "Too many levels of symbolic links".into() }),
            "+0 /srv/b/config.json could not be read: Too many levels",
        ),
        (Some(text_file("[]")), "+0 /srv/b/config.json is not what a runtime reads"),
    ] {
        let mut machine = machine();
        if let Some(found) = found {
            machine.files.insert(b"/srv/b/config.json".to_vec(), found);
        }
        let crun = machine.fork(shell(), 900);
        machine.exec(crun, "/usr/bin/crun", 81, &["crun", "run", "--bundle=/srv/b", "x"]);
        let alert = machine.one();
        assert!(reasons(&alert).contains(reason), "{}", reasons(&alert));
    }
}

#[test]
fn engines_call_runtimes_quietly() {
    let mut machine = machine();
    let shim = machine.fork(task(301, PID1), 500);
    machine.exec(
        shim,
        "/usr/bin/containerd-shim-runc-v2",
        82,
        &["containerd-shim-runc-v2", "-namespace", "moby"],
    );
    let runc = machine.fork(shim, 501);
    let bundle = format!("/opt/root/task/moby/{ID}");
    machine
        .files
        .insert(format!("{bundle}/config.json").into_bytes(), text_file(fixture!("docker-web-bundle.json")));
    machine.exec(
        runc,
        "/usr/sbin/runc",
        80,
        &["runc", "--root", "/run/x", "create", "--bundle", &bundle, ID],
    );
    let podman = machine.fork(shell(), 510);
    machine.exec(podman, "/usr/bin/podman", 61, &["podman", "build", "."]);
    let crun = machine.fork(podman, 511);
    machine.exec(crun, "/usr/bin/crun", 81, &["crun", "run", "--bundle", "/var/tmp/b", "buildah-1"]);
    // The engine keeps its data elsewhere: the bundle leads there.
    let hosts = fixture!("docker-web-bundle.json").contains("/var/lib/docker/containers/");
    assert!(hosts);
    with_docker_files(&mut machine);
    group(&mut machine, &format!("/system.slice/docker-{ID}.scope"));
    for _ in 0..3 {
        machine.tick(4 * SECOND);
    }
    assert!(machine.alerts().is_empty());
    machine.write(inside(400), SYSTEM, "evil.service");
    assert!(machine.one().summary.contains(" in container web "));
}

#[test]
fn a_group_named_like_a_container_that_no_engine_knows_is_told() {
    let mut machine = machine();
    group(&mut machine, &format!("/system.slice/docker-{OTHER}.scope"));
    let process = TaskContext { cgroup_id: GROUP, ..machine.fork(shell(), 900) };
    machine.exec(process, "/tmp/miner", 950, &["/tmp/miner"]);
    machine.tick(400 * MS);
    assert!(machine.alerts().is_empty(), "its files may come");
    machine.tick(3 * SECOND);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.actor.process.pid), ("container.unbooked.started", 900));
    assert!(reasons(&alert).contains("of which no engine has a file"), "{}", reasons(&alert));
    // A container's files that come late are found.
    let mut machine = self::machine();
    group(&mut machine, &format!("/system.slice/docker-{ID}.scope"));
    with_docker_files(&mut machine);
    machine.tick(3 * SECOND);
    machine.tick(3 * SECOND);
    assert!(machine.alerts().is_empty());
    // So is an engine inside a container, whose files are not the host's.
    group(&mut machine, &format!("/system.slice/docker-{ID}.scope/docker/{OTHER}"));
    for _ in 0..3 {
        machine.tick(4 * SECOND);
    }
    assert!(machine.alerts().is_empty());
    // Ids of another length are none.
    group(&mut machine, &format!("/system.slice/docker-{}.scope", &OTHER[1..]));
    group(&mut machine, &format!("/system.slice/docker-{OTHER}0.scope"));
    assert_eq!(table(&machine, "container_lookups").entries, 0);
}

const MOUNTS_AND_PIDS: u64 = 0x2002_0000;
const USERS: u64 = 0x1000_0000;

fn unshare(
    machine: &mut Machine,
    parent: TaskContext,
    pid: u32,
    exe: &str,
    inode: u64,
    flags: u64,
) -> TaskContext {
    let maker = machine.fork(parent, pid);
    machine.exec(maker, exe, inode, &[exe]);
    let record = encode_namespace(machine.now, maker, flags);
    machine.feed(record);
    let maker = TaskContext { mnt_ns: CONTAINER_MNT, ..maker };
    let child = TaskContext { mnt_ns: CONTAINER_MNT, pid_ns: 98, ..machine.fork(maker, pid + 1) };
    machine.exec(child, "/bin/sh", 102, &["sh"]);
    child
}

#[test]
fn roots_own_mount_and_pid_namespaces_are_told_once() {
    let mut machine = machine();
    let child = unshare(&mut machine, shell(), 900, "/usr/bin/unshare", 83, MOUNTS_AND_PIDS);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.unbooked.started", Severity::Medium));
    assert_eq!(alert.actor.process.pid, 901);
    assert!(reasons(&alert).contains("made by unshare"), "{}", reasons(&alert));
    let next = machine.fork(child, 905);
    machine.exec(TaskContext { mnt_ns: CONTAINER_MNT, ..next }, "/bin/ls", 103, &["ls"]);
    assert!(machine.alerts().is_empty());
}

#[test]
fn sandboxes_services_and_users_namespaces_say_nothing() {
    let mut machine = machine();
    unshare(&mut machine, shell(), 900, "/usr/bin/unshare", 83, 0x0002_0000);
    unshare(&mut machine, shell(), 910, "/usr/bin/unshare", 83, MOUNTS_AND_PIDS | USERS);
    unshare(&mut machine, shell(), 920, "/usr/bin/bwrap", 84, MOUNTS_AND_PIDS);
    unshare(&mut machine, shell(), 930, "/usr/bin/systemd-nspawn", 85, MOUNTS_AND_PIDS);
    unshare(&mut machine, init(), 940, "/usr/lib/systemd/systemd-executor", 86, MOUNTS_AND_PIDS);
    unshare(&mut machine, task(301, PID1), 950, "/usr/bin/containerd-shim-runc-v2", 82, MOUNTS_AND_PIDS);
    let docker = machine.fork(dockerd(), 960);
    unshare(&mut machine, docker, 961, "/proc/self/exe", 70, MOUNTS_AND_PIDS);
    machine.tick(4 * SECOND);
    assert_eq!(machine.rules(), [""; 0]);
}

#[test]
fn five_hundred_containers_leave_a_bounded_trace() {
    let mut machine = machine();
    let hostconfig = fixture!("docker-plain-hostconfig.json");
    for number in 0..5000_u64 {
        let id = format!("{number:064x}");
        let config = fixture!("docker-web-config.v2.json").replace(ID, &id);
        let path = |name: &str| format!("/var/lib/docker/containers/{id}/{name}").into_bytes();
        machine.files.insert(path("config.v2.json"), text_file(&config));
        machine.files.insert(path("hostconfig.json"), text_file(hostconfig));
        let group = GROUP + number;
        let record =
            encode_cgroup(machine.now, init(), group, format!("/system.slice/docker-{id}.scope").as_bytes());
        machine.feed(record);
        machine.files.clear();
        machine.records.clear();
    }
    let known = table(&machine, "containers");
    assert!(known.entries <= known.capacity && known.bytes <= 2 << 20, "{known:?}");
    assert_eq!(table(&machine, "container_lookups").evicted, 0);
    let last = TaskContext { cgroup_id: GROUP + 4999, mnt_ns: CONTAINER_MNT, ..task(400, 301) };
    machine.write(last, SYSTEM, "evil.service");
    assert!(machine.one().summary.contains(" in container web "));
}
