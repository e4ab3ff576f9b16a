//! What `systemctl show` must say of a unit as our reader has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use sensor_user::subject::service::Scope;
use sensor_user::subject::unit::effective::{Effective, Run};
use sensor_user::subject::unit::exec::simplify;
use sensor_user::subject::unit::key::Key;
use sensor_user::subject::unit::name::Type;

use super::ask::words;

/// Specifiers whose value is the machine's (`subject/unit/specifier.rs` leaves them as they are).
pub struct Machine {
    values: Vec<(&'static str, String)>,
    /// Of systemd.
    version: u32,
}

impl Machine {
    /// This one, with this systemd.
    pub fn here(version: u32) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let host = read("/proc/sys/kernel/hostname");
        let short = host.split('.').next().unwrap_or_default().to_owned();
        Self {
            values: vec![
                ("%H", host.clone()),
                ("%l", short),
                ("%m", read("/etc/machine-id")),
                ("%b", read("/proc/sys/kernel/random/boot_id").replace('-', "")),
                ("%v", read("/proc/sys/kernel/osrelease")),
                ("%a", "x86-64".into()),
            ],
            version,
        }
    }

    fn text(&self, bytes: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        for (specifier, value) in &self.values {
            text = text.replace(specifier, value);
        }
        text
    }

    /// The same for a unit's setting.
    fn of(&self, unit: &Effective, bytes: &[u8]) -> String {
        let text = self.text(bytes);
        if unit.scope == Scope::User && self.version < 254 {
            // %S and %L of users' managers: our reader follows 254, which moved them (its NEWS).
            return text.replace("/.local/state/log", "/.config/log").replace("/.local/state", "/.config");
        }
        text
    }
}

/// A property that has one value, and the setting that it is.
const SINGLE: [(&str, Key); 9] = [
    ("User", Key::User),
    ("Group", Key::Group),
    ("RootDirectory", Key::RootDirectory),
    ("PAMName", Key::PAMName),
    ("BusName", Key::BusName),
    ("PIDFile", Key::PIDFile),
    ("SourcePath", Key::SourcePath),
    ("TTYPath", Key::TTYPath),
    ("Where", Key::Where),
];

/// One that has a value where no file gives it one: compared where a file does.
const GIVEN: [(&str, Key); 6] = [
    ("Type", Key::Type),
    ("Description", Key::Description),
    ("StandardInput", Key::StandardInput),
    ("SuccessAction", Key::SuccessAction),
    ("FailureAction", Key::FailureAction),
    ("Unit", Key::Unit),
];

const SWITCHES: [(&str, Key); 4] = [
    ("DynamicUser", Key::DynamicUser),
    ("RemainAfterExit", Key::RemainAfterExit),
    ("Accept", Key::Accept),
    ("Persistent", Key::Persistent),
];

const WORDS: [(&str, Key); 4] = [
    ("SupplementaryGroups", Key::SupplementaryGroups),
    ("Environment", Key::Environment),
    ("PassEnvironment", Key::PassEnvironment),
    ("UnsetEnvironment", Key::UnsetEnvironment),
];

/// Commands of services have their prefixes told, those of sockets not.
const COMMANDS: [(&str, Key, Type); 11] = [
    ("ExecConditionEx", Key::ExecCondition, Type::Service),
    ("ExecStartPreEx", Key::ExecStartPre, Type::Service),
    ("ExecStartEx", Key::ExecStart, Type::Service),
    ("ExecStartPostEx", Key::ExecStartPost, Type::Service),
    ("ExecReloadEx", Key::ExecReload, Type::Service),
    ("ExecStopEx", Key::ExecStop, Type::Service),
    ("ExecStopPostEx", Key::ExecStopPost, Type::Service),
    ("ExecStartPre", Key::ExecStartPre, Type::Socket),
    ("ExecStartPost", Key::ExecStartPost, Type::Socket),
    ("ExecStopPre", Key::ExecStopPre, Type::Socket),
    ("ExecStopPost", Key::ExecStopPost, Type::Socket),
];

