//! Findings wait for what the file says, and are completed by it.

use sensor_common::record::kind;

use super::case::Case;
use crate::detect::detector::Detector;
use crate::detect::finding::{Finding, Phase};
use crate::detect::units::{Manager, Units, home_of, weigh};
use crate::event::content::{Expected, FileContent, Found, Want};
use crate::event::path::lossy;
use crate::subject::place::Place;
use crate::subject::service::UnitPart;
use crate::subject::unit::effective::Effective;

/// Paths whose content findings wait for.
pub(in crate::detect) const AWAITED_MAX: usize = 1024;
/// Findings of different processes that wait for one path's.
const FINDINGS_PER_PATH: usize = 4;
/// Entries of one directory that are asked for.
const ENTRIES_MAX: usize = crate::event::content::NAMES_MAX;

/// A finding that waits.
#[derive(Clone, Debug)]
pub(in crate::detect) struct Awaiting {
    finding: Finding,
    /// The unit, and whose.
    unit: Option<(Vec<u8>, Manager)>,
    /// It is about the directory that the path lies in, so more than one file belongs to it.
    directory: bool,
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
        self.want(Want::File { path: path.to_vec(), expected });
        self.written.insert(path.to_vec(), record.header.boottime_ns);
        let unit = of_unit(case).map(|manager| (case.part.name.to_vec(), manager));
        let awaiting = Awaiting { finding: finding.clone(), unit, directory: false };
        self.await_as(path, awaiting);
        finding.awaits_content = true;
    }

    /// The same for one that has been completed otherwise: what it waits for is noted again with it.
    pub(in crate::detect) fn await_again(&mut self, finding: &mut Finding) {
        if finding.awaits_content {
            let path = finding.subject.clone().into_bytes();
            let unit = self.awaiting.get(&path).and_then(|all| all.first()?.unit.clone());
            self.await_as(&path, Awaiting { finding: finding.clone(), unit, directory: false });
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

    fn want(&mut self, want: Want) {
        if self.wants.len() < ENTRIES_MAX {
            self.wants.push(want);
        }
    }

    /// What the files that were asked for say.
    pub fn content(&mut self, content: &FileContent, out: &mut impl FnMut(Finding)) {
        if let Some(id) = content.survey {
            self.compare(id, content);
        }
        let awaiting = self.awaiting.remove(&content.path).unwrap_or_default();
        let effective = |units: &Units, one: &Awaiting| {
            one.unit.as_ref().and_then(|(name, manager)| units.effective(manager, name))
        };
        let before: Vec<Option<Effective>> = awaiting.iter().map(|one| effective(&self.units, one)).collect();
        self.units.take(content);
        if let Found::Symlink { end, .. } = &content.found {
            self.follow_link(&content.path, end);
        }
        let is_directory = matches!(content.found.end(), Found::Directory { .. });
        if let Found::Directory { names, .. } = content.found.end() {
            if !content.baseline {
                self.look_into(&content.path, names.iter().map(|name| name.0.as_slice()), &awaiting);
            }
        }
        for (mut one, before) in awaiting.into_iter().zip(before) {
            describe(&mut one.finding, &content.found);
            if let Some(after) = effective(&self.units, &one) {
                weigh(&mut one.finding, before.as_ref(), &after, self.units.packaged());
                self.follow_programs(&after);
            }
            one.finding.awaits_content = false;
            // Of a directory more is to come: it is told when its time is up.
            one.finding.phase = if one.directory || is_directory { Phase::Held } else { Phase::Closing };
            out(one.finding);
        }
    }

    /// A directory of drop-ins or links appeared in one piece: what it holds belongs to the same finding.
    fn look_into<'a>(&mut self, path: &[u8], names: impl Iterator<Item = &'a [u8]>, awaiting: &[Awaiting]) {
        for name in names {
            let below = [path, name].join(&b'/');
            self.want(Want::File { path: below.clone(), expected: Expected::Anything });
            for one in awaiting {
                self.await_as(&below, Awaiting { directory: true, ..one.clone() });
            }
        }
    }
}

/// Whose unit a file is part of; `None` where it is none of a unit's.
fn of_unit(case: &Case<'_>) -> Option<Manager> {
    let Place::In { scope, owner, .. } = case.place else { return None };
    let unit = matches!(
        case.part.part,
        UnitPart::Fragment | UnitPart::Alias | UnitPart::DropIn | UnitPart::DependencyLink
    );
    unit.then(|| Manager { scope, owner, home: home_of(case.path).to_vec() })
}

/// Where the daemon finds the file; `None` where the host's path is not known.
fn host_path<'a>(case: &Case<'a>) -> Option<&'a [u8]> {
    let known = matches!(case.place, Place::In { .. }) && case.path.starts_with(b"/");
    (known && case.part.part != UnitPart::Directory).then_some(case.path)
}

/// What is to be said of the file whatever it is for.
fn describe(finding: &mut Finding, found: &Found) {
    match found.end() {
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
