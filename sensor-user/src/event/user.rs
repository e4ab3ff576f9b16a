//! Userspace's own records: a [`sensor_common::record::Header`], then one of these as JSON.
//!
//! Whatever the pipeline knows beyond the kernel's records (the clock, the machine, the processes that ran before the
//! sensor did) enters it as such a record. So a recording holds all of it, and replaying it needs no machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `kind::HOST`: the machine and its clocks. The first record of a stream; repeated when the wall clock was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `uname -n`.
    pub hostname: String,
    /// /etc/machine-id (machine-id(5)); empty where there is none.
    pub machine_id: String,
    /// `/proc/sys/kernel/random/boot_id` (random(4)).
    pub boot_id: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// `CLOCK_REALTIME` minus `CLOCK_BOOTTIME`, in nanoseconds: added to a record's time it gives the wall time.
    pub realtime_offset_ns: i64,
    /// The backend that makes the records: `lsm`, `fentry` or `fanotify`.
    pub backend: String,
    /// Inode number of PID 1's mount namespace; 0 where it cannot be read.
    pub init_mnt_ns: u32,
    /// Inode number of PID 1's pid namespace; 0 where it cannot be read.
    pub init_pid_ns: u32,
}

/// `kind::PROCESS_SNAPSHOT`: a process that was there when the sensor started (proc(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSnapshot {
    /// Process id.
    pub tgid: u32,
    /// Start on `CLOCK_BOOTTIME` in nanoseconds, in steps of a clock tick (10 ms): /proc has it no finer.
    pub start_boottime_ns: u64,
    /// Parent's process id.
    pub parent_tgid: u32,
    /// Start of the parent, as `start_boottime_ns`; `None` where that could not be read, and then no parent is
    /// linked.
    #[serde(default)]
    pub parent_start_boottime_ns: Option<u64>,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Login user id; `u32::MAX` where none.
    pub loginuid: u32,
    /// Audit session; `u32::MAX` where none.
    pub session_id: u32,
    /// Id of the control group in the unified hierarchy; 0 where unknown.
    pub cgroup_id: u64,
    /// Mount namespace's inode number; 0 where unknown.
    pub mnt_ns: u32,
    /// Pid namespace's inode number; 0 where unknown.
    pub pid_ns: u32,
    /// Thread name.
    pub comm: String,
    /// Target of /proc/PID/exe without the " (deleted)" that the kernel appends; empty for kernel threads.
    pub exe: String,
    /// The executable has no name any more.
    pub exe_deleted: bool,
    /// Device of the executable in the kernel's encoding (major << 20 | minor), as stat(2) has it.
    pub exe_device: u32,
    /// Inode number of the executable.
    pub exe_inode: u64,
    /// Working directory.
    pub cwd: String,
    /// The arguments; invalid UTF-8 is replaced.
    pub args: Vec<String>,
    /// More arguments than `limits::ARGS_MAX` bytes were there.
    pub args_truncated: bool,
}

