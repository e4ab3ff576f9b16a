//! Alerts that somebody told to expect: kept, and lowered to info.

use std::collections::BTreeMap;

use glob::{MatchOptions, Pattern};

use super::alert::Approved;
use super::held::Incident;
use super::proving::Outcome;
use crate::detect::score::{self, Reason};
use crate::event::approval::{Approval, Approvals, Source};

/// What is approved, and how often it was met.
#[derive(Debug, Default)]
pub(super) struct Known {
    approvals: Vec<(Approval, Option<Pattern>)>,
    matched: BTreeMap<String, u64>,
}

/// A score that is info (`score::base` of it).
const INFO: i16 = 10;

/// The key under which all but exceptions are counted: of those there may be any number.
const APPROVED: &str = "approve";

impl Known {
    pub(super) fn set(&mut self, approvals: Approvals) {
        let told = approvals.approvals.into_iter().filter_map(|approval| {
            // One whose pattern makes no sense matches nothing.
            let pattern = approval.when.path.as_deref().map(Pattern::new).transpose().ok()?;
            (!approval.when.is_empty()).then_some((approval, pattern))
        });
        self.approvals = told.collect();
        for (approval, _) in &self.approvals {
            self.matched.entry(counted(approval)).or_default();
        }
    }

    /// How often each exception was met, by its name; approvals are counted together.
    pub(super) fn matched(&self) -> &BTreeMap<String, u64> {
        &self.matched
    }

    /// Lowers an incident that was to be expected at `now_ns`, nanoseconds since 1970.
    pub(super) fn apply(&mut self, incident: &mut Incident, now_ns: i64) {
        if self.approvals.is_empty() || incident.approved.is_some() {
            return;
        }
        let found = self.approvals.iter().find(|(approval, pattern)| {
            approval.expires_ns.is_none_or(|expires| now_ns < expires)
                && matches(approval, pattern.as_ref(), incident)
        });
        let Some((approval, _)) = found else { return };
        if let Some(count) = self.matched.get_mut(&counted(approval)) {
            *count += 1;
        }
        let by = approval.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let how = if approval.source == Source::Exception { "excepted as" } else { "approved as" };
        let mut text = format!("{how} {}{by}: {}", approval.name, approval.reason);
        let mut excess = incident.reasons.iter().map(|reason| i16::from(reason.points)).sum::<i16>() - INFO;
        // A part of the score has at most 128 points.
        while excess > 0 {
            let points = excess.min(i16::from(i8::MAX));
            excess -= points;
            incident
                .reasons
                .push(Reason { points: i8::try_from(-points).unwrap_or(i8::MIN), text: text.clone() });
            "approved as well".clone_into(&mut text);
        }
        debug_assert!(score::sum(&incident.reasons) <= 10);
        incident.approved = Some(Box::new(Approved {
            name: approval.name.clone(),
            source: approval.source,
            by: approval.by.clone(),
            reason: approval.reason.clone(),
            expires_ns: approval.expires_ns,
        }));
    }
}

fn counted(approval: &Approval) -> String {
    if approval.source == Source::Exception { approval.name.clone() } else { APPROVED.to_owned() }
}

fn matches(approval: &Approval, pattern: Option<&Pattern>, incident: &Incident) -> bool {
    let (finding, when) = (&incident.finding, &approval.when);
    let same = |wanted: &Option<String>, is: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| is.is_some_and(|is| is == wanted))
    };
    // A `*` stays in its component, and a dot at a name's beginning is as good as any letter.
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    let path = finding.file.as_ref().map(|file| file.path.as_str());
    // What is mapped for writing can become another after it was read.
    let content = finding
        .content_sha256
        .as_deref()
        .filter(|_| !incident.actions.contains(&"file_mmap_write") && finding.event_type != "deletion");
    let wanted = when.sha256.as_ref().map(|digest| digest.to_ascii_lowercase());
    let told = incident.proof.as_deref().filter(|told| told.outcome == Outcome::Proved);
    let package = told.and_then(|told| told.package.as_ref());
    let packaged = |wanted: &String| {
        package.is_some_and(|is| *wanted == is.name || *wanted == format!("{} {}", is.name, is.version))
    };
    when.package.as_ref().is_none_or(packaged)
        && pattern.is_none_or(|pattern| path.is_some_and(|path| pattern.matches_with(path, options)))
        && same(&when.unit, finding.unit.as_ref().map(|unit| unit.name.as_str()))
        && same(&wanted, content)
        && same(&when.rule, Some(finding.rule.id))
        && same(&when.exe, finding.who.map(|_| incident.actor.process.executable.as_str()))
        && same(&when.image, finding.container_service.as_ref().and_then(|service| service.image.as_deref()))
}
