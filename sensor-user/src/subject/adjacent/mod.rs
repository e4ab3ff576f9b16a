//! What makes a machine run something beside units: one row each, as data.
//!
//! A [`Kind`] says where such things lie, which names count there, and what a sentence calls them. Which rule tells
//! of them is in `detect::rules::adjacent`.

mod others;
mod services;

use super::name::{is_hidden_or_backup, is_temporary};
use super::part::{Meaning, Part};
use super::service::{Scope, UnitPart};
use crate::event::user::WatchClass;

/// A row.
#[derive(Debug)]
pub struct Kind {
    /// Of the watches on it; one row for each.
    pub class: WatchClass,
    /// What findings say that it is.
    pub part: UnitPart,
    /// What a sentence calls an entry, before its name.
    pub noun: &'static str,
    /// The names that are in force.
    pub names: Names,
    /// Whether entries are programs, so that one counts once it may be executed.
    pub programs: bool,
    /// Where they lie: the default watch list.
    pub paths: &'static [&'static str],
    /// Last names of paths that are single files, not directories.
    pub files: &'static [&'static str],
    /// Last names of paths that only users' sessions and managers read.
    pub users: &'static [&'static str],
    /// Directories, beside those of [`PACKAGES`], in which packages keep such files as a matter of course.
    pub packages: &'static [&'static str],
}

/// Which names are in force in a directory. Those that are not say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Each entry but hidden and backup files.
    Every,
    /// Entries that end in one of these, and are not hidden (`conf_files_list`, src/basic/conf-files.c).
    Suffix(&'static [&'static str]),
    /// As [`Self::Suffix`], at any depth.
    Tree(&'static [&'static str]),
    /// As [`Self::Every`], at any depth.
    EveryInTree,
    /// An entry, and below it what a supervisor runs or goes by; not its status files and logs.
    Supervised,
    /// Entries of just these names, at any depth. One in a directory that a container's id names is that container's.
    Files(&'static [&'static str]),
    /// An entry, and below it what makes it an image (os-release(5)) and what lies in a directory `systemd`.
    Image,
}

/// Directories that belong to packages (file-hierarchy(7)). What is written there by hand should not be, but while
/// packages are not told from others it weighs no more than their own.
pub const PACKAGES: [&str; 3] = ["/usr/lib/", "/lib/", "/usr/share/"];

/// Every row.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    services::KINDS.iter().chain(others::KINDS)
}

/// The row of a class; `None` for those of units, generators and System V scripts.
pub fn of(class: WatchClass) -> Option<&'static Kind> {
    // The same, wherever it lies.
    let class = if class == WatchClass::EnvironmentFile { WatchClass::ServiceEnvironment } else { class };
    kinds().find(|kind| kind.class == class)
}

/// The row of a part.
pub fn of_part(part: UnitPart) -> Option<&'static Kind> {
    kinds().find(|kind| kind.part == part)
}

/// Whether the watched `path` is a single file.
pub fn is_file(class: WatchClass, path: &str) -> bool {
    if matches!(class, WatchClass::LinkedUnit | WatchClass::ServiceProgram | WatchClass::EnvironmentFile) {
        return true;
    }
    if class == WatchClass::RcLocal {
        return last(path) != "rc.local.d";
    }
    of(class).is_some_and(|kind| kind.files.contains(&last(path)))
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

impl Kind {
    /// Whose manager or session reads the watched `path`.
    pub fn scope(&self, path: &str, owner: Option<u32>) -> Scope {
        let run_time = path.starts_with("/run/user/") || path.starts_with("/run/capsules/");
        let users = owner.is_some() || run_time || self.users.contains(&last(path));
        if users { Scope::User } else { Scope::System }
    }

    /// Whether packages keep such files where `path` is.
    pub fn is_of_packages(&self, path: &[u8]) -> bool {
        PACKAGES.iter().chain(self.packages).any(|directory| path.starts_with(directory.as_bytes()))
    }

    /// What `relative`, a path below a directory of this kind, means; not an empty one.
    pub fn meaning<'a>(&self, scope: Scope, relative: &'a [u8]) -> Meaning<'a> {
        let mut names = relative.rsplit(|byte| *byte == b'/');
        let leaf = names.next().unwrap_or_default();
        let parent = names.next();
        if is_hidden_or_backup(leaf) {
            return Meaning::Temporary;
        }
        let top = relative.split(|byte| *byte == b'/').next().unwrap_or_default();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| leaf.ends_with(suffix.as_bytes()));
        let name = match (self.names, parent) {
            (Names::Every | Names::Supervised | Names::Image, None) | (Names::EveryInTree, _) => leaf,
            (Names::Suffix(suffixes), None) | (Names::Tree(suffixes), _) if ends(suffixes) => leaf,
            (Names::Supervised, Some(parent)) if is_supervisors(parent, leaf) => {
                match names.next().filter(|_| PARTS_OF_SERVICE.contains(&parent)) {
                    Some(service) => service,
                    None => parent,
                }
            }
            (Names::Files(files), parent) if files.iter().any(|file| file.as_bytes() == leaf) => {
                parent.filter(|name| name.len() == 64).unwrap_or(leaf)
            }
            (Names::Files(_), _) => return Meaning::Nothing,
            (Names::Image, Some(parent)) if makes_image(relative, parent, leaf) => top,
            _ if is_temporary(leaf) => return Meaning::Temporary,
            _ => return Meaning::Nothing,
        };
        Meaning::Part(Part {
            name,
            part: self.part,
            scope,
            directory: false,
            provisional: is_temporary(leaf),
            type_level: false,
        })
    }
}

/// Directories of a supervised service (runsv(8), s6-supervise, s6-rc's bundles).
const PARTS_OF_SERVICE: [&[u8]; 5] = [b"log", b"env", b"control", b"data", b"contents.d"];

/// Files of a supervised service that decide what is run (runsv(8), s6's servicedir, s6-rc-compile). `supervise`,
/// `event` and logs are written at every turn.
fn is_supervisors(parent: &[u8], leaf: &[u8]) -> bool {
    const FILES: [&[u8]; 14] = [
        b"run",
        b"finish",
        b"check",
        b"conf",
        b"up",
        b"down",
        b"type",
        b"contents",
        b"dependencies",
        b"producer-for",
        b"consumer-for",
        b"notification-fd",
        b"setup",
        b"crash",
    ];
    match parent {
        b"supervise" | b"event" | b"main" => false,
        b"env" | b"control" | b"contents.d" => true,
        _ => FILES.contains(&leaf),
    }
}

/// Whether a file inside an image's directory makes it one (extension-release, os-release), is a unit, generator or
/// configuration of systemd, or what a profile adds to units (portablectl(1)).
fn makes_image(relative: &[u8], parent: &[u8], leaf: &[u8]) -> bool {
    // The newest of what lies in a directory of versions is taken (systemd.v(7)).
    parent.ends_with(b".v") && relative.len() == parent.len() + 1 + leaf.len()
        || parent == b"extension-release.d"
        || leaf == b"os-release"
        || relative.starts_with(b"profile/") && leaf.ends_with(b".conf")
        || relative.split(|byte| *byte == b'/').skip(1).any(|name| name == b"systemd")
}

#[cfg(test)]
mod tests;
