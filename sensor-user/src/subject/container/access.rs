//! Options that give a container a part of its host.

use std::borrow::Cow;

use crate::event::path::lossy;

/// How much of the host an option gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// Something of it: its network, a device.
    Partial,
    /// Enough to take it over.
    Full,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAccess {
    /// As on the command line, name and value joined.
    pub option: String,
    /// How much.
    pub grant: Grant,
}

/// Capabilities that make root in a container root of the host (capabilities(7)).
const FULL_CAPABILITIES: [&str; 9] = [
    "ALL",
    "SYS_ADMIN",
    "SYS_PTRACE",
    "SYS_MODULE",
    "SYS_RAWIO",
    "DAC_READ_SEARCH",
    "MKNOD",
    "BPF",
    "PERFMON",
];

/// Host directories from which the host can be taken over when a container may write to them.
const FULL_DIRECTORIES: [&str; 19] = [
    "/",
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    "/root",
    "/home",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var",
    "/var/run",
    "/var/lib",
    "/var/spool/cron",
    "/opt",
];

/// Directories below which every path gives the host.
const FULL_BELOW: [&str; 14] = [
    "/etc/systemd",
    "/etc/cron",
    "/etc/init.d",
    "/etc/kubernetes",
    "/etc/containers",
    "/run/systemd",
    "/run/dbus",
    "/usr/lib/systemd",
    "/lib/systemd",
    "/usr/local/lib/systemd",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/root/.ssh",
];

/// Sockets through which a container engine or service manager obeys.
const SOCKETS: [&str; 8] = [
    "docker.sock",
    "podman.sock",
    "containerd.sock",
    "crio.sock",
    "dockershim.sock",
    "cri-dockerd.sock",
    "system_bus_socket",
    "io.systemd.Manager",
];

/// What one option, without its dashes, gives of the host. `None` where nothing.
pub fn host_access(option: &str, value: &[u8]) -> Option<HostAccess> {
    let text = lossy(value);
    let grant = match option {
        "privileged" => Grant::Full,
        "pid" | "userns" if text == "host" => Grant::Full,
        "net" | "network" | "ipc" | "uts" | "cgroupns" if text == "host" => Grant::Partial,
        "cap-add" => text.split(',').map(capability).max()?,
        "device" | "device-cgroup-rule" => device(&text),
        "security-opt" if is_unconfined(&text) => Grant::Partial,
        "v" | "volume" => directory(text.split(':').next()?)?,
        "mount" => mount(&text)?,
        _ => return None,
    };
    let option = match option {
        "privileged" => "--privileged".to_owned(),
        "v" => format!("-v {text}"),
        long => format!("--{long}={text}"),
    };
    Some(HostAccess { option, grant })
}

fn capability(name: &str) -> Grant {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    if FULL_CAPABILITIES.contains(&name) { Grant::Full } else { Grant::Partial }
}

/// A disk or the machine's memory gives everything, the graphics card less.
fn device(value: &str) -> Grant {
    let host = value.split(':').next().unwrap_or_default();
    let name = host.strip_prefix("/dev/").unwrap_or(host);
    let whole = ["sd", "vd", "xvd", "nvme", "dm-", "mapper", "disk", "md", "loop", "mem", "kmem", "port"];
    if host == "/dev" || whole.iter().any(|prefix| name.starts_with(prefix)) {
        Grant::Full
    } else {
        Grant::Partial
    }
}

fn is_unconfined(value: &str) -> bool {
    value.ends_with("unconfined") || matches!(value, "label=disable" | "label:disable" | "unmask=ALL")
}

