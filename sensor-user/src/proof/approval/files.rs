//! Approvals as files of the state directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{APPROVALS, APPROVALS_MAX, FILE_MAX, Loaded, check};
use crate::event::approval::{Approval, Source};

/// Reads a file that only root can have written; anything else, and what is not there, is an error in words.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| said(&error))?;
    let meta = file.metadata().map_err(|error| said(&error))?;
    if !meta.is_file() {
        return Err(said(&"is no regular file"));
    }
    let own = rustix::process::geteuid().as_raw();
    if meta.mode() & 0o022 != 0 || meta.uid() != 0 && meta.uid() != own {
        return Err(said(&"others than root can write to it: it approves nothing"));
    }
    let mut text = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut text).map_err(|error| said(&error))?;
    if text.len() as u64 > FILE_MAX {
        return Err(said(&format_args!("it has more than {FILE_MAX} bytes")));
    }
    Ok(text)
}

/// Files of a directory that end in `suffix`, by name, and at most so many; none where there is no directory.
pub(super) fn names(directory: &Path, suffix: &str, problems: &mut Vec<String>) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                problems.push(format!("{}: {error}", directory.display()));
            }
            return Vec::new();
        }
    };
    let wanted = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.ends_with(suffix) && !name.starts_with('.'))
    };
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(wanted).take(APPROVALS_MAX + 1).collect();
    if paths.len() > APPROVALS_MAX {
        problems.push(format!("{}: only {APPROVALS_MAX} of its files are read", directory.display()));
        paths.truncate(APPROVALS_MAX);
    }
    paths.sort();
    paths
}

/// The approvals of the state directory.
pub fn load_directory(state: &Path) -> Loaded {
    let mut loaded = Loaded::default();
    for path in names(&state.join(APPROVALS), ".json", &mut loaded.problems) {
        let approval = read(&path).and_then(|text| {
            let approval: Approval =
                serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            check(&approval).map_err(|problem| format!("{}: {problem}", path.display()))?;
            Ok(Approval { source: Source::Command, ..approval })
        });
        match approval {
            Ok(approval) => loaded.approvals.push(approval),
            Err(problem) => loaded.problems.push(problem),
        }
    }
    loaded
}

/// The same, for `svcsensor approvals list`.
pub fn list(state: &Path) -> Loaded {
    load_directory(state)
}

/// Puts an approval down.
///
/// # Errors
/// Where it cannot be written, or there is one of this name.
pub fn write(state: &Path, approval: &Approval) -> io::Result<PathBuf> {
    let directory = state.join(APPROVALS);
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    let path = directory.join(format!("{}.json", approval.name));
    let new = directory.join(format!(".{}.new", approval.name));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(approval)?)?;
    file.sync_all()?;
    // A rename would replace one that is there.
    let linked = fs::hard_link(&new, &path);
    fs::remove_file(&new)?;
    linked?;
    File::open(&directory)?.sync_all()?;
    Ok(path)
}

/// Takes an approval back.
///
/// # Errors
/// Where there is none of this name, or its file cannot be removed.
pub fn revoke(state: &Path, name: &str) -> io::Result<()> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "that is no approval's id"));
    }
    fs::remove_file(state.join(APPROVALS).join(format!("{name}.json")))
}
