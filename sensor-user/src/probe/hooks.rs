//! Which programs a backend consists of, and what each needs of the kernel.

use serde::{Deserialize, Serialize};

use super::btf::{Btf, Target};

/// How file operations are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// BPF LSM programs.
    Lsm,
    /// fentry programs on the kernel's `security_*` functions.
    Fentry,
    /// fanotify, where the kernel lets neither load.
    Fanotify,
}

/// What is not seen without the hooks on sends.
const REQUESTS: &str =
    "what is asked of a service manager over its socket or a bus, and so who had it change a unit";

impl Backend {
    /// From best to worst.
    pub const ALL: [Self; 3] = [Self::Lsm, Self::Fentry, Self::Fanotify];

    /// The name in the log, in `selftest` and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Fentry => "fentry",
            Self::Fanotify => "fanotify",
        }
    }

    /// What it cannot see, in words for the operator.
    #[must_use]
    pub const fn blind_spots(self) -> &'static [&'static str] {
        match self {
            Self::Lsm => &["writes to the block device below a filesystem"],
            Self::Fentry => &[
                "writes to the block device below a filesystem",
                "runs that the kernel's recursion guard skips (counted in svcsensor_recursion_misses_total)",
            ],
            Self::Fanotify => &[
                "writes to the block device below a filesystem",
                "shared writable mappings before they are unmapped or closed",
                "writes through a descriptor that stays open, for the first second",
                "mounts over a watched directory that go before the mount table is read, and who mounted",
                "new namespaces before the process in them executes something",
                REQUESTS,
                "which thread, and how a process looked that ended before the daemon could read /proc",
            ],
        }
    }
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// To a BPF LSM hook.
    Lsm(&'static str),
    /// To the entry of a kernel function.
    Fentry(&'static str),
    /// To the end of a kernel function.
    Fexit(&'static str),
    /// To a tracepoint, with typed arguments.
    Tracepoint(&'static str),
}

impl Attach {
    /// What aya looks up in the kernel's BTF to attach it.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Lsm(name) => Target::Function(format!("bpf_lsm_{name}")),
            Self::Fentry(function) | Self::Fexit(function) => Target::Function((*function).to_owned()),
            Self::Tracepoint(name) => Target::Typedef(format!("btf_trace_{name}")),
        }
    }
}

/// One program of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Name in the log and in metrics: the same for every backend.
    pub name: &'static str,
    /// Name of the program in the object.
    pub program: &'static str,
    /// Where it goes.
    pub attach: Attach,
}

macro_rules! file_hooks {
    ($($name:literal),*) => {
        /// The hooks on files, as LSM programs.
        const LSM_FILES: &[Hook] =
            &[$(Hook { name: $name, program: concat!("lsm_", $name), attach: Attach::Lsm($name) },)*];

        /// The same as fentry programs.
        const FENTRY_FILES: &[Hook] = &[$(Hook {
            name: $name,
            program: concat!("fentry_", $name),
            attach: Attach::Fentry(concat!("security_", $name)),
        },)*];
    };
}

file_hooks!(
    "file_open",
    "inode_create",
    "inode_mkdir",
    "inode_mknod",
    "inode_rmdir",
    "inode_unlink",
    "inode_symlink",
    "inode_link",
    "inode_rename",
    "inode_setattr",
    "mmap_file",
    "file_mprotect",
    "sb_mount",
    "move_mount",
    "sb_umount"
);

const CLOSE_LSM: Hook =
    Hook { name: "close", program: "lsm_file_release", attach: Attach::Lsm("file_release") };
const CLOSE_FENTRY: Hook = Hook { name: "close", program: "fentry_fput", attach: Attach::Fentry("__fput") };

const NAMESPACES: Hook = Hook {
    name: "create_new_namespaces",
    program: "fentry_create_new_namespaces",
    attach: Attach::Fentry("create_new_namespaces"),
};

const SEND_LSM: Hook =
    Hook { name: "socket_sendmsg", program: "lsm_socket_sendmsg", attach: Attach::Lsm("socket_sendmsg") };
