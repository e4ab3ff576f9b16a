//! Where the two views differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use sensor_user::subject::unit::effective::{Effective, State};
use sensor_user::subject::unit::key::Key;
use sensor_user::subject::unit::load::LoadPath;
use sensor_user::subject::unit::pull::How;

use super::ask::{Shown, words};
use super::expect::{Machine, settings, shown};

/// Dependencies that files can give. Those of the second list the manager adds itself to.
const DEPENDENCIES: [(&str, Key); 9] = [
    ("Requires", Key::Requires),
    ("Requisite", Key::Requisite),
    ("Wants", Key::Wants),
    ("BindsTo", Key::BindsTo),
    ("Upholds", Key::Upholds),
    ("OnFailure", Key::OnFailure),
    ("OnSuccess", Key::OnSuccess),
    ("PartOf", Key::PartOf),
    ("Conflicts", Key::Conflicts),
];

/// By whom a unit is pulled in, and how.
const INVERSE: [(&str, &str); 3] =
    [("WantedBy", "Wants"), ("RequiredBy", "Requires"), ("UpheldBy", "Upholds")];

/// What the manager adds by itself: default dependencies (systemd.service(5) and its siblings, "Implicit" and "Default
/// Dependencies"), the bus of a `BusName=`, and what mounts and devices need.
const IMPLIED: [&str; 9] = [
    "sysinit.target",
    "basic.target",
    "shutdown.target",
    "umount.target",
    "dbus.socket",
    "local-fs-pre.target",
    "local-fs.target",
    "network-online.target",
    "swap.target",
];

/// Types whose units are needed without a file saying so: a slice for its members, mounts for paths, devices for mounts,
/// services and sockets for their like.
const IMPLIED_TYPES: [&str; 3] = [".slice", ".mount", ".device"];

