//! What a directory holds that appeared while the sensor was running.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::ENTRIES_MAX;
use crate::event::user::FileFound;

/// Levels below a directory that are looked at when it appears.
const SCAN_DEPTH: usize = 8;

/// Lists what lies below a directory. Nothing is opened but directories, and no symlink is followed.
pub(super) fn scan(directory: BorrowedFd<'_>, number: u32, replaces: bool, found: &mut Vec<FileFound>) {
    let mut waiting = vec![(String::new(), 0)];
    while let Some((below, depth)) = waiting.pop() {
        let path = if below.is_empty() { "." } else { &below };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(opened) = rustix::fs::openat(directory, path, flags, Mode::empty()) else { continue };
        let Ok(entries) = Dir::read_from(&opened) else { continue };
        for entry in entries.flatten() {
            if found.len() >= ENTRIES_MAX {
                tracing::warn!(bound = ENTRIES_MAX, "a directory that appeared holds more than is looked at");
                return;
            }
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(&opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let name = String::from_utf8_lossy(name);
            let path = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let target = (kind == FileType::Symlink)
                .then(|| rustix::fs::readlinkat(&opened, entry.file_name(), Vec::new()).ok())
                .flatten()
                .map(|target| target.to_string_lossy().into_owned());
            if kind == FileType::Directory && depth < SCAN_DEPTH {
                waiting.push((path.clone(), depth + 1));
            }
            let (mode, uid) = (stat.st_mode, stat.st_uid);
            found.push(FileFound { watch: number, path, target, mode, uid, replaces });
        }
    }
}
