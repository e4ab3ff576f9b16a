//! Findings in operations on files.

use std::hash::{DefaultHasher, Hasher};

use sensor_common::record::kind;
use sensor_common::watch;

use super::detector::{Detector, KnownFile, truncation};
use super::finding::{Finding, Phase, Who};
use super::memory::Operation;
use super::quiet::Quiet;
use super::rule::Rule;
use super::rules;
use crate::event::decode::FileEvent;
use crate::event::path::{lossy, until_nul};
use crate::event::user::WatchClass;
use crate::lineage::Lineage;
use crate::lineage::table::Handle;
use crate::subject::name;
use crate::subject::part::{Meaning, Part, meaning};
use crate::subject::place::{Place, resolve_target};
use crate::subject::service::{File, Scope, Unit, UnitPart};

/// File types of inode(7).
pub(super) const S_IFMT: u32 = 0o170_000;
pub(super) const S_IFREG: u32 = 0o100_000;
pub(super) const S_IFLNK: u32 = 0o120_000;
const S_IFDIR: u32 = 0o040_000;

/// `ATTR_MODE` (include/linux/fs.h).
const ATTR_MODE: u64 = 1;

/// `MS_REMOUNT`, and the changes of propagation `MS_UNBINDABLE`, `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` (mount(2)):
/// they bring no other files.
const MOUNT_CHANGES: u64 = 32 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;

/// Directories in which anyone may put files.
const ANYONES: [&[u8]; 6] =
    [b"/tmp/", b"/var/tmp/", b"/dev/shm/", b"/run/lock/", b"/run/shm/", b"/var/lock/"];

