//! What was told to be expected: approvals made with `svcsensor approve`, signed files, and exceptions.
//!
//! An approval made by command is a file of its own in the state directory, and not a row of the inventory: nobody but
//! the sensor writes to that. Its making is an alert like any other write to the sensor's files. A signed file needs no
//! trust in who put it there, only in who has the key (minisign, <https://jedisct1.github.io/minisign/>).

mod files;
mod moment;
mod signed;
#[cfg(test)]
mod tests;

pub use files::{list, load_directory, revoke, write};
pub use moment::{moment, shown};
pub use signed::{Keys, load_signed};

use crate::event::approval::Approval;

/// Below the state directory: one file for each approval.
pub const APPROVALS: &str = "approvals.d";
/// Where signed files lie.
pub const SIGNED: &str = "/etc/svcsensor/approvals.d";

/// Approvals in all.
const APPROVALS_MAX: usize = 1024;
/// Bytes of one file.
const FILE_MAX: u64 = 64 << 10;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What is in force, or was until it expired.
    pub approvals: Vec<Approval>,
    /// What was passed over, and why.
    pub problems: Vec<String>,
}

/// What is wrong with an approval or exception, if anything is.
///
/// # Errors
/// The problem, for people.
pub fn check(approval: &Approval) -> Result<(), String> {
    let when = &approval.when;
    if when.is_empty() {
        return Err("it says of nothing that it is expected".to_owned());
    }
    if approval.reason.trim().is_empty() {
        return Err("it has no reason".to_owned());
    }
    if let Some(path) = &when.path {
        if !path.starts_with('/') {
            return Err(format!("its path {path:?} does not begin with /"));
        }
        glob::Pattern::new(path).map_err(|error| format!("its path {path:?} makes no sense: {error}"))?;
    }
    if let Some(digest) = &when.sha256 {
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("its sha256 {digest:?} is not 64 hexadecimal digits"));
        }
    }
    if let Some(rule) = when.rule.as_deref().filter(|rule| crate::detect::rules::by_id(rule).is_none()) {
        return Err(format!("there is no rule {rule:?}"));
    }
    let texts = [Some(&approval.name), Some(&approval.reason), approval.by.as_ref(), when.unit.as_ref()];
    if texts.into_iter().flatten().any(|text| text.len() > 1024) {
        return Err("one of its texts has more than 1024 bytes".to_owned());
    }
    Ok(())
}
