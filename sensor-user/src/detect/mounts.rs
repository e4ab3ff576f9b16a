//! Mounts on what is watched, and what comes with them.
//!
//! A mount, or its end, puts another directory in a watched one's place, and what that holds is found when the paths are
//! walked again. A mount that is made in a private namespace changes nothing for the service manager, unless it comes
//! back from there (shared subtrees, `mount_namespaces(7)`; systemd-sysext(8) merges so): then that something else is
//! found is the only sign of it.

use std::collections::VecDeque;

use super::finding::Finding;

/// Mounts remembered: services with a file system of their own make dozens at their start.
const MOUNTS_MAX: usize = 64;
/// Paths are walked up to two seconds after a mount (`cli::run::watching`), and reading may be slow.
const FOUND_NS: u64 = 10_000_000_000;

#[derive(Debug)]
struct Mount {
    at: u64,
    path: Vec<u8>,
    /// To be told if the mount turns out to have come back.
    finding: Option<Finding>,
}

/// The most recent ones.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    recent: VecDeque<Mount>,
}

impl Mounts {
    /// Something was mounted on, or unmounted from, `path`. `finding` is what is to be said of it once it shows, where
    /// that has not been said.
    pub(super) fn note(&mut self, at: u64, path: &[u8], finding: Option<Finding>) {
        self.recent.retain(|mount| mount.path != path);
        if self.recent.len() == MOUNTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Mount { at, path: path.to_vec(), finding });
    }

    /// Whether what is found at `path` at `now` came with a mount; what is to be said of that goes to `out`, once.
    pub(super) fn brought(&mut self, now: u64, path: &[u8], out: &mut impl FnMut(Finding)) -> bool {
        let over = |mount: &&mut Mount| {
            let rest = path.strip_prefix(&*mount.path);
            rest.is_some_and(|rest| rest.starts_with(b"/")) && now.saturating_sub(mount.at) <= FOUND_NS
        };
        let Some(mount) = self.recent.iter_mut().rev().find(over) else { return false };
        if let Some(finding) = mount.finding.take() {
            out(finding);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::rules;

    #[test]
    fn a_mount_is_told_once_and_for_what_lies_below_it() {
        let mut mounts = Mounts::default();
        let finding = Finding::new(&rules::DIRECTORY_MOUNTED_OVER, 1, "mount", "/usr".into());
        mounts.note(1, b"/usr", Some(finding));
        let mut told = 0;
        let mut brought = |at, path: &[u8]| {
            let brought = mounts.brought(at, path, &mut |_| told += 1);
            (brought, told)
        };
        assert_eq!(brought(2, b"/usrlocal/x"), (false, 0));
        assert_eq!(brought(2, b"/usr/lib/x"), (true, 1));
        assert_eq!(brought(3, b"/usr/lib/y"), (true, 1));
        assert_eq!(brought(2 + FOUND_NS, b"/usr/lib/z"), (false, 1));
        for number in 0..100_u64 {
            mounts.note(number, &number.to_be_bytes(), None);
        }
        assert_eq!(mounts.recent.len(), MOUNTS_MAX);
    }
}
