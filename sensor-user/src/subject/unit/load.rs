//! Where the service manager looks for units, in which order, and under which names it finds them (systemd.unit(5),
//! "UNIT FILE LOAD PATH"; src/libsystemd/sd-path/path-lookup.c, src/shared/unit-file.c, src/shared/dropin.c;
//! systemd 252 to 257).

use std::collections::{BTreeMap, BTreeSet};

use super::super::name::is_hidden_or_backup;
use super::super::service::Scope;
use super::name::{Name, Type};
use super::store::{Found, UnitFiles};

/// Most links from name to name that are followed (`FOLLOW_MAX`, src/shared/unit-file.c).
const NAMES_MAX: usize = 8;

/// Most directories of a load path: `SYSTEMD_UNIT_PATH` may name any number.
pub const DIRECTORIES_MAX: usize = 64;

/// Most names of a unit, so that a directory full of links to it does not take for ever.
pub const ALIASES_MAX: usize = 256;

/// The directories of the system manager, the most important first.
const SYSTEM: [&str; 13] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    // Where /usr is not merged. Elsewhere it is the one above, and a second look there changes nothing.
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// Those of a user's manager. `~` is the home directory, `$` the runtime directory. `XDG_CONFIG_DIRS` and
/// `XDG_DATA_DIRS` are as where they are not set, but for flatpak's and snapd's directories. Those count where the
/// manager's own environment names them; what environment generators set reaches its services alone.
const USER: [&str; 19] = [
    "~/.config/systemd/user.control",
    "$/systemd/user.control",
    "$/systemd/transient",
    "$/systemd/generator.early",
    "~/.config/systemd/user",
    "/etc/xdg/systemd/user",
    "/etc/systemd/user",
    "$/systemd/user",
    "/run/systemd/user",
    "$/systemd/generator",
    "~/.local/share/systemd/user",
    "~/.local/share/flatpak/exports/share/systemd/user",
    "/var/lib/flatpak/exports/share/systemd/user",
    "/var/lib/snapd/desktop/systemd/user",
    "/usr/local/share/systemd/user",
    "/usr/share/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
    "$/systemd/generator.late",
];

/// Where a manager looks, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPath {
    /// Whose manager.
    pub scope: Scope,
    /// The directories, the most important first.
    pub directories: Vec<Box<[u8]>>,
    /// The home directory of the manager's user.
    pub home: Option<Box<[u8]>>,
    /// The manager's user.
    pub uid: Option<u32>,
}

impl LoadPath {
    /// The system manager's.
    pub fn system() -> Self {
        Self {
            scope: Scope::System,
            directories: SYSTEM.iter().map(|path| path.as_bytes().into()).collect(),
            home: Some(b"/root"[..].into()),
            uid: Some(0),
        }
    }

    /// That of a user's manager, with `$XDG_RUNTIME_DIR` as `pam_systemd(8)` sets it.
    pub fn user(home: &[u8], uid: u32) -> Self {
        let expand = |path: &&str| match path.split_at(1) {
            ("~", rest) => [home, rest.as_bytes()].concat().into(),
            ("$", rest) => format!("/run/user/{uid}{rest}").into_bytes().into(),
            _ => path.as_bytes().into(),
        };
        Self {
            scope: Scope::User,
            directories: USER.iter().map(expand).collect(),
            home: Some(home.into()),
            uid: Some(uid),
        }
    }

    /// With `value` of `SYSTEMD_UNIT_PATH`: before these directories where it ends in `:`, else in their place
    /// (systemd.unit(5)).
    #[must_use]
    pub fn with_unit_path(mut self, value: &[u8]) -> Self {
        let named = value.split(|byte| *byte == b':').filter(|path| path.first() == Some(&b'/'));
        let mut directories: Vec<Box<[u8]>> = named.map(Into::into).collect();
        if value.last() == Some(&b':') {
            directories.append(&mut self.directories);
        }
        directories.truncate(DIRECTORIES_MAX);
        Self { directories, ..self }
    }
}

/// Where a unit's name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// To this file or link of the load path.
    Path(Vec<u8>),
    /// There is none of this name.
    Missing,
    /// To a name that there is none of.
    Dangling,
    /// In a circle.
    Loop,
}

/// A load path's view of the files.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The files.
    pub files: &'a UnitFiles,
    /// The load path.
    pub load: &'a LoadPath,
    /// Each directory as the load path has it, and as it is without links.
    directories: Vec<(&'a [u8], Vec<u8>)>,
}

