//! The effective unit: what the files of a name come to together, each setting with where it comes from.

use std::collections::BTreeMap;

use super::super::service::Scope;
use super::environment::{FileVariable, is_pattern};
use super::exec::{self, Command};
use super::key::{Key, Kind, parse_switch};
use super::load::{Fragment, View, split};
use super::name::{Name, Type};
use super::pull::{Pull, pulled_in_by, pulls};
use super::specifier::{Context, Table, expand};
use super::store::{Assignment, Digest, Found};
use super::verify;
use super::words::{Rules, words};

/// Most settings, commands and problems of a unit.
pub const SETTINGS_MAX: usize = 4096;

/// Most assignments that are read for a unit, over all its files.
pub const ASSIGNMENTS_MAX: usize = 65_536;

/// Most files of variables of a unit, and most that a pattern stands for.
const ENVIRONMENT_FILES_MAX: usize = 64;

/// Most bytes of settings and commands of a unit.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Whether the service manager takes the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Loaded,
    /// It is masked: a link to /dev/null, or a file of no length.
    Masked,
    /// There is no file of it, or its alias leads to none or in a circle. Drop-ins alone make no unit, but for those types that need no file.
    Missing,
    /// It is refused (see the problems). What could be read of it is told all the same.
    Refused,
    /// Its file is a link to one that the store does not hold.
    Unread,
}

/// Where something comes from: a file of [`Effective::files`] and a line in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Index into the files.
    pub file: u16,
    /// Line number from 1.
    pub line: u32,
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which.
    pub key: Key,
    /// Its value, specifiers expanded; of a list one element, of an environment `NAME=value`, of a condition
    /// `Kind=value`.
    pub text: Box<[u8]>,
    /// Whence.
    pub origin: Origin,
}

/// A command in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// `ExecStart` or another.
    pub key: Key,
    /// The command.
    pub command: Command,
    /// Whence.
    pub origin: Origin,
}

/// Something that the service manager complains about, or that could not be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What, for people.
    pub text: String,
    /// A path that the store does not hold and that would tell more.
    pub unread: Option<Vec<u8>>,
}

/// A unit as its files make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The name it goes by: that of its file, the instance put in.
    pub name: Vec<u8>,
    /// Its further names.
    pub aliases: Vec<Vec<u8>>,
    /// Its type.
    pub kind: Type,
    /// Whose.
    pub scope: Scope,
    /// Whether the service manager takes it.
    pub state: State,
    /// Its files in the order in which they are read: first the unit file where [`Self::fragment`], then drop-ins.
    pub files: Vec<Vec<u8>>,
    /// Whether the first of the files is the unit file.
    pub fragment: bool,
    /// Where the unit file is a link to, outside of the unit directories.
    pub linked: Option<Vec<u8>>,
    /// The settings in force, but for commands.
    pub settings: Vec<Setting>,
    /// The commands in force.
    pub commands: Vec<Run>,
    /// The variables that it takes from files (`EnvironmentFile=`), by name, each once; they go before its own.
    pub variables: Vec<FileVariable>,
    /// The paths and patterns of such files of which the store holds none.
    pub unread_variables: Vec<Vec<u8>>,
    /// The units that pull it in by a link.
    pub pulled_in_by: Vec<Pull>,
    /// The units that it pulls in by a link.
    pub pulls: Vec<Pull>,
    /// What went wrong.
    pub problems: Vec<Problem>,
    bytes: usize,
    assignments: usize,
}

