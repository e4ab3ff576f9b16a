//! The floor under every measurement: programs with the names and places of svcsensor's, that do nothing.
//!
//! `cargo xtask bench` loads them through the same loader as the sensor's, so what they cost is what a kernel asks for
//! being called there at all. Hence the maps and globals too, that the loader insists on.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[path = "../src/kernel.rs"]
#[expect(dead_code, unused_imports, unused_macros, reason = "only its maps and globals are wanted")]
mod kernel;

use aya_ebpf::macros::{btf_tracepoint, fentry, fexit, lsm};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, FExitContext, LsmContext};

/// Declares programs that return 0. The LSM ones take their hook from the loader, as the others take their function.
macro_rules! empty {
    ($attribute:ident, $context:ty, $($name:ident),* $(,)?) => {
        $(#[$attribute]
        fn $name(_: $context) -> i32 {
            0
        })*
    };
}

empty!(
    lsm,
    LsmContext,
    lsm_file_open,
    lsm_inode_create,
    lsm_inode_mkdir,
    lsm_inode_mknod,
    lsm_inode_rmdir,
    lsm_inode_unlink,
    lsm_inode_symlink,
    lsm_inode_link,
    lsm_inode_rename,
    lsm_inode_setattr,
    lsm_mmap_file,
    lsm_file_mprotect,
    lsm_sb_mount,
    lsm_move_mount,
    lsm_sb_umount,
    lsm_file_release,
    lsm_socket_sendmsg,
);
empty!(
    fentry,
    FEntryContext,
    fentry_file_open,
    fentry_inode_create,
    fentry_inode_mkdir,
    fentry_inode_mknod,
    fentry_inode_rmdir,
    fentry_inode_unlink,
    fentry_inode_symlink,
    fentry_inode_link,
    fentry_inode_rename,
    fentry_inode_setattr,
    fentry_mmap_file,
    fentry_file_mprotect,
    fentry_sb_mount,
    fentry_move_mount,
    fentry_sb_umount,
    fentry_fput,
    fentry_create_new_namespaces,
    fentry_unix_stream_sendpage,
);
empty!(fexit, FExitContext, fexit_socket_sendmsg, fexit_unix_stream_sendmsg);
empty!(
    btf_tracepoint,
    BtfTracePointContext,
    tp_process_fork,
    tp_process_exec,
    tp_process_exit,
    tp_cgroup_mkdir,
);

/// As the sensor's, so that the kernel treats them alike.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // No code path reaches this: the verifier would refuse the endless loop.
    loop {}
}
