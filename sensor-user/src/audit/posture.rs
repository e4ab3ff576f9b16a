//! What about a machine makes planting something easy, by the mitigations that ATT&CK lists for T1543 and its
//! sub-techniques: each check has an id of its own, evidence, and what to do.
//!
//! A check says only what it has read. What it could not read is a problem of the survey, or says nothing.

mod accounts;
mod engines;
mod ownership;
mod records;
mod services;

use crate::detect::rule::Severity;
use crate::proof::inventory::survey::Survey;
use crate::source::content::Root;

/// Bytes of a file of settings that are read.
const SETTINGS_MAX: u64 = 1 << 20;
/// Lines of evidence that are kept.
const EVIDENCE_MAX: usize = 1000;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its slug, which does not change.
    pub id: &'static str,
    /// ATT&CK mitigations: `M1022`.
    pub mitigations: &'static [&'static str],
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What was found, a line each.
    pub evidence: Vec<String>,
    /// What to do.
    pub advice: &'static str,
}

/// All checks that found something, the worst first.
pub fn check(root: &Root, survey: &Survey) -> Vec<Check> {
    let mut found = Vec::new();
    ownership::check(root, survey, &mut found);
    accounts::check(root, survey, &mut found);
    services::check(survey, &mut found);
    engines::check(root, survey, &mut found);
    records::check(root, &mut found);
    for check in &mut found {
        check.evidence.sort_unstable();
        check.evidence.dedup();
        check.evidence.truncate(EVIDENCE_MAX);
    }
    found.retain(|check| !check.evidence.is_empty());
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.id.cmp(b.id)));
    found
}

/// What a file of settings says; `None` where there is none, or it cannot be read.
fn read(root: &Root, path: &str) -> Option<String> {
    let (bytes, _) = root.bytes(path.as_bytes(), SETTINGS_MAX).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The files of a directory whose names end so, sorted, each with what it says.
fn read_all(root: &Root, directory: &str, suffix: &str) -> Vec<(String, String)> {
    const NAMES_MAX: usize = 4096;
    let mut names = root.names(directory.as_bytes(), NAMES_MAX).unwrap_or_default();
    names.sort_unstable();
    let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
    names
        .filter(|name| name.ends_with(suffix) && !name.starts_with('.'))
        .filter_map(|name| {
            let path = format!("{directory}/{name}");
            Some((path.clone(), read(root, &path)?))
        })
        .collect()
}

/// Lines without comments and blanks around them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}
