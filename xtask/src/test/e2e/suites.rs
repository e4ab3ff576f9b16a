//! What the scenario `suites` must tell: a row of `suites.txt` or `suites-catalog.txt` for each thing that it does
//! (`tests/scenarios/suite-*.sh`).

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::judge::{line, rule};
use super::transcript::{Transcript, Verdict, text};

/// The rows.
const ITEMS: [&str; 2] = [include_str!("suites.txt"), include_str!("suites-catalog.txt")];

/// A step, and the alert that it must bring.
#[derive(Debug, PartialEq)]
pub struct Item {
    pub step: &'static str,
    pub rule: &'static str,
    /// More is welcome.
    pub least: &'static str,
    technique: &'static str,
    /// By whom.
    by: &'static str,
    /// As the host sees it; empty where it is about none.
    file: &'static str,
}

/// From least to worst, as alerts spell them.
pub const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

/// Judges each item.
pub fn judge(told: &Transcript, verdicts: &mut Vec<Verdict>) {
    match items() {
        Ok(items) => verdicts.extend(items.iter().map(|item| {
            let leaf = item.file.rsplit('/').next().unwrap_or_default();
            Verdict::new(format!("{}.{} {leaf}", item.step, item.rule), item.evidence(told))
        })),
        Err(error) => verdicts.push(Verdict::new("suites.rows", Some(format!("{error:#}")))),
    }
}

impl Item {
    fn evidence(&self, told: &Transcript) -> Option<String> {
        let Some(step) = told.steps.iter().find(|step| step.name == self.step) else {
            return Some("the guest never did it".to_owned());
        };
        let alerts: Vec<&Value> = told.during(step).collect();
        let others = || alerts.iter().map(|alert| line(alert)).collect::<Vec<_>>().join("; ");
        let mut fitting = alerts
            .iter()
            .filter(|alert| rule(alert) == self.rule && text(alert, "/file/path") == self.file)
            .peekable();
        if fitting.peek().is_none() {
            return Some(format!("no {} about {}, but {}", self.rule, self.file, others()));
        }
        let faults: Vec<String> = fitting.map(|alert| self.fault(alert)).collect::<Option<_>>()?;
        Some(format!("{}: {}", faults.join("; "), others()))
    }

    /// What an alert of the right rule and file lacks.
    fn fault(&self, alert: &Value) -> Option<String> {
        let severity = text(alert, "/svcsensor/severity");
        let rank = |name: &str| SEVERITIES.iter().position(|known| *known == name);
        if rank(severity) < rank(self.least) {
            return Some(format!("{severity}, less than {}", self.least));
        }
        if !techniques(alert).contains(&self.technique) {
            return Some(format!("techniques {:?}, not {}", techniques(alert), self.technique));
        }
        let chain = chain(alert);
        let known = match self.by {
            "login" => {
                let shell = chain.iter().position(|command| command == "-bash");
                let login = chain.iter().position(|command| command.starts_with("/bin/login -f alice"));
                shell.is_some() && shell < login
            }
            "container" => !text(alert, "/container/id").is_empty(),
            "unseen" => text(alert, "/process/command_line").is_empty(),
            daemon => chain.iter().any(|command| command.starts_with(daemon)),
        };
        (!known).then(|| format!("not by {}: {chain:?}", self.by))
    }
}

/// The ids of techniques and sub-techniques.
fn techniques(alert: &Value) -> Vec<&str> {
    ["/threat/technique/id", "/threat/technique/subtechnique/id"]
        .into_iter()
        .filter_map(|pointer| alert.pointer(pointer)?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Command lines from the actor, or from whoever asked it, up to PID 1.
fn chain(alert: &Value) -> Vec<String> {
    let command = |process: &Value| text(process, "/command_line").to_owned();
    let all = |pointer: &str| {
        let processes = alert.pointer(pointer).and_then(Value::as_array);
        processes.into_iter().flatten().map(command).collect::<Vec<_>>()
    };
    let asked = all("/svcsensor/on_behalf_of/processes");
    if asked.is_empty() {
        let own = vec![text(alert, "/process/command_line").to_owned()];
        [own, all("/svcsensor/ancestors")].concat()
    } else {
        asked
    }
}

/// The rows of [`ITEMS`].
///
/// # Errors
/// Where one is not written as the others.
pub fn items() -> Result<Vec<Item>> {
    let rows =
        ITEMS.iter().flat_map(|text| text.lines()).filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|row| {
        // A command line has spaces, a path has none here.
        let (rest, file) = row.rsplit_once(' ').unwrap_or_default();
        let mut words = rest.split_whitespace();
        let mut next = || words.next().with_context(|| format!("a word is missing: {row}"));
        let file = if file == "-" { "" } else { file };
        let item =
            Item { step: next()?, rule: next()?, least: next()?, technique: next()?, by: next()?, file };
        ensure!(SEVERITIES.contains(&item.least) && words.next().is_none(), "no such row: {row}");
        Ok(item)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_read_and_no_alert_is_asked_for_twice() {
        let items = items().unwrap();
        assert_eq!(items[0].step, "suite.user-timer");
        assert!(items[0].file.ends_with("/suite-user-timer.timer"));
        for (at, item) in items.iter().enumerate() {
            assert!(!items[..at].contains(item), "{item:?} twice");
        }
    }

    #[test]
    fn an_alert_fits_with_rule_file_severity_technique_and_login() {
        let item = Item {
            step: "s",
            rule: "r",
            least: "medium",
            technique: "T1543.002",
            by: "login",
            file: "/etc/x",
        };
        let alert = |severity: &str, technique: &str, login: &str| {
            let threat = json!({"technique": {"id": ["T1543"], "subtechnique": {"id": [technique]}}});
            let ancestors = json!([{"command_line": "-bash"}, {"command_line": login}]);
            json!({"threat": threat, "svcsensor": {"severity": severity, "ancestors": ancestors}})
        };
        let login = "/bin/login -f alice";
        assert_eq!(item.fault(&alert("medium", "T1543.002", login)), None);
        assert_eq!(item.fault(&alert("critical", "T1543.002", login)), None);
        assert!(item.fault(&alert("low", "T1543.002", login)).unwrap().contains("less than"));
        assert!(item.fault(&alert("high", "T1543.005", login)).unwrap().contains("techniques"));
        assert!(item.fault(&alert("high", "T1543.002", "/usr/sbin/sshd")).unwrap().contains("not by"));
        let container = Item { by: "container", ..item };
        assert!(container.fault(&alert("high", "T1543.002", login)).is_some());
        let mut inside = alert("high", "T1543.002", login);
        inside["container"] = json!({"id": "0123"});
        assert_eq!(container.fault(&inside), None);
    }
}
