//! Walking a chain of dentries: does it lie in a watched directory, and what are its names?

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use sensor_common::layout::{ABSENT, usual};
use sensor_common::limits::{COMPONENT_MAX, WALK_LEVELS};
use sensor_common::record::counter;
use sensor_common::watch::{
    self, CHILD_NAME, ChildKey, LearnedIdentity, WatchKey, WatchValue, bloom_position, bloom_seed, name_hash,
    name_position,
};

use crate::diagnostics;
use crate::kernel::{
    self, Address, Bloom, CHILDREN, FAR, FILES, NAMES, NEAR, WATCHES, fact, forgotten, load, offset, opaque,
    read,
};

/// How an object is watched.
#[derive(Clone, Copy)]
pub struct Found {
    /// The watch's number.
    pub watch: u32,
    /// The flag by which it matched; 0 for not at all.
    pub matched: u32,
    /// Names between the object and the watched directory, the object's own included.
    pub levels: u32,
}

impl Found {
    /// Not watched: its path is taken up to the filesystem's root.
    pub const NOTHING: Self = Self { watch: watch::NONE, matched: 0, levels: WALK_LEVELS as u32 };

    /// The three in one register, of which the verifier knows nothing: every way out of a walk looks alike to it. As a
    /// result in its caller's stack instead, a walk takes eight times the instructions to verify (7.3).
    #[inline(always)]
    fn packed(self) -> u64 {
        forgotten((self.watch as u64) << 32 | (self.matched as u64) << 16 | self.levels as u64)
    }

    /// The same, of which the verifier knows nothing.
    #[inline(always)]
    pub fn forgotten(self) -> Self {
        Self::unpacked(self.packed())
    }

    #[inline(always)]
    fn unpacked(packed: u64) -> Self {
        Self { watch: (packed >> 32) as u32, matched: packed as u32 >> 16, levels: packed as u32 & 0xffff }
    }
}

/// What a filter has at a position.
#[inline(always)]
fn at(filter: *const Bloom, position: usize) -> u8 {
    // SAFETY: a position is below the array's length; a racing store only ever sets bits.
    unsafe { core::ptr::read_volatile(filter.cast::<u8>().add(position)) }
}

/// Sets bits at a position of a filter. Of a filter that several threads write, always the same ones.
#[inline(always)]
fn set(filter: *mut Bloom, position: usize, bits: u8) {
    let bits = bits | at(filter, position);
    // SAFETY: as in `at`.
    unsafe { core::ptr::write_volatile(filter.cast::<u8>().add(position), bits) }
}

/// Whether an object may be watched.
#[inline(always)]
pub fn is_near(key: &WatchKey) -> bool {
    at(&raw const NEAR, bloom_position(key.inode as u32, bloom_seed(key.device))) != 0
}

/// Lets an object pass as watched from now on.
#[inline(always)]
pub fn admit_near(key: &WatchKey) {
    set(&raw mut NEAR, bloom_position(key.inode as u32, bloom_seed(key.device)), 1);
}

/// Lets an object, which passes as watched, pass as one through which what lies deep below it is watched: as
/// [`watch::ADMIT`] says. Only the thread that learns does.
#[inline(always)]
pub fn admit_far(object: &LearnedIdentity, how: &LearnedIdentity) {
    let position = bloom_position(object.inode as u32, bloom_seed(object.device));
    if how.device == watch::BY_NAME as u32 {
        set(&raw mut NAMES, name_position(how.inode as u32, position), 1);
    }
    set(&raw mut FAR, position, how.device as u8);
}

/// The identity of an inode.
#[inline(always)]
pub fn key_of<const TYPED: bool>(inode: Address, number: u64) -> WatchKey {
    let superblock: Address = read::<TYPED, _>(inode, offset!(inode_sb));
    WatchKey { inode: number, device: read::<TYPED, _>(superblock, offset!(sb_dev)), reserved: 0 }
}

