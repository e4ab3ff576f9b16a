//! The rows of what container engines and node agents go by: what keeps containers alive, and what runs them.
//!
//! Each source is named beside its paths: the manual page, or the program that reads them.

use super::{Kind, Names};
use crate::event::user::WatchClass;
use crate::subject::service::UnitPart;

/// Programs that make containers, on whose behalf everything in them runs: engines, shims, runtimes, node agents.
pub const RUNTIMES: [&str; 29] = [
    "runc",
    "crun",
    "youki",
    "runsc",
    "kata-runtime",
    "nvidia-container-runtime",
    "nvidia-container-runtime-hook",
    "nvidia-container-cli",
    "conmon",
    "conmonrs",
    "catatonit",
    "tini",
    "docker-init",
    "docker-proxy",
    "docker",
    "dockerd",
    "containerd",
    "ctr",
    "nerdctl",
    "podman",
    "crio",
    "pinns",
    "kubelet",
    "k3s",
    "rke2",
    "k0s",
    "netavark",
    "aardvark-dns",
    "quadlet",
];

/// Beginnings of the names of programs that an engine finds in `$PATH`: containerd's shims
/// (core/runtime/v2/README.md) and docker's credential helpers (docker-login(1)).
pub const RUNTIME_PREFIXES: [&str; 2] = ["containerd-shim", "docker-credential-"];

/// Suffixes of Quadlet's sources (podman-systemd.unit(5); `.artifact` since podman 5.7).
pub const QUADLETS: [&str; 8] =
    [".container", ".pod", ".kube", ".volume", ".network", ".image", ".build", ".artifact"];

/// Whether `path` is that of a program which makes containers, and not that of a directory of such programs, as
/// /usr/libexec/podman is.
pub fn is_runtime(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or_default();
    let among_directories = directory.ends_with("/lib") || directory.ends_with("/libexec");
    !among_directories && is_runtime_name(name.as_bytes())
}

