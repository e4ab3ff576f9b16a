//! What scenarios must tell: a row for each thing that they do (`tests/scenarios/suite-*.sh`), of `suites.txt` and its like.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::judge::{is_medium, line, rule};
use super::transcript::{Step, Transcript, Verdict, text};

/// A step, and the alert that it must bring.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub step: &'static str,
    pub rule: &'static str,
    /// More is welcome.
    pub least: &'static str,
    technique: &'static str,
    /// By whom.
    by: &'static str,
    /// The file as the host sees it; `container:NAME` (or its image), or `-` where it is about neither.
    subject: &'static str,
}

/// From least to worst, as alerts spell them.
pub const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

/// Judges each item of `rows`.
pub fn judge(rows: &[&'static str], told: &Transcript, verdicts: &mut Vec<Verdict>) {
    match items(rows) {
        Ok(items) => verdicts.extend(items.iter().map(|item| {
            let leaf = item.subject.rsplit('/').next().unwrap_or_default();
            Verdict::new(format!("{}.{} {leaf}", item.step, item.rule), item.evidence(told))
        })),
        Err(error) => verdicts.push(Verdict::new("suites.rows", Some(format!("{error:#}")))),
    }
    verdicts.extend(told.steps.iter().filter_map(|step| exact(rows, told, step)));
}

/// What is asked of an engine is told once, however many processes and requests it takes: in its steps there are as many
/// alerts of medium severity or above as there are rows.
fn exact(rows: &[&'static str], told: &Transcript, step: &Step) -> Option<Verdict> {
    step.name.strip_prefix("engine.")?;
    let rows = items(rows).unwrap_or_default().iter().filter(|item| item.step == step.name).count();
    let alerts: Vec<String> = told.during(step).filter(|alert| is_medium(alert)).map(line).collect();
    let evidence =
        (alerts.len() != rows).then(|| format!("{} alerts, not {rows}: {}", alerts.len(), alerts.join("; ")));
    Some(Verdict::new(format!("{}.once", step.name), evidence))
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
            .filter(|alert| rule(alert) == self.rule && fits(self.subject, &subject(alert)))
            .peekable();
        if fitting.peek().is_none() {
            return Some(format!("no {} about {}, but {}", self.rule, self.subject, others()));
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
                // agetty of util-linux 2.41 ends login's options before the name.
                let login = chain
                    .iter()
                    .position(|command| command.starts_with("/bin/login -f ") && command.ends_with(" alice"));
                shell.is_some() && shell < login
            }
            "container" => !text(alert, "/container/id").is_empty(),
            "anyone" => true,
            "unseen" => text(alert, "/process/command_line").is_empty(),
            named if named.starts_with("container=") => {
                let tag = text(alert, "/container/image/tag/0");
                let image = text(alert, "/container/image/name");
                let known = format!("container={},{image}:{tag}", text(alert, "/container/name"));
                named == known.trim_end_matches(':')
            }
            daemon => chain.iter().any(|command| command.starts_with(daemon)),
        };
        (!known).then(|| format!("not by {}: {chain:?} in {}", self.by, alert["container"]))
    }
}

/// Whether a subject is the one that a row asks for: `-` is anything but a file, one `*` stands for any characters.
fn fits(wanted: &str, subject: &str) -> bool {
    match wanted.split_once('*') {
        None => subject == wanted || wanted == "-" && !subject.starts_with('/'),
        Some((before, after)) => {
            subject.len() >= before.len() + after.len()
                && subject.starts_with(before)
                && subject.ends_with(after)
        }
    }
}

/// What an alert is about, as rows have it.
fn subject(alert: &Value) -> String {
    let service = |name| text(alert, name);
    let (file, name, image) = (
        text(alert, "/file/path"),
        service("/svcsensor/container_service/name"),
        service("/svcsensor/container_service/image"),
    );
    match (file, name, image) {
        ("", "", "") => "-".to_owned(),
        ("", "", image) => format!("container:{image}"),
        ("", name, _) => format!("container:{name}"),
        (file, ..) => file.to_owned(),
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

/// The items of tables of rows.
///
/// # Errors
/// Where a row is not written as the others.
pub fn items(rows: &[&'static str]) -> Result<Vec<Item>> {
    let rows =
        rows.iter().flat_map(|text| text.lines()).filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|row| {
        // A command line has spaces, a path has none here.
        let (rest, subject) = row.rsplit_once(' ').unwrap_or_default();
        let mut words = rest.split_whitespace();
        let mut next = || words.next().with_context(|| format!("a word is missing: {row}"));
        let item =
            Item { step: next()?, rule: next()?, least: next()?, technique: next()?, by: next()?, subject };
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
        let first = &items(&[include_str!("suites.txt")]).unwrap()[0];
        assert_eq!(first.step, "suite.user-timer");
        assert!(first.subject.ends_with("/suite-user-timer.timer"));
        for rows in crate::test::e2e::PLANS.map(|plan| plan.rows) {
            let items = items(rows).unwrap();
            for (at, item) in items.iter().enumerate() {
                assert!(!items[..at].contains(item), "{item:?} twice");
            }
        }
    }

    #[test]
    fn what_an_alert_is_about() {
        let of = |service: Value| subject(&json!({"svcsensor": {"container_service": service}}));
        assert_eq!(of(json!({"name": "web", "image": "box"})), "container:web");
        assert_eq!(of(json!({"image": "box"})), "container:box");
        assert_eq!(subject(&json!({"file": {"path": "/etc/x"}})), "/etc/x");
        assert_eq!(subject(&json!({})), "-");
    }

    #[test]
    fn an_alert_fits_with_rule_file_severity_technique_and_login() {
        let item = Item {
            step: "s",
            rule: "r",
            least: "medium",
            technique: "T1543.002",
            by: "login",
            subject: "/etc/x",
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
        let named = Item { by: "container=web,box:1", ..container };
        assert!(named.fault(&inside).is_some());
        inside["container"] = json!({"id": "0123", "name": "web", "image": {"name": "box", "tag": ["1"]}});
        assert_eq!(named.fault(&inside), None);
    }

    #[test]
    fn paths_may_have_a_part_that_varies() {
        assert!(fits("/a/*/c", "/a/b/c") && fits("-", "") && fits("/a", "/a"));
        assert!(!fits("/a/*/c", "/a/c") && !fits("-", "/a") && !fits("/a", "/ab"));
    }
}
