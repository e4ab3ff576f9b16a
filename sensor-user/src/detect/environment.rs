//! Files out of which units take variables (`EnvironmentFile=`, systemd.exec(5)): those that lie where they usually do,
//! and those that units name elsewhere, which are read and watched from then on. What is written there is told by what
//! it makes of the units.

use super::detector::Detector;
use super::finding::Finding;
use super::units::{CHANGES_TOLD, Manager, new_signals, tell};
use crate::event::content::{Expected, Want};
use crate::event::path::lossy;
use crate::event::user::WatchClass;
use crate::subject::service::Scope;
use crate::subject::unit::change::{Change, changes, variable_changes};
use crate::subject::unit::effective::Effective;
use crate::subject::unit::environment::{Environment, is_pattern};
use crate::subject::unit::load::split;
use crate::subject::unit::signals::Weight;
use crate::subject::unit::signals::unit::of_variable;

/// Units of which an alert tells what a file makes of them.
const UNITS_TOLD: usize = 4;

/// What the kernel makes up is no file of variables, and reading may take something away from another reader.
const MADE_UP: [&[u8]; 3] = [b"/proc/", b"/sys/", b"/dev/"];

/// A file of variables before its change, and the units that take them.
#[derive(Debug)]
pub(super) struct Shared {
    path: Vec<u8>,
    before: Option<Environment>,
    units: Vec<Using>,
    more: usize,
}

#[derive(Debug)]
struct Using {
    name: Vec<u8>,
    manager: Manager,
    before: Option<Effective>,
}

impl Detector {
    /// What a file of variables is, and means to units, before its change is known; `None` where it is none.
    pub(super) fn shared_environment(&mut self, now: u64, path: &[u8]) -> Option<Shared> {
        if !self.units.is_environment(path) {
            return None;
        }
        let mut all = self.units.units_with_environment(path);
        let more = all.len().saturating_sub(UNITS_TOLD);
        all.truncate(UNITS_TOLD);
        let mut units = Vec::with_capacity(all.len());
        for (name, manager) in all {
            if !self.budget.has_left(now) {
                break;
            }
            let before = self.units.effective(&manager, &name);
            if let Some(before) = &before {
                self.budget.charge(now, before);
            }
            units.push(Using { name, manager, before });
        }
        Some(Shared { path: path.to_vec(), before: self.units.environment(path).cloned(), units, more })
    }

    /// Says what a file of variables has made of the units that take them.
    pub(super) fn weigh_environment(&mut self, now: u64, finding: &mut Finding, shared: &Shared) {
        let mut told = Vec::new();
        let mut signals = Vec::new();
        for using in &shared.units {
            let Some(after) = self.units.effective(&using.manager, &using.name) else { continue };
            self.budget.charge(now, &after);
            let name = lossy(&using.name);
            finding.reason(0, format!("{name} takes variables from it"));
            let found = changes(using.before.as_ref(), Some(&after));
            told.extend(found.iter().map(|change| format!("{name}: {}", change.sentence())));
            let new = new_signals(using.before.as_ref(), &after, self.units.packaged());
            if new.iter().any(|signal| signal.weight >= Weight::Strong) {
                finding.reason(15, format!("{name} runs with that when it is started next"));
            }
            signals.extend(new);
        }
        if shared.more > 0 {
            finding.reason(0, format!("so do {} other units", shared.more));
        }
        if shared.units.is_empty() {
            let after = self.units.environment(&shared.path);
            let found = variable_changes(&shared.path, shared.before.as_ref(), after);
            told.extend(found.iter().map(Change::sentence));
            let added = found.iter().filter_map(|change| match change {
                Change::Variable { to: Some(to), .. } => of_variable(&to.text),
                _ => None,
            });
            signals.extend(added);
        }
        signals.dedup_by(|a, b| a.why == b.why);
        tell(finding, signals);
        if let Some(unit) = &mut finding.unit {
            told.truncate(CHANGES_TOLD);
            unit.changes = told;
        }
    }

    /// The files of variables that a unit file names, as far as its own text says: watched from now on, and read where
    /// the unit itself is not about to be told (`read`).
    pub(super) fn note_environment_files(&mut self, unit_file: &[u8], read: bool) {
        let (manager, named) = self.units.environment_files_of(unit_file);
        self.watch_environment_files(&manager, &named);
        for path in named.into_iter().filter(|path| read && may_be_read(&manager, path)) {
            if !is_pattern(&path) && self.units.environment(&path).is_none() {
                self.want(Want::File { path, expected: Expected::Anything });
            }
        }
    }

    /// The same of an effective unit, whose specifiers are known; gives what there is to be read of its files of
    /// variables.
    pub(super) fn unread_environment(&mut self, manager: &Manager, unit: &Effective) -> Vec<Vec<u8>> {
        let named: Vec<Vec<u8>> = unit.environment_files().map(<[u8]>::to_vec).collect();
        self.watch_environment_files(manager, &named);
        let readable = unit.unread_variables.iter().filter(|path| may_be_read(manager, path));
        let mut paths: Vec<Vec<u8>> = readable
            .filter_map(|path| {
                // Of a pattern the directory is read, where only the last name is one.
                let directory = split(path).0;
                if is_pattern(path) {
                    (!is_pattern(directory)).then(|| directory.to_vec())
                } else {
                    Some(path.clone())
                }
            })
            .collect();
        paths.dedup();
        paths
    }

    fn watch_environment_files(&mut self, manager: &Manager, named: &[Vec<u8>]) {
        for path in named.iter().filter(|path| may_be_read(manager, path)) {
            self.units.name_environment(path, manager.scope);
            if !is_pattern(path) {
                self.watch_environment_file(path, manager.scope);
            }
        }
    }

    /// Has a file of variables watched, unless it lies where everything is.
    pub(super) fn watch_environment_file(&mut self, path: &[u8], scope: Scope) {
        let plain = !path.split(|byte| *byte == b'/').any(|name| matches!(name, b".." | b"."));
        let watched = self.watches.classed().any(|(watch, class)| {
            let rest = path.strip_prefix(watch.path.as_bytes());
            !class.is_followed() && rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        });
        if plain && !watched {
            self.followed.add(path, WatchClass::EnvironmentFile, scope);
        }
    }
}

/// Whether a file is to be read because a unit names it. A user's own units can name any file, and what only root may
/// read is not for a user to have read, and told: of theirs only what lies in their home.
pub(super) fn may_be_read(manager: &Manager, path: &[u8]) -> bool {
    let own = || path.strip_prefix(&manager.home[..]).is_some_and(|rest| rest.first() == Some(&b'/'));
    let allowed = manager.scope == Scope::System || !manager.home.is_empty() && own();
    path.starts_with(b"/") && allowed && !MADE_UP.iter().any(|directory| path.starts_with(directory))
}
