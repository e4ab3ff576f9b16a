//! Loading and attaching the programs.

use std::path::PathBuf;

use aya::maps::{MapData, MapError};
use aya::programs::{BtfTracePoint, FEntry, FExit, Lsm, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader};
use aya_log::EbpfLogger;
use sensor_common::layout::{ABSENT, KernelLayout, usual};

use super::btf::{Btf, BtfError};
use super::hooks::{self, Attach, Backend, Hook};

/// The committed object. `cargo xtask build-ebpf` makes it; `manifest.json` beside it says from what.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/object/svcsensor.bpf.o"));

/// Why the programs could not be put in place.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel's types could not be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// aya could not read the kernel's types.
    #[error("cannot use the kernel's BTF: {0}")]
    KernelBtf(#[from] aya::BtfError),
    /// The object file cannot be read.
    #[error("cannot read the program object {path}: {source}")]
    Object {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The object or its maps could not be loaded.
    #[error("cannot load the program object: {}", chain(.0))]
    Load(#[from] EbpfError),
    /// A program was refused.
    #[error("hook {hook} ({program}): {}", chain(.source))]
    Program {
        /// The hook.
        hook: &'static str,
        /// The program.
        program: &'static str,
        /// Why.
        source: Box<ProgramError>,
    },
    /// The object lacks a program or a map: it is of another version.
    #[error("the program object has no {0}; it does not belong to this svcsensor")]
    Missing(&'static str),
    /// A map cannot be used.
    #[error("map {map}: {source}")]
    Map {
        /// Which.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// fanotify is not allowed.
    #[error(transparent)]
    Fanotify(#[from] super::fanotify::FanotifyError),
    /// The programs' own diagnostics cannot be read.
    #[error("cannot read the kernel programs' diagnostics: {0}; run without --kernel-log")]
    Log(String),
    /// BPF LSM is not active.
    #[error(
        "/sys/kernel/security/lsm does not list bpf: LSM programs would attach and never run \
         (boot with lsm=...,bpf to use this backend)"
    )]
    LsmInactive,
}

/// An error with its causes, since aya's own texts leave them out; of a verifier's log the end, where the reason is.
fn chain(error: &dyn std::error::Error) -> String {
    const LOG_LINES: usize = 12;
    let mut text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > 2 * LOG_LINES {
        text = format!("{}\n[...]\n{}", lines[0], lines[lines.len() - LOG_LINES..].join("\n"));
    }
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Choices at load time.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of the ring buffer: a power of two.
    pub ring_bytes: u32,
    /// Level of the programs' own diagnostics (aya-log): 0 for none, 5 for all.
    pub log_level: u8,
    /// An object to load in the committed one's stead (`SVCSENSOR_OBJECT`), to test a fresh build.
    pub object: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { ring_bytes: sensor_common::limits::RING_BYTES as u32, log_level: 0, object: None }
    }
}

/// Programs in place. They go when this is dropped.
pub struct Loaded {
    /// The backend.
    pub backend: Backend,
    /// Its hooks, all attached.
    pub hooks: Vec<Hook>,
    pub(super) ebpf: Ebpf,
    /// What the programs say of themselves, where that was asked for.
    log: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// Loads and attaches every program of `backend`.
///
/// # Errors
/// Where the kernel refuses any of them; nothing stays attached then.
pub fn load(backend: Backend, options: &Options) -> Result<Loaded, LoadError> {
    if backend == Backend::Lsm && !super::support::lsm_active() {
        return Err(LoadError::LsmInactive);
    }
    super::support::raise_memlock();
    // aya reads all the kernel's types unasked, for relocations that these programs do not have. It takes tens of
    // megabytes; so nothing else is in memory yet, and they go at once.
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    let btf = Btf::of_running_kernel()?;
    let layout = layout(&btf)?;
    let facts = facts(backend, &btf, options);
    let hooks = hooks::of(backend, &btf);
    let targets: Vec<_> = hooks.iter().map(|hook| hook.attach.target()).collect();
    let targets = aya::Btf::parse(&btf.only(&targets), aya::Endianness::default())?;
    drop(btf);
    let own_object = match &options.object {
        Some(path) => {
            Some(std::fs::read(path).map_err(|source| LoadError::Object { path: path.clone(), source })?)
        }
        None => None,
    };
    let mut ebpf = loader
        .override_global("LAYOUT", layout.as_slice(), true)
        .override_global("FACTS", facts.as_slice(), true)
        .override_global("AYA_LOG_LEVEL", &options.log_level, false)
        .map_max_entries("RECORDS", options.ring_bytes)
        .load(own_object.as_deref().unwrap_or(OBJECT))?;

    for hook in &hooks {
        attach(&mut ebpf, hook, &targets)?;
    }
    drop(targets);
    super::support::return_memory();
    let log = if options.log_level == 0 {
        None
    } else {
        Some(EbpfLogger::init(&mut ebpf).map_err(|error| LoadError::Log(error.to_string()))?)
    };
    Ok(Loaded { backend, hooks, ebpf, log })
}

fn attach(ebpf: &mut Ebpf, hook: &Hook, targets: &aya::Btf) -> Result<(), LoadError> {
    let program = ebpf.program_mut(hook.program).ok_or(LoadError::Missing(hook.program))?;
    let attached: Result<(), ProgramError> = (|| {
        match hook.attach {
            Attach::Lsm(name) => {
                let program: &mut Lsm = program.try_into()?;
                program.load(name, targets)?;
                program.attach()?;
            }
            Attach::Fentry(function) => {
                let program: &mut FEntry = program.try_into()?;
                program.load(function, targets)?;
                program.attach()?;
            }
            Attach::Fexit(function) => {
                let program: &mut FExit = program.try_into()?;
                program.load(function, targets)?;
                program.attach()?;
            }
            Attach::Tracepoint(name) => {
                let program: &mut BtfTracePoint = program.try_into()?;
                program.load(name, targets)?;
                program.attach()?;
            }
        }
        Ok(())
    })();
    attached.map_err(|source| LoadError::Program {
        hook: hook.name,
        program: hook.program,
        source: Box::new(source),
    })
}

/// The offsets in the order of [`KernelLayout::FIELDS`].
fn layout(btf: &Btf) -> Result<Vec<u32>, BtfError> {
    KernelLayout::FIELDS
        .iter()
        .map(|(_, path, required)| match btf.offset(path) {
            Some(offset) => Ok(offset),
            None if *required => Err(BtfError::NoField(path)),
            None => Ok(ABSENT),
        })
        .collect()
}

/// [`sensor_common::layout::KernelFacts`], field by field.
fn facts(backend: Backend, btf: &Btf, options: &Options) -> [u32; 8] {
    let function = if backend == Backend::Lsm { "bpf_lsm_inode_setattr" } else { "security_inode_setattr" };
    let dentry = btf
        .arguments(function)
        .and_then(|arguments| arguments.iter().position(|argument| *argument == Some("dentry")))
        .unwrap_or(0);
    let task_btf = btf.has_enumerator("bpf_func_id", "BPF_FUNC_get_current_task_btf");
    let unix_sock = btf.has_enumerator("bpf_func_id", "BPF_FUNC_skc_to_unix_sock");
    let usual = usual::FIELDS
        .iter()
        .all(|(names, offset)| names.iter().find_map(|name| btf.offset(name)) == Some(*offset as u32));
    let form = |name| btf.enumerator("iter_type", name).unwrap_or(ABSENT);
    [
        dentry as u32,
        u32::from(task_btf),
        options.ring_bytes / 4 * 3,
        u32::from(unix_sock),
        form("ITER_IOVEC"),
        form("ITER_UBUF"),
        u32::from(btf.has_function("backing_file_user_path")),
        u32::from(usual),
    ]
}

impl Loaded {
    /// Takes a map out of the loaded object.
    ///
    /// # Errors
    /// Where the object has none of this name, or of another type.
    pub(super) fn take<M>(&mut self, name: &'static str) -> Result<M, LoadError>
    where
        M: TryFrom<aya::maps::Map, Error = MapError>,
    {
        let map = self.ebpf.take_map(name).ok_or(LoadError::Missing(name))?;
        map.try_into().map_err(|source| LoadError::Map { map: name, source })
    }

    /// Hands what the programs say of themselves to the log.
    pub fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// The ring buffer with the records.
    ///
    /// # Errors
    /// Where it was taken already.
    pub fn take_ring(&mut self) -> Result<aya::maps::RingBuf<MapData>, LoadError> {
        self.take("RECORDS")
    }

    /// The array of losses, by [`sensor_common::record::counter`].
    ///
    /// # Errors
    /// Where it was taken already.
    pub fn take_counters(&mut self) -> Result<aya::maps::Array<MapData, u64>, LoadError> {
        self.take("COUNTERS")
    }

    /// Runs that the kernel's recursion guard skipped, by hook; LSM programs have no such guard.
    #[must_use]
    pub fn recursion_misses(&self) -> Vec<(&'static str, u64)> {
        self.hooks
            .iter()
            .filter(|hook| !matches!(hook.attach, Attach::Lsm(_)))
            .filter_map(|hook| {
                let program = self.ebpf.program(hook.program)?;
                let fd = program.fd().ok()?;
                let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(fd));
                // aya does not know the field; the kernel prints it for the descriptor (kernel/bpf/syscall.c,
                // bpf_prog_show_fdinfo).
                let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
                let misses = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
                Some((hook.name, misses.trim().parse().ok()?))
            })
            .collect()
    }
}
