//! What the inventory tells the pipeline.

use super::store::{self, Difference, Scope, Store, StoreError};
use super::survey::{Remark, Survey};
use super::{Entry, Kind};
use crate::event::baseline::{self, Baseline, Because, Change, Compared, Oddity, Proof};
use crate::proof::package::{Package, Verdict};
use crate::subject::unit::signals::Weight;

/// Differences that are told one by one: those that packages do not prove come first.
pub const TOLD_MAX: usize = 512;
/// Odd things of one entry that are told.
const ODDITIES_MAX: usize = 12;

/// What a comparison has found: first it is told, then written ([`Store::update`]).
#[derive(Debug)]
pub struct Comparison {
    /// For the pipeline, in this order.
    pub records: Vec<Baseline>,
    /// For the store.
    pub differences: Vec<Difference>,
    /// Entries of which no package explains the content.
    pub unproved: u64,
}

/// Compares a survey with the store; only differences for which `tells` holds are told.
///
/// # Errors
/// Where the store cannot be read.
pub fn compare(
    store: &Store,
    survey: &Survey,
    because: &Because,
    tells: impl Fn(&Difference) -> bool,
) -> Result<Comparison, StoreError> {
    let unread = survey.problems.iter().map(|problem| problem.path.clone()).collect();
    let differences = store.compare(&survey.entries, &Scope::AllBut(unread))?;
    let unproved = survey.entries.iter().filter(|entry| !is_proved(entry)).count() as u64;
    let first = !store.has_begun()?;
    let mut told: Vec<&Difference> =
        differences.iter().filter(|difference| !first && tells(difference)).collect();
    told.sort_by_key(|difference| {
        is_proved(&difference.entry) && difference.change != store::Change::Removed
    });
    let all = told.len() as u64;
    told.truncate(TOLD_MAX);
    let mut records: Vec<Baseline> = told
        .iter()
        .map(|difference| Baseline::Difference(Box::new(describe(difference, because, &survey.remarks))))
        .collect();
    let compared = Compared {
        because: because.clone(),
        entries: survey.entries.len() as u64,
        unproved,
        problems: (survey.problems.len() + survey.problems_untold) as u64,
        refused: u64::try_from(store.refused()?.0).unwrap_or_default(),
        differences: all,
        told: told.len() as u64,
        seal: store.seal()?,
    };
    records.push(if first { Baseline::Begun(compared) } else { Baseline::Compared(compared) });
    Ok(Comparison { records, differences, unproved })
}

fn describe(difference: &Difference, because: &Because, remarks: &[Remark]) -> baseline::Difference {
    let entry = &difference.entry;
    let own = remarks.iter().filter(|remark| remark.kind == entry.kind && remark.path == entry.path);
    let signals = own.take(ODDITIES_MAX).map(|remark| Oddity {
        slug: remark.signal.slug.to_owned(),
        points: points(remark.signal.weight),
        text: remark.signal.why.clone(),
    });
    baseline::Difference {
        because: because.clone(),
        change: match difference.change {
            store::Change::Added => Change::Added,
            store::Change::Changed => Change::Changed,
            store::Change::Removed => Change::Removed,
        },
        kind: kind_name(entry.kind),
        user: entry.user,
        name: entry.name.clone(),
        path: entry.path.clone(),
        target: entry.target.clone(),
        sha256: entry.sha256.clone(),
        mode: entry.mode,
        uid: entry.uid,
        proof: proof(entry),
        details: difference.details.clone(),
        signals: signals.collect(),
    }
}

/// What a signal adds to a score.
fn points(weight: Weight) -> i8 {
    match weight {
        Weight::Note => 0,
        Weight::Weak => 5,
        Weight::Strong => 15,
        Weight::Damning => 30,
    }
}

/// A kind as documents have it: `drop-in`.
pub fn kind_name(kind: Kind) -> String {
    serde_json::to_string(&kind).unwrap_or_default().trim_matches('"').to_owned()
}

/// Whether a package's content is all that it is and runs.
pub fn is_proved(entry: &Entry) -> bool {
    matches!(proof(entry), Proof::Proved { .. })
}

/// The entry's own verdict, or that of the program of which least is known: a unit of a package that runs something
/// else is not the package's.
fn proof(entry: &Entry) -> Proof {
    let own = of_verdict(&entry.proof);
    let worst = entry.programs.iter().map(|program| of_verdict(&program.proof)).max_by_key(rank);
    match worst {
        Some(program) if rank(&program) > rank(&own) => program,
        _ => own,
    }
}

fn rank(proof: &Proof) -> u8 {
    match proof {
        Proof::Proved { .. } => 0,
        Proof::Configuration { .. } => 1,
        Proof::Claimed { .. } => 2,
        Proof::Unknown => 3,
        Proof::Unowned => 4,
        Proof::Modified { .. } => 5,
    }
}

fn of_verdict(verdict: &Verdict) -> Proof {
    let named = |package: &Package| format!("{} {}", package.name, package.version);
    match verdict {
        Verdict::Proved { package } => Proof::Proved { package: named(package) },
        Verdict::Modified { package, config: true } => Proof::Configuration { package: named(package) },
        Verdict::Modified { package, config: false } => Proof::Modified { package: named(package) },
        Verdict::Claimed { package } => Proof::Claimed { package: named(package) },
        Verdict::Unowned => Proof::Unowned,
        Verdict::Unknown { .. } => Proof::Unknown,
    }
}
