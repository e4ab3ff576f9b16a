//! The unit files of the machine, as far as they were read: what a unit was before a change, and what it is after it.

use std::collections::BTreeSet;

use super::finding::Finding;
use crate::event::content::{FileContent, Found, Regular};
use crate::event::path::lossy;
use crate::event::user::WatchClass;
use crate::subject::adjacent;
use crate::subject::name::is_type;
use crate::subject::service::Scope;
use crate::subject::unit::change::{Change, changes};
use crate::subject::unit::effective::{Effective, State, effective, without_dash};
use crate::subject::unit::environment::{Environment, is_meant};
use crate::subject::unit::key::Key;
use crate::subject::unit::load::{LoadPath, View, activators, split};
use crate::subject::unit::name::Name;
use crate::subject::unit::refer::{Reference, named_by};
use crate::subject::unit::signals::name::Known;
use crate::subject::unit::signals::unit::signals;
use crate::subject::unit::signals::{Signal, Weight};
use crate::subject::unit::specifier::{Context, Table, expand};
use crate::subject::unit::store::{Digest, ENTRY_COST, Full, UnitFiles};

/// Bytes of unit files that are kept. Debian with every desktop takes less than a tenth.
const BYTES_MAX: usize = 4 << 20;

/// Files and links that are kept at most, were they empty.
pub(super) const FILES_MAX: usize = BYTES_MAX / ENTRY_COST;

/// Where distributions put their units.
const DISTRIBUTION: [&[u8]; 2] = [b"/usr/lib/systemd/system", b"/usr/lib/systemd/user"];
/// Their names that are kept.
const PACKAGED_MAX: usize = 4096;
/// Files of variables, and patterns of such, that units name and that are kept in mind; of one unit file so many.
const ENVIRONMENTS_MAX: usize = 1024;
const ENVIRONMENTS_TOLD: usize = 64;
/// Longest path (`PATH_MAX`, limits.h).
const PATH_MAX: usize = 4096;
/// Changes and signals that an alert tells.
pub(super) const CHANGES_TOLD: usize = 24;
const SIGNALS_TOLD: usize = 12;

/// Whose manager loads a unit, and in whose home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manager {
    pub(super) scope: Scope,
    /// The user whose own directory it is; `None` for what all users' managers share.
    pub(super) owner: Option<u32>,
    /// That user's home.
    pub(super) home: Vec<u8>,
}

impl Manager {
    fn load_path(&self) -> LoadPath {
        match self.scope {
            Scope::System => LoadPath::system(),
            // Of what is shared, what there is in no one's home makes no difference.
            Scope::User => LoadPath::user(&self.home, self.owner.unwrap_or(u32::MAX)),
        }
    }
}

/// The store.
#[derive(Debug)]
pub(super) struct Units {
    files: UnitFiles,
    refused: u64,
    /// Names of units that lay among the distribution's when the sensor started.
    packaged: Known,
    /// Files of variables that units name, and patterns of such.
    environments: BTreeSet<Vec<u8>>,
}

impl Default for Units {
    fn default() -> Self {
        Self {
            files: UnitFiles::new(BYTES_MAX),
            refused: 0,
            packaged: Known::default(),
            environments: BTreeSet::new(),
        }
    }
}

impl Units {
    /// Files and links held, their bytes, and what found no room.
    pub(super) fn figures(&self) -> (usize, usize, u64) {
        (self.files.len(), self.files.bytes(), self.refused)
    }

