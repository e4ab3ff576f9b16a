//! Who asked a container engine for what: what clients sent to its socket.
//!
//! The engine's daemon does what it does for its clients, so each request is remembered with the client that sent it,
//! lineage and all. What the request itself says is told at once, before the engine has acted: containers that come
//! back, containers that are given the host, and whatever comes out of a container.

mod exposed;

use std::collections::VecDeque;
use std::fmt;

use sensor_common::mute::Mute;

use super::containers::weigh;
use super::detector::Detector;
use super::finding::{Finding, Phase, Who};
use super::memory::Recent;
use super::quiet::Quiet;
use super::remembered::{Asked, REQUEST, Remembered};
use super::rule::Rule;
use super::rules;
use crate::event::decode::IpcEvent;
use crate::lineage::Lineage;
use crate::lineage::actor::{Container, Requester};
use crate::lineage::table::Handle;
use crate::subject::container::access::Grant;
use crate::subject::container::api::{self, EngineRequest, Verb};
use crate::subject::container::service::ContainerService;
use crate::subject::http::Http;
use crate::subject::stream::{StreamStats, Streams};
use crate::subject::tools::{Family, Recognised};

/// Connections whose streams are put together.
const CONNECTIONS_MAX: usize = 64;
/// Command lines that were told.
const TOLD_MAX: usize = 64;
/// Volumes whose host directory is remembered, and sockets whose engine is.
const NAMES_MAX: usize = 128;
/// Configuration files of engines that are being read.
const CONFIGURED_MAX: usize = 16;
/// A client may download an image before it asks for the container that its command line names, in nanoseconds.
const ANSWER_NS: u64 = 600_000_000_000;

/// A command line that was told, of which the request is to come.
#[derive(Debug)]
struct Told {
    at: u64,
    process: Handle,
    /// By which repeats are recognised.
    key: (u32, u64),
    rule: &'static Rule,
    subject: String,
    service: ContainerService,
    /// The program was not known: its request proves what it is.
    doubtful: bool,
}

/// A request that an engine got.
#[derive(Debug)]
struct Heard {
    request: EngineRequest,
    engine: &'static str,
    /// Another engine sent it, for clients of its own: dockerd to containerd, kubelet to CRI-O.
    relayed: bool,
}

