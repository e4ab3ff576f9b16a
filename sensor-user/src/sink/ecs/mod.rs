//! An alert as a document of the Elastic Common Schema (<https://www.elastic.co/docs/reference/ecs>).

mod container;
mod document;
mod proof;

use std::io;

use jiff::Timestamp;
use serde::Serialize as _;
use serde_json::ser::Formatter;

use crate::detect::rule::{self, Severity};
use crate::incident::alert::Alert;
use crate::lineage::actor;
use crate::sink::text::{command_line, is_deceptive};
use crate::subject::service;

pub use self::container::{Container, Image, ImageHash, Orchestrator, Resource};
use self::container::{container, orchestrator};
pub use self::proof::{Package, Proof};
pub use document::*;

/// JSON schema (draft 2020-12) of [`Document`]. A later 1.x of `svcsensor.schema_version` may add properties.
pub const SCHEMA: &str = include_str!("../../../assets/alert.schema.json");

/// The web address of an ATT&CK technique or sub-technique: `T1543.002` is at `/techniques/T1543/002/`.
#[must_use]
pub fn technique_reference(id: &str) -> String {
    format!("https://attack.mitre.org/techniques/{}/", id.replace('.', "/"))
}

/// `event.severity`. ECS leaves the scale to the source; Elastic's own rules score low to critical as 21, 47, 73 and
/// 99 ("Detection rules", `risk_score`), so alerts of both sort together. Info stands below.
#[must_use]
pub fn severity_number(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 10,
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    }
}

impl<'a> Document<'a> {
    /// The document of an alert.
    #[must_use]
    pub fn new(alert: &'a Alert) -> Self {
        let actor = &alert.actor;
        Self {
            timestamp: timestamp(alert.time_us),
            message: &alert.summary,
            ecs: Ecs { version: ECS_VERSION },
            event: event(alert),
            rule: Rule { id: alert.rule.id, name: alert.rule.name },
            threat: threat(alert.techniques()),
            file: alert.file.as_ref().map(file),
            process: actor.process.is_known().then(|| Process {
                process: process(alert, &actor.process),
                parent: actor.ancestors.first().map(|parent| process(alert, parent)),
            }),
            user: actor.process.is_known().then(|| acting_user(alert)),
            container: actor.container.as_ref().map(container),
            orchestrator: actor.container.as_ref().and_then(orchestrator),
            package: alert.proof.as_ref().and_then(|proof| proof.package.as_ref()).map(package),
            host: Host {
                hostname: &alert.host.hostname,
                name: &alert.host.hostname,
                id: &alert.host.machine_id,
                boot: Boot { id: &alert.host.boot_id },
                os: Os { kernel: &alert.host.kernel_release, kind: "linux" },
            },
            svcsensor: svcsensor(alert),
        }
    }

    /// The document as one line of JSON, without a line break and without a character that could steer a terminal:
    /// such are written as `\\u001b`, which every reader of JSON gives back as they were.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = Vec::with_capacity(4096);
        self.serialize(&mut serde_json::Serializer::with_formatter(&mut json, Harmless))
            .expect("a document has string keys only, and no part of it fails to serialize");
        String::from_utf8(json).expect("serde_json writes UTF-8")
    }
}

/// Compact JSON in which the control characters beyond ASCII, and invisible ones, are escaped too.
///
/// `journalctl -o json` shows a field with a C1 control character as an array of bytes (src/basic/utf8.c,
/// `utf8_is_printable`), and a terminal that jsonl is watched in obeys it.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some((at, character)) = rest.char_indices().find(|(_, character)| is_deceptive(*character))
        {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Microseconds since the epoch as RFC 3339 in UTC with exactly six digits of a second.
///
/// What lies outside the years -9999 to 9999 is shown as the nearest end of that range: a wall clock can be set to
/// anything, and that must not cost the alert.
#[must_use]
pub fn timestamp(time_us: i64) -> String {
    let time = Timestamp::from_microsecond(time_us).unwrap_or(if time_us < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    });
    format!("{time:.6}")
}

fn event(alert: &Alert) -> Event<'_> {
    Event {
        kind: "alert",
        category: categories(alert),
        types: [alert.event_type],
        action: alert.actions.first().copied(),
        outcome: outcome(&alert.actions),
        severity: severity_number(alert.severity),
        risk_score: alert.score,
        id: &alert.id,
        module: "svcsensor",
        dataset: "svcsensor.alert",
    }
}

