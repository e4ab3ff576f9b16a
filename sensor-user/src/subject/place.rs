//! Where a record's path lies: watch numbers become paths as the host's PID 1 sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use sensor_common::watch;

use super::service::Scope;
use super::{adjacent, part};
use crate::event::path::PathView;
use crate::event::user::{Watch, WatchClass};

/// Where a path lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a configured directory, or it is a configured file.
    In {
        /// The directory's class.
        class: WatchClass,
        /// Whose manager reads it.
        scope: Scope,
        /// Its owner, for a user's own.
        owner: Option<u32>,
        /// Where the part below the directory begins in the path; its length for the directory, or file, itself.
        relative: usize,
    },
    /// A directory that a configured one lies below.
    OnTheWay {
        /// The class of one that does.
        class: WatchClass,
        /// Whose manager reads that.
        scope: Scope,
    },
    /// A configured directory, or file below it, reached by another name: the path is from its filesystem's root.
    ByAnotherName {
        /// The directory's class.
        class: WatchClass,
        /// Whose manager reads it.
        scope: Scope,
        /// The watch.
        watch: u32,
    },
    /// In nothing that is configured.
    Nowhere,
}

/// The watches by number.
#[derive(Debug)]
pub struct Watches {
    by_number: BTreeMap<u32, Watch>,
    /// The configured ones by path, without a slash at its end: of a thousand users there are tens of thousands.
    by_path: BTreeMap<String, Vec<u32>>,
    /// Those of them below which another one lies: /etc/default/grub in /etc/default.
    around: BTreeSet<u32>,
    capacity: usize,
    refused: u64,
}

impl Watches {
    /// For at most `capacity` watches.
    pub fn new(capacity: usize) -> Self {
        let (by_number, by_path) = (BTreeMap::new(), BTreeMap::new());
        Self { by_number, by_path, around: BTreeSet::new(), capacity, refused: 0 }
    }

    /// Notes a watch; one with the same number is replaced.
    pub fn insert(&mut self, watch: Watch) {
        if self.by_number.len() >= self.capacity && !self.by_number.contains_key(&watch.watch) {
            self.refused += 1;
            return;
        }
        if let Some(old) = self.by_number.get(&watch.watch).filter(|old| old.class.is_some()) {
            if let Some(numbers) = self.by_path.get_mut(without_slash(&old.path)) {
                numbers.retain(|number| *number != watch.watch);
            }
        }
        if watch.class.is_some() {
            let path = without_slash(&watch.path);
            for (at, _) in path.match_indices('/') {
                self.around.extend(self.by_path.get(&path[..at]).into_iter().flatten());
            }
            let below = format!("{path}/");
            let inside = self
                .by_path
                .range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded))
                .take_while(|(other, _)| other.starts_with(&below))
                .any(|(_, numbers)| !numbers.is_empty());
            self.around.remove(&watch.watch);
            self.around.extend(inside.then_some(watch.watch));
            self.by_path.entry(path.to_owned()).or_default().push(watch.watch);
        }
        self.by_number.insert(watch.watch, watch);
    }

    /// Watches known.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// The bound of [`Self::len`].
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Watches that found no room: records in them say nothing.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        // A path with a class is held twice.
        let one = |watch: &Watch| {
            let again =
                if watch.class.is_some() { size_of::<(String, Vec<u32>)>() + watch.path.len() } else { 0 };
            size_of::<(u32, Watch)>() + watch.path.capacity() + again
        };
        self.by_number.values().map(one).sum()
    }

    /// A watch.
    pub fn get(&self, number: u32) -> Option<&Watch> {
        self.by_number.get(&number)
    }

    /// The configured directories.
    pub fn classed(&self) -> impl Iterator<Item = (&Watch, WatchClass)> {
        self.by_number.values().filter_map(|watch| Some((watch, watch.class?)))
    }

    /// Where `path`, reported for watch `number` by the flag `matched`, lies. `out` receives it as the host's PID 1
    /// sees it; where it lies nowhere, or is reached by another name, from its filesystem's root.
    pub fn locate(&self, number: u32, matched: u32, path: &PathView<'_>, out: &mut Vec<u8>) -> Place {
        out.clear();
        let Some(watch) = self.by_number.get(&number) else {
            path.append_to(out);
            return Place::Nowhere;
        };
        if matched == watch::FILE {
            return locate_file(number, watch, path, out);
        }
        out.extend_from_slice(watch.path.as_bytes());
        path.append_to(out);
        let subtree = matched == watch::SUBTREE && !self.around.contains(&number);
        if let Some(class) = watch.class.filter(|_| subtree) {
            return inside(watch, class, out);
        }
        self.locate_path(out, watch)
    }

    /// By its path alone: of what was not there yet when its watch was set, the number is that of a directory on
    /// the way.
    fn locate_path(&self, path: &[u8], by: &Watch) -> Place {
        let mut found = Place::Nowhere;
        let mut longest = 0;
        for (watch, class) in self.classed() {
            let configured = watch.path.as_bytes();
            if is_at_or_below(path, configured) {
                if configured.len() >= longest {
                    (found, longest) = (inside(watch, class, path), configured.len());
                }
            } else if is_at_or_below(configured, path) {
                // On the way to units counts for more than on the way to anything else, and to the system's for more
                // than to users', in whatever order the watches were set.
                let scope = scope(watch, class);
                let weight = |class: WatchClass, scope| {
                    (adjacent::of(class).is_none() && !class.is_socket(), scope == Scope::System)
                };
                let weightier = match found {
                    Place::Nowhere => true,
                    Place::OnTheWay { class: known, scope: whose } => {
                        weight(class, scope) > weight(known, whose)
                    }
                    Place::In { .. } | Place::ByAnotherName { .. } => false,
                };
                if weightier {
                    found = Place::OnTheWay { class, scope };
                }
            }
        }
        match (found, by.class) {
            (Place::Nowhere, Some(class)) => inside(by, class, path),
            _ => found,
        }
    }
}

