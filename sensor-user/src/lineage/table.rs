//! The process table: who is whose child, bounded, and longer-lived than the processes.
//!
//! A process is (process id, start time). /proc knows the start in ticks of 10 ms, the kernel in nanoseconds: the
//! key is the tick, for no process id comes round within one. Ancestry is that of the fork: it does not change when
//! a parent ends and the kernel hands its children to another.
//!
//! An ended process stays while a living one descends from it, and then a while longer among the most recent: its
//! last records can follow its end, for the kernel closes a process's files after reporting its exit.

use std::collections::{HashMap, VecDeque};

use super::image::ImageId;

/// /proc's unit of time, in nanoseconds (`USER_HZ` is 100 on every architecture that BPF programs run on).
pub const TICK_NS: u64 = 10_000_000;

/// Ended processes with one remaining child each, in a row above a living one. Of a longer row the oldest leave, so
/// that a process that forks and ends for ever leaves a bounded trace, and its origin stays known.
pub const ENDED_RUN: usize = 32;

/// A process in the table; stale once the entry is used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    slot: u32,
    generation: u32,
}

const NOWHERE: Handle = Handle { slot: u32::MAX, generation: 0 };

/// The process has ended.
pub const ENDED: u8 = 1;
/// It was seen since the clock hand passed it.
const USED: u8 = 1 << 1;
/// It waits among the ended for its eviction.
const QUEUED: u8 = 1 << 2;
/// Ancestors between it and its parent were left out, or its parent was evicted.
pub const GAP: u8 = 1 << 3;
/// A kernel thread.
pub const KERNEL: u8 = 1 << 4;
const FREE: u8 = 1 << 7;

/// What is known of a process. Ids are those of the initial namespaces.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Start on `CLOCK_BOOTTIME`, in nanoseconds; of one known only from /proc in whole ticks.
    pub start_ns: u64,
    /// End on the same clock; 0 while it runs.
    pub end_ns: u64,
    /// Control group's id, 0 where unknown.
    pub cgroup_id: u64,
    /// At fork time.
    parent: Handle,
    /// Process id.
    pub tgid: u32,
    generation: u32,
    children: u32,
    /// What it executes.
    pub image: ImageId,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Login user id, `u32::MAX` where none.
    pub loginuid: u32,
    /// Audit session, `u32::MAX` where none.
    pub session_id: u32,
    /// Mount namespace, 0 where unknown.
    pub mnt_ns: u32,
    /// Pid namespace, 0 where unknown.
    pub pid_ns: u32,
    /// Thread name.
    pub comm: [u8; 16],
    /// [`ENDED`], [`GAP`], [`KERNEL`] and the table's own.
    pub flags: u8,
}

impl Entry {
    /// A process of which only the identity is known.
    pub fn new(tgid: u32, start_ns: u64) -> Self {
        Self {
            start_ns,
            end_ns: 0,
            cgroup_id: 0,
            parent: NOWHERE,
            tgid,
            generation: 0,
            children: 0,
            image: ImageId::NONE,
            uid: u32::MAX,
            euid: u32::MAX,
            loginuid: u32::MAX,
            session_id: u32::MAX,
            mnt_ns: 0,
            pid_ns: 0,
            comm: [0; 16],
            flags: 0,
        }
    }

    /// Whether the flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

// 100,000 processes with their index stay below 15 MiB.
const _: () = assert!(size_of::<Entry>() <= 104);

/// The table. Entries that leave are reported through the `gone` argument of the methods, so that the owner can
/// release their images.
#[derive(Debug)]
pub struct Table {
    slots: Vec<Entry>,
    free: Vec<u32>,
    index: HashMap<u64, u32>,
    ended: VecDeque<Handle>,
    hand: usize,
    capacity: usize,
    ended_capacity: usize,
    evicted: u64,
    spliced: u64,
}

fn key(tgid: u32, start_ns: u64) -> u64 {
    // 32 bits of ticks come round after 497 days; two processes with one id that far apart are never both here.
    u64::from(tgid) << 32 | u64::from((start_ns / TICK_NS) as u32)
}

impl Table {
    /// For at most `capacity` processes that run or are ancestors of such, and `ended_capacity` others.
    pub fn new(capacity: usize, ended_capacity: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            ended: VecDeque::new(),
            hand: 0,
            // The bound keeps a slot's number below that of NOWHERE.
            capacity: (capacity.max(2) + ended_capacity).min(1 << 24),
            ended_capacity,
            evicted: 0,
            spliced: 0,
        }
    }

