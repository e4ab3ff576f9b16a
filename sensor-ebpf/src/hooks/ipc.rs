//! What clients send to sockets that are watched.
//!
//! Both ends of a connection are `struct sock`s that know each other, and the one that the listener made carries the
//! listener's own path (net/unix/af_unix.c, `unix_stream_connect`). So a send tells which listener it goes to, by
//! whatever alias, hard link, namespace or passed descriptor it was reached, and whenever the connection was made.

use aya_ebpf::helpers::generated::{
    bpf_get_current_pid_tgid, bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user,
    bpf_skc_to_unix_sock,
};
use sensor_common::layout::ABSENT;
use sensor_common::limits::{SEND_MAX, SEND_SEGMENTS};
use sensor_common::record::{IpcRecord, counter, flags, kind};
use sensor_common::watch::{self, CHILD_NAME, ChildKey, WatchValue};

use crate::emit;
use crate::kernel::{
    self, Address, Bytes, FILES, SOCKETS, UNREAD, View, fact, forgotten_wide, load, offset, opaque, probe,
    read,
};
use crate::path::{admit_near, is_near, key_of, zeroes};
use crate::stream;
use crate::task;

/// `AF_UNIX`, `SOCK_STREAM` and `SOCK_SEQPACKET` (include/linux/socket.h, include/linux/net.h).
const AF_UNIX: u16 = 1;
const SOCK_STREAM: u16 = 1;
const SOCK_SEQPACKET: u16 = 5;
/// include/linux/socket.h.
const MSG_OOB: u32 = 1;

/// `struct iovec`s.
const SEGMENTS: u64 = 0;
/// One buffer of the sender's.
const BUFFER: u64 = 1;
/// Pages, or the kernel's own memory, which no program of a user's sends.
const PAGES: u64 = 2;

/// A send, and what its record is to say.
struct Send {
    kind: u16,
    flags: u16,
    watch: u32,
    total: u32,
    result: i32,
    message_flags: u32,
    socket_type: u32,
    bytes: Bytes,
    view: View,
}

/// A socket is about to send.
#[inline(always)]
pub fn send(socket: Address, message: Address, size: u32) {
    let Some((watch, socket_type)) = listener(socket) else { return };
    let mut send = Send {
        kind: kind::IPC_SEND,
        flags: 0,
        watch,
        total: size,
        result: 0,
        message_flags: load(message, offset!(msg_flags)),
        socket_type,
        bytes: bytes_of(message, connection(socket)),
        view: stream::uncounted(),
    };
    let connection = send.bytes.connection;
    if socket_type == SOCK_STREAM as u32 {
        kernel::under_way(1);
    }
    if socket_type == SOCK_STREAM as u32 && send.message_flags & MSG_OOB == 0 && connection != 0 {
        let (from, piece) = first_piece(&send.bytes);
        stream::begin(connection, size as u64, from, piece, &mut send.view);
        let skip = send.view.skip;
        if skip >= size as u64 && size != 0 {
            return;
        }
        send.bytes.skip += skip;
        send.bytes.count = send.bytes.count.saturating_sub(skip);
        send.total = size - skip as u32;
    } else {
        stream::pass_over(connection);
    }
    if send.emit() != 0 && send.bytes.form != PAGES {
        // SAFETY: a helper without arguments.
        let task = unsafe { bpf_get_current_pid_tgid() };
        if UNREAD.insert(task, send.bytes, 0).is_ok() {
            kernel::unread(1);
        }
    }
}

/// Pages are handed to a socket, past the hook of sends (before 6.5; net/unix/af_unix.c, `unix_stream_sendpage`).
#[inline(always)]
pub fn send_page(socket: Address, size: u64) {
    let Some((watch, socket_type)) = listener(socket) else { return };
    let connection = connection(socket);
    stream::pass_over(connection);
    let bytes = Bytes { form: PAGES, at: 0, segments: 0, skip: 0, count: size, connection };
    let (total, view) = (size as u32, stream::uncounted());
    Send {
        kind: kind::IPC_SEND,
        flags: 0,
        watch,
        total,
        result: 0,
        message_flags: 0,
        socket_type,
        bytes,
        view,
    }
    .emit();
}

