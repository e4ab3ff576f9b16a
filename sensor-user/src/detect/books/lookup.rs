//! A container is looked up: the files that may describe it are read, and what they say is noted in the lineage.

use sensor_common::record::TaskContext;

use super::super::detector::Detector;
use super::super::finding::{Finding, Who};
use super::{Bundle, LOOKUPS_MAX, READING_MAX};
use crate::event::content::{FileContent, Found, Want};
use crate::event::decode::{CgroupEvent, ExecEvent};
use crate::event::path::{lossy, until_nul};
use crate::lineage::actor::{Actor, IDENTITY_TEXT_MAX};
use crate::lineage::table::Handle;
use crate::lineage::{Lineage, cgroup};
use crate::subject::container::books::{Book, Booked, candidates, is_id, podman};
use crate::subject::container::service::Source;

/// After these times nothing found is looked for again, in nanoseconds: a file may come a little later than the group.
const AGAIN_NS: [u64; 2] = [300_000_000, 2_500_000_000];
/// An answer that has not come by then will not.
const ANSWER_NS: u64 = 5_000_000_000;
/// An alert waits for who its container is no longer than this: findings are not held longer.
const WAIT_NS: u64 = 250_000_000;
/// What was wrong with files, in words; so many are told.
const FAULTS_MAX: usize = 4;

/// What a lookup is for, beside the container's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its control group appeared: it must be in an engine's books.
    Group,
    /// It was there before, or something in it was told: only who it is.
    Identity,
    /// Somebody called a runtime by hand.
    ByHand { tool: &'static str, verb: &'static str },
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for being asked for.
    Queued,
    /// Asked for at a time.
    Asked { survey: u64, at: u64 },
    /// Waits for its next turn.
    Resting,
}

/// A container under examination.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub(super) why: Why,
    engine: Option<String>,
    /// The first process in it, or who made it.
    pub(super) who: Option<Who>,
    /// `who` runs in it.
    inside: bool,
    pub(super) since: u64,
    state: State,
    attempt: usize,
    /// Files that the first ones led to were asked for.
    second: bool,
    pub(super) booked: Booked,
    /// A file of an engine's, not only a bundle that somebody made.
    engines: bool,
    pub(super) faults: Vec<String>,
}

impl Lookup {
    pub(super) fn new(why: Why, engine: Option<&str>, who: Option<Who>, now: u64) -> Self {
        Self {
            why,
            engine: engine.map(str::to_owned),
            who,
            inside: false,
            since: now,
            state: State::Queued,
            attempt: 0,
            second: false,
            booked: Booked::default(),
            engines: false,
            faults: Vec::new(),
        }
    }
}

impl Detector {
    /// A control group was made.
    pub fn group_made(&mut self, event: &CgroupEvent<'_>, lineage: &mut Lineage) {
        let path = until_nul(event.path);
        let now = event.record.header.boottime_ns;
        let leaf = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let Some(container) = cgroup::container(path) else {
            return self.group_by_hand(event.record.value, leaf, lineage);
        };
        // Below a container's group it has its own; inside a container another engine may run, with files of its own.
        let own = leaf.windows(container.id.len()).any(|at| at == container.id.as_bytes());
        if !own || is_nested(path) {
            return;
        }
        let who = lineage.observe(&event.record.task).map(|handle| Who { handle, task: event.record.task });
        let why = if who.as_ref().is_some_and(|who| lineage.container_id(who.task.cgroup_id).is_some()) {
            Why::Identity
        } else {
            Why::Group
        };
        self.look_up(&container.id, Lookup::new(why, container.runtime.as_deref(), who, now), lineage);
    }

    /// A control group that was there before the sensor.
    pub fn group_found(&mut self, path: &[u8], now: u64, lineage: &Lineage) {
        let Some(container) = cgroup::container(path) else { return };
        self.look_up(
            &container.id,
            Lookup::new(Why::Identity, container.runtime.as_deref(), None, now),
            lineage,
        );
    }

    /// An execution: a monitor or a runtime that is given a bundle, or the first one in a container.
    pub fn container_executed(&mut self, exec: &ExecEvent<'_>, handle: Handle, lineage: &mut Lineage) {
        let now = exec.record.header.boottime_ns;
        self.note_bundle(handle, Some((now, exec.record.task)), lineage);
        let Some(container) = lineage.container_id(exec.record.task.cgroup_id) else { return };
        let who = Who { handle, task: exec.record.task };
        if let Some(lookup) = self.books.lookups.get_mut(&container.id) {
            let by_hand = matches!(lookup.why, Why::ByHand { .. });
            if !std::mem::replace(&mut lookup.inside, true) && !by_hand {
                lookup.who = Some(who);
            }
        } else if !lineage.containers().is_known(&container.id) {
            let runtime = container.runtime.as_deref();
            self.look_up(&container.id, Lookup::new(Why::Identity, runtime, Some(who), now), lineage);
        }
    }