/// The effective unit of a name, loaded under this name: specifiers in its file see it, even where it is an alias. `None` where it is no unit's. A template's is given as it stands, without an instance.
pub fn effective(view: &View<'_>, name: &[u8]) -> Option<Effective> {
    let parsed = Name::parse(name)?;
    let (mut names, fragment) = view.names(parsed);
    let drop_ins = view.belonging(&names, b".d", b".conf");
    let id = names.remove(0);
    let kind = parsed.kind;
    let path = match &fragment {
        Fragment::Path(path) => Some(path.clone()),
        _ => None,
    };
    let mut unit = Effective {
        name: id.clone(),
        kind,
        scope: view.load.scope,
        state: match fragment {
            Fragment::Path(_) => State::Loaded,
            // `unit_load_fragment_and_dropin`, src/core/unit.c, and its callers.
            Fragment::Missing if matches!(kind, Type::Slice | Type::Scope | Type::Device) => State::Loaded,
            Fragment::Missing | Fragment::Dangling | Fragment::Loop => State::Missing,
        },
        files: path.iter().cloned().chain(drop_ins).collect(),
        fragment: path.is_some(),
        linked: None,
        settings: Vec::new(),
        commands: Vec::new(),
        variables: Vec::new(),
        unread_variables: Vec::new(),
        pulled_in_by: Vec::new(),
        pulls: pulls(view, std::iter::once(&id).chain(&names)),
        problems: Vec::new(),
        aliases: names,
        bytes: 0,
        assignments: 0,
    };
    unit.pulled_in_by = pulled_in_by(view, std::iter::once(&id).chain(&unit.aliases));
    let context = Context {
        name: parsed,
        scope: view.load.scope,
        home: view.load.home.as_deref(),
        uid: view.load.uid,
        fragment: path.as_deref(),
    };
    unit.read_all(view, &context);
    unit.read_variables(view);
    if unit.state == State::Loaded {
        if let Some(why) = verify::refusal(&unit) {
            unit.state = State::Refused;
            unit.problem(Origin::default(), why, None);
        }
    }
    Some(unit)
}

impl Effective {
    fn read_all(&mut self, view: &View<'_>, context: &Context<'_>) {
        // The unit file is read under the name that was asked for, and only then are the names brought together
        // (`unit_load_fragment`, src/core/load-fragment.c).
        let id = self.name.clone();
        let of_drop_ins = Context { name: Name::parse(&id).unwrap_or(context.name), ..*context };
        // More files than an index can name are not read.
        self.files.truncate(usize::from(u16::MAX));
        for (index, path) in self.files.clone().into_iter().enumerate() {
            let is_fragment = self.fragment && index == 0;
            let origin = Origin { file: index as u16, line: 0 };
            if is_fragment {
                self.linked = view.files.resolve(&path, true).filter(|target| {
                    let directory = split(target).0;
                    target != b"/dev/null" && view.unit_directories().all(|known| known != directory)
                });
            }
            match view.files.read(&path) {
                Found::Null if is_fragment => self.state = State::Masked,
                Found::File(digest) if is_fragment && digest.is_empty() => self.state = State::Masked,
                Found::Null => {}
                Found::Unread(target) => {
                    if is_fragment {
                        self.state = State::Unread;
                    }
                    self.problem(origin, "leads to a file that is not known", Some(target));
                }
                Found::File(digest) => {
                    let context = if is_fragment { context } else { &of_drop_ins };
                    let read = self.read(digest, origin.file, context);
                    if is_fragment && !read {
                        self.state = State::Refused;
                        // As the service manager does: no drop-ins on a unit that has not loaded.
                        return;
                    }
                }
            }
        }
    }

    /// Takes the variables of the files that `EnvironmentFile=` names, in their order.
    fn read_variables(&mut self, view: &View<'_>) {
        let named: Vec<Vec<u8>> = self.environment_files().map(<[u8]>::to_vec).collect();
        let mut variables: BTreeMap<Vec<u8>, FileVariable> = BTreeMap::new();
        for named in &named {
            let exact = [&named[..]];
            let matching = if is_pattern(named) { view.files.environments(named) } else { exact.to_vec() };
            let mut known = false;
            for path in matching.into_iter().take(ENVIRONMENT_FILES_MAX) {
                let Some(environment) = view.files.environment(path) else { continue };
                known = true;
                for text in environment.variables() {
                    if variables.len() >= SETTINGS_MAX || self.bytes > BYTES_MAX {
                        break;
                    }
                    self.bytes += text.len();
                    let private = environment.is_private();
                    let variable = FileVariable { text: text.into(), path: path.into(), private };
                    variables.insert(variable_name(text).unwrap_or_default().to_vec(), variable);
                }
            }
            if !known {
                self.unread_variables.push(named.clone());
            }
        }
        self.variables = variables.into_values().collect();
    }