impl Heard {
    /// Whether a container of this runtime may be what was asked for. docker's are made by containerd, podman's by podman
    /// alone.
    fn makes(&self, runtime: Option<&str>) -> bool {
        match runtime {
            Some("podman") => self.engine == "podman",
            Some(runtime) => self.engine == runtime || self.relayed && self.engine != "podman",
            None => true,
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

/// What is known of engines and their clients.
#[derive(Debug)]
pub(super) struct Engines {
    connections: Streams<Http>,
    asked: Remembered<Heard>,
    told: VecDeque<Told>,
    /// Host directories of volumes, by the volumes' names.
    volumes: Recent<String, String>,
    /// Engines by sockets that their command lines name.
    sockets: Recent<String, &'static str>,
    /// Configuration files that are being read.
    configured: Recent<Vec<u8>, exposed::Configured>,
}

impl Default for Engines {
    fn default() -> Self {
        Self {
            connections: Streams::new(CONNECTIONS_MAX),
            asked: Remembered::default(),
            told: VecDeque::new(),
            volumes: Recent::new(NAMES_MAX),
            sockets: Recent::new(NAMES_MAX),
            configured: Recent::new(CONFIGURED_MAX),
        }
    }
}

impl Engines {
    /// Connections followed, their bound, and their bytes.
    pub(super) fn figures(&self) -> (usize, usize, usize) {
        (self.connections.len(), self.connections.capacity(), self.connections.bytes())
    }

    /// Sends were lost: no stream is in step for certain.
    pub(super) fn records_lost(&mut self) {
        self.connections.records_lost();
    }

    /// What the kernel need not show of them.
    pub(super) fn mutes(&mut self) -> std::collections::vec_deque::Drain<'_, (u64, Mute)> {
        self.connections.mutes()
    }

    /// What became of the streams.
    pub(super) fn streams(&self) -> StreamStats {
        self.connections.stats()
    }

    /// Who asked an engine, up to `now`, for something with this container, or shortly before for something else that
    /// makes an engine's daemon write files or start processes. `relayed` chooses between what engines and what all others
    /// asked for.
    pub(super) fn requester(
        &self,
        container: Option<&Container>,
        now: u64,
        relayed: bool,
    ) -> Option<Requester> {
        let runtime = container.and_then(|container| container.runtime.as_deref());
        self.asked.behind(
            now,
            |heard| heard.relayed == relayed && heard.makes(runtime),
            |heard| container.is_some_and(|container| heard.request.names(&container.id)),
        )
    }

    /// The engine behind a socket.
    fn name(&self, socket: &str) -> &'static str {
        if let Some(known) = self.sockets.get(socket) {
            return known;
        }
        match socket.rsplit('/').next().unwrap_or_default() {
            "podman.sock" => "podman",
            "containerd.sock" => "containerd",
            "crio.sock" => "cri-o",
            _ if socket.contains("/incus/") => "incus",
            _ if socket.contains("/lxd/") => "lxd",
            _ => "docker",
        }
    }

    /// Remembers what a command line asks for; the request on the engine's socket is then no news.
    pub(super) fn told(&mut self, finding: &Finding, process: Handle, doubtful: bool) {
        let Some(service) = finding.container_service.clone() else { return };
        if self.told.len() == TOLD_MAX {
            self.told.pop_front();
        }
        self.told.push_back(Told {
            at: finding.boottime_ns,
            process,
            key: finding.process,
            rule: finding.rule,
            subject: finding.subject.clone(),
            service,
            doubtful,
        });
    }
}

impl Told {
    /// Whether a request says no more than the command line did.
    fn covers(&self, rule: &Rule, service: &ContainerService) -> bool {
        let same = self.rule.id == rule.id && self.service.restart_policy == service.restart_policy;
        same && service.access.grant() <= self.service.access.grant()
    }
}

impl Detector {
    /// What a client sent to an engine.
    pub(super) fn sent_to_engine(
        &mut self,
        event: &IpcEvent<'_>,
        lineage: &mut Lineage,
        out: &mut impl FnMut(Finding),
    ) {
        let record = &event.record;
        let Some(watch) = self.watches.get(record.watch) else { return };
        let engine = self.engines.name(&watch.path);
        let Some(handle) = lineage.observe(&record.task) else { return };
        let mut requests = Vec::new();
        self.engines.connections.feed(event, &mut |request| requests.extend(api::read(engine, &request)));
        let entry = lineage.entry(handle);
        let inside = entry.is_some_and(|entry| lineage.is_in_container(entry.cgroup_id));
        let relayed = !requests.is_empty() && self.is_engine(lineage, handle);
        for mut request in requests {
            self.resolve_volumes(&mut request);
            // What an engine asks another one for, it does for its own clients.
            if !relayed {
                let who = Who { handle, task: record.task };
                for finding in findings(record.header.boottime_ns, engine, &request, inside, who) {
                    if let Some(finding) = self.beside_command_line(finding, lineage) {
                        out(finding);
                    }
                }
            }
            for service in request.services.iter().filter(|service| service.comes_back()) {
                self.engine_asked(record.header.boottime_ns, service);
            }
            // Nothing that an engine does for these is told of it.
            if matches!(request.verb, Verb::Image | Verb::Other) {
                continue;
            }
            let Some(requester) = lineage.requester(handle, REQUEST) else { return };
            let request = Heard { request, engine, relayed };
            let asked =
                Asked { at: record.header.boottime_ns, connection: record.connection, request, requester };
            // One that was seen in part at first, and then whole.
            let same = |known: &Heard, new: &Heard| {
                let (known, new) = (&known.request, &new.request);
                known.incomplete && known.line == new.line && known.target == new.target
            };
            self.engines.asked.push(asked, same);
        }
    }

    /// Host directories behind the names of volumes.
    fn resolve_volumes(&mut self, request: &mut EngineRequest) {
        let known = &mut self.engines.volumes;
        if let (Verb::Volume, Some(device), Some(volume)) =
            (request.verb, &request.target, request.services.first())
        {
            known.insert(volume.name.clone().unwrap_or_default(), device.clone());
        }
        let Some(service) = request.services.first_mut() else { return };
        for name in &request.volumes {
            if let Some(device) = known.get(name) {
                service.access.option("v", format!("{device}:(volume {name})").as_bytes());
            }
        }
    }

