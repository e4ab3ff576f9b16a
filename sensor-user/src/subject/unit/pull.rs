//! Who pulls a unit in by a link: `.wants`, `.requires` and `.upholds` directories (systemd.unit(5); `process_deps`,
//! src/core/load-dropin.c).

use std::collections::BTreeSet;

use super::super::name::{is_drop_in_base, is_hidden_or_backup, is_unit};
use super::load::{View, split};

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// Started with the other.
    Wants,
    /// Started with the other, which fails without it.
    Requires,
    /// Started whenever the other runs and it does not.
    Upholds,
}

impl How {
    /// The suffix of the directories.
    pub fn suffix(self) -> &'static [u8] {
        match self {
            Self::Wants => b".wants",
            Self::Requires => b".requires",
            Self::Upholds => b".upholds",
        }
    }

    /// All three.
    pub const ALL: [Self; 3] = [Self::Wants, Self::Requires, Self::Upholds];
}

/// A link by which one unit pulls in another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pull {
    /// The other unit. As one that pulls it may be a template, the beginning of names up to a `-`, or a type: then it
    /// is every unit of these.
    pub unit: Vec<u8>,
    /// How.
    pub how: How,
    /// The link.
    pub path: Vec<u8>,
}

/// The links by which a unit of these names is pulled in. Masked ones (to /dev/null) are none, and neither are files.
pub fn pulled_in_by<'n>(view: &View<'_>, names: impl Iterator<Item = &'n Vec<u8>>) -> Vec<Pull> {
    let names: Vec<&Vec<u8>> = names.collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for directory in view.unit_directories() {
        for (base, how, real) in dependency_directories(view, directory) {
            for name in &names {
                let path = [&real[..], b"/", &name[..]].concat();
                let link = view.files.link(&path).is_some();
                if !link && view.files.file(&path).is_none() {
                    continue;
                }
                // The first of the same name is the only one.
                let first = seen.insert((base.clone(), how, *name));
                if first && link && !is_hidden_or_backup(name) && !view.is_mask(&path) {
                    found.push(Pull { unit: base.clone(), how, path });
                }
            }
        }
    }
    found.sort();
    found
}

/// The units that a unit of these names pulls in.
pub fn pulls<'n>(view: &View<'_>, names: impl Iterator<Item = &'n Vec<u8>>) -> Vec<Pull> {
    let names: Vec<Vec<u8>> = names.cloned().collect();
    let mut found = Vec::new();
    for how in How::ALL {
        for path in view.belonging(&names, how.suffix(), b"") {
            let unit = split(&path).1.to_vec();
            if view.files.link(&path).is_some() && is_unit(&unit) && !view.is_mask(&path) {
                found.push(Pull { unit, how, path });
            }
        }
    }
    found
}

/// Whose dependencies are linked below `directory`, and in which directory without links.
fn dependency_directories(view: &View<'_>, directory: &[u8]) -> BTreeSet<(Vec<u8>, How, Vec<u8>)> {
    let mut found = BTreeSet::new();
    for path in view.files.below(directory) {
        let name = path[directory.len() + 1..].split(|byte| *byte == b'/').next().unwrap_or_default();
        let Some((base, how)) =
            How::ALL.iter().find_map(|how| Some((name.strip_suffix(how.suffix())?, *how)))
        else {
            continue;
        };
        if is_drop_in_base(base) {
            let real = view.files.resolve(&[directory, b"/", name].concat(), true);
            found.extend(real.map(|real| (base.to_vec(), how, real)));
        }
    }
    found
}
