//! Operations on files, directories and mounts.
//!
//! A write is reported at open and at close. The close is recognised by the file's own inode, which the open (or the
//! rename or link that brought it in) entered into the watch map: so it costs one test for every other file, and it
//! also sees descriptors that were opened before the sensor started and that userspace entered.

use sensor_common::limits::{COMPONENT_MAX, EXTRA_MAX};
use sensor_common::record::{FileIdentity, FileRecord, counter, flags, kind};
use sensor_common::watch::{self, Learned, LearnedIdentity, WatchValue};

use crate::diagnostics;
use crate::emit;
use crate::kernel::{self, Address, FILES, LEARNED, LEARNER, WATCHES, load, offset, read};
use crate::layers;
use crate::path::{
    self, Cursor, Found, admit_far, admit_near, is_near, key_of, key_of_closed, remembered, watched,
};
use crate::task;

/// `FMODE_WRITE` (include/linux/fs.h).
const FMODE_WRITE: u32 = 2;
/// `FMODE_CREATED` (include/linux/fs.h).
const FMODE_CREATED: u32 = 1 << 20;
/// `ATTR_MODE | ATTR_UID | ATTR_GID` (include/linux/fs.h).
const ATTR_OWNERSHIP: u32 = 1 | 2 | 4;
/// `ATTR_SIZE` (include/linux/fs.h).
const ATTR_SIZE: u32 = 8;
/// `PROT_WRITE` (include/uapi/asm-generic/mman-common.h).
const PROT_WRITE: u64 = 2;
/// Set in `MAP_SHARED` and `MAP_SHARED_VALIDATE`, clear in `MAP_PRIVATE` (include/uapi/linux/mman.h).
const MAP_SHARED: u64 = 1;
/// `VM_SHARED` (include/linux/mm.h).
const VM_SHARED: u64 = 8;
/// `RENAME_EXCHANGE` (include/uapi/linux/fs.h).
const RENAME_EXCHANGE: u64 = 2;
/// `S_IFMT` and `S_IFREG` (inode(7)).
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// Bytes of data in the two sizes of a file record: names of everyday length; and whatever the bounds allow.
const SMALL: usize = 512;
const LARGE: usize = 4352 + EXTRA_MAX;

/// What a record is to say.
struct Report {
    kind: u16,
    dentry: Address,
    found: Found,
    /// The dentry of the object that the record identifies.
    object: Address,
    /// The second name; null for none.
    other: Address,
    other_found: Found,
    argument: u64,
    /// A kernel string; null for none.
    extra: Address,
    /// Of [`flags`].
    flags: u16,
}

impl Report {
    #[inline(always)]
    fn of(kind: u16, dentry: Address, found: Found, argument: u64) -> Self {
        Self {
            kind,
            dentry,
            found,
            object: dentry,
            other: core::ptr::null(),
            other_found: Found::NOTHING,
            argument,
            extra: core::ptr::null(),
            flags: 0,
        }
    }

    /// Emits the record: in the small size, or, where something does not fit, in the large one. A function of its
    /// own: inlined into some thirty programs it would be nine tenths of the object.
    #[inline(never)]
    fn emit<const TYPED: bool>(&self) {
        const RECORD: usize = size_of::<FileRecord>();
        if !self.write::<TYPED, { (RECORD + SMALL) as u64 }, { RECORD + SMALL - COMPONENT_MAX }>(false) {
            self.write::<TYPED, { (RECORD + LARGE) as u64 }, { RECORD + LARGE - EXTRA_MAX }>(true);
        }
    }

