//! Findings wait for what the file says, and are completed by it.

use sensor_common::record::kind;
use sha2::{Digest as _, Sha256};

use super::case::Case;
use super::quadlet::Merged;
use crate::detect::agents::{absolute, applied};
use crate::detect::containers::{Weighed, tell_manifest, tell_quadlet, weigh_file};
use crate::detect::detector::Detector;
use crate::detect::environment::may_be_read;
use crate::detect::finding::{Finding, Phase};
use crate::detect::programs::{self, Program};
use crate::detect::quiet::Quiet;
use crate::detect::rules::techniques::CONTAINER_SERVICE;
use crate::detect::units::{Manager, home_of, tell};
use crate::event::content::{Expected, FileContent, Found, Regular, Want};
use crate::event::path::lossy;
use crate::event::user::WatchClass;
use crate::lineage::image::base_name;
use crate::subject::container::books::Book;
use crate::subject::container::cli;
use crate::subject::container::manifest::Manifest;
use crate::subject::container::quadlet;
use crate::subject::place::Place;
use crate::subject::service::{Scope, UnitPart};
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
/// Programs of a unit that are looked at.
const PROGRAMS_MAX: usize = 16;
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
    /// What is read for it.
    reads: Reads,
}

/// What a finding waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::detect) enum Reads {
    /// What its own file says.
    Itself,
    /// What the unit leads to: programs, and files of variables.
    Around,
    /// The manifest that its file leads to.
    Manifest,
    /// The manifest that a command applies; before it is read there is no finding.
    Asked {
        /// The command.
        engine: String,
        /// What it does.
        verb: &'static str,
    },
}

impl Awaiting {
    /// The finding, to be told more.
    pub(in crate::detect) fn finding(&mut self) -> &mut Finding {
        &mut self.finding
    }

    /// One that waits for a manifest.
    pub(in crate::detect) fn of_manifest(finding: Finding, reads: Reads) -> Self {
        Self { finding, unit: None, only_if_changed: false, reads }
    }
}

/// One whose file is being looked at.
#[derive(Debug)]
pub(in crate::detect) struct Looked {
    awaiting: Awaiting,
    /// The unit, as it was known to be.
    before: Option<Effective>,
    /// Whether there is time for what the unit has become.
    affordable: bool,
    /// The programs that are being looked at.
    paths: Vec<Vec<u8>>,
    /// What was found of them.
    programs: Vec<Program>,
    /// The finding says already what the unit does.
    weighed: bool,
}

