//! The answer as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::Answer;
use crate::audit::{Risk, posture};
use crate::detect::rule::Severity;
use crate::event::path::lossy;
use crate::proof::inventory::survey::Problem;
use crate::proof::inventory::{Entry, Kind};
use crate::proof::package::{Package, Verdict};

/// Version of the document: a higher second number adds, a higher first one changes what was there.
pub const SCHEMA_VERSION: &str = "1.0";

/// JSON schema of the document (draft 2020-12), generated from these types.
pub const SCHEMA: &str = include_str!("../../../assets/scan.schema.json");

/// What `svcsensor scan --output json` writes.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "svcsensor scan"))]
pub struct Document {
    /// Version of this form.
    schema_version: &'static str,
    /// When, RFC 3339.
    #[serde(rename = "@timestamp")]
    timestamp: String,
    /// Below which directory.
    root: String,
    /// How much there is, and how much of it is proved.
    summary: Summary,
    /// What is not proved and has at least the risk that was asked for, the riskiest first.
    findings: Vec<Finding>,
    /// What about the machine makes planting something easy.
    posture: Vec<Posture>,
    /// What was not looked at, or not wholly.
    problems: Vec<NotRead>,
    /// Problems for which there was no room.
    problems_untold: usize,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Summary {
    /// Entries, by kind.
    entries: BTreeMap<&'static str, usize>,
    /// Of these proved by package databases, by kind.
    proved: BTreeMap<&'static str, usize>,
    /// Packages that prove them.
    packages: usize,
    /// Not proved, with less risk than was asked for.
    below_risk: usize,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Finding {
    /// Rule under which the sensor tells of its being written.
    rule: &'static str,
    /// From the score.
    risk: Severity,
    /// 0 to 100.
    score: u8,
    /// What it is.
    kind: &'static str,
    /// The unit's, script's or container's name.
    name: String,
    /// Where, as the machine's PID 1 sees it.
    path: String,
    /// Where it points to, if it is a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// User whose manager reads it; absent for the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    /// SHA-256 of its content, of a link of its target.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// File type and permission bits (inode(7)), octal.
    mode: String,
    /// Owner.
    uid: u32,
    /// Group.
    gid: u32,
    /// Last change of its content, RFC 3339.
    modified: String,
    /// What package databases say.
    proof: Proof,
    /// What it runs, as far as that is not proved.
    programs: Vec<Program>,
    /// What is odd: slugs that do not change.
    signals: Vec<&'static str>,
    /// Why, in sentences.
    why: Vec<String>,
    /// Links that start it or lead to it.
    links: Vec<String>,
    /// ATT&CK techniques.
    techniques: Vec<&'static str>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Proof {
    /// `proved`, `modified`, `claimed`, `unowned` or `unknown`.
    verdict: &'static str,
    /// Package and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    /// The package calls it a configuration file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    config: bool,
    /// Why nobody can say.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Program {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    proof: Proof,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Posture {
    /// A slug that does not change.
    check: &'static str,
    /// ATT&CK mitigations.
    mitigations: Vec<&'static str>,
    /// How bad.
    risk: Severity,
    /// One line.
    title: String,
    /// What was found.
    evidence: Vec<String>,
    /// What to do.
    advice: &'static str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct NotRead {
    path: String,
    what: String,
}

/// The document of an answer.
pub(super) fn of(answer: &Answer<'_>) -> Document {
    let listed = |risk: &&Risk<'_>| risk.severity >= answer.least;
    let figures =
        |of: &BTreeMap<Kind, usize>| of.iter().map(|(kind, count)| (kind_name(*kind), *count)).collect();
    Document {
        schema_version: SCHEMA_VERSION,
        timestamp: Timestamp::now().to_string(),
        root: answer.root.clone(),
        summary: Summary {
            entries: figures(&answer.sum.entries),
            proved: figures(&answer.sum.proved),
            packages: answer.sum.packages,
            below_risk: answer.risks.iter().filter(|risk| !listed(risk)).count(),
        },
        findings: answer.risks.iter().filter(listed).map(finding).collect(),
        posture: answer.posture.iter().filter(|check| check.severity >= answer.least).map(posture).collect(),
        problems: answer.survey.problems.iter().map(not_read).collect(),
        problems_untold: answer.survey.problems_untold,
    }
}

fn finding(risk: &Risk<'_>) -> Finding {
    let Entry { kind, user, name, path, target, sha256, mode, uid, gid, modified_ns, proof: own, programs } =
        risk.entry;
    let unproved = programs.iter().filter(|program| !matches!(program.proof, Verdict::Proved { .. }));
    let program = |program: &crate::proof::inventory::Program| Program {
        path: lossy(&program.path).into_owned(),
        sha256: program.sha256.clone(),
        proof: proof(&program.proof),
    };
    Finding {
        rule: risk.rule.id,
        risk: risk.severity,
        score: risk.score,
        kind: kind_name(*kind),
        name: name.clone(),
        path: lossy(path).into_owned(),
        target: target.as_ref().map(|target| lossy(target).into_owned()),
        user: *user,
        sha256: sha256.clone(),
        mode: format!("{mode:06o}"),
        uid: *uid,
        gid: *gid,
        modified: moment(*modified_ns),
        proof: proof(own),
        programs: unproved.map(program).collect(),
        signals: risk.signals.clone(),
        why: risk.why.clone(),
        links: risk.links.iter().map(|link| lossy(&link.path).into_owned()).collect(),
        techniques: risk.rule.techniques.iter().map(|technique| technique.id).collect(),
    }
}

fn proof(verdict: &Verdict) -> Proof {
    let of = |package: &Package| Some(format!("{} {}", package.name, package.version));
    let (verdict, package, config, reason) = match verdict {
        Verdict::Proved { package } => ("proved", of(package), false, None),
        Verdict::Modified { package, config } => ("modified", of(package), *config, None),
        Verdict::Claimed { package } => ("claimed", of(package), false, None),
        Verdict::Unowned => ("unowned", None, false, None),
        Verdict::Unknown { reason } => ("unknown", None, false, Some(reason.clone())),
    };
    Proof { verdict, package, config, reason }
}

fn posture(check: &posture::Check) -> Posture {
    Posture {
        check: check.id,
        mitigations: check.mitigations.to_vec(),
        risk: check.severity,
        title: check.title.clone(),
        evidence: check.evidence.clone(),
        advice: check.advice,
    }
}

fn not_read(problem: &Problem) -> NotRead {
    NotRead { path: lossy(&problem.path).into_owned(), what: problem.what.clone() }
}

/// A moment in RFC 3339, to the second; `unknown` where there is no such year.
pub(super) fn moment(ns: i64) -> String {
    Timestamp::from_second(ns.div_euclid(1_000_000_000))
        .map_or_else(|_| "unknown".to_owned(), |at| at.to_string())
}

/// A kind as documents have it.
pub(in crate::cli) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Unit => "unit",
        Kind::DropIn => "drop-in",
        Kind::Link => "link",
        Kind::Generator => "generator",
        Kind::InitScript => "init-script",
        Kind::Container => "container",
        Kind::Quadlet => "quadlet",
        Kind::StaticPod => "static-pod",
        Kind::Adjacent => "adjacent",
    }
}
