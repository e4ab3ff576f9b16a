//! Putting messages together out of what single sends carried: bounded, in step with what the kernel did not show,
//! and back in step after a loss.
//!
//! What the bytes mean is a [`Protocol`]'s business. So is what nobody needs to see of them: the kernel is told, and
//! counts it where it would have copied it ([`sensor_common::mute`]).

use std::collections::{HashMap, VecDeque};

use sensor_common::mute::{self, Mute};
use sensor_common::record::{IpcRecord, flags, kind};

use crate::event::decode::IpcEvent;

/// `MSG_OOB` (include/linux/socket.h).
const MSG_OOB: u32 = 1;

/// Bytes of one message that are kept: of a longer one the beginning is handed on.
pub const MESSAGE_MAX: usize = 64 << 10;

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Too few bytes to say.
    Unknown,
    /// A message of this many bytes, the first of which are there. Not 0.
    Length(usize),
    /// No message.
    Broken,
}

/// How long a mute holds unless it is said again, in nanoseconds.
const MUTE_NS: u64 = 10_000_000_000;
/// Bytes for which it is worth the trouble.
const MUTE_MIN: u64 = 16 << 10;

/// What of a stream nobody needs to see. It must be certain that the server takes it for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// What is left of a message of known length.
    Rest,
    /// Chunks of HTTP/1.1, each a message, until one is none.
    Chunks,
    /// All that comes.
    All,
}

/// How messages follow one another in a stream, and what they are.
pub trait Protocol: Default + Clone {
    /// What comes of a message.
    type Message;

    /// What stands at the beginning of `bytes`, which are not empty.
    fn frame(&self, bytes: &[u8]) -> Frame;

    /// Takes up a message. `bytes` are fewer than `length` where the rest was not seen.
    fn message(&mut self, bytes: &[u8], length: usize) -> Option<Self::Message>;

    /// After a loss: where in `bytes` a message may begin. The state is set to fit.
    fn resynchronise(&mut self, bytes: &[u8]) -> Option<usize>;

    /// What can be said already of a message of `length`, of which `bytes` are there and the rest is waited for.
    fn early(&mut self, _bytes: &[u8], _length: usize) -> Option<Self::Message> {
        None
    }

    /// What of the bytes that come nobody needs to see. With [`Unwanted::Rest`], [`Self::frame`] knows the length without
    /// any byte.
    fn unwanted(&self) -> Option<Unwanted> {
        None
    }

    /// What can be said of a message that was begun, and whose rest will not be found.
    fn abandoned(&mut self) -> Option<Self::Message> {
        None
    }
}

/// One direction of one connection.
#[derive(Clone, Debug, Default)]
struct Stream<P> {
    protocol: P,
    /// The beginning of a message.
    buffer: Vec<u8>,
    /// Bytes that still belong to a message which was handed on.
    skip: usize,
    /// Where messages begin is not known.
    lost: bool,
}

/// What went wrong in streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Times that the place of the next message was lost.
    pub lost: u64,
    /// Messages of which only the beginning was seen.
    pub cut: u64,
    /// Connections that made room for others.
    pub evicted: u64,
    /// Results that belong to no send that is remembered.
    pub unmatched: u64,
}

impl<P: Protocol> Stream<P> {
    /// Takes up `data`, the beginning of `total` bytes that were sent.
    fn push(
        &mut self,
        mut data: &[u8],
        total: usize,
        stats: &mut StreamStats,
        each: &mut dyn FnMut(P::Message),
    ) {
        let mut gap = total.saturating_sub(data.len());
        let skipped = self.skip.min(data.len());
        data = &data[skipped..];
        self.skip -= skipped;
        if data.is_empty() {
            let skipped = self.skip.min(gap);
            self.skip -= skipped;
            gap -= skipped;
        }
        if self.lost && !data.is_empty() {
            self.buffer.clear();
            let Some(start) = self.protocol.resynchronise(data) else { return };
            data = &data[start..];
            self.lost = false;
        }
        self.buffer.extend_from_slice(data);
        let mut at = 0;
        while at < self.buffer.len() {
            let rest = &self.buffer[at..];
            match self.protocol.frame(rest) {
                Frame::Length(length) if length <= rest.len() => {
                    self.protocol.message(&rest[..length], length).into_iter().for_each(&mut *each);
                    at += length.max(1);
                }
                Frame::Length(length) if gap > 0 || rest.len() >= MESSAGE_MAX => {
                    stats.cut += 1;
                    self.protocol.message(rest, length).into_iter().for_each(&mut *each);
                    let missing = length - rest.len();
                    self.skip = missing - missing.min(gap);
                    gap -= missing.min(gap);
                    at = self.buffer.len();
                }
                Frame::Unknown if gap == 0 && rest.len() < MESSAGE_MAX => break,
                Frame::Length(length) => {
                    self.protocol.early(rest, length).into_iter().for_each(&mut *each);
                    break;
                }
                Frame::Unknown | Frame::Broken => {
                    self.lose(stats, each);
                    return;
                }
            }
        }
        self.buffer.drain(..at);
        if gap > 0 && self.protocol.unwanted() != Some(Unwanted::All) {
            // Bytes between messages, or more messages, that nobody saw.
            self.lose(stats, each);
        }
    }