/// A stream socket has sent, or failed to.
#[inline(always)]
pub fn sent(socket: Address, message: Address, size: u64, result: i32) {
    let whole = result as i64 == size as i64;
    if whole && !kernel::any_unread() && !kernel::any_under_way() {
        return;
    }
    let Some((watch, socket_type)) = listener(socket) else { return };
    kernel::under_way(-1);
    let connection = connection(socket);
    let message_flags = load(message, offset!(msg_flags));
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_pid_tgid() };
    let mut view = stream::ending(connection);
    let muted = view.skip >= size && size != 0;
    // SAFETY: plain integers, which no other task writes under this key.
    if let Some(bytes) = unsafe { UNREAD.get(task) }.copied() {
        let _absent_is_fine = UNREAD.remove(task);
        kernel::unread(-1);
        if bytes.connection == connection {
            let (flags, total) = (flags::DATA_LATE, size.saturating_sub(view.skip) as u32);
            Send {
                kind: kind::IPC_SEND,
                flags,
                watch,
                total,
                result: 0,
                message_flags,
                socket_type,
                bytes,
                view,
            }
            .emit();
        }
    }
    let taken = if result < 0 { 0 } else { result as u64 };
    let skip = view.skip;
    stream::end(connection, size, taken, &mut view);
    if !whole && !muted {
        let bytes = Bytes { form: BUFFER, at: 0, segments: 1, skip: 0, count: 0, connection };
        let total = size.saturating_sub(skip) as u32;
        let result = if result < 0 { result } else { taken.saturating_sub(skip) as i32 };
        Send {
            kind: kind::IPC_SENT,
            flags: 0,
            watch,
            total,
            result,
            message_flags,
            socket_type,
            bytes,
            view,
        }
        .emit();
    }
}

/// Where the first of the bytes lie, and how many there in one piece; nothing of what no user's memory is.
#[inline(always)]
fn first_piece(bytes: &Bytes) -> (u64, u64) {
    match bytes.form {
        BUFFER => (bytes.at + bytes.skip, bytes.count),
        SEGMENTS => {
            let mut segment = [0_u64; 2];
            // SAFETY: the destination is a local of this size; the helper checks the source, and leaves zeroes where it
            // cannot be read.
            unsafe { bpf_probe_read_kernel(segment.as_mut_ptr().cast(), 16, bytes.at as Address) };
            let length = segment[1].saturating_sub(bytes.skip);
            (segment[0] + bytes.skip, if length < bytes.count { length } else { bytes.count })
        }
        _ => (0, 0),
    }
}

/// The watch of the listener that a connected unix socket sends to, and the socket's type.
#[inline(always)]
fn listener(socket: Address) -> Option<(u32, u32)> {
    let sk: Address = load(socket, offset!(socket_sk));
    if sk.is_null() || load::<u16>(sk, offset!(sock_family)) != AF_UNIX {
        return None;
    }
    let socket_type: u16 = load(socket, offset!(socket_type));
    if socket_type != SOCK_STREAM && socket_type != SOCK_SEQPACKET {
        return None;
    }
    let watch = if fact!(unix_sock_helper) != 0 {
        let peer: Address = load(unix_sock(sk)?, offset!(unix_peer));
        if peer.is_null() {
            return None;
        }
        by_dentry::<true>(load(unix_sock(peer)?, offset!(unix_dentry)))
    } else {
        let peer: Address = probe(sk, offset!(unix_peer));
        if peer.is_null() {
            return None;
        }
        by_dentry::<false>(probe(peer, offset!(unix_dentry)))
    }?;
    Some((watch, forgotten_wide(socket_type as u64) as u32))
}

/// A `struct sock` as the `struct unix_sock` that it is, for the verifier.
#[inline(always)]
fn unix_sock(sk: Address) -> Option<Address> {
    // SAFETY: the helper checks the socket's family.
    let unix: Address = unsafe { bpf_skc_to_unix_sock(sk.cast_mut()) }.cast_const().cast();
    if unix.is_null() { None } else { Some(unix) }
}

