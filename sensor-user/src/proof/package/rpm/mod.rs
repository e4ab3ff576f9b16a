//! rpm(8): `rpmdb.sqlite` or `Packages.db` (ndb).
//!
//! # When a verdict can be had
//! rpm unpacks each file as `NAME;ID` and renames it when the whole package is there (lib/fsm.c), then adds the package's header
//! to the database (lib/psm.c, `rpmpsmUnpack`, `dbAdd`), then runs `%post`; the old version's files and header go after that.
//! So between rename and header a file is `Modified` for a moment, and from the header on it is proved, while the transaction
//! goes on: with SQLite the header is in the write-ahead log then, which is read.
//!
//! Scripts run from `/var/tmp/rpm-tmp.*`, whose name does not tell of which package; `<lua>` ones run in rpm itself.

mod header;
mod ndb;
mod sqlite;

use std::collections::HashMap;
use std::fs::File;
use std::io;

use self::header::Header;
use self::sqlite::Sqlite;
use super::aliases::Aliases;
use super::database::{Database, Script, Status, UnderWay};
use super::index::Index;
use super::{Claim, Manager, Package};
use crate::source::content::Root;
use crate::source::object::Stamp;

/// Where a database may be: since Fedora 36 and openSUSE 15 below /usr (`%_dbpath`).
const PLACES: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
/// Packages, at most.
const PACKAGES_MAX: usize = 1 << 16;
/// Claims on one path.
const CLAIMS_MAX: usize = 16;

/// One row or slot: what has the same is the same package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Id {
    Row(i64),
    Slot(ndb::Slot),
}

/// An open database.
#[derive(Debug)]
enum Open {
    Sqlite { of: Sqlite<File>, packages: u32 },
    Ndb(File),
}

impl Open {
    fn ids(&self) -> io::Result<Vec<Id>> {
        Ok(match self {
            Self::Sqlite { of, packages } => {
                of.rows(*packages, PACKAGES_MAX)?.into_iter().map(Id::Row).collect()
            }
            Self::Ndb(file) => ndb::slots(file)?.into_iter().map(Id::Slot).collect(),
        })
    }

    fn blob(&self, id: Id) -> io::Result<Option<Vec<u8>>> {
        match (self, id) {
            (Self::Sqlite { of, packages }, Id::Row(row)) => of.blob(*packages, row),
            (Self::Ndb(file), Id::Slot(slot)) => ndb::blob(file, slot).map(Some),
            _ => Ok(None),
        }
    }
}

/// State of the database and of its log.
type Seen = (Option<Stamp>, Option<Stamp>);

/// rpm's database.
#[derive(Debug, Default)]
pub(super) struct Rpm {
    path: Option<String>,
    seen: Seen,
    open: Option<Open>,
    index: Index,
    /// Which package a slot of the index stands for.
    ids: Vec<Id>,
    slots: HashMap<Id, (u32, Package)>,
    /// Headers that were none.
    refused: usize,
    problem: Option<String>,
}

