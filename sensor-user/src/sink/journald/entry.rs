//! Journal entries in the serialization of journald's native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).

use crate::detect::rule::Severity;
use crate::detect::rules;
use crate::lineage::actor::{Container, Process, User};
use crate::sink::text::{command_line, prefix, printable};
use crate::sink::{Notice, Rendered};
use crate::subject::adjacent;
use crate::subject::service::{Scope, Unit};

/// Bytes that a field may have with its name: `journalctl -o json` shows a longer one as null
/// (src/shared/logs-show.c, `JSON_THRESHOLD`).
const FIELD_MAX: usize = 4095;

/// `MESSAGE_ID` of an alert about a file of a service manager.
pub const SERVICE_ALERT: &str = "560b841eba4942daa3f7e6597683ff0d";
/// `MESSAGE_ID` of an alert about a container service.
pub const CONTAINER_ALERT: &str = "855837b35d724228b6ea13d2a721c184";
/// `MESSAGE_ID`: alerts were lost because journald took none.
pub const ALERTS_LOST: &str = "e4e1c789d16346f18e9658e7db7dc02d";
/// `MESSAGE_ID` of an alert about records that were lost before the sensor saw them.
pub const RECORDS_LOST: &str = "ff92309e79394220aaaf9ab742a8ccef";
/// `MESSAGE_ID`: the sensor watches from now on.
pub const STARTED: &str = "e1703919fb1b4dcfba190fbc0e46ebbb";

/// Text for each of them (systemd's catalog format, <https://systemd.io/CATALOG>); installed as
/// /usr/lib/systemd/catalog/svcsensor.catalog.
pub const CATALOG: &str = include_str!("../../../assets/svcsensor.catalog");

