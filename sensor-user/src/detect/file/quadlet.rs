//! A Quadlet's drop-in is told by what its source becomes with it (podman-systemd.unit(5), "Quadlet drop-ins").
//!
//! Drop-ins that apply to many (`container.d`, `web-.container.d`) are told by themselves, and are not merged into what is
//! told of others.

use super::content::Looked;
use crate::detect::detector::Detector;
use crate::detect::memory::Recent;
use crate::event::content::{FileContent, Want};
use crate::subject::adjacent::containers::{drop_in_base, is_quadlet};
use crate::subject::service::UnitPart;

/// Where the system's sources and drop-ins lie, the first of a name counts (podman-systemd.unit(5), "Podman rootful unit
/// search path").
const SYSTEM: [&[u8]; 3] =
    [b"/run/containers/systemd", b"/etc/containers/systemd", b"/usr/share/containers/systemd"];
/// Drop-ins whose sources are being read.
const MERGES_MAX: usize = 16;
/// Their surveys are numbered by themselves: a recording that was made before there were any still has the answers to all
/// others.
const FIRST: u64 = 1 << 33;

/// Drop-ins that wait for their sources.
#[derive(Debug)]
pub(in crate::detect) struct Merges {
    next: u64,
    waiting: Recent<u64, Merge>,
}

#[derive(Debug)]
struct Merge {
    looked: Looked,
    /// Of the source.
    name: String,
    /// Directories of sources, by precedence.
    roots: Vec<Vec<u8>>,
    /// What was found: path and text.
    files: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A Quadlet as podman reads it.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) looked: Looked,
    /// Of the source: `web.container`.
    pub(super) name: String,
    /// The source's directory, where there is a source.
    pub(super) directory: Option<Vec<u8>>,
    /// The source, and behind it its drop-ins in their order.
    pub(super) text: Vec<u8>,
    /// Drop-ins.
    pub(super) drop_ins: usize,
}

impl Default for Merges {
    fn default() -> Self {
        Self { next: FIRST, waiting: Recent::new(MERGES_MAX) }
    }
}

impl Detector {
    /// Has the source and all drop-ins read where `path` is the drop-in of one source; gives others back.
    pub(super) fn merge_quadlet(&mut self, path: &[u8], looked: Looked) -> Option<Looked> {
        let quadlet = looked.of().is_some_and(|part| part == UnitPart::Quadlet);
        let Some((root, name)) = source(path).filter(|_| quadlet) else { return Some(looked) };
        let mut roots: Vec<Vec<u8>> = Vec::new();
        if SYSTEM.iter().any(|known| root.starts_with(known)) && !contains(root, b"/systemd/users") {
            roots.extend(SYSTEM.iter().map(|root| root.to_vec()));
        }
        if !roots.iter().any(|known| known == root) {
            roots.push(root.to_vec());
        }
        let of_root = |root: &Vec<u8>| {
            let source = [root, &b"/"[..], name].concat();
            let drop_ins = [&source[..], b".d"].concat();
            [source, drop_ins]
        };
        let paths = roots.iter().flat_map(of_root).collect();
        let id = self.merges.next;
        self.merges.next += 1;
        self.want(Want::Survey { id, paths });
        let name = String::from_utf8_lossy(name).into_owned();
        self.merges.waiting.insert(id, Merge { looked, name, roots, files: Vec::new() });
        None
    }

    /// A file that is wanted for a drop-in. Whether it is one.
    pub(super) fn take_quadlet(&mut self, survey: u64, content: &FileContent) -> bool {
        let Some(merge) = self.merges.waiting.get_mut(&survey) else { return false };
        if let Some(file) = content.found.regular() {
            merge.files.push((content.path.clone(), file.content.clone()));
        }
        true
    }

    /// What a survey has come to.
    pub(super) fn merged_quadlet(&mut self, survey: u64) -> Option<Merged> {
        let Merge { looked, name, roots, files } = self.merges.waiting.remove(&survey)?;
        let source = |root: &Vec<u8>| {
            let path = [root, &b"/"[..], name.as_bytes()].concat();
            files.iter().find(|(at, _)| *at == path).map(|(_, text)| (root.clone(), text.clone()))
        };
        let found = roots.iter().find_map(source);
        // By their names wherever they lie; of two of one name that in the first directory counts.
        let rank = |path: &[u8]| roots.iter().position(|root| path.starts_with(root)).unwrap_or(roots.len());
        let file_name = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
        let mut drop_ins: Vec<(Vec<u8>, usize, &Vec<u8>)> = files
            .iter()
            .filter(|(path, _)| path.ends_with(b".conf"))
            .map(|(path, text)| (file_name(path), rank(path), text))
            .collect();
        drop_ins.sort();
        drop_ins.dedup_by(|later, first| later.0 == first.0);
        let (directory, mut text) = found.map_or((None, Vec::new()), |(root, text)| (Some(root), text));
        for (.., added) in &drop_ins {
            text.push(b'\n');
            text.extend_from_slice(added);
        }
        Some(Merged { looked, name, directory, text, drop_ins: drop_ins.len() })
    }
}

/// The directory in which the source of a drop-in lies, and the source's name.
fn source(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let (directory, file) = split(path)?;
    let (root, below) = split(directory)?;
    let name = drop_in_base(below)?;
    let of_many = name.iter().rposition(|byte| *byte == b'.').is_none_or(|dot| name[..dot].ends_with(b"-"));
    (file.ends_with(b".conf") && is_quadlet(name) && !of_many).then_some((root, name))
}

fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    Some((&path[..slash], &path[slash + 1..]))
}

fn contains(path: &[u8], part: &[u8]) -> bool {
    path.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_a_drop_in() {
        let of = |path: &str| {
            let path = path.as_bytes().to_vec();
            source(&path).map(|(root, name)| {
                (String::from_utf8_lossy(root).into_owned(), String::from_utf8_lossy(name).into_owned())
            })
        };
        assert_eq!(
            of("/etc/containers/systemd/web.container.d/x.conf"),
            Some(("/etc/containers/systemd".to_owned(), "web.container".to_owned()))
        );
        for path in [
            "/etc/containers/systemd/container.d/x.conf",
            "/etc/containers/systemd/web-.container.d/x.conf",
            "/etc/containers/systemd/web.container.d/x.txt",
            "/etc/containers/systemd/web.container",
            "x.conf",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