    /// Takes a file's assignments; whether the service manager would have read it to its end.
    fn read(&mut self, digest: &Digest, file: u16, context: &Context<'_>) -> bool {
        for assignment in digest.assignments() {
            if !assignment.section.is_of(self.kind) {
                continue;
            }
            let origin = Origin { file, line: assignment.line };
            self.assignments += 1;
            let held = self.settings.len().max(self.commands.len());
            if self.assignments > ASSIGNMENTS_MAX || held >= SETTINGS_MAX || self.bytes > BYTES_MAX {
                self.problem(origin, "the unit has more settings than are read", None);
                return true;
            }
            if !self.assign(assignment, origin, context) {
                return false;
            }
        }
        let end = |line| Origin { file, line };
        if digest.is_cut() {
            self.problem(end(0), "the file has more settings than are read", None);
        }
        if let Some(fault) = digest.fault() {
            self.problem(end(0), fault, None);
        }
        digest.fault().is_none()
    }

    /// Takes an assignment; false where the service manager reads no further.
    fn assign(&mut self, assignment: Assignment<'_>, origin: Origin, context: &Context<'_>) -> bool {
        let Assignment { key, value, .. } = assignment;
        let kind = key.kind();
        let clears = !matches!(kind, Kind::Units | Kind::First | Kind::Switch | Kind::Choice(_));
        if value.is_empty() && clears {
            self.settings.retain(|setting| setting.key.list() != key.list());
            self.commands.retain(|run| run.key != key);
            return true;
        }
        match kind {
            Kind::Commands => return self.add_commands(key, value, origin, context),
            Kind::Last | Kind::Line => {
                if kind == Kind::Last {
                    self.settings.retain(|setting| setting.key != key);
                }
                return self.add_expanded(key, value, Table::Full, origin, context)
                    || !matches!(key, Key::User | Key::Group);
            }
            Kind::First if self.last(key).is_none() => {
                self.add_expanded(key, value, Table::Names, origin, context);
            }
            Kind::First => {
                self.problem(origin, format_args!("a second {}= counts for nothing", key.name()), None);
            }
            Kind::Switch => {
                let Some(on) = parse_switch(value) else {
                    self.problem(origin, format_args!("{}= is neither yes nor no", key.name()), None);
                    // The one of these for which load-fragment-gperf.gperf.in says that it is fatal.
                    return key != Key::DynamicUser;
                };
                self.replace(key, if on { b"yes" } else { b"no" }, origin);
            }
            Kind::Choice(choices) => {
                if choices.iter().any(|choice| choice.as_bytes() == value) {
                    self.replace(key, value, origin);
                } else {
                    self.problem(origin, format_args!("{}= knows no such value", key.name()), None);
                }
            }
            Kind::Words => self.add_words(key, value, Rules::PATHS, Table::Full, origin, context),
            Kind::Units => self.add_words(key, value, Rules::UNITS, Table::Names, origin, context),
            Kind::Install => self.add_words(key, value, Rules::INSTALL, Table::Names, origin, context),
            Kind::Variables => self.add_words(key, value, Rules::COMMAND, Table::Full, origin, context),
        }
        true
    }

    fn add_commands(&mut self, key: Key, value: &[u8], origin: Origin, context: &Context<'_>) -> bool {
        let parsed = exec::parse(value, context);
        for command in parsed.commands {
            self.bytes += command.argv.iter().map(Vec::len).sum::<usize>();
            self.commands.push(Run { key, command, origin });
        }
        if let Some(wrong) = parsed.wrong {
            self.problem(origin, wrong, None);
        }
        !parsed.fatal
    }

    fn add_words(
        &mut self,
        key: Key,
        value: &[u8],
        rules: Rules,
        table: Table,
        origin: Origin,
        context: &Context<'_>,
    ) {
        let (words, whole) = words(value, rules, SETTINGS_MAX);
        for word in words {
            self.add_expanded(key, &word, table, origin, context);
        }
        if !whole {
            self.problem(origin, "quotes do not close, or an escape is unknown", None);
        }
    }

