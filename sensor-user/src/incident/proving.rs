//! From what package databases say to what an incident is: proved, or why not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::held::Incident;
use super::pending::PROGRAMS_MAX;
use crate::detect::managers::{Identity, Standing};
use crate::detect::{rules, score};
use crate::event::path::lossy;
use crate::event::proof::{Proof, is_directory};
use crate::proof::package::{Manager, Package, Verdict};

/// Where packages put programs. One that is missing there is another package's, which is not installed: units name such.
const PACKAGED: [&[u8]; 6] =
    [b"/usr/bin/", b"/usr/sbin/", b"/usr/lib/", b"/bin/", b"/sbin/", b"/usr/libexec/"];

/// The least score of medium severity.
const FROM_MEDIUM: u8 = 40;

/// How a change stands to known software.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The package manager made it, and it is what the package says it is.
    Proved,
    /// The same, but no sound package has such a thing.
    Doubted,
    /// A package manager had it made, and no package accounts for it.
    Unproved,
    /// What made it looks like a package manager, and is none.
    Imitated,
    /// It could not be had in time.
    Overdue,
}

impl Outcome {
    /// All of them, in the order of their figures.
    pub const ALL: [Self; 5] = [Self::Proved, Self::Doubted, Self::Unproved, Self::Imitated, Self::Overdue];

    /// For metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Doubted => "doubted",
            Self::Unproved => "unproved",
            Self::Imitated => "imitated",
            Self::Overdue => "overdue",
        }
    }
}

/// What an alert says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// How it stands.
    pub outcome: Outcome,
    /// The package that the file is of, if any.
    pub package: Option<Package>,
    /// The file's SHA-256, if it was read.
    pub sha256: Option<String>,
    /// The uppermost package manager's process, and its command line.
    pub pid: u32,
    /// Its command line, or the beginning of that.
    pub command: String,
    /// The maintainer script that acted.
    pub script: Option<String>,
    /// Of which package that is.
    pub script_package: Option<Package>,
}

/// What an incident comes to, and parts of its score with their points.
pub(super) type Judged = (Told, Vec<(i8, String)>);

/// What is known when an incident is looked at.
pub(super) struct Known<'a> {
    /// The answers, by path.
    pub(super) proofs: &'a BTreeMap<Vec<u8>, Proof>,
    /// The transaction.
    pub(super) standing: &'a Standing,
    /// Nothing later can change what the databases say.
    pub(super) settled: bool,
    /// The time is up.
    pub(super) overdue: bool,
    /// Databases that prove nothing any more.
    pub(super) distrusted: &'a BTreeMap<Manager, String>,
}