/// Both views of the same names.
pub struct Compared<'a> {
    names: &'a [String],
    ours: &'a [Effective],
    theirs: &'a [Shown],
    machine: Machine,
    /// For each name of a unit the one that it goes by.
    canonical: BTreeMap<String, String>,
    /// For each unit whom it pulls in.
    forward: BTreeMap<String, BTreeSet<(&'static str, String)>>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// With /usr merged, /lib is /usr/lib: which of the two names a manager's load path has first is its build's choice.
fn path(path: &str) -> String {
    path.strip_prefix("/lib/").map_or(path.to_owned(), |rest| format!("/usr/lib/{rest}"))
}

impl<'a> Compared<'a> {
    /// Of these names, shown by a systemd of this version.
    pub fn new(names: &'a [String], ours: &'a [Effective], theirs: &'a [Shown], version: u32) -> Self {
        let mut canonical = BTreeMap::new();
        for (name, unit) in names.iter().zip(ours).filter(|(_, unit)| unit.state == State::Loaded) {
            canonical.insert(name.clone(), text(&unit.name));
            canonical.extend(unit.aliases.iter().map(|alias| (text(alias), text(&unit.name))));
        }
        let mut compared = Self {
            names,
            ours,
            theirs,
            machine: Machine::here(version),
            canonical,
            forward: BTreeMap::new(),
        };
        for unit in ours.iter().filter(|unit| unit.state == State::Loaded) {
            let dependencies = compared.dependencies(unit);
            compared.forward.entry(text(&unit.name)).or_default().extend(dependencies);
        }
        compared
    }

    fn canonical(&self, name: &str) -> String {
        self.canonical.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// A unit's dependencies by its files.
    fn dependencies(&self, unit: &Effective) -> BTreeSet<(&'static str, String)> {
        let mut found = BTreeSet::new();
        for (property, key) in DEPENDENCIES {
            found.extend(unit.all(key).map(|setting| (property, self.canonical(&text(&setting.text)))));
        }
        // `config_parse_service_sockets`, src/core/load-fragment.c.
        found.extend(unit.all(Key::Sockets).map(|setting| ("Wants", self.canonical(&text(&setting.text)))));
        for pull in &unit.pulls {
            let property = match pull.how {
                How::Wants => "Wants",
                How::Requires => "Requires",
                How::Upholds => "Upholds",
            };
            found.insert((property, self.canonical(&text(&pull.unit))));
        }
        // A dependency on oneself is dropped (`unit_add_dependency`, src/core/unit.c).
        found.retain(|(_, name)| *name != text(&unit.name));
        found
    }

    /// How many units are loaded.
    pub fn loaded(&self) -> usize {
        self.ours.iter().filter(|unit| unit.state == State::Loaded).count()
    }

    /// How many values our reader had to give for them.
    pub fn values(&self) -> usize {
        let loaded = self.ours.iter().filter(|unit| unit.state == State::Loaded);
        loaded
            .map(|unit| unit.settings.len() + unit.commands.len() + unit.files.len() + unit.pulls.len())
            .sum()
    }

    /// Whether `systemctl cat` has something to show of the unit at this place.
    pub fn has_files(&self, at: usize) -> bool {
        self.ours[at].state == State::Loaded && !self.ours[at].files.is_empty()
    }

    /// What differs, a line each.
    pub fn differences(&self) -> Vec<String> {
        let active: BTreeSet<&str> = self
            .theirs
            .iter()
            .filter(|shown| shown.get("ActiveState").is_some_and(|state| state[0] == "active"))
            .filter_map(|shown| Some(shown.get("Id")?[0].as_str()))
            .collect();
        let mut found = Vec::new();
        for ((name, unit), theirs) in self.names.iter().zip(self.ours).zip(self.theirs) {
            // Where several names lead to a unit, it is loaded under the one by which it was first asked for, and its
            // file's specifiers see that one.
            let of_alias = |alias: &Vec<u8>| self.names.iter().position(|name| name.as_bytes() == &alias[..]);
            let candidates: Vec<&Effective> = std::iter::once(unit)
                .chain(of_alias(&unit.name).map(|at| &self.ours[at]))
                .chain(unit.aliases.iter().filter_map(of_alias).map(|at| &self.ours[at]))
                .collect();
            let differences: Vec<Vec<String>> =
                candidates.iter().map(|unit| self.compare(name, unit, theirs, &active)).collect();
            if let Some(fewest) = differences.into_iter().min_by_key(Vec::len) {
                found.extend(fewest.into_iter().map(|difference| format!("{name}: {difference}")));
            }
        }
        found
    }

    fn compare(&self, asked: &str, unit: &Effective, theirs: &Shown, active: &BTreeSet<&str>) -> Vec<String> {
        let mut found = Vec::new();
        let mut differ = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                found.push(format!("{what}: ours {ours}, theirs {theirs}"));
            }
        };
        let line = |property: &str| theirs.get(property).map_or("", |lines| lines[0].as_str());
        let state = match unit.state {
            State::Loaded => "loaded",
            State::Masked => "masked",
            State::Missing => "not-found",
            State::Refused => "bad-setting",
            State::Unread => "unread",
        };
        differ("LoadState", state.to_owned(), line("LoadState").to_owned());
        // Of a file that it refuses the manager takes no names (`unit_load_fragment`, src/core/load-fragment.c).
        if unit.state != State::Refused || line("Id") != asked {
            differ("Id", text(&unit.name), line("Id").to_owned());
        }
        if unit.state == State::Missing {
            return found;
        }
        let fragment = unit.files.first().filter(|_| unit.fragment).map(|path| text(path));
        differ("FragmentPath", path(&fragment.unwrap_or_default()), path(line("FragmentPath")));
        if unit.state != State::Loaded {
            return found;
        }
        let drop_ins = unit.files.iter().skip(usize::from(unit.fragment)).map(|file| path(&text(file)));
        let theirs_drop_ins = words(line("DropInPaths")).iter().map(|file| path(file)).collect::<Vec<_>>();
        differ("DropInPaths", drop_ins.collect::<Vec<_>>().join(" "), theirs_drop_ins.join(" "));
        let names: BTreeSet<String> =
            unit.aliases.iter().chain([&unit.name]).map(|name| text(name)).collect();
        // A template is a name of its instances where it is the file's.
        let names = names.into_iter().filter(|name| !name.contains("@.")).collect::<Vec<_>>();
        let mut theirs_names = words(line("Names"));
        theirs_names.sort();
        differ("Names", names.join(" "), theirs_names.join(" "));
        for (property, ours) in settings(unit, &self.machine) {
            // What the type has not is not shown, but for lists, which are not when they are empty.
            let lines = theirs.get(property);
            if lines.is_none() && ours.iter().all(|value| matches!(&value[..], "" | "no")) {
                continue;
            }
            let theirs = lines.map(|lines| shown(property, lines)).unwrap_or_default();
            differ(property, format!("{ours:?}"), format!("{theirs:?}"));
        }
        self.compare_dependencies(unit, theirs, active, &mut differ);
        found
    }

    fn compare_dependencies(
        &self,
        unit: &Effective,
        theirs: &Shown,
        active: &BTreeSet<&str>,
        differ: &mut dyn FnMut(&str, String, String),
    ) {
        let lists = |property: &str| -> BTreeSet<String> {
            let lines = theirs.get(property).into_iter().flatten();
            lines.flat_map(|line| words(line)).map(|name| self.canonical(&name)).collect()
        };
        let implied = |name: &String| {
            IMPLIED.contains(&&name[..]) || IMPLIED_TYPES.iter().any(|suffix| name.ends_with(suffix))
        };
        let ours = self.dependencies(unit);
        for (property, _) in DEPENDENCIES {
            let ours: BTreeSet<String> =
                ours.iter().filter(|(name, _)| *name == property).map(|(_, name)| name.clone()).collect();
            let theirs = lists(property);
            let missed: Vec<&String> = ours.difference(&theirs).collect();
            let more: Vec<&String> = theirs.difference(&ours).filter(|name| !implied(name)).collect();
            differ(property, format!("{missed:?}"), "[]".to_owned());
            differ(property, "[]".to_owned(), format!("{more:?}"));
        }
        for (inverse, property) in INVERSE {
            let pulls = |other: &String| {
                self.forward.get(other).is_some_and(|list| list.contains(&(property, text(&unit.name))))
            };
            let theirs = lists(inverse);
            // Who is not held in memory is not shown: the others must be.
            let missed: Vec<&str> = active
                .iter()
                .copied()
                .filter(|other| pulls(&(*other).to_owned()) && !theirs.contains(*other))
                .collect();
            let implied_here = implied(&text(&unit.name));
            let more: Vec<&String> = theirs.iter().filter(|other| !pulls(other) && !implied_here).collect();
            differ(inverse, format!("{missed:?}"), "[]".to_owned());
            differ(inverse, "[]".to_owned(), format!("{more:?}"));
        }
    }
}

