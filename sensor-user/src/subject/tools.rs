//! Tools that make, change or start services, and how they are recognised: by what file runs, not by what it is
//! called in argv.

use std::collections::HashMap;

use sensor_common::record::flags;

use crate::lineage::image::{Image, base_name};

/// What a tool works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Asks systemd's managers, over D-Bus or their private sockets.
    ManagerClient,
    /// Edits units, links and scripts itself.
    UnitEditor,
    /// A container engine's command with `run --restart`.
    ContainerEngine,
    /// Another container tool.
    ContainerTool,
    /// Runs containers for others: an engine's daemon, its helper beside each container, a node's agent.
    ContainerDaemon,
    /// Starts what it is given in a container of the low-level kind (opencontainers/runtime-spec).
    ContainerRuntime,
    /// Gives programs namespaces of their own as a matter of course.
    Sandbox,
}

/// A known tool.
#[derive(Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its usual name.
    pub name: &'static str,
    /// What it works on.
    pub family: Family,
}

const fn tool(name: &'static str, family: Family) -> Tool {
    Tool { name, family }
}

/// Every known tool.
pub static TOOLS: &[Tool] = &[
    tool("systemctl", Family::ManagerClient),
    tool("systemd-run", Family::ManagerClient),
    tool("run0", Family::ManagerClient),
    tool("busctl", Family::ManagerClient),
    tool("gdbus", Family::ManagerClient),
    tool("dbus-send", Family::ManagerClient),
    tool("service", Family::ManagerClient),
    tool("invoke-rc.d", Family::ManagerClient),
    tool("telinit", Family::ManagerClient),
    tool("machinectl", Family::ManagerClient),
    tool("portablectl", Family::ManagerClient),
    tool("systemd-stdio-bridge", Family::ManagerClient),
    tool("deb-systemd-invoke", Family::ManagerClient),
    tool("deb-systemd-helper", Family::UnitEditor),
    tool("systemd-sysv-install", Family::UnitEditor),
    tool("systemd-sysext", Family::UnitEditor),
    tool("systemd-confext", Family::UnitEditor),
    tool("systemd-firstboot", Family::UnitEditor),
    tool("systemd-tmpfiles", Family::UnitEditor),
    tool("update-rc.d", Family::UnitEditor),
    tool("insserv", Family::UnitEditor),
    tool("chkconfig", Family::UnitEditor),
    tool("rc-update", Family::UnitEditor),
    tool("initctl", Family::ManagerClient),
    tool("docker", Family::ContainerEngine),
    tool("podman", Family::ContainerEngine),
    tool("podman-remote", Family::ContainerEngine),
    tool("nerdctl", Family::ContainerEngine),
    tool("docker-compose", Family::ContainerTool),
    tool("podman-compose", Family::ContainerTool),
    tool("ctr", Family::ContainerTool),
    tool("crictl", Family::ContainerTool),
    tool("kubectl", Family::ContainerTool),
    tool("kubeadm", Family::ContainerTool),
    tool("helm", Family::ContainerTool),
    tool("runc", Family::ContainerRuntime),
    tool("crun", Family::ContainerRuntime),
    tool("youki", Family::ContainerRuntime),
    tool("runsc", Family::ContainerRuntime),
    tool("kata-runtime", Family::ContainerRuntime),
    tool("dockerd", Family::ContainerDaemon),
    tool("containerd", Family::ContainerDaemon),
    tool("containerd-shim", Family::ContainerDaemon),
    tool("containerd-shim-runc-v1", Family::ContainerDaemon),
    tool("containerd-shim-runc-v2", Family::ContainerDaemon),
    tool("containerd-shim-kata-v2", Family::ContainerDaemon),
    tool("containerd-shim-runsc-v1", Family::ContainerDaemon),
    tool("buildkitd", Family::ContainerDaemon),
    tool("conmon", Family::ContainerDaemon),
    tool("conmonrs", Family::ContainerDaemon),
    tool("crio", Family::ContainerDaemon),
    tool("kubelet", Family::ContainerDaemon),
    tool("k3s", Family::ContainerDaemon),
    tool("lxd", Family::ContainerDaemon),
    tool("incusd", Family::ContainerDaemon),
    tool("lxc-start", Family::ContainerDaemon),
    tool("libvirt_lxc", Family::ContainerDaemon),
    tool("bwrap", Family::Sandbox),
    tool("flatpak", Family::Sandbox),
    tool("flatpak-bwrap", Family::Sandbox),
    tool("snap-confine", Family::Sandbox),
    tool("firejail", Family::Sandbox),
    tool("minijail0", Family::Sandbox),
    tool("buildah", Family::ContainerTool),
    tool("lxc", Family::ContainerTool),
    tool("incus", Family::ContainerTool),
    tool("systemd-nspawn", Family::ContainerTool),
    tool("rke2", Family::ContainerDaemon),
    tool("k0s", Family::ContainerDaemon),
    tool("cri-dockerd", Family::ContainerDaemon),
];

/// Directories in which a file of a tool's name is taken for that tool.
pub const DIRECTORIES: [&[u8]; 14] = [
    b"/usr/bin",
    b"/usr/sbin",
    b"/bin",
    b"/sbin",
    b"/usr/local/bin",
    b"/usr/local/sbin",
    b"/snap/bin",
    b"/usr/lib/systemd",
    b"/lib/systemd",
    // Where conmon, snap-confine and libvirt's helper lie.
    b"/usr/libexec/podman",
    b"/usr/lib/podman",
    b"/usr/lib/snapd",
    b"/usr/libexec",
    b"/usr/lib/libvirt",
];