/// What an incident comes to; `None` where that cannot be said yet.
pub(super) fn judge(incident: &Incident, known: &Known<'_>) -> Option<Judged> {
    let finding = &incident.finding;
    let transaction = finding.transaction.as_deref()?;
    let file = finding.file.as_ref()?;
    let proof = known.proofs.get(file.path.as_bytes());
    let script = transaction.script.as_deref();
    let script_proof = script.and_then(|path| known.proofs.get(path));
    let mut told = Told {
        outcome: Outcome::Unproved,
        package: proof.and_then(owner).cloned(),
        sha256: proof.and_then(|proof| proof.object.as_ref()?.sha256.clone()),
        pid: transaction.top.0,
        command: transaction.command.clone(),
        script: script.map(|path| lossy(path).into_owned()),
        script_package: script_proof.and_then(owner).cloned(),
    };
    let manager = match &known.standing.identity {
        Identity::Unknown if known.overdue => None,
        Identity::Unknown => return None,
        Identity::Refused(why) => {
            told.outcome = Outcome::Imitated;
            told.package = None;
            return Some((
                told,
                vec![(10, format!("what made it is called a package manager and is not proved one: {why}"))],
            ));
        }
        Identity::Proved(package) => Some(package),
    };
    if finding.rule.id == rules::PACKAGE_DATABASE_EDITED.id {
        if let Some(manager) = manager.filter(|_| transaction.direct) {
            told.outcome = Outcome::Proved;
            return Some((told, vec![(0, format!("{} wrote its own database", manager.name))]));
        }
        let text = match manager {
            Some(manager) => by_whom(manager, &told),
            None => "it was not found out in time whether a package manager did it".to_owned(),
        };
        return Some((told, vec![(0, text)]));
    }
    let (Some(manager), Some(proof)) = (manager, proof) else {
        if !known.overdue {
            return None;
        }
        told.outcome = Outcome::Overdue;
        let why = "whether it is a package's could not be found out in time".to_owned();
        return Some((told, vec![(0, why)]));
    };
    // Of what weighs little, an unproved origin makes nothing that somebody must look at.
    let points = if score::sum(&incident.reasons) < FROM_MEDIUM { 0 } else { 10 };
    let by = by_whom(manager, &told);
    let accounts = match masked(incident, known.proofs, told.script_package.as_ref()) {
        Some(package) => Ok(package.clone()),
        None => explained(proof, finding.event_type == "deletion"),
    };
    let counts = accounts.as_ref().ok().or(told.package.as_ref());
    if let Some(why) = counts.and_then(|package| known.distrusted.get(&package.manager)) {
        told.package = None;
        let why = format!("the package database proves nothing any more: {why}");
        return Some((told, vec![(points, why)]));
    }
    let why = match accounts {
        Ok(package) => {
            // What it does is not known yet.
            if finding.awaits_content {
                told.outcome = Outcome::Overdue;
                let why = "what it says could not be read in time".to_owned();
                return known.overdue.then_some((told, vec![(0, why)]));
            }
            let unasked = |path: &Vec<u8>| !known.proofs.contains_key(path);
            if finding.programs.iter().take(PROGRAMS_MAX).any(unasked) && !known.overdue {
                return None;
            }
            let programs = foreign_programs(incident, known.proofs);
            // A program may be of a package whose turn is still to come.
            if finding.doubts.is_empty() && !programs.is_empty() && !known.settled && !known.overdue {
                return None;
            }
            // What is suspicious is among the reasons already.
            let doubts: Vec<(i8, String)> =
                finding.doubts.iter().map(|why| (0, why.clone())).chain(programs).collect();
            let is = is_what(proof, &package);
            told.package = Some(package);
            if doubts.is_empty() {
                told.outcome = Outcome::Proved;
                return Some((told, vec![(0, format!("{is}, and {by}"))]));
            }
            told.outcome = Outcome::Doubted;
            let mut reasons = vec![(0, format!("{is}, but no package excuses what it does"))];
            reasons.extend(doubts);
            return Some((told, reasons));
        }
        // dpkg renames files before it writes down of which package they are, and scripts run when all is written.
        Err(unexplained) if known.settled || unexplained.last && !transaction.direct => unexplained.why,
        Err(unexplained) if known.overdue => {
            told.outcome = Outcome::Overdue;
            unexplained.why
        }
        Err(_) => return None,
    };
    Some((told, vec![(points, format!("{by}, and {why}"))]))
}

fn by_whom(manager: &Package, told: &Told) -> String {
    let script = told.script.as_ref().map(|script| match &told.script_package {
        Some(package) => format!("{script} of {} {}", package.name, package.version),
        None => script.clone(),
    });
    match script {
        Some(script) => {
            format!("maintainer script {script} made it, run by {} {}", manager.name, manager.version)
        }
        None => format!("{} {} had it made", manager.name, manager.version),
    }
}

/// Of which package a path is, or was.
fn owner(proof: &Proof) -> Option<&Package> {
    of(&proof.verdict).or(proof.former.as_ref())
}

fn of(verdict: &Verdict) -> Option<&Package> {
    match verdict {
        Verdict::Proved { package } | Verdict::Modified { package, .. } | Verdict::Claimed { package } => {
            Some(package)
        }
        Verdict::Unowned | Verdict::Unknown { .. } => None,
    }
}

/// The unit that a mask takes out of service, where its package would have it.
pub(super) fn masked_unit(incident: &Incident) -> Option<Vec<u8>> {
    let unit = incident.finding.unit.as_ref()?;
    let masks = incident.finding.rule.id == rules::UNIT_MASKED.id && !unit.name.contains('/');
    masks.then(|| format!("/usr/lib/systemd/system/{}", unit.name).into_bytes())
}

