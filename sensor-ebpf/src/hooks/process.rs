//! Fork, exec, exit.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user};
use sensor_common::limits::{ARGS_MAX, COMPONENT_MAX, FILENAME_MAX, WALK_LEVELS};
use sensor_common::record::{ExecRecord, ExitRecord, ForkRecord, flags, kind};

use crate::emit;
use crate::hooks::file::identify;
use crate::kernel::{Address, EXITS, load, offset, opaque, probe};
use crate::path::{Cursor, append_name};
use crate::task;

/// How the name of a memfd's dentry begins (mm/memfd.c, `MFD_NAME_PREFIX`).
const MEMFD_PREFIX: [u8; 6] = *b"memfd:";

/// Bytes for arguments and for paths in the three sizes of an exec record.
const SMALL_ARGS: usize = 256;
const SMALL_PATHS: usize = 512;
const MIDDLE_ARGS: usize = 1024;
const MIDDLE_PATHS: usize = 768;
const LARGE_PATHS: usize = 2048;

/// Offset of the paths in an exec record: behind the file name's constant room.
const PATHS_AT: usize = size_of::<ExecRecord>() + FILENAME_MAX;

/// The current process forked `child`, a task. Threads are passed over.
#[inline(always)]
pub fn fork(child: Address) {
    let tgid: u32 = load(child, offset!(task_tgid));
    if tgid != load::<u32>(child, offset!(task_pid)) {
        return;
    }
    const SIZE: u64 = size_of::<ForkRecord>() as u64;
    let base = emit::reserve_process::<SIZE>(kind::PROCESS_FORK);
    if base.is_null() {
        return;
    }
    let record = base.cast::<ForkRecord>();
    // SAFETY: `record` is the start of a reservation of its size; the verifier checks each store.
    unsafe {
        emit::header(&raw mut (*record).header, kind::PROCESS_FORK, 0, size_of::<ForkRecord>());
        task::fill_current(&raw mut (*record).task);
        (*record).child_start_boottime_ns = load(child, offset!(task_start_boottime));
        (*record).child_tgid = tgid;
        (*record).reserved = 0;
    }
    emit::submit_process::<SIZE>(base);
}

/// A thread exits; told is the last one of its group. The leader may go long before the others, and an exec in another
/// thread ends the leader but not the process.
#[inline(always)]
pub fn exit(task: Address) {
    let signal: Address = load(task, offset!(task_signal));
    // Counted down before the tracepoint (kernel/exit.c, do_exit), so a thread that is overtaken there finds 0 as well.
    if load::<u32>(signal, offset!(signal_live)) != 0 {
        return;
    }
    let leader: Address = load(task, offset!(task_group_leader));
    let tgid: u32 = load(task, offset!(task_tgid));
    let start: u64 = load(leader, offset!(task_start_boottime));
    let key = [start, tgid as u64];
    let told = if load::<u32>(signal, offset!(signal_nr_threads)) > 1 {
        EXITS.insert(key, 1, BPF_NOEXIST as u64).is_err()
    } else {
        // The overtaken one may have come first and be gone by now.
        EXITS.get_ptr(key).is_some()
    };
    if told {
        return;
    }
    // As wait(2) takes it (kernel/exit.c, wait_task_zombie).
    let of_group: u32 = load(signal, offset!(signal_group_exit_code));
    let exit_code = if of_group == 0 { load(leader, offset!(task_exit_code)) } else { of_group };
    const SIZE: u64 = size_of::<ExitRecord>() as u64;
    let base = emit::reserve_process::<SIZE>(kind::PROCESS_EXIT);
    if base.is_null() {
        return;
    }
    let record = base.cast::<ExitRecord>();
    // SAFETY: as in `fork`.
    unsafe {
        emit::header(&raw mut (*record).header, kind::PROCESS_EXIT, 0, size_of::<ExitRecord>());
        (*record).start_boottime_ns = start;
        (*record).tgid = tgid;
        (*record).exit_code = exit_code;
    }
    emit::submit_process::<SIZE>(base);
}

/// A program was executed: the new memory is in place, the old process goes on in it.
#[inline(always)]
pub fn exec(task: Address, binprm: Address) {
    let memory: Address = load(task, offset!(task_mm));
    let start: u64 = probe(memory, offset!(mm_arg_start));
    let total = probe::<u64>(memory, offset!(mm_arg_end)).wrapping_sub(start) as u32;
    let exec = Exec { task, binprm, start, total };
    let fitted = if total <= SMALL_ARGS as u32 {
        exec.write::<{ size(SMALL_PATHS, SMALL_ARGS) }, SMALL_ARGS, { limit(SMALL_PATHS) }>(false)
    } else if total <= MIDDLE_ARGS as u32 {
        exec.write::<{ size(MIDDLE_PATHS, MIDDLE_ARGS) }, MIDDLE_ARGS, { limit(MIDDLE_PATHS) }>(false)
    } else {
        false
    };
    if !fitted {
        exec.write::<{ size(LARGE_PATHS, ARGS_MAX) }, ARGS_MAX, { limit(LARGE_PATHS) }>(true);
    }
}

/// Bytes of a record with room for `paths` and `args`.
const fn size(paths: usize, args: usize) -> u64 {
    (PATHS_AT + paths + args) as u64
}

