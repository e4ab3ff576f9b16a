//! Which rule an operation falls under.

use sensor_common::record::kind;

use super::case::{Case, S_IFMT, S_IFREG};
use crate::detect::detector::Detector;
use crate::detect::rule::Rule;
use crate::detect::rules;
use crate::event::user::WatchClass;
use crate::lineage::Lineage;
use crate::subject::adjacent::Kind;
use crate::subject::place::{Place, resolve_target};
use crate::subject::service::UnitPart;

impl Detector {
    /// The rule that an operation falls under; `None` where it means nothing.
    pub(super) fn rule(&self, case: &Case<'_>, lineage: &Lineage) -> Option<&'static Rule> {
        let number = case.event.record.header.kind;
        if let Some(kind) = case.adjacent_kind() {
            return case.adjacent_rule(kind);
        }
        let manager = case.who.is_some_and(|who| Self::is_manager(lineage, who.handle));
        match number {
            // Of a directory that only an engine's socket lies below nothing is loaded.
            kind::MOUNT if case.class.is_socket() && matches!(case.place, Place::OnTheWay { .. }) => {
                return None;
            }
            kind::MOUNT => return Some(&rules::DIRECTORY_MOUNTED_OVER),
            kind::FILE_UNLINK if case.part.part == UnitPart::Other => return None,
            kind::FILE_UNLINK if case.part.part == UnitPart::Directory => {
                return Some(&rules::DIRECTORY_REPLACED);
            }
            kind::FILE_UNLINK if case.part.part == UnitPart::Program => {
                return Some(&rules::PROGRAM_REMOVED);
            }
            kind::FILE_UNLINK => return Some(&rules::UNIT_REMOVED),
            kind::FILE_ATTRIBUTE => return case.attribute_rule(),
            _ => {}
        }
        if case.part.part == UnitPart::Directory {
            let replaces = matches!(number, kind::FILE_RENAME | kind::FILE_SYMLINK);
            return replaces.then_some(&rules::DIRECTORY_REPLACED);
        }
        if case.is_mask() {
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
            UnitPart::Program => &rules::PROGRAM_WRITTEN,
            UnitPart::Other if matches!(case.place, Place::ByAnotherName { .. }) => &rules::UNIT_WRITTEN,
            UnitPart::Other => &rules::DIRECTORY_FILE_WRITTEN,
            // Other parts have a row of their own.
            _ => return None,
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
}

impl Case<'_> {
    /// The rule for what `subject::adjacent` describes. A directory on the way to it that is mounted over is an
    /// everyday thing (/boot, /var); one that is exchanged counts as all that lies in it.
    fn adjacent_rule(&self, kind: &Kind) -> Option<&'static Rule> {
        let written = rules::of_part(kind.part);
        if self.part.part == UnitPart::PackageDatabase {
            return written.filter(|_| self.event.record.header.kind != kind::FILE_ATTRIBUTE);
        }
        let on_the_way = matches!(self.place, Place::OnTheWay { .. });
        let directory = self.part.part == UnitPart::Directory;
        match self.event.record.header.kind {
            kind::MOUNT => written.filter(|_| !on_the_way),
            kind::FILE_UNLINK if self.part.part == UnitPart::Other => None,
            kind::FILE_UNLINK => Some(&rules::STARTUP_ENTRY_REMOVED),
            kind::FILE_ATTRIBUTE if self.is_executable_part() && self.becomes_executable() => written,
            kind::FILE_ATTRIBUTE => (!on_the_way).then_some(&rules::STARTUP_ENTRY_ATTRIBUTES),
            kind::FILE_RENAME | kind::FILE_SYMLINK if directory => written,
            _ if directory => None,
            _ if self.is_mask() => Some(&rules::STARTUP_ENTRY_MASKED),
            _ => written,
        }
    }

    /// Whether it is a link to /dev/null.
    fn is_mask(&self) -> bool {
        !self.target.is_empty() && resolve_target(self.path, self.target) == b"/dev/null"
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
        // install(1) and cp(1) give a program its mode after its content.
        if self.part.part == UnitPart::Other && self.mode() & S_IFMT == S_IFREG && self.becomes_executable() {
            return Some(&rules::DIRECTORY_FILE_WRITTEN);
        }
        (!matches!(self.place, Place::OnTheWay { .. })).then_some(&rules::UNIT_ATTRIBUTES)
    }
}
