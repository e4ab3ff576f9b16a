//! Bytes become events: lengths, kinds and spans are checked here, once, and nowhere else.
//!
//! Decoding allocates nothing for the kernel's records: the fixed part (at most 192 bytes) is copied out, since a
//! recording's frames are not aligned as the ring's are, and strings stay where they are.

use sensor_common::record::{
    ContainerRecord, ExecRecord, ExitRecord, FileRecord, ForkRecord, Header, IpcRecord, Span, TaskContext,
    kind,
};
use serde::de::DeserializeOwned;
use zerocopy::FromBytes;

use super::approval::Approvals;
use super::baseline::Baseline;
use super::content::{FileContent, Surveyed};
use super::path::PathView;
use super::proof::Proofs;
use super::user::{CgroupSnapshot, FileFound, Host, Loss, ProcessSnapshot, Tools, Users, Watch};

/// Longest record of the kernel's, in bytes: what a [`Span`] can address.
pub const KERNEL_RECORD_MAX: usize = 1 << 16;

/// Longest record of userspace's, in bytes.
pub const USER_RECORD_MAX: usize = 1 << 20;

/// A record, typed.
#[derive(Debug)]
pub enum Event<'a> {
    /// `FILE_*`, `MOUNT`, `UMOUNT`.
    File(FileEvent<'a>),
    /// `PROCESS_FORK`.
    Fork(ForkRecord),
    /// `PROCESS_EXEC`.
    Exec(ExecEvent<'a>),
    /// `PROCESS_EXIT`.
    Exit(ExitRecord),
    /// `CGROUP_CREATE`.
    Cgroup(CgroupEvent<'a>),
    /// `NAMESPACE`.
    Namespace(ContainerRecord),
    /// `IPC_SEND`, `IPC_SENT`.
    Ipc(IpcEvent<'a>),
    /// Userspace's own.
    User(Header, UserRecord),
}

impl Event<'_> {
    /// The record's header.
    pub fn header(&self) -> &Header {
        match self {
            Event::File(event) => &event.record.header,
            Event::Fork(record) => &record.header,
            Event::Exec(event) => &event.record.header,
            Event::Exit(record) => &record.header,
            Event::Cgroup(event) => &event.record.header,
            Event::Namespace(record) => &record.header,
            Event::Ipc(event) => &event.record.header,
            Event::User(header, _) => header,
        }
    }

    /// The task that acted, where the record names one.
    pub fn task(&self) -> Option<&TaskContext> {
        match self {
            Event::File(event) => Some(&event.record.task),
            Event::Fork(record) => Some(&record.task),
            Event::Exec(event) => Some(&event.record.task),
            Event::Cgroup(event) => Some(&event.record.task),
            Event::Namespace(record) => Some(&record.task),
            Event::Ipc(event) => Some(&event.record.task),
            Event::Exit(_) | Event::User(..) => None,
        }
    }
}

/// A file record and its strings.
#[derive(Clone, Copy, Debug)]
pub struct FileEvent<'a> {
    /// The fixed part.
    pub record: FileRecord,
    /// The object.
    pub path: PathView<'a>,
    /// The second name of a rename or link.
    pub other: PathView<'a>,
    /// A symlink's target, a mount's source.
    pub extra: &'a [u8],
}

/// An exec record and its strings.
#[derive(Clone, Copy, Debug)]
pub struct ExecEvent<'a> {
    /// The fixed part.
    pub record: ExecRecord,
    /// The name given to execve.
    pub filename: &'a [u8],
    /// The file that runs.
    pub exe_path: PathView<'a>,
    /// The working directory.
    pub cwd: PathView<'a>,
    /// The arguments, each followed by a NUL.
    pub args: &'a [u8],
}

/// The creation of a control group.
#[derive(Clone, Copy, Debug)]
pub struct CgroupEvent<'a> {
    /// The fixed part.
    pub record: ContainerRecord,
    /// The group's path as the kernel writes it: root first, "/" before each name (`cgroup_mkdir` of
    /// include/trace/events/cgroup.h).
    pub path: &'a [u8],
}

/// What was sent to a watched listener.
#[derive(Clone, Copy, Debug)]
pub struct IpcEvent<'a> {
    /// The fixed part.
    pub record: IpcRecord,
    /// The bytes, or their beginning.
    pub data: &'a [u8],
}

