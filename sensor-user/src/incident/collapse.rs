//! From incidents to alerts: repeats are counted, the rest is told.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::alert::{Alert, HostInfo};
use super::held::{Held, Incident};
use super::pending::Pending;
use super::weight::weight;
use super::{WINDOW_NS, approve, identity, summary};
use crate::detect::finding::Finding;
use crate::detect::rule::Severity;
use crate::detect::{rules, score};
use crate::event::approval::Approvals;
use crate::event::user::Host;
use crate::incident::alert::Reason;
use crate::lineage::actor::{Actor, ContainerIdentity};

/// Incidents whose repeats are counted.
const WINDOWS_MAX: usize = 4096;

/// What waits for proof may take so many times the room of what waits for its file alone: an upgrade changes hundreds.
const PENDING_TIMES: usize = 4;

type Key = (&'static str, String, (u32, u64));

/// An alert was told; what has come since.
#[derive(Debug)]
struct Window {
    since: u64,
    severity: Severity,
    repeats: u64,
    /// The last repeat. It stands for all of them. Most windows have none, and the table keeps room for many.
    last: Option<Box<Incident>>,
}

/// The collapse of findings into alerts.
#[derive(Debug)]
pub struct Collapse {
    held: Held,
    pending: Pending,
    windows: HashMap<Key, Window>,
    /// The windows by their beginning. A renewed window is found a second time, and its first entry passed over.
    order: VecDeque<(u64, Key)>,
    host: HostInfo,
    realtime_offset_ns: i64,
    approvals: approve::Known,
    ready: Vec<Incident>,
    alerts: [u64; rules::RULES.len()],
    collapsed: u64,
    /// Windows with repeats.
    repeating: usize,
    /// Bytes of their last repeats.
    repeat_bytes: usize,
    bytes_max: usize,
}

impl Collapse {
    /// Incidents that are held back have at most so many bytes, and repeats that are kept as many.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            held: Held::new(bytes_max),
            pending: Pending::new(PENDING_TIMES * bytes_max),
            windows: HashMap::new(),
            order: VecDeque::new(),
            host: HostInfo::default(),
            realtime_offset_ns: 0,
            approvals: approve::Known::default(),
            ready: Vec::new(),
            alerts: [0; rules::RULES.len()],
            collapsed: 0,
            repeating: 0,
            repeat_bytes: 0,
            bytes_max,
        }
    }

    /// Notes machine and clock.
    pub fn set_host(&mut self, host: &Host) {
        self.realtime_offset_ns = host.realtime_offset_ns;
        self.host = HostInfo {
            hostname: host.hostname.clone(),
            machine_id: host.machine_id.clone(),
            boot_id: host.boot_id.clone(),
            kernel_release: host.kernel_release.clone(),
            backend: host.backend.clone(),
        };
    }

    /// Notes what is approved.
    pub fn set_approvals(&mut self, approvals: Approvals) {
        self.approvals.set(approvals);
    }

    /// How often each exception was met, and all approvals together.
    pub fn approvals_matched(&self) -> &BTreeMap<String, u64> {
        self.approvals.matched()
    }

    /// What is held back.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Windows in which repeats are counted, their bound, and the bytes of the repeats that they keep.
    pub fn windows(&self) -> (usize, usize, usize) {
        (self.windows.len(), WINDOWS_MAX, self.repeat_bytes)
    }

    /// Alerts per rule, in the order of [`rules::RULES`].
    pub fn alerts(&self) -> &[u64; rules::RULES.len()] {
        &self.alerts
    }

    /// Incidents that were counted as repeats. Each is also in the [`Alert::collapsed`] of a later alert, save the
    /// one that this alert itself shows, and files found that had been told as they were made.
    pub fn collapsed(&self) -> u64 {
        self.collapsed
    }

    /// When something is due, on `CLOCK_BOOTTIME` in nanoseconds: a record of that time or later brings it out.
    pub fn next_deadline(&self) -> Option<u64> {
        let first_repeat = || {
            self.order.iter().find_map(|(since, key)| {
                let window = self.windows.get(key).filter(|window| window.since == *since)?;
                (window.repeats > 0).then(|| since.saturating_add(WINDOW_NS))
            })
        };
        let repeats = (self.repeating > 0).then(first_repeat).flatten();
        [self.held.next_deadline(), self.pending.next_deadline(), repeats].into_iter().flatten().min()
    }

    /// Takes up a finding.
    pub fn add(
        &mut self,
        finding: Finding,
        actor: Actor,
        reasons: Vec<Reason>,
        now: u64,
        out: &mut Vec<Alert>,
    ) {
        let mut ready = std::mem::take(&mut self.ready);
        self.held.add(finding, actor, reasons, &mut ready);
        self.tell_all(&mut ready, now, out);
    }

    /// Who a container is became known, as far as it can be: what waits for that alone can go.
    pub fn identified(
        &mut self,
        id: &str,
        identity: Option<&ContainerIdentity>,
        now: u64,
        out: &mut Vec<Alert>,
    ) {
        let mut ready = std::mem::take(&mut self.ready);
        self.held.identified(id, identity, &mut ready);
        self.tell_all(&mut ready, now, out);
    }

    /// Brings out what is due at `now`.
    pub fn expire(&mut self, now: u64, out: &mut Vec<Alert>) {
        if self.held.next_deadline().is_some_and(|deadline| deadline <= now) {
            let mut ready = std::mem::take(&mut self.ready);
            self.held.expire(now, &mut ready);
            self.tell_all(&mut ready, now, out);
        }
        while let Some((since, _)) = self.order.front() {
            if since.saturating_add(WINDOW_NS) > now {
                return;
            }
            self.close_oldest(now, true, out);
        }
    }

    /// Brings out everything.
    pub fn drain(&mut self, now: u64, out: &mut Vec<Alert>) {
        let mut ready = std::mem::take(&mut self.ready);
        self.held.drain(&mut ready);
        self.tell_all(&mut ready, now, out);
        let mut unproved = Vec::new();
        self.pending.drain(&mut unproved);
        for incident in unproved {
            self.consider(incident, now, out);
        }
        while !self.order.is_empty() {
            self.close_oldest(now, false, out);
        }
    }

    fn tell_all(&mut self, ready: &mut Vec<Incident>, now: u64, out: &mut Vec<Alert>) {
        let mut refused = Vec::new();
        for incident in ready.drain(..) {
            if incident.finding.transaction.is_some() && incident.finding.file.is_some() {
                self.pending.add(incident, now, &mut refused);
            } else {
                self.consider(incident, now, out);
            }
        }
        for incident in refused {
            self.consider(incident, now, out);
        }
        self.ready = std::mem::take(ready);
    }

    /// What waits for proof.
    pub fn pending(&self) -> &Pending {
        &self.pending
    }

    /// The same, to be told more.
    pub fn pending_mut(&mut self) -> &mut Pending {
        &mut self.pending
    }

    /// Tells what was held for its proof.
    pub fn tell_proved(&mut self, incidents: Vec<Incident>, now: u64, out: &mut Vec<Alert>) {
        for incident in incidents {
            self.consider(incident, now, out);
        }
    }

    /// Tells an incident, or counts it as a repeat.
    fn consider(&mut self, mut incident: Incident, now: u64, out: &mut Vec<Alert>) {
        let wall_ns = incident.finding.boottime_ns.cast_signed().saturating_add(self.realtime_offset_ns);
        self.approvals.apply(&mut incident, wall_ns);
        let finding = &incident.finding;
        // What a directory held when its watch was set was told already if it was seen being made.
        if finding.action == "file_found"
            && (self.held.is_about(&finding.subject)
                || self.pending.is_about(&finding.subject)
                || self.windows.keys().any(|(_, subject, _)| *subject == finding.subject))
        {
            self.collapsed += 1;
            return;
        }
        let key: Key = (finding.rule.id, finding.subject.clone(), finding.process);
        let severity = score::severity(score::sum(&incident.reasons));
        if let Some(window) = self.windows.get_mut(&key) {
            if severity <= window.severity {
                self.repeating += usize::from(window.repeats == 0);
                window.repeats += 1;
                self.collapsed += 1;
                // Only one is kept, so what repeats count is summed up.
                let mut incident = Box::new(incident);
                self.repeat_bytes += weight(&incident);
                if let Some(before) = window.last.take() {
                    self.repeat_bytes -= weight(&before);
                    incident.finding.quantity += before.finding.quantity;
                }
                window.last = Some(incident);
                while self.repeat_bytes > self.bytes_max {
                    self.close_oldest(now, false, out);
                }
                return;
            }
        }
        self.tell(incident, 0, out);
        self.open(key, severity, now, out);
    }

    fn open(&mut self, key: Key, severity: Severity, now: u64, out: &mut Vec<Alert>) {
        let window = Window { since: now, severity, repeats: 0, last: None };
        if let Some(before) = self.windows.insert(key.clone(), window) {
            self.tell_repeats(before, out);
        }
        self.order.push_back((now, key));
        while self.order.len() > WINDOWS_MAX {
            self.close_oldest(now, false, out);
        }
    }

    /// Ends the oldest window. Where there were repeats they are told, and with `renew` a new one begins: what goes on
    /// for ever is told once per window.
    fn close_oldest(&mut self, now: u64, renew: bool, out: &mut Vec<Alert>) {
        let Some((since, key)) = self.order.pop_front() else { return };
        if self.windows.get(&key).is_none_or(|window| window.since != since) {
            return;
        }
        let Some(window) = self.windows.remove(&key) else { return };
        let severity = window.severity;
        if self.tell_repeats(window, out) && renew {
            self.windows.insert(key.clone(), Window { since: now, severity, repeats: 0, last: None });
            self.order.push_back((now, key));
        }
    }

    fn tell_repeats(&mut self, window: Window, out: &mut Vec<Alert>) -> bool {
        let Some(incident) = window.last else { return false };
        self.repeating -= 1;
        self.repeat_bytes -= weight(&incident);
        self.tell(*incident, window.repeats - 1, out);
        true
    }

    fn tell(&mut self, incident: Incident, collapsed: u64, out: &mut Vec<Alert>) {
        let id = identity::id(&self.host.boot_id, &incident, collapsed);
        let summary = summary::summary(&incident, collapsed);
        let Incident { finding, actor, reasons, actions, approved, proof, .. } = incident;
        if let Some(rule) = rules::index(finding.rule) {
            self.alerts[rule] += 1;
        }
        let score = score::sum(&reasons);
        let realtime_ns = i128::from(finding.boottime_ns) + i128::from(self.realtime_offset_ns);
        out.push(Alert {
            id,
            time_us: i64::try_from(realtime_ns / 1000).unwrap_or(i64::MAX),
            boottime_ns: finding.boottime_ns,
            rule: finding.rule,
            also: finding.also,
            severity: score::severity(score),
            score,
            reasons,
            summary,
            event_type: finding.event_type,
            actions,
            collapsed,
            actor,
            file: finding.file,
            unit: finding.unit,
            container_service: finding.container_service,
            approved,
            proof,
            host: self.host.clone(),
        });
    }
}
