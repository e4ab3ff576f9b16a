//! The records that pass through the ring buffer, and through a recording as the same bytes.
//!
//! A record is a [`Header`], then the fixed part of its kind, then `data`: strings, each named by a [`Span`] in the
//! fixed part. Kernel programs reserve in a few constant sizes, so a record can be longer than what it says;
//! [`Header::length`] counts the bytes that mean something. All numbers are in the machine's own byte order.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a record is about ([`Header::kind`]), and the index of its counters. A number is never reused.
pub mod kind {
    /// A regular file is about to be created: `inode_create`. The object's identity is still empty. An open with
    /// `O_CREAT` of a file that is there, but not in the kernel's cache of names, asks for the permission too
    /// (fs/namei.c, `lookup_open`): what the open then did is told by [`super::flags::CREATED`].
    pub const FILE_CREATE: u16 = 1;
    /// A file was opened for writing (truncation by `O_TRUNC` included).
    pub const FILE_OPEN_WRITE: u16 = 2;
    /// The last descriptor of an open-for-write was closed.
    pub const FILE_CLOSE_WRITE: u16 = 3;
    /// A rename; `path` is the new name, `other` the old one.
    pub const FILE_RENAME: u16 = 4;
    /// A hard link; `path` is the new name, `other` the existing one.
    pub const FILE_LINK: u16 = 5;
    /// A symbolic link; `extra` is its target as written.
    pub const FILE_SYMLINK: u16 = 6;
    /// A name was removed.
    pub const FILE_UNLINK: u16 = 7;
    /// A directory was created. The object's identity is still empty.
    pub const FILE_MKDIR: u16 = 8;
    /// A directory was removed.
    pub const FILE_RMDIR: u16 = 9;
    /// A FIFO, socket or device node was created.
    pub const FILE_MKNOD: u16 = 10;
    /// A file's length was set (truncate, ftruncate, `O_TRUNC`).
    pub const FILE_TRUNCATE: u16 = 11;
    /// Mode, owner or group was changed.
    pub const FILE_ATTRIBUTE: u16 = 12;
    /// A file was mapped shared and writable, or such a mapping was made writable.
    pub const FILE_MMAP_WRITE: u16 = 13;
    /// Something was mounted on a watched object or on a directory on the way to one; `extra` is the source.
    pub const MOUNT: u16 = 14;
    /// A mount whose root is watched, or lies on the way to what is watched (`ANCHOR`), is taken away.
    pub const UMOUNT: u16 = 15;
    /// A process was forked (threads are not reported).
    pub const PROCESS_FORK: u16 = 16;
    /// A process executed a program.
    pub const PROCESS_EXEC: u16 = 17;
    /// A process ended: the last thread of its group.
    pub const PROCESS_EXIT: u16 = 18;
    /// A control group was created.
    pub const CGROUP_CREATE: u16 = 19;
    /// New namespaces were made or entered (clone, unshare, setns).
    pub const NAMESPACE: u16 = 20;
    /// A process is about to send to a listener that is watched: `socket_sendmsg`.
    pub const IPC_SEND: u16 = 21;
    /// Of the last `IPC_SEND` of the same task on the same connection not all was taken: what was is in
    /// [`super::IpcRecord::result`].
    pub const IPC_SENT: u16 = 22;
    /// One more than the greatest kind that a kernel program emits: the length of the counter arrays.
    pub const KERNEL_KINDS: u16 = 23;

    /// From here on the kinds are userspace's own: a header, then JSON. What the pipeline knows beyond the kernel's
    /// records enters it as these, so that a recording holds all of it.
    pub const FIRST_USER: u16 = 64;
    /// Machine, boot and clock: the first record of every stream.
    pub const HOST: u16 = 64;
    /// A process found in /proc at start.
    pub const PROCESS_SNAPSHOT: u16 = 65;
    /// The meaning of a watch number: its path and configured class.
    pub const WATCH: u16 = 66;
    /// Time passed: deadlines up to the header's time are due.
    pub const TICK: u16 = 67;
    /// A control group found at start: its id and path.
    pub const CGROUP_SNAPSHOT: u16 = 68;
    /// Users of the machine: number to name.
    pub const USERS: u16 = 69;
    /// An object found in a directory when its watch was set after the directory had appeared.
    pub const FILE_FOUND: u16 = 70;
    /// Records were dropped: kind, number, and the stretch of time.
    pub const LOSS: u16 = 71;
    /// Executables of the tools that make services: name, path and file identity.
    pub const TOOLS: u16 = 72;
    /// What a file says: read because the pipeline wants to know, or found at start.
    pub const FILE_CONTENT: u16 = 73;
    /// All files of a survey were told.
    pub const SURVEYED: u16 = 74;
    /// What package databases say of paths: asked for by the pipeline.
    pub const PROOF: u16 = 75;
    /// What the inventory of this machine tells.
    pub const BASELINE: u16 = 76;
    /// What is approved and excepted.
    pub const APPROVALS: u16 = 77;