const LISTEN: [(Key, &str); 8] = [
    (Key::ListenStream, "Stream"),
    (Key::ListenDatagram, "Datagram"),
    (Key::ListenSequentialPacket, "SequentialPacket"),
    (Key::ListenFIFO, "FIFO"),
    (Key::ListenNetlink, "Netlink"),
    (Key::ListenSpecial, "Special"),
    (Key::ListenMessageQueue, "MessageQueue"),
    (Key::ListenUSBFunction, "USBFunction"),
];

/// Lists whose order says nothing: the last of the same variable counts, and paths come in the reverse one.
const UNORDERED: [&str; 2] = ["Environment", "Paths"];

/// A path as the manager tidies it (`path_simplify`, src/basic/path-util.c).
fn simple(path: &str) -> String {
    String::from_utf8_lossy(&simplify(path.as_bytes())).into_owned()
}

/// What units of old put into /var/run lies in /run (`patch_var_run`, src/core/load-fragment.c).
fn in_run(path: &str) -> String {
    path.strip_prefix("/var/run/").map_or(path.to_owned(), |rest| format!("/run/{rest}"))
}

/// The settings of a unit as the properties' values, those that the type has.
pub fn settings(unit: &Effective, machine: &Machine) -> BTreeMap<&'static str, Vec<String>> {
    let text = |key| unit.text(key).map(|text| machine.of(unit, text));
    let all = |key| unit.all(key).map(|setting| machine.of(unit, &setting.text)).collect::<Vec<_>>();
    let mut expected = BTreeMap::new();
    // Of a dynamic user the manager makes the name out of the unit's (systemd.exec(5)).
    let made = |key| matches!(key, Key::User | Key::Group) && unit.is_on(Key::DynamicUser);
    for (property, key) in SINGLE {
        // The place of a mount is in its name.
        if text(key).is_some() || key != Key::Where && !made(key) {
            let value = text(key).unwrap_or_default();
            expected.insert(property, vec![if key == Key::PIDFile { in_run(&value) } else { value }]);
        }
    }
    for (property, key) in GIVEN {
        expected.extend(text(key).map(|value| (property, vec![value])));
    }
    for (property, key) in SWITCHES {
        expected.insert(property, vec![if unit.is_on(key) { "yes" } else { "no" }.to_owned()]);
    }
    for (property, key) in WORDS {
        // Twice the same is once (`strv_extend_strv`, src/basic/strv.c), but for groups.
        let mut seen = BTreeSet::new();
        let counts = |word: &String| key == Key::SupplementaryGroups || seen.insert(word.clone());
        expected.insert(property, all(key).into_iter().filter(counts).collect());
    }
    for (property, key, kind) in COMMANDS {
        if unit.kind == kind {
            let runs = unit.commands.iter().filter(|run| run.key == key);
            let flags = kind == Type::Service;
            expected.insert(property, runs.map(|run| command(run, unit, flags, machine)).collect());
        }
    }
    if unit.kind == Type::Service {
        expected.insert("Restart", vec![text(Key::Restart).unwrap_or_else(|| "no".into())]);
    }
    // A user's manager begins in the home directory, which may be missing (`unit_patch_contexts`, src/core/unit.c).
    if let Some(working) = text(Key::WorkingDirectory).or((unit.scope == Scope::System).then(String::new)) {
        let home = unit.scope == Scope::User && working == "~";
        let lenient = working.strip_prefix('-').or(home.then_some("~"));
        let shown = lenient.map_or_else(|| simple(&working), |path| format!("!{}", simple(path)));
        expected.insert("WorkingDirectory", vec![shown]);
    }
    let files = all(Key::EnvironmentFile).into_iter().map(|path| match path.strip_prefix('-') {
        Some(path) => format!("{path} (ignore_errors=yes)"),
        None => format!("{path} (ignore_errors=no)"),
    });
    expected.insert("EnvironmentFiles", files.collect());
    expected.insert(
        "Listen",
        unit.settings
            .iter()
            .filter_map(|setting| {
                let (_, kind) = LISTEN.iter().find(|(key, _)| *key == setting.key)?;
                let value = in_run(&machine.of(unit, &setting.text));
                // A port alone is one of all addresses (systemd.socket(5)).
                let port = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                Some(if port { format!("[::]:{value} ({kind})") } else { format!("{value} ({kind})") })
            })
            .collect(),
    );
    let paths = unit.settings.iter().filter(|setting| setting.key.list() == Key::PathExists);
    let paths = paths.map(|setting| (simple(&machine.of(unit, &setting.text)), setting.key.name()));
    let paths =
        paths.filter(|(path, _)| path.starts_with('/')).map(|(path, name)| format!("{path} ({name})"));
    expected.insert("Paths", paths.collect());
    for property in UNORDERED {
        expected.get_mut(property).into_iter().for_each(|values| values.sort_unstable());
    }
    expected
}

