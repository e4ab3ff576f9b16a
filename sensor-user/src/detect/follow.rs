//! What units lead to is watched as well: the file at the end of a linked unit, and the programs that a changed unit
//! runs. Whoever writes those later changes the service without touching its unit.

use std::collections::HashSet;

use super::detector::Detector;
use super::programs;
use crate::event::content::Found;
use crate::event::user::WatchClass;
use crate::subject::service::Scope;
use crate::subject::unit::effective::Effective;

/// Files beyond the configured directories that are watched for what leads to them.
pub const FOLLOWED_MAX: usize = 256;

/// Where packages put programs: what is written there is theirs, and who may write there may do anything.
const PACKAGES: [&[u8]; 6] = [b"/usr/bin/", b"/usr/sbin/", b"/usr/lib/", b"/bin/", b"/sbin/", b"/lib/"];

/// A file to be watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Follow {
    /// Its path, as the host's PID 1 sees it, without symbolic links as far as they are known.
    pub path: String,
    /// One that [`WatchClass::is_followed`], [`WatchClass::EngineSocket`], or of what a running container agent goes by
    /// [`WatchClass::StaticPod`], [`WatchClass::ClusterManifest`], [`WatchClass::KubeletConfig`],
    /// [`WatchClass::EngineState`] or [`WatchClass::RuntimeProgram`].
    pub class: WatchClass,
}

/// The files that are watched so.
#[derive(Debug, Default)]
pub(super) struct Followed {
    known: HashSet<Follow>,
    fresh: Vec<Follow>,
    refused: u64,
}

impl Followed {
    /// Has a file watched. What units of users lead to has half of the room, so that no user can take all of it.
    pub(super) fn add(&mut self, path: &[u8], class: WatchClass, scope: Scope) {
        // What is no text is no configured path either.
        let Ok(path) = std::str::from_utf8(path) else { return };
        let follow = Follow { path: path.to_owned(), class };
        if self.known.contains(&follow) {
            return;
        }
        let room = if scope == Scope::User { FOLLOWED_MAX / 2 } else { FOLLOWED_MAX };
        if self.known.len() >= room {
            self.refused += 1;
            return;
        }
        self.known.insert(follow.clone());
        self.fresh.push(follow);
    }

    /// Files followed, and those that found no room.
    pub(super) fn figures(&self) -> (usize, u64) {
        (self.known.len(), self.refused)
    }
}

impl Detector {
    /// Files that are to be watched from now on.
    pub fn follows(&mut self) -> std::vec::Drain<'_, Follow> {
        self.followed.fresh.drain(..)
    }

    /// What a running agent goes by, unless it is watched for that anyway.
    pub(super) fn follow_configured(&mut self, path: &[u8], class: WatchClass) {
        let plain = path.starts_with(b"/") && path.len() > 1 && !path.ends_with(b"/");
        let watched =
            self.watches.classed().any(|(watch, known)| known == class && watch.path.as_bytes() == path);
        if plain && !watched {
            self.followed.add(path, class, Scope::System);
        }
    }

    /// A unit's name is a link: its end counts, unless it lies where units are watched anyway.
    pub(super) fn follow_link(&mut self, link: &[u8], end: &Found) {
        let class = match end {
            Found::Regular(_) => WatchClass::LinkedUnit,
            Found::Directory { .. } => WatchClass::LinkedDirectory,
            _ => return,
        };
        let Some(end) = self.units.end_of(link) else { return };
        let watched = self.watches.classed().any(|(watch, class)| {
            !class.is_followed()
                && end
                    .strip_prefix(watch.path.as_bytes())
                    .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        });
        if !watched && end != b"/dev/null" {
            self.followed.add(&end, class, Scope::System);
        }
    }

    /// The programs of a unit that has changed, and the scripts that they are given.
    pub(super) fn follow_programs(&mut self, unit: &Effective) {
        for path in programs::of_unit(unit) {
            self.follow_program(&path, unit.scope);
        }
    }

    /// A program that a service runs.
    pub(super) fn follow_program(&mut self, path: &[u8], scope: Scope) {
        self.followed.add(path, WatchClass::ServiceProgram, scope);
    }
}

/// Whether a path lies where packages put programs.
pub(super) fn is_packaged(path: &[u8]) -> bool {
    PACKAGES.iter().any(|directory| path.starts_with(directory))
}
