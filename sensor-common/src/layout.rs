//! Where the running kernel keeps the fields that the programs read.
//!
//! rustc cannot emit CO-RE relocations, so userspace reads the offsets out of the kernel's own BTF and hands them
//! to the programs as read-only data; the verifier folds them into constants.

/// An offset that this kernel does not have. A program that finds it reads 0 in its stead.
pub const ABSENT: u32 = u32::MAX;

macro_rules! kernel_layout {
    ($($(#[$doc:meta])* $field:ident = $path:literal, $required:literal;)*) => {
        /// Byte offsets of kernel fields, each from the start of the structure named first.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct KernelLayout {
            $($(#[$doc])* #[doc = concat!("`", $path, "`")] pub $field: u32,)*
        }

        impl KernelLayout {
            /// Every field as (name, `struct.member.member...`, required); embedded structures are crossed with
            /// a dot, pointers are not followed. A layout is these offsets in this order.
            pub const FIELDS: &'static [(&'static str, &'static str, bool)] =
                &[$((stringify!($field), $path, $required),)*];

            /// A layout in which nothing is known.
            pub const UNKNOWN: Self = Self { $($field: ABSENT,)* };
        }
    };
}

kernel_layout! {
    file_inode = "file.f_inode", true;
    file_dentry = "file.f_path.dentry", true;
    file_mnt = "file.f_path.mnt", true;
    file_mode = "file.f_mode", true;
    file_flags = "file.f_flags", true;
    inode_ino = "inode.i_ino", true;
    inode_sb = "inode.i_sb", true;
    inode_mode = "inode.i_mode", true;
    inode_nlink = "inode.i_nlink", true;
    inode_generation = "inode.i_generation", true;
    inode_size = "inode.i_size", true;
    inode_uid = "inode.i_uid", true;
    inode_gid = "inode.i_gid", true;
    /// The first of the inode's names.
    inode_aliases = "inode.i_dentry.first", false;
    sb_dev = "super_block.s_dev", true;
    dentry_sb = "dentry.d_sb", true;
    dentry_parent = "dentry.d_parent", true;
    dentry_inode = "dentry.d_inode", true;
    dentry_name = "dentry.d_name.name", true;
    dentry_name_len = "dentry.d_name.len", true;
    /// Room for a name of up to [`crate::limits::INLINE_NAME`] bytes, until 6.14.
    dentry_inline_name = "dentry.d_iname", false;
    /// The same since.
    dentry_short_name = "dentry.d_shortname", false;
    /// Where the list of [`Self::inode_aliases`] runs through a name.
    dentry_alias = "dentry.d_u.d_alias", false;
    path_dentry = "path.dentry", true;
    path_mnt = "path.mnt", true;
    vfsmount_root = "vfsmount.mnt_root", true;
    /// For the distance from a `vfsmount` to the `mount` that contains it.
    mount_vfsmount = "mount.mnt", true;
    mount_parent = "mount.mnt_parent", true;
    mount_mountpoint = "mount.mnt_mountpoint", true;
    iattr_valid = "iattr.ia_valid", true;
    iattr_mode = "iattr.ia_mode", true;
    iattr_size = "iattr.ia_size", true;
    task_tgid = "task_struct.tgid", true;
    task_pid = "task_struct.pid", true;
    task_start_boottime = "task_struct.start_boottime", true;
    task_real_parent = "task_struct.real_parent", true;
    task_group_leader = "task_struct.group_leader", true;
    task_cred = "task_struct.cred", true;
    task_loginuid = "task_struct.loginuid", false;
    task_sessionid = "task_struct.sessionid", false;
    task_nsproxy = "task_struct.nsproxy", true;
    task_flags = "task_struct.flags", true;
    task_exit_code = "task_struct.exit_code", true;
    task_signal = "task_struct.signal", true;
    task_mm = "task_struct.mm", true;
    task_fs = "task_struct.fs", true;
    task_comm = "task_struct.comm", true;
    signal_live = "signal_struct.live.counter", true;
    signal_nr_threads = "signal_struct.nr_threads", true;
    signal_group_exit_code = "signal_struct.group_exit_code", true;
    cred_uid = "cred.uid", true;
    cred_euid = "cred.euid", true;
    cred_gid = "cred.gid", true;
    cred_user_ns = "cred.user_ns", true;
    nsproxy_mnt_ns = "nsproxy.mnt_ns", true;
    nsproxy_pid_ns = "nsproxy.pid_ns_for_children", true;
    nsproxy_net_ns = "nsproxy.net_ns", false;
    mnt_ns_inum = "mnt_namespace.ns.inum", true;
    pid_ns_inum = "pid_namespace.ns.inum", true;
    net_inum = "net.ns.inum", false;
    user_ns_inum = "user_namespace.ns.inum", true;
    mm_arg_start = "mm_struct.arg_start", true;
    mm_arg_end = "mm_struct.arg_end", true;
    fs_pwd_dentry = "fs_struct.pwd.dentry", true;
    fs_pwd_mnt = "fs_struct.pwd.mnt", true;
    binprm_file = "linux_binprm.file", true;
    binprm_filename = "linux_binprm.filename", true;
    binprm_interp = "linux_binprm.interp", true;
    binprm_argc = "linux_binprm.argc", true;
    vma_file = "vm_area_struct.vm_file", true;
    vma_flags = "vm_area_struct.vm_flags", true;
    cgroup_kn = "cgroup.kn", true;
    kernfs_node_id = "kernfs_node.id", true;
    // What follows is absent where unix sockets are in a module of their own (CONFIG_UNIX=m), or named otherwise.
    socket_sk = "socket.sk", false;
    socket_type = "socket.type", false;
    socket_file = "socket.file", false;
    sock_family = "sock.__sk_common.skc_family", false;
    unix_peer = "unix_sock.peer", false;
    unix_dentry = "unix_sock.path.dentry", false;
    msg_flags = "msghdr.msg_flags", false;
    iter_offset = "msghdr.msg_iter.iov_offset", false;
    iter_count = "msghdr.msg_iter.count", false;
    iter_segments = "msghdr.msg_iter.nr_segs", false;
    /// `ITER_*`, in a byte, since 5.14.
    iter_type = "msghdr.msg_iter.iter_type", false;
    /// The same with the direction in its lowest bit, until then.
    iter_old_type = "msghdr.msg_iter.type", false;
    /// Since 6.4, when the next one was renamed.
    iter_iov = "msghdr.msg_iter.__iov", false;
    iter_old_iov = "msghdr.msg_iter.iov", false;
    /// Since 6.0.
    iter_ubuf = "msghdr.msg_iter.ubuf", false;
}

/// What else the programs must know of the running kernel and of the daemon's choices.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelFacts {
    /// Index of the `dentry` argument of `inode_setattr`: 1 where an idmap or user namespace comes first, else 0.
    pub setattr_dentry: u32,
    /// 1 where the helper `bpf_get_current_task_btf` exists (5.11).
    pub current_task_btf: u32,
    /// Bytes waiting in the ring beyond which process records are refused.
    pub process_ring_bytes: u32,
    /// 1 where the helper `bpf_skc_to_unix_sock` exists (5.16).
    pub unix_sock_helper: u32,
    /// `ITER_IOVEC`: segments in the sender's memory.
    pub iter_iovec: u32,
    /// `ITER_UBUF`: one buffer in the sender's memory; [`ABSENT`] before 6.0.
    pub iter_ubuf: u32,
    /// 1 where the file that overlayfs opens in a layer has the layer's path (fs/open.c, `backing_file_open`;
    /// since 6.7), not that of the merged tree with the layer's inode (`open_with_fake_path`).
    pub layers_have_paths: u32,
    /// 1 where the fields of [`usual`] lie as said there.
    pub usual_layout: u32,
}

/// Where the fields that nearly every write has read lie on 64-bit kernels from 5.10 to 7.3 at least. With these offsets
/// in the instructions, instead of in registers, each level of a path costs a tenth less.
pub mod usual {
    macro_rules! usual {
        ($($(#[$doc:meta])* $field:ident = $offset:literal at $($path:literal)|+;)*) => {
            $($(#[$doc])* #[doc = concat!($("`", $path, "` "),+)] pub const $field: usize = $offset;)*

            /// Each as its names, of which a kernel has one, and its offset.
            pub const FIELDS: &[(&[&str], usize)] = &[$((&[$($path),+], $offset)),*];
        };
    }

    usual! {
        DENTRY_PARENT = 24 at "dentry.d_parent";
        DENTRY_NAME_LEN = 36 at "dentry.d_name.len";
        DENTRY_INODE = 48 at "dentry.d_inode";
        DENTRY_INLINE_NAME = 56 at "dentry.d_iname" | "dentry.d_shortname";
        DENTRY_SB = 104 at "dentry.d_sb";
        INODE_SB = 40 at "inode.i_sb";
        INODE_INO = 64 at "inode.i_ino";
        SB_DEV = 16 at "super_block.s_dev";
    }
}

const _: () = assert!(size_of::<KernelLayout>() == 4 * KernelLayout::FIELDS.len());
const _: () = assert!(size_of::<KernelFacts>() == 32);
