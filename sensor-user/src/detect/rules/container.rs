//! What container engines keep, what keeps containers alive and runs them, and containers that no engine knows.

use super::techniques::{COMPROMISED_BINARY, CONTAINER_SERVICE, DEPLOY_CONTAINER, SYSTEMD_SERVICE};
use super::{CONFIGURATION, PACKAGES};
use crate::detect::rule::{Rule, Severity};

/// An engine's own files, by another hand.
pub static CONTAINER_STATE_EDITED: Rule = Rule {
    id: "container.state.edited",
    name: "A container engine's own files were edited",
    severity: Severity::High,
    techniques: &[CONTAINER_SERVICE],
    description: "A file in which a container engine keeps what it knows of its containers (docker's hostconfig.json and \
        config.v2.json, containers/storage's containers.json, the databases of podman and containerd) was written by \
        another program than the engine. When the engine starts next, the container is what the file says: with \
        another restart policy, the host's directories, all privileges. Neither a command line nor the engine's API \
        shows it. What differs is told where the file is text. Look at `docker inspect ID`. To undo: restore the file \
        while the engine is stopped, or remove the container.",
    false_positives: &["Restoring an engine's directory from a backup.", CONFIGURATION],
};

/// A container that no engine knows.
pub static CONTAINER_UNBOOKED: Rule = Rule {
    id: "container.unbooked.started",
    name: "A container was started that no engine knows",
    severity: Severity::Medium,
    techniques: &[DEPLOY_CONTAINER, CONTAINER_SERVICE],
    description: "A program runs as a container does, and no engine has it in its books: a runtime (runc, crun) was \
        called by hand on a bundle, a control group is named like an engine's container, or root gave a program mount \
        and pid namespaces of its own. `docker ps` and `podman ps` do not show such a container. Not told: what is \
        started in a user namespace, inside a container, by a service manager, by an engine, or by bwrap, flatpak, \
        snap-confine, firejail, systemd-nspawn and LXC. Look at the process and at the bundle's config.json. To undo: \
        `runc delete --force ID`, or end the process.",
    false_positives: &["Working on a container runtime.", "Building packages or images in `unshare`."],
};

/// A Quadlet.
pub static QUADLET_WRITTEN: Rule = Rule {
    id: "container.quadlet.written",
    name: "A Quadlet, a container as a systemd service, was written",
    severity: Severity::High,
    techniques: &[CONTAINER_SERVICE, SYSTEMD_SERVICE],
    description: "podman's generator makes a service out of each .container, .pod, .kube, .volume, .network, .image \
        or .build file (podman-systemd.unit(5)) at every boot and daemon-reload; with WantedBy= it starts at boot, \
        without anybody enabling it. Look at Image=, Exec=, Volume=, PodmanArgs=, and at what it becomes \
        (`systemctl cat NAME.service`). To undo: `systemctl stop NAME`, remove the file, `systemctl daemon-reload`.",
    false_positives: &["Deployment of services as Quadlets.", CONFIGURATION, PACKAGES],
};

/// A static pod.
pub static STATIC_POD_WRITTEN: Rule = Rule {
    id: "container.static-pod.written",
    name: "A static pod was written",
    severity: Severity::High,
    techniques: &[CONTAINER_SERVICE, DEPLOY_CONTAINER],
    description: "kubelet runs every pod that it finds in its folder of static pods, restarts it for ever, and asks no \
        API server: neither admission control nor `kubectl delete` has a say. A name that does not begin with a dot is \
        enough. Look at the image, the command, hostPath volumes and securityContext. To undo: remove the file.",
    false_positives: &["kubeadm, at the creation and upgrade of a control plane."],
};

/// A manifest that is applied.
pub static MANIFEST_WRITTEN: Rule = Rule {
    id: "container.manifest.written",
    name: "A manifest was put where a cluster applies it",
    severity: Severity::High,
    techniques: &[CONTAINER_SERVICE, DEPLOY_CONTAINER],
    description: "The servers of k3s, rke2 and k0s apply what lies in their folder of manifests with the rights of the \
        cluster's administrator, at once and again at every start: a DaemonSet there runs on every node. They write \
        their own components there, which weighs little. To undo: remove the file, and what it made \
        (`kubectl delete -f FILE`).",
    false_positives: &["The server itself, when it starts.", CONFIGURATION],
};

/// What kubelet goes by.
pub static KUBELET_CONFIG_WRITTEN: Rule = Rule {
    id: "container.kubelet-config.written",
    name: "The configuration of kubelet was written",
    severity: Severity::High,
    techniques: &[CONTAINER_SERVICE],
    description: "kubelet's configuration, its drop-ins or the file from which it takes its flags was changed: \
        staticPodPath and staticPodURL bring pods that no API server knows, authentication.anonymous and \
        authorization.mode open its own API. It takes effect when kubelet starts. Compare with \
        `kubectl get --raw /api/v1/nodes/NODE/proxy/configz`. To undo: restore the file, restart kubelet.",
    false_positives: &["kubeadm, at join and upgrade.", CONFIGURATION],
};

