//! Units put together: what each runs in the end, and what is odd about it.

use std::collections::{BTreeMap, BTreeSet};

use super::read::Reader;
use super::walk::{Found, UnitFileIs};
use super::{ABSENT, Kind, Step};
use crate::event::path::lossy;
use crate::proof::package::Verdict;
use crate::source::snapshot::User;
use crate::subject::service::Scope;
use crate::subject::unit::effective::{Effective, Run, State, effective};
use crate::subject::unit::environment::Environment;
use crate::subject::unit::key::Key;
use crate::subject::unit::load::{LoadPath, View, split};
use crate::subject::unit::name::Name;
use crate::subject::unit::signals::command::is_interpreter;
use crate::subject::unit::signals::name::Known;
use crate::subject::unit::signals::unit::signals;
use crate::subject::unit::signals::{Signal, Weight};
use crate::subject::unit::store::UnitFiles;

/// Bytes of unit files that are kept.
const BYTES_MAX: usize = 64 << 20;
/// Units that are put together.
const UNITS_MAX: usize = 50_000;
/// Programs of one file of a unit.
const PROGRAMS_MAX: usize = 256;
/// Bytes of a file of variables that are read (`EnvironmentFile=`).
const ENVIRONMENT_MAX: usize = 64 << 10;
/// Where distributions put their units: names that others imitate.
const DISTRIBUTION: [&[u8]; 2] = [b"/usr/lib/systemd/system", b"/usr/lib/systemd/user"];
/// Where the service manager looks for programs (`DEFAULT_PATH`, src/basic/path-util.h).
const SEARCH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The unit files, and what they come to.
pub(super) struct System {
    files: UnitFiles,
    pub effective: Vec<Effective>,
}

impl Default for System {
    fn default() -> Self {
        Self { files: UnitFiles::new(BYTES_MAX), effective: Vec::new() }
    }
}

impl System {
    /// Puts all units together, of the system's manager and of every user's.
    pub fn look(
        &mut self,
        reader: &mut Reader<'_>,
        found: &mut Found,
        users: &[User],
        progress: &mut dyn FnMut(Step),
    ) {
        let known = self.take(reader, found);
        let mut managers = vec![(LoadPath::system(), None)];
        // What all users share, and those who have units of their own.
        managers.push((LoadPath::user(b"/nonexistent", u32::MAX), None));
        let own: BTreeSet<u32> = found.entries.values().filter_map(|entry| entry.user).collect();
        for user in users.iter().filter(|user| own.contains(&user.id)) {
            managers.push((LoadPath::user(user.home.as_bytes(), user.id), Some(user.id)));
        }
        let mut told = BTreeSet::new();
        for (load, owner) in managers {
            self.of_manager(reader, found, &load, owner, &known, &mut told, progress);
        }
    }

    /// Where a link leads in the end.
    pub fn end_of(&self, link: &[u8]) -> Option<Vec<u8>> {
        self.files.resolve(link, true)
    }

    /// The unit, called `name` as its file is, whose link this is.
    pub fn of_link(&self, link: &[u8], name: &[u8]) -> Option<&Effective> {
        let user = [&b"/systemd/user/"[..], b"/systemd/user.control/"];
        let of_user = user.iter().any(|part| link.windows(part.len()).any(|window| window == *part));
        let scope = if of_user { Scope::User } else { Scope::System };
        self.effective.iter().find(|unit| unit.name == name && unit.scope == scope)
    }

    /// Takes the files that were found; gives the names of the distribution's units.
    fn take(&mut self, reader: &mut Reader<'_>, found: &mut Found) -> Known {
        let mut known = Known::default();
        let mut full = None;
        // Links first: a file is kept under its name without them.
        let (links, files): (Vec<_>, Vec<_>) =
            found.units.drain(..).partition(|file| matches!(file.is, UnitFileIs::Link(_)));
        for file in links.into_iter().chain(files) {
            let Some(path) = self.files.resolve(&file.path, false) else { continue };
            let (directory, name) = split(&path);
            if DISTRIBUTION.contains(&directory) {
                known.insert(name);
            }
            let kept = match &file.is {
                // Known as a link already: a directory above it is one.
                UnitFileIs::Link(target) if *target == path => Ok(()),
                UnitFileIs::Link(target) => self.files.insert_link(&path, target),
                UnitFileIs::File(text) => self.files.insert_file(&path, text),
            };
            if let Err(error) = kept {
                full.get_or_insert((path, error));
            }
        }
        if let Some((path, error)) = full {
            reader.problem(&path, format!("{error}: not all units are put together"));
        }
        known
    }