    /// Writes the record into a reservation of `SIZE` bytes, in which a name may begin up to offset `LIMIT`. False
    /// where it is worth trying again in a larger one.
    #[inline(always)]
    fn write<const TYPED: bool, const SIZE: u64, const LIMIT: usize>(&self, last: bool) -> bool {
        let base = emit::reserve::<SIZE>(self.kind);
        if base.is_null() {
            return true;
        }
        let mut cursor = Cursor { base, offset: size_of::<FileRecord>(), truncated: false };
        let mut flags = self.flags;

        let extra_at = cursor.offset;
        if !self.extra.is_null() {
            let room = if last { EXTRA_MAX } else { COMPONENT_MAX } as u32;
            path::append_string::<LIMIT>(&mut cursor, self.extra, room);
            // A string that fills its room may have been longer.
            if cursor.truncated || cursor.offset - extra_at >= room as usize {
                cursor.truncated = false;
                if !last {
                    emit::discard(base);
                    return false;
                }
                flags |= flags::EXTRA_TRUNCATED;
            }
        }
        let path_at = cursor.offset;
        path::copy_path::<TYPED, LIMIT>(&mut cursor, self.dentry, self.found.levels);
        let other_at = cursor.offset;
        if !self.other.is_null() {
            path::copy_path::<TYPED, LIMIT>(&mut cursor, self.other, self.other_found.levels);
        }
        if cursor.truncated {
            if !last {
                emit::discard(base);
                return false;
            }
            flags |= flags::PATH_TRUNCATED;
        }

        let record = base.cast::<FileRecord>();
        // SAFETY: `record` is the start of a reservation that is longer than a FileRecord; the verifier checks each
        // store, and every field is stored.
        unsafe {
            emit::header(&raw mut (*record).header, self.kind, flags, cursor.offset);
            task::fill_current(&raw mut (*record).task);
            identify::<TYPED>(
                &raw mut (*record).object,
                read::<TYPED, _>(self.object, offset!(dentry_inode)),
            );
            (*record).watch = self.found.watch;
            (*record).matched = self.found.matched;
            (*record).other_watch = self.other_found.watch;
            (*record).other_matched = self.other_found.matched;
            (*record).argument = self.argument;
            (*record).path.offset = path_at as u16;
            (*record).path.length = (other_at - path_at) as u16;
            (*record).other.offset = other_at as u16;
            (*record).other.length = (cursor.offset - other_at) as u16;
            (*record).extra.offset = extra_at as u16;
            (*record).extra.length = (path_at - extra_at) as u16;
            (*record).reserved = 0;
        }
        emit::submit(base);
        true
    }
}

/// Writes the identity of `inode`, which may be null.
#[inline(always)]
pub fn identify<const TYPED: bool>(at: *mut FileIdentity, inode: Address) {
    let mut identity = FileIdentity::default();
    if !inode.is_null() {
        let superblock: Address = read::<TYPED, _>(inode, offset!(inode_sb));
        identity.inode = read::<TYPED, _>(inode, offset!(inode_ino));
        identity.size = read::<TYPED, _>(inode, offset!(inode_size));
        identity.device = read::<TYPED, _>(superblock, offset!(sb_dev));
        identity.generation = read::<TYPED, _>(inode, offset!(inode_generation));
        identity.mode = read::<TYPED, u16>(inode, offset!(inode_mode)) as u32;
        identity.nlink = read::<TYPED, _>(inode, offset!(inode_nlink));
        identity.uid = read::<TYPED, _>(inode, offset!(inode_uid));
        identity.gid = read::<TYPED, _>(inode, offset!(inode_gid));
    }
    // SAFETY: `at` lies in a reservation, aligned to 8.
    unsafe { at.write(identity) }
}

/// Enters a regular file into the map of files, so that it is recognised at close and under its other names.
#[inline(always)]
fn remember(inode: Address, found: &Found) {
    if inode.is_null() || load::<u16>(inode, offset!(inode_mode)) as u32 & S_IFMT != S_IFREG {
        return;
    }
    let key = key_of::<true>(inode, load(inode, offset!(inode_ino)));
    let generation: u32 = load(inode, offset!(inode_generation));
    let value = WatchValue { watch: found.watch, flags: watch::FILE, generation, reserved: 0 };
    admit_near(&key);
    if FILES.insert(key, value, 0).is_err() {
        kernel::count(counter::WATCH_FULL);
    }
}

/// Takes a file that loses its last name out of both maps.
#[inline(always)]
fn forget(inode: Address) {
    if inode.is_null() || load::<u32>(inode, offset!(inode_nlink)) > 1 {
        return;
    }
    let key = key_of::<true>(inode, load(inode, offset!(inode_ino)));
    if is_near(&key) {
        if let Some(value) = watched::<true>(&key, inode) {
            if value.flags == watch::FILE {
                let _absent_is_fine = WATCHES.remove(key);
            }
        }
        let _absent_is_fine = FILES.remove(key);
    }
}

/// A file is opened. Also how userspace learns a directory's identity as the hooks see it.
#[inline(always)]
pub fn open(file: Address) {
    let mode: u32 = load(file, offset!(file_mode));
    if mode & FMODE_WRITE == 0 {
        // SAFETY: a plain integer that userspace sets.
        if unsafe { core::ptr::read_volatile(&raw const LEARNER) } != u32::MAX {
            learn(load(file, offset!(file_inode)));
        }
        return;
    }
    let dentry: Address = load(file, offset!(file_dentry));
    let alias = layers::alias_of(file, dentry);
    if alias.is_null() {
        opened::<true>(file, dentry, path::find(dentry));
    } else {
        opened::<false>(file, alias, path::walk::<false>(alias));
    }
}

