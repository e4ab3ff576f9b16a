//! What changed files may cost. To put a unit together from all its files is the dearest thing that an alert needs, and
//! anyone who may write to a unit directory could ask for it ten thousand times a second.

use crate::subject::unit::effective::Effective;

/// Units with few files that can be put together at once.
const MAX: u64 = 256;
/// And in each second after that.
const PER_SECOND: u64 = 64;
/// So many files and names of a unit cost as much as one unit more.
const PARTS: usize = 8;

/// A bucket that fills with the time of the records, so that a replay decides as the live run did.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Time at which the bucket would have been empty, had nothing been taken since.
    empty_at: u64,
    exceeded: u64,
}

const UNIT_NS: u64 = 1_000_000_000 / PER_SECOND;

impl Budget {
    /// Whether something is left at `now`, in nanoseconds.
    pub(super) fn has_left(&mut self, now: u64) -> bool {
        let left = now.saturating_add(MAX * UNIT_NS) > self.empty_at;
        self.exceeded += u64::from(!left);
        left
    }

    /// Takes what a unit costs.
    pub(super) fn charge(&mut self, now: u64, unit: &Effective) {
        self.take(now, unit.files.len() + unit.aliases.len());
    }

    /// Takes what so many files and names cost.
    pub(super) fn take(&mut self, now: u64, parts: usize) {
        let cost = 1 + (parts / PARTS) as u64;
        self.empty_at = self.empty_at.max(now).saturating_add(cost * UNIT_NS);
    }

    /// How often nothing was left.
    pub(super) fn exceeded(&self) -> u64 {
        self.exceeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_a_rate() {
        let mut budget = Budget::default();
        let mut spend = |now| {
            let left = budget.has_left(now);
            if left {
                budget.take(now, 2);
            }
            left
        };
        assert_eq!((0..1000).filter(|_| spend(5)).count() as u64, MAX);
        assert_eq!((0..1000).filter(|_| spend(1_000_000_005)).count() as u64, PER_SECOND);
        assert_eq!((0..1000).filter(|_| spend(1_000_000_000_000)).count() as u64, MAX);
        assert!(budget.exceeded() > 0);
    }

    #[test]
    fn many_files_cost_more() {
        let mut budget = Budget::default();
        let mut units = 0;
        while budget.has_left(1) {
            budget.take(1, 256);
            units += 1;
        }
        assert!(units < 10, "{units}");
    }
}