    /// The name of a kind for metrics and messages; `None` where there is no such kind.
    #[must_use]
    pub const fn name(kind: u16) -> Option<&'static str> {
        Some(match kind {
            FILE_CREATE => "file_create",
            FILE_OPEN_WRITE => "file_open_write",
            FILE_CLOSE_WRITE => "file_close_write",
            FILE_RENAME => "file_rename",
            FILE_LINK => "file_link",
            FILE_SYMLINK => "file_symlink",
            FILE_UNLINK => "file_unlink",
            FILE_MKDIR => "file_mkdir",
            FILE_RMDIR => "file_rmdir",
            FILE_MKNOD => "file_mknod",
            FILE_TRUNCATE => "file_truncate",
            FILE_ATTRIBUTE => "file_attribute",
            FILE_MMAP_WRITE => "file_mmap_write",
            MOUNT => "mount",
            UMOUNT => "umount",
            PROCESS_FORK => "process_fork",
            PROCESS_EXEC => "process_exec",
            PROCESS_EXIT => "process_exit",
            CGROUP_CREATE => "cgroup_create",
            NAMESPACE => "namespace",
            IPC_SEND => "ipc_send",
            IPC_SENT => "ipc_sent",
            HOST => "host",
            PROCESS_SNAPSHOT => "process_snapshot",
            WATCH => "watch",
            TICK => "tick",
            CGROUP_SNAPSHOT => "cgroup_snapshot",
            USERS => "users",
            FILE_FOUND => "file_found",
            LOSS => "loss",
            TOOLS => "tools",
            FILE_CONTENT => "file_content",
            SURVEYED => "surveyed",
            BASELINE => "baseline",
            APPROVALS => "approvals",
            PROOF => "proof",
            _ => return None,
        })
    }
}

/// [`Header::flags`].
pub mod flags {
    /// argv was longer than [`crate::limits::ARGS_MAX`]; what is carried is its beginning.
    pub const ARGS_TRUNCATED: u16 = 1;
    /// A path has more levels or bytes than were copied; what is carried is its end.
    pub const PATH_TRUNCATED: u16 = 1 << 1;
    /// `extra` was cut.
    pub const EXTRA_TRUNCATED: u16 = 1 << 2;
    /// The executed file has no name in any directory (unlinked, or never linked).
    pub const EXE_DELETED: u16 = 1 << 3;
    /// The executed file is a memfd.
    pub const EXE_MEMFD: u16 = 1 << 4;
    /// A script: `filename` is the script, the executable its interpreter.
    pub const EXE_SCRIPT: u16 = 1 << 5;
    /// argv could not be read from the new process's memory.
    pub const ARGS_UNREADABLE: u16 = 1 << 6;
    /// An open for writing has just created the file.
    pub const CREATED: u16 = 1 << 7;
    /// More was sent than is carried: what is carried is its beginning.
    pub const DATA_TRUNCATED: u16 = 1 << 8;
    /// What was sent could not be read, or only its beginning: the sender's memory was not there yet (then a second
    /// record with [`DATA_LATE`] follows), or the data are pages that were handed over (splice(2), buffers registered
    /// with `io_uring`).
    pub const DATA_UNREADABLE: u16 = 1 << 9;
    /// This is what the last `IPC_SEND` of the same task on the same connection could not show.
    pub const DATA_LATE: u16 = 1 << 10;
}

/// Indices of the counter array: below [`kind::KERNEL_KINDS`] the records of that kind that found no room.
pub mod counter {
    use super::kind::KERNEL_KINDS;

