//! What the inventory tells becomes findings: what changed while nobody watched.

use jiff::Timestamp;

use super::detector::Detector;
use super::finding::Finding;
use super::rule::Rule;
use super::rules;
use super::rules::techniques::CONTAINER_SERVICE;
use crate::event::baseline::{Baseline, Because, Change, Compared, Difference, Proof};
use crate::event::path::lossy;
use crate::subject::service::{File, Scope, Unit, UnitPart};

/// Odd things of one entry that are told.
const SIGNALS_MAX: usize = 12;

impl Detector {
    /// Takes up what the inventory tells.
    pub fn baseline(&mut self, now: u64, told: Baseline, out: &mut impl FnMut(Finding)) {
        match told {
            Baseline::Sensor { pid } => self.sensor = pid,
            Baseline::Begun(compared) => {
                let sentence = format!(
                    "The baseline of what starts by itself was taken: {} entries, {} of them of no package",
                    compared.entries, compared.unproved
                );
                let mut finding = of(&rules::BASELINE_BEGUN, now, "inventory", sentence);
                finding.reason(0, "on trust: `svcsensor scan` tells what no package explains");
                tell_figures(&mut finding, &compared);
                out(finding);
            }
            Baseline::Compared(compared) => out(compared_finding(now, &compared)),
            Baseline::Difference(difference) => out(difference_finding(now, *difference)),
            Baseline::Tampered { how } => {
                let sentence = format!("The inventory was edited by somebody unseen: {how}");
                out(of(&rules::BASELINE_TAMPERED, now, "inventory", sentence));
            }
            Baseline::Damaged { why, to } => {
                let sentence =
                    format!("The inventory was damaged ({why}), and is now {to}; it is begun anew");
                out(of(&rules::BASELINE_LOST, now, "inventory", sentence));
            }
            Baseline::Unavailable { why } => {
                let sentence =
                    format!("The inventory cannot be used: {why}; what changes unwatched is not noticed");
                out(of(&rules::BASELINE_LOST, now, "inventory", sentence));
            }
        }
    }
}

fn of(rule: &'static Rule, now: u64, subject: &str, sentence: String) -> Finding {
    let mut finding = Finding::new(rule, now, "inventory", subject.to_owned());
    finding.event_type = "info";
    finding.sentence = Some(sentence);
    finding
}

fn tell_figures(finding: &mut Finding, compared: &Compared) {
    if compared.problems > 0 {
        finding.reason(0, format!("{} things could not be looked at", compared.problems));
    }
    if compared.refused > 0 {
        finding.reason(10, format!("the inventory had no room for {} entries", compared.refused));
    }
    if !compared.seal.is_empty() {
        finding.reason(0, format!("the inventory's seal is {}", compared.seal));
    }
}

fn compared_finding(now: u64, compared: &Compared) -> Finding {
    let what = match compared.differences {
        0 => "nothing that starts by itself is another".to_owned(),
        1 => "1 thing that starts by itself is another".to_owned(),
        more => format!("{more} things that start by themselves are another"),
    };
    let sentence = match &compared.because {
        Because::First => what,
        because => format!("{}: {what}", window(because)),
    };
    let mut finding = of(&rules::BASELINE_COMPARED, now, "inventory", sentence);
    match &compared.because {
        Because::Away { clean: false, rebooted, .. } => {
            let how = if *rebooted { "with the machine" } else { "while the machine went on" };
            finding
                .reason(0, format!("the sensor had not been asked to end: it was killed, or crashed, {how}"));
        }
        Because::Away { rebooted: true, .. } => finding.reason(0, "the machine was booted meanwhile"),
        _ => {}
    }
    if compared.told < compared.differences {
        let untold = compared.differences - compared.told;
        finding
            .reason(0, format!("{untold} of them, most of them proved by packages, are not told one by one"));
    }
    tell_figures(&mut finding, compared);
    finding
}

