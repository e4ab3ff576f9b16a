//! Records as lines of text, so that what a case expects reads as data.
//!
//! `KIND PATH [< OTHER] [-> EXTRA] [DETAILS]`: names below the case's directory as they are, those below the unwatched
//! one with a colon, those elsewhere below the watched one with a circumflex, others from the root. A path found by something other than its directory has that in
//! parentheses.

use std::collections::HashMap;

use sensor_common::record::{FileIdentity, TaskContext, flags, kind};
use sensor_common::watch;
use sensor_user::event::decode::{Event, FileEvent, decode};
use sensor_user::event::path::{PathView, lossy};

use super::case::Place;

/// A file record as a line, and what is checked of every one.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The line.
    pub line: String,
    /// Who.
    pub task: TaskContext,
    /// When.
    pub boottime_ns: u64,
    /// What the record says of the object.
    pub object: FileIdentity,
    /// The path of the object, whole.
    pub path: String,
    /// One of [`kind`].
    pub kind: u16,
}

/// Turns records into lines.
pub struct Text<'a> {
    /// Paths of the watches by number.
    pub names: &'a HashMap<u32, String>,
    /// Where the case works.
    pub place: &'a Place,
}

impl Text<'_> {
    /// The line of a record of a file; `None` for another kind of record.
    pub fn file(&self, bytes: &[u8]) -> Option<Seen> {
        match decode(bytes) {
            Ok(Event::File(event)) => Some(Seen {
                line: self.line(&event),
                task: event.record.task,
                boottime_ns: event.record.header.boottime_ns,
                object: event.record.object,
                path: self.full(event.path, event.record.watch, event.record.matched),
                kind: event.record.header.kind,
            }),
            Ok(_) => None,
            Err(error) => Some(Seen {
                line: format!("undecodable: {error}"),
                task: TaskContext::default(),
                boottime_ns: 0,
                object: FileIdentity::default(),
                path: String::new(),
                kind: 0,
            }),
        }
    }

    fn line(&self, event: &FileEvent<'_>) -> String {
        let record = &event.record;
        let name = kind::name(record.header.kind).unwrap_or("unknown");
        let name = name.strip_prefix("file_").unwrap_or(name);
        let mut line = format!("{name} {}", self.path(event.path, record.watch, record.matched));
        if record.other.length > 0 || record.other_matched != 0 {
            line += " < ";
            line += &self.path(event.other, record.other_watch, record.other_matched);
        }
        if !event.extra.is_empty() {
            let extra = lossy(event.extra).replace(&format!("{}/", self.place.plain.display()), ":");
            let short = if extra.len() > 100 { format!("{} bytes", extra.len()) } else { extra };
            line.extend([" -> ", short.as_ref()]);
        }
        for detail in details(record.header.kind, record.argument) {
            line.push(' ');
            line += &detail;
        }
        for (flag, text) in [
            (flags::CREATED, " created"),
            (flags::PATH_TRUNCATED, " path-cut"),
            (flags::EXTRA_TRUNCATED, " extra-cut"),
        ] {
            if record.header.flags & flag != 0 {
                line += text;
            }
        }
        line
    }

    /// A path from the root of the machine.
    fn full(&self, path: PathView<'_>, number: u32, matched: u32) -> String {
        let by_directory = matched & !watch::FILE != 0;
        let prefix = if by_directory {
            self.names.get(&number).cloned().unwrap_or_else(|| format!("?{number}"))
        } else {
            self.place.mount.to_string_lossy().into_owned()
        };
        path.to_path(&prefix)
    }

    fn path(&self, path: PathView<'_>, number: u32, matched: u32) -> String {
        let full = self.full(path, number, matched);
        let below = |directory: &std::path::Path| {
            let rest = full.strip_prefix(directory.to_str()?)?;
            if rest.is_empty() { Some(".") } else { rest.strip_prefix('/') }
        };
        let Place { watched, plain, top, .. } = self.place;
        let mut text = match (below(watched), below(plain), below(top)) {
            (Some(name), _, _) => unnumbered(name),
            (_, Some(name), _) => format!(":{}", unnumbered(name)),
            (_, _, Some(name)) => format!("^{name}"),
            _ => full,
        };
        let how: Vec<&str> = [
            (watch::FILE, "file"),
            (watch::ANCHOR, "anchor"),
            (watch::ENTRY, "entry"),
            (watch::PENDING, "pending"),
            (watch::ANY_CHILD, "any-child"),
        ]
        .iter()
        .filter(|(flag, _)| matched & flag != 0)
        .map(|(_, how)| *how)
        .collect();
        if !how.is_empty() {
            text.extend([" (", how.join("|").as_str(), ")"]);
        }
        text
    }
}

/// An `O_TMPFILE` file is called by its inode number (mm/shmem.c and others, `d_mark_tmpfile`), which is no constant.
fn unnumbered(name: &str) -> String {
    let (head, leaf) = name.rsplit_once('/').map_or(("", name), |(head, leaf)| (head, leaf));
    let digits = leaf.strip_prefix('#').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    let leaf = if digits { "#" } else { leaf };
    if head.is_empty() { leaf.to_owned() } else { format!("{head}/{leaf}") }
}

/// What the argument says, by kind.
fn details(record: u16, argument: u64) -> Vec<String> {
    match record {
        kind::FILE_OPEN_WRITE | kind::FILE_CLOSE_WRITE => {
            let flags = argument as i32;
            [
                (libc::O_TRUNC, "trunc"),
                (libc::O_APPEND, "append"),
                (libc::O_TMPFILE & !libc::O_DIRECTORY, "tmpfile"),
            ]
            .iter()
            .filter(|(flag, _)| flags & flag != 0)
            .map(|(_, name)| (*name).to_owned())
            .collect()
        }
        kind::FILE_CREATE | kind::FILE_MKDIR | kind::FILE_MKNOD => vec![format!("{:o}", argument & 0o7777)],
        kind::FILE_TRUNCATE => vec![argument.to_string()],
        kind::FILE_ATTRIBUTE => {
            let valid = argument >> 32;
            let mut words = Vec::new();
            // ATTR_MODE, ATTR_UID, ATTR_GID (include/linux/fs.h).
            if valid & 1 != 0 {
                words.push(format!("mode={:o}", argument & 0o7777));
            }
            if valid & 2 != 0 {
                words.push("uid".into());
            }
            if valid & 4 != 0 {
                words.push("gid".into());
            }
            words
        }
        kind::FILE_MMAP_WRITE => vec![format!("prot={argument}")],
        kind::MOUNT | kind::UMOUNT if argument != 0 => vec![format!("flags={argument:#x}")],
        _ => Vec::new(),
    }
}