/// The package that brings a mask, or whose own maintainer script has masked a unit of the package, or one that is no more: deb-systemd-helper(1)
/// does so when a package is removed and not purged.
fn masked<'a>(
    incident: &Incident,
    proofs: &'a BTreeMap<Vec<u8>, Proof>,
    script: Option<&'a Package>,
) -> Option<&'a Package> {
    let unit = masked_unit(incident)?;
    // A package may bring a mask, as sudo does. dpkg's books have the link, and not where it leads to.
    let finding = &incident.finding;
    let mask = proofs.get(finding.file.as_ref()?.path.as_bytes())?;
    if let (Verdict::Claimed { package }, true) = (&mask.verdict, finding.transaction.as_ref()?.direct) {
        return Some(package);
    }
    let (package, unit) = (script?, proofs.get(&unit)?);
    let own = owner(unit).is_some_and(|owner| owner.name == package.name);
    (own || unit.object.is_none() && unit.verdict == Verdict::Unowned).then_some(package)
}

/// Why nothing accounts for a file.
struct Unexplained {
    why: String,
    /// It will not change while the transaction goes on, unless the package manager itself made the file.
    last: bool,
}

/// The package that accounts for what is there.
fn explained(proof: &Proof, removal: bool) -> Result<Package, Unexplained> {
    if proof.object.is_none() && removal {
        return owner(proof)
            .cloned()
            .ok_or_else(|| Unexplained { why: "it was of no package".to_owned(), last: true });
    }
    let mode = proof.object.as_ref().map_or(0, |object| object.mode);
    match &proof.verdict {
        Verdict::Proved { package } => return Ok(package.clone()),
        // There is no more to a directory than that it is there; what is in it is looked at by itself.
        Verdict::Claimed { package } if is_directory(mode) => return Ok(package.clone()),
        _ => {}
    }
    if let Some(end) = &proof.end {
        return match &end.verdict {
            Verdict::Proved { package } => Ok(package.clone()),
            Verdict::Claimed { package } if is_directory(end.mode) => Ok(package.clone()),
            other => Err(unexplained(other, &format!("{}, which it leads to,", lossy(&end.path)))),
        };
    }
    if proof.object.is_none() {
        let why = "it is gone already".to_owned();
        return Err(Unexplained { why, last: true });
    }
    Err(unexplained(&proof.verdict, "it"))
}

fn unexplained(verdict: &Verdict, what: &str) -> Unexplained {
    let (why, last) = match verdict {
        Verdict::Modified { package, config: true } => (
            format!("{what} is not configuration as package {} {} has it", package.name, package.version),
            false,
        ),
        Verdict::Modified { package, .. } => {
            (format!("{what} is not what package {} {} says it is", package.name, package.version), false)
        }
        Verdict::Claimed { package } => {
            (format!("package {} {} does not say what {what} must be", package.name, package.version), false)
        }
        Verdict::Unknown { reason } => {
            (format!("nobody can say of which package {what} is: {reason}"), false)
        }
        Verdict::Proved { .. } | Verdict::Unowned => (format!("{what} is of no package"), true),
    };
    Unexplained { why, last }
}

fn is_what(proof: &Proof, package: &Package) -> String {
    let name = format!("package {} {} ({})", package.name, package.version, package.architecture);
    match (&proof.end, &proof.object) {
        (_, None) => format!("it was {name}'s"),
        (Some(end), _) if !matches!(proof.verdict, Verdict::Proved { .. }) => {
            format!("it leads to {}, which is as {name} has it", lossy(&end.path))
        }
        _ => format!("it is as {name} has it"),
    }
}

/// Programs that no package accounts for, among those that a unit runs.
fn foreign_programs(incident: &Incident, proofs: &BTreeMap<Vec<u8>, Proof>) -> Vec<(i8, String)> {
    let foreign = |path: &Vec<u8>| {
        let proof = proofs.get(path)?;
        let accounted =
            |verdict: &Verdict| matches!(verdict, Verdict::Proved { .. } | Verdict::Claimed { .. });
        if accounted(&proof.verdict) || proof.end.as_ref().is_some_and(|end| accounted(&end.verdict)) {
            return None;
        }
        let packaged = PACKAGED.iter().any(|at| path.starts_with(at));
        let path = lossy(path);
        match (&proof.object, &proof.verdict) {
            (None, _) if packaged => None,
            (None, _) => Some((10, format!("it runs {path}, which is not there"))),
            (_, Verdict::Modified { package, config: false }) => {
                Some((15, format!("it runs {path}, which is not what package {} says it is", package.name)))
            }
            // Scripts among configuration are the administrator's to change.
            (_, Verdict::Modified { .. }) => None,
            _ => Some((15, format!("it runs {path}, which is of no package"))),
        }
    };
    incident.finding.programs.iter().filter_map(foreign).collect()
}
