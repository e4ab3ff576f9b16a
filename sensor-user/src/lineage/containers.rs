//! Containers by their ids: what their engines' files called them, kept past their end.
//!
//! A container is identified when its control group appears, and may be gone a moment later, files and all; alerts about
//! what it did can follow. So entries leave by age, not at the container's end.

use std::collections::{HashMap, VecDeque};

use super::actor::ContainerIdentity;
use super::clock::ClockTable;

/// Control groups without an id in their path whose container is known otherwise.
const GROUPS_MAX: usize = 1024;
/// What a box takes beside what is in it.
const BOX_BYTES: usize = size_of::<ContainerIdentity>() + 16;

/// The table, bounded by number and bytes. An entry that was asked for since its turn came last gets another one.
#[derive(Debug)]
pub struct Containers {
    known: ClockTable<String, Box<ContainerIdentity>>,
    groups: HashMap<u64, Named>,
    groups_by_age: VecDeque<u64>,
}

#[derive(Debug)]
struct Named {
    id: String,
    runtime: &'static str,
}

impl Containers {
    /// For at most `entries` containers (at least one) and about `byte_limit` bytes.
    pub fn new(entries: usize, byte_limit: usize) -> Self {
        Self {
            known: ClockTable::new(entries, byte_limit),
            groups: HashMap::new(),
            groups_by_age: VecDeque::new(),
        }
    }

    /// Notes what a container is; an empty identity is noted too: nobody needs to ask again.
    pub fn insert(&mut self, id: &str, identity: ContainerIdentity) {
        let heap = BOX_BYTES + 2 * id.len() + identity.heap_bytes();
        self.known.insert(id.to_owned(), Box::new(identity), heap);
    }

    /// Whether the container was looked up, with whatever result.
    pub fn is_known(&self, id: &str) -> bool {
        self.known.get(id).is_some()
    }

    /// What a container is; `None` where that is not known. It gets another turn before it leaves.
    pub fn identity(&mut self, id: &str) -> Option<&ContainerIdentity> {
        self.known.touch(id).map(|identity| &**identity).filter(|identity| !identity.is_empty())
    }

    /// Notes that a control group, whose path has no id, is that of a container.
    pub fn name_group(&mut self, cgroup_id: u64, id: &str, runtime: &'static str) {
        if self.groups.insert(cgroup_id, Named { id: id.to_owned(), runtime }).is_none() {
            self.groups_by_age.push_back(cgroup_id);
        }
        if self.groups_by_age.len() > GROUPS_MAX {
            if let Some(oldest) = self.groups_by_age.pop_front() {
                self.groups.remove(&oldest);
            }
        }
    }

    /// The container, and the runtime that made it, of a control group that was so noted.
    pub fn of_group(&self, cgroup_id: u64) -> Option<(&str, &'static str)> {
        self.groups.get(&cgroup_id).map(|named| (named.id.as_str(), named.runtime))
    }

    /// Containers known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.len() == 0
    }

    /// The bound of [`Self::len`].
    pub fn capacity(&self) -> usize {
        self.known.capacity()
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.known.bytes()
    }

    /// Containers that left for want of room.
    pub fn evicted(&self) -> u64 {
        self.known.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> ContainerIdentity {
        ContainerIdentity { name: Some(name.to_owned()), ..ContainerIdentity::default() }
    }

    #[test]
    fn the_table_is_bounded_by_number_and_keeps_what_is_asked_for() {
        let mut containers = Containers::new(100, 1 << 20);
        containers.insert("web", named("web"));
        for number in 0..2000 {
            assert!(containers.identity("web").is_some());
            containers.insert(&number.to_string(), named("x"));
        }
        assert_eq!((containers.len(), containers.evicted()), (100, 1901));
        assert!(containers.is_known("1999") && !containers.is_known("3"));
    }

    #[test]
    fn the_table_is_bounded_by_bytes_and_counts_what_is_replaced_once() {
        let mut containers = Containers::new(1000, 100_000);
        for _ in 0..50 {
            containers.insert("same", named(&"x".repeat(400)));
        }
        let one = containers.bytes();
        assert!((400..1000).contains(&one), "{one}");
        for number in 0..1000 {
            containers.insert(&number.to_string(), named(&"x".repeat(400)));
        }
        assert!(containers.bytes() <= 100_000 && containers.len() > 50, "{}", containers.len());
    }

    #[test]
    fn one_that_says_nothing_is_known_all_the_same() {
        let mut containers = Containers::new(10, 10_000);
        containers.insert("gone", ContainerIdentity::default());
        assert!(containers.is_known("gone") && containers.identity("gone").is_none());
    }

    #[test]
    fn groups_are_named_and_bounded() {
        let mut containers = Containers::new(10, 10_000);
        for group in 0..2 * GROUPS_MAX as u64 {
            containers.name_group(group, "by-hand", "runc");
        }
        assert_eq!(containers.of_group(0), None);
        assert_eq!(containers.of_group(2 * GROUPS_MAX as u64 - 1), Some(("by-hand", "runc")));
        assert_eq!(containers.groups.len(), GROUPS_MAX);
    }
}