    #[expect(clippy::too_many_arguments, reason = "what a survey has at hand, once")]
    fn of_manager(
        &mut self,
        reader: &mut Reader<'_>,
        found: &mut Found,
        load: &LoadPath,
        owner: Option<u32>,
        known: &Known,
        told: &mut BTreeSet<(Vec<u8>, Vec<u8>)>,
        progress: &mut dyn FnMut(Step),
    ) {
        let names = View::new(&self.files, load).units();
        self.read_environments(reader, load, &names);
        let view = View::new(&self.files, load);
        let mut units = Vec::new();
        let of = names.len();
        for (done, name) in names.iter().enumerate() {
            progress(Step { what: "putting units together", done, of });
            if self.effective.len() + units.len() >= UNITS_MAX {
                reader.problem(name, format!("more than {UNITS_MAX} units: the rest is not put together"));
                break;
            }
            let Some(unit) = effective(&view, name) else { continue };
            // By a further name it is the same unit.
            if unit.name != *name || unit.state == State::Missing {
                continue;
            }
            // What users share is told once.
            let file = unit.files.first().cloned().unwrap_or_default();
            if owner.is_some()
                && unit.files.iter().all(|file| told.contains(&(unit.name.clone(), file.clone())))
            {
                continue;
            }
            told.extend(unit.files.iter().map(|file| (unit.name.clone(), file.clone())));
            tell(reader, found, &self.files, &unit, known, &file);
            units.push(unit);
        }
        self.effective.append(&mut units);
    }

    /// Reads the files out of which units take variables.
    fn read_environments(&mut self, reader: &mut Reader<'_>, load: &LoadPath, names: &BTreeSet<Vec<u8>>) {
        let mut wanted = BTreeSet::new();
        let takes: BTreeSet<Vec<u8>> = self
            .files
            .files()
            .filter(|(_, digest)| digest.assignments().any(|own| own.key == Key::EnvironmentFile))
            .map(|(path, _)| path.to_vec())
            .collect();
        if takes.is_empty() {
            return;
        }
        let view = View::new(&self.files, load);
        for name in names {
            let Some(unit) = effective(&view, name) else { continue };
            let home = load.home.as_deref().unwrap_or_default();
            let allowed = |path: &[u8]| load.scope == Scope::System || path.starts_with(home);
            wanted.extend(
                unit.unread_variables.into_iter().filter(|path| path.starts_with(b"/") && allowed(path)),
            );
        }
        for path in wanted {
            let made_up =
                [&b"/proc/"[..], b"/sys/", b"/dev/"].iter().any(|directory| path.starts_with(directory));
            if made_up || path.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
                continue;
            }
            if let Some(text) = reader.peek(&path, ENVIRONMENT_MAX) {
                let environment = Environment::new(&text, false);
                let at = self.files.resolve(&path, true).unwrap_or_else(|| path.clone());
                if self.files.insert_environment(&at, environment).is_err() {
                    reader.problem(&path, "there is no room for its variables");
                }
            }
        }
    }
}

