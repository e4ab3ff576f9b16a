//! Small bounded memories of the detector: what a later record needs from an earlier one.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map that forgets its oldest entries.
#[derive(Debug)]
pub struct Recent<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
    capacity: usize,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// For at most `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self { map: HashMap::new(), order: VecDeque::new(), capacity }
    }

    /// Remembers `value`; it keeps the age of an entry that it replaces.
    pub fn insert(&mut self, key: K, value: V) {
        if self.map.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
            if self.order.len() > self.capacity {
                if let Some(oldest) = self.order.pop_front() {
                    self.map.remove(&oldest);
                }
            }
        }
    }

    /// Forgets an entry and returns what was remembered.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.map.remove(key)
    }

    /// What is remembered, to be changed.
    pub fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.map.get_mut(key)
    }

    /// What is remembered.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.map.get(key)
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Keys whose values are so, oldest first.
    pub fn keys_where(&self, so: impl Fn(&V) -> bool) -> Vec<K> {
        self.order.iter().filter(|key| self.map.get(key).is_some_and(&so)).cloned().collect()
    }
}

/// The last operations, to recognise one that is told twice.
///
/// On an overlay the hooks run for the overlay's inode and again for the one in the layer below: the same operation
/// on the same name by the same thread, on another device, at once.
#[derive(Debug)]
pub struct Echoes {
    last: VecDeque<Operation>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The record's kind.
    pub kind: u16,
    /// The thread.
    pub tid: u32,
    /// A hash of the path.
    pub path: u64,
    /// Its device; 0 where unknown.
    pub device: u32,
    /// The record's time.
    pub boottime_ns: u64,
}

impl Default for Echoes {
    fn default() -> Self {
        Self { last: VecDeque::with_capacity(Self::KEPT) }
    }
}

impl Echoes {
    const KEPT: usize = 32;
    /// The layers' hooks run within one system call.
    const APART_NS: u64 = 5_000_000;

    /// Whether `operation` repeats one that another layer has told. An operation that gives a name to what does not
    /// exist (`unique`) cannot succeed twice in a row, so it needs no device.
    pub fn is_echo(&mut self, operation: Operation, unique: bool) -> bool {
        let same_path = |last: &&Operation| (last.tid, last.path) == (operation.tid, operation.path);
        let told = |last: &Operation| {
            last.kind == operation.kind
                && operation.boottime_ns.saturating_sub(last.boottime_ns) < Self::APART_NS
        };
        let heard = if unique && operation.device == 0 {
            self.last.iter().rev().find(same_path).is_some_and(told)
        } else {
            let other_layer = |last: &Operation| last.device != operation.device;
            self.last.iter().filter(same_path).any(|last| told(last) && other_layer(last))
        };
        if !heard {
            if self.last.len() == Self::KEPT {
                self.last.pop_front();
            }
            self.last.push_back(operation);
        }
        heard
    }
}

/// Paths that the manager or its generators lately wrote as a matter of course, to recognise them when a walk finds
/// them. Room is taken at the beginning: what is left unsaid must not allocate.
#[derive(Debug)]
pub struct Excused {
    last: VecDeque<(u64, u64)>,
}

impl Default for Excused {
    fn default() -> Self {
        Self { last: VecDeque::with_capacity(Self::KEPT) }
    }
}

impl Excused {
    /// A reload of a machine with many mounts writes some hundred files.
    const KEPT: usize = 512;
    /// A walk follows a directory's appearance within seconds.
    const FOR_NS: u64 = 10_000_000_000;

    /// Notes a path, by its hash.
    pub fn insert(&mut self, path: u64, now: u64) {
        if self.last.len() == Self::KEPT {
            self.last.pop_front();
        }
        self.last.push_back((path, now));
    }

    /// Whether the path was noted a short while ago.
    pub fn has(&self, path: u64, now: u64) -> bool {
        self.last.iter().any(|(own, at)| *own == path && now.saturating_sub(*at) < Self::FOR_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut recent = Recent::new(2);
        for key in ["a", "b", "a", "c"] {
            recent.insert(key.to_owned(), key);
        }
        assert_eq!((recent.get("a"), recent.get("b"), recent.get("c")), (None, Some(&"b"), Some(&"c")));
        assert_eq!(recent.len(), 2);
    }

    #[test]
    fn an_excuse_lasts_for_seconds_and_does_not_grow() {
        let mut excused = Excused::default();
        let room = excused.last.capacity();
        excused.insert(7, 100);
        assert!(excused.has(7, 200) && !excused.has(8, 200));
        assert!(!excused.has(7, 100 + Excused::FOR_NS));
        for path in 0..2 * Excused::KEPT as u64 {
            excused.insert(path + 100, 200);
        }
        assert!(!excused.has(7, 200));
        assert_eq!(excused.last.capacity(), room);
    }

    #[test]
    fn another_layers_word_is_an_echo_and_a_second_write_is_none() {
        let mut echoes = Echoes::default();
        let write = Operation { kind: 2, tid: 1, path: 9, device: 5, boottime_ns: 100 };
        assert!(!echoes.is_echo(write, false));
        assert!(
            !echoes.is_echo(Operation { boottime_ns: 200, ..write }, false),
            "the same device writes again"
        );
        assert!(echoes.is_echo(Operation { device: 6, ..write }, false));
        assert!(!echoes.is_echo(Operation { device: 6, tid: 2, ..write }, false));
        assert!(!echoes.is_echo(Operation { device: 7, boottime_ns: 9_000_000, ..write }, false));
        let link = Operation { kind: 6, device: 0, ..write };
        assert!(!echoes.is_echo(link, true));
        assert!(echoes.is_echo(link, true));
        assert!(!echoes.is_echo(Operation { kind: 7, ..link }, true), "removed");
        assert!(!echoes.is_echo(link, true), "and made anew");
    }
}
