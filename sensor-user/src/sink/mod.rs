//! Alerts leave here; only this room knows a format.
//!
//! [`Sinks`] renders an alert once and hands it to every [`Sink`]. None of them may keep the others, or the sensor,
//! from going on.

use std::io;
use std::time::Instant;

use thiserror::Error;

use crate::incident::alert::Alert;

pub mod ecs;
pub mod journald;
pub mod jsonl;
pub mod pretty;
#[cfg(test)]
pub(crate) mod sample;
pub mod text;

/// An alert in the forms that the sinks need, each made once.
#[derive(Debug)]
pub struct Rendered<'a> {
    /// The alert.
    pub alert: &'a Alert,
    /// As an ECS document.
    pub document: ecs::Document<'a>,
    /// The document as one line of JSON, without a line break.
    pub json: String,
}

impl<'a> Rendered<'a> {
    /// Renders an alert.
    #[must_use]
    pub fn new(alert: &'a Alert) -> Self {
        let document = ecs::Document::new(alert);
        let json = document.to_json();
        Self { alert, document, json }
    }
}

/// Something about the sensor itself that belongs beside the alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The sensor watches from now on.
    Started {
        /// The backend: `lsm`, `fentry`, `fanotify`.
        backend: &'a str,
    },
}

/// How a sink does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What became of the alerts.
    pub counts: Counts,
    /// Alerts that are kept to be tried again.
    pub pending: usize,
    /// What waits, where the sink has a queue.
    pub queue: Option<Queue>,
}

/// What waits in a sink, notices included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Entries.
    pub entries: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Attempts that failed for another reason than that the receiver was busy or absent.
    pub errors: u64,
}

/// What became of the alerts that a sink was given: their number is `written + failed + dropped`, plus
/// [`Status::pending`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The receiver has it.
    pub written: u64,
    /// Refused with an error; it will not be tried again.
    pub failed: u64,
    /// Given up to keep the bounds of a queue.
    pub dropped: u64,
}

/// Why a sink did not take an alert.
#[derive(Debug, Error)]
pub enum SinkError {
    /// Nobody reads any more (`EPIPE`): there will never be a reader again.
    #[error("{sink}: the reader has closed its end of the pipe")]
    Closed {
        /// The sink's name.
        sink: &'static str,
    },
    /// This alert could not be written; the next one may be.
    #[error("{sink}: an alert could not be written: {source}")]
    Write {
        /// The sink's name.
        sink: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl SinkError {
    /// `EPIPE` is [`SinkError::Closed`], everything else [`SinkError::Write`].
    #[must_use]
    pub fn of(sink: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed { sink },
            _ => Self::Write { sink, source },
        }
    }
}

/// Where alerts go.
pub trait Sink {
    /// As in the configuration and in the metric's label: `jsonl`, `pretty`, `journal`.
    fn name(&self) -> &'static str;

    /// Takes an alert: writes it, or keeps it to be written later.
    ///
    /// # Errors
    /// [`SinkError`]; the alert is then counted as failed.
    fn write(&mut self, alert: &Rendered<'_>) -> Result<(), SinkError>;

    /// Takes a notice, where the sink's format has a place for it.
    fn notice(&mut self, _notice: &Notice<'_>) {}

    /// How it does.
    fn status(&self) -> Status;

    /// Tries again what was kept, if `now` is the time for it. Returns when to call again, if anything is kept.
    fn retry(&mut self, _now: Instant) -> Option<Instant> {
        None
    }
}

/// All sinks of a run.
#[derive(Default)]
pub struct Sinks {
    sinks: Vec<(Box<dyn Sink>, Health)>,
}

/// So that a sink that fails again and again is logged when it begins and when it ends, not every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    Failing,
    Closed,
}

impl Sinks {
    /// Adds one.
    pub fn add(&mut self, sink: Box<dyn Sink>) {
        self.sinks.push((sink, Health::Well));
    }