    /// conmon's command line, or a runtime's, of a process that begins to run it, or was found running it.
    pub fn note_bundle(&mut self, handle: Handle, begun: Option<(u64, TaskContext)>, lineage: &Lineage) {
        let Some(image) = lineage.image(handle) else { return };
        // Cheap, before any name is compared: only lines with an id, or of a runtime, can say something.
        let Some(recognised) = self.tools.recognise(&image) else { return };
        let tool = recognised.tool();
        if tool.name == "conmon" {
            if let Some(monitor) = podman::conmon(image.arguments()) {
                let bundle = Bundle {
                    path: monitor.bundle.to_vec(),
                    name: monitor.name.map(str::to_owned),
                    engine: self.engine(handle, lineage).map(|tool| tool.name),
                };
                let id = monitor.id.to_owned();
                self.books.bundles.insert(id, bundle);
            }
            return;
        }
        if let Some((now, task)) = begun {
            self.runtime_called(handle, tool, now, task, lineage);
        }
    }

    /// Begins a lookup, unless the container is known or looked up already.
    pub(super) fn look_up(&mut self, id: &str, lookup: Lookup, lineage: &Lineage) {
        if lineage.containers().is_known(id) || self.books.lookups.contains_key(id) {
            return;
        }
        if self.books.lookups.len() >= LOOKUPS_MAX {
            self.books.unresolved += 1;
            return;
        }
        self.books.lookups.insert(id.to_owned(), lookup);
        self.books.queue.push_back(id.to_owned());
        self.ask_for_containers();
    }

    /// Asks for the files of those that wait, as far as there is room.
    fn ask_for_containers(&mut self) {
        while self.books.surveys.len() < READING_MAX {
            let Some(id) = self.books.queue.pop_front() else { return };
            let bundle = self.books.bundles.get(&id).cloned();
            let Some(lookup) = self.books.lookups.get_mut(&id) else { continue };
            let path = bundle.as_ref().map(|bundle| bundle.path.as_slice());
            let paths = if lookup.second {
                second_paths(&lookup.booked)
            } else if is_id(&id) {
                candidates(&id, lookup.engine.as_deref(), path)
            } else {
                path.iter().map(|bundle| [bundle, &b"/config.json"[..]].concat()).collect()
            };
            let survey = self.effects.next_id();
            let at = self.books.now.max(lookup.since);
            lookup.state = State::Asked { survey, at };
            self.wants.push(Want::Survey { id: survey, paths });
            self.books.surveys.insert(survey, id.clone());
            self.later(at.saturating_add(ANSWER_NS), id);
        }
    }

    fn later(&mut self, due: u64, id: String) {
        let at = self.books.due.partition_point(|(other, _)| *other <= due);
        self.books.due.insert(at, (due, id));
    }

    /// A file of a container under examination; whether it was one.
    pub(in crate::detect) fn take_book(&mut self, survey: u64, content: &FileContent) -> bool {
        if self.take_named(survey, content) {
            return true;
        }
        let Some(id) = self.books.surveys.get(&survey) else { return false };
        let bundle = self.books.bundles.get(id);
        let Some(lookup) = self.books.lookups.get_mut(id) else { return true };
        let Some(book) = Book::of(&content.path) else { return true };
        match content.found.end() {
            Found::Regular(file) => {
                let ad_hoc = bundle
                    .is_some_and(|bundle| bundle.engine.is_none() && content.path.starts_with(&bundle.path));
                let found = lookup.booked.read(book, id, &file.content);
                lookup.engines |= found && !ad_hoc;
                if file.truncated() && book != Book::Token {
                    fault(
                        lookup,
                        format!(
                            "of the {} bytes of {} the first {} were looked at",
                            file.size,
                            lossy(&content.path),
                            file.content.len()
                        ),
                    );
                } else if !found && !matches!(book, Book::Storage | Book::Token) {
                    fault(lookup, format!("{} is not what a runtime reads", lossy(&content.path)));
                }
            }
            Found::Special { .. } => {
                fault(lookup, format!("{} is a FIFO, socket or device", lossy(&content.path)));
            }
            Found::Unreadable { error } => {
                fault(lookup, format!("{} could not be read: {error}", lossy(&content.path)));
            }
            Found::Absent | Found::Directory { .. } | Found::Symlink { .. } => {}
        }
        true
    }

    /// All files of a container were told.
    pub fn books_read(
        &mut self,
        now: u64,
        survey: u64,
        lineage: &mut Lineage,
        out: &mut impl FnMut(Finding),
    ) {
        self.books.now = self.books.now.max(now);
        self.named_read(now, survey, lineage, out);
        let Some(id) = self.books.surveys.remove(&survey) else { return };
        if let Some(lookup) = self.books.lookups.get_mut(&id) {
            let more = !lookup.second && !second_paths(&lookup.booked).is_empty();
            if more {
                lookup.second = true;
                lookup.state = State::Queued;
                self.books.queue.push_front(id);
            } else {
                self.conclude_lookup(now, &id, lineage, out);
            }
        }
        self.ask_for_containers();
    }

