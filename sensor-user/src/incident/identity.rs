//! An alert's id.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::held::Incident;

/// 32 hexadecimal digits that the same records always give: the first half of SHA-256 over boot id, rule, subject,
/// process, time, and the number of repeats, each behind its length.
pub(super) fn id(boot_id: &str, incident: &Incident, collapsed: u64) -> String {
    let finding = &incident.finding;
    let mut hash = Sha256::new();
    for part in [boot_id, finding.rule.id, &finding.subject] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    for number in [u64::from(finding.process.0), finding.process.1, finding.boottime_ns, collapsed] {
        hash.update(number.to_be_bytes());
    }
    hash.finalize().iter().take(16).fold(String::with_capacity(32), |mut digits, byte| {
        let _infallible = write!(digits, "{byte:02x}");
        digits
    })
}
