//! Control groups: their paths by id, and what a path says of container and unit.

use super::actor::Container;
use super::clock::ClockTable;
use crate::event::path::lossy;

/// Paths of control groups by id (`kernfs_node.id`), bounded by number and bytes.
///
/// The kernel reports no removal, so groups leave by age; one that was looked up since it came round last gets a
/// second turn, lest a flood of short-lived containers push out the system's services.
#[derive(Debug)]
pub struct Cgroups {
    paths: ClockTable<u64, Box<[u8]>>,
}

impl Cgroups {
    /// For at most `entries` groups (at least one) and about `byte_limit` bytes.
    pub fn new(entries: usize, byte_limit: usize) -> Self {
        Self { paths: ClockTable::new(entries, byte_limit) }
    }

    /// Notes a group. Ids are not reused while the machine runs, but a newer path for one replaces the older.
    pub fn insert(&mut self, id: u64, path: &[u8]) {
        if self.path(id) != Some(path) {
            self.paths.insert(id, path.into(), path.len());
        }
    }

    /// The path of a group.
    pub fn path(&self, id: u64) -> Option<&[u8]> {
        self.paths.get(&id).map(|path| &**path)
    }

    /// Gives a group a second turn before it leaves.
    pub fn touch(&mut self, id: u64) {
        self.paths.touch(&id);
    }

    /// Groups known.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.paths.len() == 0
    }

    /// The bound of [`Self::len`].
    pub fn capacity(&self) -> usize {
        self.paths.capacity()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.paths.bytes()
    }

    /// Groups that left for want of room.
    pub fn evicted(&self) -> u64 {
        self.paths.evicted()
    }
}

/// Prefixes by which engines and their cgroup drivers name a container's group, and the engine. The monitors'
/// groups (`libpod-conmon-`, `crio-conmon-`) begin alike, but what follows is no id, so they do not match.
///
/// docker: `daemon/oci_linux.go` (`docker-` with the systemd driver); podman: `libpod/container_internal_linux.go`
/// (`libpod-`, `libpod-payload-`); containerd's CRI: `internal/cri/server` (`cri-containerd-`); CRI-O:
/// `internal/config/cgmgr` (`crio-`); nerdctl: `pkg/cmd/container/run_cgroup_linux.go` (`nerdctl-`).
const PREFIXES: [(&[u8], &str); 6] = [
    (b"docker-", "docker"),
    (b"libpod-payload-", "podman"),
    (b"libpod-", "podman"),
    (b"cri-containerd-", "containerd"),
    (b"nerdctl-", "containerd"),
    (b"crio-", "cri-o"),
];

/// The innermost container that a group's path names, by its 64 hexadecimal digits.
pub fn container(path: &[u8]) -> Option<Container> {
    let mut names = path.rsplit(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        // With the wrong cgroup driver containerd leaves `SLICE:cri-containerd:ID`.
        let (prefix, last) = match name.iter().rposition(|byte| *byte == b':') {
            Some(colon) => (&name[..colon], &name[colon + 1..]),
            None => (&[][..], name),
        };
        let last = last.strip_suffix(b".scope").unwrap_or(last);
        if is_id(last) {
            let runtime = if prefix.ends_with(b"cri-containerd") {
                Some("containerd")
            } else if names.peek() == Some(&&b"docker"[..]) {
                Some("docker")
            } else {
                None
            };
            return Some(new_container(last, runtime));
        }
        for (prefix, runtime) in PREFIXES {
            if let Some(id) = last.strip_prefix(prefix).filter(|id| is_id(id)) {
                return Some(new_container(id, Some(runtime)));
            }
        }
    }
    None
}

fn new_container(id: &[u8], runtime: Option<&str>) -> Container {
    Container { id: lossy(id).into_owned(), runtime: runtime.map(str::to_owned), identity: None }
}

