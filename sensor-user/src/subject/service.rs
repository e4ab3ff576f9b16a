//! What an alert says of the thing that was touched.

use serde::Serialize;

/// A file under a watched directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct File {
    /// As the host's PID 1 sees it.
    pub path: String,
    /// Where it was before, for a rename; the existing name, for a hard link.
    pub other_path: Option<String>,
    /// What a symlink points to, as written.
    pub target: Option<String>,
    /// Inode number as the kernel has it; 0 where unknown.
    pub inode: u64,
    /// File type and permission bits; 0 where unknown.
    pub mode: u32,
    /// Owner, where the file exists.
    pub uid: u32,
    /// Length in bytes.
    pub size: u64,
}

/// What a file means to the service manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// The unit that it belongs to (`x.service`); of a type-level drop-in the type (`service`); of a generator or
    /// script its own name.
    pub name: String,
    /// What part of it.
    pub part: UnitPart,
    /// Of the system manager, or of user managers.
    pub scope: Scope,
    /// What the unit does now that it did not before, and the other way round, the weightiest first: a sentence each.
    /// Empty where its files were not read.
    pub changes: Vec<String>,
    /// Names of what is suspicious about it (`subject::unit::signals`), and was not before.
    pub signals: Vec<&'static str>,
}

impl Unit {
    /// A unit of which no more is known than what a path says.
    pub fn new(name: impl Into<String>, part: UnitPart, scope: Scope) -> Self {
        Self { name: name.into(), part, scope, changes: Vec::new(), signals: Vec::new() }
    }
}

impl UnitPart {
    /// Whether it is read as a part of a unit.
    pub fn is_of_unit(self) -> bool {
        matches!(self, Self::Fragment | Self::Alias | Self::DropIn | Self::DependencyLink)
    }
}

/// Which part of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum UnitPart {
    /// The unit file.
    Fragment,
    /// A file in its `.d` directory.
    DropIn,
    /// A link in a `.wants`, `.requires` or `.upholds` directory.
    DependencyLink,
    /// A link under a unit's name in a unit directory: an alias, a linked file, or a mask.
    Alias,
    /// A generator.
    Generator,
    /// An environment generator.
    EnvironmentGenerator,
    /// A System V script.
    InitScript,
    /// A System V runlevel link.
    RunlevelLink,
    /// /etc/rc.local.
    RcLocal,
    /// Configuration of a service manager.
    ManagerConfig,
    /// A preset.
    Preset,
    /// A tmpfiles.d entry.
    Tmpfiles,
    /// Environment of what is started later.
    Environment,
    /// Environment that units take from files.
    ServiceEnvironment,
    /// Libraries that every program loads.
    LoaderPreload,
    /// A program run when the machine sleeps, wakes or goes down.
    SleepHook,
    /// A portable service or profile.
    PortableImage,
    /// A system or configuration extension.
    ExtensionImage,
    /// Settings of a systemd-nspawn container.
    Nspawn,
    /// A user who lingers.
    Linger,
    /// A D-Bus service or policy.
    DbusActivation,
    /// A udev rule file.
    UdevRules,
    /// A polkit rule or action.
    PolkitRules,
    /// An autostart entry.
    Autostart,
    /// fstab or crypttab.
    MountsTable,
    /// Boot configuration.
    BootConfig,
    /// A credential.
    Credential,
    /// A part of the initial RAM disk.
    Initramfs,
    /// A service of another init or process manager.
    InitSystem,
    /// A supervised service.
    Supervision,
    /// A service of a superserver.
    Superserver,
    /// A hook of a package manager.
    PackageHook,
    /// A script of a package.
    MaintainerScript,
    /// What a package manager knows of its packages.
    PackageDatabase,
    /// A hook of the network or of the kernel.
    EventHook,
    /// A job of cron or at.
    Schedule,
    /// Kernel modules to load.
    KernelModules,
    /// What a container engine knows of its containers.
    EngineState,
    /// A container, pod, volume, network, image or build of Quadlet's.
    Quadlet,
    /// A static pod.
    StaticPod,
    /// A manifest that the cluster applies.
    ClusterManifest,
    /// Configuration of kubelet.
    KubeletConfig,
    /// Configuration of a container engine.
    EngineConfig,
    /// What a container engine is told to run beside containers.
    RuntimeHook,
    /// A program that a container engine runs beside containers.
    RuntimePlugin,
    /// A program that makes containers.
    RuntimeProgram,
    /// A system container or virtual machine.
    MachineConfig,
    /// The sensor's own configuration, approvals or inventory.
    SensorState,
    /// A program that a unit runs.
    Program,
    /// The directory itself, or one on the way to it.
    Directory,
    /// A file that is no unit, but lies where units do.
    Other,
}

/// Whose service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// PID 1.
    System,
    /// The managers of users.
    User,
}
