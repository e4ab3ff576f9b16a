//! The shape of an alert in the Elastic Common Schema.
//!
//! Names and types are those of ECS 9.3 (`generated/csv/fields.csv` of github.com/elastic/ecs); what ECS has no name
//! for is under `svcsensor`. An absent value is left out, never null.

use serde::Serialize;

use super::container::{Container, Orchestrator};
use super::proof::{Package, Proof};
use crate::detect::rule::Severity;
use crate::subject::container::service::Source;
use crate::subject::service::{Scope, UnitPart};

#[cfg(test)]
use schemars::JsonSchema;

/// `ecs.version`: the version of ECS whose names and types are used here.
pub const ECS_VERSION: &str = "9.3.0";

/// `svcsensor.schema_version`: the first number changes where a consumer must.
pub const SCHEMA_VERSION: &str = "1.0";

/// One alert.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(title = "svcsensor alert"))]
pub struct Document<'a> {
    /// Wall time of the first observation: RFC 3339 in UTC, always six digits of a second.
    #[serde(rename = "@timestamp")]
    #[cfg_attr(test, schemars(extend("format" = "date-time", "pattern" = TIMESTAMP_PATTERN)))]
    pub timestamp: String,
    /// The sentence that says what happened.
    pub message: &'a str,
    /// Which ECS.
    pub ecs: Ecs,
    /// How the event is classified.
    pub event: Event<'a>,
    /// The rule that matched.
    pub rule: Rule<'a>,
    /// ATT&CK techniques.
    pub threat: Threat<'a>,
    /// The file that was touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<File<'a>>,
    /// The process that acted; absent where nobody knows who did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process<'a>>,
    /// The user of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<ActingUser<'a>>,
    /// The container that the process runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container<'a>>,
    /// The pod that the process runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orchestrator: Option<Orchestrator<'a>>,
    /// The package that the file is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Package<'a>>,
    /// The machine.
    pub host: Host<'a>,
    /// What ECS has no name for.
    pub svcsensor: Svcsensor<'a>,
}

#[cfg(test)]
const TIMESTAMP_PATTERN: &str = r"^-?[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$";

/// `ecs.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Ecs {
    /// Version of ECS.
    pub version: &'static str,
}

/// `event.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Event<'a> {
    /// Always `alert`.
    pub kind: &'static str,
    /// `configuration`, `file`, `process`: those whose expected types include [`Event::types`].
    pub category: Vec<&'static str>,
    /// `creation`, `change`, `deletion`, `start`, `access`.
    #[serde(rename = "type")]
    pub types: [&'a str; 1],
    /// What was seen first; all of it is in `svcsensor.actions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'a str>,
    /// `success` where an effect was seen, `unknown` where only the attempt was.
    pub outcome: &'static str,
    /// 10 info, 21 low, 47 medium, 73 high, 99 critical.
    pub severity: u8,
    /// The score, 0 to 100.
    pub risk_score: u8,
    /// The alert's id: the same records give the same id.
    pub id: &'a str,
    /// Always `svcsensor`.
    pub module: &'static str,
    /// Always `svcsensor.alert`.
    pub dataset: &'static str,
}

/// `rule.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Rule<'a> {
    /// Dotted slug; never changes its meaning.
    pub id: &'a str,
    /// One line.
    pub name: &'a str,
}

/// `threat.*`: each array holds every value once, in the order of the rule's techniques.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Threat<'a> {
    /// Always `MITRE ATT&CK`.
    pub framework: &'static str,
    /// Techniques.
    pub technique: Technique<'a>,
    /// Tactics.
    pub tactic: Named<'a>,
}

/// `threat.technique.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Technique<'a> {
    /// Ids, names, addresses.
    #[serde(flatten)]
    pub named: Named<'a>,
    /// Sub-techniques.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtechnique: Option<Named<'a>>,
}

/// Ids with their names and web addresses, position by position.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Named<'a> {
    /// `T1543`, `T1543.002`, `TA0003`.
    pub id: Vec<&'a str>,
    /// `Systemd Service`.
    pub name: Vec<&'a str>,
    /// Where ATT&CK describes it.
    pub reference: Vec<String>,
}

/// `file.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct File<'a> {
    /// As the host's PID 1 sees it.
    pub path: &'a str,
    /// Last component.
    pub name: &'a str,
    /// The rest.
    pub directory: &'a str,
    /// After the name's last dot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<&'a str>,
    /// `file`, `dir`, `symlink`, `fifo`, `socket`, `char_device`, `block_device`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// What a symlink points to, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_path: Option<&'a str>,
    /// Inode number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inode: Option<String>,
    /// Permission bits in octal, four digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// `process.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Process<'a> {
    /// The process itself.
    #[serde(flatten)]
    pub process: ProcessFields<'a>,
    /// Who started it; the further ones are in `svcsensor.ancestors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<ProcessFields<'a>>,
}

/// What ECS has of a process, for the actor and for each of its ancestors.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ProcessFields<'a> {
    /// In the initial pid namespace.
    pub pid: u32,
    /// Boot id, pid and start in nanoseconds since boot, joined by dashes: the same process always has the same.
    pub entity_id: String,
    /// Thread name.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'a str,
    /// As the process's own mount namespace has it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub executable: &'a str,
    /// The arguments joined by blanks. One that has other characters than `A-Za-z0-9_@%+=:,./-` is in single
    /// quotes, a single quote in it is `'\''`; so a shell reads back exactly `args`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command_line: String,
    /// The arguments.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub args: &'a [String],
    /// Their number; absent where `args` is only the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_count: Option<usize>,
    /// Working directory.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub working_directory: &'a str,
    /// Wall time of its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("format" = "date-time", "pattern" = TIMESTAMP_PATTERN)))]
    pub start: Option<String>,
    /// Effective user.
    pub user: User<'a>,
    /// Real user, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real_user: Option<User<'a>>,
}

