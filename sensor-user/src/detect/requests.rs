//! Who asked a service manager: what clients sent to its socket, or to a bus.
//!
//! PID 1 makes links, drop-ins and transient units, and starts processes, for clients. Each request is remembered for a
//! while with the client that sent it, lineage and all, so that what the manager then does is told with it.

use std::fmt;

use super::client::RECENT_CLIENT;
use super::detector::Detector;
use super::finding::{Finding, Who};
use super::remembered::{Asked, REQUEST, Remembered};
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

/// Connections whose streams are put together.
const CONNECTIONS_MAX: usize = 64;

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

/// A request, and to which manager.
#[derive(Debug)]
struct Wanted {
    whose: Whose,
    request: ManagerRequest,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

/// The requests.
#[derive(Debug)]
pub(super) struct Requests {
    connections: Connections,
    recent: Remembered<Wanted>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { connections: Connections::new(CONNECTIONS_MAX), recent: Remembered::default() }
    }
}

impl Requests {
    /// The client that asked for what a manager did to `unit`, of those whose request `may` bring it about.
    fn behind(&self, now: u64, whose: Whose, unit: &str, may: impl Fn(Verb) -> bool) -> Option<Requester> {
        let names = |wanted: &Wanted| {
            wanted.request.names(unit)
                || wanted.request.verb == Verb::SetDefaultTarget && unit == "default.target"
        };
        self.recent.behind(now, |wanted| wanted.whose == whose && may(wanted.request.verb), names)
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
    /// What a client sent to a service manager, a bus or a container engine.
    pub fn sent(&mut self, event: &IpcEvent<'_>, lineage: &mut Lineage, out: &mut impl FnMut(Finding)) {
        let record = &event.record;
        let class = self.watches.get(record.watch).and_then(|watch| watch.class);
        if class == Some(WatchClass::EngineSocket) {
            return self.sent_to_engine(event, lineage, out);
        }
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
                connection: record.connection,
                request: Wanted { whose, request },
                requester,
            };
            let same = |known: &Wanted, new: &Wanted| known.request.serial == new.request.serial;
            self.requests.recent.push(asked, same);
        }
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