/// Where a link in a unit directory leads.
enum Lead {
    /// Out of these directories: it is a linked unit or a mask.
    Out,
    /// To another name.
    Alias(Vec<u8>),
    /// To what cannot be an alias: it is passed over.
    Invalid,
}

enum Entry {
    Path(Vec<u8>),
    Alias(Vec<u8>),
}

impl<'a> View<'a> {
    /// Of these files by this load path.
    pub fn new(files: &'a UnitFiles, load: &'a LoadPath) -> Self {
        let resolved = |path: &'a [u8]| Some((path, files.resolve(path, true)?));
        let mut directories: Vec<(&[u8], Vec<u8>)> = Vec::with_capacity(load.directories.len());
        for (path, resolved) in load.directories.iter().map(|path| &path[..]).filter_map(resolved) {
            // The second look at a directory finds nothing new.
            if directories.iter().all(|(_, known)| *known != resolved) {
                directories.push((path, resolved));
            }
        }
        Self { files, load, directories }
    }

    /// What a name is in the first directory that has it (`unit_file_build_name_map`).
    fn entry(&self, name: &[u8]) -> Option<Entry> {
        self.directories.iter().find_map(|(shown, directory)| {
            let path = join(directory, name);
            if self.files.file(&path).is_some() {
                return Some(Entry::Path(join(shown, name)));
            }
            let target = self.files.link(&path)?;
            match self.lead(directory, name, target) {
                Lead::Out => Some(Entry::Path(join(shown, name))),
                Lead::Alias(alias) => Some(Entry::Alias(alias)),
                Lead::Invalid => None,
            }
        })
    }

    /// What a link in a unit directory is (`unit_file_resolve_symlink`, `unit_validate_alias_symlink_or_warn`).
    fn lead(&self, directory: &[u8], name: &[u8], target: &[u8]) -> Lead {
        let path = if target.first() == Some(&b'/') { target.to_vec() } else { join(directory, target) };
        let Some(path) = self.files.resolve(&path, false) else { return Lead::Invalid };
        let below =
            |directory: &[u8]| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"));
        if !self.directories.iter().any(|(shown, resolved)| below(shown) || below(resolved)) {
            return Lead::Out;
        }
        let (_, target) = split(&path);
        let valid = || {
            let (from, to) = (Name::parse(name)?, Name::parse(target)?);
            let same =
                from.is_template() == to.is_template() && from.instance.is_some() == to.instance.is_some();
            let kinds = same || (from.is_instance() && to.is_template());
            let instances = !to.is_instance() || from.instance == to.instance;
            let allowed = from.kind.may_alias() && (from.instance.is_none() || from.kind.may_template());
            (from.kind == to.kind && from.whole != to.whole && kinds && instances && allowed).then_some(())
        };
        valid().map_or(Lead::Invalid, |()| Lead::Alias(target.to_vec()))
    }

    /// Where a name leads, alias by alias (`unit_ids_map_get`).
    pub fn fragment(&self, name: &[u8]) -> Fragment {
        let mut id = name.to_vec();
        for hop in 0..NAMES_MAX {
            let entry = self.entry(&id).or_else(|| {
                // An alias may lead to an instance, which is then its template's.
                let template = Name::parse(&id).filter(|_| hop > 0)?.template()?;
                self.entry(&template)
            });
            match entry {
                Some(Entry::Path(path)) => return Fragment::Path(path),
                Some(Entry::Alias(alias)) => id = alias,
                None if hop == 0 => return Fragment::Missing,
                None => return Fragment::Dangling,
            }
        }
        Fragment::Loop
    }

    /// All names of a unit, and its file (`unit_file_find_fragment`). The first name is the one it goes by: that of
    /// its file, the instance put in; it is what drop-ins and specifiers see.
    pub fn names(&self, name: Name<'_>) -> (Vec<Vec<u8>>, Fragment) {
        let mut names = BTreeSet::from([name.whole.to_vec()]);
        names.extend(self.aliases(name.whole, name, None));
        let mut fragment = self.fragment(name.whole);
        if !matches!(fragment, Fragment::Path(_) | Fragment::Loop) {
            if let Some(template) = name.template() {
                fragment = self.fragment(&template);
            }
        }
        let mut id = name.whole.to_vec();
        if let Fragment::Path(path) = &fragment {
            let file = split(path).1;
            id = instantiated(file, name);
            if file != name.whole {
                names.extend(self.aliases(file, name, Some(file)));
            }
        }
        names.remove(&id);
        (std::iter::once(id).chain(names).take(ALIASES_MAX).collect(), fragment)
    }

