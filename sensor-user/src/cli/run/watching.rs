//! What is watched: the configured paths, the homes of all users, and what is mounted below them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use sensor_common::record::{FileRecord, kind};
use sensor_common::watch;
use zerocopy::FromBytes;

use crate::config::Config;
use crate::detect::follow::Follow;
use crate::event::decode::{Event, decode};
use crate::event::user::Watch;
use crate::probe::fanotify::FanotifyMarker;
use crate::probe::mark::MapMarker;
use crate::probe::seed::Seeded;
use crate::probe::watches::{Changes, Spec, WatchError, WatchSet};
use crate::source::snapshot::User;

/// The user database, whose change brings new homes.
const PASSWD: &str = "/etc/passwd";

/// When to look again after something happened to a directory on the way: hooks run before the operation does, so at
/// first it may not have happened yet.
const LOOK_AGAIN: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(250), Duration::from_secs(2)];

/// How often all paths are walked even if nothing was reported.
const PATROL: Duration = Duration::from_secs(60);

/// Mounts below watched directories that are watched themselves.
const MOUNTS_MAX: usize = 256;

/// The marks of a backend.
pub enum Marks {
    /// In the maps of the kernel programs.
    Maps(Box<MapMarker>),
    /// In fanotify's group and tables.
    Fanotify(FanotifyMarker),
}

/// The walk over the paths, with the marks of one backend.
enum Set {
    Maps(Box<WatchSet<MapMarker>>),
    Fanotify(Box<WatchSet<FanotifyMarker>>),
}

/// The same call on whichever set it is.
macro_rules! on {
    ($set:expr, $inner:ident => $call:expr) => {
        match $set {
            Set::Maps($inner) => $call,
            Set::Fanotify($inner) => $call,
        }
    };
}

/// The paths, and when to walk them.
pub struct Watching {
    set: Set,
    root: &'static str,
    known: HashMap<u32, Watch>,
    /// What was mounted below a watched directory, and what units lead to.
    found: Vec<Spec>,
    mounts: usize,
    due: [Option<Instant>; LOOK_AGAIN.len()],
    patrol: Instant,
    users_changed: bool,
}

impl Watching {
    /// Nothing is watched until [`Self::walk`].
    pub fn new(marks: Marks, root: &'static str, config: &Config, users: &[User]) -> Self {
        let specs = specs(config, users);
        let set = match marks {
            Marks::Maps(marker) => Set::Maps(Box::new(WatchSet::new(*marker, root, specs))),
            Marks::Fanotify(marker) => Set::Fanotify(Box::new(WatchSet::new(marker, root, specs))),
        };
        Self {
            set,
            root,
            known: HashMap::new(),
            found: Vec::new(),
            mounts: 0,
            due: [None; LOOK_AGAIN.len()],
            patrol: Instant::now(),
            users_changed: false,
        }
    }

    /// Other paths, or other users.
    pub fn reconfigure(&mut self, config: &Config, users: &[User]) {
        let mut all = specs(config, users);
        all.extend(self.found.iter().cloned());
        on!(&mut self.set, set => set.set_specs(all));
        self.users_changed = false;
        self.look_again();
    }

    /// Whether the user database has changed since the last [`Self::reconfigure`].
    pub fn users_changed(&self) -> bool {
        self.users_changed
    }

