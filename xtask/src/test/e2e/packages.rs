//! What packages bring while nothing proves that a file is a package's: every alert of medium severity or above, exactly.

use std::collections::BTreeSet;

use serde_json::Value;

use super::judge::{is_medium, line, rule};
use super::transcript::{Transcript, Verdict, text};

/// Step, rule, severity, file.
type Row = (&'static str, &'static str, &'static str, &'static str);

const EXPECTED: &[Row] = &[];

/// Compares what each step brought with [`EXPECTED`].
pub fn judge(told: &Transcript, verdicts: &mut Vec<Verdict>) {
    for step in told.steps.iter().filter(|step| step.name.starts_with("packages.")) {
        let alerts: Vec<&Value> = told.during(step).filter(|alert| is_medium(alert)).collect();
        let told: BTreeSet<(&str, &str, &str)> = alerts
            .iter()
            .map(|alert| (rule(alert), text(alert, "/svcsensor/severity"), text(alert, "/file/path")))
            .collect();
        let expected: BTreeSet<(&str, &str, &str)> = EXPECTED
            .iter()
            .filter(|row| row.0 == step.name)
            .map(|(_, rule, severity, file)| (*rule, *severity, *file))
            .collect();
        let unexpected: Vec<_> = told.difference(&expected).collect();
        let missing: Vec<_> = expected.difference(&told).collect();
        let evidence = (!unexpected.is_empty() || !missing.is_empty()).then(|| {
            let all: Vec<String> = alerts.iter().map(|alert| line(alert)).collect();
            format!("unexpected {unexpected:?}; missing {missing:?}; {}", all.join("; "))
        });
        verdicts.push(Verdict::new(&*step.name, evidence));
    }
}
