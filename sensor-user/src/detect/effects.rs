//! Effects back up causes: what a service manager starts is compared with what it was seen to be told.
//!
//! When a service begins, everything that its unit can consist of is read and compared with what the sensor knows. A
//! file that nobody was seen writing (a raw write to the disk, an edit from another machine, a hook that was missed),
//! or a service without any file, is a finding of its own.

use super::budget::Budget;
use super::detector::Detector;
use super::finding::{Finding, Who};
use super::memory::Recent;
use super::rules;
use super::units::Manager;
use crate::event::content::{FileContent, Found, Want};
use crate::event::decode::ExecEvent;
use crate::event::path::lossy;
use crate::lineage::Lineage;
use crate::lineage::actor::Requester;
use crate::lineage::cgroup;
use crate::lineage::table::Handle;
use crate::subject::dbus::request::Verb;
use crate::subject::service::{File, Scope, Unit, UnitPart};
use crate::subject::unit::effective::{Effective, State};

/// Services under examination.
const SURVEYS_MAX: usize = 256;
/// Services whose last examination is remembered.
const JUDGED_MAX: usize = 1024;
/// Within this time a service that begins again is not examined again, in nanoseconds.
const AGAIN_NS: u64 = 10_000_000_000;
/// A file that was seen written so short a time ago may have been read in between, in nanoseconds.
const SETTLED_NS: u64 = 2_000_000_000;
/// The first number of a look at what a unit leads to.
const FIRST_AROUND: u64 = 1 << 32;
/// Unexplained files that are named.
const NAMED_MAX: usize = 8;

/// systemd 254 and later start each service through this program (src/core/exec-invoke.c); the service's own execution
/// follows.
const EXECUTORS: [&[u8]; 2] = [b"/usr/lib/systemd/systemd-executor", b"/lib/systemd/systemd-executor"];

/// The examinations.
#[derive(Debug)]
pub(super) struct Effects {
    surveys: Recent<u64, Survey>,
    judged: Recent<(Option<u32>, String), u64>,
    next: u64,
    next_around: u64,
    /// For services of users' managers: anybody may have as many started as they like.
    budget: Budget,
}

#[derive(Debug)]
struct Survey {
    who: Who,
    /// Who asked for it to be started.
    requester: Option<Requester>,
    boottime_ns: u64,
    unit: String,
    manager: Manager,
    executed: Vec<u8>,
    unseen: Vec<Vec<u8>>,
    /// Something where its files may lie could not be read.
    unreadable: bool,
    /// What the unit was, as far as it was known.
    before: Option<Effective>,
}

impl Default for Effects {
    fn default() -> Self {
        Self {
            surveys: Recent::new(SURVEYS_MAX),
            judged: Recent::new(JUDGED_MAX),
            next: 1,
            next_around: FIRST_AROUND,
            budget: Budget::default(),
        }
    }
}

impl Effects {
    /// How often there was no time for a service of a user's manager.
    pub(super) fn exceeded(&self) -> u64 {
        self.budget.exceeded()
    }

    /// A number that no survey has had.
    pub(super) fn next_id(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }

    /// The same for what a unit leads to. These are numbered by themselves: a recording that was made before there were
    /// any still has the answers to all others.
    pub(super) fn next_around(&mut self) -> u64 {
        let id = self.next_around;
        self.next_around += 1;
        id
    }
}

impl Detector {
    /// An execution: is it a service that begins?
    pub fn service_started(&mut self, exec: &ExecEvent<'_>, handle: Handle, lineage: &mut Lineage) {
        self.note_running(handle, lineage);
        let Some(service) = self.started(handle, lineage) else { return };
        let now = exec.record.header.boottime_ns;
        let judged = (service.manager.owner, service.unit.clone());
        let again = self.effects.judged.get(&judged).is_some_and(|last| now.saturating_sub(*last) < AGAIN_NS);
        let Some(executed) = lineage.image(handle).map(|image| image.filename.to_vec()) else { return };
        if again || EXECUTORS.contains(&executed.as_slice()) {
            return;
        }
        if service.manager.scope == Scope::User && !self.effects.budget.has_left(now) {
            return;
        }
        self.effects.judged.insert(judged, now);
        let id = self.effects.next_id();
        let paths = self.units.candidates(&service.manager, service.unit.as_bytes());
        if service.manager.scope == Scope::User {
            self.effects.budget.take(now, paths.len());
        }
        self.wants.push(Want::Survey { id, paths });
        let who = Who { handle, task: exec.record.task };
        let requester =
            self.requester(service.by, now, service.unit.as_bytes(), Verb::starts_processes, lineage);
        let survey = Survey {
            who,
            requester,
            boottime_ns: now,
            unit: service.unit,
            manager: service.manager,
            executed,
            unseen: Vec::new(),
            unreadable: false,
            before: None,
        };
        // What differs is put into the store as it is read.
        let survey =
            Survey { before: self.units.effective(&survey.manager, survey.unit.as_bytes()), ..survey };
        self.effects.surveys.insert(id, survey);
    }

