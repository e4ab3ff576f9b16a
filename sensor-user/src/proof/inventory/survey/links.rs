//! Where links lead: the files at their ends, and whether a link of a unit is what the unit itself asks for.

use std::collections::HashMap;

use rustix::fs::FileType;

use super::read::Reader;
use super::units::System;
use super::walk::{End, Found, UnitFile, UnitFileIs, entry, is_unit_class, passed};
use super::{Kind, text};
use crate::event::path::lossy;
use crate::proof::package::{Package, Verdict};
use crate::subject::service::{Scope, UnitPart};
use crate::subject::unit::effective::Effective;
use crate::subject::unit::key::Key;
use crate::subject::unit::load::split;
use crate::subject::unit::name::Name;
use crate::subject::unit::signals::{Signal, Weight};

/// Looks at what the links lead to that were found: it counts, wherever it lies.
pub(super) fn follow(reader: &mut Reader<'_>, found: &mut Found) {
    for end in std::mem::take(&mut found.ends) {
        follow_one(reader, &end, found);
    }
}

fn follow_one(reader: &mut Reader<'_>, end: &End, found: &mut Found) {
    let (link, kind) = &end.link;
    let object = match reader.root.object(link, true) {
        Ok(object) => object,
        Err(error) => return passed(reader, link, error),
    };
    if object.file_type() != FileType::RegularFile {
        return;
    }
    let Some(path) = reader.root.canonical(&object) else {
        return reader.problem(link, "where it leads cannot be told");
    };
    if found.has(&path) {
        return;
    }
    if !is_unit_class(end.class) {
        let ran = reader.program(&path);
        found.remark(*kind, link, ran.signals);
        if let Some(entry) = found.entries.get_mut(&(link.clone(), *kind)) {
            entry.programs.push(ran.program);
        }
        return;
    }
    found.see(&path);
    let read = reader.text(&path, &object);
    let proof = reader.prove(&path, &read);
    let name = split(link).1;
    let kind = if end.part == UnitPart::DropIn { Kind::DropIn } else { Kind::Unit };
    let user = found.entries.get(&end.link).and_then(|entry| entry.user).filter(|_| end.scope == Scope::User);
    let mut entry = entry(kind, user, &path, name, &object, proof);
    entry.sha256 = read.digests.as_ref().map(|digests| digests.sha256.clone());
    found.remark(kind, &path, text::signals(end.part, &path, name, &read.text));
    found.add(reader, end.part, entry);
    found.units.push(UnitFile { path, is: UnitFileIs::File(read.text) });
}

/// Says of each link among units whether the unit that it enables asks for it, and takes a proved unit's own links as
/// proved.
pub(super) fn prove(units: &System, found: &mut Found) {
    let mut proved: HashMap<Vec<u8>, Package> = HashMap::new();
    for entry in found.entries.values() {
        if let Verdict::Proved { package } = &entry.proof {
            proved.insert(entry.path.clone(), package.clone());
        }
    }
    let links: Vec<(Vec<u8>, Kind)> = found
        .entries
        .values()
        .filter(|entry| entry.target.is_some() && entry.kind == Kind::Link)
        .map(|entry| (entry.path.clone(), entry.kind))
        .collect();
    for key in links {
        let Some(entry) = found.entries.get(&key) else { continue };
        let known = matches!(entry.proof, Verdict::Proved { .. });
        let Some(end) = units.end_of(&key.0) else { continue };
        if end == b"/dev/null" {
            let why = format!("{} is masked: it is never started", entry.name);
            found.remark(key.1, &key.0, [signal("unit.masked", Weight::Note, why)]);
            continue;
        }
        let asked = units.of_link(&key.0, split(&end).1).is_some_and(|unit| asks_for(unit, &key.0));
        let of_proved = proved.get(&end).cloned();
        let whose = split(&end).1 == split(&key.0).1;
        match of_proved {
            Some(package) if !known && asked => {
                if let Some(entry) = found.entries.get_mut(&key) {
                    entry.proof = Verdict::Proved { package };
                }
            }
            Some(_) if !asked && !is_packages(&key.0) => {
                let what = if whose { "starts" } else { "stands for" };
                let why =
                    format!("it {what} {}, which does not ask for it ([Install])", lossy(split(&end).1));
                found.remark(key.1, &key.0, [signal("link.unasked", Weight::Weak, why)]);
            }
            _ => {}
        }
    }
}

/// Packages bring links of their own, which need no \[Install\]; and generators make them.
fn is_packages(path: &[u8]) -> bool {
    [&b"/usr/lib/"[..], b"/lib/", b"/usr/share/", b"/run/systemd/generator", b"/run/user/"]
        .iter()
        .any(|directory| path.starts_with(directory))
}

/// Whether a unit's \[Install\] section has this link (systemctl(1), enable).
fn asks_for(unit: &Effective, link: &[u8]) -> bool {
    let (directory, name) = split(link);
    let own = |name: &[u8]| {
        let template = Name::parse(name).and_then(|name| name.template());
        unit.name == name || template.is_some_and(|template| unit.name == template)
    };
    let suffixes =
        [(&b".wants"[..], Key::WantedBy), (b".requires", Key::RequiredBy), (b".upholds", Key::UpheldBy)];
    for (suffix, key) in suffixes {
        if let Some(base) = split(directory).1.strip_suffix(suffix) {
            return own(name) && unit.all(key).any(|setting| *setting.text == *base);
        }
    }
    unit.all(Key::Alias).any(|setting| *setting.text == *name)
}

fn signal(slug: &'static str, weight: Weight, why: String) -> Signal {
    Signal { slug, weight, why, origin: None }
}
