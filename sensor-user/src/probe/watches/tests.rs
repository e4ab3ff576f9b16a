//! The walk over paths, with a marker that knows nothing of the kernel.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use sensor_common::watch;

use super::*;

/// Recognises objects by what stat(2) says, and remembers the marks.
#[derive(Default)]
struct Fake {
    objects: HashMap<(u64, u64), Mark>,
    children: HashMap<((u64, u64), Vec<u8>), Mark>,
    sockets: HashMap<((u64, u64), Vec<u8>), u32>,
}

impl Marker for Fake {
    type Identity = (u64, u64);

    fn identify(&mut self, fd: BorrowedFd<'_>, path: &str) -> Result<Vec<(u64, u64)>, WatchError> {
        let stat = rustix::fs::fstat(fd).map_err(|source| object(path, source))?;
        Ok(vec![(stat.st_dev, stat.st_ino)])
    }

    fn mark(&mut self, object: &(u64, u64), flags: u32, number: u32) -> Result<(), WatchError> {
        if flags == 0 {
            self.objects.remove(object)
        } else {
            self.objects.insert(*object, (flags, number))
        };
        Ok(())
    }

    fn mark_child(
        &mut self,
        parent: &(u64, u64),
        name: &[u8],
        flags: u32,
        number: u32,
    ) -> Result<(), WatchError> {
        let key = (*parent, name.to_vec());
        if flags == 0 {
            self.children.remove(&key)
        } else {
            self.children.insert(key, (flags, number))
        };
        Ok(())
    }

    fn mark_socket(
        &mut self,
        directory: &(u64, u64),
        name: &[u8],
        number: Option<u32>,
    ) -> Result<(), WatchError> {
        let key = (*directory, name.to_vec());
        match number {
            None => self.sockets.remove(&key),
            Some(number) => self.sockets.insert(key, number),
        };
        Ok(())
    }
}

fn spec(path: &Path, class: WatchClass) -> Spec {
    Spec { path: path.to_str().unwrap().to_owned(), class: Some(class), owner: None }
}

fn id(path: &Path) -> (u64, u64) {
    let stat = rustix::fs::stat(path).unwrap();
    (stat.st_dev, stat.st_ino)
}

fn set(class: WatchClass, paths: &[&Path]) -> WatchSet<Fake> {
    WatchSet::new(Fake::default(), "/", paths.iter().map(|path| spec(path, class)).collect())
}

#[test]
fn what_is_missing_is_pending_and_then_watched_with_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let units = dir.path().join("systemd/system");
    let mut set = set(WatchClass::SystemUnit, &[&units]);
    let first = set.resolve().unwrap();
    assert!(first.errors.is_empty(), "{:?}", first.errors);
    let pending = set.marker.children[&(id(dir.path()), b"systemd".to_vec())];
    assert_eq!(pending.0, watch::ENTRY | watch::PENDING);

    std::fs::create_dir_all(units.join("a.service.d")).unwrap();
    std::fs::write(units.join("a.service.d/x.conf"), "").unwrap();
    std::os::unix::fs::symlink("/dev/null", units.join("b.service")).unwrap();
    let second = set.resolve().unwrap();
    assert_eq!(set.marker.children[&(id(dir.path()), b"systemd".to_vec())].0, watch::ENTRY);
    assert_eq!(set.marker.objects[&id(&units)].0, watch::SUBTREE);
    let mut found: Vec<&str> = second.found.iter().map(|found| found.path.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, ["a.service.d", "a.service.d/x.conf", "b.service"]);
    let link = second.found.iter().find(|found| found.path == "b.service").unwrap();
    assert_eq!(link.target.as_deref(), Some("/dev/null"));

    // Nothing changed: nothing is said again.
    let third = set.resolve().unwrap();
    assert!(third.found.is_empty() && third.watches.is_empty());

    // Gone again: the mark on the directory goes, the name is pending.
    std::fs::remove_dir_all(dir.path().join("systemd")).unwrap();
    set.resolve().unwrap();
    assert!(set.marker.objects.values().all(|mark| mark.0 & watch::SUBTREE == 0));
    assert_ne!(set.marker.children[&(id(dir.path()), b"systemd".to_vec())].0 & watch::PENDING, 0);
}

#[test]
fn what_is_there_at_the_start_is_no_change() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.service"), "").unwrap();
    let changes = set(WatchClass::SystemUnit, &[dir.path()]).resolve().unwrap();
    assert!(changes.found.is_empty());
    assert!(changes.watches.iter().any(|w| w.class == Some(WatchClass::SystemUnit)));
}