/// [`key_of`] for every file that is closed: where the layout is the usual one, in fewer instructions.
#[inline(always)]
pub fn key_of_closed(inode: Address) -> WatchKey {
    if fact!(usual_layout) == 0 {
        return key_of::<true>(inode, load(inode, offset!(inode_ino)));
    }
    let superblock: Address = load(inode, usual::INODE_SB);
    WatchKey { inode: load(inode, usual::INODE_INO), device: load(superblock, usual::SB_DEV), reserved: 0 }
}

/// The watch map's entry for this very inode: number, device and generation agree.
#[inline(always)]
pub fn watched<const TYPED: bool>(key: &WatchKey, inode: Address) -> Option<WatchValue> {
    // SAFETY: an element that is replaced meanwhile shows an old or a new value of plain integers.
    let value = unsafe { *WATCHES.get(key)? };
    let same = value.generation == watch::ANY_GENERATION
        || value.generation == read::<TYPED, u32>(inode, offset!(inode_generation));
    same.then_some(value)
}

/// What the map of files says of this very inode.
#[inline(always)]
pub fn remembered<const TYPED: bool>(key: &WatchKey, inode: Address) -> Option<WatchValue> {
    // SAFETY: as in `watched`.
    let value = unsafe { *FILES.get(key)? };
    (value.generation == read::<TYPED, u32>(inode, offset!(inode_generation))).then_some(value)
}

/// The watch of which `dentry` itself is an anchor, in the form of a match by [`watch::ANCHOR`].
#[inline(always)]
pub fn anchor(dentry: Address) -> Found {
    let inode: Address = load(dentry, offset!(dentry_inode));
    if !inode.is_null() {
        let key = key_of::<true>(inode, load(inode, offset!(inode_ino)));
        if is_near(&key) {
            if let Some(value) = watched::<true>(&key, inode) {
                return Found { watch: value.watch, matched: value.flags & watch::ANCHOR, levels: 0 };
            }
        }
    }
    Found::NOTHING
}

/// Finds the watch that `dentry` lies in; [`Found::matched`] is 0 where there is none.
///
/// The walk goes up to the root of the filesystem and never crosses a mount, so it makes no difference through which
/// bind mount, chroot or namespace the object was reached.
#[inline(always)]
pub fn find(dentry: Address) -> Found {
    let may_be_watched = if fact!(usual_layout) == 0 {
        may_be_watched_unusually(dentry)
    } else {
        may_be_watched::<true>(dentry)
    };
    if may_be_watched { walk::<true>(dentry) } else { Found::NOTHING }
}

/// The offset of a field on the hottest path: where the layout is the usual one, known when this is compiled.
macro_rules! offset_here {
    ($usual:ident, $constant:ident, $field:ident) => {
        if $usual { usual::$constant } else { offset!($field) }
    };
}

/// Whether a walk can find anything: it asks the filters alone.
///
/// Nearly every write is to nothing watched, so this loop is the sensor's price. It calls nothing, so that all it needs
/// stays in registers; of what it finds it keeps nothing, since [`walk`] begins anew.
#[inline(always)]
fn may_be_watched<const USUAL: bool>(dentry: Address) -> bool {
    let parent_at = offset_here!(USUAL, DENTRY_PARENT, dentry_parent);
    let inode_at = offset_here!(USUAL, DENTRY_INODE, dentry_inode);
    let number_at = offset_here!(USUAL, INODE_INO, inode_ino);
    let superblock: Address = load(dentry, offset_here!(USUAL, DENTRY_SB, dentry_sb));
    let seed = bloom_seed(load(superblock, offset_here!(USUAL, SB_DEV, sb_dev)));
    // An object that is being created has no inode. The lower half of a number comes first (the target is bpfel).
    let number = |dentry: Address| -> Option<u32> {
        let inode: Address = load(dentry, inode_at);
        if inode.is_null() { None } else { Some(load(inode, number_at)) }
    };
    let is_near = |dentry: Address| {
        number(dentry).is_some_and(|number| at(&raw const NEAR, bloom_position(number, seed)) != 0)
    };

    if is_near(dentry) {
        return true;
    }
    let mut here: Address = load(dentry, parent_at);
    if here == dentry {
        return false;
    }
    if is_near(here) {
        return true;
    }
    for _ in 0..(WALK_LEVELS - 2) / UNROLLED {
        for _ in [(); UNROLLED] {
            let parent: Address = load(here, parent_at);
            if parent == here {
                return false;
            }
            if let Some(number) = number(parent) {
                let position = bloom_position(number, seed);
                let far = at(&raw const FAR, position);
                // Opaque, or it becomes two comparisons for each level, of which nearly always the first would do.
                if far != 0
                    && (opaque(far as u64) >= watch::ALL_BELOW as u64 || is_awaited::<USUAL>(here, position))
                {
                    return true;
                }
            }
            here = parent;
        }
    }
    if load::<Address>(here, parent_at) != here {
        cut();
    }
    false
}