/// A file whose name is `dentry` is opened for writing.
#[inline(always)]
fn opened<const TYPED: bool>(file: Address, dentry: Address, found: Found) {
    if found.matched != 0 {
        // Read again, which costs less than to keep it for the many files that are not watched.
        let mode: u32 = load(file, offset!(file_mode));
        remember(load(file, offset!(file_inode)), &found);
        let opened_with: u32 = load(file, offset!(file_flags));
        let mut report = Report::of(kind::FILE_OPEN_WRITE, dentry, found, opened_with as u64);
        report.flags = if mode & FMODE_CREATED != 0 { flags::CREATED } else { 0 };
        report.emit::<TYPED>();
    }
}

/// If it is the learner that opens `inode`: notes its identity and lets it pass as watched; or does what userspace asks
/// for by [`watch::ADMIT`].
#[inline(always)]
fn learn(inode: Address) {
    // SAFETY: a plain integer that userspace sets.
    let learner = unsafe { core::ptr::read_volatile(&raw const LEARNER) };
    // SAFETY: a helper without arguments; its lower half is the thread id.
    if unsafe { aya_ebpf::helpers::generated::bpf_get_current_pid_tgid() } as u32 != learner
        || inode.is_null()
    {
        return;
    }
    let Some(learned) = LEARNED.get_ptr_mut(0) else { return };
    let learned: *mut Learned = learned;
    // SAFETY: the map's only element, written by the one thread that learns, and by the programs that it runs.
    let count = unsafe { (*learned).count };
    if count == watch::ADMIT {
        // SAFETY: as above.
        let [object, how] = unsafe { (*learned).identities };
        admit_far(&object, &how);
        // SAFETY: as above.
        unsafe { (*learned).count = 0 };
        return;
    }
    let key = key_of::<true>(inode, load(inode, offset!(inode_ino)));
    let generation = load(inode, offset!(inode_generation));
    admit_near(&key);
    diagnostics::learned(key.inode, key.device);
    // SAFETY: as above; the index is checked.
    unsafe {
        let identity = LearnedIdentity { inode: key.inode, device: key.device, generation };
        if count == 0 {
            (*learned).identities[0] = identity;
        } else if count == 1 {
            (*learned).identities[1] = identity;
        }
        (*learned).count = count + 1;
    }
}

/// The last reference to an open file is dropped.
#[inline(always)]
pub fn close(file: Address) {
    if load::<u32>(file, offset!(file_mode)) & FMODE_WRITE == 0 {
        return;
    }
    let inode: Address = load(file, offset!(file_inode));
    if inode.is_null() {
        return;
    }
    let key = key_of_closed(inode);
    if !is_near(&key) {
        return;
    }
    let by_user = watched::<true>(&key, inode).filter(|value| value.flags & watch::FILE != 0);
    let Some(value) = by_user.or_else(|| remembered::<true>(&key, inode)) else { return };
    let dentry: Address = load(file, offset!(file_dentry));
    let alias = layers::alias_of(file, dentry);
    if alias.is_null() {
        closed::<true>(file, dentry, &value);
    } else {
        closed::<false>(file, alias, &value);
    }
}

/// The last reference to a file, whose name is `dentry`, is dropped; `value` is what is known of it by its inode.
#[inline(always)]
fn closed<const TYPED: bool>(file: Address, dentry: Address, value: &WatchValue) {
    let mut found = path::walk::<TYPED>(dentry);
    if found.matched == 0 {
        found = Found { watch: value.watch, matched: watch::FILE, ..Found::NOTHING };
    }
    let opened_with: u32 = load(file, offset!(file_flags));
    Report::of(kind::FILE_CLOSE_WRITE, dentry, found, opened_with as u64).emit::<TYPED>();
}

/// An operation on one directory entry: create, mkdir, mknod, rmdir.
#[inline(always)]
pub fn entry(kind: u16, dentry: Address, argument: u64) {
    let found = path::find(dentry);
    if found.matched != 0 {
        Report::of(kind, dentry, found, argument).emit::<true>();
    }
}

/// A name is removed.
#[inline(always)]
pub fn unlink(dentry: Address) {
    entry(kind::FILE_UNLINK, dentry, 0);
    forget(load(dentry, offset!(dentry_inode)));
}

/// A symbolic link is made.
#[inline(always)]
pub fn symlink(dentry: Address, target: Address) {
    let found = path::find(dentry);
    if found.matched != 0 {
        let mut report = Report::of(kind::FILE_SYMLINK, dentry, found, 0);
        report.extra = target;
        report.emit::<true>();
    }
}