/// What userspace itself puts into the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserRecord {
    /// `HOST`.
    Host(Host),
    /// `PROCESS_SNAPSHOT`.
    ProcessSnapshot(Box<ProcessSnapshot>),
    /// `WATCH`.
    Watch(Watch),
    /// `TICK`.
    Tick,
    /// `CGROUP_SNAPSHOT`.
    CgroupSnapshot(CgroupSnapshot),
    /// `USERS`.
    Users(Users),
    /// `FILE_FOUND`.
    FileFound(FileFound),
    /// `LOSS`.
    Loss(Loss),
    /// `TOOLS`.
    Tools(Tools),
    /// `FILE_CONTENT`.
    FileContent(FileContent),
    /// `SURVEYED`.
    Surveyed(Surveyed),
    /// `BASELINE`.
    Baseline(Baseline),
    /// `APPROVALS`.
    Approvals(Approvals),
    /// `PROOF`.
    Proof(Proofs),
}

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than a header has.
    #[error("record of {have} bytes: a header alone has 16")]
    NoHeader {
        /// Bytes given.
        have: usize,
    },
    /// The number of no kind.
    #[error("record of unknown kind {kind}")]
    UnknownKind {
        /// The number.
        kind: u16,
    },
    /// The header's length exceeds what is there.
    #[error("{} record says it has {length} bytes, but only {have} are there", name(*.kind))]
    Cut {
        /// Its kind.
        kind: u16,
        /// The header's length.
        length: u32,
        /// Bytes given.
        have: usize,
    },
    /// The header's length leaves no room for the fixed part.
    #[error("{} record of {length} bytes: its fixed part alone has {need}", name(*.kind))]
    TooShort {
        /// Its kind.
        kind: u16,
        /// The header's length.
        length: u32,
        /// Bytes of the fixed part.
        need: usize,
    },
    /// Longer than any record of its kind can be.
    #[error("{} record of {length} bytes: at most {most} are allowed", name(*.kind))]
    TooLong {
        /// Its kind.
        kind: u16,
        /// The header's length.
        length: u32,
        /// The bound.
        most: usize,
    },
    /// A string that does not lie between the fixed part and the end.
    #[error("{} record: {field} spans {length} bytes at {offset}, outside the record's strings", name(*.kind))]
    Span {
        /// Its kind.
        kind: u16,
        /// Which string.
        field: &'static str,
        /// Its offset.
        offset: u16,
        /// Its length.
        length: u16,
    },
    /// JSON that is none, or not of this kind.
    #[error("{} record: {reason}", name(*.kind))]
    Json {
        /// Its kind.
        kind: u16,
        /// `serde_json`'s words.
        reason: String,
    },
}

fn name(number: u16) -> &'static str {
    kind::name(number).unwrap_or("unknown")
}

impl DecodeError {
    /// Every reason, for metrics, in the order of [`Self::index`].
    pub const REASONS: [&'static str; 7] =
        ["no_header", "unknown_kind", "cut", "too_short", "too_long", "span", "json"];

    /// Position in [`Self::REASONS`].
    pub fn index(&self) -> usize {
        match self {
            Self::NoHeader { .. } => 0,
            Self::UnknownKind { .. } => 1,
            Self::Cut { .. } => 2,
            Self::TooShort { .. } => 3,
            Self::TooLong { .. } => 4,
            Self::Span { .. } => 5,
            Self::Json { .. } => 6,
        }
    }
}

/// Decodes one record. `bytes` may be longer than the record ([`Header::length`]); what is beyond is ignored.
///
/// # Errors
/// Where the bytes are no record: see [`DecodeError`]. No bytes make it panic.
pub fn decode(bytes: &[u8]) -> Result<Event<'_>, DecodeError> {
    let Ok((header, _)) = Header::read_from_prefix(bytes) else {
        return Err(DecodeError::NoHeader { have: bytes.len() });
    };
    if kind::name(header.kind).is_none() {
        return Err(DecodeError::UnknownKind { kind: header.kind });
    }
    let most = if header.kind < kind::FIRST_USER { KERNEL_RECORD_MAX } else { USER_RECORD_MAX };
    if header.length as usize > most {
        return Err(DecodeError::TooLong { kind: header.kind, length: header.length, most });
    }
    let Some(bytes) = bytes.get(..header.length as usize) else {
        return Err(DecodeError::Cut { kind: header.kind, length: header.length, have: bytes.len() });
    };
    let body = Body { header, bytes };
    Ok(match header.kind {
        kind::FILE_CREATE..=kind::UMOUNT => Event::File(body.file()?),
        kind::PROCESS_FORK => Event::Fork(body.fixed()?),
        kind::PROCESS_EXEC => Event::Exec(body.exec()?),
        kind::PROCESS_EXIT => Event::Exit(body.fixed()?),
        kind::CGROUP_CREATE => Event::Cgroup(body.cgroup()?),
        kind::NAMESPACE => Event::Namespace(body.fixed()?),
        kind::IPC_SEND | kind::IPC_SENT => Event::Ipc(body.ipc()?),
        _ => Event::User(header, body.user()?),
    })
}

