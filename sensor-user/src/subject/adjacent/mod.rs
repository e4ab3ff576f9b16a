//! What makes a machine run something beside units: one row each, as data.
//!
//! A [`Kind`] says where such things lie, which names count there, and what a sentence calls them. Which rule tells
//! of them is in `detect::rules::adjacent`.

pub mod containers;
mod others;
mod packages;
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
    /// Last names of paths that are single files, not directories; with their directory's where the name alone is also
    /// a directory's.
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
    /// What in a package manager's books says which files are whose, and what must be in them.
    Books,
    /// Entries of just these names, at any depth. One in a directory that a container's id names is that container's.
    Files(&'static [&'static str]),
    /// Each entry but those that begin with a dot: backups of editors and package managers are in force as well.
    Visible,
    /// Quadlet's sources and drop-ins, at any depth.
    Quadlet,
    /// Entries that are programs which make containers.
    Runtimes,
    /// An entry, and below it what makes it an image (os-release(5)) and what lies in a directory `systemd`.
    Image,
}

/// Directories that belong to packages (file-hierarchy(7)). What is written there by hand should not be, but while
/// packages are not told from others it weighs no more than their own.
pub const PACKAGES: [&str; 3] = ["/usr/lib/", "/lib/", "/usr/share/"];

/// Every row.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    services::KINDS.iter().chain(others::KINDS).chain(containers::KINDS).chain(packages::KINDS)
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
    if class == WatchClass::RuntimeProgram {
        return containers::is_runtime(path);
    }
    // Wherever a kubelet is told that its configuration lies.
    let settings = [".yaml", ".yml", ".json", ".env"].iter().any(|suffix| path.ends_with(suffix));
    if class == WatchClass::KubeletConfig && settings {
        return true;
    }
    let ends = |file: &&str| path.strip_suffix(file).is_some_and(|before| before.ends_with('/'));
    of(class).is_some_and(|kind| kind.files.iter().any(ends))
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
        if self.class == WatchClass::EngineConfig && containers::is_engines_own(relative) {
            return Meaning::Nothing;
        }
        if self.class == WatchClass::EngineConfig {
            if let Some((kind, below)) =
                containers::inner(relative).and_then(|(class, below)| Some((of(class)?, below)))
            {
                return kind.inner_meaning(scope, relative, below);
            }
        }
        let mut names = relative.rsplit(|byte| *byte == b'/');
        let leaf = names.next().unwrap_or_default();
        let parent = names.next();
        let hidden = match self.names {
            Names::Visible => leaf.starts_with(b"."),
            Names::Quadlet => !containers::is_quadlet(leaf) && is_hidden_or_backup(leaf),
            _ => is_hidden_or_backup(leaf),
        };
        if hidden {
            return Meaning::Temporary;
        }
        if self.names == Names::Quadlet {
            return self.quadlet(scope, leaf, parent);
        }
        let top = relative.split(|byte| *byte == b'/').next().unwrap_or_default();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| leaf.ends_with(suffix.as_bytes()));
        let name = match (self.names, parent) {
            (Names::Every | Names::Visible | Names::Supervised | Names::Image, None)
            | (Names::EveryInTree, _) => leaf,
            (Names::Runtimes, None) if containers::is_runtime_name(leaf) => leaf,
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
            (Names::Books, _) if packages::is_book(relative) => leaf,
            (Names::Files(_) | Names::Books, _) => return Meaning::Nothing,
            (Names::Image, Some(parent)) if makes_image(relative, parent, leaf) => top,
            _ if is_temporary(leaf) => return Meaning::Temporary,
            _ => return Meaning::Nothing,
        };
        Meaning::Part(Part {
            name,
            part: self.part,
            scope,
            directory: false,
            // Where each name is in force, none is unfinished.
            provisional: self.names != Names::Visible && is_temporary(leaf),
            type_level: false,
        })
    }
}

impl Kind {
    /// What `below`, in a directory that lies inside of one of another kind, means; `relative` is that directory.
    fn inner_meaning<'a>(&self, scope: Scope, relative: &'a [u8], below: &'a [u8]) -> Meaning<'a> {
        if below.is_empty() {
            let name = relative.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let directory = true;
            return Meaning::Part(Part {
                name,
                part: self.part,
                scope,
                directory,
                provisional: false,
                type_level: false,
            });
        }
        // podman-systemd.unit(5): of all users' managers, and of one's.
        let users = self.class == WatchClass::Quadlet && below.starts_with(b"users/");
        self.meaning(if users { Scope::User } else { scope }, below)
    }

    /// What a name in a Quadlet directory means: a source, a drop-in, or a directory of drop-ins.
    fn quadlet<'a>(&self, scope: Scope, leaf: &'a [u8], parent: Option<&'a [u8]>) -> Meaning<'a> {
        let drop_in = parent.filter(|_| leaf.ends_with(b".conf")).and_then(containers::drop_in_base);
        let (name, directory) = if containers::is_quadlet(leaf) {
            (leaf, false)
        } else if let Some(base) = drop_in {
            (base, false)
        } else if let Some(base) = containers::drop_in_base(leaf) {
            (base, true)
        } else if is_temporary(leaf) {
            return Meaning::Temporary;
        } else {
            return Meaning::Nothing;
        };
        let type_level = !name.contains(&b'.');
        let provisional = !containers::is_quadlet(leaf) && is_temporary(leaf);
        Meaning::Part(Part { name, part: self.part, scope, directory, provisional, type_level })
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
