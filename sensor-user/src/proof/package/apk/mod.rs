//! apk(8), Alpine: `/lib/apk/db/installed`.
//!
//! One file for all packages: paragraphs of lines of a letter, a colon and a value (apk-tools, "Installed Database
//! V2", src/database.c): `P` name, `V` version, `A` architecture, `F` a directory, `R` a file in it, `Z` its checksum: `Q1` and
//! the SHA-1 in base64. Of a symbolic link it is that of the target as it is written.
//!
//! # When a verdict can be had
//! apk extracts each file as `.apk.HASH` beside its place, renames them, runs the package's scripts, and writes `installed` anew
//! when the whole transaction is done: until then what is new is `Modified` or `Unowned`. Its lock is always there, so the
//! books do not tell that a transaction is under way.

mod installed;

use super::aliases::Aliases;
use super::database::{Database, Script, Status, UnderWay};
use super::index::Index;
use super::{Claim, Manager, Package};
use crate::source::content::Root;
use crate::source::object::Stamp;

/// Where it may be: below /usr since Alpine 3.22.
const PLACES: [&str; 2] = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];
/// Bytes of it at most: 1,000 packages have about 5 MiB.
const INSTALLED_MAX: u64 = 64 << 20;
/// Packages, at most.
const PACKAGES_MAX: usize = 1 << 16;

/// apk's database.
#[derive(Debug, Default)]
pub(super) struct Apk {
    path: Option<&'static str>,
    seen: Option<Stamp>,
    index: Index,
    /// By slot: which package, and which bytes of the file are its.
    packages: Vec<(Package, std::ops::Range<usize>)>,
    problem: Option<String>,
}

impl Database for Apk {
    fn refresh(&mut self, root: &Root, aliases: &Aliases) -> bool {
        let path = PLACES.into_iter().find(|path| root.stamp(path.as_bytes()).is_some());
        let seen = path.and_then(|path| root.stamp(path.as_bytes()));
        if path == self.path && seen == self.seen {
            return false;
        }
        *self = Self { path, seen, ..Self::default() };
        let Some(path) = path else { return true };
        let text = match root.bytes(path.as_bytes(), INSTALLED_MAX) {
            Ok((text, stamp)) => {
                self.seen = Some(stamp);
                text
            }
            Err(error) => {
                self.problem = Some(format!("{path}: {error}"));
                return true;
            }
        };
        let mut entries = self.index.entries();
        for range in installed::paragraphs(&text) {
            let paragraph = &text[range.clone()];
            let Some(package) = installed::package(paragraph) else {
                self.problem = Some(format!("{path}: a paragraph that names no package"));
                continue;
            };
            if self.packages.len() == PACKAGES_MAX {
                self.problem = Some(format!("{path}: more than {PACKAGES_MAX} packages"));
                break;
            }
            let slot = self.packages.len() as u32;
            installed::files(paragraph, |file, _| entries.add(&aliases.canonical(file), slot));
            self.packages.push((package, range));
        }
        self.index.extend(entries);
        true
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn manager(&self) -> Manager {
        Manager::Apk
    }

    fn claims(&mut self, root: &Root, aliases: &Aliases, path: &[u8]) -> Vec<Claim> {
        const TRIES: usize = 3;
        let spellings = aliases.spellings(path);
        for _try in 0..TRIES {
            let slots = self.index.slots(path);
            let Some(database) = self.path.filter(|_| !slots.is_empty()) else { return Vec::new() };
            // It is read anew for each question that it has an answer to: kept, it would cost its length in memory.
            let read = root.bytes(database.as_bytes(), INSTALLED_MAX).ok();
            if let Some((text, _)) = read.filter(|(_, stamp)| Some(*stamp) == self.seen) {
                let known = slots.iter().filter_map(|slot| self.packages.get(*slot as usize));
                return known
                    .filter_map(|(package, range)| claim(&text, package, range, &spellings))
                    .collect();
            }
            self.refresh(root, aliases);
        }
        self.problem = self.path.map(|path| format!("{path}: it changes faster than it is read"));
        Vec::new()
    }

    fn status(&self) -> Option<Status> {
        let mut problems: Vec<String> = self.problem.iter().cloned().collect();
        if self.index.overflowed() {
            problems.push("more paths than the index takes".to_owned());
        }
        Some(Status {
            manager: Manager::Apk,
            path: self.path?.to_owned(),
            packages: self.packages.len(),
            paths: self.index.len(),
            problems,
            distrusted: None,
        })
    }

    fn under_way(&self, _root: &Root) -> Vec<UnderWay> {
        Vec::new()
    }

    /// `lib/apk/exec/NAME-VERSION.TYPE`, in some versions with the package's hash before the type.
    fn script(&self, _root: &Root, path: &[u8]) -> Option<Script> {
        const NAMES: [&str; 7] = [
            "pre-install",
            "post-install",
            "pre-deinstall",
            "post-deinstall",
            "pre-upgrade",
            "post-upgrade",
            "trigger",
        ];
        self.path?;
        let path = std::str::from_utf8(path).ok()?;
        let file = path.strip_prefix("/usr").unwrap_or(path).strip_prefix("/lib/apk/exec/")?;
        let (stem, name) = file.rsplit_once('.').filter(|(_, name)| NAMES.contains(name))?;
        let is_of = |package: &&Package| {
            let rest = stem.strip_prefix(&*package.name).and_then(|rest| rest.strip_prefix('-'));
            let rest = rest.and_then(|rest| rest.strip_prefix(&*package.version));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(".Q"))
        };
        let package = self.packages.iter().map(|(package, _)| package).find(is_of).cloned();
        Some(Script { manager: Manager::Apk, package, name: name.to_owned() })
    }

    fn packages(&self) -> Vec<Package> {
        self.packages.iter().map(|(package, _)| package.clone()).collect()
    }
}

fn claim(
    text: &[u8],
    package: &Package,
    range: &std::ops::Range<usize>,
    spellings: &[Vec<u8>],
) -> Option<Claim> {
    let mut found = None;
    installed::files(text.get(range.clone())?, |file, digest| {
        if let Some(spelling) = spellings.iter().find(|spelling| *spelling == file) {
            // /etc is what apk protects if nothing else is said (apk-protected_paths(5)).
            found = Some((digest, spelling.starts_with(b"/etc/")));
        }
    });
    let (digest, config) = found?;
    Some(Claim { package: package.clone(), digest, target: None, config })
}

pub(super) fn read_as_all(bytes: &[u8]) {
    for range in installed::paragraphs(bytes) {
        let _ = installed::package(&bytes[range.clone()]);
        installed::files(&bytes[range], |_, _| ());
    }
}

#[cfg(test)]
mod tests;
