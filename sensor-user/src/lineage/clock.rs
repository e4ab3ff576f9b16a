//! A table bounded by number and bytes, of which what nobody asked for lately leaves first (the clock algorithm).

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The table. An entry that was used since its turn came last gets another one.
#[derive(Debug)]
pub struct ClockTable<K, V> {
    known: HashMap<K, Entry<V>>,
    turn: VecDeque<K>,
    entries: usize,
    bytes: usize,
    byte_limit: usize,
    evicted: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// What the key, in map and queue, and the value take beside themselves.
    heap: usize,
    used: bool,
}

impl<K: Clone + Eq + Hash, V> ClockTable<K, V> {
    /// Bytes that an entry takes in map and queue, about.
    const ENTRY_BYTES: usize = size_of::<(K, Entry<V>)>() + size_of::<K>() + 1;

    /// For at most `entries` (at least one) and about `byte_limit` bytes.
    pub fn new(entries: usize, byte_limit: usize) -> Self {
        let entries = entries.max(1);
        Self { known: HashMap::new(), turn: VecDeque::new(), entries, bytes: 0, byte_limit, evicted: 0 }
    }

    /// Notes a value, with the bytes that it and its key take on the heap. What it replaces keeps its turn.
    pub fn insert(&mut self, key: K, value: V, heap: usize) {
        self.bytes += heap;
        if let Some(known) = self.known.get_mut(&key) {
            self.bytes -= known.heap;
            (known.value, known.heap) = (value, heap);
        } else {
            self.bytes += Self::ENTRY_BYTES;
            self.known.insert(key.clone(), Entry { value, heap, used: false });
            self.turn.push_back(key);
        }
        while self.known.len() > 1 && (self.known.len() > self.entries || self.bytes > self.byte_limit) {
            self.evict();
        }
    }

    /// Removes the first entry whose turn it is and that was not used since its last one.
    fn evict(&mut self) {
        while let Some(key) = self.turn.pop_front() {
            let Some(known) = self.known.get_mut(&key) else { continue };
            if std::mem::take(&mut known.used) {
                self.turn.push_back(key);
                continue;
            }
            self.bytes -= Self::ENTRY_BYTES + known.heap;
            self.known.remove(&key);
            self.evicted += 1;
            return;
        }
    }

    /// What is known under `key`.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.known.get(key).map(|known| &known.value)
    }

    /// The same; it gets another turn before it leaves.
    pub fn touch<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let known = self.known.get_mut(key)?;
        known.used = true;
        Some(&known.value)
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// The bound of [`Self::len`].
    pub fn capacity(&self) -> usize {
        self.entries
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries that left for want of room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bounds_hold_and_bytes_are_those_of_what_is_there(
            steps in proptest::collection::vec((0_u8..40, 0_usize..300, any::<bool>()), 0..300)
        ) {
            let mut table = ClockTable::new(16, 4000);
            for (key, heap, touched) in steps {
                if touched {
                    table.touch(&key);
                } else {
                    table.insert(key, (), heap);
                    prop_assert!(table.get(&key).is_some() || table.len() > 0);
                }
                prop_assert!(table.len() <= 16 && (table.bytes() <= 4000 || table.len() == 1));
                let held: usize = table.known.values().map(|known| known.heap).sum();
                prop_assert_eq!(table.bytes(), held + table.len() * ClockTable::<u8, ()>::ENTRY_BYTES);
                prop_assert_eq!(table.turn.len(), table.len());
            }
        }
    }
}
