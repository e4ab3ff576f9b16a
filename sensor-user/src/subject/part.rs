//! What a path below a watched directory means to the service manager.
//!
//! Whether a name is in force is asked first, and as systemd asks it; only a name that is not may be a temporary one
//! ([`super::name::is_temporary`]), and that is no finding. So a file cannot hide behind a temporary-looking name:
//! either systemd passes over it as well, or the rename or link to a name in force is seen.

use super::adjacent;
use super::name::{is_drop_in_base, is_hidden_or_backup, is_temporary, is_type, is_unit};
use super::service::{Scope, UnitPart};
use crate::event::user::WatchClass;

/// What a name means where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The unit, generator or script.
    pub name: &'a [u8],
    /// Which part of it.
    pub part: UnitPart,
    /// System or user manager.
    pub scope: Scope,
    /// The name is that of the directory of drop-ins or links, not of one of these.
    pub directory: bool,
    /// It is in force, though the name looks like an unfinished file's: a rename may follow.
    pub provisional: bool,
    /// Concerns every unit of a type.
    pub type_level: bool,
}

/// What there is to say about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// In force, or at least where things in force lie ([`UnitPart::Other`]).
    Part(Part<'a>),
    /// Not in force, and not meant to stay.
    Temporary,
    /// Without meaning to the service manager.
    Nothing,
}

/// Whose manager reads what is watched. The output of generators, transient units and sockets are told apart by the
/// path, for both managers have them. `owner` is whose home the path lies in.
pub fn scope(class: WatchClass, watch_path: &str, owner: Option<u32>) -> Scope {
    if let Some(kind) = adjacent::of(class) {
        return kind.scope(watch_path, owner);
    }
    match class {
        WatchClass::UserUnit | WatchClass::UserGenerator | WatchClass::UserEnvironmentGenerator => {
            Scope::User
        }
        // $XDG_RUNTIME_DIR (file-hierarchy(7)); capsules' managers are user managers as well.
        _ if watch_path.starts_with("/run/user/") || watch_path.starts_with("/run/capsules/") => Scope::User,
        _ => Scope::System,
    }
}

/// What `path` means, which lies below a watch of `class`, or is watched itself: the part below the watch begins at
/// `relative`, and is empty for the watched directory or file.
pub fn meaning(class: WatchClass, scope: Scope, path: &[u8], relative: usize) -> Meaning<'_> {
    let part =
        |name, part| Part { name, part, scope, directory: false, provisional: false, type_level: false };
    let relative = path.get(relative..).unwrap_or_default();
    let kind = adjacent::of(class);
    if class == WatchClass::LinkedDirectory && !relative.is_empty() {
        return linked_directory(path, relative, part);
    }
    if relative.is_empty() {
        let single = std::str::from_utf8(path).is_ok_and(|path| adjacent::is_file(class, path));
        return Meaning::Part(if single {
            let leaf = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let is = match class {
                WatchClass::LinkedUnit => UnitPart::Fragment,
                WatchClass::ServiceProgram => UnitPart::Program,
                _ => kind.map_or(UnitPart::RcLocal, |kind| kind.part),
            };
            part(leaf, is)
        } else {
            Part { directory: true, ..part(b"", UnitPart::Directory) }
        });
    }
    if let Some(kind) = kind {
        return kind.meaning(scope, relative);
    }
    let mut names = relative.split(|byte| *byte == b'/');
    let first = names.next().unwrap_or_default();
    let second = names.next();
    let deeper = names.next().is_some();
    let leaf = relative.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match class {
        WatchClass::SystemUnit
        | WatchClass::UserUnit
        | WatchClass::GeneratorOutput
        | WatchClass::TransientUnit => match second {
            None => unit_entry(first, part),
            Some(second) if !deeper => below_unit(first, second, part),
            Some(_) => other(leaf, part),
        },
        WatchClass::SystemGenerator | WatchClass::UserGenerator => {
            executable(leaf, second.is_some(), UnitPart::Generator, part)
        }
        WatchClass::SystemEnvironmentGenerator | WatchClass::UserEnvironmentGenerator => {
            executable(leaf, second.is_some(), UnitPart::EnvironmentGenerator, part)
        }
        WatchClass::InitScript => executable(leaf, second.is_some(), UnitPart::InitScript, part),
        WatchClass::RunlevelLink => match runlevel_script(first) {
            Some(script) if second.is_none() => Meaning::Part(part(script, UnitPart::RunlevelLink)),
            _ => Meaning::Nothing,
        },
        WatchClass::ManagerSocket
        | WatchClass::BusSocket
        | WatchClass::EngineSocket
        | WatchClass::LinkedUnit
        | WatchClass::LinkedDirectory
        | WatchClass::ServiceProgram => Meaning::Nothing,
        // A directory of such scripts; every class that is not named here has a row of its own.
        _ => executable(leaf, second.is_some(), UnitPart::RcLocal, part),
    }
}

