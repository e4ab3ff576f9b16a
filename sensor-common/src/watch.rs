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
/// filter instead of learning; the program sets it to 0. The second identity says as what: its `device` is [`ALL_BELOW`],
/// for a [`SUBTREE`], or [`BY_NAME`], before the child whose [`name_hash`] is its `inode` becomes [`PENDING`].
pub const ADMIT: u32 = u32::MAX;

/// In the far filter: what lies below at any depth may be watched, if one comes there through one of some children, of
/// whom the filter of names knows.
pub const BY_NAME: u8 = 1;
/// In the far filter: it may be, whichever way. Greater than [`BY_NAME`], so that one comparison tells.
pub const ALL_BELOW: u8 = 2;

/// Index into a Bloom filter, a byte per position, for the lower half of an inode number and what [`bloom_seed`] makes
/// of its device. Where the byte is 0, no watched object is this one.
///
/// There are three filters. The near one has every watched object, and is asked about an object and its parent. The far
/// one, asked from there on up, has those through which anything at any depth can be watched: [`SUBTREE`], and anchors
/// with a [`PENDING`] child. Of the latter the filter of names has each such child, at [`name_position`]: so only a path through a child of that very name is walked, and one through its
/// neighbours, of which the root directory and homes have many, passes at the price of a second look. An object is in its
/// filter before an entry of a map makes it watched, and stays in it for good.
///
/// Bytes, because a byte is set by a plain store: 5.10 has no atomic OR for BPF programs (added in 5.12), and a lost
/// bit would be a lost watch. Only kernel programs write them; the two bits of the far one, only in the one thread that
/// learns.
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

/// Index into the filter of names, for a name's [`name_hash`] and its anchor's [`bloom_position`].
#[must_use]
#[expect(clippy::inline_always, reason = "as for `bloom_position`")]
#[inline(always)]
pub fn name_position(hash: u32, anchor: usize) -> usize {
    bloom_position(hash, anchor as u32)
}

/// A name in as few instructions as tell `containers` from `containerd`: of its `length` bytes the first eight and the
/// second, as little-endian words. What follows a shorter name in them does not count. Names that find no room in a dentry
/// are all the same.
#[must_use]
#[expect(clippy::inline_always, reason = "as for `bloom_position`")]
#[inline(always)]
pub fn name_hash(length: u32, first: u64, second: impl FnOnce() -> u64) -> u32 {
    // Shifts what does not belong to the name out; eight bytes by nothing.
    let cut = |word: u64, bytes: u32| word.wrapping_shl(bytes.wrapping_mul(8).wrapping_neg());
    let word = if length <= 8 {
        cut(first, length)
    } else if length < 16 {
        first ^ cut(second(), length)
    } else if length < crate::limits::INLINE_NAME as u32 {
        first ^ second()
    } else {
        u64::MAX
    };
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// [`name_hash`] of a name in userspace.
#[must_use]
pub fn hash_of_name(name: &[u8]) -> u32 {
    let mut words = [0; 16];
    for (to, from) in words.iter_mut().zip(name) {
        *to = *from;
    }
    let words = u128::from_le_bytes(words);
    name_hash(name.len() as u32, words as u64, || (words >> 64) as u64)
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

    #[test]
    fn names_are_told_apart_by_sixteen_bytes_and_not_by_what_follows_them() {
        let garbage = u64::MAX;
        for name in ["a", "var", "boot", "systemd", ".config", "containe"] {
            let mut word = [0xaa; 8];
            word[..name.len()].copy_from_slice(name.as_bytes());
            let found = name_hash(name.len() as u32, u64::from_le_bytes(word), || garbage);
            assert_eq!(found, hash_of_name(name.as_bytes()), "{name}");
        }
        let second = u64::from_le_bytes(*b"rs\0garba");
        assert_eq!(name_hash(10, u64::from_le_bytes(*b"containe"), || second), hash_of_name(b"containers"));
        let names: [&[u8]; 10] = [
            b"a",
            b"aa",
            b"aaaaaaaa",
            b"aaaaaaaaa",
            b"containers",
            b"containerd",
            b"systemd",
            b"system",
            b"aaaaaaaaaaaaaaaa",
            b"aaaaaaaaaaaaaaab",
        ];
        for (index, one) in names.iter().enumerate() {
            for other in &names[..index] {
                assert_ne!(hash_of_name(one), hash_of_name(other), "{one:?} {other:?}");
            }
        }
        assert_eq!(hash_of_name(&[b'a'; 32]), hash_of_name(&[b'b'; 255]));
        assert_ne!(hash_of_name(&[b'a'; 31]), hash_of_name(&[b'a'; 32]));
    }
}