    /// Hands the alert to every sink. A failing one is logged and counted, and stops none of the others; one whose
    /// reader has gone gets nothing any more.
    ///
    /// # Errors
    /// [`SinkError::Closed`] of the first sink whose reader has gone now; every other sink has the alert by then.
    pub fn write(&mut self, alert: &Alert) -> Result<(), SinkError> {
        let rendered = Rendered::new(alert);
        let mut closed = Ok(());
        for (sink, health) in &mut self.sinks {
            if *health == Health::Closed {
                continue;
            }
            match sink.write(&rendered) {
                Ok(()) => {
                    if *health == Health::Failing {
                        tracing::info!(sink = sink.name(), "alerts are written again");
                    }
                    *health = Health::Well;
                }
                Err(error @ SinkError::Closed { .. }) => {
                    *health = Health::Closed;
                    closed = closed.and(Err(error));
                }
                Err(error) => {
                    if *health == Health::Well {
                        tracing::error!(alert = %alert.id, "{error}");
                    }
                    *health = Health::Failing;
                }
            }
        }
        closed
    }

    /// Hands a notice to every sink.
    pub fn notice(&mut self, notice: &Notice<'_>) {
        for (sink, _) in &mut self.sinks {
            sink.notice(notice);
        }
    }

    /// [`Sink::retry`] of every sink; the earliest of the moments that they ask for.
    pub fn retry(&mut self, now: Instant) -> Option<Instant> {
        self.sinks.iter_mut().filter_map(|(sink, _)| sink.retry(now)).min()
    }

    /// Alerts that are kept in all sinks together.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.status().map(|(_, status)| status.pending).sum()
    }

    /// Before the end: tries until nothing is kept any more, or until the deadline. Returns what is still kept then,
    /// and will be lost.
    pub fn drain(&mut self, deadline: Instant) -> usize {
        while self.pending() > 0 {
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            let next = self.retry(now).unwrap_or(now);
            std::thread::sleep(next.min(deadline).saturating_duration_since(Instant::now()));
        }
        self.pending()
    }

    /// Each sink's name, and how it does.
    pub fn status(&self) -> impl Iterator<Item = (&'static str, Status)> {
        self.sinks.iter().map(|(sink, _)| (sink.name(), sink.status()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    struct Fake {
        fails_with: Option<io::ErrorKind>,
        taken: Rc<Cell<u64>>,
    }

    impl Sink for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }

        fn write(&mut self, _: &Rendered<'_>) -> Result<(), SinkError> {
            self.taken.set(self.taken.get() + 1);
            match self.fails_with {
                Some(kind) => Err(SinkError::of("fake", kind.into())),
                None => Ok(()),
            }
        }

        fn status(&self) -> Status {
            let counts = Counts { written: self.taken.get(), ..Counts::default() };
            Status { counts, ..Status::default() }
        }
    }

    fn sinks(kinds: &[Option<io::ErrorKind>]) -> (Sinks, Vec<Rc<Cell<u64>>>) {
        let mut sinks = Sinks::default();
        let mut taken = Vec::new();
        for &fails_with in kinds {
            taken.push(Rc::default());
            sinks.add(Box::new(Fake { fails_with, taken: Rc::clone(&taken[taken.len() - 1]) }));
        }
        (sinks, taken)
    }

    #[test]
    fn a_failing_sink_stops_no_other() {
        let (mut sinks, taken) = sinks(&[None, Some(io::ErrorKind::StorageFull), None]);
        for _ in 0..2 {
            sinks.write(&sample::bare()).unwrap();
        }
        assert!(taken.iter().all(|count| count.get() == 2));
    }

    #[test]
    fn a_closed_reader_is_told_once_after_all_have_the_alert() {
        let (mut sinks, taken) = sinks(&[Some(io::ErrorKind::BrokenPipe), None]);
        assert!(matches!(sinks.write(&sample::bare()), Err(SinkError::Closed { sink: "fake" })));
        sinks.write(&sample::bare()).unwrap();
        assert_eq!((taken[0].get(), taken[1].get()), (1, 2));
    }
}
