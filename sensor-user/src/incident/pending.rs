//! Incidents of package managers' transactions, held until it is known whether they are a package's.
//!
//! A package manager writes files first and then writes down whose they are, so the question is put again, at growing
//! intervals, until the transaction has ended, and once more then. What is held is bounded in bytes and in time; what finds
//! no room, or no answer, is told as unproved.

use std::collections::{BTreeMap, BTreeSet};

use super::held::Incident;
use super::proving::{Judged, Known, Outcome, Told, judge, masked_unit};
use super::weight::weight;
use crate::detect::managers::{Standing, Transaction};
use crate::detect::score;
use crate::event::content::Want;
use crate::event::proof::{PATHS_MAX, Proof, Proofs};
use crate::incident::alert::Reason;
use crate::proof::package::Manager;

/// How long an incident is held at most, in nanoseconds.
pub const DEADLINE_NS: u64 = 120_000_000_000;
/// After what time it is first asked, so that what is done at once is asked about together.
const FIRST_NS: u64 = 50_000_000;
/// The intervals between questions grow to this.
const INTERVAL_MAX_NS: u64 = 8_000_000_000;
/// Incidents held at most.
const ENTRIES_MAX: usize = 4096;
/// Programs of a unit that are asked about.
pub const PROGRAMS_MAX: usize = 16;

/// How many incidents came to what, in the order of [`Outcome::ALL`].
pub type Outcomes = [u64; Outcome::ALL.len()];

/// The incidents.
#[derive(Debug)]
pub struct Pending {
    entries: BTreeMap<u64, Entry>,
    next: u64,
    next_question: u64,
    bytes: usize,
    bytes_max: usize,
    /// Processes of the transactions, with the entries of each.
    processes: BTreeMap<(u32, u64), usize>,
    /// Something has come that may settle an entry.
    news: bool,
    /// When the next entry is due.
    due: Option<u64>,
    outcomes: Outcomes,
}

#[derive(Debug)]
struct Entry {
    incident: Box<Incident>,
    bytes: usize,
    since: u64,
    ask_at: u64,
    asked: u32,
    /// The question, and whether the transaction had ended when it was put.
    question: Option<(u64, bool)>,
    proofs: BTreeMap<Vec<u8>, Proof>,
    ended: bool,
    settled: bool,
}

impl Entry {
    fn paths(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let finding = &self.incident.finding;
        let file = finding.file.iter().map(|file| file.path.clone().into_bytes());
        let script = finding.transaction.iter().filter_map(|own| own.script.clone());
        let masked = masked_unit(&self.incident);
        file.chain(script).chain(masked).chain(finding.programs.iter().take(PROGRAMS_MAX).cloned())
    }

    fn transaction(&self) -> Option<&Transaction> {
        self.incident.finding.transaction.as_deref()
    }

    fn processes(&self) -> BTreeSet<(u32, u64)> {
        self.transaction().map(|own| [own.process, own.top].into()).unwrap_or_default()
    }
}

