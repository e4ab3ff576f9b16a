//! What the programs say of themselves, through aya-log. Off unless userspace sets a level before loading: the verifier
//! then removes the calls' bodies.
//!
//! Functions of their own, so that the formatting is in the object once.

use aya_log_ebpf::{debug, warn};

/// The identity of an inode was learned.
#[inline(never)]
pub fn learned(inode: u64, device: u32) {
    debug!((), target: "svcsensor::kernel", "learned inode {} of device {:x}", inode, device);
}

/// A walk was cut short.
#[inline(never)]
pub fn walk_cut() {
    warn!((), target: "svcsensor::kernel", "an object lies deeper than a walk goes; whether it is watched is not known");
}
