//! What a change does to a unit: what will run, as whom, when, in which environment. Before and after are compared, not
//! files, so that a drop-in, an alias and a mask are told by what they come to.

use super::effective::{Effective, Run, State, variable_name};
use super::environment::{Environment, FileVariable};
use super::exec::{Command, Flags};
use super::key::{Key, Kind};
use super::pull::Pull;
use super::signals::unit::of_variable;

/// Most changes that are told.
pub const CHANGES_MAX: usize = 128;

/// Most characters of a value that are told.
const TOLD_MAX: usize = 300;

/// What of the unit a change is about, the weightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// Whether there is such a unit, and whether it is masked.
    Existence,
    /// The commands, and what they are fed with.
    What,
    /// User, groups and capabilities.
    Who,
    /// What starts it, or is started by it.
    When,
    /// Variables and files of them.
    Environment,
    /// The view of the file system that its commands have.
    Where,
    /// How it is confined, restarted and so on.
    How,
}

impl Aspect {
    /// What a setting is about.
    pub fn of(key: Key) -> Self {
        match key {
            Key::Type
            | Key::StandardInput
            | Key::StandardInputText
            | Key::StandardInputData
            | Key::ExecSearchPath
            | Key::What
            | Key::MountType
            | Key::Options
            | Key::Service
            | Key::Unit
            | Key::LoadCredential
            | Key::SetCredential
            | Key::ImportCredential => Self::What,
            _ if key.is_command() => Self::What,
            Key::User
            | Key::Group
            | Key::SupplementaryGroups
            | Key::DynamicUser
            | Key::PermissionsStartOnly
            | Key::AmbientCapabilities
            | Key::PAMName
            | Key::SocketUser
            | Key::SocketGroup
            | Key::SocketMode => Self::Who,
            Key::Environment
            | Key::EnvironmentFile
            | Key::PassEnvironment
            | Key::UnsetEnvironment
            | Key::DefaultEnvironment
            | Key::ManagerEnvironment => Self::Environment,
            Key::WorkingDirectory
            | Key::RootDirectory
            | Key::RootDirectoryStartOnly
            | Key::RootImage
            | Key::ExtensionImages
            | Key::ExtensionDirectories
            | Key::MountImages
            | Key::BindPaths
            | Key::BindReadOnlyPaths
            | Key::TemporaryFileSystem
            | Key::InaccessiblePaths
            | Key::Where
            | Key::NetworkNamespacePath
            | Key::JoinsNamespaceOf => Self::Where,
            Key::Restart | Key::Accept | Key::Condition | Key::Assert | Key::BusName | Key::Persistent => {
                Self::When
            }
            _ if matches!(key.kind(), Kind::Units | Kind::Install) => Self::When,
            _ if matches!(key.list(), Key::OnCalendar | Key::PathExists | Key::ListenStream) => Self::When,
            Key::OnClockChange | Key::OnTimezoneChange => Self::When,
            _ => Self::How,
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Whether the service manager takes it.
    State {
        /// Before.
        from: State,
        /// After.
        to: State,
    },
    /// A command is run that was not.
    Added(Run),
    /// A command is not run any more.
    Removed(Run),
    /// A setting that has one value, or a variable, has another, or none.
    Set {
        /// Which.
        key: Key,
        /// The value before.
        from: Option<Box<[u8]>>,
        /// The value after.
        to: Option<Box<[u8]>>,
    },
    /// A command is run as before, but variables out of files have made other arguments of it.
    Becomes(Run),
    /// A file of variables sets one that it did not, to another value, or not any more.
    Variable {
        /// Before.
        from: Option<FileVariable>,
        /// After.
        to: Option<FileVariable>,
    },
    /// A link pulls it in that did not.
    PulledIn(Pull),
    /// A link does not pull it in any more.
    NotPulledIn(Pull),
    /// It pulls in a unit by a link that it did not.
    Pulls(Pull),
    /// It has a name that it had not.
    Named(Vec<u8>),
    /// There are more changes than are told.
    More,
}

/// What differs from `before` to `after`, the weightiest first. No unit is a missing one.
pub fn changes(before: Option<&Effective>, after: Option<&Effective>) -> Vec<Change> {
    let state = |unit: Option<&Effective>| unit.map_or(State::Missing, |unit| unit.state);
    let mut found = Vec::new();
    let (from, to) = (state(before), state(after));
    if from != to {
        found.push(Change::State { from, to });
    }
    let runs = |unit: Option<&'_ Effective>| unit.map(|unit| unit.commands.clone()).unwrap_or_default();
    let same = |a: &Run, b: &Run| a.key == b.key && a.command == b.command;
    let (removed, added) = difference(runs(before), runs(after), same);
    found.extend(becomes(before, after));
    found.extend(added.into_iter().map(Change::Added));
    found.extend(removed.into_iter().map(Change::Removed));
    settings(before, after, &mut found);
    variables(before, after, &mut found);
    let pulled = |unit: Option<&Effective>| unit.map(|unit| unit.pulled_in_by.clone()).unwrap_or_default();
    let same = |a: &Pull, b: &Pull| (a.how, &a.unit) == (b.how, &b.unit);
    let (removed, added) = difference(pulled(before), pulled(after), same);
    found.extend(added.into_iter().map(Change::PulledIn));
    found.extend(removed.into_iter().map(Change::NotPulledIn));
    let pulls = |unit: Option<&Effective>| unit.map(|unit| unit.pulls.clone()).unwrap_or_default();
    found.extend(difference(pulls(before), pulls(after), same).1.into_iter().map(Change::Pulls));
    let names = |unit: Option<&Effective>| unit.map(|unit| unit.aliases.clone()).unwrap_or_default();
    found.extend(difference(names(before), names(after), |a, b| a == b).1.into_iter().map(Change::Named));
    found.sort_by_key(Change::aspect);
    if found.len() > CHANGES_MAX {
        found.truncate(CHANGES_MAX - 1);
        found.push(Change::More);
    }
    found
}

fn settings(before: Option<&Effective>, after: Option<&Effective>, found: &mut Vec<Change>) {
    for key in Key::all().filter(|key| !matches!(key, Key::Description)) {
        let values = |unit: Option<&Effective>| -> Vec<Box<[u8]>> {
            unit.map(|unit| unit.all(key).map(|setting| setting.text.clone()).collect()).unwrap_or_default()
        };
        let (mut removed, added) = difference(values(before), values(after), |a, b| a == b);
        let single = !matches!(key.kind(), Kind::Line | Kind::Words | Kind::Units | Kind::Install);
        for to in added {
            // Of a variable the value before is that of the same name.
            let name = (key.kind() == Kind::Variables).then(|| variable_name(&to)).flatten();
            let from = removed
                .iter()
                .position(|from| single && (name.is_none() || variable_name(from) == name))
                .map(|at| removed.swap_remove(at));
            found.push(Change::Set { key, from, to: Some(to) });
        }
        found.extend(removed.into_iter().map(|from| Change::Set { key, from: Some(from), to: None }));
    }
}

/// Commands that are in both, with other arguments.
fn becomes(before: Option<&Effective>, after: Option<&Effective>) -> Vec<Change> {
    let (Some(before), Some(after)) = (before, after) else { return Vec::new() };
    if before.variables == after.variables {
        return Vec::new();
    }
    let (old, new) = (before.environment(), after.environment());
    let changed = after.commands.iter().filter_map(|run| {
        let known = before.commands.iter().any(|own| own.key == run.key && own.command == run.command);
        let argv = run.command.arguments(&new);
        let differs = known && argv != run.command.arguments(&old);
        differs
            .then(|| Change::Becomes(Run { command: Command { argv, ..run.command.clone() }, ..run.clone() }))
    });
    changed.collect()
}

fn variables(before: Option<&Effective>, after: Option<&Effective>, found: &mut Vec<Change>) {
    let variables = |unit: Option<&Effective>| unit.map(|unit| unit.variables.clone()).unwrap_or_default();
    between(variables(before), variables(after), found);
}

/// What differs in a file of variables.
pub fn variable_changes(
    path: &[u8],
    before: Option<&Environment>,
    after: Option<&Environment>,
) -> Vec<Change> {
    let variables = |environment: Option<&Environment>| {
        let variable = |text: &[u8], private| FileVariable { text: text.into(), path: path.into(), private };
        let all =
            environment.into_iter().flat_map(|one| one.variables().map(|text| (text, one.is_private())));
        all.map(|(text, private)| variable(text, private)).collect()
    };
    let mut found = Vec::new();
    between(variables(before), variables(after), &mut found);
    found.truncate(CHANGES_MAX);
    found
}

fn between(before: Vec<FileVariable>, after: Vec<FileVariable>, found: &mut Vec<Change>) {
    let same = |a: &FileVariable, b: &FileVariable| a.text == b.text;
    let (mut removed, added) = difference(before, after, same);
    for to in added {
        let name = variable_name(&to.text);
        let from = removed.iter().position(|from| variable_name(&from.text) == name);
        let from = from.map(|at| removed.swap_remove(at));
        found.push(Change::Variable { from, to: Some(to) });
    }
    found.extend(removed.into_iter().map(|from| Change::Variable { from: Some(from), to: None }));
}

/// What is only in the one, and only in the other; what is there twice is counted twice.
fn difference<T>(before: Vec<T>, mut after: Vec<T>, same: impl Fn(&T, &T) -> bool) -> (Vec<T>, Vec<T>) {
    let mut removed = Vec::new();
    for old in before {
        // Mostly nothing differs, and the first is the one.
        match after.iter().position(|new| same(&old, new)) {
            Some(at) => drop(after.remove(at)),
            None => removed.push(old),
        }
    }
    (removed, after)
}

impl Change {
    /// What it is about.
    pub fn aspect(&self) -> Aspect {
        match self {
            Self::State { .. } => Aspect::Existence,
            Self::Added(_) | Self::Removed(_) | Self::Becomes(_) => Aspect::What,
            Self::Set { key, .. } => Aspect::of(*key),
            Self::Variable { .. } => Aspect::Environment,
            Self::PulledIn(_) | Self::NotPulledIn(_) | Self::Pulls(_) | Self::Named(_) => Aspect::When,
            Self::More => Aspect::How,
        }
    }

    /// For people.
    pub fn sentence(&self) -> String {
        match self {
            Self::State { from, to } => state(*from, *to).to_owned(),
            Self::Added(run) => format!("{} added: {}", run.key.name(), shown(&run.command)),
            Self::Removed(run) => format!("{} removed: {}", run.key.name(), shown(&run.command)),
            Self::Set { key, from, to } => {
                let name = key.name();
                match (from.as_deref().map(told), to.as_deref().map(told)) {
                    (Some(from), Some(to)) => format!("{name}: {from} -> {to}"),
                    (None, Some(to)) if key.kind() == Kind::Install => {
                        format!("is to be enabled by {name}={to}")
                    }
                    (None, Some(to)) if *key == Key::User => format!("{name}: the manager's own -> {to}"),
                    (Some(from), None) if *key == Key::User => format!("{name}: {from} -> the manager's own"),
                    (None, Some(to)) => format!("{name} added: {to}"),
                    (Some(from), None) => format!("{name} removed: {from}"),
                    (None, None) => format!("{name} unchanged"),
                }
            }
            Self::Becomes(run) => format!("{} becomes: {}", run.key.name(), shown(&run.command)),
            Self::Variable { from, to } => match (from, to) {
                (Some(from), Some(to)) => {
                    format!("{}: {} -> {}", told(&to.path), variable(from), variable(to))
                }
                (None, Some(to)) => format!("{} sets {}", told(&to.path), variable(to)),
                (Some(from), None) => {
                    format!("{} does not set {} any more", told(&from.path), variable(from))
                }
                (None, None) => "no variable changed".to_owned(),
            },
            Self::PulledIn(pull) => {
                format!("is started with {} ({})", told(&pull.unit), told(&pull.path))
            }
            Self::NotPulledIn(pull) => format!("is not started with {} any more", told(&pull.unit)),
            Self::Pulls(pull) => format!("starts {} with it ({})", told(&pull.unit), told(&pull.path)),
            Self::Named(name) => format!("is also called {}", told(name)),
            Self::More => "there are more changes".to_owned(),
        }
    }
}

fn state(from: State, to: State) -> &'static str {
    match (from, to) {
        (_, State::Masked) => "is masked: it cannot be started",
        (State::Masked, State::Loaded) => "is not masked any more",
        (_, State::Missing) => "is gone",
        (State::Missing, State::Loaded) => "is new",
        (_, State::Refused) => "is refused by the service manager",
        (_, State::Unread) => "leads to a file that is not known",
        (_, State::Loaded) => "can be loaded",
    }
}

/// A command as in a unit file, its prefixes as well.
pub fn shown(command: &Command) -> String {
    let Flags { ignore_failure, own_argv0, no_variables, privileged, keep_user, ambient, shell } =
        command.flags;
    let marks = [
        (ignore_failure, "-"),
        (own_argv0, "@"),
        (no_variables, ":"),
        (privileged, "+"),
        (keep_user, "!"),
        (ambient, "!!"),
        (shell, "|"),
    ];
    let mut text: String = marks.iter().filter_map(|(set, mark)| set.then_some(*mark)).collect();
    text += &told(&command.path);
    for argument in command.argv.iter().skip(usize::from(!own_argv0)) {
        let plain = !argument.is_empty() && !argument.iter().any(u8::is_ascii_whitespace);
        let quote = if plain { "" } else { "'" };
        text.extend([" ", quote, &told(argument), quote]);
        if text.len() > TOLD_MAX {
            break;
        }
    }
    told(text.as_bytes())
}

/// A variable for people. What not everybody may read in its file is not for a log that more may read, unless it is
/// what makes programs load or run something else.
fn variable(variable: &FileVariable) -> String {
    let name = variable_name(&variable.text).unwrap_or_default();
    if variable.private && of_variable(&variable.text).is_none() {
        return format!("{} (its value is not told: not everybody may read the file)", told(name));
    }
    told(&variable.text)
}

/// Bytes for people: no control characters, and not too long.
fn told(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * TOLD_MAX)]);
    let mut out: String =
        text.chars().take(TOLD_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(TOLD_MAX).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::effective::effective;
    use super::super::effective::tests::unit;
    use super::super::load::{LoadPath, View};
    use super::*;

    fn say(before: &[(&str, &str)], after: &[(&str, &str)], name: &str) -> Vec<String> {
        let (before, after) = (unit(before, name), unit(after, name));
        changes(Some(&before), Some(&after)).iter().map(Change::sentence).collect()
    }

    const VENDOR: (&str, &str) = (
        "/usr/lib/systemd/system/a.service",
        "[Service]\nExecStart=/usr/bin/a\nUser=nobody\nEnvironment=A=1\n[Install]\nWantedBy=multi-user.target\n",
    );

    #[test]
    fn a_drop_in_is_told_by_what_it_does() {
        let drop_in = (
            "/etc/systemd/system/a.service.d/x.conf",
            "[Service]\nExecStartPost=-/bin/sh -c 'id > /tmp/x'\nUser=\nEnvironment=A=2 LD_PRELOAD=/tmp/x.so\nRestart=always\n",
        );
        assert_eq!(
            say(&[VENDOR], &[VENDOR, drop_in], "a.service"),
            [
                "ExecStartPost added: -/bin/sh -c 'id > /tmp/x'",
                "User: nobody -> the manager's own",
                "Restart added: always",
                "Environment: A=1 -> A=2",
                "Environment added: LD_PRELOAD=/tmp/x.so",
            ]
        );
    }

    #[test]
    fn states_and_links() {
        let link =
            ("/etc/systemd/system/multi-user.target.wants/a.service", "-> /usr/lib/systemd/system/a.service");
        assert_eq!(
            say(&[], &[VENDOR, link], "a.service"),
            [
                "is new",
                "ExecStart added: /usr/bin/a",
                "User: the manager's own -> nobody",
                "is to be enabled by WantedBy=multi-user.target",
                "is started with multi-user.target (/etc/systemd/system/multi-user.target.wants/a.service)",
                "Environment added: A=1",
            ]
        );
        let mask = ("/etc/systemd/system/a.service", "-> /dev/null");
        assert_eq!(say(&[VENDOR], &[VENDOR, mask], "a.service")[0], "is masked: it cannot be started");
        assert_eq!(say(&[VENDOR, mask], &[VENDOR], "a.service")[0], "is not masked any more");
        assert_eq!(say(&[VENDOR], &[VENDOR], "a.service"), [""; 0]);
        let alias = ("/etc/systemd/system/b.service", "-> a.service");
        assert_eq!(say(&[VENDOR], &[VENDOR, alias], "a.service"), ["is also called b.service"]);
        assert_eq!(say(&[VENDOR], &[], "a.service")[0], "is gone");
    }

    #[test]
    fn variables_of_files_are_told_with_what_they_make_of_commands() {
        let unit_file = (
            "/etc/systemd/system/a.service",
            "[Service]\nExecStart=/usr/bin/a $OPTS ${B}\nExecStop=/usr/bin/a\nEnvironment=B=unit\n\
             EnvironmentFile=-/etc/default/a\n",
        );
        let of = |content: &str, private: bool| {
            let mut store = crate::subject::unit::effective::tests::store(&[unit_file]);
            let environment = Environment::new(content.as_bytes(), private);
            store.insert_environment(b"/etc/default/a", environment).unwrap();
            effective(&View::new(&store, &LoadPath::system()), b"a.service").unwrap()
        };
        let say = |before: &Effective, after: &Effective| {
            changes(Some(before), Some(after)).iter().map(Change::sentence).collect::<Vec<_>>()
        };
        let (none, some) = (of("", false), of("OPTS='-x y'\nB=file\n", false));
        assert_eq!(
            say(&none, &some),
            [
                "ExecStart becomes: /usr/bin/a -x y file",
                "/etc/default/a sets B=file",
                "/etc/default/a sets OPTS=-x y"
            ]
        );
        assert_eq!(say(&some, &some), [""; 0]);
        let loads = of("LD_PRELOAD=/tmp/x.so\nB=secret", true);
        let told = say(&some, &loads);
        assert!(told.contains(&"/etc/default/a sets LD_PRELOAD=/tmp/x.so".to_owned()), "{told:?}");
        assert!(told.contains(&"/etc/default/a does not set OPTS=-x y any more".to_owned()), "{told:?}");
        let hidden = "/etc/default/a: B=file -> B (its value is not told: not everybody may read the file)";
        assert!(told.contains(&hidden.to_owned()), "{told:?}");
    }

    #[test]
    fn what_is_told_is_bounded_and_printable() {
        let many = format!("[Service]\n{}", "ExecStart=/x \"\\x1b[2J\" y\n".repeat(500));
        let told = say(&[], &[("/etc/systemd/system/a.service", &many)], "a.service");
        assert_eq!(told.len(), CHANGES_MAX);
        assert_eq!(told[1], "ExecStart added: /x \u{fffd}[2J y");
        assert_eq!(told[CHANGES_MAX - 1], "there are more changes");
        let long = format!("[Service]\nExecStart=/x {}\n", "y".repeat(10_000));
        assert!(say(&[], &[("/etc/systemd/system/a.service", &long)], "a.service")[1].chars().count() < 400);
    }

    proptest! {
        /// What was added one way is what is removed the other way.
        #[test]
        fn changes_are_symmetrical(
            one in "((ExecStart|Environment|User|EnvironmentFile)=[/AB=12 ]{0,6}\n){0,6}",
            other in "((ExecStart|Environment|User|EnvironmentFile)=[/AB=12 ]{0,6}\n){0,6}",
        ) {
            let [one, other] = [one, other].map(|text| {
                unit(&[("/etc/systemd/system/a.service", &format!("[Service]\n{text}"))], "a.service")
            });
            let (forth, back) = (changes(Some(&one), Some(&other)), changes(Some(&other), Some(&one)));
            prop_assert_eq!(forth.len(), back.len());
            prop_assert!(changes(Some(&one), Some(&one)).is_empty());
        }
    }
}