/// [`may_be_watched`] where the layout is not the usual one. A function of its own, which then costs a call: inlined into
/// every program it would be a third of the object.
#[inline(never)]
fn may_be_watched_unusually(dentry: Address) -> bool {
    may_be_watched::<false>(dentry)
}

/// Whether a child may be one that is awaited by its name; `anchor` is its parent's position in the filters.
#[inline(always)]
fn is_awaited<const USUAL: bool>(child: Address, anchor: usize) -> bool {
    let name_at = if USUAL {
        usual::DENTRY_INLINE_NAME
    } else {
        let old = offset!(dentry_inline_name);
        if old == ABSENT as usize { offset!(dentry_short_name) } else { old }
    };
    if name_at == ABSENT as usize {
        return true;
    }
    let length: u32 = load(child, offset_here!(USUAL, DENTRY_NAME_LEN, dentry_name_len));
    let hash = name_hash(length, load(child, name_at), || load(child, name_at + 8));
    at(&raw const NAMES, name_position(hash, anchor)) != 0
}

/// Levels in one round of the loop in [`may_be_watched`]: a sixth is saved, of the counter and of moves between registers.
const UNROLLED: usize = 3;
const _: () = assert!((WALK_LEVELS - 2) % UNROLLED == 0);

/// Counts an object of which it is not known whether it is watched.
#[inline(never)]
fn cut() {
    kernel::count(counter::WALK_CUT);
    diagnostics::walk_cut();
}

/// [`find`] without asking the filters first.
#[inline(always)]
pub fn walk<const TYPED: bool>(dentry: Address) -> Found {
    Found::unpacked(walked::<TYPED>(dentry))
}

/// [`Found::packed`] of what a walk finds. A function of its own, since it is rarely called.
#[inline(never)]
fn walked<const TYPED: bool>(dentry: Address) -> u64 {
    let (inode_at, number_at, parent_at) =
        (offset!(dentry_inode), offset!(inode_ino), offset!(dentry_parent));
    let mut here = dentry;
    let mut child = dentry;
    let mut single = Found::NOTHING.packed();
    for level in 0..WALK_LEVELS as u32 {
        let inode: Address = read::<TYPED, _>(here, inode_at);
        if !inode.is_null() {
            let key = key_of::<TYPED>(inode, read::<TYPED, _>(inode, number_at));
            if is_near(&key) {
                let found = examine::<TYPED>(inode, &key, child, level);
                if found.matched == watch::FILE {
                    single = found.packed();
                } else if found.matched != 0 {
                    return found.packed();
                }
            }
        }
        let parent: Address = read::<TYPED, _>(here, parent_at);
        if parent == here {
            return single;
        }
        child = here;
        here = parent;
    }
    cut();
    single
}