    /// Walks that ended at the bound of levels with neither a match nor the filesystem's root.
    pub const WALK_CUT: u32 = KERNEL_KINDS as u32;
    /// Files of interest that found no room in the watch map: later writes through other names may go unseen.
    pub const WATCH_FULL: u32 = WALK_CUT + 1;
    /// The array's length.
    pub const LENGTH: u32 = WATCH_FULL + 1;
}

/// The first 16 bytes of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Header {
    /// One of [`kind`].
    pub kind: u16,
    /// Of [`flags`].
    pub flags: u16,
    /// Bytes of the record that mean something, this header included.
    pub length: u32,
    /// `CLOCK_BOOTTIME` in nanoseconds (`bpf_ktime_get_boot_ns`).
    pub boottime_ns: u64,
}

/// A string in a record: `length` bytes at `offset` from the record's start; length 0 is "none".
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Span {
    /// From the start of the record, in bytes.
    pub offset: u16,
    /// In bytes.
    pub length: u16,
}

/// The task that acted, as the kernel has it at that moment. Ids are those of the initial namespaces.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct TaskContext {
    /// Start of the thread group's leader on `CLOCK_BOOTTIME`, in nanoseconds (`task_struct.start_boottime`): with
    /// `tgid` the identity of a process.
    pub start_boottime_ns: u64,
    /// The same of the parent process.
    pub parent_start_boottime_ns: u64,
    /// Id of the control group in the unified hierarchy (`bpf_get_current_cgroup_id`).
    pub cgroup_id: u64,
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// Process id of the parent.
    pub parent_tgid: u32,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Login user id; `u32::MAX` where none was set (audit's loginuid, proc(5)).
    pub loginuid: u32,
    /// Audit session; `u32::MAX` where none.
    pub session_id: u32,
    /// Inode number of the mount namespace (namespaces(7)).
    pub mnt_ns: u32,
    /// Of the pid namespace for children.
    pub pid_ns: u32,
    /// Of the network namespace.
    pub net_ns: u32,
    /// Of the user namespace of the credentials.
    pub user_ns: u32,
    /// `task_struct.flags` (`PF_KTHREAD`, `PF_IO_WORKER`...; include/linux/sched.h).
    pub task_flags: u32,
    /// Thread name, NUL-padded.
    pub comm: [u8; 16],
    /// Zero.
    pub reserved: u32,
}

/// A file's identity and attributes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct FileIdentity {
    /// `inode.i_ino`; 0 where the object does not exist yet.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// `super_block.s_dev` (major << 20 | minor).
    pub device: u32,
    /// `inode.i_generation`.
    pub generation: u32,
    /// File type and permission bits (inode(7)).
    pub mode: u32,
    /// Names that the file has.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
}

/// `FILE_*`, `MOUNT` and `UMOUNT`.
///
/// A path is the object's name and the names of the directories above it, leaf first, each followed by a NUL, up to
/// but without the watched directory; the watch's number says which that is. Without a match by directory (the other
/// side of a rename; a single watched file) it goes up to the filesystem's root.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct FileRecord {
    /// Kind, flags, length, time.
    pub header: Header,
    /// Who.
    pub task: TaskContext,
    /// What: of a rename or link the file that `other` names.
    pub object: FileIdentity,
    /// The watch that `path` lies in, or [`crate::watch::NONE`].
    pub watch: u32,
    /// The flags of [`crate::watch`] by which it matched: `SUBTREE`, `FILE`, `ENTRY`, `PENDING`, `ANY_CHILD`, and of
    /// an unmounted `ANCHOR`.
    pub matched: u32,
    /// The watch that `other` lies in, or [`crate::watch::NONE`].
    pub other_watch: u32,
    /// As `matched`, of `other`.
    pub other_matched: u32,
    /// By kind: open flags (`O_*`) of opens and closes; new mode of create, mkdir, mknod and mode changes; `ia_valid`
    /// in the upper and mode in the lower half of an attribute change; protection of a mapping; mount flags; clone
    /// flags.
    pub argument: u64,
    /// The object.
    pub path: Span,
    /// The second name of a rename or link.
    pub other: Span,
    /// A symlink's target, a mount's source.
    pub extra: Span,
    /// Zero.
    pub reserved: u32,
}

