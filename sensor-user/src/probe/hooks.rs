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
    /// To a tracepoint, with typed arguments.
    Tracepoint(&'static str),
}

impl Attach {
    /// What aya looks up in the kernel's BTF to attach it.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Lsm(name) => Target::Function(format!("bpf_lsm_{name}")),
            Self::Fentry(function) => Target::Function((*function).to_owned()),
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
/// missing would be blind without saying so.
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
    hooks.extend_from_slice(PROCESSES);
    hooks
}
