//! What is held back until more is known.

use std::collections::{BTreeMap, HashMap};

use super::HOLD_NS;
use super::alert::{Approved, Reason};
use super::proving::Told;
use super::weight::weight;
use crate::detect::finding::{Finding, Phase};
use crate::detect::rules;
use crate::lineage::actor::{Actor, ContainerIdentity};

/// A finding with its actor, and the actions that it consists of.
#[derive(Clone, Debug)]
pub struct Incident {
    /// The finding, as its first record told it and later ones completed it.
    pub finding: Finding,
    /// Who acted.
    pub actor: Actor,
    /// All parts of the score.
    pub reasons: Vec<Reason>,
    /// What was seen, oldest first, each once.
    pub actions: Vec<&'static str>,
    /// Who told to expect it.
    pub approved: Option<Box<Approved>>,
    /// What proof has come to.
    pub proof: Option<Box<Told>>,
    /// It is complete but for who its container is.
    waits_for_identity: bool,
}

impl Incident {
    /// Of one record.
    pub fn new(finding: Finding, actor: Actor, reasons: Vec<Reason>) -> Self {
        let actions = vec![finding.action];
        Self { finding, actor, reasons, actions, approved: None, proof: None, waits_for_identity: false }
    }

    /// Takes up what its file turned out to say after it was handed on.
    pub(super) fn complete_with(&mut self, later: Self) {
        self.join(later.finding, later.actor, later.reasons);
    }

    /// Names the containers of this id. Whether there is one.
    fn identify(&mut self, id: &str, identity: Option<&ContainerIdentity>) -> bool {
        let client = self.actor.on_behalf_of.as_mut().and_then(|client| client.container.as_mut());
        let mut found = false;
        for container in self.actor.container.iter_mut().chain(client).filter(|container| container.id == id)
        {
            found = true;
            if let (None, Some(identity)) = (&container.identity, identity) {
                container.identity = Some(Box::new(identity.clone()));
            }
        }
        found
    }

    fn is_identified(&self) -> bool {
        let client = self.actor.on_behalf_of.as_ref().and_then(|client| client.container.as_ref());
        self.actor.container.iter().chain(client).all(|container| container.identity.is_some())
    }

    /// The same, with the actions on a file that this one gives its final name.
    fn completing(before: Option<Self>, finding: Finding, actor: Actor, reasons: Vec<Reason>) -> Self {
        let mut incident = Self::new(finding, actor, reasons);
        if let Some(before) = before {
            let earlier = before.actions.into_iter().filter(|action| *action != incident.finding.action);
            incident.actions.splice(0..0, earlier);
        }
        incident
    }

    /// Takes up a later record of the same process on the same subject.
    fn join(&mut self, later: Finding, actor: Actor, reasons: Vec<Reason>) {
        if !self.actions.contains(&later.action) {
            self.actions.push(later.action);
        }
        let skip = if later.rule.id == self.finding.rule.id {
            None
        } else if rank(&self.finding) < rank(&later) {
            // Content outweighs attributes, what is there now what was taken away: a rule that has both names the
            // former. The other's points are for something else.
            let outranked = self.finding.rule.name;
            self.finding.rule = later.rule;
            self.reasons.retain(|reason| reason.text != outranked);
            let base = reasons.iter().find(|reason| reason.text == later.rule.name).cloned();
            self.reasons.splice(0..0, base);
            if is_removal(&self.finding) {
                self.finding.event_type = later.event_type;
                self.finding.action = later.action;
                self.finding.file = later.file.clone();
            }
            None
        } else {
            Some(later.rule.name)
        };
        for reason in reasons {
            if Some(reason.text.as_str()) != skip && !self.reasons.contains(&reason) {
                self.reasons.push(reason);
            }
        }
        if self.finding.event_type == "change" && later.event_type == "creation" {
            self.finding.event_type = later.event_type;
        }
        if later.unit.as_ref().is_some_and(|unit| !unit.changes.is_empty() || !unit.signals.is_empty()) {
            self.finding.unit = later.unit;
        }
        // A request is more exact than the command line that led to it, and what a file describes is known once it was read.
        if later.container_service.is_some() {
            self.finding.container_service = later.container_service;
        }
        if later.content_sha256.is_some() {
            self.finding.content_sha256 = later.content_sha256;
        }
        if self.finding.also.is_empty() {
            self.finding.also = later.also;
        }
        if later.phase != Phase::Held {
            self.finding.awaits_content = later.awaits_content;
        }
        if self.finding.transaction.is_none() {
            self.finding.transaction = later.transaction;
        }
        if !later.programs.is_empty() {
            self.finding.programs = later.programs;
        }
        let new = later.doubts.into_iter().filter(|doubt| !self.finding.doubts.contains(doubt));
        let new: Vec<String> = new.collect();
        self.finding.doubts.extend(new);
        // A file that is being created has no identity yet.
        if let (Some(known), Some(file)) = (&mut self.finding.file, later.file) {
            let other_path = known.other_path.take().or_else(|| file.other_path.clone());
            if file.inode != 0 || known.inode == 0 {
                *known = file;
            }
            known.other_path = other_path;
        }
        if self.actor.process.incomplete && !actor.process.incomplete {
            self.actor = actor;
        } else if let (Some(own), Some(later)) = (&mut self.actor.container, actor.container) {
            if own.id == later.id && own.identity.is_none() {
                own.identity = later.identity;
            }
        }
    }
}