/// The directories, in their order. A manager drops those that are one and the same.
pub fn load_path(ours: &LoadPath, theirs: &[String]) -> Vec<String> {
    let unique = |paths: Vec<String>| {
        let mut seen = BTreeSet::new();
        paths
            .into_iter()
            .map(|directory| path(&directory))
            .filter(|path| seen.insert(path.clone()))
            .collect::<Vec<_>>()
    };
    let ours = unique(ours.directories.iter().map(|path| text(path)).collect());
    let theirs = unique(theirs.to_vec());
    if ours == theirs { Vec::new() } else { vec![format!("ours {ours:?}, theirs {theirs:?}")] }
}

/// The text of `systemctl cat`: of each unit its files, each below its name as a comment.
pub fn cat<'a>(units: impl Iterator<Item = &'a Effective>, said: &str) -> Vec<String> {
    let said = lines(said);
    let mut rest = &said[..];
    for unit in units {
        for file in &unit.files {
            let file = text(file);
            let content = lines(&fs::read(&file).map(|bytes| text(&bytes)).unwrap_or_default());
            rest = rest.trim_start_matches('\n');
            let end = rest.find('\n').unwrap_or(rest.len());
            let (head, after) = rest.split_at(end);
            let named = head.strip_prefix("# ").is_some_and(|head| path(head) == path(&file));
            match after.strip_prefix('\n').filter(|_| named) {
                Some(after) if after.starts_with(&content) => rest = &after[content.len()..],
                // What follows would be out of step.
                _ => return vec![format!("{}: {file} does not come next, but {head:?}", text(&unit.name))],
            }
        }
    }
    match rest.trim().lines().next() {
        Some(line) => vec![format!("nobody expects {line:?}")],
        None => Vec::new(),
    }
}

