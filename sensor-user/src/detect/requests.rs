//! Who asked a service manager: what clients sent to its socket, or to a bus.
//!
//! PID 1 makes links, drop-ins and transient units, and starts processes, for clients. Each request is remembered for a
//! while with the client that sent it, lineage and all, so that what the manager then does is told with it.

use std::collections::VecDeque;

use super::client::RECENT_CLIENT;
use super::detector::Detector;
use super::finding::{Finding, Who};
use super::rules;
use crate::event::decode::IpcEvent;
use crate::event::user::WatchClass;
use crate::lineage::Lineage;
use crate::lineage::actor::Requester;
use crate::lineage::table::Handle;
use crate::subject::dbus::Connections;
use crate::subject::dbus::request::{ManagerRequest, Verb};
use crate::subject::service::Scope;
use crate::subject::stream::StreamStats;
use crate::subject::unit::signals::unit::of_variable;

/// Requests remembered.
const REQUESTS_MAX: usize = 128;
/// Connections whose streams are put together.
const CONNECTIONS_MAX: usize = 64;
/// An authorisation dialogue may stand between a request and what the manager does for it, in nanoseconds.
const NAMED_NS: u64 = 120_000_000_000;
/// A request that names other units (enabling follows `Alias=` and `Also=`) accounts only for what is done at once.
const UNNAMED_NS: u64 = 5_000_000_000;

/// Word for a client whose request was read and names what was done ([`Requester::confidence`]).
pub const REQUEST: &str = "request";
/// Word for a client whose request was read, came at the time, and does not name what was done.
pub const RECENT_REQUEST: &str = "recent-request";

/// Whose manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// PID 1.
    System,
    /// That of this user.
    User(u32),
}

impl Whose {
    fn scope(self) -> Scope {
        match self {
            Self::System => Scope::System,
            Self::User(_) => Scope::User,
        }
    }
}

#[derive(Debug)]
struct Asked {
    at: u64,
    whose: Whose,
    connection: u64,
    request: ManagerRequest,
    requester: Requester,
}

/// The requests.
#[derive(Debug)]
pub(super) struct Requests {
    connections: Connections,
    recent: VecDeque<Asked>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { connections: Connections::new(CONNECTIONS_MAX), recent: VecDeque::new() }
    }
}

impl Requests {
    /// The client that asked for what a manager did to `unit`, of those whose request `may` bring it about.
    fn behind(&self, now: u64, whose: Whose, unit: &str, may: impl Fn(Verb) -> bool) -> Option<Requester> {
        let within = |asked: &&Asked, time| asked.whose == whose && now.saturating_sub(asked.at) <= time;
        let recent = || self.recent.iter().rev().filter(|asked| may(asked.request.verb));
        let named = recent().filter(|asked| within(asked, NAMED_NS)).find(|asked| {
            asked.request.names(unit)
                || asked.request.verb == Verb::SetDefaultTarget && unit == "default.target"
        });
        let told = |asked: &Asked, confidence| Requester {
            confidence,
            request: Some(asked.request.to_string()),
            ..asked.requester.clone()
        };
        let unnamed = || recent().find(|asked| within(asked, UNNAMED_NS));
        named.map(|asked| told(asked, REQUEST)).or_else(|| unnamed().map(|asked| told(asked, RECENT_REQUEST)))
    }

    /// Connections followed, their bound, and their bytes.
    pub(super) fn figures(&self) -> (usize, usize, usize) {
        (self.connections.len(), self.connections.capacity(), self.connections.bytes())
    }

    /// Sends were lost: no stream is in step for certain.
    pub(super) fn records_lost(&mut self) {
        self.connections.records_lost();
    }

    /// What became of the streams.
    pub(super) fn streams(&self) -> StreamStats {
        self.connections.stats()
    }
}

