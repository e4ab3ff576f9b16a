//! Findings in operations on files.
//!
//! - `case`: a record under examination, and the finding that it makes.
//! - `routine`: what is no finding, because service managers do it as a matter of course.
//! - `content`: what the file says, which a finding waits for.
//! - `quadlet`: drop-ins of Quadlets, put together with their sources.
//! - `classify`: which rule it falls under. `weigh`: what raises or lowers its score.

mod case;
mod classify;
mod content;
mod quadlet;
mod routine;
mod weigh;

use std::hash::{DefaultHasher, Hasher};

use sensor_common::record::kind;
use sensor_common::watch;

pub(super) use self::case::{Case, S_IFLNK, S_IFMT, S_IFREG};
pub(super) use self::content::{AWAITED_MAX, Awaiting, DIRECTORIES_MAX, Looked, Reads};
pub(super) use self::quadlet::Merges;
use super::detector::{Detector, KnownFile};
use super::finding::{Finding, Who};
use super::memory::Operation;
use super::quiet::Quiet;
use super::rules;
use crate::event::decode::FileEvent;
use crate::event::path::{lossy, until_nul};
use crate::event::user::WatchClass;
use crate::lineage::Lineage;
use crate::subject::adjacent;
use crate::subject::dbus::request::Verb;
use crate::subject::part::{Meaning, Part, meaning};
use crate::subject::place::Place;
use crate::subject::service::{Scope, UnitPart};

impl Detector {
    /// Examines an operation. `out` receives up to two findings: a rename can take something away and bring
    /// something. A record on nothing that is configured costs no allocation.
    pub fn file(&mut self, event: &FileEvent<'_>, lineage: &mut Lineage, out: &mut impl FnMut(Finding)) {
        let record = &event.record;
        if record.watch == watch::NONE && record.other_watch == watch::NONE {
            return self.stay_quiet(Quiet::Nowhere);
        }
        let who = lineage.observe(&record.task).map(|handle| Who { handle, task: record.task });
        self.file_by(who, event, lineage, out);
    }

    pub(super) fn file_by(
        &mut self,
        who: Option<Who>,
        event: &FileEvent<'_>,
        lineage: &mut Lineage,
        out: &mut impl FnMut(Finding),
    ) {
        let record = &event.record;
        let number = record.header.kind;
        if matches!(number, kind::FILE_MKDIR | kind::FILE_RMDIR) {
            return self.stay_quiet(Quiet::Meaningless);
        }
        let (mut path, mut other) = (std::mem::take(&mut self.path), std::mem::take(&mut self.other));
        let place = self.watches.locate(record.watch, record.matched, &event.path, &mut path);
        let other_place =
            self.watches.locate(record.other_watch, record.other_matched, &event.other, &mut other);
        if number == kind::UMOUNT {
            self.mounts.note(record.header.boottime_ns, &path, None);
            self.stay_quiet(Quiet::Meaningless);
        } else if self.is_echo(event, &path) {
            self.stay_quiet(Quiet::Echo);
        } else {
            if number == kind::FILE_RENAME {
                self.departed(who, event, lineage, (&other, other_place), (&path, place), out);
            }
            self.arrived(who, event, lineage, (&path, place), &other, out);
        }
        (self.path, self.other) = (path, other);
    }

    fn is_echo(&mut self, event: &FileEvent<'_>, path: &[u8]) -> bool {
        let record = &event.record;
        let operation = Operation {
            kind: record.header.kind,
            tid: record.task.tid,
            path: hash(path),
            device: record.object.device,
            boottime_ns: record.header.boottime_ns,
        };
        let unique = matches!(record.header.kind, kind::FILE_SYMLINK | kind::FILE_LINK | kind::FILE_UNLINK);
        self.echoes.is_echo(operation, unique)
    }

    /// The old name of a rename.
    fn departed(
        &mut self,
        who: Option<Who>,
        event: &FileEvent<'_>,
        lineage: &mut Lineage,
        (path, place): (&[u8], Place),
        (new, new_place): (&[u8], Place),
        out: &mut impl FnMut(Finding),
    ) {
        let Place::In { class, scope, relative, .. } = place else { return };
        // A unit directory that is moved away takes its units along.
        let Meaning::Part(part) = meaning(class, scope, path, relative) else { return };
        if part.provisional
            || part.part == UnitPart::Other
            || Self::is_managers_own(who, class, true, lineage)
            || self.is_engines_own(who, class, lineage)
            || self.is_sensors_own(who, class)
            || class == WatchClass::PackageDatabase && self.is_packagers(who, lineage)
        {
            return;
        }
        let rule = if part.part == UnitPart::PackageDatabase {
            &rules::PACKAGE_DATABASE_EDITED
        } else if adjacent::of(class).is_some() {
            &rules::STARTUP_ENTRY_REMOVED
        } else if part.part == UnitPart::Program {
            &rules::PROGRAM_REMOVED
        } else if part.part == UnitPart::Directory {
            &rules::DIRECTORY_REPLACED
        } else {
            &rules::UNIT_REMOVED
        };
        let case = Case { event, who, path, other: new, place, target: b"", part, class };
        let mut finding = case.finding(rule);
        finding.event_type = "deletion";
        if new_place == Place::Nowhere {
            finding.reason(0, format!("moved to {}", lossy(new)));
        }
        self.weigh_removed(&mut finding, part.part, path, lineage);
        self.ask_client(&mut finding, part.name, lineage);
        self.await_content(&mut finding, &case);
        out(finding);
    }