/// Whether a file of this name, where programs lie, makes containers.
pub fn is_runtime_name(name: &[u8]) -> bool {
    RUNTIMES.iter().any(|runtime| runtime.as_bytes() == name)
        || RUNTIME_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// What a name in a Quadlet directory is in force for: a source itself, or the source, type or prefix whose drop-in
/// directory it is (podman-systemd.unit(5), "Quadlet drop-ins").
pub fn drop_in_base(directory: &[u8]) -> Option<&[u8]> {
    directory.strip_suffix(b".d").filter(|base| {
        QUADLETS.iter().any(|suffix| base.ends_with(suffix.as_bytes()) || *base == &suffix.as_bytes()[1..])
    })
}

/// Whether a name is that of a source. Quadlet takes hidden ones as well (`loadUnitsFromDir`, cmd/quadlet/main.go).
pub fn is_quadlet(name: &[u8]) -> bool {
    QUADLETS.iter().any(|suffix| name.ends_with(suffix.as_bytes()) && name.len() > suffix.len())
}

/// What engines keep beside their configuration for themselves: their key, contexts, builders, networks.
pub fn is_engines_own(relative: &[u8]) -> bool {
    const OWN: [&[u8]; 6] = [b"contexts/", b"buildx/", b"networks/", b"trust/", b"scan/", b"run/"];
    relative == b"key.json" || OWN.iter().any(|directory| relative.starts_with(directory))
}

/// What lies in a directory of an engine's configuration and is something else: the row, and the path below its own
/// directory, which is empty for that directory itself.
pub fn inner(relative: &[u8]) -> Option<(WatchClass, &[u8])> {
    const INNER: [(&[u8], WatchClass); 4] = [
        (b"systemd", WatchClass::Quadlet),
        (b"oci/hooks.d", WatchClass::RuntimeHook),
        (b"plugins", WatchClass::RuntimeHook),
        (b"cli-plugins", WatchClass::RuntimePlugin),
    ];
    INNER.iter().find_map(|(directory, class)| match relative.strip_prefix(*directory)? {
        [] => Some((*class, &b""[..])),
        [b'/', below @ ..] => Some((*class, below)),
        _ => None,
    })
}

/// These rows.
pub static KINDS: &[Kind] = &[
    Kind {
        class: WatchClass::Quadlet,
        part: UnitPart::Quadlet,
        noun: "Quadlet",
        names: Names::Quadlet,
        programs: false,
        // podman-systemd.unit(5), "Podman rootful unit search path" and "rootless"; those below /etc/containers,
        // /usr/share/containers and ~/.config/containers belong to these.
        paths: &["/run/containers/systemd", "/run/user/*/containers/systemd"],
        files: &[],
        users: &[],
        packages: &[],
    },
    Kind {
        class: WatchClass::StaticPod,
        part: UnitPart::StaticPod,
        noun: "static pod",
        names: Names::Visible,
        programs: false,
        // kubeadm's constants, and where k3s and rke2 tell their kubelet to look (`--pod-manifest-path`). What the
        // running kubelet is told beside these is watched because of it (`detect::follow`).
        paths: &[
            "/etc/kubernetes/manifests",
            "/var/lib/rancher/k3s/agent/pod-manifests",
            "/var/lib/rancher/rke2/agent/pod-manifests",
        ],
        files: &[],
        users: &[],
        packages: &[],
    },
    Kind {
        class: WatchClass::ClusterManifest,
        part: UnitPart::ClusterManifest,
        noun: "cluster manifest",
        names: Names::Tree(&[".yaml", ".yml", ".json"]),
        programs: false,
        // "Auto-Deploying Manifests" of k3s and rke2, k0s's manifest deployer, minikube's addons.
        paths: &[
            "/var/lib/rancher/k3s/server/manifests",
            "/var/lib/rancher/rke2/server/manifests",
            "/var/lib/k0s/manifests",
            "/etc/kubernetes/addons",
        ],
        files: &[],
        users: &[],
        packages: &[],
    },
    Kind {
        class: WatchClass::KubeletConfig,
        part: UnitPart::KubeletConfig,
        noun: "kubelet configuration",
        names: Names::EveryInTree,
        programs: false,
        // kubelet's `--config`, `--config-dir`, `--kubeconfig`; kubeadm's drop-in; config.yaml of k3s and rke2; k0s;
        // MicroK8s keeps each daemon's arguments in a file.
        paths: &[
            "/var/lib/kubelet/config.yaml",
            "/var/lib/kubelet/kubeadm-flags.env",
            "/etc/kubernetes/kubelet.conf",
            "/etc/kubernetes/kubelet.conf.d",
            "/etc/kubernetes/kubelet",
            "/etc/default/kubelet",
            "/etc/sysconfig/kubelet",
            "/etc/rancher/k3s",
            "/etc/rancher/rke2",
            "/etc/k0s",
            "/var/snap/microk8s/current/args",
        ],
        files: &["config.yaml", "kubeadm-flags.env", "kubelet.conf", "default/kubelet", "sysconfig/kubelet"],
        users: &[],
        packages: &[],
    },
    Kind {
        class: WatchClass::EngineConfig,
        part: UnitPart::EngineConfig,
        noun: "container engine configuration",
        names: Names::Tree(&[
            ".json",
            ".toml",
            ".conf",
            ".yaml",
            ".yml",
            "docker",
            "docker-storage",
            "docker-network",
        ]),
        programs: false,
        // dockerd(8), containerd-config.toml(5), crio.conf.d(5), containers.conf(5), containers-registries.conf(5),
        // containers-policy.json(5), containers-storage.conf(5), NVIDIA's container toolkit.
        paths: &[
            "/etc/docker",
            "/etc/default/docker",
            "/etc/sysconfig/docker",
            "/etc/containerd",
            "/etc/crio",
            "/etc/containers",
            "/usr/share/containers",
            "/etc/nvidia-container-runtime",
            "~/.config/containers",
            "~/.docker",
        ],
        files: &["default/docker", "sysconfig/docker"],
        users: &[],
        packages: &["/etc/containers/", "/etc/containerd/", "/etc/crio/", "/etc/default/", "/etc/sysconfig/"],
    },
    Kind {
        class: WatchClass::RuntimeHook,
        part: UnitPart::RuntimeHook,
        noun: "container hook",
        names: Names::Tree(&[".json", ".yaml", ".yml", ".conf", ".conflist", ".spec", ".toml", ".sock"]),
        programs: false,
        // oci-hooks(5), cni.dev's SPEC.md, CDI's SPEC.md, containerd's docs/NRI.md, docker's plugin discovery,
        // Kubernetes' device and CSI plugin registration.
        paths: &[
            "/run/containers/oci/hooks.d",
            "/etc/cni/net.d",
            "/etc/cdi",
            "/run/cdi",
            "/etc/nri",
            "/run/docker/plugins",
            "/var/lib/kubelet/device-plugins",
            "/var/lib/kubelet/plugins_registry",
        ],
        files: &[],
        users: &[],
        packages: &[],
    },
    Kind {
        class: WatchClass::RuntimePlugin,
        part: UnitPart::RuntimePlugin,
        noun: "container plugin",
        names: Names::EveryInTree,
        programs: true,
        // The directories of CNI's, NRI's, docker's and containerd's plugins, and of kubelet's FlexVolume.
        paths: &[
            "/opt/cni/bin",
            "/usr/lib/cni",
            "/usr/libexec/cni",
            "/opt/nri/plugins",
            "/opt/containerd/bin",
            "/usr/lib/docker",
            "/usr/libexec/docker",
            "/usr/local/lib/docker",
            "/usr/local/libexec/docker",
            "/usr/libexec/kubernetes/kubelet-plugins",
        ],
        files: &[],
        users: &[],
        packages: &["/usr/libexec/"],
    },
    Kind {
        class: WatchClass::RuntimeProgram,
        part: UnitPart::RuntimeProgram,
        noun: "container runtime",
        names: Names::Runtimes,
        programs: true,
        // Where Debian, Fedora and upstream's archives put them. What runs elsewhere is watched once it runs
        // (`detect::follow`).
        paths: &[
            "/usr/bin/runc",
            "/usr/sbin/runc",
            "/usr/bin/crun",
            "/usr/bin/conmon",
            "/usr/bin/containerd",
            "/usr/bin/containerd-shim-runc-v2",
            "/usr/bin/dockerd",
            "/usr/sbin/dockerd",
            "/usr/bin/docker",
            "/usr/bin/docker-init",
            "/usr/bin/docker-proxy",
            "/usr/sbin/docker-init",
            "/usr/sbin/docker-proxy",
            "/usr/bin/podman",
            "/usr/bin/crio",
            "/usr/bin/kubelet",
            "/usr/local/bin",
            "/usr/local/sbin",
            "/usr/libexec/podman",
            "/usr/lib/podman",
        ],
        // `is_runtime` tells.
        files: &[],
        users: &[],
        packages: &[],
    },
    Kind {
        class: WatchClass::MachineConfig,
        part: UnitPart::MachineConfig,
        noun: "machine configuration",
        names: Names::EveryInTree,
        programs: false,
        // lxc.container.conf(5), lxc-autostart(1); libvirt's autostart links and definitions.
        paths: &["/var/lib/lxc/*/config", "/etc/lxc", "/etc/libvirt/lxc", "/etc/libvirt/qemu"],
        files: &["config"],
        users: &[],
        packages: &[],
    },
];
