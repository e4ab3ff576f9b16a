//! The unit files of a machine, by path, within a bound. Of each file only the assignments that count are kept, so a
//! megabyte of comments costs nothing, and an effective unit is put together without reading text again.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::environment::{Environment, is_meant};
use super::key::{Key, Section};
use super::syntax::{Fault, Item, Reader};

/// Most bytes of values that are kept of one file. What stands behind is not seen, and the file says so.
pub const FILE_MAX: usize = 1024 * 1024;

/// Most assignments that are kept of one file.
pub const ASSIGNMENTS_MAX: usize = 8192;

/// What an entry is counted for beyond its bytes: the tree's share and the allocations.
pub const ENTRY_COST: usize = 160;

/// Most symlinks that are followed in one path (`ELOOP`, `path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// An assignment of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// In this section.
    pub section: Section,
    /// Of this setting.
    pub key: Key,
    /// On this line.
    pub line: u32,
    /// As written, continuations joined. Of a condition `Kind=value`, or nothing where it clears all.
    pub value: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    line: u32,
    end: u32,
    section: Section,
    key: Key,
}

/// What is kept of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    kept: Box<[Kept]>,
    values: Box<[u8]>,
    fault: Option<Fault>,
    empty: bool,
    cut: bool,
}

impl Digest {
    /// Reads a file.
    pub fn new(content: &[u8]) -> Self {
        let mut digest = Self { empty: content.is_empty(), ..Self::default() };
        let (mut kept, mut values) = (Vec::new(), Vec::new());
        let mut section = None;
        for line in Reader::new(content) {
            let line = match line {
                Ok(line) => line,
                Err(fault) => {
                    digest.fault = Some(fault);
                    break;
                }
            };
            let (key, value) = match &line.item {
                Item::Section(name) => {
                    section = Section::from_name(name);
                    continue;
                }
                Item::Assignment { key, value } => (key, value),
            };
            let Some((section, (key, which))) =
                section.and_then(|section| Some((section, Key::find(section, key)?)))
            else {
                continue;
            };
            if kept.len() == ASSIGNMENTS_MAX || values.len() + which.len() + value.len() >= FILE_MAX {
                digest.cut = true;
                break;
            }
            if !which.is_empty() && !value.is_empty() {
                values.extend_from_slice(which);
                values.push(b'=');
            }
            values.extend_from_slice(value);
            kept.push(Kept { line: line.number, end: values.len() as u32, section, key });
        }
        digest.kept = kept.into();
        digest.values = values.into();
        digest
    }

    /// The assignments in their order.
    pub fn assignments(&self) -> impl Iterator<Item = Assignment<'_>> {
        let starts = std::iter::once(0).chain(self.kept.iter().map(|kept| kept.end as usize));
        self.kept.iter().zip(starts).map(|(kept, start)| Assignment {
            section: kept.section,
            key: kept.key,
            line: kept.line,
            value: &self.values[start..kept.end as usize],
        })
    }

    /// Where the service manager stops reading.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether the file is of no length: a mask.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// Whether it holds more than [`FILE_MAX`] or [`ASSIGNMENTS_MAX`].
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    fn bytes(&self) -> usize {
        self.kept.len() * size_of::<Kept>() + self.values.len()
    }
}

/// The store is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the unit files take more than {limit} bytes")]
pub struct Full {
    /// The bound.
    pub limit: usize,
}

/// Unit files and links by their absolute paths.
#[derive(Clone, Debug)]
pub struct UnitFiles {
    files: BTreeMap<Box<[u8]>, Digest>,
    links: BTreeMap<Box<[u8]>, Box<[u8]>>,
    environments: BTreeMap<Box<[u8]>, Environment>,
    bytes: usize,
    limit: usize,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A file.
    File(&'a Digest),
    /// /dev/null.
    Null,
    /// Nothing that the store holds: this path.
    Unread(Vec<u8>),
}

impl UnitFiles {
    /// A store of at most `limit` bytes. It knows /lib as a link to usr/lib, as it is on every system with a merged
    /// /usr; another link replaces it.
    pub fn new(limit: usize) -> Self {
        let links = BTreeMap::from([(b"/lib"[..].into(), b"usr/lib"[..].into())]);
        Self { files: BTreeMap::new(), links, environments: BTreeMap::new(), bytes: 0, limit }
    }

    /// Puts a file in, or what it holds now.
    ///
    /// # Errors
    /// [`Full`]: then the store holds nothing under this path.
    pub fn insert_file(&mut self, path: &[u8], content: &[u8]) -> Result<(), Full> {
        self.remove(path);
        let digest = Digest::new(content);
        self.charge(path.len() + digest.bytes())?;
        self.files.insert(path.into(), digest);
        Ok(())
    }

    /// Puts a symlink in, with its target as it is written.
    ///
    /// # Errors
    /// As [`Self::insert_file`].
    pub fn insert_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), Full> {
        self.remove(path);
        self.charge(path.len() + target.len())?;
        self.links.insert(path.into(), target.into());
        Ok(())
    }

    /// Puts in what a file sets as one of variables, or what it sets now. It may be a unit file as well: whoever writes
    /// units can name any file.
    ///
    /// # Errors
    /// [`Full`]: then the store holds no variables under this path.
    pub fn insert_environment(&mut self, path: &[u8], environment: Environment) -> Result<(), Full> {
        self.remove_environment(path);
        self.charge(path.len() + environment.bytes())?;
        self.environments.insert(path.into(), environment);
        Ok(())
    }