    /// The object of every other operation, and the new name of a rename.
    fn arrived(
        &mut self,
        who: Option<Who>,
        event: &FileEvent<'_>,
        lineage: &mut Lineage,
        (path, place): (&[u8], Place),
        other: &[u8],
        out: &mut impl FnMut(Finding),
    ) {
        let record = &event.record;
        let number = record.header.kind;
        let remembered;
        let target = match number {
            kind::FILE_SYMLINK => until_nul(event.extra),
            kind::FILE_RENAME => {
                remembered = self.links.get(other).cloned().unwrap_or_default();
                &remembered
            }
            _ => b"",
        };
        if number == kind::FILE_SYMLINK && place != Place::Nowhere {
            self.links.insert(path.to_vec(), target.to_vec());
        }
        let known;
        let (path, place, other) = match place {
            Place::ByAnotherName { .. } => {
                let object = &record.object;
                known = self.files.get(&(object.device, object.inode)).cloned();
                match &known {
                    Some(file) => (&*file.path, file.place, path),
                    None => (path, place, other),
                }
            }
            _ => (path, place, other),
        };
        let (class, part) = match place {
            Place::Nowhere => return self.stay_quiet(Quiet::Nowhere),
            Place::In { class, scope, relative, .. } => match meaning(class, scope, path, relative) {
                Meaning::Part(part) => (class, part),
                Meaning::Temporary => return self.stay_quiet(Quiet::Temporary),
                Meaning::Nothing => return self.stay_quiet(Quiet::Meaningless),
            },
            Place::OnTheWay { class, scope } => (class, unnamed(b"", UnitPart::Directory, scope)),
            Place::ByAnotherName { class, scope, .. } => {
                let leaf = event.path.leaf().unwrap_or_default();
                (class, unnamed(leaf, UnitPart::Other, scope))
            }
        };
        let case = Case { event, who, path, other, place, target, part, class };
        self.remember(&case);
        let quiet = Self::is_quiet(&case, lineage);
        if number == kind::MOUNT && quiet != Some(Quiet::Meaningless) {
            let foreign = who.is_some_and(|who| lineage.is_foreign(who.task.mnt_ns));
            let rule = self.rule(&case, lineage).filter(|_| foreign);
            let finding = rule.map(|rule| {
                let mut finding = case.finding(rule);
                finding.reason(0, "made in a private mount namespace, it has come back to the host's");
                case.weigh(&mut finding, lineage);
                finding
            });
            self.mounts.note(record.header.boottime_ns, path, finding);
        }
        if let Some(why) = quiet {
            if matches!(why, Quiet::GeneratorOutput | Quiet::TransientScope) {
                self.excused.insert(hash(path), record.header.boottime_ns);
            }
            if why == Quiet::GeneratorOutput {
                self.note_content(&case);
            }
            return self.stay_quiet(why);
        }
        if self.is_sensors_own(who, class) {
            return self.stay_quiet(Quiet::OwnState);
        }
        if self.is_engines_own(who, class, lineage) {
            self.note_engine_write(&case);
            return self.stay_quiet(Quiet::EngineOwnFiles);
        }
        if class == WatchClass::PackageDatabase && self.is_packagers(who, lineage) {
            return self.stay_quiet(Quiet::PackageDatabase);
        }
        let Some(rule) = self.rule(&case, lineage) else { return self.stay_quiet(Quiet::Meaningless) };
        let mut finding = case.finding(rule);
        case.weigh(&mut finding, lineage);
        if number == kind::FILE_UNLINK {
            self.weigh_removed(&mut finding, case.part.part, path, lineage);
        }
        self.ask_client(&mut finding, case.part.name, lineage);
        self.await_content(&mut finding, &case);
        out(finding);
    }

    /// Whether the sensor itself writes its own files.
    fn is_sensors_own(&self, who: Option<Who>, class: WatchClass) -> bool {
        class == WatchClass::SensorState
            && self.sensor != 0
            && who.is_some_and(|who| who.task.tgid == self.sensor)
    }

    /// Remembers a finished file's path by its identity.
    fn remember(&mut self, case: &Case<'_>) {
        let object = &case.event.record.object;
        let written = matches!(
            case.event.record.header.kind,
            kind::FILE_OPEN_WRITE | kind::FILE_RENAME | kind::FILE_LINK
        );
        if written && object.inode != 0 && matches!(case.place, Place::In { .. }) {
            let file = KnownFile { path: case.path.into(), place: case.place };
            self.files.insert((object.device, object.inode), file);
        }
    }

    /// What a manager does, it does on a client's request.
    fn ask_client(&self, finding: &mut Finding, unit: &[u8], lineage: &mut Lineage) {
        let Some(who) = finding.who else { return };
        let now = finding.boottime_ns;
        if Self::is_manager(lineage, who.handle) {
            finding.reason(0, "made by the service manager on a client's request");
            finding.requester =
                self.requester(who.handle, now, unit, Verb::changes_files, lineage).map(Box::new);
        } else if let Some(manager) = routine::generators_manager(lineage, who.handle) {
            finding.reason(0, "made by a generator, which the service manager runs at each reload");
            finding.requester =
                self.requester(manager, now, unit, Verb::starts_processes, lineage).map(Box::new);
        } else {
            let asker = self.asked_of_engine(now, &who, lineage);
            if asker.is_some() && self.is_engine(lineage, who.handle) {
                finding.reason(0, "made by a container engine on a client's request");
            }
            finding.requester = asker.map(Box::new);
        }
    }
}

pub(super) fn hash(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(path);
    hasher.finish()
}

fn unnamed(name: &[u8], part: UnitPart, scope: Scope) -> Part<'_> {
    Part { name, part, scope, directory: true, provisional: false, type_level: false }
}