/// How a tool was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// The file that runs is the tool's (device and inode), whatever its name.
    ByIdentity(&'static Tool),
    /// The file that runs, or the script, has the tool's name.
    ByName(&'static Tool),
}

impl Recognised {
    /// The tool.
    pub fn tool(self) -> &'static Tool {
        match self {
            Self::ByIdentity(tool) | Self::ByName(tool) => tool,
        }
    }
}

/// The tool of a name.
pub fn by_name(name: &[u8]) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name.as_bytes() == name)
}

/// Files known to be tools.
#[derive(Debug)]
pub struct KnownTools {
    by_identity: HashMap<(u32, u64), &'static Tool>,
    capacity: usize,
}

impl KnownTools {
    /// For at most `capacity` files. What finds no room is still recognised by name.
    pub fn new(capacity: usize) -> Self {
        Self { by_identity: HashMap::new(), capacity }
    }

    /// Notes the file of a tool. A name that is no tool's is ignored.
    pub fn insert(&mut self, name: &[u8], device: u32, inode: u64) {
        let Some(tool) = by_name(name).filter(|_| inode != 0) else { return };
        if self.by_identity.len() < self.capacity || self.by_identity.contains_key(&(device, inode)) {
            self.by_identity.insert((device, inode), tool);
        }
    }

    /// Learns from what runs: a file in one of the usual directories under a tool's name, in the host's own mount
    /// namespace, is that tool. A script does not make its interpreter a tool.
    pub fn learn(&mut self, image: &Image<'_>, foreign: bool) {
        let odd = flags::EXE_SCRIPT | flags::EXE_MEMFD | flags::EXE_DELETED;
        if foreign || image.flags & odd != 0 {
            return;
        }
        let name = image.exe_name();
        let directory = image.exe.strip_suffix(name).and_then(|path| path.strip_suffix(b"/"));
        if directory.is_some_and(|directory| DIRECTORIES.contains(&directory)) {
            self.insert(name, image.device, image.inode);
        }
    }

    /// Which tool, if any, an image is. argv does not matter: anyone can set it.
    pub fn recognise(&self, image: &Image<'_>) -> Option<Recognised> {
        if let Some(tool) = self.by_identity.get(&(image.device, image.inode)) {
            return Some(Recognised::ByIdentity(tool));
        }
        let script = image.flags & flags::EXE_SCRIPT != 0;
        let name = if script { base_name(image.filename) } else { image.exe_name() };
        by_name(name).map(Recognised::ByName)
    }

    /// Files known.
    pub fn len(&self) -> usize {
        self.by_identity.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_identity.is_empty()
    }

    /// The bound of [`Self::len`].
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(exe: &[u8], inode: u64) -> Image<'_> {
        Image { device: 1, inode, exe, ..Image::default() }
    }

    #[test]
    fn a_link_of_a_known_file_is_the_tool() {
        let mut known = KnownTools::new(10);
        known.learn(&image(b"/usr/bin/docker", 5), false);
        let docker = by_name(b"docker").expect("a tool");
        assert_eq!(known.recognise(&image(b"/tmp/innocent", 5)), Some(Recognised::ByIdentity(docker)));
        assert_eq!(known.recognise(&image(b"/opt/docker", 6)), Some(Recognised::ByName(docker)));
        assert_eq!(known.recognise(&image(b"/tmp/innocent", 6)), None);
    }

    #[test]
    fn nothing_is_learned_from_doubtful_files() {
        let mut known = KnownTools::new(10);
        known.learn(&image(b"/tmp/docker", 5), false);
        known.learn(&image(b"/usr/bin/docker", 6), true);
        known.learn(&image(b"/usr/bin/bash", 7), false);
        known.learn(&Image { flags: flags::EXE_SCRIPT, ..image(b"/usr/bin/service", 8) }, false);
        assert!(known.is_empty());
    }

    #[test]
    fn scripts_are_recognised_by_the_scripts_name() {
        let script = Image {
            flags: flags::EXE_SCRIPT,
            filename: b"/usr/sbin/update-rc.d",
            ..image(b"/usr/bin/perl", 9)
        };
        let known = KnownTools::new(10);
        assert_eq!(known.recognise(&script).map(Recognised::tool), by_name(b"update-rc.d"));
        let interpreter = Image { filename: b"/tmp/x", ..script };
        assert_eq!(known.recognise(&interpreter), None);
    }

    #[test]
    fn names_are_unique_and_the_table_bounded() {
        let mut known = KnownTools::new(3);
        for (inode, tool) in TOOLS.iter().enumerate() {
            assert!(std::ptr::eq(by_name(tool.name.as_bytes()).expect("a tool"), tool), "{}", tool.name);
            known.insert(tool.name.as_bytes(), 1, inode as u64 + 1);
        }
        assert_eq!(known.len(), 3);
    }

    proptest! {
        #[test]
        fn only_identity_and_the_files_name_decide(
            exe in proptest::collection::vec(any::<u8>(), 0..60),
            args in proptest::collection::vec(any::<u8>(), 0..60),
            flags in any::<u16>(),
            tool in 0..TOOLS.len(),
        ) {
            let mut known = KnownTools::new(10);
            let any = Image { flags, args: &args, filename: &exe, ..image(&exe, 5) };
            known.learn(&any, false);
            prop_assert!(known.is_empty() || DIRECTORIES.iter().any(|directory| exe.starts_with(directory)));
            known.insert(TOOLS[tool].name.as_bytes(), 1, 6);
            let linked = Image { inode: 6, ..any };
            prop_assert_eq!(known.recognise(&linked), Some(Recognised::ByIdentity(&TOOLS[tool])));
        }
    }
}