    /// Takes a file or link out; whether there was one.
    pub fn remove(&mut self, path: &[u8]) -> bool {
        let variables = self.remove_environment(path);
        let file = self.files.remove(path).map(|digest| digest.bytes());
        let held = file.or_else(|| self.links.remove(path).map(|target| target.len()));
        self.discharge(path, held) || variables
    }

    fn remove_environment(&mut self, path: &[u8]) -> bool {
        let held = self.environments.remove(path).map(|environment| environment.bytes());
        self.discharge(path, held)
    }

    fn discharge(&mut self, path: &[u8], held: Option<usize>) -> bool {
        self.bytes = self.bytes.saturating_sub(held.map_or(0, |held| ENTRY_COST + path.len() + held));
        held.is_some()
    }

    /// Takes everything below a directory out; how many entries.
    pub fn remove_below(&mut self, directory: &[u8]) -> usize {
        let paths: Vec<Box<[u8]>> = self.below(directory).map(Into::into).collect();
        paths.iter().filter(|path| self.remove(path)).count()
    }

    /// The file of variables that a path leads to.
    pub fn environment(&self, path: &[u8]) -> Option<&Environment> {
        self.environments.get(&self.resolve(path, true)?[..])
    }

    /// The paths of the files of variables that a pattern means, sorted.
    pub fn environments(&self, pattern: &[u8]) -> Vec<&[u8]> {
        let paths = self.environments.keys().chain(self.links.keys()).map(|path| &path[..]);
        let mut found: Vec<&[u8]> =
            paths.filter(|path| is_meant(pattern, path) && self.environment(path).is_some()).collect();
        found.sort_unstable();
        found
    }

    /// All unit files by their paths.
    pub fn files(&self) -> impl Iterator<Item = (&[u8], &Digest)> {
        self.files.iter().map(|(path, digest)| (&path[..], digest))
    }

    /// How many files and links there are.
    pub fn len(&self) -> usize {
        self.files.len() + self.links.len() + self.environments.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that count against the limit: close to what the store takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The file at exactly this path.
    pub fn file(&self, path: &[u8]) -> Option<&Digest> {
        self.files.get(path)
    }

    /// The target of the link at exactly this path.
    pub fn link(&self, path: &[u8]) -> Option<&[u8]> {
        self.links.get(path).map(|target| &target[..])
    }

    /// The paths of all files and links below a directory, of files first.
    pub fn below(&self, directory: &[u8]) -> impl Iterator<Item = &[u8]> {
        let files = range(&self.files, directory).map(|(path, _)| &path[..]);
        files.chain(self.links_below(directory))
    }

    /// The paths of all links below a directory.
    pub fn links_below(&self, directory: &[u8]) -> impl Iterator<Item = &[u8]> {
        range(&self.links, directory).map(|(path, _)| &path[..])
    }

    /// `path` without links, `.` and `..`: of the last name only where `follow`. `None` where there are too many links.
    pub fn resolve(&self, path: &[u8], follow: bool) -> Option<Vec<u8>> {
        let parts =
            |path: &[u8]| -> Vec<Vec<u8>> { path.rsplit(|byte| *byte == b'/').map(<[u8]>::to_vec).collect() };
        let mut rest = parts(path);
        let mut done: Vec<u8> = Vec::with_capacity(path.len());
        let mut links = 0;
        while let Some(part) = rest.pop() {
            let up = |done: &mut Vec<u8>| {
                done.truncate(done.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
            };
            match &part[..] {
                b"" | b"." => continue,
                b".." => {
                    up(&mut done);
                    continue;
                }
                name => {
                    done.push(b'/');
                    done.extend_from_slice(name);
                }
            }
            if !follow && rest.iter().all(|part| matches!(&part[..], b"" | b".")) {
                break;
            }
            if let Some(target) = self.link(&done) {
                links += 1;
                if links > LINKS_MAX {
                    return None;
                }
                if target.first() == Some(&b'/') {
                    done.clear();
                } else {
                    up(&mut done);
                }
                rest.extend(parts(target));
            }
        }
        if done.is_empty() {
            done.push(b'/');
        }
        Some(done)
    }

    /// What a path leads to, links followed.
    pub fn read(&self, path: &[u8]) -> Found<'_> {
        let resolved = self.resolve(path, true);
        match &resolved {
            Some(path) if path == b"/dev/null" => Found::Null,
            Some(path) => self.file(path).map_or_else(|| Found::Unread(path.clone()), Found::File),
            None => Found::Unread(path.to_vec()),
        }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Full> {
        if self.bytes + ENTRY_COST + bytes > self.limit {
            return Err(Full { limit: self.limit });
        }
        self.bytes += ENTRY_COST + bytes;
        Ok(())
    }
}

/// The entries below a directory.
fn range<'a, V>(
    map: &'a BTreeMap<Box<[u8]>, V>,
    directory: &[u8],
) -> impl Iterator<Item = (&'a Box<[u8]>, &'a V)> {
    let start: Box<[u8]> = [directory, b"/"].concat().into();
    // "0" is what follows "/".
    let end: Box<[u8]> = [directory, b"0"].concat().into();
    map.range((Bound::Excluded(start), Bound::Excluded(end)))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