    /// Notes what is at a path now; whether that is something else than was known.
    pub(super) fn take(&mut self, content: &FileContent) -> bool {
        // By the names of its directories, whichever link the path leads through.
        let Some(path) = self.files.resolve(&content.path, false) else { return false };
        let mut changed = !self.agrees(content);
        let kept = match &content.found {
            // Known as a link already, a directory above it for one.
            Found::Symlink { target, end } if *target == path && matches!(**end, Found::Directory { .. }) => {
                Ok(())
            }
            Found::Symlink { target, end } => {
                let linked = self.files.insert_link(&path, target);
                // The file at its end is read for what it says; what lies in a unit directory comes under its own name.
                match (&**end, self.files.resolve(&path, true)) {
                    (Found::Regular(file), Some(end)) => linked
                        .and_then(|()| {
                            let new = self.files.file(&end).is_none();
                            if new { self.files.insert_file(&end, &file.content) } else { Ok(()) }
                        })
                        .and_then(|()| self.take_environment(&[&content.path, &end], &end, file)),
                    _ => linked,
                }
            }
            Found::Regular(file) => self
                .files
                .insert_file(&path, &file.content)
                .and_then(|()| self.take_environment(&[&content.path, &path], &path, file)),
            Found::Absent => {
                self.files.remove(&path);
                changed |= self.files.remove_below(&path) > 0;
                Ok(())
            }
            Found::Special { .. } | Found::Unreadable { .. } => {
                changed |= self.files.remove(&path);
                Ok(())
            }
            Found::Directory { .. } => Ok(()),
        };
        self.refused += u64::from(kept.is_err());
        let (directory, name) = split(&path);
        if content.baseline && DISTRIBUTION.contains(&directory) && self.packaged.len() < PACKAGED_MAX {
            self.packaged.insert(name);
        }
        changed
    }

    /// Takes a file as one of variables, where it is called so under one of these names.
    fn take_environment(&mut self, names: &[&[u8]], path: &[u8], file: &Regular) -> Result<(), Full> {
        if !names.iter().any(|name| self.is_environment(name)) {
            return Ok(());
        }
        self.files.insert_environment(path, read_environment(file))
    }

