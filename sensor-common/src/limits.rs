//! Bounds that both sides rely on.

/// Levels of a directory chain that a kernel program walks. A deeper object is still reported where a watched
/// directory lies within the levels walked; where none does, the walk is counted as cut short
/// ([`crate::record::counter::WALK_CUT`]).
pub const WALK_LEVELS: usize = 32;

/// Longest name of one directory entry, in bytes (`NAME_MAX`, linux/limits.h), without its NUL.
pub const NAME_MAX: usize = 255;

/// Room that the copy of one more path component needs: a name and its NUL.
pub const COMPONENT_MAX: usize = NAME_MAX + 1;

/// Bytes of a name that a dentry has room for, its NUL included: at least so many on 64-bit kernels (`DNAME_INLINE_LEN`,
/// include/linux/dcache.h; 40 since 6.12). A longer name lies elsewhere.
pub const INLINE_NAME: usize = 32;

/// Bytes of argv that an exec record carries at most; beyond them `flags::ARGS_TRUNCATED` is set.
pub const ARGS_MAX: usize = 4096;

/// Bytes of the file name given to execve (or of a script's interpreter) that a record carries at most.
pub const FILENAME_MAX: usize = 256;

/// Bytes of a string that a record carries beside its paths (a symlink's target, a mount's source) at most.
pub const EXTRA_MAX: usize = 512;

/// Bytes of each Bloom filter over watched objects: with 1,000 watched objects, 1.5% of the others pass it.
pub const BLOOM_BYTES: usize = 1 << 16;

/// Entries of the watch map: directories, anchors and the single files that userspace names. A thousand users who each
/// have everything that the default list watches in a home take half. The map takes 1 MiB, and memory for what is in it.
pub const WATCH_ENTRIES: usize = 65_536;

/// Entries of the map of files that the programs came upon; the least recently used make room.
pub const FILE_ENTRIES: usize = 8192;

/// Processes with several threads that may be ending at one moment.
pub const EXIT_ENTRIES: usize = 1024;

/// Entries of the map of named children; as for [`WATCH_ENTRIES`].
pub const CHILD_ENTRIES: usize = 65_536;

/// Entries of the map of sockets: configured listeners, each per directory identity. A thousand users who are logged in
/// take half.
pub const SOCKET_ENTRIES: usize = 8192;

/// Bytes of what is sent to a watched socket that one record carries at most, in four sizes; beyond the last
/// [`crate::record::flags::DATA_TRUNCATED`] is set. Most of what a service manager itself tells a bus fits the first.
pub const SEND_MAX: [usize; 4] = [256, 1024, 4096, 16_384];

/// Segments (writev(2), sendmsg(2)) of one send that are read; beyond them
/// [`crate::record::flags::DATA_TRUNCATED`] is set.
pub const SEND_SEGMENTS: usize = 32;

/// Sends whose bytes could not be read at first, and are to be read again when the kernel has copied them.
pub const UNREAD_ENTRIES: usize = 256;

/// Connections to watched listeners whose bytes are counted, and as many that may be muted; the least recently used make
/// room.
pub const COUNTED_ENTRIES: usize = 1024;

/// Bytes of a send from which on it may begin a row of chunks that is followed. Smaller ones cost little to copy.
pub const CHUNKS_MIN: usize = 1024;

/// Heads of chunks that are read in one send; what follows further ones is shown.
pub const CHUNK_HEADS: usize = 8;

/// Bytes of the ring buffer. A power of two and a multiple of the page size (bpf(2), `BPF_MAP_TYPE_RINGBUF`). It is
/// mapped twice, end to end, and counts twice in the daemon's resident memory.
pub const RING_BYTES: usize = 4 << 20;

/// Bytes waiting in the ring beyond which process records are refused, so that records of watched objects still
/// find room.
pub const RING_PROCESS_BYTES: usize = RING_BYTES / 4 * 3;

/// Bytes waiting in the ring at which a process record wakes the reader.
pub const RING_WAKEUP_BYTES: usize = 64 << 10;