#[test]
fn symlinks_lead_to_the_directory_and_are_watched_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink("real", dir.path().join("alias")).unwrap();
    let mut set = set(WatchClass::UserUnit, &[&dir.path().join("alias")]);
    set.resolve().unwrap();
    assert_eq!(set.marker.objects[&id(&real)].0, watch::SUBTREE);
    assert!(set.marker.children.contains_key(&(id(dir.path()), b"alias".to_vec())));
    assert!(set.marker.children.contains_key(&(id(dir.path()), b"real".to_vec())));
}

#[test]
fn a_loop_of_symlinks_is_an_error_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("b", dir.path().join("a")).unwrap();
    std::os::unix::fs::symlink("a", dir.path().join("b")).unwrap();
    let good = dir.path().join("good");
    std::fs::create_dir(&good).unwrap();
    let mut set = set(WatchClass::UserUnit, &[&dir.path().join("a"), &good]);
    let changes = set.resolve().unwrap();
    assert!(matches!(changes.errors.as_slice(), [WatchError::Object { source: Errno::LOOP, .. }]));
    assert_eq!(set.marker.objects[&id(&good)].0, watch::SUBTREE);
}

#[test]
fn a_star_stands_for_every_directory_and_for_those_to_come() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("1000/systemd")).unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let mut set = set(WatchClass::UserUnit, &[&dir.path().join("*/systemd")]);
    let changes = set.resolve().unwrap();
    assert!(changes.errors.is_empty(), "{:?}", changes.errors);
    assert_ne!(set.marker.objects[&id(dir.path())].0 & watch::ANY_CHILD, 0);
    assert_eq!(set.marker.objects[&id(&dir.path().join("1000/systemd"))].0, watch::SUBTREE);
    std::fs::create_dir_all(dir.path().join("1001/systemd")).unwrap();
    let changes = set.resolve().unwrap();
    assert!(changes.watches.iter().any(|w| w.path.ends_with("1001/systemd") && w.class.is_some()));
}

#[test]
fn a_single_file_is_watched_by_itself_and_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rc.local");
    std::fs::write(&file, "").unwrap();
    let mut set = set(WatchClass::RcLocal, &[&file]);
    set.resolve().unwrap();
    assert_eq!(set.marker.objects[&id(&file)].0, watch::FILE);
    assert_eq!(set.marker.children[&(id(dir.path()), b"rc.local".to_vec())].0, watch::ENTRY);
}

#[test]
fn a_directory_that_takes_the_place_of_another_is_looked_through() {
    let dir = tempfile::tempdir().unwrap();
    let units = dir.path().join("units");
    std::fs::create_dir(&units).unwrap();
    let mut set = set(WatchClass::SystemUnit, &[&units]);
    set.resolve().unwrap();
    std::fs::rename(&units, dir.path().join("away")).unwrap();
    std::fs::create_dir(&units).unwrap();
    std::fs::write(units.join("evil.service"), "").unwrap();
    let found = set.resolve().unwrap().found;
    assert_eq!(found.iter().map(|found| found.path.as_str()).collect::<Vec<_>>(), ["evil.service"]);
    assert_eq!(set.resolve().unwrap().found, []);
}

/// Counts what the default list takes with the homes of so many users: nothing there, and everything there.
fn sizes(users: usize) -> [[usize; 3]; 2] {
    let dir = tempfile::tempdir().unwrap();
    let root: &'static str = Box::leak(dir.path().to_str().unwrap().to_owned().into_boxed_str());
    let mut specs = Vec::new();
    for path in crate::config::watch::Watch::default().effective() {
        for user in 0..if path.is_in_home() { users } else { 1 } {
            let path_of_user = path.path.replacen('~', &format!("/home/user{user}"), 1);
            specs.push(Spec { path: path_of_user, class: Some(path.class), owner: None });
        }
    }
    for user in 0..users {
        std::fs::create_dir_all(format!("{root}/home/user{user}")).unwrap();
    }
    let count = |specs: &[Spec]| {
        let mut set = WatchSet::new(Fake::default(), root, specs.to_vec());
        let changes = set.resolve().unwrap();
        assert!(changes.errors.is_empty(), "{:?}", changes.errors);
        let (objects, names) = set.len();
        [changes.watches.len(), objects, names]
    };
    let nothing = count(&specs);
    for spec in &specs {
        // Files too: a directory takes as much room.
        std::fs::create_dir_all(format!("{root}{}", spec.path.replace('*', "1000"))).unwrap();
    }
    let everything = count(&specs);
    assert!(everything[1] > specs.len() && everything[2] > nothing[2], "{everything:?}");
    [nothing, everything]
}

