//! Alerts in the journal, by journald's native protocol.
//!
//! No send ever waits. What journald does not take is kept in order, within bounds, and tried again; what the bounds
//! push out is counted, and an entry says so as soon as journald takes entries again.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use self::entry::Entry;
pub use self::entry::{ALERTS_LOST, CATALOG, CONTAINER_ALERT, RECORDS_LOST, SERVICE_ALERT, STARTED};
use self::socket::Socket;
use super::{Counts, Notice, Queue, Rendered, Sink, SinkError, Status};

mod entry;
mod socket;

/// Between two attempts while something still moves.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
/// Between two attempts at the most.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The bounds of what is kept.
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    /// Entries.
    pub entries: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { entries: 1024, bytes: 4 << 20 }
    }
}

/// The sink.
#[derive(Debug)]
pub struct Journald {
    socket: Socket,
    bounds: QueueBounds,
    queue: VecDeque<Kept>,
    queued_bytes: usize,
    queued_alerts: usize,
    counts: Counts,
    /// Failed sends, but for those where journald was busy (`EAGAIN`) or absent (`ENOENT`, `ECONNREFUSED`).
    errors: u64,
    /// Entries pushed out of the queue that no entry has told of yet.
    untold: u64,
    wait: Duration,
    next_attempt: Option<Instant>,
}

#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    is_alert: bool,
}

impl Journald {
    /// Writes to the socket at `path`, which need not be there yet.
    ///
    /// # Errors
    /// Where no socket can be made, or the path is longer than a socket's address (107 bytes).
    pub fn new(path: &Path, bounds: QueueBounds) -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(path)?,
            bounds,
            queue: VecDeque::new(),
            queued_bytes: 0,
            queued_alerts: 0,
            counts: Counts::default(),
            errors: 0,
            untold: 0,
            wait: SHORTEST_WAIT,
            next_attempt: None,
        })
    }

    fn enqueue(&mut self, entry: Entry, is_alert: bool) {
        let bytes = entry.into_bytes();
        self.queued_bytes += bytes.len();
        self.queued_alerts += usize::from(is_alert);
        self.queue.push_back(Kept { bytes, is_alert });
        let now = Instant::now();
        if self.next_attempt.is_none_or(|at| at <= now) {
            self.send_all(now);
        }
        while self.queue.len() > self.bounds.entries || self.queued_bytes > self.bounds.bytes {
            let Some(oldest) = self.remove_oldest() else { break };
            self.counts.dropped += u64::from(oldest.is_alert);
            self.untold += 1;
        }
    }

    fn remove_oldest(&mut self) -> Option<Kept> {
        let oldest = self.queue.pop_front()?;
        self.queued_bytes -= oldest.bytes.len();
        self.queued_alerts -= usize::from(oldest.is_alert);
        Some(oldest)
    }

    fn send_all(&mut self, now: Instant) {
        let mut moved = false;
        loop {
            // What was pushed out is older than all that is kept.
            let result = if self.untold > 0 {
                self.socket.send(&Entry::alerts_lost(self.untold).into_bytes()).map(|()| self.untold = 0)
            } else if let Some(oldest) = self.queue.front() {
                self.socket.send(&oldest.bytes).map(|()| {
                    if self.remove_oldest().is_some_and(|sent| sent.is_alert) {
                        self.counts.written += 1;
                    }
                })
            } else {
                self.wait = SHORTEST_WAIT;
                self.next_attempt = None;
                return;
            };
            match result {
                Ok(()) => moved = true,
                Err(errno) => {
                    if !matches!(errno, Errno::AGAIN | Errno::NOENT | Errno::CONNREFUSED) {
                        self.errors += 1;
                    }
                    self.wait = if moved { SHORTEST_WAIT } else { (self.wait * 2).min(LONGEST_WAIT) };
                    self.next_attempt = Some(now + self.wait);
                    return;
                }
            }
        }
    }
}

impl Sink for Journald {
    fn name(&self) -> &'static str {
        "journal"
    }

    /// Never fails: what is not taken now is kept.
    fn write(&mut self, alert: &Rendered<'_>) -> Result<(), SinkError> {
        self.enqueue(Entry::alert(alert), true);
        Ok(())
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        self.enqueue(Entry::notice(notice), false);
    }

    fn status(&self) -> Status {
        let queue = Queue { entries: self.queue.len(), bytes: self.queued_bytes, errors: self.errors };
        Status { counts: self.counts, pending: self.queued_alerts, queue: Some(queue) }
    }

    fn retry(&mut self, now: Instant) -> Option<Instant> {
        if self.next_attempt.is_some_and(|at| at <= now) {
            self.send_all(now);
        }
        self.next_attempt
    }
}

#[cfg(test)]
mod tests;