/// What kind of directory (or single file) a watch is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WatchClass {
    /// Units of the system manager (systemd.unit(5), "System Unit Search Path").
    SystemUnit,
    /// Units of user managers (systemd.unit(5), "User Unit Search Path").
    UserUnit,
    /// Generators of the system manager (systemd.generator(7)).
    SystemGenerator,
    /// Generators of user managers.
    UserGenerator,
    /// Environment generators of the system manager (systemd.environment-generator(7)).
    SystemEnvironmentGenerator,
    /// Environment generators of user managers.
    UserEnvironmentGenerator,
    /// Output of generators (/run/systemd/generator*): rewritten at every reload.
    GeneratorOutput,
    /// Transient units (/run/systemd/transient): made by PID 1 on request.
    TransientUnit,
    /// System V scripts (/etc/init.d).
    InitScript,
    /// System V runlevel links (/etc/rc?.d).
    RunlevelLink,
    /// /etc/rc.local and its like.
    RcLocal,
    /// Configuration of the service managers themselves (systemd-system.conf(5)).
    ManagerConfig,
    /// Which units are enabled by default (systemd.preset(5)).
    Preset,
    /// Files that are made at boot (tmpfiles.d(5)).
    Tmpfiles,
    /// Environment of what is started later (environment.d(5), `pam_env(8)`).
    Environment,
    /// Environment that units take from files (`EnvironmentFile=`, systemd.exec(5)).
    ServiceEnvironment,
    /// Libraries that every program loads (ld.so(8), /etc/ld.so.preload).
    LoaderPreload,
    /// Programs run when the machine sleeps, wakes or goes down (systemd-sleep(8), systemd-shutdown(8)).
    SleepHook,
    /// Portable services and their profiles (portablectl(1)).
    PortableImage,
    /// System and configuration extensions (systemd-sysext(8)).
    ExtensionImage,
    /// Settings of containers that systemd starts (systemd.nspawn(5)).
    Nspawn,
    /// Users whose manager runs without a login (loginctl(1), enable-linger).
    Linger,
    /// Services that D-Bus starts, and who may talk to them (dbus-daemon(1)).
    DbusActivation,
    /// Rules for devices (udev(7)).
    UdevRules,
    /// Who may ask privileged services for what (polkit(8)).
    PolkitRules,
    /// Programs that a desktop session starts (systemd-xdg-autostart-generator(8)).
    Autostart,
    /// File systems and encrypted devices (fstab(5), crypttab(5)).
    MountsTable,
    /// Kernel command line, boot loader entries and credentials (kernel-command-line(7), loader.conf(5)).
    BootConfig,
    /// Credentials that services and the service manager itself import (systemd.exec(5), systemd.system-credentials(7)).
    Credential,
    /// What is built into the initial RAM disk (initramfs-tools(7), dracut.modules(7)).
    Initramfs,
    /// Services of other inits and of process managers: `OpenRC`, upstart, dinit, finit, inittab, supervisord, monit.
    InitSystem,
    /// Services that runit, s6 and daemontools keep running.
    Supervision,
    /// Programs run for a connection (xinetd(8), inetd(8), hosts.allow(5)).
    Superserver,
    /// Programs that package managers run, at each installation (apt.conf(5), kernel-install(8)).
    PackageHook,
    /// Scripts of installed packages (/var/lib/dpkg/info, deb-preinst(5)).
    MaintainerScript,
    /// What package managers know of their packages (dpkg(1), rpm(8), apk(8), pacman(8)): proof rests on it.
    PackageDatabase,
    /// Programs run when the network changes, and interpreters of foreign formats (binfmt.d(5)).
    EventHook,
    /// Jobs of cron, anacron and at (crontab(5)).
    Schedule,
    /// Kernel modules to load, and commands run instead (modules-load.d(5), modprobe.d(5)).
    KernelModules,
    /// Where container engines keep what they know of their containers.
    EngineState,
    /// Containers as units (podman-systemd.unit(5)).
    Quadlet,
    /// Pods that a kubelet runs because of a file (kubelet's `staticPodPath`).
    StaticPod,
    /// What a cluster's control plane on this machine applies because of a file (k3s, rke2, k0s, minikube).
    ClusterManifest,
    /// What kubelet goes by.
    KubeletConfig,
    /// What container engines go by: dockerd(8), containerd-config.toml(5), crio.conf(5), containers.conf(5).
    EngineConfig,
    /// What engines and runtimes are told to run beside containers: OCI hooks, CNI networks, CDI devices, NRI.
    RuntimeHook,
    /// Programs that engines and kubelet run: CNI, NRI and docker's plugins.
    RuntimePlugin,
    /// Programs that make containers: engines, shims, runtimes, node agents.
    RuntimeProgram,
    /// System containers and virtual machines that start at boot (lxc.container.conf(5), libvirt).
    MachineConfig,
    /// The file at the end of a unit's name that is a link: watched because of the link.
    LinkedUnit,
    /// The directory at the end of a `.d`, `.wants` or such directory that is a link: watched because of the link.
    LinkedDirectory,
    /// A program that a changed unit runs: watched because of the unit.
    ServiceProgram,
    /// A file out of which a unit takes variables: watched because of the unit.
    EnvironmentFile,
    /// The sensor's own configuration, approvals and inventory.
    SensorState,
    /// The socket on which a service manager takes D-Bus messages without a bus (/run/systemd/private).
    ManagerSocket,
    /// The socket of a message bus (dbus-daemon(1), dbus-broker(1)).
    BusSocket,
    /// The socket on which a container engine takes requests (dockerd(8), podman-system-service(1)).
    EngineSocket,
}

