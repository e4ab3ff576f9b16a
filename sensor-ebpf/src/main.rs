//! The smallest set of programs that proves the build: a ring buffer, a program of each attachment kind, a global
//! that the loader sets, and a counter in `.bss`.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

use core::arch::asm;
use core::cell::UnsafeCell;
use core::panic::PanicInfo;

use aya_ebpf::Global;
use aya_ebpf::macros::{btf_tracepoint, lsm, map};
use aya_ebpf::maps::RingBuf;
use aya_ebpf::programs::{BtfTracePointContext, LsmContext};

#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(64 * 1024, 0);

/// Whether the programs write records; the loader sets it.
#[unsafe(no_mangle)]
static ENABLED: Global<u8> = Global::new(0);

/// Counts by kind: every CPU adds to them.
#[repr(transparent)]
struct Counters([UnsafeCell<u64>; 2]);

// SAFETY: `Counters::add` is the one access, and it is atomic.
unsafe impl Sync for Counters {}

#[unsafe(no_mangle)]
static COUNTS: Counters = Counters([const { UnsafeCell::new(0) }; 2]);

impl Counters {
    /// Adds 1, as the one atomic operation that Linux 5.10 has.
    #[inline(always)]
    fn add(&self, kind: usize) {
        let Some(counter) = self.0.get(kind) else { return };
        // SAFETY: the pointer is to a live, aligned u64, and the instruction touches nothing else. `core` has no
        // `fetch_add` for this target, which it takes to be without compare-and-swap.
        unsafe {
            asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) counter.get(), one = in(reg) 1u64);
        }
    }
}

#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(_ctx: BtfTracePointContext) -> i32 {
    record(0);
    0
}

#[lsm(hook = "file_open")]
pub fn file_open(_ctx: LsmContext) -> i32 {
    record(1);
    0
}

#[inline(always)]
fn record(kind: usize) {
    if ENABLED.load() == 0 {
        return;
    }
    match EVENTS.reserve::<u64>(0) {
        Some(mut entry) => {
            entry.write(kind as u64);
            entry.submit(0);
        }
        None => COUNTS.add(kind),
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";