/// An entry as bytes.
#[derive(Debug)]
pub(super) struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    fn new(message_id: &str, priority: u8, message: &str) -> Self {
        let mut entry = Self { bytes: Vec::with_capacity(4096) };
        // A line break in the message would look like another entry.
        entry.field("MESSAGE", &printable(message));
        entry.field("MESSAGE_ID", message_id);
        entry.field("PRIORITY", &priority.to_string());
        entry.field("SYSLOG_IDENTIFIER", "svcsensor");
        entry
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A field of at most [`FIELD_MAX`] bytes; a longer value is cut and ends in "...".
    fn field(&mut self, name: &str, value: &str) {
        let room = FIELD_MAX - name.len() - 1;
        if value.len() <= room {
            self.whole_field(name, value);
        } else {
            self.whole_field(name, &format!("{}...", prefix(value, room - 3)));
        }
    }

    fn field_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.field(name, value);
        }
    }

    /// A row of processes in one field, a line each. journald does not keep the order of a field's several values: it
    /// sorts an entry's items by their place in its file (src/libsystemd/sd-journal/journal-file.c,
    /// `journal_file_append_entry`), so that of a value seen before comes first. Where the lines are too long together,
    /// each is cut alike, so that the last one, PID 1, is still there.
    fn lines(&mut self, name: &str, processes: &[Process]) {
        if processes.is_empty() {
            return;
        }
        let lines: Vec<String> =
            processes.iter().map(|process| printable(&describe(process)).into_owned()).collect();
        let room = FIELD_MAX - name.len() - 1;
        let together = lines.iter().map(|line| line.len() + 1).sum::<usize>();
        let longest = if together <= room { room } else { room / lines.len() - 1 };
        let shown: Vec<_> = lines
            .iter()
            .map(|line| {
                if line.len() <= longest { line.clone() } else { format!("{}...", prefix(line, longest - 3)) }
            })
            .collect();
        self.whole_field(name, &shown.join("\n"));
    }

    fn whole_field(&mut self, name: &str, value: &str) {
        self.bytes.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.bytes.push(b'\n');
            self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.bytes.push(b'=');
        }
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }

    pub(super) fn alert(rendered: &Rendered<'_>) -> Self {
        let alert = rendered.alert;
        let message_id = if alert.rule.id == rules::RECORDS_LOST.id {
            RECORDS_LOST
        } else if alert.container_service.is_some() {
            CONTAINER_ALERT
        } else {
            SERVICE_ALERT
        };
        let mut entry = Self::new(message_id, priority(alert.severity), &alert.summary);
        entry.field("SVCSENSOR_ALERT_ID", &alert.id);
        entry.field("SVCSENSOR_RULE", alert.rule.id);
        entry.field("SVCSENSOR_SEVERITY", alert.severity.name());
        entry.field("SVCSENSOR_SCORE", &alert.score.to_string());
        for technique in alert.techniques() {
            entry.field("SVCSENSOR_TECHNIQUE", technique.id);
        }
        entry.field_if("SVCSENSOR_FILE", alert.file.as_ref().map(|file| &*file.path));

        let actor = &alert.actor;
        let process = &actor.process;
        // journald adds to OBJECT_PID what /proc tells of this process, if it is still there.
        if process.is_known() {
            entry.field("SVCSENSOR_PID", &process.pid.to_string());
            entry.field("OBJECT_PID", &process.pid.to_string());
            entry.field("SVCSENSOR_USER", &name_of(&process.user));
        }
        entry.field_if("SVCSENSOR_EXE", Some(&process.executable));
        entry.field_if("SVCSENSOR_COMMAND_LINE", Some(&command_line(&process.args)));
        entry.lines("SVCSENSOR_ANCESTORS", &actor.ancestors);
        if let Some(requester) = &actor.on_behalf_of {
            entry.lines("SVCSENSOR_ON_BEHALF_OF", &requester.processes);
            entry.field_if("SVCSENSOR_REQUEST", requester.request.as_deref());
        }
        entry.field_if("SVCSENSOR_LOGIN_USER", actor.login_user.as_ref().map(name_of).as_deref());
        entry.container(actor.container.as_ref());
        if let Some(unit) = &alert.unit {
            entry.field("SVCSENSOR_UNIT", &unit.name);
            for change in &unit.changes {
                entry.field("SVCSENSOR_UNIT_CHANGE", change);
            }
            for signal in &unit.signals {
                entry.field("SVCSENSOR_UNIT_SIGNAL", signal);
            }
            if is_unit_name(unit) {
                let name = match unit.scope {
                    Scope::System => "OBJECT_SYSTEMD_UNIT",
                    Scope::User => "OBJECT_SYSTEMD_USER_UNIT",
                };
                entry.field(name, &unit.name);
            }
        }
        entry.whole_field("SVCSENSOR_JSON", &rendered.json);
        entry
    }

    fn container(&mut self, container: Option<&Container>) {
        let Some(container) = container else { return };
        self.field("SVCSENSOR_CONTAINER", &container.id);
        let Some(identity) = &container.identity else { return };
        for (name, value) in [
            ("SVCSENSOR_CONTAINER_NAME", &identity.name),
            ("SVCSENSOR_CONTAINER_IMAGE", &identity.image),
            ("SVCSENSOR_CONTAINER_IMAGE_DIGEST", &identity.digest),
            ("SVCSENSOR_POD", &identity.pod),
            ("SVCSENSOR_POD_NAMESPACE", &identity.namespace),
            ("SVCSENSOR_POD_SERVICE_ACCOUNT", &identity.service_account),
        ] {
            self.field_if(name, value.as_deref());
        }
    }

    pub(super) fn notice(notice: &Notice<'_>) -> Self {
        let Notice::Started { backend } = notice;
        let message = format!("svcsensor {} watches ({backend})", env!("CARGO_PKG_VERSION"));
        let mut entry = Self::new(STARTED, 6, &message);
        entry.field("SVCSENSOR_BACKEND", backend);
        entry
    }

    pub(super) fn alerts_lost(lost: u64) -> Self {
        let message = format!("{lost} entries of svcsensor were lost while journald took none");
        let mut entry = Self::new(ALERTS_LOST, 3, &message);
        entry.field("SVCSENSOR_LOST", &lost.to_string());
        entry
    }
}

/// syslog(3) levels: critical, error, warning, notice, informational.
fn priority(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Info => 6,
    }
}

/// Pid and command line; in brackets the executable where there are no arguments (as ps(1) shows kernel threads).
fn describe(process: &Process) -> String {
    if process.args.is_empty() {
        let name = if process.executable.is_empty() { &process.name } else { &process.executable };
        format!("{} [{name}]", process.pid)
    } else {
        format!("{} {}", process.pid, command_line(&process.args))
    }
}

