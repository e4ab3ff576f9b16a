//! The kernel's structures as these programs see them: fields at offsets that userspace read out of the running
//! kernel's BTF, and the maps.

use core::ffi::c_void;
use core::ptr::read_volatile;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, RingBuf};
use sensor_common::layout::{KernelFacts, KernelLayout};
use sensor_common::limits;
use sensor_common::mute::Mute;
use sensor_common::record::counter;
use sensor_common::watch::{ChildKey, Learned, WatchKey, WatchValue};

/// Overwritten before loading; the verifier then knows every offset as a constant.
#[unsafe(no_mangle)]
pub static LAYOUT: KernelLayout = KernelLayout::UNKNOWN;

/// Overwritten before loading.
#[unsafe(no_mangle)]
pub static FACTS: KernelFacts = KernelFacts {
    setattr_dentry: 0,
    current_task_btf: 0,
    process_ring_bytes: limits::RING_PROCESS_BYTES as u32,
    unix_sock_helper: 0,
    iter_iovec: 0,
    iter_ubuf: 0,
    layers_have_paths: 0,
    usual_layout: 0,
};

/// The thread whose opens are to be learned from; `u32::MAX` for none. Not 0, so that it lies in `.data` by itself:
/// userspace writes the section as a whole.
#[unsafe(no_mangle)]
pub static mut LEARNER: u32 = u32::MAX;

/// A Bloom filter; see [`sensor_common::watch::bloom_position`].
pub type Bloom = [u8; limits::BLOOM_BYTES];

/// The filter for an object and its parent, in `.bss`.
#[unsafe(no_mangle)]
pub static mut NEAR: Bloom = [0; limits::BLOOM_BYTES];

/// The filter for what lies above.
#[unsafe(no_mangle)]
pub static mut FAR: Bloom = [0; limits::BLOOM_BYTES];

/// The filter for the names of children of what lies above.
#[unsafe(no_mangle)]
pub static mut NAMES: Bloom = [0; limits::BLOOM_BYTES];

/// Where the bytes of a send lie.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    /// One of the forms in `hooks::ipc`.
    pub form: u64,
    /// The array of segments, or the buffer.
    pub at: u64,
    /// Segments in the array.
    pub segments: u64,
    /// Bytes of the first segment that are left out.
    pub skip: u64,
    /// Bytes to send.
    pub count: u64,
    /// The connection that they go to.
    pub connection: u64,
}

/// Where a connection's stream stands.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Counted {
    /// When the count began: its name.
    pub since: u64,
    /// Bytes taken since.
    pub at: u64,
    /// Where the row of chunks began that is followed.
    pub chain: u64,
    /// Where its next chunk begins, or `NOWHERE`.
    pub next: u64,
    /// The task whose send is under way; 0 for none.
    pub task: u64,
    /// What its record says.
    pub view: View,
    /// `next` when all of it is taken.
    pub after_next: u64,
    /// Of the first chunk that begins in it the place, or `NOWHERE`.
    pub first: u64,
    /// And that of the chunk behind it.
    pub second: u64,
}

/// What of a send is shown, and as standing where.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct View {
    /// [`Counted::since`], or 0.
    pub since: u64,
    /// Of its first shown byte.
    pub at: u64,
    /// The first chunk from there on, or `NOWHERE`.
    pub next: u64,
    /// Bytes that are not shown.
    pub skip: u64,
}

/// Always 0, which the verifier cannot know.
#[unsafe(no_mangle)]
pub static mut ZERO: u64 = 0;

/// Records on their way to userspace.
#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(limits::RING_BYTES as u32, 0);

/// `BPF_F_NO_PREALLOC` (include/uapi/linux/bpf.h): memory for what is in the map, not for what might be. Of maps that
/// userspace alone fills.
const GROWING: u32 = 1;

/// Watched objects.
#[map]
pub static WATCHES: HashMap<WatchKey, WatchValue> =
    HashMap::with_max_entries(limits::WATCH_ENTRIES as u32, GROWING);

/// Files that were opened for writing, renamed or linked in a watched place. The least recently used go when it is
/// full: a file whose last name a rename replaces is never taken out, since the LSM hook does not tell a replaced file
/// from one that an exchange keeps.
#[map]
pub static FILES: LruHashMap<WatchKey, WatchValue> =
    LruHashMap::with_max_entries(limits::FILE_ENTRIES as u32, 0);

/// Named children of anchors.
#[map]
pub static CHILDREN: HashMap<ChildKey, WatchValue> =
    HashMap::with_max_entries(limits::CHILD_ENTRIES as u32, GROWING);

/// Listeners that are watched, by the directory and name of their file; the watch's number.
#[map]
pub static SOCKETS: HashMap<ChildKey, u32> =
    HashMap::with_max_entries(limits::SOCKET_ENTRIES as u32, GROWING);

/// Sends whose bytes could not be read, by (tgid, thread id) as the helper gives them.
#[map]
pub static UNREAD: LruHashMap<u64, Bytes> = LruHashMap::with_max_entries(limits::UNREAD_ENTRIES as u32, 0);

/// How many of them there are, or a little more: one that makes room is not counted down.
#[unsafe(no_mangle)]
pub static mut UNREAD_COUNT: u64 = 0;

/// Connections to watched listeners, by the inode number of the client's socket.
#[map]
pub static COUNTED: LruHashMap<u64, Counted> =
    LruHashMap::with_max_entries(limits::COUNTED_ENTRIES as u32, 0);

