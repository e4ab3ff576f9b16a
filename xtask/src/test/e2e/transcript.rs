//! What the guest wrote: steps in time, facts, its own verdicts, and the alerts as live output and journal have them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One named assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub name: String,
    /// Why it does not hold; `None` where it does.
    pub evidence: Option<String>,
}

impl Verdict {
    /// One that holds where there is no evidence against it.
    pub fn new(name: impl Into<String>, evidence: Option<String>) -> Self {
        Self { name: name.into(), evidence }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.evidence {
            None => write!(formatter, "ok {}", self.name),
            Some(evidence) => write!(formatter, "not ok {}: {evidence}", self.name),
        }
    }
}

/// A stretch of time in the guest. Times are RFC 3339 in UTC with six digits, so that they compare as texts.
#[derive(Debug)]
pub struct Step {
    pub name: String,
    pub from: String,
    pub to: String,
}

/// Everything that a guest wrote, read.
#[derive(Debug, Default)]
pub struct Transcript {
    pub steps: Vec<Step>,
    pub facts: BTreeMap<String, String>,
    pub verdicts: Vec<Verdict>,
    /// Lines of the live jsonl output.
    pub alerts: Vec<Value>,
    /// The journal's entries of the sensor, as `journalctl --output=json` has them.
    pub entries: Vec<Value>,
    /// The text of /metrics.
    pub metrics: String,
    /// The replayed alerts for people.
    pub pretty: String,
    /// Files changed, and when the change had ended, in nanoseconds since 1970.
    pub changes: Vec<(String, u64)>,
    /// Containers that wrote a unit each.
    pub containers: Vec<Container>,
}

/// A container as its engine named it.
#[derive(Debug, PartialEq, Eq)]
pub struct Container {
    /// The file that it wrote.
    pub file: String,
    pub id: String,
    pub name: String,
    /// The image's name, without a tag.
    pub image: String,
}

/// Later than any time a guest can have.
const END_OF_TIME: &str = "9999";

impl Transcript {
    /// Reads a guest's lines (see `tests/scenarios/lib.sh`).
    ///
    /// # Errors
    /// Where a line that has a form is not in that form, or the guest did not come to its end.
    pub fn read(lines: &[String]) -> Result<Self> {
        let mut read = Self::default();
        // Before the first step there is the boot.
        let (mut name, mut from) = ("quiet.boot".to_owned(), String::new());
        let mut complete = false;
        for line in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "step" => {
                    let (next, time) = rest.split_once(' ').with_context(|| format!("no time: {line}"))?;
                    read.steps.push(Step { name, from, to: time.to_owned() });
                    (name, from) = (next.to_owned(), time.to_owned());
                }
                "fact" => {
                    let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
                    read.facts.insert(name.to_owned(), value.to_owned());
                }
                "ok" => read.verdicts.push(Verdict::new(rest, None)),
                "not" => {
                    let Some(rest) = rest.strip_prefix("ok ") else { continue };
                    let (name, evidence) = rest.split_once(": ").unwrap_or((rest, "no evidence"));
                    read.verdicts.push(Verdict::new(name, Some(evidence.to_owned())));
                }
                "alert" => read.alerts.push(json(rest)?),
                "entry" => read.entries.push(json(rest)?),
                "metric" => read.metrics.extend([rest, "\n"]),
                "change" => {
                    let (path, time) = rest.rsplit_once(' ').with_context(|| format!("no time: {line}"))?;
                    read.changes.push((path.to_owned(), time.parse().with_context(|| line.clone())?));
                }
                "container" => {
                    let words: Vec<&str> = rest.split(' ').collect();
                    let [file, id, name, image] = words[..] else { bail!("not four words: {line}") };
                    let [file, id, name, image] = [file, id, name, image].map(str::to_owned);
                    read.containers.push(Container { file, id, name, image });
                }
                "pretty" => read.pretty.extend([rest, "\n"]),
                "complete" => complete = true,
                _ => {}
            }
        }
        if !complete {
            bail!("the guest's script did not come to its end");
        }
        read.steps.push(Step { name, from, to: END_OF_TIME.to_owned() });
        Ok(read)
    }

    /// A fact as a number, where it is one.
    pub fn number(&self, fact: &str) -> Option<u64> {
        self.facts.get(fact)?.parse().ok()
    }

    /// The live alerts of a stretch of time.
    pub fn during<'a>(&'a self, step: &'a Step) -> impl Iterator<Item = &'a Value> {
        self.alerts.iter().filter(|alert| {
            let time = text(alert, "/@timestamp");
            step.from.as_str() <= time && time < step.to.as_str()
        })
    }

    /// The journal's first entry of a rule about a file.
    pub fn entry(&self, rule: &str, file: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| {
            field(entry, "SVCSENSOR_RULE") == [rule] && field(entry, "SVCSENSOR_FILE") == [file]
        })
    }
}

fn json(line: &str) -> Result<Value> {
    serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))
}

/// The text at a JSON pointer; empty where there is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The values of a journal entry's field: one that occurs more than once is an array there.
pub fn field<'a>(entry: &'a Value, name: &str) -> Vec<&'a str> {
    match entry.get(name) {
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(value)) => vec![value],
        _ => vec![],
    }
}

/// The lines of a journal entry's field.
pub fn lines<'a>(entry: &'a Value, name: &str) -> Vec<&'a str> {
    field(entry, name).into_iter().flat_map(str::lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Transcript> {
        Transcript::read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn lines_are_sorted_by_their_first_word() {
        let told = read(
            "talk\nok a\nstep one 2026-01-01T00:00:01.000000Z\nnot ok b.c: x: y\nfact n 12\nfact empty\n\
             step end 2026-01-01T00:00:02.000000Z\nalert {\"@timestamp\":\"2026-01-01T00:00:01.500000Z\"}\n\
             alert {\"@timestamp\":\"2026-01-01T00:00:00.500000Z\"}\n\
             entry {\"SVCSENSOR_RULE\":\"r\",\"SVCSENSOR_FILE\":\"/f\",\"A\":[\"1\",\"2\"]}\nmetric a 1\ncomplete",
        )
        .unwrap();
        let verdicts: Vec<String> = told.verdicts.iter().map(ToString::to_string).collect();
        assert_eq!(verdicts, ["ok a", "not ok b.c: x: y"]);
        let counts: Vec<(&str, usize)> =
            told.steps.iter().map(|step| (&*step.name, told.during(step).count())).collect();
        assert_eq!(counts, [("quiet.boot", 1), ("one", 1), ("end", 0)]);
        assert_eq!(["n", "empty", "none"].map(|fact| told.number(fact)), [Some(12), None, None]);
        assert_eq!(field(told.entry("r", "/f").unwrap(), "A"), ["1", "2"]);
        assert!(told.entry("r", "/g").is_none());
        assert_eq!(told.metrics, "a 1\n");
    }

    #[test]
    fn a_guest_that_stopped_midway_has_failed() {
        assert!(read("ok a").unwrap_err().to_string().contains("end"));
        assert!(read("alert {\ncomplete").is_err());
    }
}
