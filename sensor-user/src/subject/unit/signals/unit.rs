//! What is suspicious about a whole unit, and about the manager's own configuration.

use super::super::super::service::Scope;
use super::super::effective::{Effective, Origin, State, variable_name};
use super::super::key::Key;
use super::super::load::split;
use super::super::name::{Name, Type};
use super::super::store::Digest;
use super::super::words::{Rules, words};
use super::name::{self, Known};
use super::{Signal, Weight, command, place, told};

/// Most signals of a unit.
const SIGNALS_MAX: usize = 64;

/// Variables that make programs load or run something else.
const LOADING: [(&str, Weight); 22] = [
    ("LD_PRELOAD", Weight::Strong),
    ("LD_AUDIT", Weight::Damning),
    ("LD_LIBRARY_PATH", Weight::Weak),
    ("GCONV_PATH", Weight::Strong),
    ("PYTHONPATH", Weight::Weak),
    ("PYTHONHOME", Weight::Weak),
    ("PYTHONSTARTUP", Weight::Strong),
    ("PERL5LIB", Weight::Weak),
    ("PERL5OPT", Weight::Strong),
    ("RUBYLIB", Weight::Weak),
    ("RUBYOPT", Weight::Weak),
    ("NODE_OPTIONS", Weight::Note),
    ("NODE_PATH", Weight::Note),
    ("JAVA_TOOL_OPTIONS", Weight::Note),
    ("BASH_ENV", Weight::Strong),
    ("ENV", Weight::Weak),
    ("PROMPT_COMMAND", Weight::Strong),
    ("GIT_SSH_COMMAND", Weight::Weak),
    ("PAGER", Weight::Note),
    ("SYSTEMD_UNIT_PATH", Weight::Strong),
    ("SYSTEMD_GENERATOR_PATH", Weight::Strong),
    ("SYSTEMD_ENVIRONMENT_GENERATOR_PATH", Weight::Strong),
];

/// What a variable does.
pub fn of_variable(assignment: &[u8]) -> Option<Signal> {
    let name = variable_name(assignment)?;
    let value = &assignment[name.len() + 1..];
    let odd = value.split(|byte| matches!(byte, b':' | b' ')).any(|path| {
        place::is_writable(path) || place::signals(path, true).iter().any(|s| s.weight >= Weight::Strong)
    });
    let known = LOADING.iter().find(|(known, _)| known.as_bytes() == name);
    let weight = match known {
        Some((_, weight)) if odd => (*weight).max(Weight::Strong),
        Some((_, weight)) => *weight,
        None if name == b"PATH" && odd => Weight::Strong,
        None => return None,
    };
    Some(Signal::new(
        "environment.loads",
        weight,
        format!("{} makes programs load or run something else", told(assignment)),
    ))
}

/// What a file of system.conf or user.conf sets for the manager and all its services (systemd-system.conf(5)).
pub fn of_manager(file: &Digest) -> Vec<Signal> {
    let mut found = Vec::new();
    for assignment in file.assignments() {
        if !matches!(assignment.key, Key::ManagerEnvironment | Key::DefaultEnvironment) {
            continue;
        }
        let (variables, _) = words(assignment.value, Rules::COMMAND, SIGNALS_MAX);
        let origin = Origin { file: 0, line: assignment.line };
        found.extend(variables.iter().filter_map(|variable| of_variable(variable)).map(|signal| Signal {
            slug: "manager.environment",
            weight: signal.weight.max(Weight::Strong),
            why: format!("{} (all services inherit it)", signal.why),
            origin: Some(origin),
        }));
    }
    found.truncate(SIGNALS_MAX);
    found
}

/// What udev rules start: a unit that they name (systemd.device(5)) needs no link, and beside it whatever scripts show.
pub fn of_udev(rules: &[u8]) -> Vec<Signal> {
    const WANTS: [&[u8]; 2] = [b"SYSTEMD_WANTS", b"SYSTEMD_USER_WANTS"];
    let mut found = command::of_script(rules);
    let starts = |line: &[u8]| WANTS.iter().any(|key| line.windows(key.len()).any(|at| at == *key));
    let lines = rules.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    if lines.filter(|line| !line.starts_with(b"#")).any(starts) {
        found.push(Signal::new("udev.wants", Weight::Strong, "it has a device start a unit (SYSTEMD_WANTS)"));
    }
    found
}

