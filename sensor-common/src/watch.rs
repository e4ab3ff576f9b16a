//! The watch map: which objects the kernel programs report, by identity.
//!
//! A watched directory is the (device, inode, generation) that the hooks themselves see, never a path. Userspace
//! resolves each configured path component by component and enters:
//! - the directory itself as [`SUBTREE`]: everything below it is reported;
//! - each directory on the way as [`ANCHOR`], and beside it one entry per expected child name ([`ENTRY`]), so that
//!   the creation, renaming, removal or mounting-over of the next component is reported;
//! - where the next component does not exist yet, that child entry as [`PENDING`]: everything below a child of this
//!   name is reported from the moment it appears, before userspace has learned its inode.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Everything below this directory is reported.
pub const SUBTREE: u32 = 1;
/// This single file is reported, under whatever name it is reached (hard links, descriptors opened earlier).
pub const FILE: u32 = 2;
/// This directory has named children in the map (`name_hash` != 0).
pub const ANCHOR: u32 = 4;
/// A named child: operations on this very entry are reported.
pub const ENTRY: u32 = 8;
/// A named child that does not exist yet: operations on it and on everything below it are reported.
pub const PENDING: u32 = 16;
/// On an anchor: operations on every direct child are reported, whatever its name.
pub const ANY_CHILD: u32 = 32;

/// [`WatchValue::generation`] that matches every generation.
pub const ANY_GENERATION: u32 = u32::MAX;
/// The id of no watch.
pub const NONE: u32 = u32::MAX;

/// Key of the watch map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct WatchKey {
    /// Inode number (`inode.i_ino`).
    pub inode: u64,
    /// The superblock's device (`super_block.s_dev`, the kernel's encoding: major << 20 | minor).
    pub device: u32,
    /// 0 for the object itself; else [`name_hash`] of the child that is meant.
    pub name_hash: u32,
}

/// Value of the watch map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct WatchValue {
    /// The watch's number, chosen by userspace; returned in records.
    pub watch: u32,
    /// [`SUBTREE`], [`FILE`], [`ANCHOR`], [`ENTRY`], [`PENDING`], [`ANY_CHILD`].
    pub flags: u32,
    /// `inode.i_generation` at the time it was learned, or [`ANY_GENERATION`]: a reused inode number does not match.
    pub generation: u32,
    /// Zero.
    pub reserved: u32,
}

/// What a hook saw when the sensor opened a file to learn its identity. On overlayfs one open passes the hook
/// twice: for the overlay's inode and for the one below it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Learned {
    /// How many of `identities` are set; more than 2 where further ones found no room.
    pub count: u32,
    /// Zero.
    pub reserved: u32,
    /// In the order in which the hook ran.
    pub identities: [LearnedIdentity; 2],
}

/// One identity of [`Learned`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct LearnedIdentity {
    /// `inode.i_ino`.
    pub inode: u64,
    /// `super_block.s_dev`.
    pub device: u32,
    /// `inode.i_generation`.
    pub generation: u32,
}

/// The hash of a directory entry's name: 32-bit FNV-1a over at most [`crate::limits::NAME_MAX`] bytes, never 0
/// (<http://www.isthe.com/chongo/tech/comp/fnv/>). The kernel's own `d_name.hash` is salted by the parent's
/// address, so it cannot be matched.
#[must_use]
#[inline]
pub fn name_hash(name: &[u8]) -> u32 {
    let mut hash = FNV_OFFSET;
    for byte in name {
        hash = name_hash_step(hash, *byte);
    }
    name_hash_end(hash)
}

/// FNV-1a's offset basis: the hash of no bytes.
pub const FNV_OFFSET: u32 = 0x811c_9dc5;

/// One step of [`name_hash`].
#[must_use]
#[inline(always)]
pub fn name_hash_step(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

/// The last step of [`name_hash`]: 0 is kept for "the object itself".
#[must_use]
#[inline(always)]
pub fn name_hash_end(hash: u32) -> u32 {
    if hash == 0 { 1 } else { hash }
}

/// Word and bit of the Bloom filter for an inode number. A bit that is not set proves that no watched object has
/// this number.
#[must_use]
#[inline(always)]
pub fn bloom_position(inode: u64) -> (u32, u64) {
    // Fibonacci hashing: consecutive inode numbers land in different words.
    let mixed = inode.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    ((mixed >> 6) as u32 & (crate::limits::BLOOM_WORDS as u32 - 1), 1 << (mixed & 63))
}

const _: () = assert!(size_of::<WatchKey>() == 16);
const _: () = assert!(size_of::<WatchValue>() == 16);
const _: () = assert!(size_of::<Learned>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_hash_is_fnv1a() {
        // Test vectors of the FNV reference (isthe.com, test_fnv.c).
        assert_eq!(name_hash(b""), 0x811c_9dc5);
        assert_eq!(name_hash(b"a"), 0xe40c_292c);
        assert_eq!(name_hash(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn bloom_positions_stay_in_the_filter() {
        for inode in (0..100_000).chain([u64::MAX, u64::MAX - 1]) {
            let (word, bit) = bloom_position(inode);
            assert!((word as usize) < crate::limits::BLOOM_WORDS);
            assert_eq!(bit.count_ones(), 1);
        }
    }
}
