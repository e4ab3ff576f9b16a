//! What packages bring is told as known software, by name and version; what only looks like it is told as what it is.

use serde_json::Value;

use super::judge::{is_medium, line};
use super::transcript::{Transcript, Verdict, text};

/// Rows of step and file.
const HOSTILE: &str = include_str!("packages.txt");
/// Packages that are upgraded at once, at least.
const MANY: u64 = 40;
/// CPU of their proof and that of everything else here, in ticks of 10 ms: on an emulated machine.
const CPU_TICKS: u64 = 1000;

/// Of the steps `packages.*` and `hostile.*`.
pub fn judge(told: &Transcript, verdicts: &mut Vec<Verdict>) {
    for step in told.steps.iter().filter(|step| step.name.starts_with("packages.")) {
        let loud: Vec<String> = told.during(step).filter(|alert| is_medium(alert)).map(line).collect();
        let name = format!("{}.nothing-at-medium", step.name);
        verdicts.push(Verdict::new(name, (!loud.is_empty()).then(|| loud.join("; "))));
    }
    let mut units = 0;
    for (fact, owner) in &told.facts {
        let Some((step, unit)) = fact.strip_prefix("unit.").and_then(split_step) else { continue };
        units += 1;
        let Some(step) = told.steps.iter().find(|known| known.name == step) else { continue };
        let of_unit: Vec<&Value> = told
            .during(step)
            .filter(|alert| text(alert, "/file/path").ends_with(&format!("/{unit}")))
            .collect();
        let holds = of_unit.iter().any(|alert| is_proved(alert) && owned_by(alert) == *owner);
        let evidence = of_unit.iter().map(|alert| format!("{} of {:?}", line(alert), owned_by(alert)));
        let evidence = format!("{owner}: {}", evidence.collect::<Vec<_>>().join("; "));
        verdicts.push(Verdict::new(format!("{}.proved.{unit}", step.name), (!holds).then_some(evidence)));
    }
    verdicts.push(Verdict::new("packages.units", (units < 10).then(|| format!("{units} units"))));
    let many = told.number("packages.many");
    verdicts.push(Verdict::new("packages.many.enough", (many < Some(MANY)).then(|| format!("{many:?}"))));
    let cpu = told.number("proof.cpu-ticks");
    verdicts.push(Verdict::new(
        "packages.cpu",
        cpu.is_none_or(|cpu| cpu >= CPU_TICKS).then(|| format!("{cpu:?} ticks")),
    ));
    for (step, path) in rows() {
        let during = told.steps.iter().filter(|known| known.name == step);
        let alerts: Vec<&Value> = during
            .flat_map(|step| told.during(step))
            .filter(|alert| text(alert, "/file/path") == path)
            .collect();
        let raised =
            alerts.iter().any(|alert| is_medium(alert)) && !alerts.iter().any(|alert| is_proved(alert));
        let evidence = || alerts.iter().map(|alert| line(alert)).collect::<Vec<_>>().join("; ");
        verdicts.push(Verdict::new(format!("{step} {path}"), (!raised).then(evidence)));
    }
}

/// `packages.install.atd.service` is of step `packages.install` and unit `atd.service`.
fn split_step(fact: &str) -> Option<(&str, &str)> {
    let dot = fact.match_indices('.').nth(1)?.0;
    Some((&fact[..dot], &fact[dot + 1..]))
}

fn is_proved(alert: &Value) -> bool {
    text(alert, "/svcsensor/proof/verdict") == "proved"
}

/// Name and version.
fn owned_by(alert: &Value) -> String {
    format!("{} {}", text(alert, "/package/name"), text(alert, "/package/version"))
}

fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    HOSTILE.lines().filter(|row| !row.starts_with('#')).filter_map(|row| {
        let mut words = row.split_whitespace();
        Some((words.next()?, words.next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        assert_eq!(rows().count(), HOSTILE.lines().filter(|line| !line.starts_with('#')).count());
        assert!(rows().all(|(step, path)| step.starts_with("hostile.") && path.starts_with('/')));
    }

    #[test]
    fn a_fact_names_step_and_unit() {
        assert_eq!(split_step("packages.install.atd.service"), Some(("packages.install", "atd.service")));
        assert_eq!(split_step("packages"), None);
    }
}