fn difference_finding(now: u64, difference: Difference) -> Finding {
    let rule = match difference.change {
        Change::Added => &rules::BASELINE_ADDED,
        Change::Changed => &rules::BASELINE_CHANGED,
        Change::Removed => &rules::BASELINE_REMOVED,
    };
    let path = lossy(&difference.path).into_owned();
    let (part, noun) = part(&difference.kind);
    let (verb, action, event_type) = match difference.change {
        Change::Added => ("appeared", "inventory_added", "creation"),
        Change::Changed => ("was changed", "inventory_changed", "change"),
        Change::Removed => ("was removed", "inventory_removed", "deletion"),
    };
    let sentence = format!(
        "{noun} {} ({path}) {verb} by somebody unseen. {}",
        difference.name,
        window(&difference.because)
    )
    .replace("appeared by", "was made by");
    let mut finding = Finding::new(rule, now, action, path.clone());
    finding.event_type = event_type;
    finding.sentence = Some(sentence);
    let scope = if difference.user.is_some() { Scope::User } else { Scope::System };
    finding.unit = Some(Unit::new(difference.name, part, scope));
    if matches!(part, UnitPart::EngineState | UnitPart::Quadlet | UnitPart::StaticPod) {
        finding.also = &[CONTAINER_SERVICE];
    }
    finding.file = Some(File {
        path,
        target: difference.target.map(|target| lossy(&target).into_owned()),
        mode: difference.mode,
        uid: difference.uid,
        ..File::default()
    });
    finding.content_sha256 = difference.sha256;
    let removed = difference.change == Change::Removed;
    // Files of packages in those places come and go with every installation.
    if part == UnitPart::Other && !removed {
        finding.reason(-20, "it is neither a unit nor a container");
    }
    if part == UnitPart::EngineState && removed {
        finding.reason(-20, "containers come and go");
    }
    let proved = match difference.proof {
        Proof::Proved { package } if !removed => {
            finding.reason(-40, format!("its content is that of package {package}"));
            true
        }
        Proof::Proved { package } | Proof::Claimed { package } => {
            finding.reason(0, format!("it is of package {package}"));
            false
        }
        Proof::Configuration { package } => {
            finding
                .reason(-20, format!("package {package} brings it as configuration, which may be changed"));
            false
        }
        Proof::Modified { package } => {
            finding.reason(10, format!("package {package} brings it with another content"));
            false
        }
        Proof::Unowned if !removed => {
            finding.reason(10, "no package brings it");
            false
        }
        Proof::Unowned | Proof::Unknown => false,
    };
    for detail in difference.details {
        finding.reason(0, detail);
    }
    // What a package brings is odd as often as not.
    for signal in difference.signals.into_iter().filter(|_| !removed).take(SIGNALS_MAX) {
        finding.reason(if proved { 0 } else { signal.points }, signal.text);
    }
    finding
}

/// When nobody watched, and why.
fn window(because: &Because) -> String {
    let between = |since: i64, until: i64| format!("between {} and {}", moment(since), moment(until));
    match because {
        Because::First => "Nobody watched".to_owned(),
        Because::Away { since_ns, until_ns, .. } => {
            format!("Nobody watched {}", between(*since_ns, *until_ns))
        }
        Because::Loss { since_ns, until_ns } => {
            format!("Records were lost {}", between(*since_ns, *until_ns))
        }
    }
}

/// To the second, in UTC (RFC 3339).
pub(super) fn moment(ns: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(moment) => moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => "?".to_owned(),
    }
}

fn part(kind: &str) -> (UnitPart, &'static str) {
    match kind {
        "unit" => (UnitPart::Fragment, "Unit"),
        "drop-in" => (UnitPart::DropIn, "Drop-in"),
        "link" => (UnitPart::DependencyLink, "Link"),
        "generator" => (UnitPart::Generator, "Generator"),
        "init-script" => (UnitPart::InitScript, "Init script"),
        "container" => (UnitPart::EngineState, "Container"),
        "quadlet" => (UnitPart::Quadlet, "Quadlet"),
        "static-pod" => (UnitPart::StaticPod, "Static pod"),
        _ => (UnitPart::Other, "File"),
    }
}
