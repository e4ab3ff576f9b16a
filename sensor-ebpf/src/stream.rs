//! Where the stream of a connection to a watched listener stands, and what of a send userspace can do without.
//!
//! Bytes are counted when the kernel has taken them, at the end of a send: a socket that is full takes a part of them,
//! or none. Until then the next state waits beside the present one. Sends of one connection that overlap have no order
//! that could be known; its count then begins anew, under another name, and with it what is muted.

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns, bpf_probe_read_user};
use sensor_common::limits::{CHUNK_HEADS, CHUNKS_MIN};
use sensor_common::mute::{self, NOWHERE};

use crate::kernel::{self, Address, COUNTED, Counted, MUTES, View, forgotten_wide, opaque};

/// Bytes of a chunk's head: the digits of its length, at most eight, and the end of the line.
const HEAD_MAX: u64 = 10;

/// Of bytes that are not counted. The verifier knows nothing of it, here and below: else it would follow all that comes
/// after once more for every way in which a view comes about.
#[inline(always)]
pub fn uncounted() -> View {
    View { since: forgotten_wide(0), at: 0, next: forgotten_wide(NOWHERE), skip: forgotten_wide(0) }
}

/// Begins a send of `size` bytes, of which the first `piece` lie at `from` in the sender's memory. What of it is to be
/// shown is written to `view`. A function of its own, for the room on the stack.
#[inline(never)]
pub fn begin(connection: u64, size: u64, from: u64, piece: u64, view: &mut View) -> u32 {
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_pid_tgid() };
    // SAFETY: as above.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let mut known = COUNTED.get_ptr_mut(connection);
    // SAFETY: an aligned u64 of the map's element.
    let under_way = known.map_or(0, |known| unsafe { (*known).task });
    if under_way == task {
        // One task sends once at a time: the end of its last send was not seen.
        kernel::under_way(-1);
    }
    if known.is_none() || under_way != 0 {
        pass_over(connection);
        let fresh = Counted {
            since: now,
            at: 0,
            chain: 0,
            next: NOWHERE,
            task: 0,
            view: View { since: 0, at: 0, next: NOWHERE, skip: 0 },
            after_next: NOWHERE,
            first: NOWHERE,
            second: NOWHERE,
        };
        let _looked_for_below = COUNTED.insert(connection, fresh, 0);
        known = COUNTED.get_ptr_mut(connection);
    }
    let Some(known) = known else { return 0 };
    // SAFETY: an element stays memory of the map's. Whoever else writes to it meanwhile sends on the same connection, or
    // on one that was given the element: the end of either send then finds another task's number, and the count ends.
    let state = unsafe { &mut *known };
    state.task = task;
    let shown_from = chunks(state, size, from, piece);
    let skip = muted(state, connection, size, shown_from, now);
    // What lies in several pieces is copied from its beginning, or not at all.
    let skip = forgotten_wide(if skip < size && piece < size { 0 } else { skip });
    let next = match (state.next, state.after_next) {
        (NOWHERE, NOWHERE) => NOWHERE,
        (NOWHERE, _) => state.at,
        (_, NOWHERE) if skip > 0 => shown_from,
        (next, _) => next,
    };
    let next = forgotten_wide(next);
    state.view = View { since: state.since, at: state.at + skip, next, skip };
    *view = state.view;
    0
}

/// What the record of the send that ends now said; [`uncounted`] where it was not counted.
#[inline(always)]
pub fn ending(connection: u64) -> View {
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_pid_tgid() };
    let Some(known) = COUNTED.get_ptr_mut(connection) else { return uncounted() };
    // SAFETY: as in `begin`.
    let state = unsafe { &*known };
    if state.task == task { state.view } else { uncounted() }
}