impl Pending {
    /// For incidents of at most so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            next: 0,
            next_question: 1,
            bytes: 0,
            bytes_max,
            processes: BTreeMap::new(),
            news: false,
            due: None,
            outcomes: [0; Outcome::ALL.len()],
        }
    }

    /// Incidents held, the bound, and their bytes.
    pub fn figures(&self) -> (usize, usize, usize) {
        (self.entries.len(), ENTRIES_MAX, self.bytes)
    }

    /// What incidents came to.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Whether one of them is about this subject, whoever acted.
    pub fn is_about(&self, subject: &str) -> bool {
        self.entries.values().any(|entry| entry.incident.finding.subject == subject)
    }

    /// When something is due, on `CLOCK_BOOTTIME` in nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.due
    }

    /// Takes up an incident of a transaction. What there is no room for is `ready` at once, the oldest first.
    pub fn add(&mut self, incident: Incident, now: u64, ready: &mut Vec<Incident>) {
        let Some(incident) = self.completed(incident, now) else { return };
        // Of what is removed, the database says soon afterwards that it was never there.
        let removal = incident.finding.event_type == "deletion";
        let bytes = weight(&incident);
        let entry = Entry {
            incident: Box::new(incident),
            bytes,
            since: now,
            ask_at: if removal { now } else { now + FIRST_NS },
            asked: 0,
            question: None,
            proofs: BTreeMap::new(),
            ended: false,
            settled: false,
        };
        for process in entry.processes() {
            *self.processes.entry(process).or_default() += 1;
        }
        self.bytes += bytes;
        self.due = Some(self.due.map_or(entry.ask_at, |due| due.min(entry.ask_at)));
        self.entries.insert(self.next, entry);
        self.next += 1;
        while self.bytes > self.bytes_max || self.entries.len() > ENTRIES_MAX {
            let Some(oldest) = self.entries.keys().next().copied() else { return };
            ready.extend(self.take(oldest).map(|entry| self.unheld(entry)));
        }
    }

    /// What a file says may be read only after its incident was handed on: it is one with that. Else it is given back.
    fn completed(&mut self, incident: Incident, now: u64) -> Option<Incident> {
        let same = |entry: &&mut Entry| {
            let known = &entry.incident.finding;
            known.awaits_content
                && (&known.subject, known.process) == (&incident.finding.subject, incident.finding.process)
        };
        let Some(entry) = self.entries.values_mut().find(same) else { return Some(incident) };
        entry.incident.complete_with(incident);
        self.bytes -= entry.bytes;
        entry.bytes = weight(&entry.incident);
        self.bytes += entry.bytes;
        // It may name programs that nobody was asked about.
        (entry.question, entry.settled, entry.ask_at) = (None, false, now);
        self.due = Some(now);
        None
    }

    fn unheld(&mut self, entry: Entry) -> Incident {
        self.outcomes[Outcome::Overdue as usize] += 1;
        let mut incident = *entry.incident;
        let text = "a package manager may have made it; there was no room to wait for proof".to_owned();
        incident.reasons.push(Reason { points: 0, text });
        incident
    }

    fn take(&mut self, key: u64) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.bytes -= entry.bytes;
        for process in entry.processes() {
            if let Some(count) = self.processes.get_mut(&process) {
                *count -= 1;
                if *count == 0 {
                    self.processes.remove(&process);
                }
            }
        }
        Some(entry)
    }

    /// A process has ended.
    pub fn process_ended(&mut self, process: (u32, u64)) {
        self.news |= self.processes.contains_key(&process);
    }

    /// What was found out.
    pub fn proved(&mut self, proofs: &Proofs) {
        // A package manager's own identity may have become known.
        self.news = true;
        for entry in self.entries.values_mut() {
            let Some((_, ended)) = entry.question.filter(|(id, _)| *id == proofs.id) else { continue };
            let paths: Vec<Vec<u8>> = entry.paths().collect();
            for proof in proofs.proofs.iter().filter(|proof| paths.contains(&proof.path)) {
                // Whose it was stays known.
                let former = entry.proofs.get(&proof.path).and_then(|known| {
                    known.former.clone().or_else(|| match &known.verdict {
                        crate::proof::package::Verdict::Proved { package }
                        | crate::proof::package::Verdict::Claimed { package }
                        | crate::proof::package::Verdict::Modified { package, .. } => Some(package.clone()),
                        _ => None,
                    })
                });
                let mut proof = proof.clone();
                proof.former = proof.former.or(former);
                entry.proofs.insert(proof.path.clone(), proof);
            }
            entry.settled |= ended;
            entry.question = None;
        }
    }

    /// Brings out what can be said at `now`, and puts the questions that are due.
    pub fn go_on(
        &mut self,
        now: u64,
        standing: impl Fn(&Transaction) -> Standing,
        distrusted: &BTreeMap<Manager, String>,
        ready: &mut Vec<Incident>,
        wants: &mut Vec<Want>,
    ) {
        if self.entries.is_empty() || !self.news && self.next_deadline().is_none_or(|due| due > now) {
            return;
        }
        self.news = false;
        let mut judged: Vec<(u64, Judged)> = Vec::new();
        for (key, entry) in &mut self.entries {
            let Some(transaction) = entry.incident.finding.transaction.as_deref() else { continue };
            let standing = standing(transaction);
            if standing.ended && !entry.ended {
                entry.ended = true;
                entry.question = None;
                entry.ask_at = now;
            }
            let overdue = now >= entry.since + DEADLINE_NS;
            let known = Known {
                proofs: &entry.proofs,
                standing: &standing,
                settled: entry.settled,
                overdue,
                distrusted,
            };
            judged.extend(judge(&entry.incident, &known).map(|judged| (*key, judged)));
        }
        for (key, (told, reasons)) in judged {
            let Some(entry) = self.take(key) else { continue };
            self.outcomes[told.outcome as usize] += 1;
            ready.push(conclude(*entry.incident, told, reasons));
        }
        self.ask(now, wants);
        self.due = self.entries.values().map(|entry| entry.ask_at.min(entry.since + DEADLINE_NS)).min();
    }

    /// What is due soon is asked about with what is due now.
    fn ask(&mut self, now: u64, wants: &mut Vec<Want>) {
        if self.entries.values().all(|entry| entry.ask_at > now) {
            return;
        }
        let mut questions: BTreeMap<bool, (u64, BTreeSet<Vec<u8>>)> = BTreeMap::new();
        for entry in self.entries.values_mut().filter(|entry| entry.ask_at <= now + FIRST_NS) {
            let own: BTreeSet<Vec<u8>> = entry.paths().collect();
            let (id, paths) = questions.entry(entry.ended).or_default();
            if *id != 0 && paths.union(&own).count() > PATHS_MAX {
                let paths = std::mem::take(paths).into_iter().collect();
                wants.push(Want::Proof { id: *id, paths });
                *id = 0;
            }
            if *id == 0 {
                *id = self.next_question;
                self.next_question += 1;
            }
            paths.extend(own);
            entry.question = Some((*id, entry.ended));
            entry.ask_at = now + (FIRST_NS << entry.asked.min(16)).saturating_mul(4).min(INTERVAL_MAX_NS);
            entry.asked += 1;
        }
        for (id, paths) in questions.into_values().filter(|(id, _)| *id != 0) {
            wants.push(Want::Proof { id, paths: paths.into_iter().collect() });
        }
    }

    /// Brings out everything, at the end of the stream.
    pub fn drain(&mut self, ready: &mut Vec<Incident>) {
        let keys: Vec<u64> = self.entries.keys().copied().collect();
        for key in keys {
            ready.extend(self.take(key).map(|entry| self.unheld(entry)));
        }
        self.due = None;
    }
}

/// An incident with what its proof came to. What is proved is information: a user may want to read it, nobody has to.
fn conclude(mut incident: Incident, told: Told, reasons: Vec<(i8, String)>) -> Incident {
    use crate::detect::rule::Severity;
    incident.reasons.extend(reasons.into_iter().map(|(points, text)| Reason { points, text }));
    if told.outcome == Outcome::Proved {
        let sum: i32 = incident.reasons.iter().map(|reason| i32::from(reason.points)).sum();
        let over = sum - i32::from(score::base(Severity::Info));
        if let Ok(over @ 1..) = i8::try_from(over.min(i32::from(i8::MAX))) {
            incident.reasons.push(Reason { points: -over, text: "known software".to_owned() });
        }
    }
    incident.proof = Some(Box::new(told));
    incident
}