/// `PROCESS_FORK`: `task` is the parent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ForkRecord {
    /// Kind, flags, length, time.
    pub header: Header,
    /// The parent.
    pub task: TaskContext,
    /// The child's start on `CLOCK_BOOTTIME`, in nanoseconds.
    pub child_start_boottime_ns: u64,
    /// The child's process id.
    pub child_tgid: u32,
    /// Zero.
    pub reserved: u32,
}

/// `PROCESS_EXEC`: `task` is the process as it goes on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ExecRecord {
    /// Kind, flags, length, time.
    pub header: Header,
    /// The process, with its new credentials and name.
    pub task: TaskContext,
    /// The file that is mapped and runs: of a script the interpreter.
    pub exe: FileIdentity,
    /// Bytes of argv in the process's memory; `args` may hold less.
    pub args_total: u32,
    /// Number of arguments.
    pub argc: u32,
    /// The name given to execve, as given.
    pub filename: Span,
    /// Path of `exe`, leaf first as in [`FileRecord`], up to the root of the mount tree as this process has it.
    pub exe_path: Span,
    /// The working directory, in the same form.
    pub cwd: Span,
    /// The arguments, each followed by a NUL.
    pub args: Span,
}

/// `PROCESS_EXIT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ExitRecord {
    /// Kind, flags, length, time.
    pub header: Header,
    /// Identity of the process.
    pub start_boottime_ns: u64,
    /// Process id.
    pub tgid: u32,
    /// As wait(2) has it (`task_struct.exit_code`).
    pub exit_code: u32,
}

/// `CGROUP_CREATE` and `NAMESPACE`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ContainerRecord {
    /// Kind, flags, length, time.
    pub header: Header,
    /// Who.
    pub task: TaskContext,
    /// `CGROUP_CREATE`: the new group's id (`kernfs_node.id`). `NAMESPACE`: the `CLONE_NEW*` flags, 0 for setns.
    pub value: u64,
    /// `CGROUP_CREATE`: the group's path in its hierarchy.
    pub path: Span,
    /// Zero.
    pub reserved: u32,
}

/// `IPC_SEND` and `IPC_SENT`.
///
/// What is sent to a watched listener, from the client's side only, before the kernel takes it. A stream has no
/// borders of messages: one record may hold several, or a part of one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct IpcRecord {
    /// Kind, flags, length, time.
    pub header: Header,
    /// The sender: whoever has the descriptor now, not who connected.
    pub task: TaskContext,
    /// Inode number of the sender's socket: `socket:[N]` in /proc/PID/fd (proc(5)). It names the connection, also
    /// where a descriptor of it is passed to another process.
    pub connection: u64,
    /// When the count of this connection's bytes began (`CLOCK_BOOTTIME`, in nanoseconds): the name of that count, see
    /// [`crate::mute`]. 0 where nothing is counted.
    pub since: u64,
    /// Where in that count the bytes of this record begin. What lies between the last record's and these was muted.
    pub at: u64,
    /// Where, there or further on, a chunk begins if the row of chunks that is followed is one;
    /// [`crate::mute::NOWHERE`] where none is.
    pub next: u64,
    /// The watch of the listener.
    pub watch: u32,
    /// Bytes that were to be sent, without the muted; `data` may hold less.
    pub total: u32,
    /// `IPC_SENT`: bytes that were taken, without the muted, or a negated errno. 0 in an `IPC_SEND`.
    pub result: i32,
    /// `MSG_*` of send(2). The last byte of a send with `MSG_OOB` is not part of the stream (unix(7)).
    pub message_flags: u32,
    /// `SOCK_STREAM` or `SOCK_SEQPACKET`.
    pub socket_type: u32,
    /// The bytes.
    pub data: Span,
}

const _: () = assert!(size_of::<Header>() == 16);
const _: () = assert!(size_of::<IpcRecord>() == 168);
const _: () = assert!(size_of::<TaskContext>() == 96);
const _: () = assert!(size_of::<FileIdentity>() == 40);
const _: () = assert!(size_of::<FileRecord>() == 192);
const _: () = assert!(size_of::<ForkRecord>() == 128);
const _: () = assert!(size_of::<ExecRecord>() == 176);
const _: () = assert!(size_of::<ExitRecord>() == 32);
const _: () = assert!(size_of::<ContainerRecord>() == 128);
