//! Which rule an operation falls under.

use sensor_common::record::kind;

use super::case::Case;
use crate::detect::detector::Detector;
use crate::detect::rule::Rule;
use crate::detect::rules;
use crate::event::user::WatchClass;
use crate::lineage::Lineage;
use crate::subject::place::{Place, resolve_target};
use crate::subject::service::UnitPart;

impl Detector {
    /// The rule that an operation falls under; `None` where it means nothing.
    pub(super) fn rule(&self, case: &Case<'_>, lineage: &Lineage) -> Option<&'static Rule> {
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
}

impl Case<'_> {
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
}