fn is_id(name: &[u8]) -> bool {
    name.len() == 64 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The innermost systemd unit that a group's path names: the first name that is no slice, and below a user manager
/// (`user@UID.service`) again the first that is no slice (`cg_path_get_unit` and `cg_path_get_user_unit`,
/// src/basic/cgroup-util.c of systemd).
pub fn unit(path: &[u8]) -> Option<String> {
    let mut found = None;
    for name in path.split(|byte| *byte == b'/') {
        // systemd escapes names that would clash with the kernel's files by a leading "_".
        let name = name.strip_prefix(b"_").unwrap_or(name);
        if !is_unit(name) {
            if found.is_some() && !is_slice(name) {
                break;
            }
            continue;
        }
        found = Some(name);
        if !(name.starts_with(b"user@") && name.ends_with(b".service")) {
            break;
        }
    }
    found.map(|name| lossy(name).into_owned())
}

fn is_slice(name: &[u8]) -> bool {
    name.ends_with(b".slice")
}

fn is_unit(name: &[u8]) -> bool {
    let types: [&[u8]; 5] = [b".service", b".scope", b".socket", b".mount", b".swap"];
    types.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    fn found(template: &str) -> Option<(String, Option<String>)> {
        let path = template.replace("ID", ID).replace("OTHER", OTHER);
        container(path.as_bytes()).map(|container| (container.id, container.runtime))
    }

    #[test]
    fn containers_are_found_in_every_engines_path() {
        let id = |runtime: Option<&str>| Some((ID.to_owned(), runtime.map(str::to_owned)));
        for (path, runtime) in [
            ("/system.slice/docker-ID.scope", Some("docker")),
            ("/docker/ID", Some("docker")),
            ("/machine.slice/libpod-ID.scope", Some("podman")),
            ("/machine.slice/libpod-ID.scope/container", Some("podman")),
            ("/libpod_parent/libpod-ID", Some("podman")),
            ("/system.slice/x.service/libpod-payload-ID", Some("podman")),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                Some("podman"),
            ),
            ("/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope", Some("containerd")),
            ("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:ID", Some("containerd")),
            ("/kubepods.slice/kubepods-besteffort.slice/crio-ID.scope", Some("cri-o")),
            ("/kubepods/burstable/pod77/ID", None),
            ("/ecs/task/ID/init.scope", None),
            ("/system.slice/docker-OTHER.scope/docker/ID", Some("docker")),
        ] {
            assert_eq!(found(path), id(runtime), "{path}");
        }
    }

    #[test]
    fn what_is_no_container_is_none() {
        for path in [
            "/",
            "",
            "/machine.slice/libpod-conmon-ID.scope",
            "/kubepods.slice/crio-conmon-ID.scope",
            "/system.slice/docker.service",
            "/user.slice/user-1000.slice/session-2.scope",
            "/system.slice/docker-0123.scope",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn units_are_the_innermost() {
        for (path, expected) in [
            ("/system.slice/ssh.service", Some("ssh.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            ("/init.scope", Some("init.scope")),
            ("/user.slice/user-1000.slice/session-4.scope", Some("session-4.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/y.service", Some("y.service")),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", Some("init.scope")),
            ("/user.slice/user-1000.slice/user@1000.service", Some("user@1000.service")),
            ("/system.slice/docker.service/x.service", Some("docker.service")),
            ("/system.slice/_cgroup.service", Some("cgroup.service")),
            ("/docker/abc", None),
            ("/", None),
        ] {
            assert_eq!(unit(path.as_bytes()).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_keeps_what_is_used() {
        let mut cgroups = Cgroups::new(100, 1 << 20);
        cgroups.insert(1, b"/system.slice/docker.service");
        for id in 2..2000 {
            cgroups.touch(1);
            cgroups.insert(id, b"/x");
        }
        assert_eq!(cgroups.len(), 100);
        assert_eq!(cgroups.evicted(), 1899);
        assert_eq!(cgroups.path(1), Some(&b"/system.slice/docker.service"[..]));
        assert_eq!(cgroups.path(2), None);

        let mut bytes = Cgroups::new(100, 10_000);
        for id in 0..50 {
            bytes.insert(id, &[b'x'; 1000]);
        }
        assert!(bytes.bytes() <= 10_000 && bytes.len() > 5, "{} {}", bytes.bytes(), bytes.len());
    }

    proptest! {
        #[test]
        fn no_path_panics(path in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(found) = container(&path) {
                prop_assert!(is_id(found.id.as_bytes()));
            }
            if let Some(unit) = unit(&path) {
                prop_assert!(!unit.contains('/'));
            }
        }

        #[test]
        fn a_container_is_found_wherever_its_group_lies(
            above in "(/[a-z0-9@:_.-]{1,20}){0,6}",
            which in 0..PREFIXES.len(),
            id in "[0-9a-f]{64}",
            below in "(/[a-z.]{1,12}){0,3}",
        ) {
            let (prefix, runtime) = PREFIXES[which];
            let path = format!("{above}/{}{id}.scope{below}", lossy(prefix));
            let found = container(path.as_bytes()).expect("it is one");
            prop_assert_eq!((found.id, found.runtime.as_deref()), (id, Some(runtime)));
        }
    }
}