/// The watch of the listener whose file is `dentry`: by its directory's identity and its name there; or by its own,
/// where it was given another name while it was watched.
#[inline(always)]
fn by_dentry<const TYPED: bool>(dentry: Address) -> Option<u32> {
    if dentry.is_null() {
        return None;
    }
    let directory: Address = read::<TYPED, _>(dentry, offset!(dentry_parent));
    let directory: Address = read::<TYPED, _>(directory, offset!(dentry_inode));
    if directory.is_null() {
        return None;
    }
    let number: u64 = read::<TYPED, _>(directory, offset!(inode_ino));
    let parent = key_of::<TYPED>(directory, number);
    if is_near(&parent) {
        let mut key = ChildKey { parent, name: zeroes() };
        let name: Address = read::<TYPED, _>(dentry, offset!(dentry_name));
        // SAFETY: the destination is a local of the size given; the helper checks the source.
        unsafe { bpf_probe_read_kernel_str(key.name.as_mut_ptr().cast(), CHILD_NAME as u32, name) };
        // SAFETY: an element that is replaced meanwhile shows an old or a new value of a plain integer.
        if let Some(watch) = unsafe { SOCKETS.get(&key) } {
            return Some(*watch);
        }
    }
    let inode: Address = read::<TYPED, _>(dentry, offset!(dentry_inode));
    if inode.is_null() {
        return None;
    }
    let number: u64 = read::<TYPED, _>(inode, offset!(inode_ino));
    let key = key_of::<TYPED>(inode, number);
    if !is_near(&key) {
        return None;
    }
    // SAFETY: as above.
    let value = unsafe { *FILES.get(key)? };
    let same = value.generation == read::<TYPED, u32>(inode, offset!(inode_generation));
    if value.flags == watch::SOCKET && same { Some(value.watch) } else { None }
}

/// The inode number of a socket; 0 for one without a descriptor.
#[inline(always)]
fn connection(socket: Address) -> u64 {
    let file: Address = load(socket, offset!(socket_file));
    if file.is_null() {
        return 0;
    }
    let inode: Address = load(file, offset!(file_inode));
    if inode.is_null() { 0 } else { load(inode, offset!(inode_ino)) }
}

/// What a `struct msghdr` says of where its bytes lie (include/linux/uio.h).
#[inline(always)]
fn bytes_of(message: Address, connection: u64) -> Bytes {
    let iter_type = if offset!(iter_type) == ABSENT as usize {
        load::<u32>(message, offset!(iter_old_type)) & !1
    } else {
        load::<u8>(message, offset!(iter_type)) as u32
    };
    let skip: u64 = load(message, offset!(iter_offset));
    let count: u64 = load(message, offset!(iter_count));
    if offset!(iter_ubuf) != ABSENT as usize && iter_type == fact!(iter_ubuf) {
        let at: u64 = probe(message, offset!(iter_ubuf));
        return Bytes {
            form: forgotten_wide(BUFFER),
            at,
            segments: forgotten_wide(1),
            skip,
            count,
            connection,
        };
    }
    if iter_type != fact!(iter_iovec) {
        return Bytes { form: forgotten_wide(PAGES), at: 0, segments: 0, skip: 0, count, connection };
    }
    // Not a load: 6.1's verifier knows it for a pointer then, and lets nobody reckon with it.
    let at: u64 = if offset!(iter_iov) == ABSENT as usize {
        probe(message, offset!(iter_old_iov))
    } else {
        probe(message, offset!(iter_iov))
    };
    Bytes {
        form: forgotten_wide(SEGMENTS),
        at,
        segments: load(message, offset!(iter_segments)),
        skip,
        count,
        connection,
    }
}

/// A name is taken from a file: if it is a watched listener's, clients can go on by another name.
#[inline(always)]
pub fn renamed(dentry: Address, inode: Address) {
    /// `S_IFMT` and `S_IFSOCK` (inode(7)).
    const S_IFMT: u16 = 0o170_000;
    const S_IFSOCK: u16 = 0o140_000;
    if inode.is_null() || load::<u16>(inode, offset!(inode_mode)) & S_IFMT != S_IFSOCK {
        return;
    }
    let Some(watch) = by_dentry::<true>(dentry) else { return };
    let number: u64 = load(inode, offset!(inode_ino));
    let generation: u32 = load(inode, offset!(inode_generation));
    let value = WatchValue { watch, flags: watch::SOCKET, generation, reserved: 0 };
    let key = key_of::<true>(inode, number);
    admit_near(&key);
    if FILES.insert(key, value, 0).is_err() {
        kernel::count(counter::WATCH_FULL);
    }
}

impl Send {
    /// Emits the record, in the smallest size in which everything fits. Not 0 where not all could be read. A function
    /// of its own, so that the sizes are in the object once.
    #[inline(never)]
    fn emit(&self) -> u32 {
        const RECORD: usize = size_of::<IpcRecord>();
        // Twice the bytes: the verifier adds up the greatest offset and the greatest length of one more segment.
        macro_rules! write {
            ($size:literal) => {
                self.write::<{ (RECORD + 2 * SEND_MAX[$size]) as u64 }, { SEND_MAX[$size] as u64 }>()
            };
        }
        let count = self.bytes.count;
        if self.bytes.form == PAGES || count <= SEND_MAX[0] as u64 {
            write!(0)
        } else if count <= SEND_MAX[1] as u64 {
            write!(1)
        } else if count <= SEND_MAX[2] as u64 {
            write!(2)
        } else {
            write!(3)
        }
    }