/// Of two findings about one subject that with the greater rank names the incident.
fn rank(finding: &Finding) -> u8 {
    let attributes = [&rules::UNIT_ATTRIBUTES, &rules::STARTUP_ENTRY_ATTRIBUTES];
    if attributes.iter().any(|known| known.id == finding.rule.id) {
        0
    } else if is_removal(finding) {
        1
    } else {
        2
    }
}

fn is_removal(finding: &Finding) -> bool {
    finding.event_type == "deletion"
}

type Key = (String, (u32, u64));

fn key(finding: &Finding) -> Key {
    (finding.subject.clone(), finding.process)
}

/// The held incidents, bounded.
#[derive(Debug)]
pub struct Held {
    by_age: BTreeMap<u64, Box<Incident>>,
    index: HashMap<Key, u64>,
    next: u64,
    bytes: usize,
    bytes_max: usize,
}

impl Held {
    /// For incidents of at most so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { by_age: BTreeMap::new(), index: HashMap::new(), next: 0, bytes: 0, bytes_max }
    }

    /// Incidents held.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// Whether one of them is about this subject, whoever acted.
    pub fn is_about(&self, subject: &str) -> bool {
        self.by_age.values().any(|incident| incident.finding.subject == subject)
    }

    /// Bytes that they hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest is due, on `CLOCK_BOOTTIME` in nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.by_age.values().next().map(|incident| incident.finding.boottime_ns.saturating_add(HOLD_NS))
    }

    /// Takes up a finding. `ready` receives what need not be held any longer, in the order in which it happened.
    pub fn add(&mut self, finding: Finding, actor: Actor, reasons: Vec<Reason>, ready: &mut Vec<Incident>) {
        let (phase, awaits_content) = (finding.phase, finding.awaits_content);
        let awaits_identity = finding.awaits_identity;
        let held = self.matching(&finding, &actor);
        let finished = self.finished_by(&finding).and_then(|age| self.take(age));
        let age = match (phase, held) {
            (Phase::Complete, held) => {
                ready.extend(held.and_then(|age| self.take(age)));
                self.hold(Incident::completing(finished, finding, actor, reasons))
            }
            (_, Some(age)) => {
                if let Some(incident) = self.by_age.get_mut(&age) {
                    self.bytes -= weight(incident);
                    incident.join(finding, actor, reasons);
                    self.bytes += weight(incident);
                }
                age
            }
            (_, None) => self.hold(Incident::completing(finished, finding, actor, reasons)),
        };
        if phase != Phase::Held && !awaits_content {
            let identified = !awaits_identity || self.by_age.get(&age).is_some_and(|own| own.is_identified());
            match self.by_age.get_mut(&age) {
                Some(incident) if !identified => incident.waits_for_identity = true,
                _ => ready.extend(self.take(age)),
            }
        }
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.by_age.keys().next().copied() else { return };
            ready.extend(self.take(oldest));
        }
    }

    fn hold(&mut self, incident: Incident) -> u64 {
        let age = self.next;
        self.next += 1;
        self.index.insert(key(&incident.finding), age);
        let incident = Box::new(incident);
        self.bytes += weight(&incident);
        self.by_age.insert(age, incident);
        age
    }

    /// What was held for this subject: by the same process, or by an ancestor whose descriptor was inherited.
    fn matching(&self, finding: &Finding, actor: &Actor) -> Option<u64> {
        if self.index.is_empty() {
            return None;
        }
        let mut key = key(finding);
        if let Some(age) = self.index.get(&key) {
            return Some(*age);
        }
        if finding.phase != Phase::Closing {
            return None;
        }
        actor.ancestors.iter().find_map(|ancestor| {
            key.1 = (ancestor.pid, ancestor.start_boottime_ns);
            self.index.get(&key).copied()
        })
    }

    /// What a rename completes: the same process's file under a name that looked unfinished.
    fn finished_by(&self, finding: &Finding) -> Option<u64> {
        let old = finding.completes.clone()?;
        self.index.get(&(old, finding.process)).copied()
    }

    fn take(&mut self, age: u64) -> Option<Incident> {
        let incident = self.by_age.remove(&age)?;
        self.bytes -= weight(&incident);
        self.index.remove(&key(&incident.finding));
        Some(*incident)
    }

    /// Names a container wherever it is; what waits for nothing else can go.
    pub fn identified(&mut self, id: &str, identity: Option<&ContainerIdentity>, ready: &mut Vec<Incident>) {
        let mut complete = Vec::new();
        for (age, incident) in &mut self.by_age {
            self.bytes -= weight(incident);
            let named = incident.identify(id, identity);
            self.bytes += weight(incident);
            if named && incident.waits_for_identity {
                complete.push(*age);
            }
        }
        for age in complete {
            ready.extend(self.take(age));
        }
    }

    /// Hands over what is due at `now`.
    pub fn expire(&mut self, now: u64, ready: &mut Vec<Incident>) {
        while let Some((age, incident)) = self.by_age.first_key_value() {
            if incident.finding.boottime_ns.saturating_add(HOLD_NS) > now {
                return;
            }
            let age = *age;
            ready.extend(self.take(age));
        }
    }

    /// Hands over everything.
    pub fn drain(&mut self, ready: &mut Vec<Incident>) {
        self.index.clear();
        self.bytes = 0;
        ready.extend(std::mem::take(&mut self.by_age).into_values().map(|incident| *incident));
    }
}
