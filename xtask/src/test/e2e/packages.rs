//! What packages bring while nothing proves that a file is a package's: every alert of medium severity or above, exactly.

use std::collections::BTreeSet;

use serde_json::Value;

use super::judge::{is_medium, line, rule};
use super::transcript::{Transcript, Verdict, text};

/// Rows of step, severity, rule and file.
const EXPECTED: &str = include_str!("packages.txt");

/// Compares what each step brought with [`EXPECTED`].
pub fn judge(told: &Transcript, verdicts: &mut Vec<Verdict>) {
    for step in told.steps.iter().filter(|step| step.name.starts_with("packages.")) {
        let alerts: Vec<&Value> = told.during(step).filter(|alert| is_medium(alert)).collect();
        let told: BTreeSet<(&str, &str, &str)> = alerts
            .iter()
            .map(|alert| (text(alert, "/svcsensor/severity"), rule(alert), text(alert, "/file/path")))
            .collect();
        let expected: BTreeSet<(&str, &str, &str)> = rows(&step.name).collect();
        let unexpected: Vec<_> = told.difference(&expected).collect();
        let missing: Vec<_> = expected.difference(&told).collect();
        let evidence = (!unexpected.is_empty() || !missing.is_empty()).then(|| {
            let all: Vec<String> = alerts.iter().map(|alert| line(alert)).collect();
            format!("unexpected {unexpected:?}; missing {missing:?}; {}", all.join("; "))
        });
        verdicts.push(Verdict::new(&*step.name, evidence));
    }
}

/// The rows of a step.
fn rows(step: &str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let of_step = EXPECTED.lines().filter_map(move |line| line.strip_prefix(step)?.strip_prefix(' '));
    of_step.filter_map(|row| {
        let mut words = row.split_whitespace();
        Some((words.next()?, words.next()?, words.next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let steps = [
            "packages.install",
            "packages.upgrade",
            "packages.reinstall",
            "packages.remove",
            "packages.purge",
        ];
        let read: usize = steps.iter().map(|step| rows(step).count()).sum();
        assert_eq!(read, EXPECTED.lines().filter(|line| !line.starts_with('#')).count());
        let unit = ("high", "systemd.unit.written", "/usr/lib/systemd/system/memcached.service");
        assert!(rows("packages.upgrade").any(|row| row == unit));
    }
}
