//! The bundle that an OCI runtime is given: `config.json` (opencontainers/runtime-spec, config.md and config-linux.md).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::json::{Texts, lenient, members, value};
use super::{Booked, cri, host_path, option};
use crate::subject::container::service::ContainerService;

/// What docker and podman give a container that asks for nothing (moby: `oci/caps/defaults.go`); podman's default is a
/// part of it.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
/// With so many of them it has all that its kernel knows (5.10 has 41, capabilities(7)).
const ALL_CAPABILITIES: usize = 37;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Process {
    #[serde(deserialize_with = "lenient")]
    args: Texts,
    #[serde(deserialize_with = "lenient")]
    user: User,
    #[serde(deserialize_with = "lenient")]
    capabilities: Capabilities,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    #[serde(deserialize_with = "lenient")]
    uid: u32,
    #[serde(deserialize_with = "lenient")]
    gid: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Capabilities {
    #[serde(deserialize_with = "lenient")]
    bounding: Texts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Mount {
    #[serde(deserialize_with = "lenient")]
    destination: String,
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: String,
    #[serde(deserialize_with = "lenient")]
    source: String,
    #[serde(deserialize_with = "lenient")]
    options: Texts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Namespace {
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: String,
    #[serde(deserialize_with = "lenient")]
    path: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Device {
    #[serde(deserialize_with = "lenient")]
    path: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Linux {
    #[serde(deserialize_with = "lenient")]
    namespaces: Vec<Namespace>,
    #[serde(deserialize_with = "lenient")]
    devices: Vec<Device>,
    #[serde(rename = "maskedPaths", deserialize_with = "lenient")]
    masked: Texts,
    seccomp: Option<serde::de::IgnoredAny>,
}

/// Takes up `config.json`.
pub fn bundle(json: &[u8], booked: &mut Booked) -> bool {
    let mut any = false;
    let mut process = None;
    let mut mounts: Vec<Mount> = Vec::new();
    let mut linux = None;
    let mut annotations: BTreeMap<String, String> = BTreeMap::new();
    members(json, &mut |member, text| match member {
        "ociVersion" => any = true,
        "process" => process = Some(value::<Process>(text)),
        "mounts" => mounts = value(text),
        "linux" => linux = Some(value::<Linux>(text)),
        "annotations" => annotations = value(text),
        _ => {}
    });
    if !any {
        return false;
    }
    cri::annotations(&annotations, &mut booked.identity);
    for mount in &mounts {
        own_files(mount, booked);
    }
    // docker's own file says more exactly what was asked for.
    if booked.service.engine == "docker" {
        return true;
    }
    let service = &mut booked.service;
    if let Some(process) = process.as_ref().filter(|_| service.command.is_empty()) {
        process.args.0.iter().for_each(|argument| service.argument(argument));
        service.user = Some(format!("{}:{}", process.user.uid, process.user.gid));
    }
    let kubernetes = booked.identity.pod.is_some();
    access(process.as_ref(), &mounts, linux.as_ref(), kubernetes, service);
    true
}

fn access(
    process: Option<&Process>,
    mounts: &[Mount],
    linux: Option<&Linux>,
    kubernetes: bool,
    service: &mut ContainerService,
) {
    let bounding = process.map(|process| process.capabilities.bounding.0.as_slice()).unwrap_or_default();
    let unmasked = linux.is_some_and(|linux| linux.masked.0.is_empty());
    let privileged = bounding.len() >= ALL_CAPABILITIES && unmasked;
    if privileged {
        service.access.privileged(true);
    } else {
        let extra = bounding
            .iter()
            .map(|name| name.strip_prefix("CAP_").unwrap_or(name))
            .filter(|name| !DEFAULT_CAPABILITIES.contains(name));
        extra.for_each(|name| option(service, "cap-add", name));
    }
    for mount in mounts.iter().filter(|mount| is_bind(mount) && !is_engines(mount)) {
        if let Some(source) = host_path(&mount.source) {
            let only_read = mount.options.0.iter().any(|option| option == "ro");
            let end = if only_read { ":ro" } else { "" };
            option(service, "v", &format!("{source}:{}{end}", mount.destination));
        }
    }
    let Some(linux) = linux else { return };
    let names = [
        ("pid", "pid"),
        ("network", "network"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("cgroup", "cgroupns"),
        // Without a mount namespace of its own it has the host's whole tree.
        ("mount", "v"),
    ];
    for (kind, name) in names {
        let own = linux.namespaces.iter().find(|namespace| namespace.kind == kind);
        // docker keeps a name for the host's own network (libnetwork, `osl.GenerateKey("default")`).
        let hosts = own.is_none_or(|namespace| {
            namespace.path.starts_with("/proc/1/ns/") || namespace.path.ends_with("/docker/netns/default")
        });
        if hosts {
            option(service, name, if name == "v" { "/:/" } else { "host" });
        }
    }
    if privileged {
        return;
    }
    linux.devices.iter().for_each(|device| option(service, "device", &device.path));
    // Kubernetes runs pods without a filter unless they ask for one (kubernetes.io, "Restrict a Container's Syscalls
    // with seccomp").
    if linux.seccomp.is_none() && !kubernetes {
        option(service, "security-opt", "seccomp=unconfined");
    }
    if unmasked {
        option(service, "security-opt", "unmask=ALL");
    }
}

fn is_bind(mount: &Mount) -> bool {
    mount.kind == "bind" || mount.options.0.iter().any(|option| matches!(option.as_str(), "bind" | "rbind"))
}

/// What engines and kubelet mount into every container, and volumes that they manage.
fn is_engines(mount: &Mount) -> bool {
    const BELOW: [&str; 9] = [
        "/containers/",
        "/overlay-containers/",
        "/docker/volumes/",
        "/storage/volumes/",
        "/kubelet/pods/",
        "/kubelet/plugins/",
        "/io.containerd.grpc.v1.cri/sandboxes/",
        "/var/run/secrets/",
        "/buildkit/",
    ];
    const ROOTS: [&str; 8] = [
        "/var/lib/docker/",
        "/var/lib/containers/",
        "/run/containers/",
        "/var/lib/kubelet/",
        "/run/containerd/",
        "/var/lib/containerd/",
        "/var/lib/rancher/",
        "/run/k3s/",
    ];
    let users = mount.source.contains("/.local/share/") || mount.source.starts_with("/run/user/");
    (users || ROOTS.iter().any(|root| mount.source.starts_with(root)))
        && BELOW.iter().any(|part| mount.source.contains(part))
}

/// Where docker keeps its files of the container, and where the token of a pod's service account is.
fn own_files(mount: &Mount, booked: &mut Booked) {
    const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let Some(source) = host_path(&mount.source) else { return };
    if matches!(mount.destination.as_str(), "/etc/hosts" | "/etc/hostname" | "/etc/resolv.conf") {
        let directory = source.rsplit_once('/').map(|(directory, _)| directory);
        let docker =
            directory.filter(|path| path.rsplit_once("/containers/").is_some_and(|(_, id)| super::is_id(id)));
        if let Some(directory) = docker {
            booked.docker_directory = Some(directory.as_bytes().to_vec());
        }
    }
    let at = mount.destination.trim_end_matches('/').replacen(
        "/run/",
        "/var/run/",
        usize::from(mount.destination.starts_with("/run/")),
    );
    if at == TOKEN {
        booked.token = Some(format!("{source}/token").into_bytes());
    }
    cri::pod_of_path(source, &mut booked.identity);
}
