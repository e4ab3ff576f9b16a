//! The watch map: which objects the kernel programs report, by identity.
//!
//! A watched directory is the (device, inode, generation) that the hooks themselves see, never a path. Userspace
//! resolves each configured path component by component and enters:
//! - the directory itself as [`SUBTREE`]: everything below it is reported;
//! - each directory on the way as [`ANCHOR`], and in the map of children one [`ENTRY`] per expected name, so that the
//!   creation, renaming, removal or mounting-over of the next component is reported;
//! - where the next component does not exist yet, that child as [`PENDING`]: everything below a child of this name is
//!   reported from the moment it appears, before userspace has learned its inode.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Everything below this directory is reported.
pub const SUBTREE: u32 = 1;
/// This single file is reported, under whatever name it is reached (hard links, descriptors opened earlier).
pub const FILE: u32 = 2;
/// This directory has entries in the map of children.
pub const ANCHOR: u32 = 4;
/// A named child: operations on this very entry are reported.
pub const ENTRY: u32 = 8;
/// A named child that does not exist yet: operations on it and on everything below it are reported.
pub const PENDING: u32 = 16;
/// On an anchor: operations on every direct child are reported, whatever its name.
pub const ANY_CHILD: u32 = 32;
/// In the map of files: a watched listener's file that was given another name. What clients send there is reported.
pub const SOCKET: u32 = 64;

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
    /// Zero.
    pub reserved: u32,
}

/// Key of the map of named children: an anchor and the name of one of its entries.
///
/// The kernel's own `d_name.hash` is salted by the parent's address, so the name itself is compared.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ChildKey {
    /// The anchor.
    pub parent: WatchKey,
    /// The name, NUL-padded, its last byte always NUL: of a longer name the first 31 bytes. So a longer name can
    /// match too much, never too little.
    pub name: [u8; CHILD_NAME],
}

/// Bytes of [`ChildKey::name`].
pub const CHILD_NAME: usize = 32;

impl ChildKey {
    /// The key of `name` below `parent`.
    #[must_use]
    pub fn new(parent: WatchKey, name: &[u8]) -> Self {
        let mut key = Self { parent, name: [0; CHILD_NAME] };
        let length = name.len().min(CHILD_NAME - 1);
        key.name[..length].copy_from_slice(&name[..length]);
        key
    }
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct LearnedIdentity {
    /// `inode.i_ino`.
    pub inode: u64,
    /// `super_block.s_dev`.
    pub device: u32,
    /// `inode.i_generation`.
    pub generation: u32,
}

/// [`Learned::count`] as userspace sets it to have the first identity, which it learned earlier, entered into the far
/// filter instead of learning: with [`SUBTREE`], or before a named child becomes [`PENDING`]. The program sets it to 0.
pub const ADMIT: u32 = u32::MAX;

/// Index into a Bloom filter, a byte per position, for the lower half of an inode number and what [`bloom_seed`] makes
/// of its device. Where the byte is 0, no watched object is this one.
///
/// There are two filters. The near one has every watched object, and is asked about an object and its parent. The far
/// one, asked from there on up, has those through which anything at any depth can be watched: [`SUBTREE`], and anchors
/// with a [`PENDING`] child. So a walk passes other anchors, such as the root directory, at the price of any directory.
/// An object is in its filter before an entry of a map makes it watched, and stays in it for good.
///
/// Bytes, because a byte is set by a plain store: 5.10 has no atomic OR for BPF programs (added in 5.12), and a lost
/// bit would be a lost watch. Only kernel programs write them.
#[must_use]
#[expect(
    clippy::inline_always,
    reason = "a call would cost more than the three instructions, on the hottest path"
)]
#[inline(always)]
pub fn bloom_position(inode: u32, seed: u32) -> usize {
    // Fibonacci hashing: consecutive inode numbers land far apart. In 32 bits, since that is the longest factor that a
    // BPF instruction has room for: with 64, each level of a walk takes an instruction more.
    ((inode ^ seed).wrapping_mul(0x9e37_79b1) >> 16) as usize & (crate::limits::BLOOM_BYTES - 1)
}

/// What tells filesystems apart in [`bloom_position`], from a [`WatchKey::device`]. Every tmpfs counts its inodes from 1:
/// without it, /tmp would pay for what is watched in /run.
#[must_use]
pub const fn bloom_seed(device: u32) -> u32 {
    // Without a factor the next filesystem's seed would only swap neighbours.
    device.wrapping_mul(0x85eb_ca6b)
}

const _: () = assert!(size_of::<WatchKey>() == 16);
const _: () = assert!(size_of::<ChildKey>() == 48);
const _: () = assert!(size_of::<WatchValue>() == 16);
const _: () = assert!(size_of::<Learned>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: WatchKey = WatchKey { inode: 7, device: 8, reserved: 0 };

    #[test]
    fn child_names_are_padded_and_cut() {
        assert_eq!(&ChildKey::new(PARENT, b"system").name[..8], b"system\0\0");
        assert_eq!(ChildKey::new(PARENT, &[b'a'; 31]), ChildKey::new(PARENT, &[b'a'; 255]));
        assert_eq!(ChildKey::new(PARENT, &[b'a'; 255]).name[31], 0);
    }

    #[test]
    fn bloom_positions_stay_in_the_filter_and_spread() {
        let mut seen = [usize::MAX; 100];
        for (slot, inode) in seen.iter_mut().zip(1000..) {
            // The same numbers on two neighbouring filesystems.
            *slot = bloom_position(inode / 2, bloom_seed(22 + inode % 2));
        }
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "neighbours do not collide");
        assert!(bloom_position(u32::MAX, bloom_seed(u32::MAX)) < crate::limits::BLOOM_BYTES);
    }
}
