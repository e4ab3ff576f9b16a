//! dpkg(1): `/var/lib/dpkg`.
//!
//! # When a verdict can be had
//! How dpkg goes about a package, by src/main/unpack.c (`process_archive`), archives.c and configure.c of dpkg 1.22, and
//! what a question finds meanwhile:
//!
//! 1. `dpkg-deb --control` unpacks the control files into `tmp.ci/` (control, md5sums, conffiles, scripts). The old
//!    package's `prerm` runs (status `half-configured` is noted before, `unpacked` after it).
//! 2. Status `half-installed` is noted: from here on `tmp.ci/md5sums` counts beside the old package's. `preinst` runs.
//! 3. Each file is extracted as `NAME.dpkg-new`, the old one kept as `NAME.dpkg-tmp`. When all are there, each is renamed
//!    into its place, but conffiles, which stay `.dpkg-new`. *A regular file is proved from its rename on.*
//! 4. The old `postrm` runs; files that the new version has no more are removed.
//! 5. `info/NAME.list` is written anew, then the files of `tmp.ci` are renamed to `info/`, then `md5sums` is made of what was
//!    extracted if the package brought none. *Only then a package without `md5sums` has digests.* Until the next step its
//!    version is still the old one's, so that nothing is proved between the two.
//! 6. Status `unpacked`, with the new version and `Conffiles` (`newconffile` where there was none), is noted; `.dpkg-tmp`
//!    files are removed.
//! 7. Configuring: each conffile is renamed from `.dpkg-new` into its place, or laid beside as `.dpkg-dist`; right after
//!    that its digest, that of the package's version in both cases, is noted. *A conffile is proved from this note on.*
//!    Then `half-configured` is noted, `postinst configure` runs, and `installed` or `triggers-awaited` is noted.
//!
//! "Noted" is: a stanza is written as `updates/tmp.i`, synced, and renamed to `updates/NNNN` (lib/dpkg/dbmodify.c). At 250
//! of them and at dpkg's end `status` is written anew and they are removed.
//!
//! Links have no digest, so a package's link is claimed, not proved; nor have directories. Maintainer scripts in `info/` are
//! in no md5sums.

mod alternatives;
mod books;
mod diversions;
mod status;

use self::alternatives::Alternative;
use self::books::{Books, News};
use self::diversions::Diversions;
use self::status::{Record, State, digest_in, stanzas};
use super::aliases::Aliases;
use super::database::{Database, Script, Status, UnderWay};
use super::index::{Entries, Index};
use super::{Claim, Digest, Manager, Package};
use crate::source::content::Root;
use crate::source::object::Stamp;

const INFO: &str = "/var/lib/dpkg/info";
const INCOMING: &str = "/var/lib/dpkg/tmp.ci";
const PRECONFIGURED: &str = "/var/cache/debconf/tmp.ci";
const DIVERSIONS: &[u8] = b"/var/lib/dpkg/diversions";
const ALTERNATIVES: &str = "/var/lib/dpkg/alternatives";
/// Bytes of a file in `info` at most; Debian's longest have 2 MiB.
const INFO_MAX: u64 = 16 << 20;
/// Bytes of `diversions`, of one alternative, of a control file.
const SMALL_MAX: u64 = 1 << 20;
/// Alternatives, at most.
const ALTERNATIVES_MAX: usize = 10_000;
/// Claims on one path: directories are shared by all packages, and nobody needs to know all of them.
const CLAIMS_MAX: usize = 16;
/// Problems that are told one by one.
const PROBLEMS_MAX: usize = 16;

/// dpkg's database.
#[derive(Debug, Default)]
pub(super) struct Dpkg {
    books: Books,
    index: Index,
    /// Which package a slot stands for; a package that was read again has another slot.
    slots: Vec<usize>,
    /// `info` when all lists were looked at.
    info: Option<Stamp>,
    diversions: Diversions,
    diversions_seen: Option<Stamp>,
    problems: Vec<String>,
}