    /// A file of a survey, before it is put into the store.
    pub(super) fn compare(&mut self, id: u64, content: &FileContent) {
        let known = self.units.agrees(content);
        let generated = is_generated(&content.path);
        let Some(survey) = self.effects.surveys.get_mut(&id) else { return };
        survey.unreadable |= matches!(content.found.end(), Found::Unreadable { .. });
        let lately = self
            .written
            .get(&content.path)
            .is_some_and(|at| survey.boottime_ns.saturating_sub(*at) < SETTLED_NS);
        if !known && !generated && !lately && survey.unseen.len() < NAMED_MAX {
            survey.unseen.push(content.path.clone());
        }
    }

    /// All of a survey was told.
    pub fn surveyed(&mut self, id: u64) -> Option<Finding> {
        let survey = self.effects.surveys.remove(&id)?;
        let effective = self.units.effective(&survey.manager, survey.unit.as_bytes());
        let missing = effective.as_ref().is_none_or(|unit| unit.state == State::Missing);
        let rule = match (missing, survey.unseen.is_empty()) {
            (true, _) => &rules::SERVICE_UNEXPLAINED,
            (false, false) => &rules::UNIT_CHANGED_UNSEEN,
            (false, true) => return None,
        };
        let subject =
            survey.unseen.first().map_or_else(|| survey.unit.clone(), |path| lossy(path).into_owned());
        let mut finding =
            Finding::new(rule, survey.boottime_ns, "process_exec", subject.clone()).by(Some(survey.who));
        finding.event_type = "start";
        finding.requester = survey.requester.map(Box::new);
        finding.unit = Some(Unit::new(survey.unit.clone(), UnitPart::Fragment, survey.manager.scope));
        if missing {
            finding.reason(0, format!("it runs {}", lossy(&survey.executed)));
            if survey.manager.scope == Scope::User {
                finding.reason(
                    -20,
                    "the user's manager may have been told to look elsewhere (XDG_CONFIG_HOME, XDG_DATA_DIRS)",
                );
            }
            if survey.unreadable {
                finding.reason(-20, "some of the directories in which it may lie could not be read");
            }
        } else {
            finding.file = Some(File { path: subject, ..File::default() });
        }
        for path in survey.unseen.iter().skip(1) {
            finding.reason(0, format!("nor was anybody seen writing {}", lossy(path)));
        }
        if let Some(effective) = &effective {
            self.weigh_unit(
                survey.boottime_ns,
                &mut finding,
                &survey.manager,
                survey.before.as_ref(),
                effective,
            );
        }
        Some(finding)
    }
}

pub(super) struct Service {
    pub(super) unit: String,
    pub(super) manager: Manager,
    /// The manager's process.
    by: Handle,
}

impl Detector {
    /// The service that begins with an execution: its process is a child of the manager, in the service's control group.
    pub(super) fn started(&self, handle: Handle, lineage: &Lineage) -> Option<Service> {
        let parent = lineage.line(handle).nth(1)?;
        if !Self::is_manager(lineage, parent) {
            return None;
        }
        let path = lineage.cgroups().path(lineage.entry(handle)?.cgroup_id)?;
        let unit = cgroup::unit(path).filter(|unit| unit.ends_with(".service"))?;
        let user = path.split(|byte| *byte == b'/').find_map(|name| {
            let uid = name.strip_prefix(b"user@")?.strip_suffix(b".service")?;
            std::str::from_utf8(uid).ok()?.parse::<u32>().ok()
        });
        // The manager of a user is itself a service of the system's.
        let (manager, by) = match user.filter(|_| !unit.starts_with("user@")) {
            None => (Manager { scope: Scope::System, owner: None, home: Vec::new() }, lineage.init()?),
            Some(uid) => (self.users_manager(uid)?, parent),
        };
        Some(Service { unit, manager, by })
    }

    /// The manager of a user whose own units are watched. Of others only what all users share is known, and a unit of
    /// their own would seem unexplained.
    fn users_manager(&self, uid: u32) -> Option<Manager> {
        let home = self.homes.get(&uid)?.trim_end_matches('/');
        let units = format!("{home}/.config/systemd/user");
        let watched = self.watches.classed().any(|(watch, _)| watch.path == units);
        watched.then(|| Manager { scope: Scope::User, owner: Some(uid), home: home.as_bytes().to_vec() })
    }
}

/// What generators make is written anew at each reload, under the manager's eyes.
fn is_generated(path: &[u8]) -> bool {
    let mark = b"/systemd/generator";
    path.starts_with(b"/run/") && path.windows(mark.len()).any(|window| window == mark)
}