/// One record under examination.
pub(super) struct Case<'a> {
    pub(super) event: &'a FileEvent<'a>,
    pub(super) who: Option<Who>,
    /// The host's path of the name in question.
    pub(super) path: &'a [u8],
    /// The other name of a rename or link; empty where there is none.
    other: &'a [u8],
    pub(super) place: Place,
    /// A symlink's target as written; empty where there is none, or none is known.
    target: &'a [u8],
    pub(super) part: Part<'a>,
    class: WatchClass,
}

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
        lineage: &Lineage,
        out: &mut impl FnMut(Finding),
    ) {
        let record = &event.record;
        let number = record.header.kind;
        if matches!(number, kind::FILE_MKDIR | kind::FILE_RMDIR | kind::UMOUNT) {
            return self.stay_quiet(Quiet::Meaningless);
        }
        let (mut path, mut other) = (std::mem::take(&mut self.path), std::mem::take(&mut self.other));
        let place = self.watches.locate(record.watch, record.matched, &event.path, &mut path);
        let other_place =
            self.watches.locate(record.other_watch, record.other_matched, &event.other, &mut other);
        if self.is_echo(event, &path) {
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
        lineage: &Lineage,
        (path, place): (&[u8], Place),
        (new, new_place): (&[u8], Place),
        out: &mut impl FnMut(Finding),
    ) {
        let Place::In { class, scope, relative, .. } = place else { return };
        // A unit directory that is moved away takes its units along.
        let Meaning::Part(part) = meaning(class, scope, &path[relative.min(path.len())..]) else { return };
        if part.provisional
            || part.part == UnitPart::Other
            || Self::is_managers_own(who, class, true, lineage)
        {
            return;
        }
        let rule =
            if part.part == UnitPart::Directory { &rules::DIRECTORY_REPLACED } else { &rules::UNIT_REMOVED };
        let case = Case { event, who, path, other: new, place, target: b"", part, class };
        let mut finding = case.finding(rule);
        finding.event_type = "deletion";
        if new_place == Place::Nowhere {
            finding.reason(0, format!("moved to {}", lossy(new)));
        }
        self.ask_client(&mut finding, part.name, lineage);
        self.await_content(&mut finding, &case);
        out(finding);
    }

    /// The object of every other operation, and the new name of a rename.
    fn arrived(
        &mut self,
        who: Option<Who>,
        event: &FileEvent<'_>,
        lineage: &Lineage,
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
            Place::In { class, scope, relative, .. } => {
                match meaning(class, scope, &path[relative.min(path.len())..]) {
                    Meaning::Part(part) => (class, part),
                    Meaning::Temporary => return self.stay_quiet(Quiet::Temporary),
                    Meaning::Nothing => return self.stay_quiet(Quiet::Meaningless),
                }
            }
            Place::OnTheWay { class, scope } => (class, unnamed(b"", UnitPart::Directory, scope)),
            Place::ByAnotherName { class, scope, .. } => {
                let leaf = event.path.leaf().unwrap_or_default();
                (class, unnamed(leaf, UnitPart::Other, scope))
            }
        };
        let case = Case { event, who, path, other, place, target, part, class };
        self.remember(&case);
        if let Some(why) = Self::is_quiet(&case, lineage) {
            if matches!(why, Quiet::GeneratorOutput | Quiet::TransientScope) {
                self.excused.insert(hash(path), record.header.boottime_ns);
            }
            return self.stay_quiet(why);
        }
        let Some(rule) = self.rule(&case, lineage) else { return self.stay_quiet(Quiet::Meaningless) };
        let mut finding = case.finding(rule);
        case.weigh(&mut finding, lineage);
        self.ask_client(&mut finding, case.part.name, lineage);
        self.await_content(&mut finding, &case);
        out(finding);
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

    /// What is done by the service manager itself, or for it, as a matter of course.
    fn is_quiet(case: &Case<'_>, lineage: &Lineage) -> Option<Quiet> {
        let removal = case.event.record.header.kind == kind::FILE_UNLINK;
        if case.event.record.header.kind == kind::MOUNT {
            return quiet_mount(case, lineage);
        }
        if Self::is_managers_own(case.who, case.class, removal, lineage) {
            return Some(Quiet::ManagerOwnFiles);
        }
        let who = case.who?;
        if case.class == WatchClass::GeneratorOutput && started_as_generator(lineage, who.handle) {
            return Some(Quiet::GeneratorOutput);
        }
        if case.class == WatchClass::TransientUnit && Self::is_manager(lineage, who.handle) {
            let kind = name::unit_type(case.part.name);
            if matches!(kind, Some(b"scope" | b"slice")) {
                return Some(Quiet::TransientScope);
            }
        }
        None
    }

    /// The manager clears what generators made before it runs them, and removes a transient unit after its end.
    fn is_managers_own(who: Option<Who>, class: WatchClass, removal: bool, lineage: &Lineage) -> bool {
        removal
            && matches!(class, WatchClass::GeneratorOutput | WatchClass::TransientUnit)
            && who.is_some_and(|who| Self::is_manager(lineage, who.handle))
    }

    /// The rule that an operation falls under; `None` where it means nothing.
    fn rule(&self, case: &Case<'_>, lineage: &Lineage) -> Option<&'static Rule> {
        let number = case.event.record.header.kind;
        let manager = case.who.is_some_and(|who| Self::is_manager(lineage, who.handle));
        match number {
            kind::MOUNT => return Some(&rules::DIRECTORY_MOUNTED_OVER),
            kind::FILE_UNLINK if case.part.part == UnitPart::Other => return None,
            kind::FILE_UNLINK if case.part.part == UnitPart::Directory => {
                return Some(&rules::DIRECTORY_REPLACED);
            }
            kind::FILE_UNLINK => return Some(&rules::UNIT_REMOVED),
            kind::FILE_ATTRIBUTE => return case.attribute_rule(),
            _ => {}
        }
        if case.part.part == UnitPart::Directory {
            let replaces = matches!(number, kind::FILE_RENAME | kind::FILE_SYMLINK);
            return replaces.then_some(&rules::DIRECTORY_REPLACED);
        }
        if !case.target.is_empty() && resolve_target(case.path, case.target) == b"/dev/null" {
            return Some(&rules::UNIT_MASKED);
        }
        Some(match case.part.part {
            UnitPart::Fragment | UnitPart::Alias if case.class == WatchClass::TransientUnit && manager => {
                &rules::UNIT_TRANSIENT
            }
            UnitPart::DropIn if case.class == WatchClass::TransientUnit && manager => &rules::UNIT_TRANSIENT,
            UnitPart::Fragment | UnitPart::Alias if !case.target.is_empty() => {
                if self.is_in_unit_directory(case) { &rules::UNIT_ENABLED } else { &rules::UNIT_LINKED }
            }
            UnitPart::Fragment | UnitPart::Alias => &rules::UNIT_WRITTEN,
            UnitPart::DropIn => &rules::DROPIN_WRITTEN,
            UnitPart::DependencyLink => &rules::UNIT_ENABLED,
            UnitPart::Generator => &rules::GENERATOR_WRITTEN,
            UnitPart::EnvironmentGenerator => &rules::ENVIRONMENT_GENERATOR_WRITTEN,
            UnitPart::InitScript => &rules::INIT_SCRIPT_WRITTEN,
            UnitPart::RunlevelLink => &rules::RUNLEVEL_LINK_SET,
            UnitPart::RcLocal => &rules::RC_LOCAL_WRITTEN,
            UnitPart::Other if matches!(case.place, Place::ByAnotherName { .. }) => &rules::UNIT_WRITTEN,
            UnitPart::Other => &rules::DIRECTORY_FILE_WRITTEN,
            UnitPart::Directory => return None,
        })
    }

    /// Whether a symlink's target lies where units are loaded from.
    fn is_in_unit_directory(&self, case: &Case<'_>) -> bool {
        let target = resolve_target(case.path, case.target);
        self.watches.classed().any(|(watch, class)| {
            let units = matches!(
                class,
                WatchClass::SystemUnit
                    | WatchClass::UserUnit
                    | WatchClass::GeneratorOutput
                    | WatchClass::TransientUnit
            );
            let below = target.strip_prefix(watch.path.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"));
            units && below
        })
    }

    /// What a manager does, it does on a client's request.
    fn ask_client(&self, finding: &mut Finding, unit: &[u8], lineage: &Lineage) {
        let Some(who) = finding.who.filter(|who| Self::is_manager(lineage, who.handle)) else { return };
        finding.reason(0, "made by the service manager on a client's request");
        finding.requester =
            self.clients.requester(lineage, finding.boottime_ns, unit).filter(|client| *client != who.handle);
    }
}

pub(super) fn hash(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(path);
    hasher.finish()
}

/// A mount on the way to users' units is an everyday thing (homes, /run/user at each login); one in a private mount
/// namespace does not change what the manager sees.
fn quiet_mount(case: &Case<'_>, lineage: &Lineage) -> Option<Quiet> {
    if case.event.record.argument & MOUNT_CHANGES != 0 {
        return Some(Quiet::Meaningless);
    }
    let foreign = case.who.is_some_and(|who| lineage.is_foreign(who.task.mnt_ns));
    let users = matches!(case.place, Place::OnTheWay { scope: Scope::User, .. });
    (foreign || users).then_some(Quiet::PrivateMount)
}

/// Whether a process is, or descends from, a generator that a service manager started: a program executed out of a
/// directory of generators, with nothing but a manager's forks between it and the manager.
fn started_as_generator(lineage: &Lineage, process: Handle) -> bool {
    let in_generators = |path: &[u8]| {
        let mut names = path.rsplit(|byte| *byte == b'/').skip(1);
        matches!(names.next(), Some(b"system-generators" | b"user-generators"))
            && names.next() == Some(b"systemd")
    };
    let mut line = lineage.line(process).peekable();
    while let Some(at) = line.next() {
        let generator =
            lineage.image(at).is_some_and(|image| in_generators(image.exe) || in_generators(image.filename));
        let parent = line.peek().copied();
        if generator && parent.is_some_and(|parent| Detector::is_manager(lineage, parent)) {
            return true;
        }
    }
    false
}

fn unnamed(name: &[u8], part: UnitPart, scope: Scope) -> Part<'_> {
    Part { name, part, scope, directory: true, provisional: false, type_level: false }
}

impl Case<'_> {
    fn finding(&self, rule: &'static Rule) -> Finding {
        let record = &self.event.record;
        let number = record.header.kind;
        let action = kind::name(number).unwrap_or("unknown");
        let subject = lossy(self.path).into_owned();
        let mut finding = Finding::new(rule, record.header.boottime_ns, action, subject).by(self.who);
        finding.event_type = match number {
            kind::FILE_CREATE
            | kind::FILE_RENAME
            | kind::FILE_LINK
            | kind::FILE_SYMLINK
            | kind::FILE_MKNOD => "creation",
            kind::FILE_UNLINK => "deletion",
            _ => "change",
        };
        finding.phase = match number {
            kind::FILE_CREATE
            | kind::FILE_OPEN_WRITE
            | kind::FILE_TRUNCATE
            | kind::FILE_ATTRIBUTE
            | kind::FILE_MMAP_WRITE => Phase::Held,
            kind::FILE_CLOSE_WRITE if self.part.provisional => Phase::Held,
            kind::FILE_CLOSE_WRITE => Phase::Closing,
            _ => Phase::Complete,
        };
        let other = (!self.other.is_empty()).then(|| lossy(self.other).into_owned());
        if number == kind::FILE_RENAME {
            finding.completes.clone_from(&other);
        }
        finding.file = Some(File {
            path: finding.subject.clone(),
            other_path: other,
            target: (!self.target.is_empty()).then(|| lossy(self.target).into_owned()),
            inode: record.object.inode,
            mode: self.mode(),
            uid: record.object.uid,
            size: record.object.size,
        });
        let linked = !self.target.is_empty() && self.part.part == UnitPart::Fragment;
        finding.unit = Some(Unit {
            name: lossy(self.part.name).into_owned(),
            part: if linked { UnitPart::Alias } else { self.part.part },
            scope: self.part.scope,
        });
        if let Some(reason) = truncation(record) {
            finding.reason(0, reason);
        }
        finding
    }

    /// Mode after the operation; 0 where unknown.
    fn mode(&self) -> u32 {
        let record = &self.event.record;
        let given = record.argument as u32 & 0o7777;
        match record.header.kind {
            kind::FILE_CREATE => S_IFREG | given,
            kind::FILE_SYMLINK => S_IFLNK | 0o777,
            kind::FILE_ATTRIBUTE if record.argument >> 32 & ATTR_MODE != 0 => {
                record.object.mode & S_IFMT | given
            }
            _ => record.object.mode,
        }
    }

    fn is_executable_part(&self) -> bool {
        matches!(
            self.part.part,
            UnitPart::Generator | UnitPart::EnvironmentGenerator | UnitPart::InitScript | UnitPart::RcLocal
        )
    }

    /// Whether an attribute change lets a program run that did not before.
    fn becomes_executable(&self) -> bool {
        let record = &self.event.record;
        let (old, new) = (record.object.mode, self.mode());
        record.header.kind == kind::FILE_ATTRIBUTE
            && record.argument >> 32 & ATTR_MODE != 0
            && new & 0o111 != 0
            // A backend that looks after the change sees the same mode twice.
            && (old & 0o111 == 0 || old & 0o7777 == new & 0o7777)
    }

    fn attribute_rule(&self) -> Option<&'static Rule> {
        if self.is_executable_part() && self.becomes_executable() {
            return Some(match self.part.part {
                UnitPart::Generator => &rules::GENERATOR_WRITTEN,
                UnitPart::EnvironmentGenerator => &rules::ENVIRONMENT_GENERATOR_WRITTEN,
                UnitPart::InitScript => &rules::INIT_SCRIPT_WRITTEN,
                _ => &rules::RC_LOCAL_WRITTEN,
            });
        }
        (!matches!(self.place, Place::OnTheWay { .. })).then_some(&rules::UNIT_ATTRIBUTES)
    }

    /// What raises or lowers the score, on the subject's side.
    fn weigh(&self, finding: &mut Finding, lineage: &Lineage) {
        let record = &self.event.record;
        let mode = self.mode();
        if self.part.type_level {
            finding.reason(15, format!("it applies to every {}", lossy(self.part.name)));
        }
        if self.is_executable_part() && self.becomes_executable() {
            finding.reason(0, "it was made executable");
        }
        // What is being created shows the mode that was asked for; a filesystem with ACLs applies the umask after the
        // hook. The open or the change that follows shows what it has become.
        let settled = !matches!(record.header.kind, kind::FILE_CREATE | kind::FILE_MKDIR | kind::FILE_MKNOD);
        if settled && mode & S_IFMT != S_IFLNK && mode & 0o002 != 0 {
            finding.reason(10, "everyone may write to it");
        }
        if mode & S_IFMT == S_IFDIR || (self.part.directory && self.part.part != UnitPart::Directory) {
            finding.reason(0, "a directory, with whatever it holds");
        }
        if !self.target.is_empty() {
            let target = resolve_target(self.path, self.target);
            if ANYONES.iter().any(|directory| target.starts_with(directory)) {
                finding.reason(15, "it leads to where anyone may put files");
            } else if target.starts_with(b"/home/") || target.starts_with(b"/proc/") {
                finding.reason(10, "it leads to a user's or a process's own files");
            }
        }
        if record.header.kind == kind::FILE_RENAME && ANYONES.iter().any(|at| self.other.starts_with(at)) {
            finding.reason(5, "it was moved from where anyone may put files");
        }
        let in_force_for_all = self.part.scope == Scope::System && mode != 0 && mode & S_IFMT != S_IFLNK;
        let exists = !matches!(record.header.kind, kind::FILE_CREATE | kind::FILE_UNLINK);
        if in_force_for_all && exists && record.object.inode != 0 && record.object.uid != 0 {
            finding.reason(5, format!("it belongs to user {}", describe_user(lineage, record.object.uid)));
        }
        if matches!(self.place, Place::ByAnotherName { .. })
            || record.matched == watch::FILE && !self.other.is_empty()
        {
            finding.reason(10, "it was reached under another name (a hard link)");
        }
        if self.class == WatchClass::GeneratorOutput {
            finding
                .reason(-20, "the next daemon-reload removes it: the directory holds what generators make");
        }
    }
}

fn describe_user(lineage: &Lineage, uid: u32) -> String {
    lineage.user_name(uid).map_or_else(|| uid.to_string(), |name| format!("{name} ({uid})"))
}