/// What an engine goes by.
pub static ENGINE_CONFIG_WRITTEN: Rule = Rule {
    id: "container.engine-config.written",
    name: "The configuration of a container engine was written",
    severity: Severity::Medium,
    techniques: &[CONTAINER_SERVICE],
    description: "dockerd, containerd, CRI-O or podman was told something else about itself: an API on the network \
        (hosts), another runtime (runtimes, default-runtime, conmon_path), hooks (hooks_dir), where images come from \
        and whether they must be signed (registries.conf, policy.json, insecure-registries), where containers lie \
        (data-root). It takes effect at the next start, for podman with the next command. To undo: restore the file, \
        restart the engine.",
    false_positives: &[CONFIGURATION, PACKAGES, "`docker login` writes ~/.docker/config.json."],
};

/// What is run beside containers.
pub static RUNTIME_HOOK_WRITTEN: Rule = Rule {
    id: "container.runtime-hook.written",
    name: "A hook that runs with every container was written",
    severity: Severity::High,
    techniques: &[CONTAINER_SERVICE],
    description: "An OCI hook (oci-hooks(5)), a CNI network, a CDI device, or the registration of an NRI, docker, device \
        or CSI plugin has a program run as root on the host, outside of all containers, whenever a container starts or \
        stops. Look at the program that it names. To undo: remove the file.",
    false_positives: &[
        "Network agents of a cluster (Calico, Cilium, flannel) write their CNI network when they start.",
        "NVIDIA's toolkit generates CDI devices at boot.",
        PACKAGES,
    ],
};

/// A program run beside containers.
pub static RUNTIME_PLUGIN_WRITTEN: Rule = Rule {
    id: "container.runtime-plugin.written",
    name: "A plugin of a container engine was written",
    severity: Severity::Medium,
    techniques: &[CONTAINER_SERVICE],
    description: "CNI and NRI plugins, FlexVolume drivers and docker's engine plugins run as root on the host whenever a \
        container needs them; docker's CLI plugins run as whoever calls docker next, were it root. Where packages keep \
        such programs it weighs less. To undo: remove the program, or reinstall what it belongs to.",
    false_positives: &[
        "Network agents of a cluster copy their CNI plugin to the host when they start.",
        PACKAGES,
        CONFIGURATION,
    ],
};

/// A program that makes containers.
pub static RUNTIME_REPLACED: Rule = Rule {
    id: "container.runtime.replaced",
    name: "A program that makes containers was written or replaced",
    severity: Severity::High,
    techniques: &[CONTAINER_SERVICE, COMPROMISED_BINARY],
    description: "runc, crun, conmon, a shim, an engine, kubelet, or a credential helper in the path was written: it runs as \
        root with every container. A container that breaks out through the runtime does so as well (CVE-2019-5736). \
        dpkg's and rpm's own renames weigh little. Compare with the package (`dpkg --verify`, `rpm -V`). To undo: \
        reinstall it, restart the engine.",
    false_positives: &[
        "Installing or upgrading an engine from an archive, without a package manager.",
        PACKAGES,
    ],
};

/// A system container or machine.
pub static MACHINE_CONFIG_WRITTEN: Rule = Rule {
    id: "container.machine-config.written",
    name: "A system container or virtual machine was configured",
    severity: Severity::Medium,
    techniques: &[CONTAINER_SERVICE],
    description: "LXC starts containers with lxc.start.auto at boot and runs their lxc.hook.* programs on the host as root; \
        libvirt starts what is linked in its autostart directories. Look for lxc.mount.entry of host directories, \
        lxc.hook.*, lxc.cap.*. To undo: lxc.start.auto = 0, `virsh autostart --disable NAME`.",
    false_positives: &["lxc-create and virsh write such files.", CONFIGURATION],
};

/// A kubelet of somebody's own.
pub static KUBELET_STARTED: Rule = Rule {
    id: "container.kubelet.started",
    name: "A kubelet was started by hand",
    severity: Severity::Medium,
    techniques: &[CONTAINER_SERVICE],
    description: "kubelet runs as a service of systemd or of an engine; here somebody who had logged in, or a container, \
        started one. Without a kubeconfig it runs static pods alone and no cluster knows of it; with one it joins the \
        machine to somebody's cluster, which may then run anything on it. Look at --kubeconfig, --pod-manifest-path, \
        --root-dir, --config. To undo: stop it.",
    false_positives: &["Developers of Kubernetes, and kind's or minikube's nodes, which are containers."],
};

/// Asked by command.
pub static MANIFEST_APPLIED: Rule = Rule {
    id: "container.manifest.applied",
    name: "Containers that come back were asked for by a manifest",
    severity: Severity::Medium,
    techniques: &[CONTAINER_SERVICE, DEPLOY_CONTAINER],
    description: "`podman kube play`, `docker compose up` or `kubectl apply` was run with a file that describes containers \
        which are started again after their end: pods, DaemonSets, CronJobs, services with restart:. It counts for more \
        where they are given the host. Look at the file. To undo: `podman kube down FILE`, `docker compose down`, \
        `kubectl delete -f FILE`.",
    false_positives: &["Deployment of applications, by hand or by a pipeline."],
};
