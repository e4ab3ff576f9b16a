//! svcsensor's kernel programs: their entry points, one line each.
//!
//! Every hook exists twice: as a BPF LSM program, and as fentry on the kernel's `security_*` function of the same
//! name, for kernels whose LSM list lacks `bpf`. Userspace loads one set (see `sensor-user`, room `probe`).
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod diagnostics;
mod emit;
mod hooks;
mod kernel;
mod layers;
mod path;
mod stream;
mod task;

use aya_ebpf::macros::{btf_tracepoint, fentry, fexit, lsm};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, FExitContext, LsmContext};
use sensor_common::record::kind;

use hooks::{container, file, ipc, process};
use kernel::fact;

/// Declares a hook as LSM program `lsm_NAME` and as fentry program `fentry_NAME` on `security_NAME`.
macro_rules! hook {
    ($name:literal, $lsm:ident, $fentry:ident, |$ctx:ident| $body:expr) => {
        hook!($name, $lsm, $fentry, |$ctx| $body, |$ctx| $body);
    };
    ($name:literal, $lsm:ident, $fentry:ident, |$l:ident| $lsm_body:expr, |$f:ident| $fentry_body:expr) => {
        #[lsm(hook = $name)]
        fn $lsm($l: LsmContext) -> i32 {
            $lsm_body;
            0
        }

        #[fentry]
        fn $fentry($f: FEntryContext) -> u32 {
            $fentry_body;
            0
        }
    };
}

// The arguments of each hook: include/linux/lsm_hook_defs.h, and the `security_*` functions in security/security.c.
hook!("file_open", lsm_file_open, fentry_file_open, |c| file::open(c.arg(0)));
hook!("inode_create", lsm_inode_create, fentry_inode_create, |c| {
    file::entry(kind::FILE_CREATE, c.arg(1), c.arg::<u16>(2) as u64)
});
hook!("inode_mkdir", lsm_inode_mkdir, fentry_inode_mkdir, |c| {
    file::entry(kind::FILE_MKDIR, c.arg(1), c.arg::<u16>(2) as u64)
});
hook!("inode_mknod", lsm_inode_mknod, fentry_inode_mknod, |c| {
    file::entry(kind::FILE_MKNOD, c.arg(1), c.arg::<u16>(2) as u64)
});
hook!("inode_rmdir", lsm_inode_rmdir, fentry_inode_rmdir, |c| file::entry(kind::FILE_RMDIR, c.arg(1), 0));
hook!("inode_unlink", lsm_inode_unlink, fentry_inode_unlink, |c| file::unlink(c.arg(1)));
hook!("inode_symlink", lsm_inode_symlink, fentry_inode_symlink, |c| file::symlink(c.arg(1), c.arg(2)));
hook!("inode_link", lsm_inode_link, fentry_inode_link, |c| {
    file::two_names(kind::FILE_LINK, c.arg(0), c.arg(2))
});
// security_inode_rename calls the LSM hook twice for an exchange, with the names swapped; fentry sees the one call.
hook!("inode_rename", lsm_inode_rename, fentry_inode_rename, |c| file::rename(c.arg(1), c.arg(3), 0), |c| {
    file::rename(c.arg(1), c.arg(3), c.arg::<u32>(4) as u64)
});
hook!("inode_setattr", lsm_inode_setattr, fentry_inode_setattr, |c| {
    if fact!(setattr_dentry) == 1 {
        file::setattr(c.arg(1), c.arg(2));
    } else {
        file::setattr(c.arg(0), c.arg(1));
    }
});
// security_mmap_file(file, prot, flags) hands the hook (file, reqprot, prot, flags).
hook!("mmap_file", lsm_mmap_file, fentry_mmap_file, |c| file::map(c.arg(0), c.arg(2), c.arg(3)), |c| {
    file::map(c.arg(0), c.arg(1), c.arg(2))
});
hook!("file_mprotect", lsm_file_mprotect, fentry_file_mprotect, |c| file::protect(c.arg(0), c.arg(2)));
hook!("sb_mount", lsm_sb_mount, fentry_sb_mount, |c| file::mount(c.arg(1), c.arg(0), c.arg(3)));
hook!("move_mount", lsm_move_mount, fentry_move_mount, |c| file::move_mount(c.arg(0), c.arg(1)));
hook!("sb_umount", lsm_sb_umount, fentry_sb_umount, |c| file::umount(c.arg(0), c.arg::<u32>(1) as u64));
#[lsm(hook = "socket_sendmsg")]
fn lsm_socket_sendmsg(ctx: LsmContext) -> i32 {
    ipc::send(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// At its end, not at its beginning: what another LSM denied is not sent. Nothing is sent before it, either.
#[fexit(function = "security_socket_sendmsg")]
fn fexit_socket_sendmsg(ctx: FExitContext) -> u32 {
    if ctx.arg::<i32>(3) == 0 {
        ipc::send(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    }
    0
}

/// `unix_stream_sendmsg(sock, msg, len)` (net/unix/af_unix.c): its result.
#[fexit(function = "unix_stream_sendmsg")]
fn fexit_unix_stream_sendmsg(ctx: FExitContext) -> u32 {
    ipc::sent(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    0
}

/// `unix_stream_sendpage(sock, page, offset, size, flags)`, before 6.5.
#[fentry(function = "unix_stream_sendpage")]
fn fentry_unix_stream_sendpage(ctx: FEntryContext) -> u32 {
    ipc::send_page(ctx.arg(0), ctx.arg(3));
    0
}

/// The close of a file where the LSM hook exists (6.9 and later).
#[lsm(hook = "file_release")]
fn lsm_file_release(ctx: LsmContext) -> i32 {
    file::close(ctx.arg(0));
    0
}

/// The close of a file elsewhere: `__fput(file)` (fs/file_table.c), which every close ends in.
#[fentry(function = "__fput")]
fn fentry_fput(ctx: FEntryContext) -> u32 {
    file::close(ctx.arg(0));
    0
}

/// `sched_process_fork(parent, child)` (include/trace/events/sched.h).
#[btf_tracepoint(function = "sched_process_fork")]
fn tp_process_fork(ctx: BtfTracePointContext) -> i32 {
    process::fork(ctx.arg(1));
    0
}

/// `sched_process_exec(task, old_pid, bprm)`.
#[btf_tracepoint(function = "sched_process_exec")]
fn tp_process_exec(ctx: BtfTracePointContext) -> i32 {
    process::exec(ctx.arg(0), ctx.arg(2));
    0
}

/// `sched_process_exit(task)`.
#[btf_tracepoint(function = "sched_process_exit")]
fn tp_process_exit(ctx: BtfTracePointContext) -> i32 {
    process::exit(ctx.arg(0));
    0
}

/// `cgroup_mkdir(cgroup, path)` (include/trace/events/cgroup.h).
#[btf_tracepoint(function = "cgroup_mkdir")]
fn tp_cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    container::cgroup_mkdir(ctx.arg(0), ctx.arg(1));
    0
}

/// `create_new_namespaces(flags, task, user_ns, new_fs)` (kernel/nsproxy.c): clone, unshare and setns all end in it.
#[fentry(function = "create_new_namespaces")]
fn fentry_create_new_namespaces(ctx: FEntryContext) -> u32 {
    container::new_namespaces(ctx.arg(0));
    0
}

/// The kernel lets only programs under the GPL use most helpers (bpf-helpers(7)).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // No code path reaches this: the verifier would refuse the endless loop.
    loop {}
}
