//! What must hold of a transcript.

use anyhow::Result;
use serde_json::Value;

use super::transcript::{Step, Transcript, Verdict, field, lines, text};
use super::{Plan, changes, promtool, short_lived, suites};

/// `event.severity` of medium, in ECS's words of 0 to 99 (see the sensor's `sink::ecs`).
const MEDIUM: u64 = 47;
/// From the write to journald's own time of receipt.
const LATENCY_MS: u64 = 1000;
/// The same, of 99 in a hundred changes.
const P99_MS: f64 = 1000.0;

/// The guest's own verdicts, those on what the sensor told, and the plan's.
pub fn judge(told: &Transcript, plan: &Plan) -> Result<Vec<Verdict>> {
    let mut verdicts = told.verdicts.clone();
    verdicts.extend(
        told.steps.iter().filter(|step| step.name.starts_with("quiet.")).map(|step| quiet(told, step)),
    );
    suites::judge(plan.rows, told, &mut verdicts);
    (plan.judge)(told, &mut verdicts);
    if plan.containers > 0 {
        short_lived::judge(told, plan.containers as usize, &mut verdicts);
    }
    if !told.metrics.is_empty() {
        verdicts.push(promtool(&told.metrics)?);
    }
    let lost: Vec<String> =
        told.alerts.iter().filter(|alert| rule(alert) == "sensor.records.lost").map(line).collect();
    verdicts.push(Verdict::new("records.none-lost", (!lost.is_empty()).then(|| lost.join("; "))));
    verdicts.push(below("rss.bounded", told.number("rss.end"), plan.rss_kib));
    verdicts.push(below("service.never-restarted", told.number("restarts"), 1));
    verdicts.push(Verdict::new("journal.as-jsonl", journal_differs(told)));
    Ok(verdicts)
}

/// Of [`super::SERVICE`].
pub fn service(told: &Transcript, verdicts: &mut Vec<Verdict>) {
    shell_unit(told, verdicts);
    timer(told, verdicts);
    for (step, command) in [
        ("container.docker", "docker run -d --restart=always --name keeper box sleep 1000000"),
        ("container.renamed", "/tmp/kworker run -d --restart always --name hidden box sleep 1000000"),
        ("container.podman", "podman run -d --restart=always --name keeper box sleep 1000000"),
    ] {
        verdicts.push(Verdict::new(step, container(told, step, command)));
    }
    verdicts.push(Verdict::new("metrics.read", told.metrics.is_empty().then(|| "no metrics".to_owned())));
    verdicts.push(Verdict::new("replay.pretty", pretty_lacks_the_shell(told)));
}

/// Of [`super::SUITES`].
pub fn suites(told: &Transcript, verdicts: &mut Vec<Verdict>) {
    let figures = changes::figures(told);
    println!(
        "{}",
        figures.as_ref().map_or_else(|error| format!("# {error:#}"), |figures| format!("# {figures}"))
    );
    let slow = match figures {
        Ok(figures) => (figures.p99_ms >= P99_MS).then(|| figures.to_string()),
        Err(error) => Some(format!("{error:#}")),
    };
    verdicts.push(Verdict::new("latency.p99-below-1-s", slow));
    let after = told.entry("systemd.unit.written", "/etc/systemd/system/hostile-after.service");
    let latency = after.and_then(|entry| latency_ms(entry, told.number("hostile.after.ns")));
    verdicts.push(below("hostile.within-1-s", latency, LATENCY_MS));
    verdicts.push(below("hostile.threads", told.number("hostile.threads"), 10));
}

/// Evidence where a number is unknown, or not below the limit.
fn below(name: &str, number: Option<u64>, limit: u64) -> Verdict {
    let evidence = match number {
        Some(number) => (number >= limit).then(|| number.to_string()),
        None => Some("the guest did not tell".to_owned()),
    };
    Verdict::new(name, evidence)
}

pub fn rule(alert: &Value) -> &str {
    text(alert, "/rule/id")
}

pub fn is_medium(alert: &Value) -> bool {
    alert.pointer("/event/severity").and_then(Value::as_u64).is_none_or(|severity| severity >= MEDIUM)
}

/// An alert in one line.
pub fn line(alert: &Value) -> String {
    format!(
        "[{} {}] {} <- {}",
        text(alert, "/svcsensor/severity"),
        rule(alert),
        text(alert, "/message"),
        text(alert, "/process/parent/command_line")
    )
}