/// The ECS categories of the subject that allow the alert's `event.type` ("expected event types" of ECS).
fn categories(alert: &Alert) -> Vec<&'static str> {
    let file_like = matches!(alert.event_type, "access" | "change" | "creation" | "deletion");
    let mut categories = Vec::with_capacity(2);
    if file_like {
        categories.push("configuration");
    }
    if file_like && alert.file.is_some() {
        categories.push("file");
    }
    if matches!(alert.event_type, "access" | "change" | "end" | "start") && alert.file.is_none() {
        categories.push("process");
    }
    if categories.is_empty() {
        categories.push("host");
    }
    categories
}

/// Most hooks run before the kernel does what was asked, so a call that fails later looks the same. Only the close
/// of a written file, and an object found in place, prove an effect.
fn outcome(actions: &[&str]) -> &'static str {
    let proven = actions.iter().any(|action| matches!(*action, "file_close_write" | "file_found"));
    if proven { "success" } else { "unknown" }
}

fn threat(techniques: impl Iterator<Item = &'static rule::Technique>) -> Threat<'static> {
    let mut technique = Named::default();
    let mut subtechnique = Named::default();
    let mut tactic = Named::default();
    for item in techniques {
        let parent = item.id.split_once('.').map_or(item.id, |(parent, _)| parent);
        technique.add(parent, item.technique, technique_reference);
        if let Some(name) = item.subtechnique {
            subtechnique.add(item.id, name, technique_reference);
        }
        for (id, name) in item.tactics {
            tactic.add(id, name, |id| format!("https://attack.mitre.org/tactics/{id}/"));
        }
    }
    let subtechnique = (!subtechnique.id.is_empty()).then_some(subtechnique);
    Threat { framework: "MITRE ATT&CK", technique: Technique { named: technique, subtechnique }, tactic }
}

impl<'a> Named<'a> {
    fn add(&mut self, id: &'a str, name: &'a str, reference: impl FnOnce(&str) -> String) {
        if !self.id.contains(&id) {
            self.id.push(id);
            self.name.push(name);
            self.reference.push(reference(id));
        }
    }
}

fn file(file: &service::File) -> File<'_> {
    let (directory, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    // An empty stem is a hidden file, and "a." has no extension either.
    let extension = name.rsplit_once('.').filter(|(stem, end)| !stem.is_empty() && !end.is_empty());
    // Attributes without a mode were never read.
    let known = file.mode != 0;
    File {
        path: &file.path,
        name,
        directory: if directory.is_empty() { "/" } else { directory },
        extension: extension.map(|(_, end)| end),
        kind: if known { file_type(file.mode) } else { file.target.is_some().then_some("symlink") },
        target_path: file.target.as_deref(),
        inode: (file.inode != 0).then(|| file.inode.to_string()),
        mode: known.then(|| format!("{:04o}", file.mode & 0o7777)),
        uid: known.then(|| file.uid.to_string()),
        size: known.then_some(file.size),
    }
}

/// ECS names the first three; the others are named alike. The bits are those of inode(7).
fn file_type(mode: u32) -> Option<&'static str> {
    match mode & libc::S_IFMT {
        libc::S_IFREG => Some("file"),
        libc::S_IFDIR => Some("dir"),
        libc::S_IFLNK => Some("symlink"),
        libc::S_IFIFO => Some("fifo"),
        libc::S_IFSOCK => Some("socket"),
        libc::S_IFCHR => Some("char_device"),
        libc::S_IFBLK => Some("block_device"),
        _ => None,
    }
}

fn process<'a>(alert: &'a Alert, process: &'a actor::Process) -> ProcessFields<'a> {
    let (effective, real) = users(alert, process);
    ProcessFields {
        pid: process.pid,
        entity_id: format!("{}-{}-{}", alert.host.boot_id, process.pid, process.start_boottime_ns),
        name: &process.name,
        executable: &process.executable,
        command_line: command_line(&process.args),
        args: &process.args,
        args_count: (!process.args_truncated && !process.args.is_empty()).then_some(process.args.len()),
        working_directory: &process.working_directory,
        start: start(alert, process),
        user: effective.unwrap_or_else(|| real.clone()),
        real_user: (process.euid != process.user.id).then_some(real),
    }
}