/// The greatest offset at which one more path component may begin.
const fn limit(paths: usize) -> usize {
    PATHS_AT + paths - COMPONENT_MAX
}

struct Exec {
    task: Address,
    binprm: Address,
    /// Address of argv's bytes in the process.
    start: u64,
    /// Their number.
    total: u32,
}

impl Exec {
    /// Writes the record; false where it is worth trying again in a larger reservation.
    #[inline(always)]
    fn write<const SIZE: u64, const ARGS: usize, const LIMIT: usize>(&self, last: bool) -> bool {
        let base = emit::reserve_process::<SIZE>(kind::PROCESS_EXEC);
        if base.is_null() {
            return true;
        }
        let mut cursor = Cursor { base, offset: PATHS_AT, truncated: false };
        let file: Address = load(self.binprm, offset!(binprm_file));
        copy_full_path::<LIMIT>(
            &mut cursor,
            probe(file, offset!(file_dentry)),
            probe(file, offset!(file_mnt)),
        );
        let exe_end = cursor.offset;
        let fs: Address = load(self.task, offset!(task_fs));
        let pwd: Address = probe(fs, offset!(fs_pwd_dentry));
        copy_full_path::<LIMIT>(&mut cursor, pwd, probe(fs, offset!(fs_pwd_mnt)));
        let cwd_end = cursor.offset;
        if cursor.truncated && !last {
            emit::discard(base);
            return false;
        }
        let mut flags = if cursor.truncated { flags::PATH_TRUNCATED } else { 0 };

        let filename: Address = load(self.binprm, offset!(binprm_filename));
        let interpreter: Address = load(self.binprm, offset!(binprm_interp));
        if filename != interpreter {
            flags |= flags::EXE_SCRIPT;
        }
        // SAFETY: the room between the record and PATHS_AT is FILENAME_MAX; the helper checks the source.
        let copied = unsafe {
            bpf_probe_read_kernel_str(base.add(size_of::<ExecRecord>()).cast(), FILENAME_MAX as u32, filename)
        };

        // Constant place, constant bound: nothing about it for the verifier to work out.
        let args_at = SIZE as usize - ARGS;
        let mut args = opaque(self.total as u64);
        if args > ARGS as u64 {
            args = ARGS as u64;
            flags |= flags::ARGS_TRUNCATED;
        }
        // SAFETY: `args <= ARGS` bytes at `args_at` lie in the reservation; the helper checks the source.
        if unsafe { bpf_probe_read_user(base.add(args_at).cast(), args as u32, self.start as Address) } != 0 {
            args = 0;
            flags |= flags::ARGS_UNREADABLE;
        }

        let inode: Address = load(file, offset!(file_inode));
        let dentry: Address = load(file, offset!(file_dentry));
        if load::<u32>(inode, offset!(inode_nlink)) == 0 {
            flags |= flags::EXE_DELETED;
        }
        if probe::<[u8; 6]>(load(dentry, offset!(dentry_name)), 0) == MEMFD_PREFIX {
            flags |= flags::EXE_MEMFD;
        }

        let record = base.cast::<ExecRecord>();
        // SAFETY: `record` is the start of a reservation that is longer; the verifier checks each store.
        unsafe {
            emit::header(&raw mut (*record).header, kind::PROCESS_EXEC, flags, args_at + args as usize);
            task::fill_current(&raw mut (*record).task);
            identify::<true>(&raw mut (*record).exe, inode);
            (*record).args_total = self.total;
            (*record).argc = load(self.binprm, offset!(binprm_argc));
            (*record).filename.offset = size_of::<ExecRecord>() as u16;
            (*record).filename.length = if copied > 0 { copied as u16 } else { 0 };
            (*record).exe_path.offset = PATHS_AT as u16;
            (*record).exe_path.length = (exe_end - PATHS_AT) as u16;
            (*record).cwd.offset = exe_end as u16;
            (*record).cwd.length = (cwd_end - exe_end) as u16;
            (*record).args.offset = args_at as u16;
            (*record).args.length = args as u16;
        }
        emit::submit_process::<SIZE>(base);
        true
    }
}

/// Copies the names from `dentry` up to the root of the mount tree, crossing mounts. Addresses are read by helper:
/// they come from structures that are reached by subtraction (`container_of`), which has no BTF type.
#[inline(always)]
fn copy_full_path<const LIMIT: usize>(cursor: &mut Cursor, dentry: Address, mnt: Address) {
    let mut here = dentry;
    let mut mnt = mnt;
    for _ in 0..WALK_LEVELS {
        let root: Address = probe(mnt, offset!(vfsmount_root));
        let parent: Address = probe(here, offset!(dentry_parent));
        if here == root {
            let mount = mnt.wrapping_byte_sub(offset!(mount_vfsmount));
            let above: Address = probe(mount, offset!(mount_parent));
            if above == mount || above.is_null() {
                return;
            }
            here = probe(mount, offset!(mount_mountpoint));
            mnt = above.wrapping_byte_add(offset!(mount_vfsmount));
            continue;
        }
        // A memfd's dentry hangs on nothing and still has a name.
        if !append_name::<LIMIT>(cursor, probe(here, offset!(dentry_name))) || here == parent {
            return;
        }
        here = parent;
    }
    cursor.truncated = true;
}
