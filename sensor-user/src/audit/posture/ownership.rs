//! Who may change what starts by itself (M1022, Restrict File and Directory Permissions).

use std::collections::BTreeSet;

use rustix::fs::FileType;

use super::Check;
use crate::detect::rule::Severity;
use crate::event::path::lossy;
use crate::proof::inventory::survey::Survey;
use crate::source::content::Root;

const S_ISVTX: u32 = 0o1000;
const WORLD: u32 = 0o002;
const GROUP: u32 = 0o020;

/// Looks at the system manager's entries, at the programs that they run, and at every directory above these.
pub(super) fn check(root: &Root, survey: &Survey, found: &mut Vec<Check>) {
    let mut writable = BTreeSet::new();
    let mut foreign = BTreeSet::new();
    let mut services = BTreeSet::new();
    let mut directories: BTreeSet<Vec<u8>> = BTreeSet::new();
    for entry in survey.entries.iter().filter(|entry| entry.user.is_none() && !is_users(&entry.path)) {
        let link = FileType::from_raw_mode(entry.mode) == FileType::Symlink;
        let path = lossy(&entry.path);
        // A link has no permissions of its own.
        if !link && entry.mode & WORLD != 0 {
            writable.insert(format!("{path} (mode {:04o})", entry.mode & 0o7777));
        }
        if entry.uid != 0 {
            let to = if is_service(entry.uid) { &mut services } else { &mut foreign };
            to.insert(format!("{path} (user {})", entry.uid));
        }
        if !link && entry.mode & GROUP != 0 && entry.gid != 0 && entry.uid == 0 {
            foreign.insert(format!("{path} (group {} may write)", entry.gid));
        }
        above(&entry.path, &mut directories);
        for program in entry.programs.iter().filter(|program| program.sha256.is_some()) {
            above(&program.path, &mut directories);
            let Ok(object) = root.object(&program.path, true) else { continue };
            if object.stat.st_mode & WORLD != 0 {
                writable.insert(format!(
                    "{} (mode {:04o})",
                    lossy(&program.path),
                    object.stat.st_mode & 0o7777
                ));
            }
            // Where links lead counts as well.
            if let Some(end) = root.canonical(&object) {
                above(&end, &mut directories);
            }
        }
    }
    for directory in directories {
        let Ok(object) = root.object(&directory, true) else { continue };
        let path = lossy(&directory);
        let mode = object.stat.st_mode;
        // In a sticky directory nobody can exchange what is another's (inode(7)).
        if mode & WORLD != 0 && mode & S_ISVTX == 0 {
            writable.insert(format!("{path}/ (mode {:04o})", mode & 0o7777));
        }
        if object.stat.st_uid != 0 {
            let to = if is_service(object.stat.st_uid) { &mut services } else { &mut foreign };
            to.insert(format!("{path}/ (user {})", object.stat.st_uid));
        }
    }
    found.push(Check {
        id: "posture.permissions.world-writable",
        mitigations: &["M1022"],
        severity: Severity::High,
        title: "everybody may change what starts by itself, or exchange it in its directory".to_owned(),
        evidence: writable.into_iter().collect(),
        advice: "chmod o-w; then look at what these files say.",
    });
    found.push(Check {
        id: "posture.permissions.owner",
        mitigations: &["M1022"],
        severity: Severity::Medium,
        title: "others than root may change what the system starts, or exchange it in its directory"
            .to_owned(),
        evidence: foreign.into_iter().collect(),
        advice: "chown root:root, or run the service as that user.",
    });
    found.push(Check {
        id: "posture.permissions.service-owner",
        mitigations: &["M1022"],
        // Packages ship some so: polkit's rules are its daemon's.
        severity: Severity::Info,
        title: "users of services may change what the system starts, or exchange it in its directory"
            .to_owned(),
        evidence: services.into_iter().collect(),
        advice: "Where no package made it so: chown root:root.",
    });
}

/// Whether an id is a system user's, whom a package made for a service (Debian's policy, 9.2.2; login.defs(5)).
fn is_service(uid: u32) -> bool {
    (1..1000).contains(&uid)
}

/// What users' own managers and sessions read is theirs; units that all users share are not.
fn is_users(path: &[u8]) -> bool {
    path.starts_with(b"/run/user/") || path.starts_with(b"/home/")
        // crontab(1) keeps the jobs of users under their own ids.
        || path.starts_with(b"/var/spool/cron/") || path.starts_with(b"/var/spool/at/")
}

fn above(path: &[u8], directories: &mut BTreeSet<Vec<u8>>) {
    let mut rest = path;
    while let Some(at) = rest.iter().rposition(|byte| *byte == b'/') {
        rest = &rest[..at];
        let directory = if rest.is_empty() { &b"/"[..] } else { rest };
        if !directories.insert(directory.to_vec()) || rest.is_empty() {
            return;
        }
    }
}