/// A hard link is made, or a file renamed: `new` is the name that comes, `old` the one that is or was.
#[inline(always)]
pub fn two_names(kind: u16, old: Address, new: Address) {
    // Else the verifier follows each way out of the first walk through the second, and four in an exchange.
    let found = path::find(new).forgotten();
    let other_found = path::find(old).forgotten();
    if found.matched | other_found.matched == 0 {
        return;
    }
    const INSIDE: u32 = watch::SUBTREE | watch::PENDING;
    let inode: Address = load(old, offset!(dentry_inode));
    if found.matched & INSIDE != 0 {
        remember(inode, &found);
    } else if kind == kind::FILE_LINK && other_found.matched & INSIDE != 0 {
        // The name inside stays, so what is written through the new one outside is of interest.
        remember(inode, &other_found);
    } else if kind == kind::FILE_RENAME && other_found.matched & watch::ENTRY != 0 {
        super::ipc::renamed(old, inode);
    }
    let mut report = Report::of(kind, new, found, 0);
    report.object = old;
    report.other = old;
    report.other_found = other_found;
    report.emit::<true>();
}

/// A file is renamed. Where the hook fires once for an exchange (`exchange_flags` says so), both directions are told,
/// as they are where it fires twice, in the same order.
#[inline(always)]
pub fn rename(old: Address, new: Address, exchange_flags: u64) {
    if exchange_flags & RENAME_EXCHANGE != 0 {
        two_names(kind::FILE_RENAME, new, old);
    }
    two_names(kind::FILE_RENAME, old, new);
}

/// Attributes are set.
#[inline(always)]
pub fn setattr(dentry: Address, attributes: Address) {
    let valid: u32 = load(attributes, offset!(iattr_valid));
    if valid & (ATTR_OWNERSHIP | ATTR_SIZE) == 0 {
        return;
    }
    let found = path::find(dentry);
    if found.matched == 0 {
        return;
    }
    if valid & ATTR_SIZE != 0 {
        let size: u64 = load(attributes, offset!(iattr_size));
        Report::of(kind::FILE_TRUNCATE, dentry, found, size).emit::<true>();
    } else {
        let mode = load::<u16>(attributes, offset!(iattr_mode)) as u64;
        Report::of(kind::FILE_ATTRIBUTE, dentry, found, (valid as u64) << 32 | mode).emit::<true>();
    }
}

/// A file, or no file, is mapped.
#[inline(always)]
pub fn map(file: Address, protection: u64, map_flags: u64) {
    if protection & PROT_WRITE == 0 || map_flags & MAP_SHARED == 0 || file.is_null() {
        return;
    }
    // A descriptor that is open for reading only cannot be mapped so (mmap(2), EACCES), but the hook comes first.
    if load::<u32>(file, offset!(file_mode)) & FMODE_WRITE == 0 {
        return;
    }
    entry(kind::FILE_MMAP_WRITE, load(file, offset!(file_dentry)), protection);
}

/// The protection of a mapping is changed.
#[inline(always)]
pub fn protect(area: Address, protection: u64) {
    if protection & PROT_WRITE == 0 || load::<u64>(area, offset!(vma_flags)) & VM_SHARED == 0 {
        return;
    }
    let file: Address = load(area, offset!(vma_file));
    if file.is_null() || load::<u32>(file, offset!(file_mode)) & FMODE_WRITE == 0 {
        return;
    }
    let dentry: Address = load(file, offset!(file_dentry));
    let alias = layers::alias_of(file, dentry);
    if alias.is_null() {
        entry(kind::FILE_MMAP_WRITE, dentry, protection);
        return;
    }
    let found = path::walk::<false>(alias);
    if found.matched != 0 {
        Report::of(kind::FILE_MMAP_WRITE, alias, found, protection).emit::<false>();
    }
}

/// Something is mounted at `mountpoint` (a `struct path`); `source` is a kernel string or null.
#[inline(always)]
pub fn mount(mountpoint: Address, source: Address, mount_flags: u64) {
    let dentry: Address = load(mountpoint, offset!(path_dentry));
    let found = path::find(dentry);
    if found.matched != 0 {
        let mut report = Report::of(kind::MOUNT, dentry, found, mount_flags);
        report.extra = source;
        report.emit::<true>();
    }
}

/// A mount is moved or attached from one `struct path` to another.
#[inline(always)]
pub fn move_mount(from: Address, to: Address) {
    let dentry: Address = load(to, offset!(path_dentry));
    let found = path::find(dentry);
    if found.matched != 0 {
        let mut report = Report::of(kind::MOUNT, dentry, found, 0);
        report.other = load(from, offset!(path_dentry));
        report.emit::<true>();
    }
}

/// A mount is taken away.
#[inline(always)]
pub fn umount(mount: Address, umount_flags: u64) {
    let root: Address = load(mount, offset!(vfsmount_root));
    let mut found = path::find(root);
    if found.matched == 0 {
        found = path::anchor(root);
    }
    if found.matched != 0 {
        Report::of(kind::UMOUNT, root, found, umount_flags).emit::<true>();
    }
}
