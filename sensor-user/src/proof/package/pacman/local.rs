//! `desc` and `files`: sections of lines, each ended by an empty one (`lib/libalpm/be_local.c`).

use crate::proof::package::{Manager, Package};

/// The lines of a section.
fn section<'a>(text: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.skip_while(move |line| *line != name.as_bytes()).skip(1).take_while(|line| !line.is_empty())
}

/// Which package `desc` is of.
pub(super) fn package(desc: &[u8]) -> Option<Package> {
    let text = |name| section(desc, name).next().map(|line| String::from_utf8_lossy(line).into_owned());
    Some(Package {
        manager: Manager::Pacman,
        name: text("%NAME%")?,
        version: text("%VERSION%")?,
        architecture: text("%ARCH%").unwrap_or_default(),
    })
}

/// Paths in `files`; directories have a slash at their end there.
pub(super) fn files(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    section(text, "%FILES%").map(|path| [b"/", path.strip_suffix(b"/").unwrap_or(path)].concat())
}

/// Configuration files: a path, a tab, and the MD5 of the package's version.
pub(super) fn backups(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    section(text, "%BACKUP%").filter_map(|line| {
        let path = line.split(|byte| *byte == b'\t').next()?;
        Some([b"/", path].concat())
    })
}