    /// Bytes of the message that is under way that are still to come.
    fn remaining(&self) -> Option<usize> {
        if self.skip > 0 {
            return Some(self.skip);
        }
        if self.buffer.is_empty() && self.protocol.unwanted() != Some(Unwanted::Rest) {
            return Some(0);
        }
        match self.protocol.frame(&self.buffer) {
            Frame::Length(length) => length.checked_sub(self.buffer.len()),
            Frame::Unknown | Frame::Broken => None,
        }
    }

    /// Takes up `gap` bytes that were not shown. With [`Unwanted::Chunks`] the next chunk begins `next` bytes behind them.
    fn pass(
        &mut self,
        gap: usize,
        next: Option<usize>,
        stats: &mut StreamStats,
        each: &mut dyn FnMut(P::Message),
    ) {
        if self.lost {
            return;
        }
        let unwanted = self.protocol.unwanted();
        if unwanted == Some(Unwanted::All) {
            self.buffer.clear();
            return;
        }
        let Some(remaining) = self.remaining() else { return self.lose(stats, each) };
        if self.skip == 0 && remaining > 0 {
            stats.cut += 1;
            let length = self.buffer.len() + remaining;
            self.protocol.message(&self.buffer, length).into_iter().for_each(&mut *each);
            self.buffer.clear();
        }
        match (unwanted, next) {
            (Some(Unwanted::Chunks), Some(next)) => self.skip = next,
            _ if gap <= remaining => self.skip = remaining - gap,
            _ => self.lose(stats, each),
        }
    }

    fn lose(&mut self, stats: &mut StreamStats, each: &mut dyn FnMut(P::Message)) {
        self.protocol.abandoned().into_iter().for_each(each);
        stats.lost += u64::from(!self.lost);
        self.lost = true;
        self.buffer.clear();
        self.skip = 0;
    }

    fn bytes(&self) -> usize {
        self.buffer.capacity()
    }
}

/// A stream before its last send, and that send: the kernel tells afterwards that not all was taken, or what it was.
#[derive(Debug)]
struct Last<P> {
    before: Stream<P>,
    /// [`Connection::position`] before it.
    position: u64,
    thread: u32,
    data: Vec<u8>,
}

#[derive(Debug)]
struct Connection<P> {
    stream: Stream<P>,
    last: Option<Last<P>>,
    /// The kernel's count of its bytes; 0 for none.
    since: u64,
    /// How far the stream was followed in that count.
    position: u64,
    /// What the kernel was last told that it need not show.
    mute: Option<Mute>,
    /// For the least recently used.
    used: u64,
}

impl<P: Protocol> Connection<P> {
    /// Brings the stream to where the bytes of a record begin. What the kernel counted and did not show was muted, or
    /// is lost.
    fn advance(&mut self, record: &IpcRecord, stats: &mut StreamStats, each: &mut dyn FnMut(P::Message)) {
        if record.since != self.since {
            if self.mute.take().is_some() {
                self.stream.lose(stats, each);
            }
            (self.since, self.position) = (record.since, record.at);
        }
        if record.since == 0 {
            return;
        }
        let number = |bytes| usize::try_from(bytes).ok();
        match record.at.checked_sub(self.position).map(number) {
            Some(Some(0)) => {}
            Some(Some(gap)) => {
                let next = record.next.checked_sub(record.at).and_then(number);
                self.stream.pass(gap, next.filter(|_| record.next != mute::NOWHERE), stats, each);
            }
            _ => self.stream.lose(stats, each),
        }
        self.position = record.at;
    }

    /// What of the bytes from `record` on need not be shown. All before them has been taken by the kernel, so nothing
    /// that is concluded from it can be undone.
    fn mute(&self, record: &IpcRecord) -> Option<Mute> {
        if record.since == 0 || self.stream.lost {
            return None;
        }
        let unwanted = self.stream.protocol.unwanted()?;
        let (mode, until) = match unwanted {
            Unwanted::All => (mute::ALL, 0),
            Unwanted::Rest => {
                let rest = self.stream.remaining()? as u64;
                (mute::LENGTH, Some(record.at.saturating_add(rest)).filter(|_| rest >= MUTE_MIN)?)
            }
            Unwanted::Chunks => {
                let next = record.at.saturating_add(self.stream.remaining()? as u64);
                (mute::CHUNKS, Some(next).filter(|next| *next == record.next)?)
            }
        };
        let now = record.header.boottime_ns;
        let same = |known: &Mute| (known.mode, known.until) == (mode, until);
        let holds = self.mute.as_ref().is_some_and(|known| same(known) && now < known.expires);
        (!holds).then_some(Mute { since: record.since, until, expires: now + MUTE_NS, mode, reserved: 0 })
    }
}

