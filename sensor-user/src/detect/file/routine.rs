//! What service managers do as a matter of course, which is no finding.

use sensor_common::record::kind;

use super::case::Case;
use crate::detect::detector::Detector;
use crate::detect::finding::Who;
use crate::detect::quiet::Quiet;
use crate::event::user::WatchClass;
use crate::lineage::Lineage;
use crate::lineage::table::Handle;
use crate::subject::place::Place;
use crate::subject::service::Scope;
use crate::subject::{adjacent, name};

/// `MS_REMOUNT`, and the changes of propagation `MS_UNBINDABLE`, `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` (mount(2)):
/// they bring no other files.
const MOUNT_CHANGES: u64 = 32 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;

impl Detector {
    /// What is done by the service manager itself, or for it, as a matter of course.
    pub(super) fn is_quiet(case: &Case<'_>, lineage: &Lineage) -> Option<Quiet> {
        let removal = case.event.record.header.kind == kind::FILE_UNLINK;
        if case.event.record.header.kind == kind::MOUNT {
            return quiet_mount(case, lineage);
        }
        if Self::is_managers_own(case.who, case.class, removal, lineage) {
            return Some(Quiet::ManagerOwnFiles);
        }
        // Listeners bind their sockets and open them to others; a user's go with the session. Whoever does so brings
        // nothing: what counts is what clients send there.
        let number = case.event.record.header.kind;
        if case.class.is_socket() && (removal || matches!(number, kind::FILE_ATTRIBUTE | kind::FILE_MKNOD)) {
            return Some(Quiet::Meaningless);
        }
        let who = case.who?;
        if case.class == WatchClass::GeneratorOutput && generators_manager(lineage, who.handle).is_some() {
            return Some(Quiet::GeneratorOutput);
        }
        // netplan's generator writes udev rules.
        let run_time = case.path.starts_with(b"/run/") && adjacent::of(case.class).is_some();
        if run_time && generators_manager(lineage, who.handle).is_some() {
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
    pub(super) fn is_managers_own(
        who: Option<Who>,
        class: WatchClass,
        removal: bool,
        lineage: &Lineage,
    ) -> bool {
        removal
            && matches!(class, WatchClass::GeneratorOutput | WatchClass::TransientUnit)
            && who.is_some_and(|who| Self::is_manager(lineage, who.handle))
    }
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

/// The service manager that started a generator which a process is, or descends from: a program executed out of a
/// directory of generators, with nothing but a manager's forks between it and the manager.
pub(super) fn generators_manager(lineage: &Lineage, process: Handle) -> Option<Handle> {
    let in_generators = |path: &[u8]| {
        let mut names = path.rsplit(|byte| *byte == b'/').skip(1);
        matches!(names.next(), Some(b"system-generators" | b"user-generators"))
            && names.next() == Some(b"systemd")
    };
    let mut line = lineage.line(process).peekable();
    while let Some(at) = line.next() {
        let generator =
            lineage.image(at).is_some_and(|image| in_generators(image.exe) || in_generators(image.filename));
        let parent = line.peek().copied().filter(|parent| Detector::is_manager(lineage, *parent));
        if let Some(parent) = parent.filter(|_| generator) {
            // Behind the manager's forks.
            let managers = line.take_while(|above| Detector::is_manager(lineage, *above));
            return Some(managers.last().unwrap_or(parent));
        }
    }
    None
}
