//! What is watched: the paths, and how they are written.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::user::WatchClass;
use crate::subject::adjacent;

/// Longest path that is taken (`PATH_MAX`, limits.h, without the NUL).
const PATH_MAX: usize = 4095;

/// Section `[watch]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// What is watched. A file that sets it replaces the whole list; to add to it, use `extra`.
    pub paths: Vec<WatchPath>,
    /// Watched beside `paths`. The lists of all files add up.
    pub extra: Vec<WatchPath>,
    /// Whether paths that begin with `~/` are watched, in the home of every user of the user database.
    pub homes: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self { paths: default_paths(), extra: Vec::new(), homes: true }
    }
}

impl Watch {
    /// Everything that is to be watched: `paths`, then `extra`, without repeats, and without homes where they are off.
    /// Two paths of different spelling can still lead to one directory (/lib and /usr/lib).
    #[must_use]
    pub fn effective(&self) -> Vec<&WatchPath> {
        let mut effective: Vec<&WatchPath> = Vec::new();
        for path in self.paths.iter().chain(&self.extra) {
            if (self.homes || !path.is_in_home()) && !effective.iter().any(|known| known.path == path.path) {
                effective.push(path);
            }
        }
        effective
    }
}

/// A directory (with everything below it) or a single file, and what it is.
///
/// The path is absolute, or begins with `~/` for the home of every user. One component may be `*`, which stands for
/// any one name. It need not exist: it is watched from the moment at which it appears.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WatchPath {
    /// As the host's PID 1 sees it.
    pub path: String,
    /// What lies there.
    pub class: WatchClass,
}

/// What is wrong with a [`WatchPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProblem {
    /// Neither `/` nor `~/` at its beginning.
    NotAbsolute,
    /// A component is empty, `.` or `..`.
    NotPlain,
    /// Nothing but the root or the home.
    Whole,
    /// More than one `*`, or one that is only a part of a component.
    Star,
    /// Longer than a path, or one of its components longer than a file name, can be.
    TooLong,
    /// A NUL.
    Nul,
}

impl fmt::Display for PathProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotAbsolute => "must begin with / or ~/",
            Self::NotPlain => "must have no empty component, no . and no ..",
            Self::Whole => "must name something below the root or the home",
            Self::Star => "may have one * only, as a whole component",
            Self::TooLong => "is longer than the kernel allows (4095 bytes, 255 a component)",
            Self::Nul => "must have no NUL",
        })
    }
}

impl WatchPath {
    /// Whether it is below the home of every user.
    #[must_use]
    pub fn is_in_home(&self) -> bool {
        self.path.starts_with("~/")
    }

    /// The components after `/` or `~/`.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.below().unwrap_or_default().split('/')
    }

    fn below(&self) -> Option<&str> {
        self.path.strip_prefix("~/").or_else(|| self.path.strip_prefix('/'))
    }

    /// Checks how the path is written.
    ///
    /// # Errors
    /// The first [`PathProblem`].
    pub fn check(&self) -> Result<(), PathProblem> {
        let below = self.below().ok_or(PathProblem::NotAbsolute)?;
        if below.is_empty() {
            return Err(PathProblem::Whole);
        }
        if below.contains('\0') {
            return Err(PathProblem::Nul);
        }
        let mut stars = 0;
        for component in below.split('/') {
            match component {
                "" | "." | ".." => return Err(PathProblem::NotPlain),
                "*" => stars += 1,
                name if name.contains('*') => return Err(PathProblem::Star),
                name if name.len() > sensor_common::limits::NAME_MAX => return Err(PathProblem::TooLong),
                _ => {}
            }
        }
        if stars > 1 {
            return Err(PathProblem::Star);
        }
        if self.path.len() > PATH_MAX { Err(PathProblem::TooLong) } else { Ok(()) }
    }
}