    fn conclude_lookup(&mut self, now: u64, id: &str, lineage: &mut Lineage, out: &mut impl FnMut(Finding)) {
        let bundle = self.books.bundles.get(id).cloned();
        let Some(lookup) = self.books.lookups.get_mut(id) else { return };
        let by_hand = matches!(lookup.why, Why::ByHand { .. });
        let name = bundle.as_ref().and_then(|bundle| bundle.name.clone());
        if !lookup.booked.found && !by_hand && name.is_none() {
            if let Some(wait) = AGAIN_NS.get(lookup.attempt) {
                lookup.attempt += 1;
                lookup.second = false;
                lookup.state = State::Resting;
                // Alerts wait for the first answer only.
                self.books.identified.push(id.to_owned());
                let due = now.saturating_add(*wait);
                return self.later(due, id.to_owned());
            }
        }
        let Some(mut lookup) = self.books.lookups.remove(id) else { return };
        if lookup.booked.identity.name.is_none() {
            // Whoever calls a runtime by hand chooses the id, and that is all the name it has.
            lookup.booked.identity.name = name.or_else(|| by_hand.then(|| short_name(id)));
        }
        if lookup.booked.service.engine == "docker" {
            let service = lookup.booked.service(Source::State);
            self.books.known.insert(id.to_owned(), Box::new(service));
        }
        let engines = lookup.engines || bundle.as_ref().is_some_and(|bundle| bundle.engine.is_some());
        self.books.unresolved += u64::from(!lookup.booked.found);
        lineage.containers_mut().insert(id, lookup.booked.identity.clone());
        self.books.identified.push(id.to_owned());
        if !engines && lookup.why != Why::Identity {
            Self::unbooked(id, &lookup, bundle.as_ref().map(|bundle| bundle.path.as_slice()), out);
        }
    }

    /// Looks again where it is time, and gives up where no answer came.
    pub fn expire(&mut self, now: u64, lineage: &mut Lineage, out: &mut impl FnMut(Finding)) {
        self.books.now = self.books.now.max(now);
        while self.books.due.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, id)) = self.books.due.pop_front() else { return };
            let Some(lookup) = self.books.lookups.get_mut(&id) else { continue };
            match lookup.state {
                State::Resting => {
                    lookup.state = State::Queued;
                    self.books.queue.push_back(id);
                }
                State::Asked { survey, at } if now >= at.saturating_add(ANSWER_NS) => {
                    // Without an answer nothing is known, and so nothing is said against it either.
                    (lookup.attempt, lookup.why) = (AGAIN_NS.len(), Why::Identity);
                    self.books.surveys.remove(&survey);
                    self.conclude_lookup(now, &id, lineage, out);
                }
                State::Asked { .. } | State::Queued => {}
            }
        }
        self.ask_for_containers();
    }

    /// Whether an alert waits for who its container is. One that is not known at all is looked up.
    pub fn await_identity(&mut self, actor: &Actor, now: u64, lineage: &Lineage) -> bool {
        let client = actor.on_behalf_of.as_ref().and_then(|client| client.container.as_ref());
        let mut waits = false;
        for container in actor.container.iter().chain(client) {
            if container.identity.is_some() || lineage.containers().is_known(&container.id) {
                continue;
            }
            let runtime = container.runtime.as_deref();
            self.look_up(&container.id, Lookup::new(Why::Identity, runtime, None, now), lineage);
            let young = |lookup: &Lookup| lookup.attempt == 0 && now < lookup.since.saturating_add(WAIT_NS);
            waits |= self.books.lookups.get(&container.id).is_some_and(young);
        }
        waits
    }
}

/// An id that is a name, bounded as all texts of an identity are.
fn short_name(id: &str) -> String {
    id.chars().take(IDENTITY_TEXT_MAX / 4).collect()
}

/// Files that others led to: docker's in another data root, and the token of a pod's service account.
fn second_paths(booked: &Booked) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    if let Some(directory) = booked.docker_directory.as_ref().filter(|_| booked.service.engine != "docker") {
        paths.push([directory, &b"/config.v2.json"[..]].concat());
        paths.push([directory, &b"/hostconfig.json"[..]].concat());
    }
    paths.extend(booked.token.clone().filter(|_| booked.identity.service_account.is_none()));
    paths
}

fn fault(lookup: &mut Lookup, text: String) {
    if lookup.faults.len() < FAULTS_MAX && !lookup.faults.contains(&text) {
        lookup.faults.push(text);
    }
}

/// Whether a group lies in a container's own: another engine runs there.
fn is_nested(path: &[u8]) -> bool {
    let Some(above) = path.iter().rposition(|byte| *byte == b'/').map(|at| &path[..at]) else { return false };
    cgroup::container(above).is_some()
}
