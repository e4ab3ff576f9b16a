//! The files of the store: where they are, who may read them, and what becomes of those that are no good.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StoreError;

/// The database's name in the state directory.
pub const DATABASE: &str = "inventory.sqlite";
/// The name of the file with the seals.
pub const SEAL: &str = "inventory.seal";

/// A larger database is not opened: the bound of pages is a quarter of it.
const BYTES_MAX: u64 = 256 << 20;
/// Files set aside that are kept.
const ASIDE_MAX: usize = 3;
/// Longest seal file.
const SEAL_MAX: u64 = 4096;

/// The seals that the database may have: the one before the last write, and the one after it. Which of them, depends on
/// whether the write came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seals {
    pub(super) seals: Vec<String>,
}

/// Makes the state directory, or checks the one that is there.
///
/// # Errors
/// Where it cannot be had, or is not only root's.
pub(super) fn directory(path: &Path) -> Result<(), StoreError> {
    let unavailable = |error: &dyn std::fmt::Display| StoreError::Unavailable {
        why: format!("{}: {error}", path.display()),
    };
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) => return Err(unavailable(&error)),
    }
    let meta = fs::symlink_metadata(path).map_err(|error| unavailable(&error))?;
    if !meta.is_dir() {
        return Err(unavailable(&"is no directory of its own (a link?); remove it, or move it away"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(unavailable(&format_args!(
            "belongs to user {}, who could change the inventory; give it to root",
            meta.uid()
        )));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|error| unavailable(&error))?;
    }
    Ok(())
}

/// Makes the database's file, or checks the one that is there. Whether it is new.
///
/// # Errors
/// [`StoreError::Damaged`] where something is there that is no database of ours.
pub(super) fn database(path: &Path) -> Result<bool, StoreError> {
    let unavailable =
        |error: io::Error| StoreError::Unavailable { why: format!("{}: {error}", path.display()) };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unavailable(error)),
    }
    let meta = fs::symlink_metadata(path).map_err(unavailable)?;
    let damaged = |why: String| Err(StoreError::Damaged { why });
    if !meta.is_file() {
        return damaged("it is no regular file".to_owned());
    }
    if meta.nlink() != 1 {
        return damaged(format!("it has {} names: somebody else can write to it", meta.nlink()));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return damaged(format!("it belongs to user {}", meta.uid()));
    }
    if meta.len() > BYTES_MAX {
        return damaged(format!("it has {} bytes, where {BYTES_MAX} are the most", meta.len()));
    }
    if meta.mode() & 0o177 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(unavailable)?;
    }
    Ok(false)
}

/// Renames a database that is no good, with the log of its last writes, and removes what older ones left.
///
/// # Errors
/// Where that cannot be done.
pub(super) fn set_aside(directory: &Path, now_ns: i64) -> io::Result<PathBuf> {
    let mut older: Vec<PathBuf> = fs::read_dir(directory)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            entry.file_name().to_str()?.starts_with("inventory.damaged-").then(|| entry.path())
        })
        .collect();
    older.sort();
    // Each has up to two files.
    for path in older.iter().rev().skip(2 * (ASIDE_MAX - 1)) {
        // Somebody may have put a directory there.
        let _stays = fs::remove_file(path);
    }
    let mut aside = directory.join(format!("inventory.damaged-{:020}.sqlite", now_ns.max(0)));
    let mut number = 0;
    while fs::symlink_metadata(&aside).is_ok() {
        number += 1;
        aside = directory.join(format!("inventory.damaged-{:020}-{number}.sqlite", now_ns.max(0)));
    }
    let database = directory.join(DATABASE);
    fs::rename(&database, &aside)?;
    let beside = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    // A log that is left would be played into the new database.
    for (suffix, keep) in [("-wal", true), ("-shm", false), ("-journal", true)] {
        let from = beside(&database, suffix);
        let moved = if keep { fs::rename(&from, beside(&aside, suffix)) } else { fs::remove_file(&from) };
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let seal = directory.join(SEAL);
    match fs::remove_file(seal) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(aside),
    }
}

/// The seals on file; `None` where there is no such file, or none that makes sense.
pub(super) fn read_seals(directory: &Path) -> Option<Seals> {
    let path = directory.join(SEAL);
    if !fs::symlink_metadata(&path).ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path).ok()?;
    file.take(SEAL_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Writes them, so that after a power failure either the old ones or these are there.
///
/// # Errors
/// Where that cannot be done.
pub(super) fn write_seals(directory: &Path, seals: &Seals) -> io::Result<()> {
    let new = directory.join(format!("{SEAL}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(seals)?)?;
    file.sync_all()?;
    fs::rename(&new, directory.join(SEAL))?;
    File::open(directory)?.sync_all()
}