const SEND_FENTRY: Hook = Hook {
    name: "socket_sendmsg",
    program: "fexit_socket_sendmsg",
    attach: Attach::Fexit("security_socket_sendmsg"),
};
const SENT: Hook = Hook {
    name: "unix_stream_sendmsg",
    program: "fexit_unix_stream_sendmsg",
    attach: Attach::Fexit("unix_stream_sendmsg"),
};
const SEND_PAGE: Hook = Hook {
    name: "unix_stream_sendpage",
    program: "fentry_unix_stream_sendpage",
    attach: Attach::Fentry("unix_stream_sendpage"),
};

/// What programs need to see sends on unix sockets, beside the functions that they attach to.
const SEND_FIELDS: [&str; 10] = [
    "socket.sk",
    "socket.type",
    "socket.file",
    "sock.__sk_common.skc_family",
    "unix_sock.peer",
    "unix_sock.path.dentry",
    "msghdr.msg_flags",
    "msghdr.msg_iter.iov_offset",
    "msghdr.msg_iter.count",
    "msghdr.msg_iter.nr_segs",
];

/// Whether the kernel that `btf` describes lets programs see what is sent to unix sockets. Where they are in a module
/// of their own (`CONFIG_UNIX=m`, before 6.3), the kernel's BTF does not describe them.
#[must_use]
pub fn sees_sends(btf: &Btf) -> bool {
    let either = |one, other| btf.offset(one).or_else(|| btf.offset(other)).is_some();
    btf.has_function("unix_stream_sendmsg")
        && SEND_FIELDS.iter().all(|field| btf.offset(field).is_some())
        && either("msghdr.msg_iter.__iov", "msghdr.msg_iter.iov")
        && either("msghdr.msg_iter.iter_type", "msghdr.msg_iter.type")
        && btf.has_enumerator("iter_type", "ITER_IOVEC")
}

/// What `backend` cannot see on the kernel that `btf` describes, in words for the operator.
#[must_use]
pub fn blind_spots(backend: Backend, btf: &Btf) -> Vec<&'static str> {
    let mut spots = backend.blind_spots().to_vec();
    if backend != Backend::Fanotify && !sees_sends(btf) {
        spots.push(REQUESTS);
    }
    spots
}

/// The tracepoints of every backend.
const PROCESSES: &[Hook] = &[
    Hook {
        name: "process_fork",
        program: "tp_process_fork",
        attach: Attach::Tracepoint("sched_process_fork"),
    },
    Hook {
        name: "process_exec",
        program: "tp_process_exec",
        attach: Attach::Tracepoint("sched_process_exec"),
    },
    Hook {
        name: "process_exit",
        program: "tp_process_exit",
        attach: Attach::Tracepoint("sched_process_exit"),
    },
    Hook { name: "cgroup_mkdir", program: "tp_cgroup_mkdir", attach: Attach::Tracepoint("cgroup_mkdir") },
];

/// The programs of `backend` on the kernel that `btf` describes. All of them are required: a backend with a hook
/// missing would be blind without saying so. Only those on sends are left out where [`sees_sends`] says so, which
/// `selftest` tells.
#[must_use]
pub fn of(backend: Backend, btf: &Btf) -> Vec<Hook> {
    let mut hooks = match backend {
        Backend::Lsm => LSM_FILES.to_vec(),
        Backend::Fentry => FENTRY_FILES.to_vec(),
        Backend::Fanotify => Vec::new(),
    };
    match backend {
        // The hook came with 6.9 (security/security.c, security_file_release).
        Backend::Lsm if btf.has_function("bpf_lsm_file_release") => hooks.extend([CLOSE_LSM, NAMESPACES]),
        Backend::Lsm | Backend::Fentry => hooks.extend([CLOSE_FENTRY, NAMESPACES]),
        Backend::Fanotify => {}
    }
    if backend != Backend::Fanotify && sees_sends(btf) {
        hooks.extend([if backend == Backend::Lsm { SEND_LSM } else { SEND_FENTRY }, SENT]);
        if btf.has_function("unix_stream_sendpage") {
            hooks.push(SEND_PAGE);
        }
    }
    hooks.extend_from_slice(PROCESSES);
    hooks
}
