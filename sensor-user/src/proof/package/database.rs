//! All package databases of a root behind one question.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::aliases::Aliases;
use super::apk::Apk;
use super::dpkg::Dpkg;
use super::pacman::Pacman;
use super::rpm::Rpm;
use super::{Claim, Manager, Package};
use crate::source::content::Root;

/// How one database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whose.
    pub manager: Manager,
    /// Where, below the root.
    pub path: String,
    /// Packages that count.
    pub packages: usize,
    /// Paths that the index has for them; some twice while packages change.
    pub paths: usize,
    /// What could not be read, or was refused as too large or damaged, in words. Where it is not empty, a path that nobody
    /// claims may be claimed all the same: [`super::Verdict::Unknown`] instead of `Unowned`.
    pub problems: Vec<String>,
    /// Why it proves nothing ([`Packages::distrust`]).
    pub distrusted: Option<String>,
}

/// Something that a manager has begun and not ended: what its database says may be about to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Who.
    pub manager: Manager,
    /// Which package, where that can be told. The version is the one that its database has, so mostly the old one.
    pub package: Option<Package>,
    /// In the manager's words: dpkg's status (`half-installed`), a lock's or a journal's name.
    pub state: String,
}

/// A maintainer script, as its path tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Who runs it.
    pub manager: Manager,
    /// Of which package it is; `None` where the path does not tell (rpm's `/var/tmp/rpm-tmp.*`).
    pub package: Option<Package>,
    /// Which: `postinst`, `preinst`, `trigger`; a temporary file's name where it does not tell.
    pub name: String,
}

/// What every database can be asked. Paths are canonical ([`Aliases::canonical`]).
pub(super) trait Database: std::fmt::Debug + Send {
    /// Reads again what changed; `true` if something did.
    fn refresh(&mut self, root: &Root, aliases: &Aliases) -> bool;
    /// Forgets all, so that the next `refresh` reads all.
    fn reset(&mut self);
    /// Who owns a path and what must be there.
    fn claims(&mut self, root: &Root, aliases: &Aliases, path: &[u8]) -> Vec<Claim>;
    /// The name of the alternative, where this database has it that a link at `path` to `target` is one.
    fn alternative(
        &mut self,
        _root: &Root,
        _aliases: &Aliases,
        _path: &[u8],
        _target: &[u8],
    ) -> Option<String> {
        None
    }
    /// Whose it is.
    fn manager(&self) -> Manager;
    /// Its state, `None` where there is none; `distrusted` is filled in by [`Packages`].
    fn status(&self) -> Option<Status>;
    /// What is not finished.
    fn under_way(&self, root: &Root) -> Vec<UnderWay>;
    /// Whose script a path is.
    fn script(&self, root: &Root, path: &[u8]) -> Option<Script>;
    /// All packages that count.
    fn packages(&self) -> Vec<Package>;
}

/// The package databases below a root.
///
/// Nothing is asked of any manager's program, nothing is locked and nothing waited for: their files are read, bounded, and
/// what is not as it should be stands in [`Packages::status`]. Of paths an index of hashes is kept (8 bytes each); what a
/// package says of a path is read anew when it is asked for.
///
/// # What a proof by MD5 is worth
/// dpkg records MD5 alone. Nobody can make a file that has the MD5 of an existing one (a second preimage), so a foreign
/// content at a package's path does not pass. Who *makes* a package can prepare two contents with one MD5 (a collision):
/// then the exchange of one for the other passes. And whoever may write the database can write any digest into it: that the
/// database was written by its manager alone is for the caller to watch, and to tell ([`Packages::distrust`]).
#[derive(Debug)]
pub struct Packages {
    pub(super) root: Arc<Root>,
    pub(super) aliases: Aliases,
    pub(super) databases: Vec<Box<dyn Database>>,
    distrusted: BTreeMap<Manager, String>,
}

impl Packages {
    /// Finds and reads the databases below a root. Those that appear later are found by [`Packages::refresh`].
    pub fn open(root: Arc<Root>) -> Self {
        let mut packages = Self {
            root,
            aliases: Aliases::default(),
            databases: vec![
                Box::new(Dpkg::default()),
                Box::new(Rpm::default()),
                Box::new(Apk::default()),
                Box::new(Pacman::default()),
            ],
            distrusted: BTreeMap::new(),
        };
        packages.refresh();
        packages
    }

    /// Below which root.
    pub fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// Reads again what changed since the last time, and says whose database did. Meant to be called before each question:
    /// where nothing changed it costs a few stat(2).
    pub fn refresh(&mut self) -> Vec<Manager> {
        if self.aliases.refresh(&self.root) {
            self.databases.iter_mut().for_each(|database| database.reset());
        }
        let mut changed = Vec::new();
        for database in &mut self.databases {
            if database.refresh(&self.root, &self.aliases) {
                changed.push(database.manager());
            }
        }
        changed
    }

    /// Who owns a path, and what must be there. More than one where packages share it, or while one is being replaced: then
    /// the new content's comes first. Both names of a merged /usr lead to the same claims, and diversions are followed. Of a
    /// dpkg package that was removed but not purged the configuration files are still claimed.
    pub fn claims(&mut self, path: &[u8]) -> Vec<Claim> {
        let canonical = self.aliases.canonical(path);
        let (root, aliases) = (&self.root, &self.aliases);
        self.databases.iter_mut().flat_map(|database| database.claims(root, aliases, &canonical)).collect()
    }

    /// The databases that there are.
    pub fn status(&self) -> Vec<Status> {
        let mut all: Vec<Status> = self.databases.iter().filter_map(|database| database.status()).collect();
        for status in &mut all {
            status.distrusted = self.distrusted.get(&status.manager).cloned();
        }
        all
    }

    /// From now on a manager's database proves nothing: what it claims is [`super::Verdict::Unknown`] for this reason.
    /// It is not remembered beyond this value.
    pub fn distrust(&mut self, manager: Manager, reason: String) {
        self.distrusted.insert(manager, reason);
    }

    /// Why a manager's database proves nothing.
    pub fn distrusted(&self, manager: Manager) -> Option<&str> {
        self.distrusted.get(&manager).map(String::as_str)
    }

    /// What is not finished: while there is something, a verdict may change without the file being touched.
    pub fn under_way(&self) -> Vec<UnderWay> {
        self.databases.iter().flat_map(|database| database.under_way(&self.root)).collect()
    }

    /// The maintainer script that a path is, if it is one. The path alone says so: whether the process that runs it is the
    /// manager's is another question.
    pub fn script(&self, path: &[u8]) -> Option<Script> {
        self.databases.iter().find_map(|database| database.script(&self.root, path))
    }

    /// All packages that count, in no order.
    pub fn packages(&self) -> Vec<Package> {
        self.databases.iter().flat_map(|database| database.packages()).collect()
    }
}