    /// The names that lead to a file of the name `base` (`add_names`): of a template the instance is put in.
    fn aliases(&self, base: &[u8], name: Name<'_>, file: Option<&[u8]>) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let leading = self.leading_to(base, name.kind);
        for (_, directory) in &self.directories {
            for path in self.files.links_below(directory) {
                let alias = &path[directory.len() + 1..];
                let Some(parsed) = Name::parse(alias).filter(|_| leading.contains(alias)) else { continue };
                let Fragment::Path(target) = self.fragment(alias) else { continue };
                if self.is_mask(&target) {
                    continue;
                }
                if instantiated(split(&target).1, parsed) != base {
                    continue;
                }
                if !(parsed.is_template() && name.is_instance()) {
                    found.push(alias.to_vec());
                    continue;
                }
                let Some(alias) = name.instance.and_then(|instance| parsed.with_instance(instance)) else {
                    continue;
                };
                // The instance itself may lead elsewhere.
                match (self.fragment(&alias), file) {
                    (Fragment::Path(own), Some(file)) if split(&own).1 != file => {}
                    _ => found.push(alias),
                }
            }
        }
        found
    }

    /// The names of links that may lead to `base`, by the last names of their targets: few of all there are, so that
    /// following each is not too dear.
    fn leading_to(&self, base: &[u8], kind: Type) -> BTreeSet<Vec<u8>> {
        let mut links: Vec<(&[u8], &[u8])> = Vec::new();
        for directory in self.unit_directories() {
            for path in self.files.links_below(directory) {
                let alias = &path[directory.len() + 1..];
                if let Some(target) = self.files.link(path).filter(|_| alias.ends_with(kind.suffix())) {
                    links.push((alias, split(target).1));
                }
            }
        }
        let template = |name: &[u8]| Name::parse(name).and_then(|name| name.template());
        let mut leading: BTreeSet<Vec<u8>> = template(base).into_iter().chain([base.to_vec()]).collect();
        for _ in 0..NAMES_MAX {
            let known = leading.len();
            links.retain(|(alias, target)| {
                let leads = leading.contains(*target)
                    || template(target).is_some_and(|template| leading.contains(&template));
                if leads {
                    leading.insert(alias.to_vec());
                }
                !leads
            });
            if leading.len() == known {
                break;
            }
        }
        leading
    }

    /// Whether a path leads to /dev/null or to a file of no length.
    pub fn is_mask(&self, path: &[u8]) -> bool {
        match self.files.read(path) {
            Found::Null => true,
            Found::File(digest) => digest.is_empty(),
            Found::Unread(_) => false,
        }
    }

    /// What lies in the directories that end in `suffix` and belong to a unit of these names: one path for each file
    /// name, that of the most important directory, sorted by file name (`unit_file_find_dropin_paths`,
    /// `conf_files_list_strv`). `ending` is what the file names must end in.
    pub fn belonging(&self, names: &[Vec<u8>], suffix: &[u8], ending: &[u8]) -> Vec<Vec<u8>> {
        let mut found = BTreeMap::new();
        for directory in self.directories_of(names, suffix) {
            for path in self.files.below(&directory) {
                let file = &path[directory.len() + 1..];
                let counts = !file.contains(&b'/') && file.ends_with(ending) && !is_hidden_or_backup(file);
                if counts {
                    found.entry(file.to_vec()).or_insert_with(|| path.to_vec());
                }
            }
        }
        found.into_values().collect()
    }

