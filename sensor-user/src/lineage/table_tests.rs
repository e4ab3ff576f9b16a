use proptest::prelude::*;

use super::*;

fn ignore(_: ImageId) {}

fn chain(table: &Table, mut at: Handle) -> Vec<u32> {
    let mut tgids = vec![table.get(at).expect("held").tgid];
    while let Some(parent) = table.parent(at) {
        tgids.push(table.get(parent).expect("held").tgid);
        at = parent;
        assert!(tgids.len() <= 1000, "a circle");
    }
    tgids
}

#[test]
fn a_snapshots_tick_and_the_kernels_nanoseconds_are_one_process() {
    let mut table = Table::new(10, 10);
    let handle = table.insert(Entry::new(7, 1_230_000_000), None, &mut ignore);
    assert_eq!(table.find(7, 1_234_567_890), Some(handle));
    assert_eq!(table.find(7, 1_240_000_000), None);
    assert_eq!(table.find(8, 1_230_000_000), None);
}

#[test]
fn lineage_outlives_the_parents_end() {
    let mut table = Table::new(10, 2);
    let init = table.insert(Entry::new(1, 0), None, &mut ignore);
    let shell = table.insert(Entry::new(2, TICK_NS), Some(init), &mut ignore);
    let child = table.insert(Entry::new(3, 2 * TICK_NS), Some(shell), &mut ignore);
    table.end(shell, 5, &mut ignore);
    for tgid in 100..110 {
        let other = table.insert(Entry::new(tgid, 0), Some(init), &mut ignore);
        table.end(other, 6, &mut ignore);
    }
    assert_eq!(chain(&table, child), [3, 2, 1]);
    // With the child the parent joins the ended, and leaves in its turn.
    table.end(child, 7, &mut ignore);
    assert_eq!(chain(&table, child), [3, 2, 1]);
    assert_eq!(table.len(), 4);
    for tgid in 200..204 {
        let other = table.insert(Entry::new(tgid, 0), Some(init), &mut ignore);
        table.end(other, 8, &mut ignore);
    }
    assert!(table.get(child).is_none() && table.get(shell).is_none());
    assert_eq!(table.evicted(), 0);
}

#[test]
fn a_reused_slot_is_another_process() {
    let mut table = Table::new(10, 0);
    let first = table.insert(Entry::new(5, 0), None, &mut ignore);
    table.end(first, 1, &mut ignore);
    let second = table.insert(Entry::new(6, 0), None, &mut ignore);
    assert_eq!(first.slot, second.slot);
    assert!(table.get(first).is_none());
    assert_eq!(table.get(second).expect("held").tgid, 6);
}

#[test]
fn a_long_row_of_ended_ancestors_is_shortened_and_says_so() {
    let mut table = Table::new(100_000, 16);
    let init = table.insert(Entry::new(1, 0), None, &mut ignore);
    let mut at = table.insert(Entry::new(2, 0), Some(init), &mut ignore);
    for tgid in 3..50_000 {
        let child = table.insert(Entry::new(tgid, u64::from(tgid)), Some(at), &mut ignore);
        table.shorten(at, &mut ignore);
        table.end(at, u64::from(tgid), &mut ignore);
        at = child;
    }
    let chain = chain(&table, at);
    assert!(chain.len() <= ENDED_RUN + 4, "{}", chain.len());
    assert_eq!(chain.last(), Some(&1));
    assert!(table.len() <= ENDED_RUN + 20, "{}", table.len());
    assert!(table.spliced() > 49_000);
}

#[test]
fn room_is_made_among_childless_processes_not_seen_lately() {
    let mut table = Table::new(8, 0);
    let init = table.insert(Entry::new(1, 0), None, &mut ignore);
    let mut gone = 0;
    for tgid in 2..100 {
        table.insert(Entry::new(tgid, 0), Some(init), &mut |_| gone += 1);
        let _ = table.get_mut(init);
    }
    assert_eq!(table.len(), 8);
    assert_eq!((table.evicted(), gone), (91, 91));
    assert!(table.find(1, 0).is_some());
    assert!(table.find(99, 0).is_some());
}

#[test]
fn a_hundred_thousand_processes_stay_below_15_mib() {
    let mut table = Table::new(100_000, 0);
    let init = table.insert(Entry::new(1, 0), None, &mut ignore);
    for tgid in 2..=100_000 {
        table.insert(Entry::new(tgid, 0), Some(init), &mut ignore);
    }
    assert_eq!((table.len(), table.evicted()), (100_000, 0));
    assert!(table.bytes() < 15 << 20, "{}", table.bytes());
}

proptest! {
    #[test]
    fn any_order_of_events_keeps_the_bounds(
        steps in proptest::collection::vec((0..4u8, 1..40u32, 1..40u32), 1..400),
    ) {
        let mut table = Table::new(6, 3);
        let (mut entered, mut left) = (0usize, 0usize);
        for (now, (what, tgid, other)) in steps.into_iter().enumerate() {
            let parent = table.find(other, 0);
            let known = table.find(tgid, 0);
            match (what, known) {
                (0 | 1, None) => {
                    table.insert(Entry::new(tgid, 0), parent, &mut |_| left += 1);
                    entered += 1;
                }
                (2, Some(handle)) => table.end(handle, now as u64, &mut |_| left += 1),
                (3, Some(handle)) => {
                    if let Some(parent) = parent {
                        table.adopt(handle, parent);
                    }
                    table.shorten(handle, &mut |_| left += 1);
                }
                _ => {}
            }
            prop_assert!(table.len() <= table.capacity());
            prop_assert_eq!(table.len(), entered - left);
            let children: u32 =
                table.slots.iter().filter(|entry| !entry.has(FREE)).map(|entry| entry.children).sum();
            let parents = table
                .slots
                .iter()
                .filter(|entry| !entry.has(FREE) && table.get(entry.parent).is_some())
                .count();
            prop_assert_eq!(children as usize, parents);
        }
    }
}
