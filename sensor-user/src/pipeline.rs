//! Records in, alerts out: pure, deterministic, bounded.
//!
//! There is no clock, no /proc and no I/O here. Time is that of the records ([`kind::TICK`] passes it on where
//! nothing else happens), so the same records give the same alerts, live and in a replay.

use std::collections::BTreeMap;

use sensor_common::mute::Mute;
use sensor_common::record::kind;

use crate::detect::detector::Detector;
use crate::detect::finding::Finding;
use crate::detect::follow::Follow;
use crate::detect::quiet::QuietCounts;
use crate::detect::rules;
use crate::event::content::Want;
use crate::event::decode::{DecodeError, Event, UserRecord, decode};
use crate::event::path::until_nul;
use crate::incident::alert::Alert;
use crate::incident::collapse::Collapse;
use crate::incident::held::Incident;
use crate::incident::pending::Outcomes;
use crate::incident::proving::Outcome;
use crate::lineage::actor::Actor;
use crate::lineage::{self, Lineage};
use crate::subject::stream::StreamStats;

/// Bounds of a [`Pipeline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the lineage.
    pub lineage: lineage::Limits,
    /// Bytes of the incidents that are held back; the repeats that are kept may have as many.
    pub incident_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lineage: lineage::Limits::default(), incident_bytes: 1 << 20 }
    }
}

/// Greatest kind plus one.
const KINDS: usize = kind::APPROVALS as usize + 1;

/// Figures of a [`Pipeline`], all since its beginning.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Records by kind (`sensor_common::record::kind`), decoded or not.
    received: [u64; KINDS],
    /// Records lost before they arrived, by kind, as `LOSS` records told.
    lost: [u64; KINDS],
    /// Records that were refused, in the order of [`DecodeError::REASONS`].
    pub decode_errors: [u64; DecodeError::REASONS.len()],
    /// What was seen and left unsaid, in the order of [`crate::detect::quiet::Quiet::NAMES`].
    pub quiet: QuietCounts,
    /// Findings, before repeats are collapsed, in the order of [`rules::RULES`].
    pub findings: [u64; rules::RULES.len()],
    /// Alerts, in the same order.
    pub alerts: [u64; rules::RULES.len()],
    /// Incidents that were counted as repeats.
    pub collapsed: u64,
    /// Images cut for want of room.
    pub images_cut: u64,
    /// Ended processes taken out of a long row of ancestors.
    pub processes_spliced: u64,
    /// What became of clients' streams to service managers and container engines.
    pub streams: StreamStats,
    /// What incidents of package managers came to, in the order of
    /// [`crate::incident::proving::Outcome::ALL`].
    pub proofs: Outcomes,
    /// The bounded tables.
    pub tables: [Table; 15],
}

/// A bounded table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// For metrics.
    pub name: &'static str,
    /// Entries held.
    pub entries: usize,
    /// Entries that it may hold; 0 where bytes are bounded instead.
    pub capacity: usize,
    /// Bytes held; 0 where not measured.
    pub bytes: usize,
    /// Entries that left, or were refused, for want of room.
    pub evicted: u64,
}

impl Stats {
    /// Records received, by kind; each kind that exists once.
    pub fn received(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        by_name(&self.received)
    }

    /// Records lost before they arrived, by kind.
    pub fn lost(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        by_name(&self.lost)
    }
}

fn by_name(counts: &[u64; KINDS]) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    counts.iter().enumerate().filter_map(|(number, count)| Some((kind::name(number as u16)?, *count)))
}

/// The road from a record to an alert.
#[derive(Debug)]
pub struct Pipeline {
    lineage: Lineage,
    detector: Detector,
    collapse: Collapse,
    now: u64,
    findings: Vec<Finding>,
    /// Findings told before, with what the file says.
    completed: Vec<Finding>,
    received: [u64; KINDS],
    lost: [u64; KINDS],
    decode_errors: [u64; DecodeError::REASONS.len()],
    found: [u64; rules::RULES.len()],
}