/// With ends of lines as `systemctl cat` writes them (`read_line_full`, src/basic/fileio.c).
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

#[cfg(test)]
mod tests {
    use sensor_user::subject::unit::effective::effective;
    use sensor_user::subject::unit::load::View;
    use sensor_user::subject::unit::store::UnitFiles;

    use super::*;

    const SERVICE: &str = "[Unit]\nWants=b.service\n[Service]\nExecStart=-/bin/a\nUser=one\n";

    fn shown(text: &str) -> Shown {
        let pair =
            |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
        text.lines().filter_map(pair).collect()
    }

    /// What differs where the manager says this of `SERVICE`.
    fn said(text: &str) -> Vec<String> {
        let mut store = UnitFiles::new(1 << 16);
        store.insert_file(b"/usr/lib/systemd/system/a.service", SERVICE.as_bytes()).unwrap();
        let load = LoadPath::system();
        let ours = [effective(&View::new(&store, &load), b"a.service").unwrap()];
        Compared::new(&["a.service".to_owned()], &ours, &[shown(text)], 252).differences()
    }

    #[test]
    fn what_is_the_same_is_silent_and_what_is_not_is_named() {
        let text = "Id=a.service\nNames=a.service\nLoadState=loaded\nActiveState=inactive\n\
            FragmentPath=/lib/systemd/system/a.service\nDropInPaths=\nUser=one\nRestart=no\n\
            ExecStartEx={ path=/bin/a ; argv[]=/bin/a ; flags=ignore-failure ; start_time=[n/a] }\n\
            Requires=sysinit.target system.slice\nWants=b.service\nConflicts=shutdown.target\n";
        assert_eq!(said(text), [""; 0]);
        for (from, to, expected) in [
            ("User=one", "User=two", r#"a.service: User: ours ["one"], theirs ["two"]"#),
            ("Wants=b.service", "Wants=", r#"a.service: Wants: ours ["b.service"], theirs []"#),
            (
                "Wants=b.service",
                "Wants=b.service c.service",
                r#"a.service: Wants: ours [], theirs ["c.service"]"#,
            ),
            ("flags=ignore-failure", "flags=", "a.service: ExecStartEx: "),
            (
                "DropInPaths=",
                "DropInPaths=/etc/systemd/system/a.service.d/x.conf",
                "a.service: DropInPaths: ",
            ),
            ("Names=a.service", "Names=a.service z.service", "a.service: Names: "),
            ("LoadState=loaded", "LoadState=masked", "a.service: LoadState: ours loaded, theirs masked"),
        ] {
            let differences = said(&text.replace(from, to));
            assert_eq!(differences.len(), 1, "{differences:?}");
            assert!(differences[0].starts_with(expected), "{differences:?}");
        }
    }

    #[test]
    fn cat_is_followed_file_by_file() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("system");
        fs::create_dir_all(directory.join("a.service.d")).unwrap();
        let mut store = UnitFiles::new(1 << 16);
        let mut expected = String::new();
        for (name, text) in [("a.service", SERVICE), ("a.service.d/x.conf", "[Service]\nUser=")] {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            store.insert_file(path.to_str().unwrap().as_bytes(), text.as_bytes()).unwrap();
            expected.extend(["# ", path.to_str().unwrap(), "\n", text, "\n\n"]);
        }
        let load = LoadPath::system().with_unit_path(directory.to_str().unwrap().as_bytes());
        let unit = effective(&View::new(&store, &load), b"a.service").unwrap();
        assert!(cat([&unit].into_iter(), &expected).is_empty());
        assert_eq!(cat([&unit].into_iter(), &expected.replace("User=one", "User=two")).len(), 1);
        assert_eq!(cat([&unit].into_iter(), &format!("{expected}# /x\n")).len(), 1);
        assert_eq!(cat([&unit, &unit].into_iter(), &expected).len(), 1);
    }

    #[test]
    fn load_paths_are_the_same_in_their_order_alone() {
        let ours = LoadPath::system();
        let mut theirs: Vec<String> = ours.directories.iter().map(|path| text(path)).collect();
        assert!(load_path(&ours, &theirs).is_empty());
        theirs.swap(0, 4);
        assert_eq!(load_path(&ours, &theirs).len(), 1);
    }
}
