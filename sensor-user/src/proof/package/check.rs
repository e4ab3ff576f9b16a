//! What is at a path compared with what must be there.

use std::fs::File;
use std::io::{self, Read};

use rustix::fs::{FileType, Stat};
use sha2::Digest as _;

use super::{Claim, Digest, Manager, Package, Packages, Verdict};
use crate::proof::hex;
use crate::source::object::{Stamp, nanoseconds};

/// Bytes of the longest file that is read: longer ones are [`Verdict::Unknown`].
pub const READ_MAX: u64 = 512 << 20;

/// An object as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// `st_dev`.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// File type and permission bits (inode(7)).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Last change of the inode, nanoseconds since 1970.
    pub changed_ns: i64,
    /// SHA-256 of the content, of a link that of its target's bytes, 64 hexadecimal digits; `None` where there is none, or
    /// it could not be read.
    pub sha256: Option<String>,
    /// Where a symbolic link points to, as it is written.
    pub target: Option<Vec<u8>>,
}

impl Object {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            sha256: None,
            target: None,
        }
    }
}

/// What a symbolic link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its path below the root, without links.
    pub path: Vec<u8>,
    /// What is there.
    pub checked: Checked,
}

/// What is known of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Of the path itself: of a link by its target as written, not by what it leads to. Where nothing is at a path that a
    /// package owns, it is `Modified`.
    pub verdict: Verdict,
    /// What is there; `None` where nothing is or it cannot be reached.
    pub object: Option<Object>,
    /// Of a symbolic link: its end. `None` where that cannot be found.
    pub end: Option<Box<End>>,
    /// Of a symbolic link: the alternative that it is of, by update-alternatives(1)'s own books, which have its target.
    pub alternative: Option<String>,
}

impl Checked {
    /// What can be said of a path when what it leads to is counted too. It is [`Checked::verdict`], but a link that no
    /// package brings is proved by a proved end if it is one of an alternative, or one that a maintainer script makes to
    /// enable a unit: of the unit's own name, or of an instance of its template. And a link that a package brings without
    /// saying where to (dpkg) is proved by an end that is proved to be of the same package.
    ///
    /// Links by which a unit has an alias (`Alias=`) have another name: whoever has read the unit compares that, and then
    /// takes the end's verdict.
    pub fn proof(&self, path: &[u8]) -> Verdict {
        let Some(end) = &self.end else { return self.verdict.clone() };
        let Verdict::Proved { package } = &end.checked.verdict else { return self.verdict.clone() };
        let proved = match &self.verdict {
            Verdict::Claimed { package: of } => of == package || self.alternative.is_some(),
            Verdict::Unowned => self.alternative.is_some() || same_unit(path, &end.path),
            _ => false,
        };
        if proved { Verdict::Proved { package: package.clone() } } else { self.verdict.clone() }
    }

    fn unknown(reason: String) -> Self {
        Self { verdict: Verdict::Unknown { reason }, object: None, end: None, alternative: None }
    }
}

/// Whether a link has the name of the unit that it leads to, or of an instance of it (systemd.unit(5)).
fn same_unit(link: &[u8], unit: &[u8]) -> bool {
    let name = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    let (link, unit) = (name(link), name(unit));
    let template = || {
        let at = link.iter().position(|byte| *byte == b'@')?;
        let dot = link.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > at)?;
        Some([&link[..=at], &link[dot..]].concat() == unit)
    };
    link == unit || template().unwrap_or(false)
}

impl Packages {
    /// Reads what is at a path and compares it with what must be there. Nothing outside of the root is reached, and nothing
    /// but regular files and links read.
    pub fn check(&mut self, path: &[u8]) -> Checked {
        self.check_as(path, path)
    }

    /// The same for an object at one path that is to be at another: a `.dpkg-new` ([`super::temporary()`]).
    pub fn check_as(&mut self, path: &[u8], of: &[u8]) -> Checked {
        let mut checked = self.check_object(path, of);
        let Some(target) = checked.object.as_ref().and_then(|object| object.target.as_ref()) else {
            return checked;
        };
        let canonical = self.aliases.canonical(of);
        let (root, aliases) = (&self.root, &self.aliases);
        let mut books = self.databases.iter_mut();
        checked.alternative =
            books.find_map(|database| database.alternative(root, aliases, &canonical, target));
        if let Ok(path) = self.root.resolve(path) {
            let end = self.check_object(&path, &path);
            checked.end = Some(Box::new(End { path, checked: end }));
        }
        checked
    }