/// What there is to say of a unit, the weightiest first. `known` are the names of units that are known to be packaged.
pub fn signals(unit: &Effective, known: &Known) -> Vec<Signal> {
    let mut found = Vec::new();
    if let Some(name) = Name::parse(&unit.name) {
        guard(unit, name, &mut found);
    }
    for called in std::iter::once(&unit.name).chain(&unit.aliases) {
        found.extend(Name::parse(called).map(|name| name::signals(name, known)).into_iter().flatten());
    }
    commands(unit, &mut found);
    for setting in unit.all(Key::Environment) {
        found.extend(of_variable(&setting.text).map(|signal| signal.at(setting.origin)));
    }
    for variable in &unit.variables {
        found.extend(of_variable(&variable.text).map(|signal| Signal {
            why: format!("{} (out of {})", signal.why, told(&variable.path)),
            ..signal
        }));
    }
    files(unit, &mut found);
    spaces(unit, &mut found);
    triggers(unit, &mut found);
    found.sort_by_key(|signal| std::cmp::Reverse(signal.weight));
    found.dedup_by(|a, b| a.slug == b.slug && a.why == b.why);
    found.truncate(SIGNALS_MAX);
    found
}

fn commands(unit: &Effective, found: &mut Vec<Signal>) {
    let in_home = unit.scope == Scope::User;
    let environment = unit.environment();
    for run in &unit.commands {
        let arguments = run.command.arguments(&environment);
        let signals = command::signals(&run.command.path, &arguments, in_home);
        found.extend(signals.into_iter().map(|signal| signal.at(run.origin)));
        let root = unit.user().is_some_and(|user| !matches!(user, b"root" | b"0"));
        if run.command.flags.privileged && root {
            let why = format!("{} runs as root although the unit has a user", run.key.name());
            found.push(Signal::new("command.as-root", Weight::Weak, why).at(run.origin));
        }
        let input = unit.text(Key::StandardInput).unwrap_or_default();
        if !command::is_interpreter(&run.command.path) {
            continue;
        }
        if input == b"socket" {
            let why = "a shell or interpreter talks to whoever connects";
            found.push(Signal::new("command.socket-shell", Weight::Damning, why).at(run.origin));
        }
        let fed = unit.all(Key::StandardInputText).chain(unit.all(Key::StandardInputData)).next().is_some();
        if fed || input.starts_with(b"file:") {
            let why = "an interpreter is fed its program by StandardInput=";
            found.push(Signal::new("command.fed", Weight::Strong, why).at(run.origin));
        }
    }
}

/// Units that watch the machine, silenced or changed; and units that silence them.
fn guard(unit: &Effective, name: Name<'_>, found: &mut Vec<Signal>) {
    for setting in unit.all(Key::Conflicts) {
        // Packages of firewalls exclude one another.
        let firewall = ["nftables", "firewalld", "ufw"];
        let other = Name::parse(&setting.text).filter(|name| name::is_guard(*name));
        if other.is_some_and(|name| firewall.iter().all(|known| known.as_bytes() != name.prefix)) {
            let why = format!("it stops {} when it starts", told(&setting.text));
            found.push(Signal::new("guard.conflicts", Weight::Strong, why).at(setting.origin));
        }
    }
    if !name::is_guard(name) {
        return;
    }
    let shown = told(name.whole);
    if unit.state == State::Masked {
        found.push(Signal::new(
            "guard.masked",
            Weight::Strong,
            format!("{shown} watches the machine, and is masked"),
        ));
    }
    if unit.state == State::Refused {
        found.push(Signal::new(
            "guard.broken",
            Weight::Strong,
            format!("{shown} watches the machine, and cannot be started"),
        ));
    }
    let in_drop_in = |origin: Origin| !unit.fragment || origin.file > 0;
    let starts = unit.commands.iter().filter(|run| run.key == Key::ExecStart && in_drop_in(run.origin));
    for run in starts {
        let why = format!("{shown} watches the machine, and a drop-in changes what it runs");
        found.push(Signal::new("guard.overridden", Weight::Strong, why).at(run.origin));
    }
    let hampering = [
        Key::Condition,
        Key::Assert,
        Key::Environment,
        Key::RootDirectory,
        Key::RootImage,
        Key::BindPaths,
        Key::InaccessiblePaths,
    ];
    for setting in unit.settings.iter().filter(|setting| hampering.contains(&setting.key)) {
        if in_drop_in(setting.origin) {
            let why = format!("{shown} watches the machine, and a drop-in sets its {}=", setting.key.name());
            found.push(Signal::new("guard.hampered", Weight::Weak, why).at(setting.origin));
        }
    }
}

