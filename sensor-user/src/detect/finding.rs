//! What a rule has found, before repeats are collapsed.

use sensor_common::record::TaskContext;

use super::managers::Transaction;
use super::rule::{Rule, Technique};
use super::score::Reason;
use crate::lineage::actor::Requester;
use crate::lineage::table::Handle;
use crate::subject::container::service::ContainerService;
use crate::subject::service::{File, Unit};

/// When a finding becomes an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// More is expected: with the next record of the same process on the same subject, or when time is up.
    Held,
    /// Completes what is held of the same process and subject; at once.
    Closing,
    /// Complete in itself; at once.
    Complete,
}

/// The process that acted.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// In the process table.
    pub handle: Handle,
    /// As the record has it.
    pub task: TaskContext,
}

/// What a rule has found in one record.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which rule.
    pub rule: &'static Rule,
    /// The record's time on `CLOCK_BOOTTIME`, in nanoseconds.
    pub boottime_ns: u64,
    /// The record's kind (`kind::name`).
    pub action: &'static str,
    /// ECS `event.type`.
    pub event_type: &'static str,
    /// With rule and process what makes two findings the same: a path, or what a command asks for.
    pub subject: String,
    /// Who acted; `None` where nobody knows.
    pub who: Option<Who>,
    /// Process id and start by which repeats are recognised.
    pub process: (u32, u64),
    /// Who asked the service manager that acted.
    pub requester: Option<Box<Requester>>,
    /// The file.
    pub file: Option<File>,
    /// What it means.
    pub unit: Option<Unit>,
    /// What a container engine was asked for.
    pub container_service: Option<ContainerService>,
    /// Techniques beside the rule's own, which the subject adds: a timer's, a device's.
    pub also: &'static [Technique],
    /// What raises or lowers the score, on the subject's side.
    pub reasons: Vec<Reason>,
    /// When it becomes an alert.
    pub phase: Phase,
    /// What the file says is still to come, as another finding of the same subject: until then it is held, whatever
    /// the phase.
    pub awaits_content: bool,
    /// Who its container, or its client's, is, is still to come: until then it is held as well.
    pub awaits_identity: bool,
    /// A subject whose held finding this one completes: a file that is renamed when it is finished.
    pub completes: Option<String>,
    /// How many things it counts: lost records.
    pub quantity: u64,
    /// The alert's sentence, where the rule does not make it of who did what.
    pub sentence: Option<String>,
    /// SHA-256 of the file's content, or of that at a link's end, 64 hexadecimal digits; empty where it was read and is
    /// not wholly known, `None` before.
    pub content_sha256: Option<String>,
    /// What may be a package manager's transaction: then it is held until its proof is had.
    pub transaction: Option<Box<Transaction>>,
    /// Programs that the unit runs: proof of the unit asks whose they are.
    pub programs: Vec<Vec<u8>>,
    /// What about it has no place in sound software, so that no package excuses it (`units::tell`).
    pub doubts: Vec<String>,
}

impl Finding {
    /// Of `rule` on `subject`, without further evidence.
    pub fn new(rule: &'static Rule, boottime_ns: u64, action: &'static str, subject: String) -> Self {
        Self {
            rule,
            boottime_ns,
            action,
            event_type: "change",
            subject,
            who: None,
            process: (0, 0),
            requester: None,
            file: None,
            unit: None,
            container_service: None,
            also: &[],
            reasons: Vec::new(),
            phase: Phase::Complete,
            awaits_content: false,
            awaits_identity: false,
            completes: None,
            quantity: 1,
            sentence: None,
            content_sha256: None,
            transaction: None,
            programs: Vec::new(),
            doubts: Vec::new(),
        }
    }

    /// With the process that acted.
    #[must_use]
    pub fn by(mut self, who: Option<Who>) -> Self {
        if let Some(who) = &who {
            self.process = (who.task.tgid, who.task.start_boottime_ns);
        }
        self.who = who;
        self
    }

    /// Adds a part of the score.
    pub fn reason(&mut self, points: i8, text: impl Into<String>) {
        self.reasons.push(Reason { points, text: text.into() });
    }
}
