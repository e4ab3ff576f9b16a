//! A Kubernetes node, replayed.

use super::*;
use crate::detect::rule::Severity;

const PODS: u32 = 61;
const CNI: u32 = 67;
/// The control group of kubelet.service.
const SERVICE: u64 = 79;

fn daemon(pid: u32) -> TaskContext {
    TaskContext { cgroup_id: SERVICE, loginuid: u32::MAX, ..task(pid, PID1) }
}

/// With a sandbox and a container, a probe in each, and a volume of kubelet's.
fn a_pod_comes_and_goes(machine: &mut Machine, round: u32) {
    let uid = format!("{round:08x}-1b2c-4d5e-8f90-a1b2c3d4e5f6");
    let [sandbox, container] = [2 * round, 2 * round + 1].map(|number| format!("{number:064x}"));
    let pod = format!(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
        uid.replace('-', "_")
    );
    // A sandbox and a container.
    for (at, id) in [&sandbox, &container].into_iter().enumerate() {
        let bundle = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json");
        let text = include_str!("../../tests/fixtures/engines/containerd-pod-bundle.json");
        machine.files.insert(bundle.into(), text_file(text));
        let group = 10_000 + u64::from(2 * round) + at as u64;
        let path = format!("{pod}/cri-containerd-{id}.scope");
        machine.feed(crate::event::encode::encode_cgroup(machine.now, daemon(601), group, path.as_bytes()));
        let shim = machine.fork(daemon(601), 2000 + 10 * round + 2 * at as u32);
        machine.exec(
            shim,
            "/usr/bin/containerd-shim-runc-v2",
            602,
            &["/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", id],
        );
        let runc = machine.fork(shim, shim.tgid + 1);
        let home = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}");
        machine.exec(
            runc,
            "/usr/sbin/runc",
            603,
            &["runc", "--root", "/run/containerd/runc/k8s.io", "create", "--bundle", &home, id],
        );
        machine.exit(runc);
        // The probe runs in the container, and what a container writes of its own is not in a watched directory.
        let inside = TaskContext {
            cgroup_id: group,
            mnt_ns: INIT_MNT + 1 + round,
            ..machine.fork(shim, shim.tgid + 4)
        };
        machine.exec(inside, "/bin/sh", 604, &["sh", "-c", "wget -qO- http://127.0.0.1:8080/healthz"]);
        machine.exit(inside);
        machine.exit(shim);
    }
    // calico's node agent renews its own token beside the networks.
    let agent = TaskContext { cgroup_id: 10_001, mnt_ns: INIT_MNT + 1, ..task(1999, 1998) };
    machine.write(agent, CNI, "calico-kubeconfig");
    // Tokens and config maps rotate by a new directory and a link, in the pod's volumes: not below anything watched.
    let token = format!("pods/{uid}/volumes/kubernetes.io~projected/kube-api-access-x/..data");
    machine.rename(daemon(600), (NONE, "..data_tmp"), (NONE, &token));
    machine.tick(SECOND);
}

/// A node's everyday life, by the paths and names of containerd 1.6 and kubelet 1.28 (kubernetes' `pkg/kubelet/config`,
/// `pkg/volume/util/atomic_writer.go`, `pkg/kubelet/cm`; containerd's `pkg/cri/server`, and the bundle in fixtures/engines):
/// nothing of it is worth a look, and a static pod that is planted meanwhile is.
#[test]
fn a_nodes_churn_is_quiet_and_a_static_pod_is_not() {
    let mut machine = Machine::new();
    for (watch, path, class) in [
        (PODS, "/etc/kubernetes/manifests", WatchClass::StaticPod),
        (CNI, "/etc/cni/net.d", WatchClass::RuntimeHook),
    ] {
        machine.user(kind::WATCH, &Watch { watch, path: path.into(), class: Some(class), owner: None });
    }
    machine.user(
        kind::CGROUP_SNAPSHOT,
        &CgroupSnapshot { id: SERVICE, path: "/system.slice/kubelet.service".into() },
    );
    for (pid, exe, args) in [
        (
            600,
            "/usr/bin/kubelet",
            &[
                "/usr/bin/kubelet",
                "--config=/var/lib/kubelet/config.yaml",
                "--kubeconfig=/etc/kubernetes/kubelet.conf",
            ][..],
        ),
        (601, "/usr/bin/containerd", &["/usr/bin/containerd"]),
    ] {
        let child = TaskContext { cgroup_id: SERVICE, loginuid: u32::MAX, ..machine.fork(daemon(400), pid) };
        machine.exec(child, exe, u64::from(pid), args);
    }
    machine.files.insert(
        "/var/lib/kubelet/config.yaml".into(),
        text_file("staticPodPath: /etc/kubernetes/manifests\n"),
    );
    for round in 0..100 {
        a_pod_comes_and_goes(&mut machine, round);
    }
    let loud: Vec<String> = machine
        .alerts()
        .into_iter()
        .filter(|alert| alert.severity >= Severity::Medium)
        .map(|alert| format!("{:?} {}", alert.severity, alert.summary))
        .collect();
    assert_eq!(loud, Vec::<String>::new());
    machine.files.insert(
        "/etc/kubernetes/manifests/late.yaml".into(),
        text_file("kind: Pod\nspec: {hostPID: true, containers: [{name: c, image: evil}]}\n"),
    );
    machine.write(shell(), PODS, "late.yaml");
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("container.static-pod.written", Severity::Critical));
    let inside = TaskContext { cgroup_id: 10_199, mnt_ns: INIT_MNT + 100, ..task(1, 1) };
    machine.write(TaskContext { tgid: 9000, tid: 9000, ..inside }, PODS, "escaped.yaml");
    let alert = machine.one();
    assert_eq!(alert.severity, Severity::Critical);
    assert_eq!(alert.actor.container.expect("a container").id, format!("{:064x}", 199));
}