impl Database for Rpm {
    fn refresh(&mut self, root: &Root, aliases: &Aliases) -> bool {
        let path = find(root);
        let seen = path.as_deref().map_or((None, None), |path| stamps(root, path));
        if path == self.path && seen == self.seen {
            return false;
        }
        if path != self.path {
            *self = Self { path, ..Self::default() };
        }
        let Some(path) = self.path.clone() else { return true };
        self.problem = None;
        let read = self.read(root, aliases, &path);
        let now = stamps(root, &path);
        self.seen = seen;
        if let Err(error) = read {
            self.problem = Some(format!("{path}: {error}"));
        } else if now != seen {
            // Read again the next time; what is there until then may be half of a change.
            self.seen = (None, None);
            self.problem = Some(format!("{path}: it changed while it was read"));
        }
        true
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn manager(&self) -> Manager {
        Manager::Rpm
    }

    fn claims(&mut self, root: &Root, aliases: &Aliases, path: &[u8]) -> Vec<Claim> {
        const TRIES: usize = 3;
        let spellings = aliases.spellings(path);
        for _try in 0..TRIES {
            let claims = self.claims_by_index(path, &spellings);
            let same = self.path.as_deref().is_none_or(|path| stamps(root, path) == self.seen);
            match claims {
                Ok(claims) if same => return claims,
                Err(error) if same => {
                    let path = self.path.as_deref().unwrap_or_default();
                    self.problem = Some(format!("{path}: {error}"));
                    return Vec::new();
                }
                _ => self.refresh(root, aliases),
            };
        }
        self.problem = self.path.as_ref().map(|path| format!("{path}: it changes faster than it is read"));
        Vec::new()
    }

    fn status(&self) -> Option<Status> {
        let mut problems: Vec<String> = self.problem.iter().cloned().collect();
        if self.refused > 0 {
            problems.push(format!("{} packages have no sound header", self.refused));
        }
        if self.index.overflowed() {
            problems.push("more paths than the index takes".to_owned());
        }
        Some(Status {
            manager: Manager::Rpm,
            path: self.path.clone()?,
            packages: self.slots.len(),
            paths: self.index.len(),
            problems,
            distrusted: None,
        })
    }

    fn under_way(&self, root: &Root) -> Vec<UnderWay> {
        let Some(path) = &self.path else { return Vec::new() };
        let files = ["-wal", "-journal"].map(|ending| format!("{path}{ending}"));
        let begun =
            files.into_iter().filter(|file| root.stamp(file.as_bytes()).is_some_and(|log| log.size() > 0));
        begun.map(|state| UnderWay { manager: Manager::Rpm, package: None, state }).collect()
    }

    fn script(&self, _root: &Root, path: &[u8]) -> Option<Script> {
        self.path.as_ref()?;
        let name = path.strip_prefix(b"/var/tmp/")?;
        let is_script = name.starts_with(b"rpm-tmp.") && !name.contains(&b'/');
        is_script.then(|| Script {
            manager: Manager::Rpm,
            package: None,
            name: String::from_utf8_lossy(name).into_owned(),
        })
    }

    fn packages(&self) -> Vec<Package> {
        self.slots.values().map(|(_, package)| package.clone()).collect()
    }
}

impl Rpm {
    /// Reads the headers that are new. A package that is installed again, in whatever version, has a new number.
    fn read(&mut self, root: &Root, aliases: &Aliases, path: &str) -> io::Result<()> {
        let open = open(root, path)?;
        let ids = open.ids()?;
        let mut old = std::mem::take(&mut self.slots);
        let mut entries = self.index.entries();
        self.refused = 0;
        for id in ids {
            if let Some(known) = old.remove(&id) {
                self.slots.insert(id, known);
                continue;
            }
            let blob = open.blob(id)?.unwrap_or_default();
            let header = Header::parse(&blob);
            let Some((header, package)) = header.and_then(|header| Some((header, header.package()?))) else {
                self.refused += 1;
                continue;
            };
            let slot = self.ids.len() as u32;
            self.ids.push(id);
            for path in header.paths() {
                entries.add(&aliases.canonical(&path), slot);
            }
            self.slots.insert(id, (slot, package));
        }
        self.index.extend(entries);
        let (ids, slots) = (&self.ids, &self.slots);
        self.index.tidy(|slot| {
            let id = ids.get(slot as usize);
            id.and_then(|id| slots.get(id)).is_some_and(|(current, _)| *current == slot)
        });
        self.open = Some(open);
        Ok(())
    }

    fn claims_by_index(&self, path: &[u8], spellings: &[Vec<u8>]) -> io::Result<Vec<Claim>> {
        let mut claims = Vec::new();
        let Some(open) = &self.open else { return Ok(claims) };
        for slot in self.index.slots(path) {
            let id = self
                .ids
                .get(slot as usize)
                .filter(|id| self.slots.get(id).is_some_and(|(current, _)| *current == slot));
            let Some(id) = id else { continue };
            let blob = open.blob(*id)?.unwrap_or_default();
            claims.extend(Header::parse(&blob).and_then(|header| header.claim(spellings)));
            if claims.len() == CLAIMS_MAX {
                break;
            }
        }
        Ok(claims)
    }
}

/// The first database that there is; of Berkeley's, which cannot be read, if there is no other.
fn find(root: &Root) -> Option<String> {
    let names = ["rpmdb.sqlite", "Packages.db", "Packages"];
    let paths = names.iter().flat_map(|name| PLACES.map(|place| format!("{place}/{name}")));
    paths.into_iter().find(|path| root.stamp(path.as_bytes()).is_some())
}

fn stamps(root: &Root, path: &str) -> Seen {
    (root.stamp(path.as_bytes()), root.stamp(format!("{path}-wal").as_bytes()))
}

fn open(root: &Root, path: &str) -> io::Result<Open> {
    let (file, _) = root.open_regular(path.as_bytes(), true)?;
    if path.ends_with("/Packages.db") {
        return Ok(Open::Ndb(file));
    }
    if path.ends_with("/Packages") {
        return Err(io::Error::other("a Berkeley database, which this version does not read"));
    }
    let log = match root.open_regular(format!("{path}-wal").as_bytes(), true) {
        Ok((log, _)) => Some(log),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let of = Sqlite::open(file, log)?;
    let packages = of.table("Packages")?;
    Ok(Open::Sqlite { of, packages })
}

#[cfg(test)]
mod tests;
