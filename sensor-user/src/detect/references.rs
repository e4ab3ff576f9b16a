//! Units that start one another because their text says so: a unit that another names needs no link to be started, and a
//! drop-in that names one starts it with a unit that was never suspicious.

use super::detector::Detector;
use super::finding::Finding;
use super::units::{CHANGES_TOLD, Manager, points, weigh};
use crate::event::path::lossy;
use crate::subject::unit::change::{Aspect, changes, shown};
use crate::subject::unit::effective::{Effective, State};
use crate::subject::unit::refer::{Reference, names};
use crate::subject::unit::signals::Weight;
use crate::subject::unit::signals::unit::signals;

/// Units that are told to start a changed one.
const STARTERS_TOLD: usize = 4;
/// Units that a changed one starts, of which it is told what they run; and commands of each.
const STARTED_TOLD: usize = 4;
const COMMANDS_TOLD: usize = 3;
/// Units that one names, at most, to be compared with those that it named before.
const NAMED_MAX: usize = 256;

impl Detector {
    /// Says what has become of a unit, what starts it, and what those run that it starts from now on.
    pub(super) fn weigh_unit(
        &mut self,
        now: u64,
        finding: &mut Finding,
        manager: &Manager,
        before: Option<&Effective>,
        after: &Effective,
    ) {
        weigh(finding, before, after, self.units.packaged());
        let mut told = Vec::new();
        let new = before.is_none_or(|before| before.state == State::Missing);
        let runs = changes(before, Some(after))
            .iter()
            .any(|change| matches!(change.aspect(), Aspect::Existence | Aspect::What));
        if runs && after.state != State::Missing {
            let starters = self.units.started_by(manager, after, STARTERS_TOLD);
            if new {
                told.extend(starters);
            } else {
                for starter in starters {
                    finding.reason(0, format!("{} {starter}", lossy(&after.name)));
                }
            }
        }
        let known = before.map(|before| names(before, NAMED_MAX)).unwrap_or_default();
        let mut added = names(after, NAMED_MAX);
        added.retain(|reference| !known.iter().any(|known| known.unit == reference.unit));
        added.dedup_by(|a, b| a.unit == b.unit);
        for reference in added.iter().filter(|reference| reference.unit != after.name).take(STARTED_TOLD) {
            if self.budget.has_left(now) {
                self.weigh_started(now, finding, manager, reference, &mut told);
            }
        }
        if let Some(unit) = &mut finding.unit {
            unit.changes.truncate(CHANGES_TOLD.saturating_sub(told.len()));
            unit.changes.extend(told);
        }
    }

    /// Says what a unit runs that another one starts.
    fn weigh_started(
        &mut self,
        now: u64,
        finding: &mut Finding,
        manager: &Manager,
        reference: &Reference,
        told: &mut Vec<String>,
    ) {
        let Some(unit) = self.units.effective(manager, &reference.unit) else { return };
        self.budget.charge(now, &unit);
        let name = lossy(&reference.unit);
        let runs = unit.commands.iter().filter(|run| run.key.name().starts_with("ExecStart"));
        told.extend(runs.take(COMMANDS_TOLD).map(|run| format!("{name} runs {}", shown(&run.command))));
        if unit.state == State::Missing {
            told.push(format!("of {name} there is no unit file"));
        }
        // What is only odd is that unit's own affair.
        let strong = signals(&unit, self.units.packaged()).into_iter();
        for signal in strong.filter(|signal| signal.weight >= Weight::Strong).take(STARTED_TOLD) {
            finding.reason(points(signal.weight), format!("{name}: {}", signal.why));
            if let Some(unit) = finding.unit.as_mut().filter(|unit| !unit.signals.contains(&signal.slug)) {
                unit.signals.push(signal.slug);
            }
        }
    }
}
