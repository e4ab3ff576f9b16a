//! Who probably asked a service manager: the tools that lately ran.
//!
//! `systemctl enable` has PID 1 make the link, so the kernel names PID 1. Until the managers' sockets are watched, the
//! client is a guess out of what ran at that time; it is offered as such.

use std::collections::VecDeque;

use crate::lineage::Lineage;
use crate::lineage::image::{Image, base_name};
use crate::lineage::table::Handle;

/// A client may end before the manager has finished its request, and its exit overtake the manager's write.
pub const GRACE_NS: u64 = 2_000_000_000;

/// A client that began longer ago than this asks for something else by now, unless it names the unit.
pub const RECENT_NS: u64 = 30_000_000_000;

/// Clients remembered.
const CLIENTS_MAX: usize = 64;

/// Word for how a client was found ([`crate::lineage::actor::Requester::confidence`]).
pub const RECENT_CLIENT: &str = "recent-client";

/// Verbs of systemctl that change nothing (systemctl(1)).
const QUERIES: [&[u8]; 16] = [
    b"status",
    b"show",
    b"cat",
    b"help",
    b"is-active",
    b"is-enabled",
    b"is-failed",
    b"is-system-running",
    b"list-units",
    b"list-unit-files",
    b"list-timers",
    b"list-sockets",
    b"list-jobs",
    b"list-dependencies",
    b"get-default",
    b"show-environment",
];

/// Verbs of container engines' tools that change nothing (docker(1), podman(1)).
const ENGINE_QUERIES: [&[u8]; 20] = [
    b"ps", b"ls", b"images", b"logs", b"inspect", b"info", b"version", b"stats", b"events", b"top", b"diff",
    b"port", b"history", b"search", b"wait", b"attach", b"login", b"logout", b"image", b"system",
];

/// The clients of service managers, or those of container engines, that ran last, oldest first.
#[derive(Debug, Default)]
pub struct Clients {
    recent: VecDeque<(u64, Handle)>,
}

impl Clients {
    /// A client was executed at `now`, in nanoseconds; 0 where it was found running.
    pub fn executed(&mut self, now: u64, client: Handle) {
        self.recent.retain(|(_, known)| *known != client);
        if self.recent.len() == CLIENTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, client));
    }

    /// The client that fits best: of those that run, or ended less than [`GRACE_NS`] ago, and do not merely ask for a
    /// state, the latest that names `unit` in its arguments; else the latest that began in the last [`RECENT_NS`].
    pub fn requester(&self, lineage: &Lineage, now: u64, unit: &[u8]) -> Option<Handle> {
        let running = || {
            self.recent
                .iter()
                .rev()
                .filter(|(_, client)| lineage.was_running(*client, now, GRACE_NS))
                .filter_map(|(began, client)| {
                    lineage.image(*client).filter(changes).map(|image| (*began, *client, image))
                })
        };
        let named = running().find(|(_, _, image)| names(image, unit));
        let recent = || running().find(|(began, ..)| began.saturating_add(RECENT_NS) >= now);
        named.or_else(recent).map(|(_, client, _)| client)
    }
}

impl Clients {
    /// Of container engines' clients that fit the one that began last: it runs, or ended less than [`GRACE_NS`] ago, began in
    /// the last [`RECENT_NS`], and does not merely ask for a state.
    pub fn of_engine(
        &self,
        lineage: &Lineage,
        now: u64,
        fits: impl Fn(&Image<'_>) -> bool,
    ) -> Option<Handle> {
        let asks = |image: &Image<'_>| {
            if !fits(image) {
                return false;
            }
            let verb = image.arguments().skip(1).find(|arg| !arg.starts_with(b"-"));
            verb.is_some_and(|verb| !ENGINE_QUERIES.contains(&verb))
        };
        let mut recent = self.recent.iter().rev().filter(|(began, client)| {
            began.saturating_add(RECENT_NS) >= now && lineage.was_running(*client, now, GRACE_NS)
        });
        recent
            .find(|(_, client)| lineage.image(*client).as_ref().is_some_and(asks))
            .map(|(_, client)| *client)
    }
}

/// Whether the command line can change something: its first word is no query.
fn changes(image: &Image<'_>) -> bool {
    let verb = image.arguments().skip(1).find(|arg| !arg.starts_with(b"-"));
    verb.is_none_or(|verb| !QUERIES.contains(&verb))
}

/// Whether an argument is the unit's name, with or without its type.
fn names(image: &Image<'_>, unit: &[u8]) -> bool {
    let stem = unit.iter().rposition(|byte| *byte == b'.').map_or(unit, |dot| &unit[..dot]);
    let same = |arg: &[u8]| {
        let name = base_name(arg);
        !name.is_empty() && (name == unit || name == stem)
    };
    image.arguments().skip(1).any(same)
}