impl Pipeline {
    /// A pipeline that has seen nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            lineage: Lineage::new(limits.lineage),
            detector: Detector::default(),
            collapse: Collapse::new(limits.incident_bytes),
            now: 0,
            findings: Vec::new(),
            completed: Vec::new(),
            received: [0; KINDS],
            lost: [0; KINDS],
            decode_errors: [0; DecodeError::REASONS.len()],
            found: [0; rules::RULES.len()],
        }
    }

    /// Takes up one record; alerts that it brings are appended to `out`.
    ///
    /// # Errors
    /// Where the bytes are no record. It is counted, nothing else has changed, and the next record is welcome.
    pub fn feed(&mut self, record: &[u8], out: &mut Vec<Alert>) -> Result<(), DecodeError> {
        let event = decode(record).inspect_err(|error| self.decode_errors[error.index()] += 1)?;
        let header = *event.header();
        self.received[usize::from(header.kind)] += 1;
        // Processors overtake one another by a little; time does not go back for it.
        self.now = self.now.max(header.boottime_ns);
        self.collapse.expire(self.now, out);
        if self.detector.next_deadline().is_some_and(|due| due <= self.now) {
            let findings = &mut self.findings;
            self.detector.expire(self.now, &mut self.lineage, &mut |finding| findings.push(finding));
        }
        self.take_up(header.boottime_ns, event);
        self.conclude(out);
        Ok(())
    }

    fn take_up(&mut self, time: u64, event: Event<'_>) {
        let findings = &mut self.findings;
        let (lineage, detector) = (&mut self.lineage, &mut self.detector);
        match event {
            Event::File(event) => detector.file(&event, lineage, &mut |finding| findings.push(finding)),
            Event::Fork(record) => lineage.fork(&record),
            Event::Exec(event) => {
                if let Some(handle) = lineage.exec(&event) {
                    findings.extend(detector.exec(&event, handle, lineage));
                    detector.container_executed(&event, handle, lineage);
                    findings.extend(detector.in_new_namespaces(&event, handle, lineage));
                    detector.service_started(&event, handle, lineage);
                    detector.manager_executed(time, handle, lineage);
                }
            }
            Event::Exit(record) => {
                lineage.exit(&record);
                self.collapse.pending_mut().process_ended((record.tgid, record.start_boottime_ns));
            }
            Event::Cgroup(event) => {
                let path = until_nul(event.path);
                lineage.set_cgroup(event.record.value, path);
                detector.group_asked_for(time, path, lineage);
                detector.group_made(&event, lineage);
            }
            Event::Namespace(record) => {
                lineage.update_known(&record.task);
                detector.namespaces_made(&record);
            }
            Event::Ipc(event) => detector.sent(&event, lineage, &mut |finding| findings.push(finding)),
            Event::User(_, record) => self.take_up_user(time, record),
        }
    }

    fn take_up_user(&mut self, time: u64, record: UserRecord) {
        let (lineage, detector) = (&mut self.lineage, &mut self.detector);
        match record {
            UserRecord::Host(host) => {
                lineage.set_host(&host);
                self.collapse.set_host(&host);
            }
            UserRecord::ProcessSnapshot(snapshot) => {
                if let Some(handle) = lineage.snapshot(&snapshot) {
                    detector.executed(0, handle, lineage);
                    detector.note_running(handle, lineage);
                    detector.manager_executed(0, handle, lineage);
                    detector.note_bundle(handle, None, lineage);
                }
            }
            UserRecord::Watch(watch) => detector.watch(watch),
            UserRecord::Tick => {}
            UserRecord::CgroupSnapshot(cgroup) => {
                lineage.set_cgroup(cgroup.id, cgroup.path.as_bytes());
                detector.group_found(cgroup.path.as_bytes(), time, lineage);
            }
            UserRecord::Users(users) => {
                detector.set_homes(users.homes);
                lineage.set_users(users.names);
            }
            UserRecord::FileFound(found) => {
                detector.found(time, &found, lineage, &mut |finding| self.findings.push(finding));
            }
            UserRecord::Loss(loss) => {
                if let Some(lost) = self.lost.get_mut(usize::from(loss.kind)) {
                    *lost += loss.dropped;
                }
                if loss.dropped > 0 {
                    self.findings.push(detector.lost(time, &loss));
                }
            }
            UserRecord::Tools(tools) => detector.tools_found(&tools.tools),
            UserRecord::Surveyed(surveyed) => {
                self.findings.extend(detector.surveyed(surveyed.id));
                detector.looked_into(time, surveyed.id, &mut |finding| self.completed.push(finding));
                detector.books_read(time, surveyed.id, lineage, &mut |finding| self.findings.push(finding));
            }
            UserRecord::Baseline(told) => {
                detector.baseline(time, told, &mut |finding| self.findings.push(finding));
            }
            UserRecord::Approvals(approvals) => self.collapse.set_approvals(approvals),
            UserRecord::Proof(proofs) => {
                detector.proved(time, &proofs, lineage);
                self.collapse.pending_mut().proved(&proofs);
            }
            UserRecord::FileContent(content) => {
                // What a command asked for is told when its file is known, and not before.
                detector.content(time, &content, &mut |finding| match finding.action {
                    "process_exec" => self.findings.push(finding),
                    _ => self.completed.push(finding),
                });
            }
        }
    }

    fn conclude(&mut self, out: &mut Vec<Alert>) {
        for finding in &self.findings {
            if let Some(rule) = rules::index(finding.rule) {
                self.found[rule] += 1;
            }
        }
        for mut finding in self.findings.drain(..).chain(self.completed.drain(..)) {
            let (actor, reasons) = self.detector.describe(&finding, &mut self.lineage);
            if finding.file.is_some() {
                let requester = finding.requester.as_deref();
                let transaction = self.detector.transaction(finding.who.as_ref(), requester, &self.lineage);
                finding.transaction = transaction.map(Box::new);
            }
            if finding.rule.id == rules::PACKAGE_DATABASE_EDITED.id && finding.transaction.is_none() {
                self.detector.distrust(&finding.subject, edited(&actor));
            }
            finding.awaits_identity = self.detector.await_identity(&actor, self.now, &self.lineage);
            self.collapse.add(finding, actor, reasons, self.now, out);
        }
        for id in self.detector.identified() {
            let identity = self.lineage.containers_mut().identity(&id).cloned();
            self.collapse.identified(&id, identity.as_ref(), self.now, out);
        }
        self.prove(out);
    }

    /// Goes on with what waits for proof.
    fn prove(&mut self, out: &mut Vec<Alert>) {
        let (mut ready, mut wants) = (Vec::new(), Vec::new());
        let (detector, lineage) = (&self.detector, &self.lineage);
        self.collapse.pending_mut().go_on(
            self.now,
            |transaction| detector.standing(transaction, lineage),
            detector.distrusted(),
            &mut ready,
            &mut wants,
        );
        // A package manager's own books are its own to write.
        let books = |incident: &Incident| incident.finding.rule.id == rules::PACKAGE_DATABASE_EDITED.id;
        let outcome = |incident: &Incident| incident.proof.as_ref().map(|proof| proof.outcome);
        ready.retain(|incident| !books(incident) || outcome(incident) != Some(Outcome::Proved));
        for incident in ready.iter().filter(|incident| books(incident)) {
            self.detector.distrust(&incident.finding.subject, edited(&incident.actor));
        }
        self.collapse.tell_proved(ready, self.now, out);
        self.detector.want_all(wants);
    }

    /// Files whose content the caller is to feed as [`kind::FILE_CONTENT`] records, soon; a replay finds them in the
    /// recording.
    pub fn wants(&mut self) -> std::vec::Drain<'_, Want> {
        self.detector.wants()
    }

    /// Files that the caller is to watch from now on; a replay needs none.
    pub fn follows(&mut self) -> std::vec::Drain<'_, Follow> {
        self.detector.follows()
    }

    /// What the kernel need not show of connections to container engines, by [`IpcRecord::connection`]: the bodies of
    /// uploads. The records say what was not shown, so a replay needs none.
    ///
    /// [`IpcRecord::connection`]: sensor_common::record::IpcRecord::connection
    pub fn mutes(&mut self) -> std::collections::vec_deque::Drain<'_, (u64, Mute)> {
        self.detector.mutes()
    }

    /// How often each exception was met, by its name, and approvals together (`approve`).
    pub fn approvals_matched(&self) -> &BTreeMap<String, u64> {
        self.collapse.approvals_matched()
    }

    /// Brings out everything that is held back: at the end of the stream.
    pub fn drain(&mut self, out: &mut Vec<Alert>) {
        self.collapse.drain(self.now, out);
    }

    /// When something is due, on `CLOCK_BOOTTIME` in nanoseconds. Unless another record of that time or a later one
    /// comes by itself, the caller feeds a [`kind::TICK`] then.
    pub fn next_deadline(&self) -> Option<u64> {
        [self.collapse.next_deadline(), self.detector.next_deadline()].into_iter().flatten().min()
    }

    /// The figures.
    pub fn stats(&self) -> Stats {
        let (table, images, cgroups) = (self.lineage.table(), self.lineage.images(), self.lineage.cgroups());
        let (watches, tools) = (self.detector.watches(), self.detector.known_tools());
        let (windows, windows_max, repeat_bytes) = self.collapse.windows();
        let held = self.collapse.held();
        let (pending, pending_max, pending_bytes) = self.collapse.pending().figures();
        let (files, files_max) = self.detector.remembered_files();
        let (connections, connections_max, connection_bytes) = self.detector.connections();
        let (to_engines, to_engines_max, to_engines_bytes) = self.detector.engine_connections();
        let (followed, followed_max, unfollowed) = self.detector.followed_files();
        let (units, units_max, unit_bytes, units_refused) = self.detector.unit_files();
        let (awaited, awaited_max, passed_over) = self.detector.awaited_contents();
        let (lookups, lookups_max, unresolved) = self.detector.container_lookups();
        let containers = self.lineage.containers();
        let plain = |name, entries, capacity| Table { name, entries, capacity, bytes: 0, evicted: 0 };
        Stats {
            received: self.received,
            lost: self.lost,
            decode_errors: self.decode_errors,
            quiet: *self.detector.quiet(),
            findings: self.found,
            alerts: *self.collapse.alerts(),
            collapsed: self.collapse.collapsed(),
            images_cut: images.cut(),
            processes_spliced: table.spliced(),
            streams: self.detector.streams(),
            proofs: *self.collapse.pending().outcomes(),
            tables: [
                Table {
                    bytes: table.bytes() + images.bytes(),
                    evicted: table.evicted(),
                    ..plain("processes", table.len(), table.capacity())
                },
                Table {
                    bytes: cgroups.bytes(),
                    evicted: cgroups.evicted(),
                    ..plain("cgroups", cgroups.len(), cgroups.capacity())
                },
                Table {
                    bytes: containers.bytes(),
                    evicted: containers.evicted(),
                    ..plain("containers", containers.len(), containers.capacity())
                },
                Table { evicted: unresolved, ..plain("container_lookups", lookups, lookups_max) },
                Table {
                    bytes: watches.bytes(),
                    evicted: watches.refused(),
                    ..plain("watches", watches.len(), watches.capacity())
                },
                plain("tools", tools.len(), tools.capacity()),
                plain("files", files, files_max),
                Table { bytes: unit_bytes, evicted: units_refused, ..plain("unit_files", units, units_max) },
                Table { bytes: connection_bytes, ..plain("connections", connections, connections_max) },
                Table { bytes: to_engines_bytes, ..plain("engine_connections", to_engines, to_engines_max) },
                Table { evicted: unfollowed, ..plain("followed_files", followed, followed_max) },
                Table { evicted: passed_over, ..plain("awaited_contents", awaited, awaited_max) },
                Table { bytes: held.bytes(), ..plain("held", held.len(), 0) },
                Table { bytes: pending_bytes, ..plain("awaited_proofs", pending, pending_max) },
                Table { bytes: repeat_bytes, ..plain("windows", windows, windows_max) },
            ],
        }
    }
}

/// Who has edited a package database.
fn edited(actor: &Actor) -> String {
    let process = &actor.process;
    format!("{} (pid {}) edited it", process.name, process.pid)
}

#[cfg(test)]
#[path = "pipeline_tests/mod.rs"]
mod tests;
