//! Control groups and namespaces: what containers are made of.

use sensor_common::limits::EXTRA_MAX;
use sensor_common::record::{ContainerRecord, flags, kind};

use crate::emit;
use crate::kernel::{Address, load, offset};
use crate::path::{Cursor, append_string};
use crate::task;

/// All `CLONE_NEW*` flags but `CLONE_NEWTIME`, which shares its bit with a signal number (include/uapi/linux/sched.h).
const CLONE_NEW: u64 = 0x7e02_0000;

/// A control group is created; `path` is a kernel string.
#[inline(always)]
pub fn cgroup_mkdir(cgroup: Address, path: Address) {
    const AT: usize = size_of::<ContainerRecord>();
    const SIZE: u64 = (AT + EXTRA_MAX) as u64;
    let base = emit::reserve_process::<SIZE>(kind::CGROUP_CREATE);
    if base.is_null() {
        return;
    }
    let mut cursor = Cursor { base, offset: AT, truncated: false };
    append_string::<AT>(&mut cursor, path, EXTRA_MAX as u32);
    let cut = cursor.offset - AT >= EXTRA_MAX;
    let node: Address = load(cgroup, offset!(cgroup_kn));
    let record = base.cast::<ContainerRecord>();
    // SAFETY: `record` is the start of a reservation that is longer; the verifier checks each store.
    unsafe {
        let cut = if cut { flags::PATH_TRUNCATED } else { 0 };
        emit::header(&raw mut (*record).header, kind::CGROUP_CREATE, cut, cursor.offset);
        task::fill_current(&raw mut (*record).task);
        (*record).value = load(node, offset!(kernfs_node_id));
        (*record).path.offset = AT as u16;
        (*record).path.length = (cursor.offset - AT) as u16;
        (*record).reserved = 0;
    }
    emit::submit_process::<SIZE>(base);
}

/// Namespaces are made by clone or unshare with these flags, or, without any, entered by setns (kernel/nsproxy.c,
/// `prepare_nsset`).
#[inline(always)]
pub fn new_namespaces(clone_flags: u64) {
    const SIZE: u64 = size_of::<ContainerRecord>() as u64;
    let base = emit::reserve_process::<SIZE>(kind::NAMESPACE);
    if base.is_null() {
        return;
    }
    let record = base.cast::<ContainerRecord>();
    // SAFETY: `record` is the start of a reservation of its size; the verifier checks each store.
    unsafe {
        emit::header(&raw mut (*record).header, kind::NAMESPACE, 0, SIZE as usize);
        task::fill_current(&raw mut (*record).task);
        (*record).value = clone_flags & CLONE_NEW;
        (*record).path.offset = 0;
        (*record).path.length = 0;
        (*record).reserved = 0;
    }
    emit::submit_process::<SIZE>(base);
}