/// Nothing of medium severity or above.
fn quiet(told: &Transcript, step: &Step) -> Verdict {
    let loud: Vec<String> = told.during(step).filter(|alert| is_medium(alert)).map(line).collect();
    Verdict::new(
        &*step.name,
        (!loud.is_empty()).then(|| format!("{} alerts: {}", loud.len(), loud.join("; "))),
    )
}

/// `first` is the evidence against the first condition that does not hold.
macro_rules! unless {
    ($($holds:expr => $evidence:expr),+ $(,)?) => {
        'judged: {
            $(if !$holds { break 'judged Some($evidence); })+
            None
        }
    };
}

fn shell_unit(told: &Transcript, verdicts: &mut Vec<Verdict>) {
    const FILE: &str = "/etc/systemd/system/telemetry.service";
    const LINK: &str = "/etc/systemd/system/multi-user.target.wants/telemetry.service";
    let writer = told.facts.get("writer.pid").cloned().unwrap_or_default();
    let Some(entry) = told.entry("systemd.unit.written", FILE) else {
        verdicts.push(Verdict::new("unit.written", Some(format!("no entry in the journal for {FILE}"))));
        return;
    };
    let ancestors = lines(entry, "SVCSENSOR_ANCESTORS");
    verdicts.push(Verdict::new(
        "unit.written",
        unless!(
            field(entry, "SVCSENSOR_PID") == [&*writer] => format!("{:?}, not {writer}", field(entry, "SVCSENSOR_PID")),
            field(entry, "SVCSENSOR_TECHNIQUE") == ["T1543.002"] => format!("{:?}", field(entry, "SVCSENSOR_TECHNIQUE")),
            field(entry, "SVCSENSOR_COMMAND_LINE") == ["bash /svcsensor/e2e/backdoor.sh"]
                => format!("{:?}", field(entry, "SVCSENSOR_COMMAND_LINE")),
            field(entry, "SVCSENSOR_USER") == ["root"] => format!("{:?}", field(entry, "SVCSENSOR_USER")),
        ),
    ));
    verdicts.push(Verdict::new(
        "unit.lineage",
        lineage(&ancestors, &["sudo bash /svcsensor/e2e/backdoor.sh", "-bash", "/bin/login -f alice"]),
    ));
    let login = field(entry, "SVCSENSOR_LOGIN_USER");
    verdicts.push(Verdict::new("unit.login-user", (login != ["alice"]).then(|| format!("{login:?}"))));
    verdicts.push(below("unit.within-1-s", latency_ms(entry, told.number("written.ns")), LATENCY_MS));

    let enabled = told.entry("systemd.unit.enabled", LINK);
    let on_behalf = enabled.map(|entry| lines(entry, "SVCSENSOR_ON_BEHALF_OF")).unwrap_or_default();
    verdicts.push(Verdict::new(
        "unit.enabled",
        unless!(
            enabled.is_some() => format!("no entry in the journal for {LINK}"),
            enabled.is_some_and(|entry| field(entry, "SVCSENSOR_PID") == ["1"]) => "not made by PID 1".to_owned(),
            on_behalf.first().is_some_and(|first| first.ends_with(" systemctl enable --now telemetry.service"))
                => format!("on behalf of {on_behalf:?}"),
            on_behalf.get(1).is_some_and(|second| second.starts_with(&format!("{writer} ")))
                => format!("on behalf of {on_behalf:?}, not of {writer}"),
        ),
    ));
}

/// Evidence against a chain of ancestors that has these command lines in this order, and PID 1 at its end.
fn lineage(ancestors: &[&str], commands: &[&str]) -> Option<String> {
    let mut rest = ancestors.iter();
    let found = commands.iter().all(|command| {
        rest.any(|ancestor| ancestor.split_once(' ').is_some_and(|(_, own)| own.starts_with(command)))
    });
    let init = ancestors.last().is_some_and(|last| last.starts_with("1 /"));
    (!found || !init)
        .then(|| format!("ancestors are {ancestors:?}, not {commands:?} and PID 1 with its path"))
}

/// Milliseconds from a time in nanoseconds, taken right after the write, to the journal's own; 0 where the alert was
/// faster than the shell.
fn latency_ms(entry: &Value, written_ns: Option<u64>) -> Option<u64> {
    let received_us: u64 = text(entry, "/__REALTIME_TIMESTAMP").parse().ok()?;
    Some(received_us.saturating_sub(written_ns? / 1000) / 1000)
}

/// Milliseconds from each write to the journal's receipt of its alert.
pub fn latencies(told: &Transcript) -> Vec<(&'static str, u64)> {
    let pairs = [("telemetry.service", "written.ns"), ("nightly.timer", "timer.ns")];
    let measure = |(unit, fact)| {
        let entry = told.entry("systemd.unit.written", &format!("/etc/systemd/system/{unit}"))?;
        Some((unit, latency_ms(entry, told.number(fact))?))
    };
    pairs.into_iter().filter_map(measure).collect()
}

fn timer(told: &Transcript, verdicts: &mut Vec<Verdict>) {
    const FILE: &str = "/etc/systemd/system/nightly.timer";
    let pid = told.facts.get("timer.pid").cloned().unwrap_or_default();
    let Some(entry) = told.entry("systemd.unit.written", FILE) else {
        verdicts.push(Verdict::new("timer.written", Some(format!("no entry in the journal for {FILE}"))));
        return;
    };
    let ancestors = lines(entry, "SVCSENSOR_ANCESTORS");
    let evidence = (field(entry, "SVCSENSOR_PID") != [&*pid])
        .then(|| format!("{:?}, not {pid}", field(entry, "SVCSENSOR_PID")))
        .or_else(|| lineage(&ancestors, &["/bin/bash /svcsensor/e2e/main.sh", "/bin/sh /svcsensor/runner"]));
    verdicts.push(Verdict::new("timer.written", evidence));
    verdicts.push(below("timer.within-1-s", latency_ms(entry, told.number("timer.ns")), LATENCY_MS));
}

/// Evidence against one alert, and no other of medium severity, that names this command.
fn container(told: &Transcript, step: &str, command: &str) -> Option<String> {
    let step = told.steps.iter().find(|own| own.name == step)?;
    let alerts: Vec<&Value> = told.during(step).filter(|alert| is_medium(alert)).collect();
    let lines: Vec<String> = alerts.iter().map(|alert| line(alert)).collect();
    let [alert] = alerts.as_slice() else {
        return Some(format!("{} alerts: {}", alerts.len(), lines.join("; ")));
    };
    let technique = alert.pointer("/threat/technique/subtechnique/id/0").and_then(Value::as_str);
    unless!(
        rule(alert) == "container.restart-policy.set" => lines.join("; "),
        text(alert, "/process/command_line") == command => text(alert, "/process/command_line").to_owned(),
        technique == Some("T1543.005") => format!("{technique:?}"),
    )
}

/// Evidence against the journal's having the same alerts as the jsonl output, in the same order.
fn journal_differs(told: &Transcript) -> Option<String> {
    let journal: Vec<&str> =
        told.entries.iter().flat_map(|entry| field(entry, "SVCSENSOR_ALERT_ID")).collect();
    let live: Vec<&str> = told.alerts.iter().map(|alert| text(alert, "/event/id")).collect();
    (journal != live).then(|| {
        let missing = live.iter().filter(|id| !journal.contains(id)).count();
        format!(
            "{} alerts in the journal, {} live; {missing} are not in the journal",
            journal.len(),
            live.len()
        )
    })
}

/// Evidence against the replay for people telling who wrote the unit.
fn pretty_lacks_the_shell(told: &Transcript) -> Option<String> {
    let writer = told.facts.get("writer.pid").map_or("none", String::as_str);
    let wanted = format!(
        "HIGH bash (pid {writer}, root, login alice) wrote unit telemetry.service in /etc/systemd/system"
    );
    let first = told.pretty.lines().next().unwrap_or_default();
    (!told.pretty.lines().any(|line| line == wanted))
        .then(|| format!("no line {wanted:?}; the first is {first:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_are_compared_in_order() {
        let ancestors = ["9 sudo bash x", "8 -bash", "5 /bin/login -f alice", "1 /sbin/init"];
        assert_eq!(lineage(&ancestors, &["sudo bash x", "-bash", "/bin/login -f alice"]), None);
        assert!(lineage(&ancestors, &["-bash", "sudo bash x"]).is_some());
        assert!(lineage(&ancestors[..3], &["-bash"]).is_some(), "without PID 1");
        assert!(lineage(&["1 [systemd]"], &[]).is_some(), "PID 1 without its path");
    }

    #[test]
    fn only_medium_alerts_break_the_quiet() {
        let alert =
            |severity: u64| serde_json::json!({"@timestamp": "2026", "event": {"severity": severity}});
        let step = Step { name: "quiet.x".into(), from: "2025".into(), to: "2027".into() };
        let mut told = Transcript { alerts: vec![alert(10), alert(21)], ..Transcript::default() };
        assert_eq!(quiet(&told, &step).evidence, None);
        told.alerts.push(alert(47));
        assert!(quiet(&told, &step).evidence.is_some());
    }
}
