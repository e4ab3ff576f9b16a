//! Which packages may own a path: a few bytes for each path, instead of the paths.

use std::hash::{BuildHasher, RandomState};

/// Paths that an index takes: 8 bytes each, so 24 MiB at most. Debian's largest installations have about 500,000.
const ENTRIES_MAX: usize = 3 << 20;
/// Runs that are searched one after the other before they are made one.
const RUNS_MAX: usize = 12;

/// The number under which an owner was entered.
pub(super) type Slot = u32;

/// Maps the hash of a path to slots. It may answer with a slot too many (whoever asks looks it up in the database), never
/// with one too few. The hash is keyed by chance, so that no package can be made to collide with another.
#[derive(Debug)]
pub(super) struct Index {
    key: RandomState,
    /// Entries that it takes.
    most: usize,
    /// Each sorted.
    runs: Vec<Vec<(u32, Slot)>>,
    overflowed: bool,
}

impl Default for Index {
    fn default() -> Self {
        Self { key: RandomState::new(), most: ENTRIES_MAX, runs: Vec::new(), overflowed: false }
    }
}

impl Index {
    /// Enters paths of owners.
    pub(super) fn extend(&mut self, entries: Entries) {
        let mut run = entries.of;
        let room = self.most.saturating_sub(self.len());
        if run.len() > room {
            self.overflowed = true;
            run.truncate(room);
        }
        if run.is_empty() {
            return;
        }
        run.sort_unstable();
        run.dedup();
        run.shrink_to_fit();
        self.runs.push(run);
    }

    /// What is to be entered for this index.
    pub(super) fn entries(&self) -> Entries {
        Entries { key: self.key.clone(), most: self.most, of: Vec::new() }
    }

    /// Forgets the slots that are not `alive`, if there is reason to tidy up.
    pub(super) fn tidy(&mut self, alive: impl Fn(Slot) -> bool) {
        if self.runs.len() <= RUNS_MAX && !self.overflowed {
            return;
        }
        let mut all = Vec::with_capacity(self.len());
        for run in self.runs.drain(..) {
            all.extend(run.into_iter().filter(|(_, slot)| alive(*slot)));
        }
        all.sort_unstable();
        all.shrink_to_fit();
        self.runs.push(all);
    }

    /// Slots that may own a path, each once, the last entered first.
    pub(super) fn slots(&self, path: &[u8]) -> Vec<Slot> {
        let hash = hash(&self.key, path);
        let mut slots = Vec::new();
        for run in &self.runs {
            let begin = run.partition_point(|entry| entry.0 < hash);
            let found = run[begin..].iter().take_while(|entry| entry.0 == hash).map(|entry| entry.1);
            slots.extend(found);
        }
        slots.sort_unstable_by(|a, b| b.cmp(a));
        slots.dedup();
        slots
    }

    /// Entries, also of slots that are no longer alive.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// Whether there were more paths than it takes: then it may answer with too few.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }
}

/// Paths that are about to enter an index.
#[derive(Debug)]
pub(super) struct Entries {
    key: RandomState,
    most: usize,
    of: Vec<(u32, Slot)>,
}

impl Entries {
    /// One more.
    pub(super) fn add(&mut self, path: &[u8], slot: Slot) {
        if self.of.len() <= self.most {
            self.of.push((hash(&self.key, path), slot));
        }
    }
}

fn hash(key: &RandomState, path: &[u8]) -> u32 {
    key.hash_one(path) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_found_in_whatever_run_it_is() {
        let mut index = Index::default();
        let path = |slot: Slot, at: u32| format!("/usr/share/{slot}/{at}").into_bytes();
        for slot in 0..40 {
            let mut entries = index.entries();
            for at in 0..100 {
                entries.add(&path(slot, at), slot);
            }
            entries.add(b"/shared", slot);
            index.extend(entries);
            index.tidy(|slot| slot % 2 == 0 || slot > 30);
        }
        for slot in (0..40).step_by(2) {
            assert!((0..100).all(|at| index.slots(&path(slot, at)).contains(&slot)));
        }
        let shared = index.slots(b"/shared");
        assert!(shared.is_sorted_by(|a, b| a > b) && shared.contains(&39) && !shared.contains(&1));
        // One in 2^32 answers with a slot too many.
        assert!(index.slots(b"/none").is_empty());
    }

    #[test]
    fn too_many_paths_are_told() {
        let mut index = Index { most: 100, ..Index::default() };
        for (slot, told) in [(0, false), (1, true)] {
            let mut entries = index.entries();
            for at in 0..60_u8 {
                entries.add(&[at], slot);
            }
            index.extend(entries);
            assert_eq!((index.overflowed(), index.len() <= 100), (told, true));
        }
    }
}