/// The alert carries one moment on both clocks; a process's start lies as far from it on the one as on the other.
fn start(alert: &Alert, process: &actor::Process) -> Option<String> {
    if process.incomplete && process.start_boottime_ns == 0 {
        return None;
    }
    let before_us = (i128::from(alert.boottime_ns) - i128::from(process.start_boottime_ns)) / 1000;
    let start = i128::from(alert.time_us) - before_us;
    Some(timestamp(start.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
}

/// The effective user where it is another than the real one, and the real one. A process carries no name for the
/// former; an ancestor that runs as that user has it.
fn users<'a>(alert: &'a Alert, process: &'a actor::Process) -> (Option<User<'a>>, User<'a>) {
    let effective = (process.euid != process.user.id).then(|| {
        let named = alert.actor.ancestors.iter().find(|ancestor| ancestor.user.id == process.euid);
        User { id: process.euid.to_string(), name: named.and_then(|ancestor| ancestor.user.name.as_deref()) }
    });
    (effective, user(&process.user))
}

fn user(user: &actor::User) -> User<'_> {
    User { id: user.id.to_string(), name: user.name.as_deref() }
}

fn acting_user(alert: &Alert) -> ActingUser<'_> {
    let (effective, real) = users(alert, &alert.actor.process);
    ActingUser { id: real.id, name: real.name, effective }
}

fn marks(process: &actor::Process) -> Marks {
    Marks {
        memfd: process.memfd,
        deleted: process.deleted,
        args_truncated: process.args_truncated,
        incomplete: process.incomplete,
    }
}

fn line<'a>(alert: &'a Alert, processes: &'a [actor::Process]) -> Vec<Ancestor<'a>> {
    processes.iter().map(|own| Ancestor { process: process(alert, own), marks: marks(own) }).collect()
}

fn package(package: &crate::proof::package::Package) -> Package<'_> {
    Package {
        name: &package.name,
        version: &package.version,
        architecture: &package.architecture,
        kind: package.manager,
    }
}

fn svcsensor(alert: &Alert) -> Svcsensor<'_> {
    let actor = &alert.actor;
    Svcsensor {
        schema_version: SCHEMA_VERSION,
        severity: alert.severity,
        score: alert.score,
        reasons: alert.reasons.iter().map(|part| Reason { points: part.points, text: &part.text }).collect(),
        backend: &alert.host.backend,
        boottime_ns: alert.boottime_ns,
        actions: &alert.actions,
        collapsed: alert.collapsed,
        login_user: actor.login_user.as_ref().map(user),
        process: actor.process.is_known().then(|| ProcessDetail {
            marks: marks(&actor.process),
            session: actor.session,
            cgroup: &actor.cgroup,
            unit: actor.unit.as_deref(),
            foreign_mount_namespace: actor.foreign_mount_namespace,
        }),
        ancestors: line(alert, &actor.ancestors),
        ancestors_truncated: actor.ancestors_truncated,
        on_behalf_of: actor.on_behalf_of.as_ref().map(|requester| Requester {
            confidence: requester.confidence,
            request: requester.request.as_deref(),
            processes: line(alert, &requester.processes),
            ancestors_truncated: requester.ancestors_truncated,
            login_user: requester.login_user.as_ref().map(user),
            container: requester.container.as_ref().map(container),
        }),
        unit: alert.unit.as_ref().map(|unit| Unit {
            name: &unit.name,
            part: unit.part,
            scope: unit.scope,
            changes: &unit.changes,
            signals: &unit.signals,
        }),
        other_path: alert.file.as_ref().and_then(|file| file.other_path.as_deref()),
        proof: alert.proof.as_ref().map(|proof| Proof {
            verdict: proof.outcome,
            sha256: proof.sha256.as_deref(),
            transaction_pid: proof.pid,
            transaction: &proof.command,
            script: proof.script.as_deref(),
            script_package: proof.script_package.as_ref().map(package),
        }),
        container_service: alert.container_service.as_ref().map(|service| ContainerService {
            source: service.source,
            engine: &service.engine,
            verb: &service.verb,
            restart_policy: Some(&*service.restart_policy).filter(|policy| !policy.is_empty()),
            id: service.id.as_deref(),
            image: service.image.as_deref(),
            name: service.name.as_deref(),
            command: &service.command,
            user: service.user.as_deref(),
            host_access: service.access.options().collect(),
        }),
        service_account: actor
            .container
            .as_ref()
            .and_then(|container| container.identity.as_ref()?.service_account.as_deref()),
    }
}

#[cfg(test)]
mod tests;