/// A record cut to its length.
struct Body<'a> {
    header: Header,
    bytes: &'a [u8],
}

impl<'a> Body<'a> {
    fn fixed<T: FromBytes>(&self) -> Result<T, DecodeError> {
        match T::read_from_prefix(self.bytes) {
            Ok((fixed, _)) => Ok(fixed),
            Err(_) => Err(DecodeError::TooShort {
                kind: self.header.kind,
                length: self.header.length,
                need: size_of::<T>(),
            }),
        }
    }

    fn string<T>(&self, field: &'static str, span: Span) -> Result<&'a [u8], DecodeError> {
        if span.length == 0 {
            return Ok(&[]);
        }
        let start = usize::from(span.offset);
        self.bytes.get(start..start + usize::from(span.length)).filter(|_| start >= size_of::<T>()).ok_or(
            DecodeError::Span { kind: self.header.kind, field, offset: span.offset, length: span.length },
        )
    }

    fn file(&self) -> Result<FileEvent<'a>, DecodeError> {
        let record: FileRecord = self.fixed()?;
        Ok(FileEvent {
            path: PathView::new(self.string::<FileRecord>("path", record.path)?),
            other: PathView::new(self.string::<FileRecord>("other", record.other)?),
            extra: self.string::<FileRecord>("extra", record.extra)?,
            record,
        })
    }

    fn exec(&self) -> Result<ExecEvent<'a>, DecodeError> {
        let record: ExecRecord = self.fixed()?;
        Ok(ExecEvent {
            filename: self.string::<ExecRecord>("filename", record.filename)?,
            exe_path: PathView::new(self.string::<ExecRecord>("exe_path", record.exe_path)?),
            cwd: PathView::new(self.string::<ExecRecord>("cwd", record.cwd)?),
            args: self.string::<ExecRecord>("args", record.args)?,
            record,
        })
    }

    fn cgroup(&self) -> Result<CgroupEvent<'a>, DecodeError> {
        let record: ContainerRecord = self.fixed()?;
        Ok(CgroupEvent { path: self.string::<ContainerRecord>("path", record.path)?, record })
    }

    fn ipc(&self) -> Result<IpcEvent<'a>, DecodeError> {
        let record: IpcRecord = self.fixed()?;
        Ok(IpcEvent { data: self.string::<IpcRecord>("data", record.data)?, record })
    }

    fn user(&self) -> Result<UserRecord, DecodeError> {
        Ok(match self.header.kind {
            kind::HOST => UserRecord::Host(self.json()?),
            kind::PROCESS_SNAPSHOT => UserRecord::ProcessSnapshot(self.json()?),
            kind::WATCH => UserRecord::Watch(self.json()?),
            kind::TICK => {
                self.fixed::<Header>()?;
                UserRecord::Tick
            }
            kind::CGROUP_SNAPSHOT => UserRecord::CgroupSnapshot(self.json()?),
            kind::USERS => UserRecord::Users(self.json()?),
            kind::FILE_FOUND => UserRecord::FileFound(self.json()?),
            kind::LOSS => UserRecord::Loss(self.json()?),
            kind::TOOLS => UserRecord::Tools(self.json()?),
            kind::FILE_CONTENT => UserRecord::FileContent(self.json()?),
            kind::SURVEYED => UserRecord::Surveyed(self.json()?),
            kind::BASELINE => UserRecord::Baseline(self.json()?),
            kind::APPROVALS => UserRecord::Approvals(self.json()?),
            kind::PROOF => UserRecord::Proof(self.json()?),
            other => return Err(DecodeError::UnknownKind { kind: other }),
        })
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.fixed::<Header>()?;
        serde_json::from_slice(&self.bytes[size_of::<Header>()..])
            .map_err(|error| DecodeError::Json { kind: self.header.kind, reason: error.to_string() })
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