#[test]
fn the_default_list_of_a_thousand_users_finds_room() {
    use sensor_common::limits::{CHILD_ENTRIES, WATCH_ENTRIES};
    let (few, more) = (sizes(10), sizes(20));
    for ((few, more), what) in few.into_iter().zip(more).zip(["nothing there", "everything there"]) {
        let [watches, objects, names] =
            [0, 1, 2].map(|index| few[index] + (more[index] - few[index]) / 10 * 990);
        println!("{what}: {watches} watches, {objects} objects, {names} names");
        // A quarter is left for what a machine has beside: mounts, files with further names.
        let most = WATCH_ENTRIES / 4 * 3;
        assert!(watches < most && objects < most && names < CHILD_ENTRIES / 4 * 3, "{what}");
    }
}

/// A backend with room for one name.
#[derive(Default)]
struct Small(usize);

impl Marker for Small {
    type Identity = u32;

    fn identify(&mut self, _: BorrowedFd<'_>, path: &str) -> Result<Vec<u32>, WatchError> {
        Ok(vec![path.len() as u32])
    }

    fn mark(&mut self, _: &u32, _: u32, _: u32) -> Result<(), WatchError> {
        Ok(())
    }

    fn mark_child(&mut self, _: &u32, _: &[u8], flags: u32, _: u32) -> Result<(), WatchError> {
        let room = flags == 0 || self.0 == 0;
        self.0 += 1;
        if room { Ok(()) } else { Err(WatchError::Full { what: "names", refused: 1 }) }
    }

    fn mark_socket(&mut self, _: &u32, _: &[u8], _: Option<u32>) -> Result<(), WatchError> {
        Ok(())
    }
}

#[test]
fn a_full_map_is_one_error_that_counts() {
    let dir = tempfile::tempdir().unwrap();
    let specs = ["a", "b", "c"].map(|name| spec(&dir.path().join(name), WatchClass::SystemUnit));
    let on_the_way = dir.path().components().count() - 1;
    let mut set = WatchSet::new(Small::default(), "/", specs.to_vec());
    let errors = set.resolve().unwrap().errors;
    let refused = on_the_way + specs.len() - 1;
    assert!(matches!(errors.as_slice(), [WatchError::Full { what: "names", .. }]), "{errors:?}");
    assert_eq!(errors[0].refused(), refused, "{errors:?}");
    // What found no room is tried again, and told again.
    assert_eq!(set.resolve().unwrap().errors[0].refused(), refused);
}

#[test]
fn a_listener_is_known_by_its_name_before_it_is_there_and_after_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    std::os::unix::fs::symlink("run", dir.path().join("alias")).unwrap();
    let mut set = set(WatchClass::BusSocket, &[&dir.path().join("alias/bus")]);
    let changes = set.resolve().unwrap();
    let key = (id(&run), b"bus".to_vec());
    let number = set.marker.sockets[&key];
    let watch = changes.watches.iter().find(|watch| watch.watch == number).unwrap();
    assert_eq!(
        (watch.path.as_str(), watch.class),
        (run.join("bus").to_str().unwrap(), Some(WatchClass::BusSocket))
    );

    let listener = std::os::unix::net::UnixListener::bind(run.join("bus")).unwrap();
    let changes = set.resolve().unwrap();
    assert!(changes.errors.is_empty() && changes.found.is_empty(), "{:?}", changes.errors);
    assert_eq!(set.marker.sockets[&key], number);
    assert!(!set.marker.objects.values().any(|mark| mark.0 & (watch::SUBTREE | watch::FILE) != 0));
    drop(listener);
    std::fs::remove_file(run.join("bus")).unwrap();
    // Something else by that name is not looked into.
    std::fs::create_dir(run.join("bus")).unwrap();
    set.resolve().unwrap();
    assert!(!set.marker.objects.values().any(|mark| mark.0 & watch::SUBTREE != 0));

    std::fs::remove_dir_all(&run).unwrap();
    set.resolve().unwrap();
    assert!(set.marker.sockets.is_empty());
}

#[test]
fn where_links_lead_is_told_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (real, other, link) = (root.join("real/user"), root.join("other/user"), root.join("link"));
    for directory in [&real, &other] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let units = link.join("user");
    let mut set = set(WatchClass::UserUnit, &[&units, &real]);
    let told = |changes: Changes| changes.links;
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    assert_eq!(told(set.resolve().unwrap()), []);
    std::os::unix::fs::symlink("real", &link).unwrap();
    assert_eq!(told(set.resolve().unwrap()), [(text(&units), text(&real))]);
    assert_eq!(told(set.resolve().unwrap()), []);
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("other", &link).unwrap();
    assert_eq!(told(set.resolve().unwrap()), [(text(&units), text(&other))]);
    std::fs::remove_file(&link).unwrap();
    std::fs::create_dir_all(&units).unwrap();
    assert_eq!(told(set.resolve().unwrap()), [(text(&units), text(&units))]);
}
