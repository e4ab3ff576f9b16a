//! Files that overlayfs opens in its layers.
//!
//! Who writes to a merged tree has a file there; overlayfs opens another one in the layer, for which the hooks fire once
//! more. Since 6.7 that one has the layer's path. Before, it has the layer's inode and the merged tree's path (fs/open.c,
//! `open_with_fake_path`), so what lies above it in the layer is found through the names that the inode itself has.

use sensor_common::layout::ABSENT;

use crate::kernel::{Address, fact, load, offset, opaque, probe};

/// Names of one inode that are looked at; of a file with more of them, one that was not used may be told.
const NAMES: u32 = 8;

/// Where `file` bears the name `dentry` of another file: a name of its own. Null for all other files. The verifier does
/// not know it for a dentry, so all of it is to be read by helper.
#[inline(always)]
pub fn alias_of(file: Address, dentry: Address) -> Address {
    if fact!(layers_have_paths) == 0 {
        let inode: Address = load(file, offset!(file_inode));
        if inode != load(dentry, offset!(dentry_inode)) {
            return alias(inode, dentry);
        }
    }
    core::ptr::null()
}

/// A dentry of `inode`: of several the one that is called like `shown`, since layers keep names. Null where it has none.
///
/// The list is read without its lock: one who changes it at this moment can at worst have another name told.
#[inline(never)]
fn alias(inode: Address, shown: Address) -> Address {
    let (first_at, link_at) = (offset!(inode_aliases), offset!(dentry_alias));
    if first_at == ABSENT as usize || link_at == ABSENT as usize {
        return core::ptr::null();
    }
    let mut link: Address = probe(inode, first_at);
    if link.is_null() {
        return core::ptr::null();
    }
    let dentry_of = |link: Address| opaque(link as u64).wrapping_sub(link_at as u64) as Address;
    let first = dentry_of(link);
    let wanted = name(shown);
    for _ in 0..NAMES {
        let dentry = dentry_of(link);
        if name(dentry) == wanted {
            return dentry;
        }
        // `hlist_node.next`, its first member (include/linux/types.h).
        link = probe(link, 0);
        if link.is_null() {
            break;
        }
    }
    first
}

/// What tells names of one inode apart: the length and the first bytes.
#[inline(always)]
fn name(dentry: Address) -> (u32, u64) {
    let (length, bytes): (u32, Address) =
        (probe(dentry, offset!(dentry_name_len)), probe(dentry, offset!(dentry_name)));
    // The shortest name has eight bytes of room, but not all of them are its own.
    let first: u64 = probe(bytes, 0);
    (length, if length < 8 { first & ((1 << (8 * length as u64)) - 1) } else { first })
}