    /// PID 1's root directory as this process reaches it.
    pub fn root(&self) -> &'static str {
        self.root
    }

    /// Takes note of a record that may change what a path leads to. Costs a few comparisons for every other record.
    pub fn observe(&mut self, record: &[u8], config: &Config, users: &[User]) {
        let Ok((fixed, _)) = FileRecord::read_from_prefix(record) else { return };
        if !(kind::FILE_CREATE..=kind::UMOUNT).contains(&fixed.header.kind) {
            return;
        }
        let matched = fixed.matched | fixed.other_matched;
        let mounted = matches!(fixed.header.kind, kind::MOUNT | kind::UMOUNT);
        // A watched directory that is itself removed or renamed has an empty path.
        let directory = matched & watch::SUBTREE != 0 && (fixed.path.length == 0 || fixed.other.length == 0);
        if matched & (watch::ENTRY | watch::PENDING | watch::ANY_CHILD) == 0 && !mounted && !directory {
            return;
        }
        self.look_again();
        let Ok(Event::File(event)) = decode(record) else { return };
        let Some(place) = self.known.get(&fixed.watch) else { return };
        let path = event.path.to_path(&place.path);
        if path == PASSWD {
            self.users_changed = true;
        }
        if fixed.header.kind == kind::MOUNT && fixed.matched == watch::SUBTREE && fixed.path.length > 0 {
            let spec = Spec { path, class: place.class, owner: place.owner };
            if self.mounts < MOUNTS_MAX && !self.found.contains(&spec) {
                self.mounts += 1;
                self.found.push(spec);
                let mut all = specs(config, users);
                all.extend(self.found.iter().cloned());
                on!(&mut self.set, set => set.set_specs(all));
            }
        }
    }

    /// Watches what units lead to, beside the configured paths.
    pub fn follow(&mut self, files: Vec<Follow>, config: &Config, users: &[User]) {
        let spec = |file: Follow| Spec { path: file.path, class: Some(file.class), owner: None };
        self.found.extend(files.into_iter().map(spec));
        let mut all = specs(config, users);
        all.extend(self.found.iter().cloned());
        on!(&mut self.set, set => set.set_specs(all));
        self.look_again();
    }

    /// Walks all paths soon, and again a little later.
    pub fn look_again(&mut self) {
        let now = Instant::now();
        for (due, wait) in self.due.iter_mut().zip(LOOK_AGAIN) {
            // One that is planned already comes no later.
            due.get_or_insert(now + wait);
        }
    }

    /// When the next walk is due.
    pub fn due(&self) -> Instant {
        self.due.iter().flatten().min().map_or(self.patrol, |due| self.patrol.min(*due))
    }

    /// Walks all paths, if that is due.
    ///
    /// # Errors
    /// Where the root directory cannot be opened.
    pub fn walk(&mut self, now: Instant) -> Result<Option<(Changes, Seeded)>, WatchError> {
        if self.due() > now {
            return Ok(None);
        }
        for due in &mut self.due {
            *due = due.filter(|due| *due > now);
        }
        self.patrol = now + PATROL;
        let changes = on!(&mut self.set, set => set.resolve())?;
        for watch in &changes.watches {
            self.known.insert(watch.watch, watch.clone());
        }
        // Descriptors that were open before a directory was watched, and files with names elsewhere. That means a look
        // at every process, so only where a directory is new.
        let seeded = if changes.watches.is_empty() {
            Seeded::default()
        } else {
            on!(&mut self.set, set => set.seed_files())?
        };
        Ok(Some((changes, seeded)))
    }

    /// Marked objects (those that the programs entered included), and named children.
    pub fn entries(&mut self) -> (usize, usize) {
        let (objects, children) = on!(&self.set, set => set.len());
        match &mut self.set {
            Set::Maps(set) => (set.marker_mut().entries(), children),
            Set::Fanotify(_) => (objects, children),
        }
    }
}

/// The configured paths, with homes put in.
fn specs(config: &Config, users: &[User]) -> Vec<Spec> {
    // Of a thousand users there are tens of thousands.
    let mut known = HashSet::new();
    let mut specs = vec![Spec { path: PASSWD.to_owned(), class: None, owner: None }];
    for path in config.watch.effective() {
        match path.path.strip_prefix("~/") {
            None => {
                known.insert(path.path.clone());
                specs.push(Spec { path: path.path.clone(), class: Some(path.class), owner: None });
            }
            Some(below) => {
                for user in users.iter().filter(|user| user.home.starts_with('/')) {
                    let path_in_home = format!("{}/{below}", user.home.trim_end_matches('/'));
                    if known.insert(path_in_home.clone()) {
                        let (class, owner) = (Some(path.class), Some(user.id));
                        specs.push(Spec { path: path_in_home, class, owner });
                    }
                }
            }
        }
    }
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u32, home: &str) -> User {
        User { id, name: format!("u{id}"), home: home.to_owned() }
    }

    #[test]
    fn homes_are_put_in_once_each() {
        let users = [user(0, "/root"), user(1, "/home/a/"), user(2, "/"), user(3, "none"), user(4, "/root")];
        let specs = specs(&Config::default(), &users);
        let units =
            |home: &str| specs.iter().find(|spec| spec.path == format!("{home}/.config/systemd/user"));
        assert_eq!(units("/root").unwrap().owner, Some(0));
        assert_eq!(units("/home/a").unwrap().owner, Some(1));
        assert_eq!(units("").unwrap().owner, Some(2), "a user whose home is the root directory");
        assert!(units("none").is_none());
        let mut paths: Vec<&str> = specs.iter().map(|spec| spec.path.as_str()).collect();
        let all = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), all, "no path twice");
    }
}
