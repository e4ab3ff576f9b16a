//! Requests that clients sent, remembered with who sent them: what a daemon then does is told with the client.

use std::collections::VecDeque;
use std::fmt;

use crate::lineage::actor::Requester;

/// Requests remembered.
const REQUESTS_MAX: usize = 128;
/// An authorisation dialogue, or the download of an image, may stand between a request and what is done for it, in
/// nanoseconds.
const NAMED_NS: u64 = 120_000_000_000;
/// A request that names something else (enabling a unit follows `Alias=` and `Also=`) accounts only for what is done at
/// once.
const UNNAMED_NS: u64 = 5_000_000_000;

/// Word for a client whose request was read and names what was done ([`Requester::confidence`]).
pub const REQUEST: &str = "request";
/// Word for a client whose request was read, came at the time, and does not name what was done.
pub const RECENT_REQUEST: &str = "recent-request";

/// A request.
#[derive(Debug)]
pub(super) struct Asked<R> {
    /// When, on `CLOCK_BOOTTIME` in nanoseconds.
    pub(super) at: u64,
    /// On which connection.
    pub(super) connection: u64,
    /// What.
    pub(super) request: R,
    /// By whom.
    pub(super) requester: Requester,
}

/// The last requests of one kind.
#[derive(Debug)]
pub(super) struct Remembered<R> {
    recent: VecDeque<Asked<R>>,
}

impl<R> Default for Remembered<R> {
    fn default() -> Self {
        Self { recent: VecDeque::new() }
    }
}

impl<R: fmt::Display> Remembered<R> {
    /// Remembers a request; it replaces those of its connection that are the `same`: seen in part at first, and then
    /// whole.
    pub(super) fn push(&mut self, asked: Asked<R>, same: impl Fn(&R, &R) -> bool) {
        self.recent
            .retain(|known| known.connection != asked.connection || !same(&known.request, &asked.request));
        if self.recent.len() == REQUESTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(asked);
    }

    /// The client that asked for what was done at `now`, of those whose request `may` bring it about: the last that
    /// `names` it, else the last that came shortly before.
    pub(super) fn behind(
        &self,
        now: u64,
        may: impl Fn(&R) -> bool,
        names: impl Fn(&R) -> bool,
    ) -> Option<Requester> {
        let within = |asked: &&Asked<R>, time| now.saturating_sub(asked.at) <= time;
        let recent = || self.recent.iter().rev().filter(|asked| may(&asked.request));
        let told = |asked: &Asked<R>, confidence| Requester {
            confidence,
            request: Some(asked.request.to_string()),
            ..asked.requester.clone()
        };
        let named = recent().filter(|asked| within(asked, NAMED_NS)).find(|asked| names(&asked.request));
        let unnamed = || recent().find(|asked| within(asked, UNNAMED_NS));
        named.map(|asked| told(asked, REQUEST)).or_else(|| unnamed().map(|asked| told(asked, RECENT_REQUEST)))
    }
}