    /// Adds a value; whether its specifiers can be expanded and it is valid.
    fn add_expanded(
        &mut self,
        key: Key,
        value: &[u8],
        table: Table,
        origin: Origin,
        context: &Context<'_>,
    ) -> bool {
        let text = match expand(value, table, context) {
            Ok(expanded) => expanded.text,
            Err(refused) => {
                self.problem(origin, refused, None);
                return false;
            }
        };
        if matches!(key, Key::User | Key::Group) && !is_user_name(&text) {
            self.problem(origin, "not a name of a user or group", None);
            return false;
        }
        if key.kind() == Kind::Variables {
            let Some(name) = variable_name(&text) else {
                self.problem(origin, "not an assignment of a variable", None);
                return false;
            };
            self.settings.retain(|other| other.key != key || variable_name(&other.text) != Some(name));
        }
        self.bytes += text.len();
        self.settings.push(Setting { key, text: text.into(), origin });
        true
    }

    fn replace(&mut self, key: Key, text: &[u8], origin: Origin) {
        self.settings.retain(|setting| setting.key != key);
        self.settings.push(Setting { key, text: text.into(), origin });
    }

    fn problem(&mut self, origin: Origin, text: impl std::fmt::Display, unread: Option<Vec<u8>>) {
        if self.problems.len() < SETTINGS_MAX {
            self.problems.push(Problem { origin, text: text.to_string(), unread });
        }
    }

    /// The settings of a key, in order.
    pub fn all(&self, key: Key) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(move |setting| setting.key == key)
    }

    /// The setting of a key that counts.
    pub fn last(&self, key: Key) -> Option<&Setting> {
        self.settings.iter().rev().find(|setting| setting.key == key)
    }

    /// The text of the setting of a key that counts.
    pub fn text(&self, key: Key) -> Option<&[u8]> {
        self.last(key).map(|setting| &setting.text[..])
    }

    /// Whether a switch is on.
    pub fn is_on(&self, key: Key) -> bool {
        self.text(key) == Some(b"yes")
    }

    /// The file of an origin.
    pub fn file(&self, origin: Origin) -> Option<&[u8]> {
        self.files.get(usize::from(origin.file)).map(|path| &path[..])
    }

    /// The paths and patterns of its files of variables, in their order.
    pub fn environment_files(&self) -> impl Iterator<Item = &[u8]> {
        let all = self.all(Key::EnvironmentFile).map(|setting| without_dash(&setting.text));
        all.filter(|path| path.starts_with(b"/")).take(ENVIRONMENT_FILES_MAX)
    }

    /// The variables that the unit sets, and those of its files behind them, as `NAME` and value: the last one of a
    /// name counts.
    pub fn environment(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pair = |text: &[u8]| {
            let name = variable_name(text)?;
            Some((name.to_vec(), text[name.len() + 1..].to_vec()))
        };
        let own = self.all(Key::Environment).filter_map(|setting| pair(&setting.text));
        own.chain(self.variables.iter().filter_map(|variable| pair(&variable.text))).collect()
    }

    /// As whom its commands run: `None` for the manager's own user, which is root for the system manager.
    pub fn user(&self) -> Option<&[u8]> {
        // With DynamicUser= alone the name is made from the unit's.
        self.text(Key::User).or(self.is_on(Key::DynamicUser).then_some(b"(dynamic)"))
    }
}

/// The path of `EnvironmentFile=`, without the dash that says that the file may be missing.
pub fn without_dash(named: &[u8]) -> &[u8] {
    named.strip_prefix(b"-").unwrap_or(named)
}

/// The name in `NAME=value` (`env_assignment_is_valid`, src/basic/env-util.c).
pub fn variable_name(text: &[u8]) -> Option<&[u8]> {
    let name = &text[..text.iter().position(|byte| *byte == b'=')?];
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    (!name.is_empty() && !name[0].is_ascii_digit() && name.iter().all(valid)).then_some(name)
}

/// `valid_user_group_name` with `VALID_USER_RELAX`, src/basic/user-util.c.
fn is_user_name(name: &[u8]) -> bool {
    let number = name.iter().all(u8::is_ascii_digit);
    let bad = |byte: &u8| byte.is_ascii_control() || matches!(byte, b':' | b'/');
    !name.is_empty()
        && !name.iter().any(bad)
        && !matches!(name, b"." | b"..")
        && (number || !name[0].is_ascii_digit() || name.iter().any(u8::is_ascii_alphabetic))
}

#[cfg(test)]
#[path = "effective_tests.rs"]
pub(in crate::subject::unit) mod tests;