/// All connections of one protocol.
#[derive(Debug)]
pub struct Streams<P> {
    connections: HashMap<u64, Connection<P>>,
    /// Connections in the order of their use; those that were used again since are in it more than once.
    order: VecDeque<(u64, u64)>,
    capacity: usize,
    clock: u64,
    stats: StreamStats,
    mutes: VecDeque<(u64, Mute)>,
}

impl<P: Protocol> Streams<P> {
    /// At most `capacity` connections, of which each keeps at most twice [`MESSAGE_MAX`] and a send's bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            connections: HashMap::new(),
            order: VecDeque::new(),
            capacity: capacity.max(1),
            clock: 0,
            stats: StreamStats::default(),
            mutes: VecDeque::new(),
        }
    }

    /// Takes up a record; what its bytes complete is given to `each`.
    ///
    /// A message can be given twice: first as far as it was seen, then whole, where the kernel could read its bytes only
    /// when it had copied them ([`flags::DATA_LATE`]); or again by a client whose first attempt failed.
    pub fn feed(&mut self, event: &IpcEvent<'_>, each: &mut dyn FnMut(P::Message)) {
        let record = &event.record;
        self.clock += 1;
        let (number, clock) = (record.connection, self.clock);
        if !self.connections.contains_key(&number) {
            self.make_room();
        }
        let stats = &mut self.stats;
        let connection = self.connections.entry(number).or_insert_with(|| Connection {
            stream: Stream::default(),
            last: None,
            since: 0,
            position: 0,
            mute: None,
            used: clock,
        });
        connection.used = clock;
        self.order.push_back((number, clock));
        let thread = record.task.tid;
        let late = record.header.flags & flags::DATA_LATE != 0;
        if record.header.kind == kind::IPC_SENT || late {
            let Some(last) = connection.last.take().filter(|last| last.thread == thread) else {
                stats.unmatched += 1;
                return;
            };
            connection.stream = last.before;
            if record.since == connection.since {
                connection.position = last.position;
            }
            let (before, position) = (connection.stream.clone(), connection.position);
            if late {
                connection.advance(record, stats, each);
                let total = record.total as usize;
                connection.stream.push(event.data, total, stats, each);
                connection.position = record.at + total as u64;
                connection.last = Some(Last { before, position, thread, data: event.data.to_vec() });
            } else {
                // What it completed has been given already.
                connection.advance(record, stats, &mut |_| {});
                let taken = usize::try_from(record.result).unwrap_or(0);
                let data = &last.data[..taken.min(last.data.len())];
                connection.stream.push(data, taken, stats, &mut |_| {});
                connection.position = record.at + taken as u64;
            }
            return;
        }
        let (data, total) = if record.message_flags & MSG_OOB == 0 {
            (event.data, record.total as usize)
        } else {
            // Its last byte is not part of the stream (unix(7)).
            let total = (record.total as usize).saturating_sub(1);
            (&event.data[..event.data.len().min(total)], total)
        };
        let (before, position) = (connection.stream.clone(), connection.position);
        connection.advance(record, stats, each);
        if let Some(mute) = connection.mute(record) {
            connection.mute = Some(mute);
            if self.mutes.len() >= self.capacity {
                self.mutes.pop_front();
            }
            self.mutes.push_back((number, mute));
        }
        connection.stream.push(data, total, stats, each);
        connection.position = record.at + total as u64;
        connection.last = Some(Last { before, position, thread, data: data.to_vec() });
        self.shorten_order();
    }

    /// What the kernel need not show, by connection: the latest as many as connections are followed. It may be told or
    /// not; records then say what was not shown.
    pub fn mutes(&mut self) -> std::collections::vec_deque::Drain<'_, (u64, Mute)> {
        self.mutes.drain(..)
    }

    /// Records were dropped, of whatever connection: on none whose bytes the kernel does not count is it known any more
    /// where the next message begins; of the others the next record tells. What begins a send, or what looks like a
    /// message, puts it back in step.
    pub fn records_lost(&mut self) {
        for connection in self.connections.values_mut().filter(|connection| connection.since == 0) {
            connection.stream.lose(&mut self.stats, &mut |_| {});
            connection.last = None;
        }
    }

    fn make_room(&mut self) {
        while self.connections.len() >= self.capacity {
            let Some((number, used)) = self.order.pop_front() else { return };
            if self.connections.get(&number).is_some_and(|connection| connection.used == used) {
                self.connections.remove(&number);
                self.stats.evicted += 1;
            }
        }
    }

    fn shorten_order(&mut self) {
        if self.order.len() > 4 * self.capacity + 64 {
            let connections = &self.connections;
            self.order.retain(|(number, used)| {
                connections.get(number).is_some_and(|connection| connection.used == *used)
            });
        }
    }

    /// The figures.
    pub fn stats(&self) -> StreamStats {
        self.stats
    }

    /// Connections that are followed.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Connections that are followed at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of messages that are kept.
    pub fn bytes(&self) -> usize {
        let last = |last: &Last<P>| last.data.capacity() + last.before.bytes();
        self.connections
            .values()
            .map(|connection| connection.stream.bytes() + connection.last.as_ref().map_or(0, last))
            .sum()
    }
}
