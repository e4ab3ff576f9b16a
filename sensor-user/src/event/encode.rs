//! Records as bytes, made in userspace: the stream's own kinds, what the fanotify backend synthesises, and what
//! tests feed in. The kernel programs' layout, byte for byte.

use sensor_common::limits::{ARGS_MAX, EXTRA_MAX, FILENAME_MAX, SEND_MAX};
use sensor_common::record::{
    ContainerRecord, ExecRecord, ExitRecord, FileIdentity, FileRecord, ForkRecord, Header, IpcRecord, Span,
    TaskContext, flags, kind,
};
use sensor_common::watch;
use serde::Serialize;
use zerocopy::{Immutable, IntoBytes};

/// Longest path that a builder writes, in bytes (`PATH_MAX`, linux/limits.h). A longer one loses its upper levels
/// and sets [`flags::PATH_TRUNCATED`].
pub const PATH_MAX: usize = 4096;

/// One of userspace's own records: a header, then `value` as JSON.
///
/// # Errors
/// Where `value` has no JSON form; the types of [`super::user`] all have one.
pub fn encode_user<T: Serialize>(
    kind: u16,
    boottime_ns: u64,
    value: &T,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = vec![0; size_of::<Header>()];
    serde_json::to_writer(&mut bytes, value)?;
    let header = Header { kind, flags: 0, length: bytes.len() as u32, boottime_ns };
    bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    Ok(bytes)
}

/// A [`kind::TICK`]: time passed, nothing else happened.
pub fn encode_tick(boottime_ns: u64) -> [u8; size_of::<Header>()] {
    let header = Header { kind: kind::TICK, flags: 0, length: size_of::<Header>() as u32, boottime_ns };
    zerocopy::transmute!(header)
}

/// The data part of a record under construction.
#[derive(Debug, Default)]
struct Strings {
    bytes: Vec<u8>,
}

impl Strings {
    fn push<Fixed>(&mut self, string: &[u8]) -> Span {
        if string.is_empty() {
            return Span::default();
        }
        let offset = size_of::<Fixed>() + self.bytes.len();
        self.bytes.extend_from_slice(string);
        Span { offset: offset as u16, length: string.len() as u16 }
    }

    fn finish<Fixed: IntoBytes + Immutable>(self, fixed: &Fixed) -> Vec<u8> {
        let mut record = fixed.as_bytes().to_vec();
        record.extend_from_slice(&self.bytes);
        let length = (record.len() as u32).to_ne_bytes();
        record[4..8].copy_from_slice(&length);
        record
    }
}

/// Names leaf first, each followed by a NUL, out of a path separated by "/". `true` where upper levels were left out.
fn leaf_first(path: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(path.len() + 1);
    for name in path.rsplit(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        if out.len() + name.len() + 1 > PATH_MAX {
            return (out, true);
        }
        out.extend_from_slice(name);
        out.push(0);
    }
    (out, false)
}

fn cut(bytes: &[u8], most: usize) -> (&[u8], bool) {
    if bytes.len() > most { (&bytes[..most], true) } else { (bytes, false) }
}

/// Builds a [`FileRecord`].
#[derive(Clone, Debug)]
pub struct FileRecordBuilder {
    fixed: FileRecord,
    path: Vec<u8>,
    other: Vec<u8>,
    extra: Vec<u8>,
}

impl FileRecordBuilder {
    /// A record of `kind` at `boottime_ns` that matches no watch.
    pub fn new(kind: u16, boottime_ns: u64, task: TaskContext) -> Self {
        let fixed = FileRecord {
            header: Header { kind, boottime_ns, ..Header::default() },
            task,
            watch: watch::NONE,
            other_watch: watch::NONE,
            ..FileRecord::default()
        };
        Self { fixed, path: Vec::new(), other: Vec::new(), extra: Vec::new() }
    }

    /// The object: `path` is "/"-separated and below the watch's directory; `matched` is of
    /// [`sensor_common::watch`].
    #[must_use]
    pub fn path(mut self, watch: u32, matched: u32, path: &[u8]) -> Self {
        (self.fixed.watch, self.fixed.matched) = (watch, matched);
        self.path = self.names(path);
        self
    }

    /// The second name of a rename or link.
    #[must_use]
    pub fn other(mut self, watch: u32, matched: u32, path: &[u8]) -> Self {
        (self.fixed.other_watch, self.fixed.other_matched) = (watch, matched);
        self.other = self.names(path);
        self
    }

    /// Notes that the upper levels of a path are missing, if they are.
    #[must_use]
    pub fn path_cut(mut self, was_cut: bool) -> Self {
        self.flag(flags::PATH_TRUNCATED, was_cut);
        self
    }

    /// A symlink's target, a mount's source; cut at [`EXTRA_MAX`] bytes.
    #[must_use]
    pub fn extra(mut self, extra: &[u8]) -> Self {
        let (kept, was_cut) = cut(extra, EXTRA_MAX);
        self.extra = kept.to_vec();
        self.flag(flags::EXTRA_TRUNCATED, was_cut);
        self
    }

    /// The object's identity and attributes.
    #[must_use]
    pub fn object(mut self, object: FileIdentity) -> Self {
        self.fixed.object = object;
        self
    }

    /// [`FileRecord::argument`].
    #[must_use]
    pub fn argument(mut self, argument: u64) -> Self {
        self.fixed.argument = argument;
        self
    }

    /// The record.
    pub fn build(mut self) -> Vec<u8> {
        let mut strings = Strings::default();
        self.fixed.path = strings.push::<FileRecord>(&self.path);
        self.fixed.other = strings.push::<FileRecord>(&self.other);
        self.fixed.extra = strings.push::<FileRecord>(&self.extra);
        strings.finish(&self.fixed)
    }