/// Where its files lie.
fn files(unit: &Effective, found: &mut Vec<Signal>) {
    if let Some(target) = &unit.linked {
        let worst = place::signals(target, unit.scope == Scope::User).into_iter().map(|s| s.weight).max();
        let weight = worst.map_or(Weight::Note, |weight| weight.max(Weight::Strong));
        let why = format!("the unit file lies outside of the unit directories: {}", told(target));
        found.push(Signal::new("unit.linked", weight, why));
    }
    for (index, path) in unit.files.iter().enumerate().skip(usize::from(unit.fragment)) {
        let directory = split(split(path).0).1;
        if directory.strip_suffix(b".d").and_then(Type::from_suffix).is_some() {
            let why = format!("{} changes every unit of its type", told(path));
            let origin = Origin { file: index as u16, line: 0 };
            found.push(Signal::new("unit.type-level", Weight::Strong, why).at(origin));
        }
    }
    for setting in unit.all(Key::EnvironmentFile) {
        let path = setting.text.strip_prefix(b"-").unwrap_or(&setting.text);
        found.extend(
            place::signals(path, unit.scope == Scope::User)
                .into_iter()
                .map(|signal| Signal { slug: "environment.file-place", ..signal }.at(setting.origin)),
        );
    }
}

/// What it mounts over what, and from where.
fn spaces(unit: &Effective, found: &mut Vec<Signal>) {
    for key in [
        Key::RootImage,
        Key::RootDirectory,
        Key::ExtensionImages,
        Key::ExtensionDirectories,
        Key::MountImages,
    ] {
        for setting in unit.all(key) {
            let path = setting.text.strip_prefix(b"-").unwrap_or(&setting.text);
            let path = path.split(|byte| *byte == b':').next().unwrap_or_default();
            for signal in place::signals(path, false) {
                found.push(Signal { slug: "space.image-place", ..signal }.at(setting.origin));
            }
        }
    }
    for setting in unit.all(Key::BindPaths).chain(unit.all(Key::BindReadOnlyPaths)) {
        let text = setting.text.strip_prefix(b"-").unwrap_or(&setting.text);
        let mut parts = text.split(|byte| *byte == b':');
        let source = parts.next().unwrap_or_default();
        if let Some(over) = parts.next().filter(|over| *over != source && place::is_trusted(over)) {
            let weight = if place::signals(source, false).is_empty() { Weight::Weak } else { Weight::Strong };
            let why = format!("{} takes the place of {}", told(source), told(over));
            found.push(Signal::new("space.bind-over", weight, why).at(setting.origin));
        }
    }
    if let Some(over) = unit.last(Key::Where).filter(|_| unit.kind == Type::Mount) {
        let what = unit.text(Key::What).unwrap_or_default();
        let device = place::is_below(what, "/dev") || !what.starts_with(b"/");
        if place::is_trusted(&over.text) && !device {
            let why = format!("{} is mounted over {}", told(what), told(&over.text));
            found.push(Signal::new("space.mount-over", Weight::Strong, why).at(over.origin));
        }
    }
}

/// When it runs.
fn triggers(unit: &Effective, found: &mut Vec<Signal>) {
    if let Some(setting) = unit.last(Key::Restart).filter(|setting| &*setting.text == b"always") {
        found.push(
            Signal::new("trigger.restart-always", Weight::Note, "it is started again whenever it ends")
                .at(setting.origin),
        );
    }
    for key in [Key::OnUnitActiveSec, Key::OnUnitInactiveSec, Key::OnCalendar] {
        for setting in unit.all(key).filter(|setting| is_frequent(&setting.text)) {
            let why =
                format!("it runs every few minutes or seconds ({}={})", key.name(), told(&setting.text));
            found.push(Signal::new("trigger.frequent", Weight::Weak, why).at(setting.origin));
        }
    }
    for pull in &unit.pulled_in_by {
        if Type::from_suffix(&pull.unit).is_some() {
            let why = format!("every {} unit starts it ({})", told(&pull.unit), told(&pull.path));
            found.push(Signal::new("trigger.type-level", Weight::Strong, why));
        }
    }
}

/// Whether a time span, or a calendar's shorthand, is below five minutes (systemd.time(7); ATT&CK DET0231).
fn is_frequent(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let text = text.trim();
    if matches!(text, "minutely" | "*:*" | "*:*:0" | "*:*:00")
        || text.starts_with("*:*:")
        || text.starts_with("*-*-* *:*:")
    {
        return true;
    }
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let Ok(number) = text[..split].parse::<u64>() else { return false };
    match text[split..].trim() {
        "" | "s" | "sec" | "second" | "seconds" => number < 300,
        "m" | "min" | "minute" | "minutes" => number < 5,
        "ms" | "msec" | "us" | "usec" => true,
        _ => false,
    }
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