fn inside(watch: &Watch, class: WatchClass, path: &[u8]) -> Place {
    let relative = (watch.path.trim_end_matches('/').len() + 1).min(path.len());
    Place::In { class, scope: scope(watch, class), owner: watch.owner, relative }
}

fn scope(watch: &Watch, class: WatchClass) -> Scope {
    part::scope(class, &watch.path, watch.owner)
}

fn locate_file(number: u32, watch: &Watch, path: &PathView<'_>, out: &mut Vec<u8>) -> Place {
    let Some(class) = watch.class else {
        path.append_to(out);
        return Place::Nowhere;
    };
    // The watch of a single configured file carries the file's own path.
    if adjacent::is_file(class, &watch.path) {
        out.extend_from_slice(watch.path.as_bytes());
        return inside(watch, class, out);
    }
    path.append_to(out);
    Place::ByAnotherName { class, scope: scope(watch, class), watch: number }
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// Whether `path` is `directory` or lies below it.
fn is_at_or_below(path: &[u8], directory: &[u8]) -> bool {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// A symlink's target as an absolute path: `..` and `.` are resolved by the text alone, and `/lib` is `/usr/lib`
/// (merged /usr, file-hierarchy(7)). For comparison, not for opening.
pub fn resolve_target(link: &[u8], target: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    if !target.starts_with(b"/") {
        names.extend(link.split(|byte| *byte == b'/').filter(|name| !name.is_empty()));
        names.pop();
    }
    for name in target.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let mut path = Vec::with_capacity(link.len() + target.len());
    if names.first() == Some(&&b"lib"[..]) {
        path.extend_from_slice(b"/usr");
    }
    for name in names {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watches() -> Watches {
        let mut watches = Watches::new(100);
        let home = Some(1000);
        for (number, path, class, owner) in [
            (1, "/etc/systemd/system", Some(WatchClass::SystemUnit), None),
            (2, "/etc/systemd", None, None),
            (3, "/home/alice", None, home),
            (4, "/home/alice/.config/systemd/user", Some(WatchClass::UserUnit), home),
            (5, "/etc/rc.local", Some(WatchClass::RcLocal), None),
            (6, "/etc/default/grub", Some(WatchClass::BootConfig), None),
            (7, "/etc/default", Some(WatchClass::ServiceEnvironment), None),
            (8, "/etc", None, None),
        ] {
            watches.insert(Watch { watch: number, path: path.into(), class, owner });
        }
        watches
    }

    fn locate(number: u32, matched: u32, path: &[u8]) -> (String, Place) {
        let mut out = b"left over".to_vec();
        let place = watches().locate(number, matched, &PathView::new(path), &mut out);
        (String::from_utf8(out).expect("UTF-8"), place)
    }

    fn relative(located: &(String, Place)) -> &str {
        match located.1 {
            Place::In { relative, .. } => &located.0[relative..],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn below_a_configured_directory() {
        let located = locate(1, watch::SUBTREE, b"x.conf\0a.service.d\0");
        assert_eq!(located.0, "/etc/systemd/system/a.service.d/x.conf");
        assert_eq!(relative(&located), "a.service.d/x.conf");
    }

    #[test]
    fn a_directory_that_is_still_to_appear() {
        let located = locate(3, watch::PENDING, b"x.service\0user\0systemd\0.config\0");
        assert_eq!(located.0, "/home/alice/.config/systemd/user/x.service");
        assert_eq!(relative(&located), "x.service");
        assert!(matches!(located.1, Place::In { class: WatchClass::UserUnit, owner: Some(1000), .. }));
        assert!(matches!(locate(3, watch::ENTRY, b".config\0").1, Place::OnTheWay { .. }));
        assert_eq!(locate(3, watch::PENDING, b"firefox\0.config\0").1, Place::Nowhere);
    }

    #[test]
    fn the_directory_itself() {
        let located = locate(2, watch::ENTRY, b"system\0");
        assert_eq!((located.0.as_str(), relative(&located)), ("/etc/systemd/system", ""));
        assert_eq!(relative(&locate(1, watch::SUBTREE, b"")), "");
        assert_eq!(locate(2, watch::ENTRY, b"system-generators\0").1, Place::Nowhere);
    }

    #[test]
    fn single_files_and_other_names() {
        let located = locate(5, watch::FILE, b"somewhere\0");
        assert_eq!((located.0.as_str(), relative(&located)), ("/etc/rc.local", ""));
        let (path, place) = locate(1, watch::FILE, b"alias\0tmp\0");
        assert_eq!(path, "/tmp/alias");
        assert!(matches!(place, Place::ByAnotherName { class: WatchClass::SystemUnit, watch: 1, .. }));
    }

    #[test]
    fn the_nearest_watch_counts() {
        for (path, class) in [
            (&b"grub\0"[..], WatchClass::BootConfig),
            (b"grub.d\0", WatchClass::ServiceEnvironment),
            (b"ssh\0", WatchClass::ServiceEnvironment),
        ] {
            let located = locate(7, watch::SUBTREE, path);
            assert!(matches!(located.1, Place::In { class: found, .. } if found == class), "{located:?}");
        }
    }

    #[test]
    fn on_the_way_to_units_counts_for_more() {
        let place = locate(8, watch::ENTRY, b"systemd\0").1;
        assert!(matches!(place, Place::OnTheWay { class: WatchClass::SystemUnit, .. }));
        let place = locate(8, watch::ENTRY, b"").1;
        assert!(matches!(place, Place::OnTheWay { class: WatchClass::SystemUnit, .. }), "{place:?}");
    }

    #[test]
    fn whose_units_lie_below_does_not_hang_on_the_order_of_watches() {
        let classed = [
            ("/run/user/1000/podman/podman.sock", WatchClass::EngineSocket),
            ("/srv/docker.sock", WatchClass::EngineSocket),
            ("/run/user/1000/systemd/user", WatchClass::UserUnit),
            ("/run/systemd/system", WatchClass::SystemUnit),
        ];
        for reversed in [false, true] {
            let mut watches = Watches::new(10);
            watches.insert(Watch { watch: 0, path: "/".into(), class: None, owner: None });
            for (number, (path, class)) in (1..).zip(classed) {
                let number = if reversed { 10 - number } else { number };
                watches.insert(Watch { watch: number, path: path.into(), class: Some(class), owner: None });
            }
            for (path, class, scope) in [
                (&b"1000\0user\0run\0"[..], WatchClass::UserUnit, Scope::User),
                (b"run\0", WatchClass::SystemUnit, Scope::System),
                (b"srv\0", WatchClass::EngineSocket, Scope::System),
            ] {
                let place = watches.locate(0, watch::ENTRY, &PathView::new(path), &mut Vec::new());
                assert_eq!(place, Place::OnTheWay { class, scope });
            }
        }
    }

    #[test]
    fn what_is_not_watched_is_nowhere() {
        let (path, place) = locate(watch::NONE, 0, b"x\0tmp\0");
        assert_eq!((path.as_str(), place), ("/tmp/x", Place::Nowhere));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut watches = Watches::new(2);
        for number in 0..5 {
            watches.insert(Watch { watch: number, path: "/x".into(), class: None, owner: None });
        }
        watches.insert(Watch { watch: 0, path: "/y".into(), class: None, owner: None });
        assert_eq!((watches.len(), watches.refused()), (2, 3));
        assert_eq!(watches.get(0).map(|watch| watch.path.as_str()), Some("/y"));
    }

    #[test]
    fn targets_are_resolved_by_their_text() {
        for (link, target, expected) in [
            ("/etc/systemd/system/a.wants/x.service", "../x.service", "/etc/systemd/system/x.service"),
            (
                "/etc/systemd/system/a.wants/x.service",
                "/lib/systemd/system/x.service",
                "/usr/lib/systemd/system/x.service",
            ),
            ("/etc/x", "/../../tmp/./y", "/tmp/y"),
            ("/etc/x", "", "/etc"),
        ] {
            assert_eq!(resolve_target(link.as_bytes(), target.as_bytes()), expected.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn those_around_others_are_known_in_whatever_order_they_come(
            paths in proptest::collection::vec("(/[ab]{1,2}){0,3}/?", 1..12),
        ) {
            let mut watches = Watches::new(100);
            // Each path is one watch.
            let paths: BTreeSet<&str> = paths.iter().map(|path| without_slash(path)).collect();
            let mut numbered: Vec<(u32, &str)> = (0..).zip(paths).collect();
            let third = numbered.len() / 3;
            numbered.rotate_left(third);
            for (number, path) in &numbered {
                let class = Some(WatchClass::SystemUnit);
                watches.insert(Watch { watch: *number, path: (*path).to_owned(), class, owner: None });
            }
            for (number, path) in &numbered {
                let around = numbered.iter().any(|(_, other)| {
                    other != path && is_at_or_below(other.as_bytes(), path.as_bytes())
                });
                prop_assert_eq!(watches.around.contains(number), around, "{} of {:?}", path, &numbered);
            }
        }

        #[test]
        fn a_resolved_target_has_plain_names(
            link in "(/[a-z]{1,4}){0,5}",
            target in "/?((\\.\\.|\\.|lib|[a-z\\xff]{0,3})/?){0,8}",
        ) {
            let resolved = resolve_target(link.as_bytes(), target.as_bytes());
            let text = String::from_utf8(resolved).expect("of two texts");
            prop_assert!(text.is_empty() || text.starts_with('/'), "{}", text);
            prop_assert!(text.split('/').skip(1).all(|name| !matches!(name, "" | "." | "..")), "{}", text);
            prop_assert!(text != "/lib" && !text.starts_with("/lib/"), "{}", text);
        }
    }
}
