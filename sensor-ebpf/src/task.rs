//! The acting task as a [`TaskContext`].

use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf,
};
use sensor_common::layout::ABSENT;
use sensor_common::record::TaskContext;

use crate::kernel::{Address, fact, offset, read};

/// Audit's value for "not set", and this crate's for a field that the kernel lacks.
const UNSET: u32 = u32::MAX;

/// Reads a field that a kernel may lack.
#[inline(always)]
fn read_optional<const TYPED: bool>(base: Address, offset: usize) -> u32 {
    if offset == ABSENT as usize { UNSET } else { read::<TYPED, u32>(base, offset) }
}

/// Reads the namespace number behind a pointer; 0 where there is none.
#[inline(always)]
fn namespace<const TYPED: bool>(base: Address, pointer_at: usize, inum_at: usize) -> u32 {
    if pointer_at == ABSENT as usize || inum_at == ABSENT as usize {
        return 0;
    }
    let space: Address = read::<TYPED, _>(base, pointer_at);
    if space.is_null() { 0 } else { read::<TYPED, u32>(space, inum_at) }
}

/// Fills `context` with the current task.
///
/// `context` points into a ring buffer reservation: every field is stored, none is read.
#[inline(always)]
pub fn fill_current(context: *mut TaskContext) {
    if fact!(current_task_btf) != 0 {
        // SAFETY: a helper without arguments; the branch is pruned where the kernel does not have it.
        fill::<true>(context, unsafe { bpf_get_current_task_btf() }.cast_const().cast());
    } else {
        // SAFETY: a helper without arguments.
        let task = unsafe { bpf_get_current_task() } as *const task_struct;
        fill::<false>(context, task.cast());
    }
}

#[inline(always)]
fn fill<const TYPED: bool>(context: *mut TaskContext, task: Address) {
    let leader: Address = read::<TYPED, _>(task, offset!(task_group_leader));
    let parent: Address = read::<TYPED, _>(task, offset!(task_real_parent));
    let parent_leader: Address = read::<TYPED, _>(parent, offset!(task_group_leader));
    let cred: Address = read::<TYPED, _>(task, offset!(task_cred));
    let nsproxy: Address = read::<TYPED, _>(task, offset!(task_nsproxy));
    let (mut mnt_ns, mut pid_ns, mut net_ns) = (0, 0, 0);
    // A task that is exiting has none.
    if !nsproxy.is_null() {
        mnt_ns = namespace::<TYPED>(nsproxy, offset!(nsproxy_mnt_ns), offset!(mnt_ns_inum));
        pid_ns = namespace::<TYPED>(nsproxy, offset!(nsproxy_pid_ns), offset!(pid_ns_inum));
        net_ns = namespace::<TYPED>(nsproxy, offset!(nsproxy_net_ns), offset!(net_inum));
    }
    // SAFETY: `context` is the start of a TaskContext inside the reservation; the verifier checks each store.
    unsafe {
        (*context).start_boottime_ns = read::<TYPED, u64>(leader, offset!(task_start_boottime));
        (*context).parent_start_boottime_ns = read::<TYPED, u64>(parent_leader, offset!(task_start_boottime));
        (*context).cgroup_id = bpf_get_current_cgroup_id();
        (*context).tgid = read::<TYPED, u32>(task, offset!(task_tgid));
        (*context).tid = read::<TYPED, u32>(task, offset!(task_pid));
        (*context).parent_tgid = read::<TYPED, u32>(parent, offset!(task_tgid));
        (*context).uid = read::<TYPED, u32>(cred, offset!(cred_uid));
        (*context).euid = read::<TYPED, u32>(cred, offset!(cred_euid));
        (*context).gid = read::<TYPED, u32>(cred, offset!(cred_gid));
        (*context).loginuid = read_optional::<TYPED>(task, offset!(task_loginuid));
        (*context).session_id = read_optional::<TYPED>(task, offset!(task_sessionid));
        (*context).mnt_ns = mnt_ns;
        (*context).pid_ns = pid_ns;
        (*context).net_ns = net_ns;
        (*context).user_ns = namespace::<TYPED>(cred, offset!(cred_user_ns), offset!(user_ns_inum));
        (*context).task_flags = read::<TYPED, u32>(task, offset!(task_flags));
        bpf_get_current_comm((&raw mut (*context).comm).cast(), 16);
        (*context).reserved = 0;
    }
}