    /// Processes held.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bound of [`Self::len`].
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Processes that left for want of room, though they ran or had running descendants.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Ended processes that were taken out of a long row ([`ENDED_RUN`]).
    pub fn spliced(&self) -> u64 {
        self.spliced
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Entry>()
            + self.free.capacity() * size_of::<u32>()
            // hashbrown: an entry and a control byte per bucket, seven of eight buckets used.
            + self.index.capacity() * 8 / 7 * (size_of::<(u64, u32)>() + 1)
            + self.ended.capacity() * size_of::<Handle>()
    }

    /// The process with this identity.
    pub fn find(&self, tgid: u32, start_ns: u64) -> Option<Handle> {
        let slot = *self.index.get(&key(tgid, start_ns))?;
        Some(Handle { slot, generation: self.slots[slot as usize].generation })
    }

    /// The entry behind a handle, unless it has left.
    pub fn get(&self, handle: Handle) -> Option<&Entry> {
        self.slots
            .get(handle.slot as usize)
            .filter(|entry| entry.generation == handle.generation && entry.flags & FREE == 0)
    }

    /// As [`Self::get`], to change it; it counts as used.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut Entry> {
        let entry = self
            .slots
            .get_mut(handle.slot as usize)
            .filter(|entry| entry.generation == handle.generation && entry.flags & FREE == 0)?;
        entry.flags |= USED;
        Some(entry)
    }

    /// The parent at fork time, where known and still held.
    pub fn parent(&self, handle: Handle) -> Option<Handle> {
        let parent = self.get(handle)?.parent;
        self.get(parent).map(|_| parent)
    }

    /// Whether the process has, or had, a parent, known or not.
    pub fn had_parent(&self, handle: Handle) -> bool {
        self.get(handle).is_some_and(|entry| entry.parent != NOWHERE)
    }

    /// Adds a process that [`Self::find`] does not know.
    pub fn insert(&mut self, entry: Entry, parent: Option<Handle>, gone: &mut impl FnMut(ImageId)) -> Handle {
        // The parent may be the very entry that has to leave, so it is pinned by its child before room is made.
        let parent = parent.filter(|parent| self.get(*parent).is_some());
        if let Some(parent) = parent {
            self.slots[parent.slot as usize].children += 1;
        }
        let slot = self.vacant(gone);
        let generation = self.slots[slot as usize].generation;
        let parent = parent.unwrap_or(NOWHERE);
        let own = USED | entry.flags & (ENDED | GAP | KERNEL);
        self.slots[slot as usize] = Entry { parent, generation, children: 0, flags: own, ..entry };
        self.index.insert(key(entry.tgid, entry.start_ns), slot);
        Handle { slot, generation }
    }

    /// Makes `parent` the parent of a process that has none.
    pub fn adopt(&mut self, child: Handle, parent: Handle) {
        if child == parent
            || self.get(parent).is_none()
            || self.get(child).is_none_or(|c| c.parent != NOWHERE)
        {
            return;
        }
        self.slots[parent.slot as usize].children += 1;
        self.slots[child.slot as usize].parent = parent;
    }

    /// Notes the end of a process.
    pub fn end(&mut self, handle: Handle, now: u64, gone: &mut impl FnMut(ImageId)) {
        let Some(entry) = self.get_mut(handle) else { return };
        if entry.has(ENDED) {
            return;
        }
        entry.flags |= ENDED;
        entry.end_ns = now.max(1);
        self.queue(handle.slot);
        self.trim(self.ended_capacity, gone);
    }

    /// Lets the process leave that ended first and that nobody descends from. `false` where there is none.
    pub fn retire_one(&mut self, gone: &mut impl FnMut(ImageId)) -> bool {
        let before = self.len();
        while let Some(handle) = self.ended.pop_front() {
            self.retire(handle, gone);
            if self.len() < before {
                return true;
            }
        }
        false
    }

    /// Shortens a row of ended ancestors above a running process: see [`ENDED_RUN`].
    pub fn shorten(&mut self, handle: Handle, gone: &mut impl FnMut(ImageId)) {
        let lone = |table: &Self, handle| {
            table.get(handle).is_some_and(|entry: &Entry| entry.has(ENDED) && entry.children == 1)
        };
        let (mut below, mut at) = (handle, self.parent(handle));
        for _ in 0..ENDED_RUN {
            let Some(next) = at.filter(|at| lone(self, *at)) else { return };
            (below, at) = (next, self.parent(next));
        }
        let Some(oldest) = at.filter(|at| lone(self, *at)) else { return };
        // Its one child takes its place under its parent, whose number of children stays the same.
        let above = self.slots[oldest.slot as usize].parent;
        self.slots[oldest.slot as usize].parent = NOWHERE;
        let child = &mut self.slots[below.slot as usize];
        child.parent = above;
        child.flags |= GAP;
        self.spliced += 1;
        self.remove(oldest.slot, gone);
    }

    fn queue(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if entry.has(ENDED) && entry.children == 0 && !entry.has(QUEUED | FREE) {
            entry.flags |= QUEUED;
            self.ended.push_back(Handle { slot, generation: entry.generation });
        }
    }

    fn trim(&mut self, to: usize, gone: &mut impl FnMut(ImageId)) {
        while self.ended.len() > to {
            let Some(handle) = self.ended.pop_front() else { return };
            self.retire(handle, gone);
        }
    }

    fn retire(&mut self, handle: Handle, gone: &mut impl FnMut(ImageId)) {
        if self.get(handle).is_none() {
            return;
        }
        let entry = &mut self.slots[handle.slot as usize];
        entry.flags &= !QUEUED;
        // A child that became known only now: it is queued again when that one has left.
        if entry.children == 0 {
            self.remove(handle.slot, gone);
        }
    }

    fn remove(&mut self, slot: u32, gone: &mut impl FnMut(ImageId)) {
        let entry = self.slots[slot as usize];
        let at = key(entry.tgid, entry.start_ns);
        if self.index.get(&at) == Some(&slot) {
            self.index.remove(&at);
        }
        self.slots[slot as usize].flags = FREE;
        self.slots[slot as usize].generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        gone(entry.image);
        if self.get(entry.parent).is_some() {
            self.slots[entry.parent.slot as usize].children -= 1;
            self.queue(entry.parent.slot);
        }
    }

    /// A free slot: a new one, that of the process that ended first, or else that of a childless one which was not
    /// seen for longest (the clock algorithm).
    fn vacant(&mut self, gone: &mut impl FnMut(ImageId)) -> u32 {
        if self.free.is_empty() && self.slots.len() >= self.capacity && !self.retire_one(gone) {
            self.evict(gone);
        }
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        if self.slots.len() == self.slots.capacity() {
            // Doubling, but never beyond the bound.
            let more = self.slots.len().max(1024).min(self.capacity + 1 - self.slots.len());
            self.slots.reserve_exact(more);
        }
        self.slots.push(Entry { flags: FREE, ..Entry::new(0, 0) });
        self.slots.len() as u32 - 1
    }

    fn evict(&mut self, gone: &mut impl FnMut(ImageId)) {
        // Two rounds clear every USED flag. Only a garbled recording has ancestors in a circle, and so possibly no
        // childless entry; then whatever comes next goes.
        for round in 0..3 {
            for _ in 0..self.slots.len() {
                let slot = self.hand;
                self.hand = (self.hand + 1) % self.slots.len();
                let entry = &mut self.slots[slot];
                if entry.has(FREE) || (entry.children > 0 && round < 2) {
                    continue;
                }
                if entry.has(USED) && round < 2 {
                    entry.flags &= !USED;
                    continue;
                }
                self.evicted += 1;
                self.remove(slot as u32, gone);
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
