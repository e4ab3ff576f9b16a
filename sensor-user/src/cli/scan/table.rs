//! The answer for people: read in a minute.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::Answer;
use super::document::{kind_name, moment};
use crate::audit::Risk;
use crate::detect::rule::Severity;
use crate::event::path::lossy;
use crate::proof::inventory::Kind;
use crate::sink::text::{prefix, printable};

/// Sentences of one finding.
const WHY_SHOWN: usize = 6;
/// Characters of one.
const LINE_MAX: usize = 240;
/// Problems that are named; all are in the JSON document.
const PROBLEMS_SHOWN: usize = 8;
/// Evidence of one check.
const EVIDENCE_SHOWN: usize = 8;

/// Kinds in the order in which they are summed up, as one and as several.
const KINDS: [(Kind, &str, &str); 9] = [
    (Kind::Unit, "unit", "units"),
    (Kind::DropIn, "drop-in", "drop-ins"),
    (Kind::Link, "link", "links"),
    (Kind::Generator, "generator", "generators"),
    (Kind::InitScript, "init script", "init scripts"),
    (Kind::Container, "container", "containers"),
    (Kind::Quadlet, "Quadlet", "Quadlets"),
    (Kind::StaticPod, "static pod", "static pods"),
    (Kind::Adjacent, "other file", "other files"),
];

pub(super) fn table(answer: &Answer<'_>, colour: bool) -> String {
    let mut text = String::with_capacity(4096);
    let mut page = Page { text: &mut text, colour };
    page.all(answer).expect("a string takes whatever is written to it");
    text
}

struct Page<'a> {
    text: &'a mut String,
    colour: bool,
}

impl Page<'_> {
    fn all(&mut self, answer: &Answer<'_>) -> std::fmt::Result {
        self.summary(answer)?;
        let (listed, rest): (Vec<_>, Vec<_>) =
            answer.risks.iter().partition(|risk| risk.severity >= answer.least);
        for risk in &listed {
            self.risk(risk)?;
        }
        if !rest.is_empty() {
            writeln!(
                self.text,
                "\n{} more are not proved and below {}: --all lists them.",
                rest.len(),
                answer.least.name()
            )?;
        }
        self.posture(answer)?;
        self.problems(answer)
    }

    fn summary(&mut self, answer: &Answer<'_>) -> std::fmt::Result {
        let sum = &answer.sum;
        writeln!(
            self.text,
            "{} things below {} start by themselves or have a part in it.",
            sum.total(),
            line(&answer.root)
        )?;
        if sum.total_proved() > 0 {
            let kinds: Vec<String> = KINDS
                .iter()
                .filter_map(|(kind, one, many)| {
                    let count = *sum.proved.get(kind)?;
                    Some(format!("{count} {}", if count == 1 { one } else { many }))
                })
                .collect();
            writeln!(self.text, "Proved by {} packages: {}.", sum.packages, kinds.join(", "))?;
        }
        let listed = answer.risks.iter().filter(|risk| risk.severity >= answer.least).count();
        if listed == 0 {
            writeln!(self.text, "Nothing else is at {} or above.", answer.least.name())?;
        } else {
            writeln!(self.text, "Not proved, the riskiest first: {listed}.")?;
        }
        Ok(())
    }

    fn risk(&mut self, risk: &Risk<'_>) -> std::fmt::Result {
        let entry = risk.entry;
        writeln!(self.text)?;
        self.severity(risk.severity)?;
        let bold = if self.colour { Style::new().bold() } else { Style::new() };
        let kind = if entry.kind == Kind::Adjacent { "" } else { kind_name(entry.kind) };
        let space = if kind.is_empty() { "" } else { " " };
        writeln!(
            self.text,
            " {kind}{space}{bold}{}{bold:#}  {}",
            line(&entry.name),
            line(&lossy(&entry.path))
        )?;
        let user = entry.user.map(|user| format!(", of user {user}'s manager")).unwrap_or_default();
        let target = entry.target.as_ref().map(|target| format!(", leads to {}", line(&lossy(target))));
        writeln!(
            self.text,
            "          owner {}:{}, mode {:04o}, changed {}{user}{}",
            entry.uid,
            entry.gid,
            entry.mode & 0o7777,
            moment(entry.modified_ns),
            target.unwrap_or_default()
        )?;
        for why in risk.why.iter().take(WHY_SHOWN) {
            writeln!(self.text, "          - {}", line(why))?;
        }
        if risk.why.len() > WHY_SHOWN {
            writeln!(self.text, "          - and {} reasons more", risk.why.len() - WHY_SHOWN)?;
        }
        Ok(())
    }

    fn severity(&mut self, severity: Severity) -> std::fmt::Result {
        let style = match severity {
            _ if !self.colour => Style::new(),
            Severity::Info | Severity::Low => Style::new().dimmed(),
            Severity::Medium => AnsiColor::Yellow.on_default(),
            Severity::High => AnsiColor::Red.on_default(),
            Severity::Critical => AnsiColor::Red.on_default().bold(),
        };
        write!(self.text, "{style}{:<9}{style:#}", severity.name())
    }

    fn posture(&mut self, answer: &Answer<'_>) -> std::fmt::Result {
        let (listed, rest): (Vec<_>, Vec<_>) =
            answer.posture.iter().partition(|check| check.severity >= answer.least);
        if !listed.is_empty() {
            writeln!(self.text, "\nWhat makes planting something easy:")?;
        }
        for check in &listed {
            writeln!(self.text)?;
            self.severity(check.severity)?;
            writeln!(self.text, " {}  [{}, {}]", line(&check.title), check.id, check.mitigations.join(", "))?;
            for evidence in check.evidence.iter().take(EVIDENCE_SHOWN) {
                writeln!(self.text, "          - {}", line(evidence))?;
            }
            if check.evidence.len() > EVIDENCE_SHOWN {
                writeln!(self.text, "          - and {} more", check.evidence.len() - EVIDENCE_SHOWN)?;
            }
            writeln!(self.text, "          {}", check.advice)?;
        }
        if !rest.is_empty() {
            writeln!(
                self.text,
                "\n{} posture checks have something for the record: --all lists them.",
                rest.len()
            )?;
        }
        Ok(())
    }

    fn problems(&mut self, answer: &Answer<'_>) -> std::fmt::Result {
        let problems = &answer.survey.problems;
        if problems.is_empty() {
            return Ok(());
        }
        let all = problems.len() + answer.survey.problems_untold;
        writeln!(self.text, "\n{all} things could not be looked at, or not wholly:")?;
        for problem in problems.iter().take(PROBLEMS_SHOWN) {
            writeln!(self.text, "  {}: {}", line(&lossy(&problem.path)), line(&problem.what))?;
        }
        if all > PROBLEMS_SHOWN {
            writeln!(self.text, "  and {} more: --output json names them", all - PROBLEMS_SHOWN)?;
        }
        Ok(())
    }
}

/// What others wrote, as one line of printable text.
fn line(text: &str) -> String {
    let shown = prefix(text, LINE_MAX);
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{}{more}", printable(shown))
}
