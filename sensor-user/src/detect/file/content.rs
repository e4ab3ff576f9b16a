//! Findings wait for what the file says, and are completed by it.

use sensor_common::record::kind;

use super::case::Case;
use crate::detect::detector::Detector;
use crate::detect::finding::{Finding, Phase};
use crate::detect::quiet::Quiet;
use crate::detect::units::{Manager, home_of, tell, weigh};
use crate::event::content::{Expected, FileContent, Found, Want};
use crate::event::path::lossy;
use crate::subject::place::Place;
use crate::subject::service::UnitPart;
use crate::subject::unit::effective::Effective;
use crate::subject::unit::signals::command::of_script;
use crate::subject::unit::signals::unit::{of_manager, of_udev};
use crate::subject::unit::store::Digest;

/// Paths whose content findings wait for.
pub(in crate::detect) const AWAITED_MAX: usize = 1024;
/// Findings of different processes that wait for one path's.
const FINDINGS_PER_PATH: usize = 4;
/// Directories that are being looked into.
pub(in crate::detect) const DIRECTORIES_MAX: usize = 64;
/// Wants that wait to be handed over.
const WANTS_MAX: usize = 256;
/// Reasons of one finding, after which the files of a directory bring no further ones.
const REASONS_MAX: usize = 24;

/// A finding that waits.
#[derive(Clone, Debug)]
pub(in crate::detect) struct Awaiting {
    finding: Finding,
    /// The unit, and whose.
    unit: Option<(Vec<u8>, Manager)>,
    /// Nothing is to be told where the file is what it was.
    only_if_changed: bool,
}

/// One whose file is being looked at.
#[derive(Debug)]
pub(in crate::detect) struct Looked {
    awaiting: Awaiting,
    /// The unit, as it was known to be.
    before: Option<Effective>,
    /// Whether there is time for what the unit has become.
    affordable: bool,
}

impl Detector {
    /// Has the file read that a finding is about; the finding is held until its content is there.
    pub(super) fn await_content(&mut self, finding: &mut Finding, case: &Case<'_>) {
        let record = &case.event.record;
        let expected = match (record.header.kind, finding.event_type) {
            (kind::MOUNT | kind::FILE_ATTRIBUTE | kind::FILE_CREATE | kind::FILE_MKNOD, _) => return,
            (kind::FILE_UNLINK, _) | (kind::FILE_RENAME, "deletion") => Expected::Gone(record.object.inode),
            (kind::FILE_SYMLINK, _) => Expected::Present,
            // A file that was found when its directory appeared.
            _ if finding.who.is_none() => Expected::Anything,
            (_, _) if record.object.inode != 0 => Expected::Inode(record.object.inode),
            _ => Expected::Present,
        };
        // What is still open is read when it is closed; what is under an unfinished name, when it gets its own.
        if finding.phase == Phase::Held {
            return;
        }
        let Some(path) = host_path(case) else { return };
        if !self.want(Want::File { path: path.to_vec(), expected }) {
            return;
        }
        self.written.insert(path.to_vec(), record.header.boottime_ns);
        let unit = of_unit(case).map(|manager| (case.part.name.to_vec(), manager));
        let awaiting = Awaiting { finding: finding.clone(), unit, only_if_changed: false };
        self.await_as(path, awaiting);
        finding.awaits_content = true;
    }

    /// Has a file read that is no finding, to know it when it is found again.
    pub(super) fn note_content(&mut self, case: &Case<'_>) {
        let finished = matches!(
            case.event.record.header.kind,
            kind::FILE_CLOSE_WRITE | kind::FILE_SYMLINK | kind::FILE_RENAME | kind::FILE_LINK
        );
        if let Some(path) = host_path(case).filter(|_| finished) {
            self.want(Want::File { path: path.to_vec(), expected: Expected::Present });
        }
    }

    /// The same for one that has been completed otherwise: what it waits for is noted again with it.
    pub(in crate::detect) fn await_again(&mut self, finding: &mut Finding, only_if_changed: bool) {
        if finding.awaits_content {
            let path = finding.subject.clone().into_bytes();
            let unit = self.awaiting.get(&path).and_then(|all| all.first()?.unit.clone());
            self.await_as(&path, Awaiting { finding: finding.clone(), unit, only_if_changed });
        }
    }

    fn await_as(&mut self, path: &[u8], awaiting: Awaiting) {
        let process = awaiting.finding.process;
        let mut all = self.awaiting.get(path).cloned().unwrap_or_default();
        all.retain(|other: &Awaiting| other.finding.process != process);
        if all.len() < FINDINGS_PER_PATH {
            all.push(awaiting);
        }
        self.awaiting.insert(path.to_vec(), all);
    }

    /// Whether there was room for it.
    fn want(&mut self, want: Want) -> bool {
        let room = self.wants.len() < WANTS_MAX;
        if room {
            self.wants.push(want);
        }
        room
    }

    /// What the files that were asked for say, at `now`.
    pub fn content(&mut self, now: u64, content: &FileContent, out: &mut impl FnMut(Finding)) {
        if let Some(id) = content.survey {
            self.compare(id, content);
            for looked in self.directories.get_mut(&id).into_iter().flatten() {
                describe(&mut looked.awaiting.finding, &content.found);
            }
        }
        let awaiting = self.awaiting.remove(&content.path).unwrap_or_default();
        let looked: Vec<Looked> = awaiting.into_iter().map(|one| self.look(now, one)).collect();
        let changed = self.units.take(content);
        if let Found::Symlink { end, .. } = &content.found {
            self.follow_link(&content.path, end);
        }
        if looked.is_empty() {
            return;
        }
        if matches!(content.found.end(), Found::Directory { .. }) {
            return self.look_into(content, looked);
        }
        for mut one in looked {
            describe(&mut one.awaiting.finding, &content.found);
            if one.awaiting.unit.is_none() {
                weigh_text(&mut one.awaiting.finding, &content.found);
            }
            self.complete(now, one, changed, out);
        }
    }