/// What the maps say of the inode at one level of a walk, `child` being the dentry one level below.
#[inline(always)]
fn examine<const TYPED: bool>(inode: Address, key: &WatchKey, child: Address, level: u32) -> Found {
    let Some(value) = watched::<TYPED>(key, inode) else {
        if level == 0 {
            if let Some(file) = remembered::<TYPED>(key, inode) {
                return Found { watch: file.watch, matched: watch::FILE, levels: WALK_LEVELS as u32 };
            }
        }
        return Found::NOTHING;
    };
    if value.flags & watch::SUBTREE != 0 {
        return Found { watch: value.watch, matched: watch::SUBTREE, levels: level };
    }
    if level == 0 {
        let matched = value.flags & watch::FILE;
        return Found { watch: value.watch, matched, levels: WALK_LEVELS as u32 };
    }
    if value.flags & watch::ANCHOR != 0 {
        let mut named = ChildKey { parent: *key, name: zeroes() };
        let name: Address = read::<TYPED, _>(child, offset!(dentry_name));
        // SAFETY: the destination is a local of the size given; the helper checks the source.
        unsafe { bpf_probe_read_kernel_str(named.name.as_mut_ptr().cast(), CHILD_NAME as u32, name) };
        // SAFETY: as in `watched`.
        if let Some(entry) = unsafe { CHILDREN.get(&named) } {
            let matched = entry.flags & (watch::PENDING | if level == 1 { watch::ENTRY } else { 0 });
            if matched != 0 {
                return Found { watch: entry.watch, matched, levels: level };
            }
        }
    }
    if level == 1 && value.flags & watch::ANY_CHILD != 0 {
        return Found { watch: value.watch, matched: watch::ANY_CHILD, levels: level };
    }
    Found::NOTHING
}

/// Zeroes, stored word by word: written as a constant they become a call of `memset`, a loop over bytes that costs
/// the verifier more than all the rest.
#[inline(always)]
pub fn zeroes() -> [u8; CHILD_NAME] {
    let mut words = core::mem::MaybeUninit::<[u64; CHILD_NAME / 8]>::uninit();
    let first = words.as_mut_ptr().cast::<u64>();
    for index in 0..CHILD_NAME / 8 {
        // SAFETY: inside the array; volatile, so that the stores stay what they are.
        unsafe { core::ptr::write_volatile(first.add(index), 0) };
    }
    // SAFETY: every word was stored, and an array of words has the bytes of one of bytes.
    unsafe { words.as_ptr().cast::<[u8; CHILD_NAME]>().read() }
}

/// Where the next bytes of a record's data go.
pub struct Cursor {
    /// The record.
    pub base: *mut u8,
    /// From the record's start.
    pub offset: usize,
    /// Something did not fit.
    pub truncated: bool,
}

/// Copies `levels` names from `dentry` upward, each with its NUL. `LIMIT` is the greatest offset at which one more
/// name still fits.
#[inline(always)]
pub fn copy_path<const TYPED: bool, const LIMIT: usize>(cursor: &mut Cursor, dentry: Address, levels: u32) {
    let (parent_at, name_at) = (offset!(dentry_parent), offset!(dentry_name));
    let mut here = dentry;
    for level in 0..WALK_LEVELS as u32 {
        if level >= levels {
            return;
        }
        let parent: Address = read::<TYPED, _>(here, parent_at);
        if parent == here {
            return;
        }
        let name: Address = read::<TYPED, _>(here, name_at);
        if !append_name::<LIMIT>(cursor, name) {
            return;
        }
        here = parent;
    }
    // Of WALK_LEVELS wanted names all were copied: more may lie above, unless a match said how many there are.
    cursor.truncated |= levels >= WALK_LEVELS as u32;
}

/// Copies one NUL-terminated name of at most [`COMPONENT_MAX`] bytes; false where it did not fit.
#[inline(always)]
pub fn append_name<const LIMIT: usize>(cursor: &mut Cursor, name: Address) -> bool {
    append_string::<LIMIT>(cursor, name, COMPONENT_MAX as u32)
}

/// Copies a NUL-terminated kernel string of at most `room` bytes, a constant; false where it did not fit.
#[inline(always)]
pub fn append_string<const LIMIT: usize>(cursor: &mut Cursor, string: Address, room: u32) -> bool {
    let offset = opaque(cursor.offset as u64) as usize;
    if offset > LIMIT {
        cursor.truncated = true;
        return false;
    }
    // SAFETY: `offset <= LIMIT`, and LIMIT leaves `room` bytes in the reservation; the helper checks the source.
    let copied = unsafe { bpf_probe_read_kernel_str(cursor.base.add(offset).cast(), room, string) };
    if copied <= 0 {
        cursor.truncated = true;
        return false;
    }
    cursor.offset = offset + (copied as usize & 0xfff);
    true
}