/// Notes what a unit runs, and what is odd about it, with the files that say so.
fn tell(
    reader: &mut Reader<'_>,
    found: &mut Found,
    files: &UnitFiles,
    unit: &Effective,
    known: &Known,
    first: &[u8],
) {
    // An entry has the path without links to directories, and of a linked unit the end says what it runs.
    let at = |path: &[u8]| -> Option<(Vec<u8>, Kind)> {
        let kinds = [Kind::Unit, Kind::DropIn, Kind::Link];
        let own = files.resolve(path, false).unwrap_or_else(|| path.to_vec());
        let end = files.resolve(path, true).unwrap_or_else(|| path.to_vec());
        [end, own, path.to_vec()]
            .into_iter()
            .flat_map(|path| kinds.map(|kind| (path.clone(), kind)))
            .find(|key| found.entries.contains_key(key))
    };
    let mut runs: BTreeMap<(Vec<u8>, Kind), Vec<Vec<u8>>> = BTreeMap::new();
    for run in &unit.commands {
        let Some(key) = unit.file(run.origin).and_then(at) else { continue };
        let paths = runs.entry(key).or_default();
        for path in programs_of(reader, unit, run) {
            if !paths.contains(&path) && paths.len() < PROGRAMS_MAX {
                paths.push(path);
            }
        }
    }
    let mut said: Vec<((Vec<u8>, Kind), Signal)> = Vec::new();
    for signal in signals(unit, known) {
        let file = signal.origin.and_then(|origin| unit.file(origin)).unwrap_or(first);
        said.extend(at(file).map(|key| (key, signal)));
    }
    let mut added = Vec::new();
    for (key, paths) in runs {
        for path in paths {
            let ran = reader.program(&path);
            said.extend(of_program(unit, &ran).into_iter().map(|signal| (key.clone(), signal)));
            added.push((key.clone(), ran.program));
        }
    }
    if unit.state == State::Refused && unit.kind != crate::subject::unit::name::Type::Slice {
        let why = unit.problems.last().map(|problem| problem.text.clone()).unwrap_or_default();
        let why = format!("the service manager refuses it: {why}");
        said.extend(
            at(first)
                .map(|key| (key, Signal { slug: "unit.refused", weight: Weight::Note, why, origin: None })),
        );
    }
    for (key, program) in added {
        let entry = found.entries.get_mut(&key);
        if let Some(entry) = entry.filter(|entry| !entry.programs.contains(&program)) {
            entry.programs.push(program);
        }
    }
    for ((path, kind), signal) in said {
        found.remark(kind, &path, [signal]);
    }
}

/// The program of a command, and the script that an interpreter is given.
fn programs_of(reader: &Reader<'_>, unit: &Effective, run: &Run) -> Vec<Vec<u8>> {
    let template = Name::parse(&unit.name).is_some_and(|name| name.is_template());
    // What only an instance, or the running machine, has a value for is no path.
    let unknown = |path: &[u8]| (run.command.unresolved || template) && path.contains(&b'%');
    // Another root, and what an image holds, are not looked into.
    if unit.text(Key::RootImage).is_some() {
        return Vec::new();
    }
    let below = unit
        .text(Key::RootDirectory)
        .filter(|root| root.starts_with(b"/") && *root != b"/")
        .unwrap_or_default();
    let mut arguments = run.command.argv.iter().skip(1);
    let script = is_interpreter(&run.command.path)
        .then(|| arguments.find(|argument| argument.starts_with(b"/")))
        .flatten()
        .filter(|script| {
            let made_up =
                [&b"/proc/"[..], b"/dev/", b"/sys/"].iter().any(|directory| script.starts_with(directory));
            !made_up
        });
    let mut found = Vec::new();
    for path in std::iter::once(&run.command.path).chain(script).filter(|path| !unknown(path)) {
        if path.starts_with(b"/") {
            found.push([below, path].concat());
        } else if !path.is_empty() {
            let candidates =
                SEARCH.iter().map(|directory| [below, directory.as_bytes(), b"/", path].concat());
            found.extend(candidates.into_iter().find(|path| reader.root.object(path, true).is_ok()));
        }
    }
    found
}

/// What is odd about a program: who may change it, and what it says.
fn of_program(unit: &Effective, ran: &super::read::Ran) -> Vec<Signal> {
    let mut found = Vec::new();
    let path = lossy(&ran.end);
    let there = ran.program.sha256.is_some() || ran.mode != 0;
    let privileged = unit.scope == Scope::System
        && unit.user().is_none_or(|user| matches!(user, b"root" | b"0"))
        || unit.commands.iter().any(|run| run.command.flags.privileged);
    let mut say = |slug, why: String| found.push(Signal { slug, weight: Weight::Strong, why, origin: None });
    if there && privileged && ran.uid != 0 {
        say("program.owner", format!("{path} belongs to user {}, who may change what runs as root", ran.uid));
    }
    if there && ran.mode & 0o002 != 0 {
        say("program.writable", format!("everyone may write to {path}"));
    }
    let proved = matches!(ran.program.proof, Verdict::Proved { .. });
    let said = ran.signals.iter().filter(|_| !proved);
    found.extend(said.map(|signal| Signal { why: format!("{path}: {}", signal.why), ..signal.clone() }));
    if matches!(&ran.program.proof, Verdict::Unknown { reason } if reason == ABSENT) {
        let why = format!("{path} is not there: whoever makes it is run");
        found.push(Signal { slug: "program.absent", weight: Weight::Note, why, origin: None });
    }
    found
}