/// An entry of a unit directory itself.
fn unit_entry<'a>(name: &'a [u8], part: impl Fn(&'a [u8], UnitPart) -> Part<'a>) -> Meaning<'a> {
    if is_unit(name) {
        return Meaning::Part(part(name, UnitPart::Fragment));
    }
    if let Some(base) = name.strip_suffix(b".d").filter(|base| is_drop_in_base(base)) {
        let type_level = is_type(base);
        return Meaning::Part(Part { directory: true, type_level, ..part(base, UnitPart::DropIn) });
    }
    if let Some(base) = dependency_base(name) {
        let type_level = is_type(base);
        return Meaning::Part(Part { directory: true, type_level, ..part(base, UnitPart::DependencyLink) });
    }
    other(name, part)
}

/// An entry of a directory in a unit directory.
fn below_unit<'a>(
    directory: &'a [u8],
    name: &'a [u8],
    part: impl Fn(&'a [u8], UnitPart) -> Part<'a>,
) -> Meaning<'a> {
    if let Some(base) = directory.strip_suffix(b".d").filter(|base| is_drop_in_base(base)) {
        // `dirent_is_file_with_suffix`, src/basic/dirent-util.c: hidden ones are passed over.
        if name.ends_with(b".conf") && !name.starts_with(b".") {
            return Meaning::Part(Part { type_level: is_type(base), ..part(base, UnitPart::DropIn) });
        }
    } else if let Some(base) = dependency_base(directory).filter(|_| is_unit(name)) {
        return Meaning::Part(Part { type_level: is_type(base), ..part(name, UnitPart::DependencyLink) });
    }
    other(name, part)
}

/// An entry of a directory that a link called `x.d` or `x.wants` leads to: its own name says which, if it has one of
/// these, and else its entries do.
fn linked_directory<'a>(
    path: &'a [u8],
    relative: &'a [u8],
    part: impl Fn(&'a [u8], UnitPart) -> Part<'a>,
) -> Meaning<'a> {
    let directory = path[..path.len() - relative.len()].strip_suffix(b"/").unwrap_or_default();
    let directory = directory.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match below_unit(directory, relative, &part) {
        Meaning::Part(Part { part: UnitPart::Other, .. }) if is_unit(relative) => {
            Meaning::Part(part(relative, UnitPart::DependencyLink))
        }
        Meaning::Part(Part { part: UnitPart::Other, .. })
            if relative.ends_with(b".conf") && !relative.contains(&b'/') =>
        {
            Meaning::Part(part(directory, UnitPart::DropIn))
        }
        meaning => meaning,
    }
}

/// The unit whose `.wants`, `.requires` or `.upholds` directory `name` is, or the type of which it is every unit's
/// (`service.wants`, `unit_file_process_dir` in src/shared/dropin.c).
fn dependency_base(name: &[u8]) -> Option<&[u8]> {
    let suffixes: [&[u8]; 3] = [b".wants", b".requires", b".upholds"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(*suffix)).filter(|base| is_drop_in_base(base))
}

/// An entry of a directory of which every file is run: generators (`FOREACH_DIRENT` in src/basic/conf-files.c) and
/// System V scripts (src/sysv-generator/sysv-generator.c) alike.
fn executable<'a>(
    name: &'a [u8],
    deeper: bool,
    kind: UnitPart,
    part: impl Fn(&'a [u8], UnitPart) -> Part<'a>,
) -> Meaning<'a> {
    if deeper {
        return other(name, part);
    }
    if is_hidden_or_backup(name) {
        return Meaning::Temporary;
    }
    Meaning::Part(Part { provisional: is_temporary(name), ..part(name, kind) })
}

fn other<'a>(name: &'a [u8], part: impl Fn(&'a [u8], UnitPart) -> Part<'a>) -> Meaning<'a> {
    if is_temporary(name) { Meaning::Temporary } else { Meaning::Part(part(name, UnitPart::Other)) }
}

