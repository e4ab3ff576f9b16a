//! What is seen and left unsaid, each reason counted.

/// Why a record on something watched is no finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// A generator that the service manager started wrote its output.
    GeneratorOutput,
    /// The service manager cleared or rewrote its own transient and generated files.
    ManagerOwnFiles,
    /// A scope or slice that the service manager made (a login session, a container's group).
    TransientScope,
    /// A mount in a private mount namespace, or one on the way to users' units.
    PrivateMount,
    /// A file that is not finished ([`crate::subject::name::is_temporary`]).
    Temporary,
    /// A directory was made or removed, or something else without meaning.
    Meaningless,
    /// Watched, but in nothing that is configured.
    Nowhere,
    /// The same operation told a second time by the layer below an overlay.
    Echo,
    /// A container engine wrote its own files.
    EngineOwnFiles,
    /// Came with a mount, which is told.
    Mounted,
    /// The sensor wrote its own state.
    OwnState,
    /// A package manager wrote its own database.
    PackageDatabase,
}

impl Quiet {
    /// Names for metrics, in the order of [`QuietCounts`].
    pub const NAMES: [&'static str; 12] = [
        "generator_output",
        "manager_own_files",
        "transient_scope",
        "private_mount",
        "temporary",
        "meaningless",
        "nowhere",
        "echo",
        "engine_own_files",
        "mounted",
        "own_state",
        "package_database",
    ];
}

/// Counts per [`Quiet`], in the order of [`Quiet::NAMES`].
pub type QuietCounts = [u64; Quiet::NAMES.len()];