    #[inline(always)]
    fn write<const SIZE: u64, const MOST: u64>(&self) -> u32 {
        const AT: usize = size_of::<IpcRecord>();
        let base = emit::reserve_ipc::<SIZE>(self.kind);
        if base.is_null() {
            return 0;
        }
        let (length, unreadable) = self.gather::<MOST>(base.wrapping_add(AT));
        let mut flags = self.flags;
        if unreadable {
            flags |= flags::DATA_UNREADABLE;
        } else if length < self.bytes.count {
            flags |= flags::DATA_TRUNCATED;
        }
        let record = base.cast::<IpcRecord>();
        // SAFETY: `record` is the start of a reservation that is longer; the verifier checks each store.
        unsafe {
            emit::header(&raw mut (*record).header, self.kind, flags, AT + length as usize);
            task::fill_current(&raw mut (*record).task);
            (*record).connection = self.bytes.connection;
            (*record).since = self.view.since;
            (*record).at = self.view.at;
            (*record).next = self.view.next;
            (*record).watch = self.watch;
            (*record).total = self.total;
            (*record).result = self.result;
            (*record).message_flags = self.message_flags;
            (*record).socket_type = self.socket_type;
            (*record).data.offset = AT as u16;
            (*record).data.length = length as u16;
        }
        if MOST == SEND_MAX[3] as u64 {
            // The sooner userspace knows what it is, the less of it is copied.
            emit::submit(base);
        } else {
            emit::submit_process::<SIZE>(base);
        }
        unreadable as u32
    }

    /// Copies the bytes to `to`, which has room for twice `MOST`; returns how many, and whether some could not be read.
    #[inline(always)]
    fn gather<const MOST: u64>(&self, to: *mut u8) -> (u64, bool) {
        match self.bytes.form {
            SEGMENTS => self.gather_segments::<MOST>(to),
            BUFFER => {
                let length = opaque(least(self.bytes.count, MOST));
                let from = (self.bytes.at + self.bytes.skip) as Address;
                // SAFETY: `length <= MOST`; the helper checks the source.
                if length > MOST || unsafe { bpf_probe_read_user(to.cast(), length as u32, from) } != 0 {
                    return (0, true);
                }
                (length, false)
            }
            _ => (0, true),
        }
    }

    /// The loop's body has no branch but out of it: the verifier would follow every way through one iteration with
    /// every way through those after it.
    #[inline(always)]
    fn gather_segments<const MOST: u64>(&self, to: *mut u8) -> (u64, bool) {
        let mut have = 0_u64;
        let mut skip = self.bytes.skip;
        let mut unreadable = false;
        for index in 0..SEND_SEGMENTS as u64 {
            if index >= self.bytes.segments {
                break;
            }
            let mut segment = [0_u64; 2];
            let from = (self.bytes.at + index * 16) as Address;
            // SAFETY: the destination is a local of this size; the helper checks the source, and leaves zeroes where it
            // cannot be read.
            unsafe { bpf_probe_read_kernel(segment.as_mut_ptr().cast(), 16, from) };
            let offset = opaque(have);
            if offset >= MOST {
                break;
            }
            let length = opaque(least(segment[1].wrapping_sub(skip), MOST - offset));
            if length > MOST {
                break;
            }
            let from = segment[0].wrapping_add(skip) as Address;
            // SAFETY: `offset < MOST` and `length <= MOST`; the helper checks the source.
            if unsafe { bpf_probe_read_user(to.wrapping_add(offset as usize).cast(), length as u32, from) }
                != 0
            {
                unreadable = true;
                break;
            }
            skip = 0;
            have = forgotten_wide(offset + length);
        }
        // Segments can hold more than is to be sent.
        (least(have, self.bytes.count), unreadable)
    }
}

/// The lesser of two numbers below 2^63, without a branch.
#[inline(always)]
fn least(one: u64, other: u64) -> u64 {
    let difference = other.wrapping_sub(one);
    one.wrapping_add(difference & opaque((difference.cast_signed() >> 63).cast_unsigned()))
}