/// `S20name` and `K01name` (init scripts' links; src/sysv-generator/sysv-generator.c).
fn runlevel_script(name: &[u8]) -> Option<&[u8]> {
    match name {
        [b'S' | b'K', tens, ones, script @ ..]
            if tens.is_ascii_digit() && ones.is_ascii_digit() && !script.is_empty() =>
        {
            (!is_hidden_or_backup(script)).then_some(script)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn say(class: WatchClass, relative: &str) -> String {
        let path = if relative.is_empty() { "/etc/x".to_owned() } else { format!("/etc/x/{relative}") };
        match meaning(class, scope(class, "/etc/x", None), path.as_bytes(), "/etc/x/".len()) {
            Meaning::Part(part) => {
                let mut said = format!("{:?} {}", part.part, String::from_utf8_lossy(part.name));
                for (set, word) in
                    [(part.directory, " dir"), (part.provisional, " provisional"), (part.type_level, " type")]
                {
                    if set {
                        said += word;
                    }
                }
                said
            }
            Meaning::Temporary => "temporary".into(),
            Meaning::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn unit_directories() {
        for (relative, expected) in [
            ("", "Directory  dir"),
            ("evil.service", "Fragment evil.service"),
            ("evil@.socket", "Fragment evil@.socket"),
            (".evil.service", "Fragment .evil.service"),
            ("evil.service.d", "DropIn evil.service dir"),
            ("evil.service.d/x.conf", "DropIn evil.service"),
            ("evil@a.service.d/x.conf", "DropIn evil@a.service"),
            ("evil-.service.d/x.conf", "DropIn evil-.service"),
            ("service.d/x.conf", "DropIn service type"),
            ("service.d", "DropIn service dir type"),
            ("evil.service.d/.x.conf", "temporary"),
            ("evil.service.d/.#override.conf0123456789abcdef", "temporary"),
            ("evil.service.d/README", "Other README"),
            ("evil.service.d/sub/x.conf", "Other x.conf"),
            ("multi-user.target.wants/evil.service", "DependencyLink evil.service"),
            ("dev-sda.device.wants/evil.service", "DependencyLink evil.service"),
            ("a.service.upholds/evil.timer", "DependencyLink evil.timer"),
            ("a.target.requires", "DependencyLink a.target dir"),
            ("service.wants/evil.service", "DependencyLink evil.service type"),
            ("service.wants", "DependencyLink service dir type"),
            ("nothing.wants/evil.service", "Other evil.service"),
            ("payload.sh", "Other payload.sh"),
            ("sedAbCdEf", "temporary"),
            ("evil.service.dpkg-new", "temporary"),
            ("evil.service;0123abcd", "temporary"),
        ] {
            assert_eq!(say(WatchClass::SystemUnit, relative), expected, "{relative}");
        }
    }

    #[test]
    fn generators_and_scripts() {
        use WatchClass::{InitScript, RcLocal, RunlevelLink, SystemEnvironmentGenerator, SystemGenerator};
        for (class, relative, expected) in [
            (SystemGenerator, "evil", "Generator evil"),
            (SystemGenerator, "sedAbCdEf", "Generator sedAbCdEf provisional"),
            (SystemGenerator, "gen;0123abcd", "Generator gen;0123abcd provisional"),
            (SystemGenerator, "gen.dpkg-new", "temporary"),
            (SystemGenerator, ".gen", "temporary"),
            (SystemGenerator, "sub/gen", "Other gen"),
            (SystemEnvironmentGenerator, "10-evil", "EnvironmentGenerator 10-evil"),
            (InitScript, "evil", "InitScript evil"),
            (InitScript, ".depend.boot", "temporary"),
            (RunlevelLink, "S20evil", "RunlevelLink evil"),
            (RunlevelLink, "K01evil", "RunlevelLink evil"),
            (RunlevelLink, "README", "nothing"),
            (RunlevelLink, "S2evil", "nothing"),
            (RcLocal, "", "RcLocal x"),
            (RcLocal, "boot.local", "RcLocal boot.local"),
            (RcLocal, "boot.local~", "temporary"),
        ] {
            assert_eq!(say(class, relative), expected, "{class:?} {relative}");
        }
    }

    #[test]
    fn what_links_lead_to() {
        for (class, path, relative, expected) in [
            (WatchClass::LinkedUnit, "/opt/evil.service", 17, "Fragment evil.service"),
            (WatchClass::ServiceProgram, "/opt/run.sh", 11, "Program run.sh"),
            (WatchClass::LinkedDirectory, "/opt/d/x.conf", 7, "DropIn d"),
            (WatchClass::LinkedDirectory, "/opt/ssh.service.d/x.conf", 19, "DropIn ssh.service"),
            (WatchClass::LinkedDirectory, "/opt/w/evil.service", 7, "DependencyLink evil.service"),
            (WatchClass::LinkedDirectory, "/opt/w/README", 7, "Other README"),
        ] {
            let said = match meaning(class, Scope::System, path.as_bytes(), relative) {
                Meaning::Part(part) => format!("{:?} {}", part.part, String::from_utf8_lossy(part.name)),
                other => format!("{other:?}"),
            };
            assert_eq!(said, expected, "{path}");
        }
    }

    #[test]
    fn scopes() {
        assert_eq!(scope(WatchClass::SystemUnit, "/etc/systemd/system", None), Scope::System);
        assert_eq!(scope(WatchClass::UserGenerator, "/etc/systemd/user-generators", None), Scope::User);
        assert_eq!(scope(WatchClass::GeneratorOutput, "/run/systemd/generator", None), Scope::System);
        assert_eq!(scope(WatchClass::TransientUnit, "/run/user/1000/systemd/transient", None), Scope::User);
        assert_eq!(scope(WatchClass::EngineSocket, "/run/user/1000/podman/podman.sock", None), Scope::User);
    }

    proptest! {
        #[test]
        fn what_is_in_force_is_never_temporary(name in "[a-zA-Z0-9:_.@-]{1,30}\\.(service|timer|socket)") {
            if is_unit(name.as_bytes()) {
                prop_assert!(say(WatchClass::SystemUnit, &name).starts_with("Fragment"));
            }
        }

        #[test]
        fn no_path_panics(relative in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = meaning(WatchClass::SystemUnit, Scope::System, &relative, 0);
            let _ = meaning(WatchClass::RunlevelLink, Scope::System, &relative, 0);
            let _ = meaning(WatchClass::UserGenerator, Scope::User, &relative, 0);
        }
    }
}