impl WatchClass {
    /// Whether it is watched because of a unit that leads to it, and not because it is configured.
    #[must_use]
    pub const fn is_followed(self) -> bool {
        matches!(
            self,
            Self::LinkedUnit | Self::LinkedDirectory | Self::ServiceProgram | Self::EnvironmentFile
        )
    }

    /// Whether it is a socket, of which what clients send counts, and not what is written below a directory.
    #[must_use]
    pub const fn is_socket(self) -> bool {
        matches!(self, Self::ManagerSocket | Self::BusSocket | Self::EngineSocket)
    }
}

/// `kind::WATCH`: what a watch number in later records stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The number in records.
    pub watch: u32,
    /// The directory (or file) as the host's PID 1 sees it, symlinks resolved; a record's path is below it.
    pub path: String,
    /// Its kind; `None` for a directory that is watched only because a configured one lies, or may appear, below it.
    pub class: Option<WatchClass>,
    /// The numeric user whose directory it is, for user units below a home.
    pub owner: Option<u32>,
}

/// `kind::CGROUP_SNAPSHOT`: a control group that was there at start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupSnapshot {
    /// Its id in the unified hierarchy: the inode number of its directory.
    pub id: u64,
    /// Its path in the hierarchy, "/" first.
    pub path: String,
}

/// `kind::USERS`: users (passwd(5)). Replaces what was known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Name by number.
    pub names: BTreeMap<u32, String>,
    /// Home directory by number, as it is written there. Recordings of the first versions have none.
    #[serde(default)]
    pub homes: BTreeMap<u32, String>,
}

/// `kind::FILE_FOUND`: an object that was in a directory when its watch was set, after the directory had appeared
/// under the sensor's eyes: it may have been made before the watch was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFound {
    /// The directory's watch.
    pub watch: u32,
    /// Path below it.
    pub path: String,
    /// The target, where it is a symlink.
    pub target: Option<String>,
    /// File type and permission bits (inode(7)).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Whether another directory was there before, and was watched: this one has taken its place.
    #[serde(default)]
    pub replaces: bool,
}

/// `kind::LOSS`: records of one kind that were dropped since the last such record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// `sensor_common::record::kind`.
    pub kind: u16,
    /// How many.
    pub dropped: u64,
    /// `dropped` is a lower bound: the kernel does not say how many (fanotify(7), `FAN_Q_OVERFLOW`).
    #[serde(default)]
    pub at_least: bool,
    /// Not before this moment on `CLOCK_BOOTTIME`, in nanoseconds.
    pub since_boottime_ns: u64,
}

/// `kind::TOOLS`: executables of known tools, found in the usual directories. Adds to what is known: a hard link or
/// a bind mount of one of them is recognised whatever its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// One per executable.
    pub tools: Vec<ToolIdentity>,
}

/// One executable of [`Tools`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolIdentity {
    /// The tool's usual name (`docker`), one of those in `subject::tools`.
    pub name: String,
    /// Device in the kernel's encoding (major << 20 | minor).
    pub device: u32,
    /// Inode number.
    pub inode: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_the_first_recordings_have_no_homes() {
        let users: Users = serde_json::from_str(r#"{"names":{"0":"root"}}"#).unwrap();
        assert_eq!((users.names[&0].as_str(), users.homes.len()), ("root", 0));
    }
}