    /// Joins what a command line has told with the request that it led to: one alert where both come at once, and
    /// nothing where the request comes later and says no more.
    fn beside_command_line(&mut self, mut finding: Finding, lineage: &Lineage) -> Option<Finding> {
        let (Some(who), Some(service)) = (&finding.who, &finding.container_service) else {
            return Some(finding);
        };
        let now = finding.boottime_ns;
        let recent = self.engines.told.iter().rev().filter(|told| now.saturating_sub(told.at) < ANSWER_NS);
        let told = recent
            .filter(|told| told.covers(finding.rule, service))
            .find(|told| lineage.line(who.handle).any(|at| at == told.process));
        let Some(told) = told else { return Some(finding) };
        if now.saturating_sub(told.at) >= crate::incident::HOLD_NS {
            self.stay_quiet(Quiet::Echo);
            return None;
        }
        told.subject.clone_into(&mut finding.subject);
        finding.process = told.key;
        finding.phase = Phase::Closing;
        if told.doubtful {
            finding.reason(10, "its request to an engine proves what it is");
        }
        Some(finding)
    }

    /// Whether a process is a container engine, or a daemon that has engines run containers: by its file and not by its
    /// name; or by its name, where such a daemon started it (rke2 brings a kubelet of its own).
    pub(super) fn is_engine(&self, lineage: &Lineage, handle: Handle) -> bool {
        match self.daemon(lineage, handle) {
            Some(Recognised::ByIdentity(_)) => true,
            Some(Recognised::ByName(_)) => {
                let parent = lineage.line(handle).nth(1).and_then(|parent| self.daemon(lineage, parent));
                let inside =
                    lineage.entry(handle).is_some_and(|entry| lineage.is_in_container(entry.cgroup_id));
                !inside && matches!(parent, Some(Recognised::ByIdentity(_)))
            }
            None => false,
        }
    }

    fn daemon(&self, lineage: &Lineage, handle: Handle) -> Option<Recognised> {
        let recognised = self.tools.recognise(&lineage.image(handle)?)?;
        Some(recognised).filter(|one| one.tool().family == Family::ContainerDaemon)
    }
}

/// What is to be told of a request.
fn findings(now: u64, engine: &str, request: &EngineRequest, from_container: bool, who: Who) -> Vec<Finding> {
    let make = |rule: &'static Rule, service: Option<&ContainerService>| {
        let subject = match service {
            Some(service) => format!(
                "{} {} {}",
                service.verb,
                service.name.as_deref().or(service.image.as_deref()).unwrap_or_default(),
                service.restart_policy
            ),
            None => format!("{engine} {request}"),
        };
        let mut finding = Finding::new(rule, now, "ipc_send", subject).by(Some(who));
        if let Some(service) = service {
            finding.event_type = if service.verb == "update" { "change" } else { "creation" };
            weigh(service, &mut finding);
            finding.container_service = Some(service.clone());
        }
        if request.incomplete {
            finding.reason(0, "only a part of the request was seen");
        }
        finding
    };
    if from_container {
        let worst = request.services.iter().max_by_key(|service| service.access.grant());
        return vec![make(&rules::ENGINE_REQUEST_FROM_CONTAINER, worst)];
    }
    match request.verb {
        Verb::SwarmInit => return vec![make(&rules::SWARM_CHANGED, None)],
        Verb::SwarmJoin => {
            let mut finding = make(&rules::SWARM_CHANGED, None);
            finding.reason(20, "managers elsewhere decide from now on what runs here");
            return vec![finding];
        }
        Verb::Plugin => return vec![make(&rules::ENGINE_PLUGIN_ADDED, None)],
        _ => {}
    }
    let of_service = |service: &ContainerService| {
        let grant: Option<Grant> = service.access.grant();
        if request.verb == Verb::Service {
            Some(make(&rules::SWARM_SERVICE_CREATED, Some(service)))
        } else if service.comes_back() {
            Some(make(&rules::RESTART_POLICY_SET, Some(service)))
        } else if grant.is_some() {
            let mut finding = make(&rules::HOST_ACCESS_GRANTED, Some(service));
            passing(&mut finding);
            Some(finding)
        } else if request.incomplete {
            Some(make(&rules::ENGINE_REQUEST_UNREAD, Some(service)))
        } else {
            None
        }
    };
    request.services.iter().filter_map(of_service).collect()
}

/// A container that is given the host and does not come back counts for less than one that does.
pub(super) fn passing(finding: &mut Finding) {
    finding.reason(-5, "it does not come back by itself");
}