    /// These directories, the most important first, without links: for each name and directory of the load path that
    /// of the name, of its template, of its prefixes; at last those of the type.
    fn directories_of(&self, names: &[Vec<u8>], suffix: &[u8]) -> Vec<Vec<u8>> {
        let mut found: Vec<Vec<u8>> = Vec::new();
        // Most of them do not exist, and a unit may have hundreds of names: so look at what there is, once.
        let existing: Vec<BTreeSet<&[u8]>> = self
            .unit_directories()
            .map(|directory| {
                let entries = self.files.below(directory).map(|path| &path[directory.len() + 1..]);
                let names = entries.filter_map(|entry| entry.split(|byte| *byte == b'/').next());
                names.filter(|name| name.ends_with(suffix)).collect()
            })
            .collect();
        let mut add = |base: &[u8], at: usize| {
            let name = [base, suffix].concat();
            let path = existing[at].contains(&name[..]).then(|| join(&self.directories[at].1, &name));
            let Some(path) = path.and_then(|path| self.files.resolve(&path, true)) else { return };
            if self.files.below(&path).next().is_some() && !found.contains(&path) {
                found.push(path);
            }
        };
        for name in names {
            let bases = bases(name);
            for at in 0..self.directories.len() {
                for base in &bases {
                    add(base, at);
                }
            }
        }
        if let Some(kind) = names.first().and_then(|name| Name::parse(name)).map(|name| name.kind) {
            for at in 0..self.directories.len() {
                add(kind.suffix(), at);
            }
        }
        found
    }

    /// Every path at which a part of the unit of a name can lie: its file, its template's, and the directories of
    /// drop-ins that belong to it. Whether anything is there is not asked.
    pub fn candidates(&self, name: &[u8]) -> Vec<Vec<u8>> {
        let Some(parsed) = Name::parse(name) else { return Vec::new() };
        let names: Vec<Vec<u8>> = std::iter::once(name.to_vec()).chain(parsed.template()).collect();
        let drop_ins = bases(name).into_iter().chain([parsed.kind.suffix().to_vec()]);
        let leaves: Vec<Vec<u8>> =
            names.into_iter().chain(drop_ins.map(|base| [&base[..], b".d"].concat())).collect();
        self.unit_directories()
            .flat_map(|directory| leaves.iter().map(move |leaf| join(directory, leaf)))
            .collect()
    }

    /// The directories of the load path, without links.
    pub fn unit_directories(&self) -> impl Iterator<Item = &[u8]> {
        self.directories.iter().map(|(_, directory)| &directory[..])
    }

    /// Every unit of which there is a file or link, by name.
    pub fn units(&self) -> BTreeSet<Vec<u8>> {
        let entries = self
            .unit_directories()
            .flat_map(|directory| self.files.below(directory).map(move |path| &path[directory.len() + 1..]));
        entries.filter(|name| Name::parse(name).is_some()).map(<[u8]>::to_vec).collect()
    }
}

/// The names whose drop-ins belong to `name`, itself first (`unit_file_find_dirs`).
pub(super) fn bases(name: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = vec![name.to_vec()];
    // An instance's template and its prefixes come before the instance's own prefixes.
    while let Some(base) = rest.pop() {
        let Some(parsed) = Name::parse(&base).filter(|_| !found.contains(&base)) else { continue };
        rest.extend(parsed.parent());
        rest.extend(parsed.template());
        found.push(base);
    }
    found
}

/// `file`, the instance of `name` put in where it is a template.
fn instantiated(file: &[u8], name: Name<'_>) -> Vec<u8> {
    let template = Name::parse(file).filter(Name::is_template);
    let instance = name.instance.filter(|instance| !instance.is_empty());
    let built = template.zip(instance).and_then(|(template, instance)| template.with_instance(instance));
    built.unwrap_or_else(|| file.to_vec())
}

/// A path's directory and its last name.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, b"/", name].concat()
}

/// Which units activate a unit by themselves: the socket, timer, path or automount unit of the same name, as far as
/// there are files of them. Of a template that is a socket's with `Accept=yes`.
pub fn activators(view: &View<'_>, name: Name<'_>) -> Vec<Vec<u8>> {
    let kinds: &[Type] = match name.kind {
        Type::Service => &[Type::Socket, Type::Timer, Type::Path],
        Type::Mount => &[Type::Automount],
        _ => &[],
    };
    let exists = |unit: &Vec<u8>| matches!(view.fragment(unit), Fragment::Path(path) if !view.is_mask(&path));
    let mut found: Vec<Vec<u8>> = kinds.iter().map(|kind| name.with_type(*kind)).filter(exists).collect();
    if name.kind == Type::Service && name.instance.is_some() {
        found.extend(Some([name.prefix, b".socket"].concat()).filter(exists));
    }
    found
}

#[cfg(test)]
#[path = "load_tests.rs"]
pub(in crate::subject::unit) mod tests;