impl Looked {
    /// What its file is.
    pub(super) fn of(&self) -> Option<UnitPart> {
        Some(self.awaiting.finding.unit.as_ref()?.part)
    }
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
        // An engine's database is no text.
        if case.class == WatchClass::PackageDatabase {
            return;
        }
        if case.class == WatchClass::EngineState && Book::of(path).is_none() {
            return;
        }
        self.want(Want::File { path: path.to_vec(), expected });
        self.written.insert(path.to_vec(), record.header.boottime_ns);
        let unit = of_unit(case).map(|manager| (case.part.name.to_vec(), manager));
        let awaiting =
            Awaiting { finding: finding.clone(), unit, only_if_changed: false, reads: Reads::Itself };
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
            self.await_as(
                &path,
                Awaiting { finding: finding.clone(), unit, only_if_changed, reads: Reads::Itself },
            );
        }
    }

    pub(in crate::detect) fn await_as(&mut self, path: &[u8], awaiting: Awaiting) {
        let process = awaiting.finding.process;
        let mut all = self.awaiting.get(path).cloned().unwrap_or_default();
        all.retain(|other: &Awaiting| other.finding.process != process);
        if all.len() < FINDINGS_PER_PATH {
            all.push(awaiting);
        }
        self.awaiting.insert(path.to_vec(), all);
    }

    /// Has something read. Whether there was room must change nothing: in a replay nobody takes what is wanted.
    pub(in crate::detect) fn want(&mut self, want: Want) {
        if self.wants.len() < WANTS_MAX {
            self.wants.push(want);
        }
    }

    /// Has all of these answered.
    pub fn want_all(&mut self, wants: impl IntoIterator<Item = Want>) {
        for want in wants {
            self.want(want);
        }
    }

    /// What the files that were asked for say, at `now`.
    pub fn content(&mut self, now: u64, content: &FileContent, out: &mut impl FnMut(Finding)) {
        if content.survey.is_some_and(|id| self.take_book(id, content) || self.take_quadlet(id, content)) {
            return;
        }
        let engines = self.take_engine_file(content);
        if let Some(id) = content.survey {
            self.compare(id, content);
            let looked = self.directories.get_mut(&id).into_iter().flatten();
            for looked in looked {
                // What is odd about what a unit leads to is not odd about the unit.
                if looked.awaiting.reads == Reads::Around {
                    looked.programs.extend(Program::new(content, &looked.paths));
                } else {
                    describe(&mut looked.awaiting.finding, &content.found);
                }
            }
        }
        let awaiting = self.awaiting.remove(&content.path).unwrap_or_default();
        let shared = if awaiting.is_empty() { None } else { self.shared_environment(now, &content.path) };
        let looked: Vec<Looked> = awaiting.into_iter().map(|one| self.look(now, one)).collect();
        let changed = engines || self.units.take(content);
        if let Found::Symlink { end, .. } = &content.found {
            self.follow_link(&content.path, end);
        }
        self.note_environment_files(&content.path, looked.is_empty());
        if self.units.is_environment(&content.path) && content.found.regular().is_some() {
            self.watch_environment_file(&content.path, Scope::System);
        }
        let of_kubelet = |one: &Looked| {
            one.awaiting.finding.unit.as_ref().is_some_and(|unit| unit.part == UnitPart::KubeletConfig)
        };
        self.kubelet_configured(content, looked.iter().any(of_kubelet));
        if let Some(finding) = self.engine_configured(now, content) {
            out(finding);
        }
        if looked.is_empty() {
            return;
        }
        if matches!(content.found.end(), Found::Directory { .. }) {
            return self.look_into(content, looked);
        }
        for mut one in looked {
            match one.awaiting.reads {
                Reads::Asked { engine, verb } => {
                    if let Some(finding) = applied(one.awaiting.finding, &engine, verb, content) {
                        out(finding);
                    }
                    continue;
                }
                Reads::Manifest => {
                    if let Some(file) = content.found.regular() {
                        tell_manifest(&mut one.awaiting.finding, &Manifest::read(&file.content));
                    }
                }
                Reads::Itself | Reads::Around => {
                    describe(&mut one.awaiting.finding, &content.found);
                    if one.awaiting.reads == Reads::Itself {
                        one.awaiting.finding.content_sha256 = Some(digest(&content.found));
                    }
                    let own = one.awaiting.unit.is_none();
                    if own && content.found.regular().is_some() {
                        match self.merge_quadlet(&content.path, one) {
                            Some(other) => one = other,
                            None => continue,
                        }
                    }
                    let leads_to =
                        own.then(|| weigh_text(&mut one.awaiting.finding, &content.found)).flatten();
                    if let (true, Some(shared)) = (own, &shared) {
                        self.weigh_environment(now, &mut one.awaiting.finding, shared);
                    }
                    if let Some(path) = leads_to {
                        self.await_manifest(one.awaiting.finding, parent(&content.path), &path);
                        continue;
                    }
                }
            }
            one.awaiting.reads = Reads::Itself;
            self.complete(now, one, changed, out);
        }
    }

    /// A finding waits for the manifest that its file in `directory` leads to.
    fn await_manifest(&mut self, finding: Finding, directory: &[u8], written: &[u8]) {
        let path = absolute(directory, written);
        self.want(Want::File { path: path.clone(), expected: Expected::Anything });
        self.await_as(&path, Awaiting::of_manifest(finding, Reads::Manifest));
    }

    /// What the unit is before its change is known.
    fn look(&mut self, now: u64, awaiting: Awaiting) -> Looked {
        let affordable = awaiting.unit.is_none() || self.budget.has_left(now);
        let before = awaiting.unit.as_ref().filter(|_| affordable);
        let before = before.and_then(|(name, manager)| self.units.effective(manager, name));
        if let Some(before) = &before {
            self.budget.charge(now, before);
        }
        Looked { awaiting, before, affordable, paths: Vec::new(), programs: Vec::new(), weighed: false }
    }

    /// Says what the change has made of the unit.
    fn complete(&mut self, now: u64, looked: Looked, changed: bool, out: &mut impl FnMut(Finding)) {
        let Looked { awaiting, before, affordable, programs, weighed, .. } = looked;
        if awaiting.only_if_changed && !changed {
            return self.stay_quiet(Quiet::GeneratorOutput);
        }
        let Awaiting { mut finding, unit, only_if_changed, reads } = awaiting;
        if !affordable {
            finding.reason(0, "of so many changes at once this one was not looked at for what it does");
        } else if let Some((name, manager)) = unit.filter(|_| changed) {
            if let Some(after) = self.units.effective(&manager, &name) {
                self.budget.charge(now, &after);
                let (mut wanted, mut paths) = (Vec::new(), Vec::new());
                if reads != Reads::Around && self.directories.len() < DIRECTORIES_MAX {
                    wanted = self.unread_environment(&manager, &after);
                    paths = new_programs(&manager, before.as_ref(), &after);
                }
                // With further variables it is another unit.
                let as_it_was = (!wanted.is_empty()).then(|| finding.clone());
                if !weighed {
                    self.weigh_unit(now, &mut finding, &manager, before.as_ref(), &after);
                }
                programs::weigh(&mut finding, &after, programs);
                finding.programs = programs::all_of(&after);
                tell_engine(&mut finding, &after);
                self.follow_programs(&after);
                wanted.extend(paths.iter().cloned());
                if !wanted.is_empty() {
                    // A filesystem that does not answer must not cost what is known already.
                    out(Finding { awaits_content: true, phase: Phase::Closing, ..finding.clone() });
                    let weighed = as_it_was.is_none();
                    let finding = as_it_was.unwrap_or(finding);
                    let unit = Some((name, manager));
                    let awaiting = Awaiting { finding, unit, only_if_changed, reads: Reads::Around };
                    let programs = Vec::new();
                    let looked = Looked { awaiting, before, affordable, paths, programs, weighed };
                    return self.look_around(looked, wanted);
                }
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

    /// Has what a unit leads to read, as far as it is not known: it is weighed with that.
    fn look_around(&mut self, looked: Looked, paths: Vec<Vec<u8>>) {
        let id = self.effects.next_around();
        self.want(Want::Survey { id, paths });
        self.directories.insert(id, vec![looked]);
    }

    /// All of a directory, or of what a unit leads to, was told.
    pub fn looked_into(&mut self, now: u64, id: u64, out: &mut impl FnMut(Finding)) {
        if let Some(Merged { mut looked, name, directory, text, drop_ins }) = self.merged_quadlet(id) {
            let finding = &mut looked.awaiting.finding;
            finding.reason(
                0,
                match &directory {
                    Some(directory) => format!(
                        "told is what {name} in {} is with {drop_ins} drop-in{}",
                        lossy(directory),
                        if drop_ins == 1 { "" } else { "s" }
                    ),
                    None => format!("{name} lies nowhere: so far there is no service that it adds to"),
                },
            );
            let quadlet = quadlet::read(&name, &text);
            match quadlet.and_then(|quadlet| tell_quadlet(finding, quadlet)).zip(directory) {
                Some((manifest, directory)) => {
                    self.await_manifest(looked.awaiting.finding, &directory, &manifest);
                }
                None => self.complete(now, looked, false, out),
            }
        }
        for looked in self.directories.remove(&id).unwrap_or_default() {
            self.complete(now, looked, true, out);
        }
    }
}

/// The programs that a unit runs, and did not run before, as far as they may be looked at.
fn new_programs(manager: &Manager, before: Option<&Effective>, after: &Effective) -> Vec<Vec<u8>> {
    let known = before.map(programs::of_unit).unwrap_or_default();
    let mut found = programs::of_unit(after);
    found.retain(|path| !known.contains(path) && may_be_read(manager, path));
    found.truncate(PROGRAMS_MAX);
    found
}

/// A unit that runs a container is a container service as well; which, its command line says.
fn tell_engine(finding: &mut Finding, unit: &Effective) {
    if !finding.unit.as_ref().is_some_and(|unit| unit.signals.contains(&"command.container")) {
        return;
    }
    if finding.also.is_empty() {
        finding.also = &[CONTAINER_SERVICE];
    }
    finding.container_service = unit.commands.iter().find_map(|run| {
        let engine = base_name(&run.command.path);
        let known = matches!(engine, b"docker" | b"podman" | b"nerdctl");
        let mut service =
            cli::command(run.command.argv.iter().map(Vec::as_slice), false, false).filter(|_| known)?;
        service.engine = lossy(engine).into_owned();
        Some(service)
    });
}

/// What is suspicious about a file that is no unit's: a script, a generator, a line of tmpfiles.d, the managers' own
/// configuration.
///
/// Gives the manifest that it leads to, as written.
fn weigh_text(finding: &mut Finding, found: &Found) -> Option<Vec<u8>> {
    let regular = found.regular()?;
    let part = finding.unit.as_ref()?.part;
    match weigh_file(finding, part, &regular.content) {
        Weighed::Other => {}
        Weighed::Told => return None,
        Weighed::LeadsTo(path) => return Some(path),
    }
    let signals = match part {
        UnitPart::Directory | UnitPart::Fragment | UnitPart::DropIn | UnitPart::EngineState => return None,
        UnitPart::ManagerConfig => of_manager(&Digest::new(&regular.content)),
        UnitPart::UdevRules => of_udev(&regular.content),
        // Of a binary there is nothing to read.
        _ if regular.is_binary() => return None,
        _ => of_script(&regular.content),
    };
    tell(finding, signals);
    None
}

/// SHA-256 of a file's content; empty where that is not wholly known.
fn digest(found: &Found) -> String {
    use std::fmt::Write as _;
    let whole = |file: &&Regular| file.size == file.content.len() as u64 && !file.unstable;
    let Some(file) = found.regular().filter(whole) else { return String::new() };
    Sha256::digest(&file.content).iter().fold(String::with_capacity(64), |mut digits, byte| {
        let _infallible = write!(digits, "{byte:02x}");
        digits
    })
}

fn parent(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)]
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
            let leads = matches!(found, Found::Symlink { .. });
            if leads && regular.mode & 0o002 != 0 {
                finding.reason(10, "everyone may write to the file that it leads to");
            }
            let system = finding.unit.as_ref().is_some_and(|unit| unit.scope == Scope::System);
            if leads && system && regular.uid != 0 {
                let why =
                    format!("the file that it leads to belongs to user {}, who may change it", regular.uid);
                finding.reason(10, why);
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