/// What userspace agrees to do without, by the same.
#[map]
pub static MUTES: LruHashMap<u64, Mute> = LruHashMap::with_max_entries(limits::COUNTED_ENTRIES as u32, 0);

/// How many counted sends are under way, or a little more: where the end of one was not seen, it is not counted down.
#[unsafe(no_mangle)]
pub static mut UNDER_WAY: u64 = 0;

/// Processes whose end was told, by (start, tgid): two of their threads may both take themselves for the last.
#[map]
pub static EXITS: LruHashMap<[u64; 2], u8> = LruHashMap::with_max_entries(limits::EXIT_ENTRIES as u32, 0);

/// What the hook saw of the learner's open.
#[map]
pub static LEARNED: Array<Learned> = Array::with_max_entries(1, 0);

/// Drops and other losses, by [`counter`].
#[map]
pub static COUNTERS: Array<u64> = Array::with_max_entries(counter::LENGTH, 0);

/// The offset of a field of [`KernelLayout`].
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::layout(core::mem::offset_of!(sensor_common::layout::KernelLayout, $field))
    };
}
pub(crate) use offset;

/// A fact of [`KernelFacts`].
macro_rules! fact {
    ($field:ident) => {
        $crate::kernel::facts(core::mem::offset_of!(sensor_common::layout::KernelFacts, $field))
    };
}
pub(crate) use fact;

/// The number at byte `at` of [`LAYOUT`].
#[inline(always)]
pub fn layout(at: usize) -> usize {
    // SAFETY: `offset!` names a u32 of the structure; volatile, because its value is set after compilation.
    unsafe { read_volatile((&raw const LAYOUT).byte_add(at).cast::<u32>()) as usize }
}

/// The number at byte `at` of [`FACTS`].
#[inline(always)]
pub fn facts(at: usize) -> u32 {
    // SAFETY: as in `layout`.
    unsafe { read_volatile((&raw const FACTS).byte_add(at).cast::<u32>()) }
}

/// The address of a kernel structure.
pub type Address = *const c_void;

/// Reads a field through a pointer that the verifier knows by its BTF type: one instruction, checked at load time; a
/// bad address reads as 0.
#[inline(always)]
pub fn load<T: Copy>(base: Address, offset: usize) -> T {
    // SAFETY: the verifier admits the load only at a field of the type that `base` has, and the kernel's exception
    // table covers a stale pointer (kernel/bpf/verifier.c, `BPF_PROBE_MEM`).
    unsafe { read_volatile(base.byte_add(offset).cast::<T>()) }
}

/// Reads a field through any address, by helper; 0 where it cannot be read.
#[inline(always)]
pub fn probe<T: Copy>(base: Address, offset: usize) -> T {
    // SAFETY: every `T` used here is an integer, a raw pointer or an array of bytes, for which zeroes are a value.
    let mut value: T = unsafe { core::mem::zeroed() };
    // SAFETY: the destination is a local of the size given; the helper checks the source.
    unsafe {
        bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, base.wrapping_byte_add(offset));
    }
    value
}

/// Reads a field: directly where the pointer is typed, else by helper.
#[inline(always)]
pub fn read<const TYPED: bool, T: Copy>(base: Address, offset: usize) -> T {
    if TYPED { load(base, offset) } else { probe(base, offset) }
}

/// The value, about which the compiler knows nothing any more: a bound checked after this is checked in the register
/// that is used, where the verifier sees it.
#[inline(always)]
pub fn opaque(mut value: u64) -> u64 {
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) value, options(pure, nomem, preserves_flags)) };
    value
}

/// The value, about which the verifier knows nothing any more. A loop's exits then look alike to it, and what follows
/// is verified once instead of once for each exit.
#[inline(always)]
pub fn forgotten(value: u64) -> u64 {
    // SAFETY: a plain integer that nothing writes.
    value.wrapping_add(unsafe { read_volatile(&raw const ZERO) })
}

/// [`forgotten`] for 64 bits.
#[inline(always)]
pub fn forgotten_wide(value: u64) -> u64 {
    // SAFETY: as in `forgotten`.
    value.wrapping_add(unsafe { read_volatile(&raw const ZERO) } as u64)
}

/// Whether some send is still to be read.
#[inline(always)]
pub fn any_unread() -> bool {
    // SAFETY: a plain integer.
    unsafe { read_volatile(&raw const UNREAD_COUNT) != 0 }
}

/// One such send more (1) or fewer (-1).
#[inline(always)]
pub fn unread(change: i64) {
    let count = &raw mut UNREAD_COUNT;
    // SAFETY: an aligned u64; as in `count`.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) count, in(reg) change) }
}

/// Whether some counted send is under way.
#[inline(always)]
pub fn any_under_way() -> bool {
    // SAFETY: a plain integer.
    unsafe { read_volatile(&raw const UNDER_WAY) != 0 }
}

/// One such send more (1) or fewer (-1).
#[inline(always)]
pub fn under_way(change: i64) {
    let count = &raw mut UNDER_WAY;
    // SAFETY: an aligned u64; as in `count`.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) count, in(reg) change) }
}

/// Adds one to a counter.
#[inline(always)]
pub fn count(index: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the map's element is an aligned u64 that lives as long as the program. This is the one atomic that
        // 5.10 knows (BPF_XADD); the target has no `AtomicU64::fetch_add`.
        unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) 1_u64) }
    }
}