fn name_of(user: &User) -> String {
    user.name.clone().unwrap_or_else(|| user.id.to_string())
}

/// Whether journalctl could be asked for it by `-u` (systemd.unit(5): name, and one of the types).
fn is_unit_name(unit: &Unit) -> bool {
    const TYPES: [&str; 11] = [
        "service",
        "socket",
        "device",
        "mount",
        "automount",
        "swap",
        "target",
        "path",
        "timer",
        "slice",
        "scope",
    ];
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    // A D-Bus service's file is called like a unit.
    adjacent::of_part(unit.part).is_none()
        && unit.name.len() < 256
        && unit.name.bytes().all(valid)
        && unit.name.rsplit_once('.').is_some_and(|(stem, end)| !stem.is_empty() && TYPES.contains(&end))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::incident::alert::Alert;
    use crate::sink::sample;
    use crate::subject::service::UnitPart;

    /// The receiver's side of the protocol.
    pub(crate) fn parse(mut bytes: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'=')).unwrap();
            let name = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let (value, rest) = if bytes[end] == b'=' {
                let length = bytes[end + 1..].iter().position(|byte| *byte == b'\n').unwrap();
                bytes[end + 1..].split_at(length)
            } else {
                let (length, rest) = bytes[end + 1..].split_first_chunk::<8>().unwrap();
                rest.split_at(u64::from_le_bytes(*length) as usize)
            };
            assert_eq!(rest[0], b'\n');
            fields.push((name, String::from_utf8(value.to_vec()).unwrap()));
            bytes = &rest[1..];
        }
        fields
    }

    fn fields(rendered: &Rendered<'_>) -> Vec<(String, String)> {
        parse(&Entry::alert(rendered).into_bytes())
    }

    fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
        fields.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value).collect()
    }

    #[test]
    fn an_alert_has_typed_fields() {
        let alert = sample::unit_written();
        let rendered = Rendered::new(&alert);
        let fields = fields(&rendered);
        for (name, expected) in [
            ("MESSAGE", &*alert.summary),
            ("MESSAGE_ID", SERVICE_ALERT),
            ("PRIORITY", "3"),
            ("SYSLOG_IDENTIFIER", "svcsensor"),
            ("SVCSENSOR_ALERT_ID", &alert.id),
            ("SVCSENSOR_RULE", "systemd.unit.written"),
            ("SVCSENSOR_SEVERITY", "high"),
            ("SVCSENSOR_SCORE", "73"),
            ("SVCSENSOR_TECHNIQUE", "T1543.002"),
            ("SVCSENSOR_FILE", "/etc/systemd/system/evil.service"),
            ("SVCSENSOR_PID", "4242"),
            ("SVCSENSOR_EXE", "/usr/bin/dash"),
            ("SVCSENSOR_COMMAND_LINE", "sh -c 'echo '\\''[Service]'\\'' > evil.service'"),
            ("SVCSENSOR_USER", "ada"),
            ("SVCSENSOR_LOGIN_USER", "ada"),
            ("SVCSENSOR_UNIT", "evil.service"),
            ("OBJECT_PID", "4242"),
            ("OBJECT_SYSTEMD_UNIT", "evil.service"),
            ("SVCSENSOR_JSON", &rendered.json),
        ] {
            assert_eq!(values(&fields, name), [expected], "{name}");
        }
        let ancestors = values(&fields, "SVCSENSOR_ANCESTORS");
        assert_eq!(ancestors, ["4200 sudo sh\n4100 -bash\n900 'sshd: ada [priv]'\n1 /sbin/init"]);

        let alert = sample::container_started();
        let fields = self::fields(&Rendered::new(&alert));
        assert_eq!(values(&fields, "MESSAGE_ID"), [CONTAINER_ALERT]);
        assert_eq!(values(&fields, "SVCSENSOR_ON_BEHALF_OF"), ["70 bash -i"]);
        assert_eq!(values(&fields, "SVCSENSOR_CONTAINER"), [alert.actor.container.unwrap().id]);
        assert_eq!(values(&fields, "SVCSENSOR_CONTAINER_NAME"), ["agent"]);
        assert_eq!(values(&fields, "SVCSENSOR_CONTAINER_IMAGE"), ["registry.example:5000/ci/agent:2.1"]);
        assert_eq!(values(&fields, "SVCSENSOR_POD_NAMESPACE"), ["ci"]);

        // Its text speaks of no file and no process, as there is none.
        let alert = Alert { rule: &rules::RECORDS_LOST, ..sample::nobody() };
        let fields = self::fields(&Rendered::new(&alert));
        assert_eq!(values(&fields, "MESSAGE_ID"), [RECORDS_LOST]);
        for name in ["SVCSENSOR_PID", "OBJECT_PID", "SVCSENSOR_USER"] {
            assert!(values(&fields, name).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_long_line_of_ancestors_is_whole() {
        let mut alert = sample::unit_written();
        let init = alert.actor.ancestors.last().unwrap().clone();
        let long = Process { pid: 7, args: vec!["a\nb".repeat(2000)], ..Process::default() };
        alert.actor.ancestors = vec![long; 63];
        alert.actor.ancestors.push(init);
        let fields = fields(&Rendered::new(&alert));
        let [ancestors] = values(&fields, "SVCSENSOR_ANCESTORS")[..] else { panic!("not one field") };
        let lines: Vec<&str> = ancestors.lines().collect();
        assert_eq!(lines.len(), alert.actor.ancestors.len());
        assert!(lines[0].starts_with("7 'a\\x0ab") && lines[0].ends_with("..."), "{}", lines[0]);
        assert_eq!(lines[lines.len() - 1], "1 /sbin/init");
        assert!(ancestors.len() < FIELD_MAX);
    }

    #[test]
    fn hostile_values_stay_one_field_each_and_below_the_bound() {
        let alert = sample::hostile();
        let rendered = Rendered::new(&alert);
        let fields = fields(&rendered);
        assert_eq!(values(&fields, "MESSAGE"), [printable(&alert.summary)]);
        assert_eq!(values(&fields, "SVCSENSOR_FILE"), [&alert.file.as_ref().unwrap().path]);
        assert_eq!(values(&fields, "PRIORITY"), ["2"]);
        assert!(values(&fields, "SVCSENSOR_COMMAND_LINE")[0].ends_with("..."));
        assert!(values(&fields, "OBJECT_SYSTEMD_USER_UNIT").is_empty());
        for (name, value) in &fields {
            // src/libsystemd/sd-journal/journal-file.c, journal_field_valid().
            assert!(name.len() <= 64 && !name.starts_with('_'), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{name}");
            assert!(name == "SVCSENSOR_JSON" || name.len() + 1 + value.len() < 4096, "{name}");
        }
    }

    #[test]
    fn only_unit_names_are_objects() {
        let mut dbus = Unit::new("org.evil.service".to_owned(), UnitPart::DbusActivation, Scope::System);
        assert!(!is_unit_name(&dbus));
        dbus.part = UnitPart::Fragment;
        assert!(is_unit_name(&dbus));
        let named = |name: &str| Unit::new(name, UnitPart::Fragment, Scope::System);
        for name in ["a.service", "x@y.timer", r"dev-disk\x2d1.mount", "-.slice"] {
            assert!(is_unit_name(&named(name)), "{name}");
        }
        for name in ["service", ".service", "a.conf", "a b.service", "a/b.service", "é.service", ""] {
            assert!(!is_unit_name(&named(name)), "{name}");
        }
    }

    #[test]
    fn notices_have_their_own_ids() {
        let started = parse(&Entry::notice(&Notice::Started { backend: "lsm" }).into_bytes());
        assert_eq!(
            (values(&started, "MESSAGE_ID"), values(&started, "PRIORITY")),
            (vec![STARTED], vec!["6"])
        );
        assert_eq!(values(&started, "SVCSENSOR_BACKEND"), ["lsm"]);
        let lost = parse(&Entry::alerts_lost(3).into_bytes());
        assert_eq!(
            (values(&lost, "MESSAGE_ID"), values(&lost, "SVCSENSOR_LOST")),
            (vec![ALERTS_LOST], vec!["3"])
        );
    }
}
