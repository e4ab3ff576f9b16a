//! The unit files of the machine, as far as they were read: what a unit was before a change, and what it is after it.

use std::collections::BTreeSet;

use super::finding::Finding;
use crate::event::content::{FileContent, Found};
use crate::subject::name::is_type;
use crate::subject::service::Scope;
use crate::subject::unit::change::{Change, changes};
use crate::subject::unit::effective::{Effective, State, effective};
use crate::subject::unit::load::{LoadPath, View, split};
use crate::subject::unit::signals::unit::signals;
use crate::subject::unit::signals::{Signal, Weight};
use crate::subject::unit::store::{Digest, ENTRY_COST, UnitFiles};

/// Bytes of unit files that are kept. Debian with every desktop takes less than a tenth.
const BYTES_MAX: usize = 4 << 20;

/// Files and links that are kept at most, were they empty.
pub(super) const FILES_MAX: usize = BYTES_MAX / ENTRY_COST;

/// Where distributions put their units.
const DISTRIBUTION: [&[u8]; 2] = [b"/usr/lib/systemd/system", b"/usr/lib/systemd/user"];
/// Their names that are kept.
const PACKAGED_MAX: usize = 4096;
/// Changes and signals that an alert tells.
const CHANGES_TOLD: usize = 24;
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
    packaged: BTreeSet<Vec<u8>>,
}

impl Default for Units {
    fn default() -> Self {
        Self { files: UnitFiles::new(BYTES_MAX), refused: 0, packaged: BTreeSet::new() }
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
            Found::Symlink { target, end } => {
                let linked = self.files.insert_link(&path, target);
                // The file at its end is read for what it says; what lies in a unit directory comes under its own name.
                match (&**end, self.files.resolve(&path, true)) {
                    (Found::Regular(file), Some(end)) if self.files.file(&end).is_none() => {
                        linked.and_then(|()| self.files.insert_file(&end, &file.content))
                    }
                    _ => linked,
                }
            }
            Found::Regular(file) => self.files.insert_file(&path, &file.content),
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
            self.packaged.insert(name.to_vec());
        }
        changed
    }

    /// Names of units that others imitate.
    pub(super) fn packaged(&self) -> &BTreeSet<Vec<u8>> {
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
                self.files.file(&path).is_some_and(|known| *known == now)
            }
            Found::Absent => self.files.file(&path).is_none() && self.files.link(&path).is_none(),
            Found::Directory { .. } | Found::Special { .. } | Found::Unreadable { .. } => true,
        }
    }
}

/// Tells what a unit comes to that it did not come to `before`, and what is suspicious about that. `packaged` are the
/// names that others imitate.
pub(super) fn weigh(
    finding: &mut Finding,
    before: Option<&Effective>,
    after: &Effective,
    packaged: &BTreeSet<Vec<u8>>,
) {
    // A name says nothing before there is a unit of it.
    let existing = before.filter(|before| before.state != State::Missing);
    let known = existing.map(|before| signals(before, packaged)).unwrap_or_default();
    let new = signals(after, packaged)
        .into_iter()
        .filter(|signal| !known.iter().any(|known| (known.slug, &known.why) == (signal.slug, &signal.why)));
    tell(finding, new);
    if let Some(unit) = &mut finding.unit {
        unit.changes = changes(before, Some(after)).iter().take(CHANGES_TOLD).map(Change::sentence).collect();
    }
}

/// Adds signals to a finding's score, and names them.
pub(super) fn tell(finding: &mut Finding, signals: impl IntoIterator<Item = Signal>) {
    for signal in signals.into_iter().take(SIGNALS_TOLD) {
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