impl Detector {
    /// What a client sent to a service manager or a bus.
    pub fn sent(&mut self, event: &IpcEvent<'_>, lineage: &mut Lineage, out: &mut impl FnMut(Finding)) {
        let record = &event.record;
        let Some(whose) = self.whose(record.watch) else { return };
        let Some(handle) = lineage.observe(&record.task) else { return };
        let mut requests = Vec::new();
        self.requests.connections.feed(event, &mut |request| requests.push(request));
        for request in requests {
            let Some(requester) = lineage.requester(handle, REQUEST) else { return };
            let who = Who { handle, task: record.task };
            if let Some(finding) = finding(record.header.boottime_ns, whose, &request, &requester, who) {
                out(finding);
            }
            let asked = Asked {
                at: record.header.boottime_ns,
                whose,
                connection: record.connection,
                request,
                requester,
            };
            self.remember_request(asked);
        }
    }

    fn remember_request(&mut self, asked: Asked) {
        let recent = &mut self.requests.recent;
        // One that was seen in part at first, and then whole.
        recent.retain(|known| {
            (known.connection, known.request.serial) != (asked.connection, asked.request.serial)
        });
        if recent.len() == REQUESTS_MAX {
            recent.pop_front();
        }
        recent.push_back(asked);
    }

    /// The manager behind a watched socket.
    fn whose(&self, watch: u32) -> Option<Whose> {
        let watch = self.watches.get(watch)?;
        if !matches!(watch.class?, WatchClass::ManagerSocket | WatchClass::BusSocket) {
            return None;
        }
        let mut names = watch.path.strip_prefix("/run/")?.split('/');
        match (names.next()?, names.next()) {
            ("user", Some(uid)) => uid.parse().ok().map(Whose::User),
            _ => Some(Whose::System),
        }
    }

    /// Who asked the manager `handle` for what it did to `unit` at `now`: by their request, else a guess out of the
    /// clients that ran.
    pub(super) fn requester(
        &self,
        handle: Handle,
        now: u64,
        unit: &[u8],
        may: impl Fn(Verb) -> bool,
        lineage: &mut Lineage,
    ) -> Option<Requester> {
        let whose = match lineage.init() {
            Some(init) if init == handle => Whose::System,
            _ => Whose::User(lineage.entry(handle)?.uid),
        };
        let name = crate::event::path::lossy(unit);
        self.requests.behind(now, whose, &name, may).or_else(|| {
            let client = self.clients.requester(lineage, now, unit).filter(|client| *client != handle)?;
            lineage.requester(client, RECENT_CLIENT)
        })
    }
}

/// What is to be told of a request by itself: what leaves no trace in a file, and what comes out of a container.
fn finding(
    now: u64,
    whose: Whose,
    request: &ManagerRequest,
    requester: &Requester,
    who: Who,
) -> Option<Finding> {
    let verb = request.verb;
    let acts = verb.changes_files()
        || verb.starts_processes()
        || matches!(verb, Verb::SetEnvironment | Verb::Mount | Verb::Attach | Verb::SwitchRoot);
    let rule = if whose == Whose::System && requester.container.is_some() && acts {
        &rules::REQUEST_FROM_CONTAINER
    } else if verb == Verb::SetEnvironment {
        &rules::MANAGER_ENVIRONMENT_SET
    } else if verb == Verb::Mount {
        &rules::UNIT_MOUNTED_INTO
    } else {
        return None;
    };
    let mut finding = Finding::new(rule, now, "ipc_send", request.to_string()).by(Some(who));
    if let Some(unit) = request.units.first() {
        let part = crate::subject::service::UnitPart::Other;
        finding.unit = Some(crate::subject::service::Unit::new(unit, part, whose.scope()));
    }
    if verb == Verb::SetEnvironment && whose == Whose::System {
        finding.reason(20, "every service that starts later inherits it");
    }
    for signal in request.environment.iter().filter_map(|variable| of_variable(variable.as_bytes())) {
        finding.reason(super::units::points(signal.weight), signal.why);
    }
    if request.incomplete {
        finding.reason(0, "only a part of the request was seen");
    }
    Some(finding)
}
