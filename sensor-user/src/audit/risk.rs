//! How much is to be thought of what starts by itself: the rules and signals of the running sensor, less what nobody
//! can know of a file that is just there, who put it there and when.

use std::collections::{BTreeMap, BTreeSet};

use crate::detect::rule::{Rule, Severity};
use crate::detect::rules;
use crate::detect::score::{base, severity};
use crate::event::path::lossy;
use crate::proof::inventory::survey::{ABSENT, Remark, Survey};
use crate::proof::inventory::{Entry, Kind, Program};
use crate::proof::package::{Package, Verdict};
use crate::subject::place::resolve_target;
use crate::subject::service::UnitPart;
use crate::subject::unit::signals::{Signal, Weight};

/// Sentences of one finding.
const WHY_MAX: usize = 24;

/// What anything that is not proved has at least.
const LEAST: i32 = 5;

/// What an entry whose content is proved can still be blamed for: what is not in its files, or who may change what it
/// runs.
const BEYOND_PROOF: [&str; 5] =
    ["program.owner", "program.writable", "link.unasked", "link.shell", "environment.loads"];

/// Files that installers and the machine itself make, without a package that owns them. That they are there says nothing;
/// what they say is weighed all the same.
const MACHINES: [&str; 9] = [
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/environment",
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/etc/kernel/cmdline",
    "/etc/initramfs-tools/conf.d/resume",
    "/etc/initramfs-tools/conf.d/driver-policy",
    "/etc/apt/apt.conf.d/00CDMountPoint",
];

/// An entry that is not proved, weighed.
#[derive(Clone, Debug)]
pub struct Risk<'a> {
    /// Which.
    pub entry: &'a Entry,
    /// The rule under which the sensor would tell of its being written.
    pub rule: &'static Rule,
    /// 0 to 100.
    pub score: u8,
    /// Of the score.
    pub severity: Severity,
    /// Slugs of its signals.
    pub signals: Vec<&'static str>,
    /// Why, the weightiest first.
    pub why: Vec<String>,
    /// Links that lead to it and bring nothing of their own.
    pub links: Vec<&'a Entry>,
}

/// What is proved, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Entries in all, by kind.
    pub entries: BTreeMap<Kind, usize>,
    /// Of these proved, what they run as well.
    pub proved: BTreeMap<Kind, usize>,
    /// Packages that prove them.
    pub packages: usize,
}

impl Sum {
    /// Entries in all.
    pub fn total(&self) -> usize {
        self.entries.values().sum()
    }

    /// Proved ones.
    pub fn total_proved(&self) -> usize {
        self.proved.values().sum()
    }
}

/// Weighs a survey: what is not proved, the riskiest first, and what is, in figures.
pub fn weigh(survey: &Survey) -> (Vec<Risk<'_>>, Sum) {
    let mut remarks: BTreeMap<(&[u8], Kind), Vec<&Signal>> = BTreeMap::new();
    for Remark { kind, path, signal } in &survey.remarks {
        remarks.entry((path, *kind)).or_default().push(signal);
    }
    let mut sum = Sum::default();
    let mut packages: BTreeSet<&Package> = BTreeSet::new();
    let mut risks: Vec<Risk<'_>> = Vec::new();
    for entry in &survey.entries {
        *sum.entries.entry(entry.kind).or_default() += 1;
        let own = remarks.get(&(&entry.path[..], entry.kind)).map(Vec::as_slice).unwrap_or_default();
        let part = survey.parts.get(&(entry.path.clone(), entry.kind)).copied().unwrap_or(UnitPart::Other);
        if let Some(risk) = of_entry(entry, part, own) {
            risks.push(risk);
        } else {
            *sum.proved.entry(entry.kind).or_default() += 1;
            packages.extend(package(&entry.proof));
        }
    }
    sum.packages = packages.len();
    fold_links(&mut risks);
    risks.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.entry.path.cmp(&b.entry.path)));
    (risks, sum)
}