    fn names(&mut self, path: &[u8]) -> Vec<u8> {
        let (names, was_cut) = leaf_first(path);
        self.flag(flags::PATH_TRUNCATED, was_cut);
        names
    }

    fn flag(&mut self, flag: u16, set: bool) {
        if set {
            self.fixed.header.flags |= flag;
        }
    }
}

/// Parts of an exec record.
#[derive(Clone, Debug, Default)]
pub struct ExecParts<'a> {
    /// The process.
    pub task: TaskContext,
    /// Identity of the file that runs.
    pub exe: FileIdentity,
    /// The name given to execve.
    pub filename: &'a [u8],
    /// Path of the file that runs, "/"-separated.
    pub exe_path: &'a [u8],
    /// Working directory, "/"-separated.
    pub cwd: &'a [u8],
    /// The arguments.
    pub args: &'a [&'a [u8]],
    /// Of [`flags`].
    pub flags: u16,
}

/// A [`kind::PROCESS_EXEC`] record.
pub fn encode_exec(boottime_ns: u64, parts: &ExecParts<'_>) -> Vec<u8> {
    let mut args = Vec::new();
    for arg in parts.args {
        args.extend_from_slice(arg);
        args.push(0);
    }
    let (filename, _) = cut(parts.filename, FILENAME_MAX);
    let (exe_path, exe_cut) = leaf_first(parts.exe_path);
    let (cwd, cwd_cut) = leaf_first(parts.cwd);
    let (kept, args_cut) = cut(&args, ARGS_MAX);
    let mut fixed = ExecRecord {
        header: Header { kind: kind::PROCESS_EXEC, flags: parts.flags, length: 0, boottime_ns },
        task: parts.task,
        exe: parts.exe,
        args_total: args.len() as u32,
        argc: parts.args.len() as u32,
        ..ExecRecord::default()
    };
    if args_cut {
        fixed.header.flags |= flags::ARGS_TRUNCATED;
    }
    if exe_cut || cwd_cut {
        fixed.header.flags |= flags::PATH_TRUNCATED;
    }
    let mut strings = Strings::default();
    fixed.filename = strings.push::<ExecRecord>(filename);
    fixed.exe_path = strings.push::<ExecRecord>(&exe_path);
    fixed.cwd = strings.push::<ExecRecord>(&cwd);
    fixed.args = strings.push::<ExecRecord>(kept);
    strings.finish(&fixed)
}

/// A [`kind::PROCESS_FORK`] record.
pub fn encode_fork(boottime_ns: u64, parent: TaskContext, child_tgid: u32, child_start_ns: u64) -> Vec<u8> {
    let fixed = ForkRecord {
        header: Header { kind: kind::PROCESS_FORK, boottime_ns, ..Header::default() },
        task: parent,
        child_start_boottime_ns: child_start_ns,
        child_tgid,
        reserved: 0,
    };
    Strings::default().finish(&fixed)
}

/// A [`kind::PROCESS_EXIT`] record.
pub fn encode_exit(boottime_ns: u64, tgid: u32, start_ns: u64, exit_code: u32) -> Vec<u8> {
    let fixed = ExitRecord {
        header: Header { kind: kind::PROCESS_EXIT, boottime_ns, ..Header::default() },
        start_boottime_ns: start_ns,
        tgid,
        exit_code,
    };
    Strings::default().finish(&fixed)
}

/// A [`kind::CGROUP_CREATE`] record; `path` is root first, as the kernel writes it, cut at [`PATH_MAX`] bytes.
pub fn encode_cgroup(boottime_ns: u64, task: TaskContext, id: u64, path: &[u8]) -> Vec<u8> {
    let mut fixed = ContainerRecord {
        header: Header { kind: kind::CGROUP_CREATE, boottime_ns, ..Header::default() },
        task,
        value: id,
        ..ContainerRecord::default()
    };
    let (path, was_cut) = cut(path, PATH_MAX);
    if was_cut {
        fixed.header.flags |= flags::PATH_TRUNCATED;
    }
    let mut strings = Strings::default();
    fixed.path = strings.push::<ContainerRecord>(path);
    strings.finish(&fixed)
}

/// A [`kind::NAMESPACE`] record; `clone_flags` are `CLONE_NEW*` (clone(2)).
pub fn encode_namespace(boottime_ns: u64, task: TaskContext, clone_flags: u64) -> Vec<u8> {
    let fixed = ContainerRecord {
        header: Header { kind: kind::NAMESPACE, boottime_ns, ..Header::default() },
        task,
        value: clone_flags,
        ..ContainerRecord::default()
    };
    Strings::default().finish(&fixed)
}

/// A [`kind::IPC_SEND`] record of `data`, cut at [`SEND_MAX`]; of `fixed` the kind, the total and the data's place are
/// set here.
pub fn encode_send(fixed: &IpcRecord, data: &[u8]) -> Vec<u8> {
    let (kept, was_cut) = cut(data, SEND_MAX[3]);
    let mut fixed = IpcRecord { total: data.len() as u32, ..*fixed };
    fixed.header.kind = kind::IPC_SEND;
    if was_cut {
        fixed.header.flags |= flags::DATA_TRUNCATED;
    }
    let mut strings = Strings::default();
    fixed.data = strings.push::<IpcRecord>(kept);
    strings.finish(&fixed)
}

/// A [`kind::IPC_SENT`] record: `result` as in [`IpcRecord::result`]; of `fixed` the kind and the result are set here.
pub fn encode_sent(fixed: &IpcRecord, result: i32) -> Vec<u8> {
    let mut fixed = IpcRecord { result, data: Span::default(), ..*fixed };
    fixed.header.kind = kind::IPC_SENT;
    Strings::default().finish(&fixed)
}