/// A bind mount's source on the host; a named volume begins with no "/" and gives nothing.
fn directory(source: &str) -> Option<Grant> {
    let path = normal(source)?;
    if path.rsplit('/').next().is_some_and(|name| SOCKETS.contains(&name)) {
        return Some(Grant::Full);
    }
    let below = |directory: &str| {
        path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
    };
    if FULL_DIRECTORIES.contains(&path.as_ref()) || FULL_BELOW.iter().any(|at| below(at)) {
        return Some(Grant::Full);
    }
    let partial = ["/etc", "/proc", "/sys", "/dev", "/run", "/var/run", "/usr", "/boot", "/root"];
    partial.iter().any(|at| below(at)).then_some(Grant::Partial)
}

/// `--mount type=bind,source=/,target=/host` (docker-run(1), podman-run(1)).
fn mount(value: &str) -> Option<Grant> {
    let mut source = None;
    let mut bind = false;
    for field in value.split(',') {
        match field.split_once('=') {
            Some(("type", kind)) => bind = kind == "bind",
            Some(("source" | "src", path)) => source = Some(path),
            _ => {}
        }
    }
    directory(source.filter(|_| bind)?)
}

/// The path without doubled, trailing and `.` components and with `..` resolved by its text.
fn normal(path: &str) -> Option<Cow<'_, str>> {
    if !path.starts_with('/') {
        return None;
    }
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    Some(format!("/{}", names.join("/")).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grant(option: &str, value: &str) -> Option<Grant> {
        host_access(option, value.as_bytes()).map(|access| access.grant)
    }

    #[test]
    fn what_gives_the_host() {
        for (option, value) in [
            ("privileged", ""),
            ("pid", "host"),
            ("cap-add", "ALL"),
            ("cap-add", "net_admin,cap_sys_admin"),
            ("v", "/:/host"),
            ("volume", "//etc/../:/host:rw"),
            ("v", "/var/run/docker.sock:/var/run/docker.sock"),
            ("v", "/etc/systemd/system:/u"),
            ("v", "/etc/cron.d:/u"),
            ("mount", "type=bind,src=/,dst=/host"),
            ("mount", "source=/etc,type=bind,target=/x"),
            ("device", "/dev/sda:/dev/x"),
        ] {
            assert_eq!(grant(option, value), Some(Grant::Full), "{option} {value}");
        }
    }

    #[test]
    fn what_gives_a_part() {
        for (option, value) in [
            ("network", "host"),
            ("cap-add", "NET_ADMIN"),
            ("device", "/dev/dri"),
            ("security-opt", "seccomp=unconfined"),
            ("v", "/etc/localtime:/etc/localtime:ro"),
        ] {
            assert_eq!(grant(option, value), Some(Grant::Partial), "{option} {value}");
        }
    }

    #[test]
    fn what_gives_nothing() {
        for (option, value) in [
            ("network", "bridge"),
            ("pid", "container:x"),
            ("v", "data:/var/lib/data"),
            ("v", "/srv/data:/data"),
            ("v", "/etcetera:/x"),
            ("mount", "type=volume,source=/,target=/x"),
            ("mount", "type=tmpfs"),
            ("security-opt", "no-new-privileges"),
            ("name", "/"),
        ] {
            assert_eq!(grant(option, value), None, "{option} {value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(
            option in proptest::sample::select(vec![
                "privileged", "pid", "network", "cap-add", "device", "security-opt", "v", "volume", "mount", "name",
            ]),
            value in proptest::collection::vec(any::<u8>(), 0..60),
            fields in "((type|source|src)=?(bind|/|\\.\\.|,|:|[a-zé]){0,4},?){0,4}",
        ) {
            let _any_answer = (host_access(option, &value), host_access(option, fields.as_bytes()));
        }

        #[test]
        fn no_detour_hides_the_hosts_root(detour in "(/|\\./|[a-z]{1,5}/\\.\\./){0,6}") {
            prop_assert_eq!(grant("v", &format!("/{detour}:/host")), Some(Grant::Full));
            prop_assert_eq!(grant("mount", &format!("type=bind,source=/{detour},target=/host")), Some(Grant::Full));
        }
    }
}
