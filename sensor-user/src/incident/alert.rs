//! The alert: everything a sink can write, in no format.

use crate::detect::rule::{Rule, Severity, Technique};
use crate::detect::rules::of_signal;
pub use crate::detect::score::Reason;
use crate::event::approval::Source;
use crate::incident::proving::Told;
use crate::lineage::actor::Actor;
use crate::subject::container::service::ContainerService;
use crate::subject::service::{File, Unit};

/// One alert. Rebuilding it from the same records gives the same value, [`Alert::id`] included.
#[derive(Clone, Debug)]
pub struct Alert {
    /// 32 hexadecimal digits out of boot id, rule, subject and time.
    pub id: String,
    /// Wall time of the first observation, in microseconds since the epoch.
    pub time_us: i64,
    /// The same on `CLOCK_BOOTTIME`, in nanoseconds.
    pub boottime_ns: u64,
    /// Which rule.
    pub rule: &'static Rule,
    /// Techniques beside the rule's own.
    pub also: &'static [Technique],
    /// From the score.
    pub severity: Severity,
    /// 0 to 100.
    pub score: u8,
    /// The parts of the score.
    pub reasons: Vec<Reason>,
    /// One sentence that says what happened.
    pub summary: String,
    /// `creation`, `change`, `deletion`, `start`, `access`: ECS `event.type`.
    pub event_type: &'static str,
    /// What was seen, oldest first, for ECS `event.action`: `file_create`, `file_rename`...
    pub actions: Vec<&'static str>,
    /// Repeats of an earlier alert (same rule, process and subject, within ten seconds) that this one stands for
    /// beside itself.
    pub collapsed: u64,
    /// Who.
    pub actor: Actor,
    /// The file, where there is one.
    pub file: Option<File>,
    /// What it means to the service manager.
    pub unit: Option<Unit>,
    /// The container service, where that is the subject.
    pub container_service: Option<ContainerService>,
    /// Who told to expect it.
    pub approved: Option<Box<Approved>>,
    /// How it stands to known software; `None` where nothing spoke for a package manager.
    pub proof: Option<Box<Told>>,
    /// The machine.
    pub host: HostInfo,
}

/// An approval or an exception that an alert was met by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// Its name.
    pub name: String,
    /// Where it was told.
    pub source: Source,
    /// Who approved.
    pub by: Option<String>,
    /// Why.
    pub reason: String,
    /// Until when, nanoseconds since 1970.
    pub expires_ns: Option<i64>,
}

impl Alert {
    /// Its techniques, the most telling first; each once.
    pub fn techniques(&self) -> impl Iterator<Item = &'static Technique> + use<> {
        let signals = self.unit.iter().flat_map(|unit| &unit.signals);
        let all = self.rule.techniques.iter().chain(self.also);
        let mut each: Vec<&'static Technique> = Vec::new();
        for technique in all.chain(signals.filter_map(|slug| of_signal(slug))) {
            if !each.contains(&technique) {
                each.push(technique);
            }
        }
        each.into_iter()
    }
}

/// The machine as an alert names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostInfo {
    /// `uname -n`.
    pub hostname: String,
    /// machine-id(5).
    pub machine_id: String,
    /// boot id.
    pub boot_id: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// The backend that saw it.
    pub backend: String,
}
