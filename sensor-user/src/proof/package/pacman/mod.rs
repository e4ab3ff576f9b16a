//! pacman(8), Arch: `/var/lib/pacman/local`.
//!
//! A directory for each package, `NAME-VERSION-RELEASE`: `desc` and `files` are sections of lines (`%NAME%`, `%FILES%`,
//! `%BACKUP%` with the configuration files), `mtree` is mtree(5), compressed by gzip, with a digest of every file.
//!
//! # When a verdict can be had
//! pacman removes the old version's directory and files, extracts the new files into their places and then writes the new
//! directory (lib/libalpm/add.c, `commit_single_pkg`): until then they are `Unowned`. While it runs there is
//! `/var/lib/pacman/db.lck`, which also stays behind when it was killed.

mod local;
mod mtree;

use std::collections::BTreeMap;

use super::aliases::Aliases;
use super::database::{Database, Script, Status, UnderWay};
use super::index::Index;
use super::{Claim, Digest, Manager, Package};
use crate::source::content::Root;
use crate::source::object::Stamp;

const LOCAL: &str = "/var/lib/pacman/local";
const LOCK: &str = "/var/lib/pacman/db.lck";
/// Packages, at most.
const PACKAGES_MAX: usize = 1 << 16;
/// Bytes of a file of a package at most; the longest have some MiB.
const FILE_MAX: u64 = 32 << 20;
/// Claims on one path.
const CLAIMS_MAX: usize = 16;
/// Problems that are told one by one.
const PROBLEMS_MAX: usize = 16;

/// pacman's database.
#[derive(Debug, Default)]
pub(super) struct Pacman {
    seen: Option<Stamp>,
    index: Index,
    /// By directory: its slot, its state, and which package it is of.
    packages: BTreeMap<Vec<u8>, (u32, Option<Stamp>, Package)>,
    /// By slot: the directory.
    slots: Vec<Vec<u8>>,
    problems: Vec<String>,
}

impl Database for Pacman {
    fn refresh(&mut self, root: &Root, aliases: &Aliases) -> bool {
        let seen = root.stamp(LOCAL.as_bytes());
        // A package's directory is there before its files are: those that were not whole are looked at again.
        let is_whole = self.problems.is_empty();
        if seen == self.seen && is_whole {
            return false;
        }
        self.seen = seen;
        self.problems.clear();
        if seen.is_none() {
            *self = Self::default();
            return true;
        }
        let names = match root.names(LOCAL.as_bytes(), PACKAGES_MAX) {
            Ok(names) => names,
            Err(error) => {
                self.problem(format!("{LOCAL}: {error}"));
                return true;
            }
        };
        let mut old = std::mem::take(&mut self.packages);
        let mut entries = self.index.entries();
        for name in names.into_iter().filter(|name| name != b"ALPM_DB_VERSION") {
            let files = path(&name, "files");
            let stamp = root.stamp(&files);
            if let Some(known) = old.remove(&name).filter(|known| known.1 == stamp) {
                self.packages.insert(name, known);
                continue;
            }
            let read = |file: &str| root.bytes(&path(&name, file), FILE_MAX);
            let (desc, text) = match read("desc").and_then(|desc| Ok((desc, read("files")?))) {
                Ok(((desc, _), (text, _))) => (desc, text),
                Err(error) => {
                    self.problem(format!("{LOCAL}/{}: {error}", String::from_utf8_lossy(&name)));
                    continue;
                }
            };
            let Some(package) = local::package(&desc) else {
                self.problem(format!("{LOCAL}/{}: desc names no package", String::from_utf8_lossy(&name)));
                continue;
            };
            let slot = self.slots.len() as u32;
            self.slots.push(name.clone());
            for file in local::files(&text) {
                entries.add(&aliases.canonical(&file), slot);
            }
            self.packages.insert(name, (slot, stamp, package));
        }
        self.index.extend(entries);
        let (slots, packages) = (&self.slots, &self.packages);
        self.index.tidy(|slot| {
            let name = slots.get(slot as usize);
            name.and_then(|name| packages.get(name)).is_some_and(|(current, ..)| *current == slot)
        });
        true
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn manager(&self) -> Manager {
        Manager::Pacman
    }

    fn claims(&mut self, root: &Root, aliases: &Aliases, path: &[u8]) -> Vec<Claim> {
        let spellings = aliases.spellings(path);
        let slots = self.index.slots(path);
        let known = slots.iter().filter_map(|slot| {
            let name = self.slots.get(*slot as usize)?;
            let (current, _, package) = self.packages.get(name)?;
            (current == slot).then_some((name, package))
        });
        known.filter_map(|(name, package)| claim(root, name, package, &spellings)).take(CLAIMS_MAX).collect()
    }

    fn status(&self) -> Option<Status> {
        self.seen?;
        let mut problems = self.problems.clone();
        if self.index.overflowed() {
            problems.push("more paths than the index takes".to_owned());
        }
        Some(Status {
            manager: Manager::Pacman,
            path: LOCAL.to_owned(),
            packages: self.packages.len(),
            paths: self.index.len(),
            problems,
            distrusted: None,
        })
    }

    fn under_way(&self, root: &Root) -> Vec<UnderWay> {
        let is_locked = self.seen.is_some() && root.stamp(LOCK.as_bytes()).is_some();
        let state = UnderWay { manager: Manager::Pacman, package: None, state: LOCK.to_owned() };
        is_locked.then_some(state).into_iter().collect()
    }

    /// `local/PACKAGE/install` while it is removed; `/tmp/alpm_XXXXXX/.INSTALL` while it is installed, which does not tell of
    /// which package (lib/libalpm/trans.c, `_alpm_runscriptlet`).
    fn script(&self, _root: &Root, path: &[u8]) -> Option<Script> {
        self.seen?;
        let path = std::str::from_utf8(path).ok()?;
        let script =
            |package, name: &str| Script { manager: Manager::Pacman, package, name: name.to_owned() };
        if let Some(name) = path.strip_prefix(LOCAL).and_then(|rest| rest.strip_suffix("/install")) {
            let (.., package) = self.packages.get(name.strip_prefix('/')?.as_bytes())?;
            return Some(script(Some(package.clone()), "install"));
        }
        let name = path.strip_prefix("/tmp/alpm_")?.strip_suffix("/.INSTALL")?;
        (!name.contains('/')).then(|| script(None, ".INSTALL"))
    }

    fn packages(&self) -> Vec<Package> {
        self.packages.values().map(|(.., package)| package.clone()).collect()
    }
}

impl Pacman {
    fn problem(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

fn path(name: &[u8], file: &str) -> Vec<u8> {
    [LOCAL.as_bytes(), name, file.as_bytes()].join(&b'/')
}

fn claim(root: &Root, name: &[u8], package: &Package, spellings: &[Vec<u8>]) -> Option<Claim> {
    let (text, _) = root.bytes(&path(name, "files"), FILE_MAX).ok()?;
    if !local::files(&text).any(|file| spellings.contains(&file)) {
        return None;
    }
    // What cannot be read leaves the package its claim, without saying what must be there.
    let object =
        root.bytes(&path(name, "mtree"), FILE_MAX).ok().and_then(|(text, _)| mtree::find(&text, spellings));
    let config = local::backups(&text).any(|file| spellings.contains(&file));
    let object = object.unwrap_or_default();
    let digest = object.sha256.map(Digest::Sha256).or(object.md5.map(Digest::Md5));
    Some(Claim { package: package.clone(), digest, target: object.link, config })
}

#[cfg(test)]
mod tests;
