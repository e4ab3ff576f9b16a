//! From places to entries: which files there are, and what each is by its name.

use std::collections::{BTreeMap, HashSet};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::read::{Reader, Text, sha256};
use super::{Entry, Kind, Place, Problem, Remark, Step, text};
use crate::event::path::lossy;
use crate::event::user::WatchClass;
use crate::proof::package::Verdict;
use crate::source::content::Object;
use crate::source::object::nanoseconds;
use crate::subject::adjacent;
use crate::subject::part::{Meaning, Part, meaning, scope};
use crate::subject::service::{Scope, UnitPart};
use crate::subject::unit::signals::Signal;

/// Entries at most. Debian with every service that it packages has a tenth.
pub const ENTRIES_MAX: usize = 200_000;
/// Names of one directory at most.
pub const NAMES_MAX: usize = 65_536;
/// How deep directories are looked into below a place; units have one level of their own below them (`x.service.d`).
const DEPTH_MAX: usize = 8;
const UNITS_DEPTH: usize = 2;
/// Names that one `*` stands for at most.
const STAR_MAX: usize = 65_536;

/// A file or link among units, for the store that puts units together.
#[derive(Clone, Debug)]
pub(super) struct UnitFile {
    pub path: Vec<u8>,
    pub is: UnitFileIs,
}

#[derive(Clone, Debug)]
pub(super) enum UnitFileIs {
    File(Vec<u8>),
    Link(Vec<u8>),
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Found {
    pub entries: BTreeMap<(Vec<u8>, Kind), Entry>,
    /// What each entry is by its name.
    pub parts: BTreeMap<(Vec<u8>, Kind), UnitPart>,
    pub remarks: Vec<Remark>,
    pub units: Vec<UnitFile>,
    /// Links to files: what is at their ends is looked at later, for it may have a name among the entries.
    pub ends: Vec<End>,
    /// Texts that name further places.
    pub settings: Vec<(Vec<u8>, Vec<u8>)>,
    seen: HashSet<Vec<u8>>,
    directories: HashSet<(u64, u64, WatchClass)>,
    full: bool,
}

/// A link whose end is to be looked at.
pub(super) struct End {
    pub link: (Vec<u8>, Kind),
    pub part: UnitPart,
    pub scope: Scope,
    pub class: WatchClass,
}

impl Found {
    /// Whether something at this path was looked at.
    pub fn has(&self, path: &[u8]) -> bool {
        self.seen.contains(path)
    }

    pub fn see(&mut self, path: &[u8]) -> bool {
        self.seen.insert(path.to_vec())
    }

    pub fn remark(&mut self, kind: Kind, path: &[u8], signals: impl IntoIterator<Item = Signal>) {
        let remark = |signal| Remark { kind, path: path.to_vec(), signal };
        self.remarks.extend(signals.into_iter().map(remark));
    }

