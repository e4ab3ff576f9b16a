//! The ring buffer: reserving in constant sizes, admitting the important first, counting what finds no room.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{
    bpf_ktime_get_boot_ns, bpf_ringbuf_discard, bpf_ringbuf_query, bpf_ringbuf_reserve, bpf_ringbuf_submit,
};
use sensor_common::limits::RING_WAKEUP_BYTES;
use sensor_common::record::Header;

use crate::kernel::{RECORDS, count, fact};

/// Reserves `SIZE` bytes for a record of a watched object; null, and counted, where the ring is full.
///
/// The reservation is the only buffer: a scratch buffer per CPU would be overwritten by a program that preempts this
/// one.
#[inline(always)]
pub fn reserve<const SIZE: u64>(kind: u16) -> *mut u8 {
    // SAFETY: the map is a ring buffer; the size is a constant.
    let base = unsafe { bpf_ringbuf_reserve((&raw const RECORDS).cast_mut().cast(), SIZE, 0) };
    if base.is_null() {
        count(kind as u32);
    }
    base.cast()
}

/// Reserves `SIZE` bytes for a record of a process; refused, and counted, when the ring is so full that records of
/// watched objects might not find room.
#[inline(always)]
pub fn reserve_process<const SIZE: u64>(kind: u16) -> *mut u8 {
    if waiting() > fact!(process_ring_bytes) as u64 {
        count(kind as u32);
        return core::ptr::null_mut();
    }
    reserve::<SIZE>(kind)
}

/// Reserves `SIZE` bytes for what was sent to a watched socket; refused, and counted, when two thirds of the room of
/// process records are taken: anyone may send to a bus, and whoever floods it must not drive out other records.
#[inline(always)]
pub fn reserve_ipc<const SIZE: u64>(kind: u16) -> *mut u8 {
    let most = fact!(process_ring_bytes) as u64;
    if waiting() > most - most / 3 {
        count(kind as u32);
        return core::ptr::null_mut();
    }
    reserve::<SIZE>(kind)
}

/// Bytes in the ring that userspace has not taken yet.
#[inline(always)]
fn waiting() -> u64 {
    // SAFETY: the map is a ring buffer.
    unsafe { bpf_ringbuf_query((&raw const RECORDS).cast_mut().cast(), BPF_RB_AVAIL_DATA as u64) }
}

/// Writes a record's header.
#[inline(always)]
pub fn header(at: *mut Header, kind: u16, flags: u16, length: usize) {
    // SAFETY: `at` is the start of a reservation, which the verifier knows to be longer than a header.
    unsafe {
        (*at).kind = kind;
        (*at).flags = flags;
        (*at).length = length as u32;
        (*at).boottime_ns = bpf_ktime_get_boot_ns();
    }
}

/// Hands over a record of a watched object, and wakes the reader.
#[inline(always)]
pub fn submit(base: *mut u8) {
    // SAFETY: `base` is a live reservation, not used after this.
    unsafe { bpf_ringbuf_submit(base.cast(), BPF_RB_FORCE_WAKEUP as u64) }
}

/// Hands over a record of a process. The reader is woken once in [`RING_WAKEUP_BYTES`]; it looks by itself every
/// 100 ms, too.
#[inline(always)]
pub fn submit_process<const SIZE: u64>(base: *mut u8) {
    let waiting = waiting();
    let before = waiting.saturating_sub(SIZE);
    let crossed = waiting / RING_WAKEUP_BYTES as u64 != before / RING_WAKEUP_BYTES as u64;
    let flags = if crossed { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    // SAFETY: as in `submit`.
    unsafe { bpf_ringbuf_submit(base.cast(), flags as u64) }
}

/// Takes a reservation back.
#[inline(always)]
pub fn discard(base: *mut u8) {
    // SAFETY: as in `submit`.
    unsafe { bpf_ringbuf_discard(base.cast(), BPF_RB_NO_WAKEUP as u64) }
}
