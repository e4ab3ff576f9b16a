//! Everything below a root directory that starts by itself: what the sensor's watch list names, as it is now.
//!
//! Needs no service manager, no package manager and no container engine to run: only their files are read, so that an
//! image mounted somewhere is surveyed like a live machine. Whatever could not be looked at is told as a problem.
//!
//! Only names are taken from directories; files are opened below the root (`openat2(2)`, `RESOLVE_IN_ROOT`), by
//! descriptors that were found to be regular files first, and within bounds.

mod containers;
mod links;
mod packages;
mod read;
mod text;
mod units;
mod walk;

use std::collections::BTreeMap;

use self::read::Reader;
use super::entry::{Entry, Kind};
use crate::event::user::WatchClass;
use crate::proof::package::Verdict;
use crate::source::content::Root;
use crate::source::snapshot::{User, parse_users};
use crate::subject::service::UnitPart;
use crate::subject::unit::effective::Effective;
use crate::subject::unit::signals::Signal;

/// Bytes of passwd(5) that are read.
const PASSWD_MAX: usize = 8 << 20;

/// Why there is no proof of what is not there.
pub const ABSENT: &str = "there is no such file";

/// A directory, with everything below it, or a file that is looked at: an entry of the watch list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As the machine's PID 1 sees it; one component may be `*`.
    pub path: String,
    /// What lies there.
    pub class: WatchClass,
    /// The user in whose home it lies.
    pub owner: Option<u32>,
}

/// Something that was not looked at, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as the machine's PID 1 sees it.
    pub path: Vec<u8>,
    /// What, for people.
    pub what: String,
}

/// What is odd about an entry. Odd things may be proved: weigh the two against one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The entry's kind.
    pub kind: Kind,
    /// The entry's path.
    pub path: Vec<u8>,
    /// Slug, weight and sentence.
    pub signal: Signal,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Sorted by path and kind, each pair once.
    pub entries: Vec<Entry>,
    /// What each is by its name: by path and kind.
    pub parts: BTreeMap<(Vec<u8>, Kind), UnitPart>,
    /// What is odd about them, sorted likewise, the weightiest first.
    pub remarks: Vec<Remark>,
    /// What was not looked at.
    pub problems: Vec<Problem>,
    /// Problems for which there was no room.
    pub problems_untold: usize,
    /// The units that come of the files: the system manager's, then those of users' managers.
    pub units: Vec<Effective>,
    /// The user database.
    pub users: Vec<User>,
}

/// How far a survey is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is being done, for people.
    pub what: &'static str,
    /// How much of it is done.
    pub done: usize,
    /// How much there is; 0 where that is not known.
    pub of: usize,
}

/// The digests of a file's content in lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// MD5: dpkg's.
    pub md5: String,
    /// SHA-256.
    pub sha256: String,
}

/// What is at a path whose proof is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A symbolic link with this target, as written.
    Link(&'a [u8]),
    /// A regular file.
    File(&'a Digests),
}

/// Who says whether something is known software.
pub trait Prove {
    /// The verdict on what is at `path`, which has no links but for its last name.
    fn prove(&mut self, path: &[u8], content: &Content<'_>) -> Verdict;
}

/// Puts the homes of `users` into a watch list: paths that begin with `~/` are looked at in each.
pub fn places<'a>(paths: impl Iterator<Item = (&'a str, WatchClass)>, users: &[User]) -> Vec<Place> {
    let mut places = BTreeMap::new();
    for (path, class) in paths {
        let Some(below) = path.strip_prefix("~/") else {
            places.entry(path.to_owned()).or_insert((class, None));
            continue;
        };
        for user in users.iter().filter(|user| user.home.starts_with('/')) {
            let path = format!("{}/{below}", user.home.trim_end_matches('/'));
            places.entry(path).or_insert((class, Some(user.id)));
        }
    }
    places.into_iter().map(|(path, (class, owner))| Place { path, class, owner }).collect()
}

/// Looks at all of it. `paths` is the watch list: path (`~/` for homes) and class.
pub fn survey<'a>(
    root: &Root,
    packages: &mut dyn Prove,
    paths: impl Iterator<Item = (&'a str, WatchClass)>,
    progress: &mut dyn FnMut(Step),
) -> Survey {
    let mut reader = Reader::new(root, packages);
    let passwd = reader.peek(b"/etc/passwd", PASSWD_MAX).unwrap_or_default();
    let users = parse_users(&String::from_utf8_lossy(&passwd));
    let places = places(paths, &users);
    let mut found = walk::Found::default();
    walk::places(&mut reader, &places, &mut found, progress);
    let asked = containers::also(&mut reader, &found);
    walk::places(&mut reader, &asked.places, &mut found, progress);
    links::follow(&mut reader, &mut found);
    progress(Step { what: "putting units together", done: 0, of: 0 });
    let mut units = units::System::default();
    units.look(&mut reader, &mut found, &users, progress);
    // Kubelets are told on their command lines where their pods lie.
    let pods = containers::static_pods_of(&units.effective);
    walk::places(&mut reader, &pods, &mut found, progress);
    containers::look(&mut reader, &asked, &mut found);
    links::prove(&units, &mut found);
    finish(reader, found, units.effective, users)
}

fn finish(reader: Reader<'_>, found: walk::Found, units: Vec<Effective>, users: Vec<User>) -> Survey {
    let entries: Vec<Entry> = found.entries.into_values().collect();
    let mut remarks = found.remarks;
    remarks.sort_by(|a, b| {
        let key = |remark: &Remark| (remark.path.clone(), remark.kind);
        key(a).cmp(&key(b)).then(b.signal.weight.cmp(&a.signal.weight))
    });
    remarks.dedup_by(|a, b| {
        (&a.path, a.kind, a.signal.slug, &a.signal.why) == (&b.path, b.kind, b.signal.slug, &b.signal.why)
    });
    let parts = found.parts;
    Survey {
        entries,
        parts,
        remarks,
        problems: reader.problems,
        problems_untold: reader.untold,
        units,
        users,
    }
}

#[cfg(test)]
mod tests;