/// Ends a send of which the kernel took so many bytes. What its record would have had to say to begin behind those of
/// them that were muted is written to `view`. A function of its own, as above.
#[inline(never)]
pub fn end(connection: u64, size: u64, taken: u64, view: &mut View) -> u32 {
    let Some(known) = COUNTED.get_ptr_mut(connection) else { return 0 };
    // SAFETY: as in `begin`.
    let state = unsafe { &mut *known };
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_pid_tgid() };
    if state.task != task {
        // Sends overlapped.
        pass_over(connection);
        return 0;
    }
    let (begun, next) = (state.at, state.next);
    let at = begun + taken;
    let passed = state.first != NOWHERE && at >= state.first + 2 * HEAD_MAX && at <= state.second;
    let after = if taken == size {
        state.after_next
    } else if taken == 0 || next != NOWHERE && at <= next {
        next
    } else if passed {
        state.second
    } else if next == NOWHERE {
        NOWHERE
    } else {
        pass_over(connection);
        *view = uncounted();
        return 0;
    };
    if next == NOWHERE {
        state.chain = begun;
    }
    state.next = after;
    let shown = state.view;
    let whole = taken >= shown.skip;
    *view = View {
        at: begun + if whole { shown.skip } else { taken },
        next: if whole { shown.next } else { after },
        ..shown
    };
    state.at = at;
    state.task = 0;
    0
}

/// Ends a connection's count: its place in the stream is not known any more.
#[inline(always)]
pub fn pass_over(connection: u64) {
    let _absent_is_fine = COUNTED.remove(connection);
}

/// Follows chunks to the send's end, and notes where they go on. Returns the place from where on something is no chunk.
#[inline(always)]
fn chunks(state: &mut Counted, size: u64, from: u64, piece: u64) -> u64 {
    let (begun, end) = (state.at, state.at + size);
    let mut next = state.next;
    if next == NOWHERE && size >= CHUNKS_MIN as u64 {
        next = begun;
    }
    let mut first = NOWHERE;
    let mut second = NOWHERE;
    for _ in 0..CHUNK_HEADS {
        if next >= end {
            break;
        }
        let offset = next - begun;
        let length = if offset < piece { chunk(from + offset, piece - offset) } else { 0 };
        if length == 0 {
            break;
        }
        if first == NOWHERE {
            first = next;
            second = forgotten_wide(next + length);
        }
        next = forgotten_wide(next + length);
    }
    state.first = first;
    state.second = second;
    if next < end {
        state.after_next = NOWHERE;
        return next;
    }
    state.after_next = next;
    end
}

/// Bytes from a chunk's head up to the next one's: the head, what it announces, and the end of a line. 0 where no head
/// is there, or the last one's, or one that a server might read otherwise.
#[inline(never)]
fn chunk(from: u64, room: u64) -> u64 {
    let mut head = [0_u8; HEAD_MAX as usize];
    let length = opaque(if room < HEAD_MAX { room } else { HEAD_MAX });
    // SAFETY: `length <= HEAD_MAX`; the helper checks the source.
    if length > HEAD_MAX
        || unsafe { bpf_probe_read_user(head.as_mut_ptr().cast(), length as u32, from as Address) } != 0
    {
        return 0;
    }
    let mut size = 0_u64;
    for (digits, pair) in head.windows(2).enumerate() {
        let digit = match pair[0] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            digit @ b'A'..=b'F' => digit - b'A' + 10,
            b'\r' if pair[1] == b'\n' && size != 0 => return forgotten_wide(size + digits as u64 + 4),
            _ => return 0,
        };
        // Else the verifier would follow each row of kinds of digits to its end.
        size = forgotten_wide(size << 4 | digit as u64);
    }
    0
}

/// How many bytes from the beginning of the send are not shown.
#[inline(always)]
fn muted(state: &Counted, connection: u64, size: u64, shown_from: u64, now: u64) -> u64 {
    // SAFETY: plain integers that userspace sets as a whole.
    let Some(mute) = (unsafe { MUTES.get(connection) }) else { return 0 };
    if mute.since != state.since || now >= mute.expires {
        return 0;
    }
    let left = match mute.mode {
        mute::ALL => size,
        mute::LENGTH => mute.until.saturating_sub(state.at),
        // The chunk that userspace knows for one belongs to this row.
        mute::CHUNKS if state.next != NOWHERE && state.chain <= mute.until => shown_from - state.at,
        _ => 0,
    };
    if left < size { left } else { size }
}