/// A user.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct User<'a> {
    /// Numeric id.
    pub id: String,
    /// Where the host's user database has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
}

/// `user.*`: the real user; `user.effective` where the process acts as another one.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ActingUser<'a> {
    /// Numeric id.
    pub id: String,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// Effective user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<User<'a>>,
}

/// `host.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Host<'a> {
    /// `uname -n`.
    pub hostname: &'a str,
    /// The same.
    pub name: &'a str,
    /// machine-id(5).
    #[serde(skip_serializing_if = "str::is_empty")]
    pub id: &'a str,
    /// Boot.
    pub boot: Boot<'a>,
    /// Operating system.
    pub os: Os<'a>,
}

/// `host.boot.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Boot<'a> {
    /// Boot id (random(4)).
    pub id: &'a str,
}

/// `host.os.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Os<'a> {
    /// `uname -r`.
    pub kernel: &'a str,
    /// Always `linux`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// `svcsensor.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Svcsensor<'a> {
    /// Version of this document's shape.
    pub schema_version: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// 0 to 100.
    pub score: u8,
    /// The parts of the score.
    pub reasons: Vec<Reason<'a>>,
    /// The backend that saw it: `lsm`, `fentry`, `fanotify`.
    pub backend: &'a str,
    /// Time of the first observation on `CLOCK_BOOTTIME`, in nanoseconds.
    pub boottime_ns: u64,
    /// Everything that was seen, oldest first.
    pub actions: &'a [&'static str],
    /// Repeats of an earlier alert that this one stands for beside itself.
    pub collapsed: u64,
    /// The user who logged in (audit's loginuid), where somebody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_user: Option<User<'a>>,
    /// What ECS has no name for in the process; absent where nobody knows who acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessDetail<'a>>,
    /// The process's parent, that one's parent, and so on to PID 1.
    pub ancestors: Vec<Ancestor<'a>>,
    /// Ancestors beyond the bound, or of no longer known processes, were left out.
    #[serde(skip_serializing_if = "is_false")]
    pub ancestors_truncated: bool,
    /// Whose request a service manager probably carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Requester<'a>>,
    /// What the file means to the service manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit<'a>>,
    /// Where the file was before a rename; the existing name, for a hard link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_path: Option<&'a str>,
    /// How the change stands to known software.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof<'a>>,
    /// The container service that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_service: Option<ContainerService<'a>>,
    /// The service account of the pod that the process runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<&'a str>,
}

/// A part of a score.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Reason<'a> {
    /// Added to the score; may be negative.
    pub points: i8,
    /// Why.
    pub text: &'a str,
}

/// Marks of a process; each is absent where it does not apply.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[expect(clippy::struct_excessive_bools, reason = "independent marks, each a key of the document")]
pub struct Marks {
    /// The executable is a memfd.
    #[serde(skip_serializing_if = "is_false")]
    pub memfd: bool,
    /// The executable has no name in any directory.
    #[serde(skip_serializing_if = "is_false")]
    pub deleted: bool,
    /// `args` is only the beginning.
    #[serde(skip_serializing_if = "is_false")]
    pub args_truncated: bool,
    /// Only the pid is known: it ended before the sensor learned more.
    #[serde(skip_serializing_if = "is_false")]
    pub incomplete: bool,
}

/// An ancestor.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Ancestor<'a> {
    /// As ECS has it.
    #[serde(flatten)]
    pub process: ProcessFields<'a>,
    /// Marks.
    #[serde(flatten)]
    pub marks: Marks,
}

/// `svcsensor.on_behalf_of.*`: the client that probably asked a service manager for what it did.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Requester<'a> {
    /// How it was found: `request` (read, and names what was done), `recent-request` (read, and names something else),
    /// `recent-client` (ran at that time: no proof).
    pub confidence: &'static str,
    /// What it asked for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
    /// The client, its parent, and so on to PID 1.
    pub processes: Vec<Ancestor<'a>>,
    /// Ancestors beyond the bound, or of no longer known processes, were left out.
    #[serde(skip_serializing_if = "is_false")]
    pub ancestors_truncated: bool,
    /// The user who logged in, of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_user: Option<User<'a>>,
    /// The container that the client runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container<'a>>,
}

/// `svcsensor.process.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ProcessDetail<'a> {
    /// Marks.
    #[serde(flatten)]
    pub marks: Marks,
    /// The audit session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u32>,
    /// Path of its control group.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub cgroup: &'a str,
    /// The systemd unit that the control group belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'a str>,
    /// It runs in another mount namespace than PID 1.
    pub foreign_mount_namespace: bool,
}

/// `svcsensor.unit.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Unit<'a> {
    /// The unit that the file belongs to.
    pub name: &'a str,
    /// What part of it.
    pub part: UnitPart,
    /// Whose service manager.
    pub scope: Scope,
    /// What the unit does now that it did not before, and the other way round: a sentence each.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub changes: &'a [String],
    /// Names of what is suspicious about it, and was not before.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub signals: &'a [&'static str],
}

/// `svcsensor.container_service.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ContainerService<'a> {
    /// Where it is said what the container is to be.
    pub source: Source,
    /// `docker`, `podman`, `nerdctl`, `kubelet`.
    pub engine: &'a str,
    /// `run`, `create`, `update`.
    pub verb: &'a str,
    /// `always`, `unless-stopped`, `on-failure:3`; absent where it does not come back by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<&'a str>,
    /// The engine's id of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// The image, or the container for `update`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<&'a str>,
    /// The name that it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// What runs in it, entry point first; absent where it is the image's own.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub command: &'a [String],
    /// As whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Options that give it the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_access: Vec<&'a str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