/// Search paths of every systemd up to 258 (systemd.unit(5), systemd.generator(7), systemd.environment-generator(7),
/// src/libsystemd/sd-path/path-lookup.c), the directories of System V init (insserv(8)), rc.local, and what
/// [`adjacent::kinds`] lists.
fn default_paths() -> Vec<WatchPath> {
    use WatchClass as Class;

    const SYSTEM_UNITS: &[&str] = &[
        "/etc/systemd/system.control",
        "/run/systemd/system.control",
        "/etc/systemd/system",
        "/etc/systemd/system.attached",
        "/run/systemd/system",
        "/run/systemd/system.attached",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        // Another directory than the last one where /usr is not merged.
        "/lib/systemd/system",
    ];
    const USER_UNITS: &[&str] = &[
        "~/.config/systemd/user.control",
        "~/.config/systemd/user",
        "~/.local/share/systemd/user",
        "~/.local/share/flatpak/exports/share/systemd/user",
        "/run/user/*/systemd/user.control",
        "/run/user/*/systemd/user",
        "/etc/xdg/systemd/user",
        "/etc/systemd/user",
        "/run/systemd/user",
        "/usr/local/share/systemd/user",
        "/usr/share/systemd/user",
        "/usr/local/lib/systemd/user",
        "/usr/lib/systemd/user",
        "/var/lib/flatpak/exports/share/systemd/user",
        "/var/lib/snapd/desktop/systemd/user",
        // Capsules are user managers without a user (capsule@.service(5)).
        "/run/capsules/*/systemd/user.control",
        "/run/capsules/*/systemd/user",
        "/var/lib/capsules/*/.config/systemd/user.control",
        "/var/lib/capsules/*/.config/systemd/user",
        "/var/lib/capsules/*/.local/share/systemd/user",
    ];
    const TRANSIENT: &[&str] =
        &["/run/systemd/transient", "/run/user/*/systemd/transient", "/run/capsules/*/systemd/transient"];
    const OUTPUT: &[&str] = &[
        "/run/systemd/generator.early",
        "/run/systemd/generator",
        "/run/systemd/generator.late",
        "/run/user/*/systemd/generator.early",
        "/run/user/*/systemd/generator",
        "/run/user/*/systemd/generator.late",
        "/run/capsules/*/systemd/generator.early",
        "/run/capsules/*/systemd/generator",
        "/run/capsules/*/systemd/generator.late",
    ];
    const GENERATOR_ROOTS: &[&str] =
        &["/run/systemd", "/etc/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd"];
    const GENERATORS: &[(&str, Class)] = &[
        ("system-generators", Class::SystemGenerator),
        ("user-generators", Class::UserGenerator),
        ("system-environment-generators", Class::SystemEnvironmentGenerator),
        ("user-environment-generators", Class::UserEnvironmentGenerator),
    ];
    // Of Red Hat's, SUSE's and runit's boot scripts, and the BSDs'.
    const BOOT_SCRIPTS: &[&str] = &[
        "/etc/rc.local.d",
        "/etc/rc.common",
        "/etc/boot.local",
        "/etc/rc.shutdown",
        "/etc/rc.local.shutdown",
    ];
    // What systemctl and systemd-run speak to, as root and as a user (src/shared/bus-util.c, `bus_connect_system_systemd`
    // and `bus_connect_user_systemd`), and the buses over which everyone else does.
    const MANAGERS: &[&str] =
        &["/run/systemd/private", "/run/user/*/systemd/private", "/run/capsules/*/systemd/private"];
    const BUSES: &[&str] = &["/run/dbus/system_bus_socket", "/run/user/*/bus", "/run/capsules/*/bus"];
    // Of docker (moby's cmd/dockerd/docker.socket; rootless), podman (podman.socket), containerd, also as docker's and
    // k3s's own, CRI-O (crio(8)), LXD and Incus. /var/run is a link to /run.
    const ENGINES: &[&str] = &[
        "/run/docker.sock",
        "/run/user/*/docker.sock",
        "/run/podman/podman.sock",
        "/run/user/*/podman/podman.sock",
        "/run/containerd/containerd.sock",
        "/run/docker/containerd/containerd.sock",
        "/run/k3s/containerd/containerd.sock",
        "/run/crio/crio.sock",
        "/var/lib/lxd/unix.socket",
        "/var/snap/lxd/common/lxd/unix.socket",
        "/var/lib/incus/unix.socket",
    ];
    // Red Hat keeps these below /etc/rc.d, and links to them.
    const RC_ROOTS: &[&str] = &["/etc", "/etc/rc.d"];

    let list = |class: Class, paths: &[&str]| -> Vec<WatchPath> {
        paths.iter().map(|&path| WatchPath { path: path.to_owned(), class }).collect()
    };
    let mut paths = list(Class::SystemUnit, SYSTEM_UNITS);
    paths.extend(list(Class::UserUnit, USER_UNITS));
    paths.extend(list(Class::TransientUnit, TRANSIENT));
    paths.extend(list(Class::GeneratorOutput, OUTPUT));
    paths.extend(list(Class::ManagerSocket, MANAGERS));
    paths.extend(list(Class::BusSocket, BUSES));
    paths.extend(list(Class::EngineSocket, ENGINES));
    for (directory, class) in GENERATORS {
        for root in GENERATOR_ROOTS {
            paths.push(WatchPath { path: format!("{root}/{directory}"), class: *class });
        }
    }
    for root in RC_ROOTS {
        paths.push(WatchPath { path: format!("{root}/init.d"), class: Class::InitScript });
        for level in ["0", "1", "2", "3", "4", "5", "6", "S"] {
            paths.push(WatchPath { path: format!("{root}/rc{level}.d"), class: Class::RunlevelLink });
        }
        paths.push(WatchPath { path: format!("{root}/rc.local"), class: Class::RcLocal });
    }
    paths.extend(list(Class::RcLocal, BOOT_SCRIPTS));
    for kind in adjacent::kinds() {
        paths.extend(list(kind.class, kind.paths));
    }
    paths
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn path(path: &str) -> WatchPath {
        WatchPath { path: path.to_owned(), class: WatchClass::SystemUnit }
    }

    #[test]
    fn the_defaults_are_well_written_and_each_is_there_once() {
        let defaults = default_paths();
        for entry in &defaults {
            assert_eq!(entry.check(), Ok(()), "{entry:?}");
        }
        let distinct: BTreeSet<_> = defaults.iter().map(|entry| &entry.path).collect();
        assert_eq!(distinct.len(), defaults.len());
    }

    /// Asks systemd itself, where the machine has it: a directory that it searches and that is not watched is a hole.
    #[test]
    fn every_directory_that_systemd_searches_is_watched() {
        let watch = Watch::default();
        let home = std::env::var("HOME").unwrap_or_default();
        for name in [
            "systemd-search-system-unit",
            "systemd-search-user-unit",
            "systemd-search-system-generator",
            "systemd-search-user-generator",
        ] {
            let output = match std::process::Command::new("systemd-path").arg(name).output() {
                Ok(output) if output.status.success() => output,
                other => {
                    crate::test_support::skip(
                        "watched search paths",
                        &format!("systemd-path {name}: {other:?}"),
                    );
                    return;
                }
            };
            for directory in String::from_utf8(output.stdout).unwrap().trim().split(':') {
                let in_home = directory.strip_prefix(&home).map(|below| format!("~{below}"));
                let watched = watch.effective().iter().any(|entry| {
                    let stars = entry.components().filter(|component| *component == "*").count();
                    let same = entry.path == directory || Some(&entry.path) == in_home.as_ref();
                    let mut given = directory.split('/').skip(1);
                    let fits = stars == 1
                        && entry
                            .components()
                            .all(|own| given.next().is_some_and(|component| own == "*" || own == component))
                        && given.next().is_none();
                    same || fits
                });
                assert!(watched, "{name}: {directory} is not watched");
            }
        }
    }

    #[test]
    fn bad_paths_are_refused() {
        for (text, problem) in [
            ("etc/systemd", PathProblem::NotAbsolute),
            ("", PathProblem::NotAbsolute),
            ("~root/x", PathProblem::NotAbsolute),
            ("/", PathProblem::Whole),
            ("~/", PathProblem::Whole),
            ("/etc//x", PathProblem::NotPlain),
            ("/etc/x/", PathProblem::NotPlain),
            ("/etc/../x", PathProblem::NotPlain),
            ("/run/*/x/*", PathProblem::Star),
            ("/run/user-*", PathProblem::Star),
            ("/a\0b", PathProblem::Nul),
        ] {
            assert_eq!(path(text).check(), Err(problem), "{text:?}");
        }
        assert_eq!(path(&format!("/{}", "x".repeat(256))).check(), Err(PathProblem::TooLong));
        assert_eq!(path(&"/x".repeat(2048)).check(), Err(PathProblem::TooLong));
    }

    #[test]
    fn homes_can_be_left_out_and_repeats_count_once() {
        let mut watch = Watch { homes: false, ..Watch::default() };
        watch.extra = vec![path("/srv/units"), path("/etc/systemd/system")];
        let effective = watch.effective();
        assert!(!effective.iter().any(|entry| entry.is_in_home()));
        assert_eq!(effective.iter().filter(|entry| entry.path == "/etc/systemd/system").count(), 1);
        assert_eq!(effective.last().unwrap().path, "/srv/units");
    }

    proptest! {
        #[test]
        fn a_checked_path_has_plain_components(text in "[~/.*a\\x00]{0,12}") {
            let entry = path(&text);
            if entry.check().is_ok() {
                prop_assert!(entry.components().all(|name| !matches!(name, "" | "." | "..")));
                prop_assert!(entry.components().filter(|name| name.contains('*')).count() <= 1);
                prop_assert!(!text.contains('\0'));
            }
        }
    }
}