    /// Whether a file is taken for one of variables: where such files lie, or because a unit names it.
    pub(super) fn is_environment(&self, path: &[u8]) -> bool {
        let usual = adjacent::of(WatchClass::ServiceEnvironment).map_or(&[][..], |kind| kind.paths);
        let below = |directory: &&str| {
            path.strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        usual.iter().any(below) || self.environments.iter().any(|named| is_meant(named, path))
    }

    /// Notes that a unit takes variables from a path, or from those that a pattern means.
    pub(super) fn name_environment(&mut self, named: &[u8], scope: Scope) {
        // No user can take all of the room.
        let room = if scope == Scope::User { ENVIRONMENTS_MAX / 2 } else { ENVIRONMENTS_MAX };
        if self.environments.len() < room && named.len() <= PATH_MAX {
            self.environments.insert(named.to_vec());
        }
    }

    /// What a file sets, as one of variables.
    pub(super) fn environment(&self, path: &[u8]) -> Option<&Environment> {
        self.files.environment(path)
    }

    /// The files of variables that a unit file names, as far as its own text says, and whose unit it is.
    pub(super) fn environment_files_of(&self, unit_file: &[u8]) -> (Manager, Vec<Vec<u8>>) {
        let manager = manager_of(unit_file);
        let named = self
            .files
            .resolve(unit_file, true)
            .and_then(|path| Some(named_environments(unit_file, self.files.file(&path)?, &manager)));
        (manager, named.unwrap_or_default())
    }

    /// The units that take variables from a file, sorted.
    pub(super) fn units_with_environment(&self, path: &[u8]) -> Vec<(Vec<u8>, Manager)> {
        let mut found: Vec<(Vec<u8>, Manager)> = Vec::new();
        let takes = |digest: &Digest| digest.assignments().any(|own| own.key == Key::EnvironmentFile);
        for (unit_file, digest) in self.files.files().filter(|(_, digest)| takes(digest)) {
            let manager = manager_of(unit_file);
            let named = named_environments(unit_file, digest, &manager);
            let meant = |named: &Vec<u8>| {
                is_meant(named, path) || self.files.resolve(named, true).is_some_and(|end| end == path)
            };
            let unit = (unit_of(unit_file).to_vec(), manager);
            if named.iter().any(meant) && !found.contains(&unit) {
                found.push(unit);
            }
        }
        found
    }

    /// Names of units that others imitate.
    pub(super) fn packaged(&self) -> &Known {
        &self.packaged
    }

    /// What the files of `name` come to. `name` may be that of a directory of drop-ins for many units (`service`,
    /// `foo-.service`): then it is what they come to for a unit without a file of its own.
    pub(super) fn effective(&self, manager: &Manager, name: &[u8]) -> Option<Effective> {
        let load = manager.load_path();
        let view = View::new(&self.files, &load);
        if is_type(name) {
            return effective(&view, &[b"any.", name].concat());
        }
        let (stem, kind) = name.split_at(name.iter().rposition(|byte| *byte == b'.')?);
        // There may be a unit of just this name as well.
        let own = effective(&view, name)?;
        if stem.ends_with(b"-") && own.state == State::Missing {
            return effective(&view, &[stem, b"any", kind].concat());
        }
        Some(own)
    }

    /// What starts a unit without a link of its own: units that name it, and those that are called like it.
    pub(super) fn started_by(&self, manager: &Manager, unit: &Effective, limit: usize) -> Vec<String> {
        let load = manager.load_path();
        let view = View::new(&self.files, &load);
        let Some(name) = Name::parse(&unit.name) else { return Vec::new() };
        let template = name.template();
        let names: Vec<&[u8]> =
            std::iter::once(&unit.name).chain(&unit.aliases).chain(&template).map(|name| &name[..]).collect();
        let alike = activators(&view, name);
        let alike =
            alike.iter().map(|unit| format!("is started by {}, which is called like it", lossy(unit)));
        alike.chain(named_by(&view, &names, limit).iter().map(Reference::sentence)).take(limit).collect()
    }

    /// Where a link leads in the end; `None` for what is no link.
    pub(super) fn end_of(&self, link: &[u8]) -> Option<Vec<u8>> {
        let path = self.files.resolve(link, false)?;
        self.files.link(&path)?;
        self.files.resolve(&path, true)
    }

    /// Every path at which a part of the unit can lie.
    pub(super) fn candidates(&self, manager: &Manager, name: &[u8]) -> Vec<Vec<u8>> {
        View::new(&self.files, &manager.load_path()).candidates(name)
    }

    /// Whether the store has a link with this target at a path.
    pub(super) fn has_link(&self, path: &[u8], target: Option<&[u8]>) -> bool {
        let Some(path) = self.files.resolve(path, false) else { return false };
        target.is_some() && self.files.link(&path) == target
    }

    /// Whether the store has what is at a path now: of a link its target, of a file what counts in it.
    pub(super) fn agrees(&self, content: &FileContent) -> bool {
        let Some(path) = self.files.resolve(&content.path, false) else { return true };
        match &content.found {
            Found::Symlink { target, .. } => self.files.link(&path) == Some(target),
            Found::Regular(file) => {
                let now = Digest::new(&file.content);
                let variables = || {
                    let known = self.files.environment(&path);
                    let taken = self.is_environment(&content.path) || self.is_environment(&path);
                    !taken || known == Some(&read_environment(file))
                };
                self.files.file(&path).is_some_and(|known| *known == now) && variables()
            }
            Found::Absent => self.files.file(&path).is_none() && self.files.link(&path).is_none(),
            Found::Directory { .. } | Found::Special { .. } | Found::Unreadable { .. } => true,
        }
    }
}

/// Tells what a unit comes to that it did not come to `before`, and what is suspicious about that. `packaged` are the
/// names that others imitate.
pub(super) fn weigh(finding: &mut Finding, before: Option<&Effective>, after: &Effective, packaged: &Known) {
    tell(finding, new_signals(before, after, packaged));
    if let Some(unit) = &mut finding.unit {
        unit.changes = changes(before, Some(after)).iter().take(CHANGES_TOLD).map(Change::sentence).collect();
    }
}

/// What is suspicious about a unit, and was not before.
pub(super) fn new_signals(before: Option<&Effective>, after: &Effective, packaged: &Known) -> Vec<Signal> {
    // A name says nothing before there is a unit of it.
    let existing = before.filter(|before| before.state != State::Missing);
    let known = existing.map(|before| signals(before, packaged)).unwrap_or_default();
    let mut new = signals(after, packaged);
    new.retain(|signal| !known.iter().any(|known| (known.slug, &known.why) == (signal.slug, &signal.why)));
    new
}

/// Adds signals to a finding's score, and names them.
pub(super) fn tell(finding: &mut Finding, signals: impl IntoIterator<Item = Signal>) {
    for signal in signals.into_iter().take(SIGNALS_TOLD) {
        if signal.weight >= Weight::Strong && finding.doubts.len() < SIGNALS_TOLD {
            finding.doubts.push(signal.why.clone());
        }
        finding.reason(points(signal.weight), signal.why);
        if let Some(unit) = finding.unit.as_mut().filter(|unit| !unit.signals.contains(&signal.slug)) {
            unit.signals.push(signal.slug);
        }
    }
}

/// What a signal adds to the score.
pub(super) fn points(weight: Weight) -> i8 {
    match weight {
        Weight::Note => 0,
        Weight::Weak => 5,
        Weight::Strong => 15,
        Weight::Damning => 30,
    }
}

/// The home directory that a path of a user's own units lies in: what is before the first directory of those that
/// systemd looks into (systemd.unit(5)).
pub(super) fn home_of(path: &[u8]) -> &[u8] {
    let marks: [&[u8]; 2] = [b"/.config/systemd/", b"/.local/share/"];
    let at = marks.iter().find_map(|mark| path.windows(mark.len()).position(|window| window == *mark));
    at.map_or(b"/nonexistent", |at| &path[..at])
}

fn read_environment(file: &Regular) -> Environment {
    Environment::new(&file.content, file.mode & 0o004 == 0)
}

/// Whose unit a file is part of, as its path tells.
fn manager_of(path: &[u8]) -> Manager {
    let has = |part: &[u8]| path.windows(part.len()).any(|window| window == part);
    let user = has(b"/systemd/user/") || has(b"/systemd/user.control/") || path.starts_with(b"/run/user/");
    if user {
        Manager { scope: Scope::User, owner: None, home: home_of(path).to_vec() }
    } else {
        Manager { scope: Scope::System, owner: None, home: Vec::new() }
    }
}

/// The name of the unit that a file is part of; of a drop-in it may be that of many.
fn unit_of(path: &[u8]) -> &[u8] {
    let (directory, name) = split(path);
    split(directory).1.strip_suffix(b".d").unwrap_or(name)
}

/// The files of variables that a unit file names. A specifier that only an instance has a value for gives none.
fn named_environments(path: &[u8], digest: &Digest, manager: &Manager) -> Vec<Vec<u8>> {
    let settings = digest.assignments().filter(|own| own.key == Key::EnvironmentFile);
    let name = unit_of(path);
    // Of a type, or of all names that begin alike, any will do.
    let any = [b"any.", name].concat();
    let Some(name) = Name::parse(name).or_else(|| Name::parse(&any)) else { return Vec::new() };
    let context = Context {
        name,
        scope: manager.scope,
        home: (!manager.home.is_empty()).then_some(&manager.home[..]),
        uid: None,
        fragment: Some(path),
    };
    let of_instance = |value: &[u8]| value.windows(2).any(|pair| matches!(pair, b"%i" | b"%I" | b"%f"));
    settings
        .filter(|setting| !(name.is_template() && of_instance(setting.value)))
        .filter_map(|setting| expand(setting.value, Table::Full, &context).ok())
        .map(|expanded| without_dash(&expanded.text).to_vec())
        .filter(|path| path.starts_with(b"/"))
        .take(ENVIRONMENTS_TOLD)
        .collect()
}