    pub fn add(&mut self, reader: &mut Reader<'_>, part: UnitPart, entry: Entry) {
        if self.entries.len() < ENTRIES_MAX {
            let key = (entry.path.clone(), entry.kind);
            self.parts.entry(key.clone()).or_insert(part);
            self.entries.entry(key).or_insert(entry);
        } else if !self.full {
            self.full = true;
            reader.problems.push(Problem {
                path: entry.path,
                what: format!("from here on nothing is listed: there are more than {ENTRIES_MAX} entries"),
            });
        }
    }
}

/// Looks at all places; the nearest one counts for what lies in several.
pub(super) fn places(
    reader: &mut Reader<'_>,
    places: &[Place],
    found: &mut Found,
    progress: &mut dyn FnMut(Step),
) {
    let mut order: Vec<&Place> = places.iter().filter(|place| is_looked_at(place.class)).collect();
    order.sort_by_key(|place| std::cmp::Reverse(place.path.matches('/').count()));
    let of = order.len();
    for (done, place) in order.into_iter().enumerate() {
        progress(Step { what: "looking at places", done, of });
        for path in expand(reader, &place.path) {
            look(reader, place, &path, found);
        }
    }
}

/// Sockets are nothing on disk, and engines' state has a look of its own.
fn is_looked_at(class: WatchClass) -> bool {
    !class.is_socket() && class != WatchClass::EngineState
}

/// The paths that one with a `*` stands for.
pub(super) fn expand(reader: &mut Reader<'_>, path: &str) -> Vec<Vec<u8>> {
    let Some((before, after)) = path.split_once("/*") else { return vec![path.as_bytes().to_vec()] };
    let directory = match reader.root.object(before.as_bytes(), true) {
        Ok(object) => object,
        Err(error) => {
            passed(reader, before.as_bytes(), error);
            return Vec::new();
        }
    };
    match directory.names(STAR_MAX) {
        Ok(names) => {
            if names.truncated {
                reader.problem(before.as_bytes(), format!("only {STAR_MAX} of its entries were looked at"));
            }
            let path = |name: &Vec<u8>| [before.as_bytes(), b"/", name, after.as_bytes()].concat();
            names.names.iter().map(|(name, _)| path(name)).collect()
        }
        Err(error) => {
            passed(reader, before.as_bytes(), error);
            Vec::new()
        }
    }
}

/// Notes why something could not be looked at, unless it is just not there.
pub(super) fn passed(reader: &mut Reader<'_>, path: &[u8], error: Errno) {
    if !matches!(error, Errno::NOENT | Errno::NOTDIR) {
        reader.problem(path, format!("cannot be looked at: {error}"));
    }
}

fn look(reader: &mut Reader<'_>, place: &Place, path: &[u8], found: &mut Found) {
    let single = std::str::from_utf8(path).is_ok_and(|path| adjacent::is_file(place.class, path));
    let own = scope(place.class, &place.path, place.owner);
    let visit = Visit { class: place.class, scope: own, owner: place.owner.or_else(|| owner_of(path)) };
    if single {
        let (directory, name) = path.split_at(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
        let directory = if directory.is_empty() { b"/" } else { directory };
        let parent = match reader.root.object(directory, true) {
            Ok(parent) => parent,
            Err(error) => return passed(reader, path, error),
        };
        let mut real = reader.root.canonical(&parent).unwrap_or_else(|| directory.to_vec());
        if real.ends_with(b"/") {
            real.pop();
        }
        real.extend_from_slice(name);
        let length = real.len();
        return visit.entry(reader, &real, length, FileType::Unknown, found).map_or((), |_| ());
    }
    let object = match reader.root.object(path, true) {
        Ok(object) => object,
        Err(error) => return passed(reader, path, error),
    };
    if object.file_type() != FileType::Directory {
        return;
    }
    let real = reader.root.canonical(&object).unwrap_or_else(|| path.to_vec());
    if is_unit_class(place.class) && real != path {
        found.units.push(UnitFile { path: path.to_vec(), is: UnitFileIs::Link(real.clone()) });
    }
    if found.directories.insert((object.stat.st_dev, object.stat.st_ino, place.class)) {
        visit.walk(reader, object, &real, found);
    }
}

/// The user whose runtime directory a path lies in (`pam_systemd(8)`).
fn owner_of(path: &[u8]) -> Option<u32> {
    let rest = path.strip_prefix(b"/run/user/")?;
    std::str::from_utf8(rest.split(|byte| *byte == b'/').next()?).ok()?.parse().ok()
}

pub(super) fn is_unit_class(class: WatchClass) -> bool {
    matches!(
        class,
        WatchClass::SystemUnit
            | WatchClass::UserUnit
            | WatchClass::GeneratorOutput
            | WatchClass::TransientUnit
            | WatchClass::LinkedUnit
            | WatchClass::LinkedDirectory
    )
}

/// One place.
#[derive(Clone, Copy)]
struct Visit {
    class: WatchClass,
    scope: Scope,
    owner: Option<u32>,
}

impl Visit {
    fn walk(self, reader: &mut Reader<'_>, top: Object, path: &[u8], found: &mut Found) {
        let relative = path.len() + 1;
        let deepest = if is_unit_class(self.class) { UNITS_DEPTH } else { DEPTH_MAX };
        let mut waiting = vec![(top, path.to_vec(), 1)];
        // A directory may be reached by more ways than one, once links to directories are followed.
        let mut ways = 0;
        while let Some((directory, path, depth)) = waiting.pop() {
            ways += 1;
            if ways > NAMES_MAX {
                return reader.problem(&path, "there are more directories than are looked into");
            }
            let names = match directory.names(NAMES_MAX) {
                Ok(names) => names,
                Err(error) => {
                    reader.problem(&path, format!("cannot be listed: {error}"));
                    continue;
                }
            };
            if names.truncated {
                reader.problem(&path, format!("only {NAMES_MAX} of its entries were looked at"));
            }
            for (name, kind) in names.names {
                let below = [&path[..], b"/", &name].concat();
                let Some(object) = self.entry(reader, &below, relative, kind, found) else { continue };
                if depth < deepest {
                    waiting.push((object, below, depth + 1));
                } else if deepest == DEPTH_MAX {
                    reader.problem(&below, format!("not looked into: it lies {DEPTH_MAX} directories deep"));
                }
            }
        }
    }

    /// Looks at what is at a path; gives the directory that it is or leads to, where that is to be walked.
    fn entry(
        self,
        reader: &mut Reader<'_>,
        path: &[u8],
        relative: usize,
        kind: FileType,
        found: &mut Found,
    ) -> Option<Object> {
        let part = match meaning(self.class, self.scope, path, relative) {
            Meaning::Part(part) => Some(part).filter(|part| kind_of(part.part, false).is_some()),
            Meaning::Temporary | Meaning::Nothing => None,
        };
        if part.is_none_or(|part| part.directory) && kind == FileType::RegularFile {
            return None;
        }
        let object = match reader.root.object(path, false) {
            Ok(object) => object,
            Err(error) => {
                passed(reader, path, error);
                return None;
            }
        };
        match object.file_type() {
            FileType::Directory => return Some(object),
            FileType::Symlink => {
                let end = reader.root.object(path, true);
                let directory = end.ok().filter(|end| end.file_type() == FileType::Directory);
                if let Some(part) = part.filter(|_| directory.is_none()) {
                    self.link(reader, path, &part, &object, found);
                }
                // A link called `x.d` or `x.wants`, or a supervised service: its entries are in force under its name.
                let followed = is_unit_class(self.class) || self.class == WatchClass::Supervision;
                let directory = directory.filter(|_| followed && part.is_some());
                if directory.is_some() && is_unit_class(self.class) {
                    if let Some(part) = part {
                        self.link(reader, path, &part, &object, found);
                    }
                }
                return directory;
            }
            FileType::RegularFile => {
                if let Some(part) = part.filter(|part| !part.directory) {
                    self.file(reader, path, &part, &object, found);
                }
            }
            _ => {
                if let Some(part) = part.filter(|part| !part.directory && found.see(path)) {
                    reader.problem(path, "it is a FIFO, socket or device: not opened");
                    let proof = Verdict::Unknown { reason: "it is no regular file".to_owned() };
                    let kind = kind_of(part.part, false)?;
                    let entry = self.of(kind, path, part.name, &object, proof);
                    found.add(reader, part.part, entry);
                }
            }
        }
        None
    }

    fn of(self, kind: Kind, path: &[u8], name: &[u8], object: &Object, proof: Verdict) -> Entry {
        entry(kind, self.owner.filter(|_| self.scope == Scope::User), path, name, object, proof)
    }

    fn link(self, reader: &mut Reader<'_>, path: &[u8], part: &Part<'_>, object: &Object, found: &mut Found) {
        let Some(kind) = kind_of(part.part, true).filter(|_| found.see(path)) else { return };
        let target = match object.target() {
            Ok(target) => target,
            Err(error) => return reader.problem(path, format!("cannot be read: {error}")),
        };
        let proof = reader.prove_link(path, &target);
        let mut entry = self.of(kind, path, part.name, object, proof);
        entry.sha256 = Some(sha256(&target));
        if is_unit_class(self.class) {
            found.units.push(UnitFile { path: path.to_vec(), is: UnitFileIs::Link(target.clone()) });
        }
        entry.target = Some(target);
        found.add(reader, part.part, entry);
        let link = (path.to_vec(), kind);
        found.ends.push(End { link, part: part.part, scope: self.scope, class: self.class });
    }

    fn file(self, reader: &mut Reader<'_>, path: &[u8], part: &Part<'_>, object: &Object, found: &mut Found) {
        let Some(kind) = kind_of(part.part, false).filter(|_| found.see(path)) else { return };
        let read = reader.text(path, object);
        let proof = reader.prove(path, &read);
        // Of units nobody runs the file itself.
        if !is_unit_class(self.class) {
            reader.remember(path, &read, &proof);
        }
        let mut entry = self.of(kind, path, part.name, object, proof);
        entry.sha256 = read.digests.as_ref().map(|digests| digests.sha256.clone());
        found.add(reader, part.part, entry);
        self.note(path, part, kind, read, found);
    }

    /// Takes note of what a file says.
    fn note(self, path: &[u8], part: &Part<'_>, kind: Kind, read: Text, found: &mut Found) {
        let signals = text::signals(part.part, path, part.name, &read.text);
        found.remark(kind, path, signals);
        if is_unit_class(self.class) {
            found.units.push(UnitFile { path: path.to_vec(), is: UnitFileIs::File(read.text) });
        } else if matches!(self.class, WatchClass::EngineConfig | WatchClass::KubeletConfig) {
            found.settings.push((path.to_vec(), read.text));
        }
    }
}

/// An entry without what is only known of some.
pub(super) fn entry(
    kind: Kind,
    user: Option<u32>,
    path: &[u8],
    name: &[u8],
    object: &Object,
    proof: Verdict,
) -> Entry {
    let stat = &object.stat;
    Entry {
        kind,
        user,
        name: lossy(name).into_owned(),
        path: path.to_vec(),
        target: None,
        sha256: None,
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        proof,
        programs: Vec::new(),
    }
}

/// What sort of entry a part is; `None` for what is in force nowhere.
pub(super) fn kind_of(part: UnitPart, link: bool) -> Option<Kind> {
    Some(match part {
        UnitPart::Fragment | UnitPart::Alias | UnitPart::DependencyLink if link => Kind::Link,
        // A file in a `.wants` directory counts like a link (`process_deps`, src/core/load-dropin.c).
        UnitPart::DependencyLink => Kind::Link,
        UnitPart::Fragment | UnitPart::Alias => Kind::Unit,
        UnitPart::DropIn => Kind::DropIn,
        UnitPart::Generator | UnitPart::EnvironmentGenerator => Kind::Generator,
        UnitPart::InitScript
        | UnitPart::RunlevelLink
        | UnitPart::RcLocal
        | UnitPart::InitSystem
        | UnitPart::Supervision => Kind::InitScript,
        UnitPart::Quadlet => Kind::Quadlet,
        UnitPart::StaticPod => Kind::StaticPod,
        UnitPart::EngineState | UnitPart::Program | UnitPart::Directory | UnitPart::Other => return None,
        _ => Kind::Adjacent,
    })
}