/// A command in the terms of [`shown_command`].
fn command(run: &Run, unit: &Effective, flags: bool, machine: &Machine) -> String {
    let command = &run.command;
    let text = |bytes: &[u8]| machine.of(unit, bytes);
    let argv: Vec<String> = command.argv.iter().map(|argument| text(argument)).collect();
    let prefixes = command.flags;
    // `exec_command_flags_to_strv`, src/shared/exec-util.c.
    let known = if flags {
        [
            (prefixes.ignore_failure, "ignore-failure"),
            (prefixes.privileged, "privileged"),
            (prefixes.keep_user, "no-setuid"),
            (prefixes.ambient, "ambient"),
            (prefixes.no_variables, "no-env-expand"),
        ]
    } else {
        [
            (prefixes.ignore_failure, "yes"),
            (!prefixes.ignore_failure, "no"),
            (false, ""),
            (false, ""),
            (false, ""),
        ]
    };
    let mut set: Vec<&str> = known.iter().filter_map(|(set, name)| set.then_some(*name)).collect();
    set.sort_unstable();
    format!("{} [{}] {}", text(&command.path), argv.join(" "), set.join(" "))
}

/// `{ path=P ; argv[]=A ; flags=F ; ...}`, or with `ignore_errors=`, as `P [A] F`.
fn shown_command(value: &str) -> Option<String> {
    let (path, rest) = value.strip_prefix("{ path=")?.split_once(" ; argv[]=")?;
    let (rest, _) = rest.rsplit_once(" ; start_time=")?;
    let (argv, flags) = rest.rsplit_once(" ; flags=").or_else(|| rest.rsplit_once(" ; ignore_errors="))?;
    let mut flags: Vec<&str> = flags.split_whitespace().collect();
    flags.sort_unstable();
    Some(format!("{path} [{argv}] {}", flags.join(" ")))
}

/// A property's lines in the terms of [`settings`].
pub fn shown(property: &str, lines: &[String]) -> Vec<String> {
    let mut values = if WORDS.iter().any(|(name, _)| *name == property) {
        lines.iter().flat_map(|line| words(line)).collect()
    } else if COMMANDS.iter().any(|(name, ..)| *name == property) {
        lines.iter().map(|line| shown_command(line).unwrap_or_else(|| line.clone())).collect()
    } else if matches!(property, "EnvironmentFiles" | "Listen" | "Paths") {
        lines.iter().filter(|line| !line.is_empty()).cloned().collect()
    } else {
        lines.to_vec()
    };
    if UNORDERED.contains(&property) {
        values.sort_unstable();
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_the_text() {
        let line = "{ path=/bin/sh ; argv[]=zero -c a ; b ; flags=privileged ignore-failure ; start_time=[n/a] ; pid=0 }";
        assert_eq!(shown_command(line).unwrap(), "/bin/sh [zero -c a ; b] ignore-failure privileged");
        let line = "{ path=/bin/x ; argv[]=/bin/x ; ignore_errors=no ; start_time=[n/a] ; pid=0 }";
        assert_eq!(shown_command(line).unwrap(), "/bin/x [/bin/x] no");
        assert_eq!(shown("Environment", &["A=1 \"B=2 3\"".into()]), ["A=1", "B=2 3"]);
        assert!(shown("Listen", &[String::new()]).is_empty());
    }
}