    /// What the unit is before its change is known.
    fn look(&mut self, now: u64, awaiting: Awaiting) -> Looked {
        let affordable = awaiting.unit.is_none() || self.budget.has_left(now);
        let before = awaiting.unit.as_ref().filter(|_| affordable);
        let before = before.and_then(|(name, manager)| self.units.effective(manager, name));
        if let Some(before) = &before {
            self.budget.charge(now, before);
        }
        Looked { awaiting, before, affordable }
    }

    /// Says what the change has made of the unit.
    fn complete(&mut self, now: u64, looked: Looked, changed: bool, out: &mut impl FnMut(Finding)) {
        let Looked { awaiting: Awaiting { mut finding, unit, only_if_changed }, before, affordable } = looked;
        if only_if_changed && !changed {
            return self.stay_quiet(Quiet::GeneratorOutput);
        }
        if !affordable {
            finding.reason(0, "of so many changes at once this one was not looked at for what it does");
        } else if let Some((name, manager)) = unit.filter(|_| changed) {
            if let Some(after) = self.units.effective(&manager, &name) {
                self.budget.charge(now, &after);
                weigh(&mut finding, before.as_ref(), &after, self.units.packaged());
                self.follow_programs(&after);
            }
        }
        finding.awaits_content = false;
        finding.phase = Phase::Closing;
        out(finding);
    }

    /// A directory of drop-ins or links appeared in one piece: what it holds belongs to the same finding, and is weighed
    /// when all of it is known.
    fn look_into(&mut self, directory: &FileContent, mut looked: Vec<Looked>) {
        for one in &mut looked {
            describe(&mut one.awaiting.finding, &directory.found);
        }
        let id = self.effects.next_id();
        self.want(Want::Survey { id, paths: vec![directory.path.clone()] });
        self.directories.insert(id, looked);
    }

    /// All of a directory was told.
    pub fn looked_into(&mut self, now: u64, id: u64, out: &mut impl FnMut(Finding)) {
        for looked in self.directories.remove(&id).unwrap_or_default() {
            self.complete(now, looked, true, out);
        }
    }
}

/// What is suspicious about a file that is no unit's: a script, a generator, a line of tmpfiles.d, the managers' own
/// configuration.
fn weigh_text(finding: &mut Finding, found: &Found) {
    let Some(regular) = found.regular() else { return };
    let Some(part) = finding.unit.as_ref().map(|unit| unit.part) else { return };
    let signals = match part {
        UnitPart::Directory | UnitPart::Fragment | UnitPart::DropIn => return,
        UnitPart::ManagerConfig => of_manager(&Digest::new(&regular.content)),
        UnitPart::UdevRules => of_udev(&regular.content),
        // Of a binary there is nothing to read.
        _ if regular.content.starts_with(b"\x7fELF") => return,
        _ => of_script(&regular.content),
    };
    tell(finding, signals);
}

/// Whose unit a file is part of; `None` where it is none of a unit's.
fn of_unit(case: &Case<'_>) -> Option<Manager> {
    let Place::In { scope, owner, .. } = case.place else { return None };
    let unit = case.part.part.is_of_unit();
    unit.then(|| Manager { scope, owner, home: home_of(case.path).to_vec() })
}

/// Where the daemon finds the file; `None` where the host's path is not known.
fn host_path<'a>(case: &Case<'a>) -> Option<&'a [u8]> {
    let known = matches!(case.place, Place::In { .. }) && case.path.starts_with(b"/");
    (known && case.part.part != UnitPart::Directory).then_some(case.path)
}

/// What is to be said of the file whatever it is for.
fn describe(finding: &mut Finding, found: &Found) {
    if finding.reasons.len() >= REASONS_MAX {
        return;
    }
    match found.end() {
        Found::Directory { names, truncated: true } => {
            finding.reason(10, format!("it holds more than the {} files that were looked at", names.len()));
        }
        Found::Special { .. } => {
            finding.reason(0, "it is a FIFO, socket or device: systemd does not read it as a unit");
        }
        Found::Unreadable { error } => finding.reason(0, format!("what it says could not be read: {error}")),
        Found::Absent if matches!(found, Found::Symlink { .. }) => {
            finding.reason(0, "the link leads nowhere");
        }
        Found::Regular(regular) => {
            if regular.truncated() {
                finding.reason(
                    0,
                    format!(
                        "of its {} bytes the first {} were looked at",
                        regular.size,
                        regular.content.len()
                    ),
                );
            }
            if regular.unstable {
                finding.reason(0, "it changed while it was read");
            }
            if let (Found::Symlink { .. }, 0o002) = (found, regular.mode & 0o002) {
                finding.reason(10, "everyone may write to the file that it leads to");
            }
        }
        Found::Absent | Found::Directory { .. } | Found::Symlink { .. } => {}
    }
    if let Found::Symlink { target, .. } = found {
        if let Some(file) = &mut finding.file {
            file.target.get_or_insert_with(|| lossy(target).into_owned());
        }
    }
}