impl Database for Dpkg {
    fn refresh(&mut self, root: &Root, aliases: &Aliases) -> bool {
        let seen = root.stamp(DIVERSIONS);
        let mut changed = seen != self.diversions_seen;
        if changed {
            self.diversions_seen = seen;
            self.problems.retain(|problem| !problem.starts_with("/var/lib/dpkg/diversions"));
            let text = seen.map_or(Ok(Vec::new()), |_| root.bytes(DIVERSIONS, SMALL_MAX).map(|read| read.0));
            let text = text.unwrap_or_else(|error| {
                self.problem(format!("/var/lib/dpkg/diversions: {error}"));
                Vec::new()
            });
            self.diversions = Diversions::parse(&text, aliases);
        }
        let News { changed: mut packages, whole } = self.books.refresh(root);
        let info = root.stamp(INFO.as_bytes());
        if whole && info != self.info {
            self.info = info;
            packages = (0..self.books.known.len()).collect();
        } else {
            // Of these the list may be written anew without a further note.
            let known = self.books.known.iter().enumerate();
            packages.extend(
                known.filter(|(_, known)| known.record.state.is_under_way()).map(|(number, _)| number),
            );
        }
        changed |= self.enter_lists(root, aliases, &packages);
        changed || whole
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn claims(&mut self, root: &Root, aliases: &Aliases, path: &[u8]) -> Vec<Claim> {
        const TRIES: usize = 3;
        for _try in 0..TRIES {
            let (claims, stale) = self.claims_by_index(root, aliases, path);
            if stale.is_empty() {
                return claims;
            }
            self.enter_lists(root, aliases, &stale);
        }
        self.claims_by_index(root, aliases, path).0
    }

    fn alternative(&mut self, root: &Root, aliases: &Aliases, path: &[u8], target: &[u8]) -> Option<String> {
        let same = |a: &[u8], b: &[u8]| aliases.canonical(a) == aliases.canonical(b);
        let in_file = |name: &[u8]| {
            let file = [ALTERNATIVES.as_bytes(), name].join(&b'/');
            let (text, _) = root.bytes(&file, SMALL_MAX).ok()?;
            let found = Alternative::parse(name, &text)?.explains(path, target, same)?;
            Some(String::from_utf8_lossy(found).into_owned())
        };
        let middle =
            [path, target].into_iter().find_map(|path| path.strip_prefix(alternatives::DIRECTORY))?;
        if middle.contains(&b'/') {
            return None;
        }
        in_file(middle).or_else(|| {
            // A slave's: it stands in its master's file.
            let names = root.names(ALTERNATIVES.as_bytes(), ALTERNATIVES_MAX).ok()?;
            names.iter().find_map(|name| in_file(name))
        })
    }

    fn manager(&self) -> Manager {
        Manager::Dpkg
    }

    fn status(&self) -> Option<Status> {
        let mut problems = [&self.books.problems[..], &self.problems].concat();
        if self.index.overflowed() {
            problems.push(format!("{INFO}: more paths than the index takes"));
        }
        if !self.books.is_there() && problems.is_empty() {
            return None;
        }
        Some(Status {
            manager: Manager::Dpkg,
            path: "/var/lib/dpkg".to_owned(),
            packages: self.counted().count(),
            paths: self.index.len(),
            problems,
            distrusted: None,
        })
    }

    fn under_way(&self, _root: &Root) -> Vec<UnderWay> {
        let records = self.books.known.iter().map(|known| &known.record);
        let state = |record: &Record| UnderWay {
            manager: Manager::Dpkg,
            package: Some(record.package()),
            state: record.state.name().to_owned(),
        };
        records.filter(|record| record.state.is_under_way()).map(state).collect()
    }

    fn script(&self, root: &Root, path: &[u8]) -> Option<Script> {
        const NAMES: [&str; 5] = ["preinst", "postinst", "prerm", "postrm", "config"];
        let path = std::str::from_utf8(path).ok()?;
        let (directory, file) = path.rsplit_once('/')?;
        let script = |package, name: &str| Script { manager: Manager::Dpkg, package, name: name.to_owned() };
        if directory == INCOMING {
            return NAMES
                .contains(&file)
                .then(|| script(self.incoming(root).map(|record| record.package()), file));
        }
        if directory == PRECONFIGURED {
            // Made by debconf before anything is unpacked (apt-extracttemplates(1)): `PACKAGE.config.XXXXXX`.
            let (package, _) =
                file.rsplit_once('.')?.0.rsplit_once(".config").filter(|(_, rest)| rest.is_empty())?;
            return Some(script(
                self.books.find(package, None).map(|known| known.record.package()),
                "config",
            ));
        }
        let (package, name) = file.rsplit_once('.')?;
        if directory != INFO || !NAMES.contains(&name) {
            return None;
        }
        let (package, architecture) =
            package.split_once(':').map_or((package, None), |(package, of)| (package, Some(of)));
        let known = self.books.find(package, architecture);
        Some(script(known.map(|known| known.record.package()), name))
    }

    fn packages(&self) -> Vec<Package> {
        self.counted().map(Record::package).collect()
    }
}

impl Dpkg {
    fn counted(&self) -> impl Iterator<Item = &Record> {
        let records = self.books.known.iter().map(|known| &known.record);
        records.filter(|record| !matches!(record.state, State::NotInstalled | State::ConfigFiles))
    }