/// The package of a verdict.
pub(super) fn package(proof: &Verdict) -> Option<&Package> {
    match proof {
        Verdict::Proved { package } | Verdict::Modified { package, .. } | Verdict::Claimed { package } => {
            Some(package)
        }
        Verdict::Unowned | Verdict::Unknown { .. } => None,
    }
}

fn of_entry<'a>(entry: &'a Entry, part: UnitPart, signals: &[&Signal]) -> Option<Risk<'a>> {
    let rule = rule_of(entry, part);
    let proved = matches!(entry.proof, Verdict::Proved { .. });
    let odd = |program: &&Program| !is_sound(program);
    let programs: Vec<&Program> = entry.programs.iter().filter(odd).collect();
    let signals: Vec<&Signal> = signals
        .iter()
        // A mask keeps the name of what it hides, and runs nothing.
        .filter(|signal| rule.id != rules::UNIT_MASKED.id || !signal.slug.starts_with("name."))
        .filter(|signal| !proved || BEYOND_PROOF.contains(&signal.slug) && signal.weight > Weight::Note)
        .copied()
        .collect();
    if proved && programs.is_empty() && signals.is_empty() {
        return None;
    }
    let mut why = Vec::new();
    let mut score = (i32::from(base(rule.severity)) + own_points(entry, &mut why)).max(LEAST);
    let mut said: Vec<(i32, String)> = Vec::new();
    for signal in &signals {
        said.push((points(signal.weight), signal.why.clone()));
    }
    for program in &programs {
        said.push(of_program(entry, program));
    }
    said.sort_by_key(|(points, _)| std::cmp::Reverse(*points));
    for (points, sentence) in said {
        score += points;
        if why.len() < WHY_MAX {
            why.push(sentence);
        }
    }
    let score = u8::try_from(score.clamp(0, 100)).unwrap_or(100);
    let mut slugs: Vec<&'static str> = signals.iter().map(|signal| signal.slug).collect();
    slugs.sort_unstable();
    slugs.dedup();
    Some(Risk { entry, rule, score, severity: severity(score), signals: slugs, why, links: Vec::new() })
}

/// What a signal adds, as for the running sensor's findings.
fn points(weight: Weight) -> i32 {
    match weight {
        Weight::Note => 0,
        Weight::Weak => 5,
        Weight::Strong => 15,
        Weight::Damning => 30,
    }
}

/// What its own proof, or the lack of it, takes off the rule's weight: a file that is there may have been there for ever.
fn own_points(entry: &Entry, why: &mut Vec<String>) -> i32 {
    let of = |package: &Package| format!("{} {}", package.name, package.version);
    let path = lossy(&entry.path);
    let volatile = path.starts_with("/run/systemd/generator")
        || path.starts_with("/run/systemd/transient")
        || path.starts_with("/run/user/");
    match &entry.proof {
        // What it runs is not; or somebody else may change that.
        Verdict::Proved { package } => {
            why.push(format!("it is of {} itself", of(package)));
            -50
        }
        Verdict::Modified { package, config: false } => {
            why.push(format!("it is not what {} brought", of(package)));
            -10
        }
        Verdict::Modified { package, config: true } => {
            why.push(format!("a configuration file of {} that was changed", of(package)));
            -40
        }
        Verdict::Claimed { package } => {
            why.push(format!("it is of {}, which does not say what must be in it", of(package)));
            -60
        }
        Verdict::Unowned if volatile => {
            why.push("made while the machine runs, by a generator or on request".to_owned());
            -55
        }
        Verdict::Unowned if MACHINES.contains(&&*path) => {
            why.push("no package owns it: installers make it".to_owned());
            -50
        }
        Verdict::Unowned => {
            why.push("no package owns it".to_owned());
            // A link or a mask weighs less than a unit: it brings no code.
            if entry.kind == Kind::Link { -45 } else { -30 }
        }
        Verdict::Unknown { reason } => {
            why.push(format!("whether it is known software cannot be said: {reason}"));
            -40
        }
    }
}

/// Whether there is nothing to say of a program. One that is not installed starts nothing.
fn is_sound(program: &Program) -> bool {
    match &program.proof {
        Verdict::Proved { .. } => true,
        Verdict::Unknown { reason } => reason == ABSENT,
        _ => false,
    }
}