    /// Without what a link leads to.
    fn check_object(&mut self, path: &[u8], of: &[u8]) -> Checked {
        let claims = self.claims(of);
        let stat = match self.root.stat(path) {
            Ok(stat) => stat,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                let verdict = self.judge(&claims, |_| Some(false));
                return Checked { verdict, object: None, end: None, alternative: None };
            }
            Err(error) => return Checked::unknown(format!("cannot be reached: {error}")),
        };
        let mut object = Object::of(&stat);
        let verdict = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => match self.hash(path, &claims) {
                Ok((stat, hashes)) => {
                    object = Object::of(&stat);
                    object.sha256 = Some(hashes.sha256());
                    self.judge(&claims, |claim| match (&claim.digest, &claim.target) {
                        (Some(digest), _) => Some(hashes.is(digest)),
                        (None, Some(_)) => Some(false),
                        (None, None) => None,
                    })
                }
                Err(error) => Verdict::Unknown { reason: error.to_string() },
            },
            FileType::Symlink => match self.root.link(path) {
                Ok(target) => {
                    object.sha256 = Some(hex(&sha2::Sha256::digest(&target)));
                    let mut hashes = Hashes::for_claims(&claims);
                    hashes.update(&target);
                    let verdict = self.judge(&claims, |claim| match (&claim.digest, &claim.target) {
                        (_, Some(expected)) => Some(*expected == target),
                        // apk has of a link the digest of its target, and does not say that it is a link.
                        (Some(digest), None) if claim.package.manager == Manager::Apk => {
                            Some(hashes.is(digest))
                        }
                        (Some(_), None) => Some(false),
                        (None, None) => None,
                    });
                    object.target = Some(target);
                    verdict
                }
                Err(error) => Verdict::Unknown { reason: format!("cannot be read: {error}") },
            },
            _ => self
                .judge(&claims, |claim| (claim.digest.is_some() || claim.target.is_some()).then_some(false)),
        };
        Checked { verdict, object: Some(object), end: None, alternative: None }
    }

    /// `fits` says whether what is there is what a claim says; `None` where the claim does not say what must be.
    pub(in crate::proof) fn judge(&self, claims: &[Claim], fits: impl Fn(&Claim) -> Option<bool>) -> Verdict {
        let (mut claimed, mut modified): (Option<&Package>, Option<&Claim>) = (None, None);
        let mut distrusted = None;
        for claim in claims {
            if let Some(reason) = self.distrusted(claim.package.manager) {
                distrusted = Some(reason);
                continue;
            }
            match fits(claim) {
                Some(true) => return Verdict::Proved { package: claim.package.clone() },
                Some(false) => modified = modified.or(Some(claim)),
                None => claimed = claimed.or(Some(&claim.package)),
            }
        }
        if let Some(claim) = modified {
            return Verdict::Modified { package: claim.package.clone(), config: claim.config };
        }
        if let Some(package) = claimed {
            return Verdict::Claimed { package: package.clone() };
        }
        if let Some(reason) = distrusted {
            return Verdict::Unknown { reason: reason.to_owned() };
        }
        let status = self.status();
        let problem = status.iter().flat_map(|status| &status.problems).next();
        match problem {
            Some(problem) => Verdict::Unknown { reason: problem.clone() },
            None if status.is_empty() => {
                Verdict::Unknown { reason: "there is no package database".to_owned() }
            }
            None => Verdict::Unowned,
        }
    }

    fn hash(&self, path: &[u8], claims: &[Claim]) -> io::Result<(Stat, Hashes)> {
        let cannot = |error: io::Error| io::Error::new(error.kind(), format!("cannot be read: {error}"));
        let (file, before) = self.root.open_regular(path, false).map_err(cannot)?;
        if Stamp::of(&before).size() > READ_MAX {
            return Err(io::Error::other(format!("longer than {} MiB, not read", READ_MAX >> 20)));
        }
        let mut hashes = Hashes::for_claims(claims);
        hashes.read(&file).map_err(cannot)?;
        let after = rustix::fs::fstat(&file)?;
        let at_path = self.root.stat(path).map_err(cannot)?;
        if Stamp::of(&before) != Stamp::of(&after) || Stamp::of(&after) != Stamp::of(&at_path) {
            return Err(io::Error::other("it changed while it was read"));
        }
        Ok((after, hashes))
    }
}

/// SHA-256 and whatever claims need, in one pass.
struct Hashes {
    sha256: sha2::Sha256,
    md5: Option<md5::Md5>,
    sha1: Option<sha1::Sha1>,
    sha512: Option<sha2::Sha512>,
}

impl Hashes {
    fn for_claims(claims: &[Claim]) -> Self {
        let needed =
            |is: fn(&Digest) -> bool| claims.iter().filter_map(|claim| claim.digest.as_ref()).any(is);
        Self {
            sha256: sha2::Sha256::new(),
            md5: needed(|digest| matches!(digest, Digest::Md5(_))).then(md5::Md5::new),
            sha1: needed(|digest| matches!(digest, Digest::Sha1(_))).then(sha1::Sha1::new),
            sha512: needed(|digest| matches!(digest, Digest::Sha512(_))).then(sha2::Sha512::new),
        }
    }

    fn read(&mut self, file: &File) -> io::Result<()> {
        let mut buffer = vec![0; 128 << 10];
        let mut left = file.take(READ_MAX + 1);
        loop {
            let bytes = match left.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => &buffer[..length],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.update(bytes);
        }
        if left.limit() == 0 {
            return Err(io::Error::other(format!("it grew beyond {} MiB", READ_MAX >> 20)));
        }
        Ok(())
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.md5.iter_mut().for_each(|state| state.update(bytes));
        self.sha1.iter_mut().for_each(|state| state.update(bytes));
        self.sha512.iter_mut().for_each(|state| state.update(bytes));
    }

    fn sha256(&self) -> String {
        hex(&self.sha256.clone().finalize())
    }

    fn is(&self, digest: &Digest) -> bool {
        let same = |expected: &str, found: Option<String>| found.is_some_and(|found| found == *expected);
        match digest {
            Digest::Md5(expected) => same(expected, self.md5.clone().map(|state| hex(&state.finalize()))),
            Digest::Sha1(expected) => same(expected, self.sha1.clone().map(|state| hex(&state.finalize()))),
            Digest::Sha256(expected) => *expected == self.sha256(),
            Digest::Sha512(expected) => {
                same(expected, self.sha512.clone().map(|state| hex(&state.finalize())))
            }
        }
    }
}