    fn problem(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Brings the index up to date with packages' lists; `true` where one is another.
    fn enter_lists(&mut self, root: &Root, aliases: &Aliases, packages: &[usize]) -> bool {
        let mut entries = self.index.entries();
        let mut changed = false;
        for &number in packages {
            changed |= self.enter_list(root, aliases, number, &mut entries);
        }
        if changed {
            self.index.extend(entries);
            let (slots, known) = (&self.slots, &self.books.known);
            self.index.tidy(|slot| {
                slots.get(slot as usize).is_some_and(|number| known[*number].slot == Some(slot))
            });
        }
        changed
    }

    fn enter_list(&mut self, root: &Root, aliases: &Aliases, number: usize, entries: &mut Entries) -> bool {
        let known = &self.books.known[number];
        if known.record.state == State::NotInstalled {
            let known = &mut self.books.known[number];
            known.list = None;
            return known.slot.take().is_some();
        }
        let (path, stamp) = list_of(root, &known.record);
        if known.slot.is_some() && stamp == known.list {
            return false;
        }
        self.problems.retain(|problem| !problem.starts_with(&path));
        // Without a list it owns nothing, as for dpkg.
        let text = match stamp.map(|_| root.bytes(path.as_bytes(), INFO_MAX)) {
            None => Vec::new(),
            Some(Ok((text, _))) => text,
            Some(Err(error)) => {
                self.problem(format!("{path}: {error}"));
                Vec::new()
            }
        };
        let slot = self.slots.len() as u32;
        self.slots.push(number);
        let known = &mut self.books.known[number];
        (known.list, known.slot) = (stamp, Some(slot));
        for line in text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"/")) {
            entries.add(&aliases.canonical(line), slot);
        }
        for conffile in &known.record.conffiles {
            entries.add(&aliases.canonical(&conffile.path), slot);
        }
        true
    }

    /// Claims, and the packages of which the list changed since it was entered.
    fn claims_by_index(&self, root: &Root, aliases: &Aliases, path: &[u8]) -> (Vec<Claim>, Vec<usize>) {
        let (mut claims, mut stale) = (Vec::new(), Vec::new());
        for known_as in self.diversions.known_as(path) {
            let spellings = aliases.spellings(&known_as.path);
            claims.extend(
                self.incoming_claim(root, &spellings).filter(|claim| known_as.counts(&claim.package.name)),
            );
            for slot in self.index.slots(&known_as.path) {
                let Some(&number) = self.slots.get(slot as usize) else { continue };
                let known = &self.books.known[number];
                if known.slot != Some(slot) || !known_as.counts(&known.record.name) {
                    continue;
                }
                let (list, stamp) = list_of(root, &known.record);
                if stamp != known.list {
                    stale.push(number);
                    continue;
                }
                claims.extend(claim(root, &known.record, &list, &spellings));
                if claims.len() >= CLAIMS_MAX {
                    return (claims, stale);
                }
            }
        }
        (claims, stale)
    }