fn of_program(entry: &Entry, program: &Program) -> (i32, String) {
    let path = lossy(&program.path);
    let proved = matches!(entry.proof, Verdict::Proved { .. });
    let verb = if entry.target.is_some() { "leads to" } else { "runs" };
    match &program.proof {
        Verdict::Modified { package, .. } => (
            if proved { 30 } else { 15 },
            format!("it {verb} {path}, which is not what {} {} brought", package.name, package.version),
        ),
        // Among links of alternatives, and what dpkg has no digest of.
        Verdict::Claimed { package } => {
            (0, format!("it {verb} {path} of {}, which does not say what must be in it", package.name))
        }
        Verdict::Unowned => (if proved { 15 } else { 5 }, format!("it {verb} {path}, which no package owns")),
        Verdict::Unknown { reason } => {
            (0, format!("it {verb} {path}, of which nothing can be said: {reason}"))
        }
        Verdict::Proved { .. } => (0, String::new()),
    }
}

/// The rule for writing such a thing: the scan and the sensor weigh alike.
pub fn rule_of(entry: &Entry, part: UnitPart) -> &'static Rule {
    if entry.target.as_deref().is_some_and(|target| resolve_target(&entry.path, target) == b"/dev/null") {
        return if entry.kind == Kind::Adjacent { &rules::STARTUP_ENTRY_MASKED } else { &rules::UNIT_MASKED };
    }
    match (entry.kind, part) {
        (Kind::Container, _) => &rules::RESTART_POLICY_SET,
        (Kind::Link, UnitPart::Fragment | UnitPart::Alias) => &rules::UNIT_LINKED,
        (Kind::Link, _) => &rules::UNIT_ENABLED,
        (Kind::DropIn, _) => &rules::DROPIN_WRITTEN,
        (_, UnitPart::Generator) => &rules::GENERATOR_WRITTEN,
        (_, UnitPart::EnvironmentGenerator) => &rules::ENVIRONMENT_GENERATOR_WRITTEN,
        (_, UnitPart::InitScript) => &rules::INIT_SCRIPT_WRITTEN,
        (_, UnitPart::RunlevelLink) => &rules::RUNLEVEL_LINK_SET,
        (_, UnitPart::RcLocal) => &rules::RC_LOCAL_WRITTEN,
        (_, part) => rules::of_part(part).unwrap_or(&rules::UNIT_WRITTEN),
    }
}

/// A link to something that is told anyway is told with it: it says when that starts, and is not another plant.
fn fold_links(risks: &mut Vec<Risk<'_>>) {
    let at: BTreeMap<Vec<u8>, usize> =
        risks.iter().enumerate().map(|(at, risk)| (risk.entry.path.clone(), at)).collect();
    let mut folded = BTreeSet::new();
    let mut links = Vec::new();
    for (own, risk) in risks.iter().enumerate() {
        let brings_own = risk.signals.iter().any(|slug| *slug != "link.unasked" && *slug != "unit.linked");
        let Some(target) = risk.entry.target.as_ref().filter(|_| !brings_own) else { continue };
        let mut end = resolve_target(&risk.entry.path, target);
        // A link in a `.wants` directory may lead to one that leads on.
        for _ in 0..4 {
            match at.get(&end).and_then(|at| risks.get(*at)) {
                Some(next) if next.entry.target.is_some() => {
                    end = resolve_target(&next.entry.path, next.entry.target.as_deref().unwrap_or_default());
                }
                _ => break,
            }
        }
        if let Some(to) = at.get(&end).filter(|to| **to != own) {
            folded.insert(own);
            links.push((*to, risk.entry, risk.score));
        }
    }
    for (to, link, score) in links {
        let risk = &mut risks[to];
        risk.links.push(link);
        if risk.score < score {
            risk.score = score;
            risk.severity = severity(score);
        }
        if risk.why.len() < WHY_MAX {
            risk.why.push(format!("{} leads to it", lossy(&link.path)));
        }
    }
    let mut at = 0;
    risks.retain(|_| {
        at += 1;
        !folded.contains(&(at - 1))
    });
}