    /// The package that is being unpacked, if the books agree that one of its name is.
    fn incoming(&self, root: &Root) -> Option<Record> {
        let (text, _) = root.bytes(format!("{INCOMING}/control").as_bytes(), SMALL_MAX).ok()?;
        let mut record = stanzas(&text, 1).records.pop()?;
        let under_way = |known: &&books::Known| known.record.state.is_under_way();
        let known = self.books.known.iter().filter(under_way).find(|known| {
            known.record.name == record.name
                && (known.record.architecture == record.architecture || !known.record.is_same)
        });
        record.state = known?.record.state;
        Some(record)
    }

    /// What the package that is being unpacked says of a path, before its control files are in `info`.
    fn incoming_claim(&self, root: &Root, spellings: &[Vec<u8>]) -> std::option::IntoIter<Claim> {
        let find = || {
            self.books.known.iter().find(|known| known.record.state.is_under_way())?;
            let record = self.incoming(root)?;
            let read = |name: &str| root.bytes(format!("{INCOMING}/{name}").as_bytes(), INFO_MAX).ok();
            let digest = read("md5sums").and_then(|(text, _)| digest_in(&text, spellings));
            let config = read("conffiles").is_some_and(|(text, _)| has_conffile(&text, spellings));
            let claim = Claim { package: record.package(), digest: digest.clone(), target: None, config };
            (digest.is_some() || config).then_some(claim)
        };
        find().into_iter()
    }
}

/// Where a package's list is, and its state. Of `Multi-Arch: same` packages the name has the architecture
/// (lib/dpkg/db-ctrl-access.c).
fn list_of(root: &Root, record: &Record) -> (String, Option<Stamp>) {
    let plain = || format!("{INFO}/{}.list", record.name);
    if record.is_same {
        let path = format!("{INFO}/{}:{}.list", record.name, record.architecture);
        if let Some(stamp) = root.stamp(path.as_bytes()) {
            return (path, Some(stamp));
        }
    }
    let path = plain();
    let stamp = root.stamp(path.as_bytes());
    (path, stamp)
}

/// What a package says of a path that the index has for it.
fn claim(root: &Root, record: &Record, list: &str, spellings: &[Vec<u8>]) -> Option<Claim> {
    let of = |digest, config| Claim { package: record.package(), digest, target: None, config };
    let mut conffiles = record.conffiles.iter();
    if let Some(conffile) = conffiles.find(|conffile| spellings.contains(&conffile.path)) {
        return Some(of(conffile.md5.clone().map(Digest::Md5), true));
    }
    let (text, _) = root.bytes(list.as_bytes(), INFO_MAX).ok()?;
    let owned =
        text.split(|byte| *byte == b'\n').any(|line| spellings.iter().any(|spelling| spelling == line));
    if !owned || record.state == State::ConfigFiles {
        return None;
    }
    // Step 5: the digests may be the new version's already, and the version is the old one's.
    let moved = || root.stamp(format!("{INCOMING}/md5sums").as_bytes()).is_none();
    if record.state == State::HalfInstalled && moved() {
        return Some(of(None, false));
    }
    let md5sums = format!("{}.md5sums", list.strip_suffix(".list")?);
    let digest =
        root.bytes(md5sums.as_bytes(), INFO_MAX).ok().and_then(|(text, _)| digest_in(&text, spellings));
    Some(of(digest, false))
}

/// Whether deb-conffiles(5) names a path; a flag and a space may stand before it.
fn has_conffile(text: &[u8], spellings: &[Vec<u8>]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        let line = line.trim_ascii();
        let path = line.strip_prefix(b"remove-on-upgrade ").unwrap_or(line);
        spellings.iter().any(|spelling| spelling == path)
    })
}

pub(super) fn read_as_all(bytes: &[u8]) {
    let paths = [b"/usr/bin/vi".to_vec()];
    let _ = (stanzas(bytes, 100), digest_in(bytes, &paths), has_conffile(bytes, &paths));
    let _ = Diversions::parse(bytes, &Aliases::default()).known_as(&paths[0]);
    let alternative = Alternative::parse(b"vi", bytes);
    let _ = alternative.and_then(|one| one.explains(b"/etc/alternatives/vi", &paths[0], |a, b| a == b));
}

#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod here_tests;
#[cfg(test)]
mod tests;
