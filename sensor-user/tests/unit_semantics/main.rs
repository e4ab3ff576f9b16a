//! The effective unit against the service manager's own, on generated unit files and on those of Debian packages.
//!
//! `cargo xtask test --only units` lays the packages out and names the folder in `SVCSENSOR_UNITS`; without it, or
//! without systemd-analyze, the tests say "skipped" and why.

mod generate;
mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use oracle::{Unit, Verdict};
use sensor_user::subject::unit::effective::{Effective, State, effective};
use sensor_user::subject::unit::key::Key;
use sensor_user::subject::unit::load::{LoadPath, View};
use sensor_user::subject::unit::pull::How;
use sensor_user::subject::unit::signals::{self, Weight};
use sensor_user::subject::unit::store::UnitFiles;

/// The load path below a root; without what needs a running system.
const DIRECTORIES: [&str; 6] = [
    "etc/systemd/system.control",
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "run/systemd/generator.late",
];

fn directories(root: &Path) -> Vec<String> {
    DIRECTORIES.iter().map(|path| root.join(path).to_str().unwrap().to_owned()).collect()
}

fn load_path(directories: &[String]) -> LoadPath {
    LoadPath::system().with_unit_path(directories.join(":").as_bytes())
}

/// Puts every file and link below a directory into the store; the bytes that were read.
fn read_below(store: &mut UnitFiles, directory: &Path) -> usize {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        let name = path.to_str().unwrap().as_bytes();
        if kind.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            store.insert_link(name, target.to_str().unwrap().as_bytes()).unwrap();
        } else if kind.is_dir() {
            bytes += read_below(store, &path);
        } else if kind.is_file() {
            let content = std::fs::read(&path).unwrap();
            bytes += content.len();
            store.insert_file(name, &content).unwrap();
        }
    }
    bytes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Our view in the oracle's terms. What the service manager fills in by default is left out of both.
fn ours(unit: &Effective) -> Verdict {
    match unit.state {
        State::Masked => return Verdict::Masked,
        State::Missing => return Verdict::NotFound,
        State::Refused | State::Unread => return Verdict::Refused,
        State::Loaded => {}
    }
    // The one specifier of these units whose value is the machine's.
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let mut commands: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for run in &unit.commands {
        let argument = |argument: &Vec<u8>| {
            if run.command.unresolved { text(argument).replace("%H", &hostname) } else { text(argument) }
        };
        let argv = run.command.argv.iter().map(argument).collect();
        commands.entry(run.key.name().to_owned()).or_default().push(argv);
    }
    let mut single = BTreeMap::new();
    let mut environment = BTreeSet::new();
    let mut dependencies = BTreeSet::new();
    for setting in &unit.settings {
        let (name, value) = (setting.key.name(), text(&setting.text));
        // The dump has another name for a file system's type.
        if oracle::SINGLE.contains(&name) && setting.key != Key::MountType {
            single.insert(name.to_owned(), value);
        } else if name == "Environment" {
            environment.insert(value);
        } else if name == "Sockets" {
            // `config_parse_service_sockets`, src/core/load-fragment.c.
            dependencies.insert(format!("Wants {value}"));
        } else if oracle::DEPENDENCIES.contains(&name) && !oracle::is_of_type(&value, "slice") {
            dependencies.insert(format!("{name} {value}"));
        }
    }
    for pull in &unit.pulls {
        let how = match pull.how {
            How::Wants => "Wants",
            How::Requires => "Requires",
            How::Upholds => "Upholds",
        };
        dependencies.insert(format!("{how} {}", text(&pull.unit)));
    }
    Verdict::Loaded(Unit {
        name: text(&unit.name),
        aliases: unit.aliases.iter().map(|alias| text(alias)).collect(),
        files: unit.files.iter().map(|path| text(path)).collect(),
        commands,
        single,
        environment,
        dependencies,
    })
}

/// Takes out what differs by nature.
fn comparable(verdict: Verdict, single: &BTreeMap<String, String>) -> Verdict {
    let Verdict::Loaded(mut unit) = verdict else { return verdict };
    // A template is a name of its instances where it is the file's; and a dependency on oneself is dropped.
    unit.aliases.retain(|alias| !alias.contains("@."));
    unit.single.retain(|key, _| single.contains_key(key));
    // Paths ask for their mounts, and a bus name for the bus, as if a file had.
    let own = unit.name.clone();
    let implied = |name: &str| name == own || name == "dbus.socket" || oracle::is_of_type(name, "mount");
    unit.dependencies.retain(|dependency| dependency.split(' ').nth(1).is_some_and(|name| !implied(name)));
    Verdict::Loaded(unit)
}

fn single(verdict: &Verdict) -> BTreeMap<String, String> {
    match verdict {
        Verdict::Loaded(unit) => unit.single.clone(),
        _ => BTreeMap::new(),
    }
}

/// How two views differ, for people.
fn difference(ours: Verdict, theirs: Verdict) -> Option<String> {
    let given = single(&ours);
    let (ours, theirs) = (comparable(ours, &given), comparable(theirs, &given));
    (ours != theirs).then(|| format!("ours   {ours:?}\ntheirs {theirs:?}"))
}

/// Units of packages are to say next to nothing by themselves: what each says counts against it once it is changed.
fn quiet(view: &View<'_>) {
    let names = view.units();
    let known = names.iter().map(Vec::as_slice).collect();
    let mut strong = Vec::new();
    let mut weak = 0;
    for name in &names {
        let unit = effective(view, text(name).replace("@.", "@i.").as_bytes()).unwrap();
        for signal in signals::unit::signals(&unit, &known) {
            match signal.weight {
                Weight::Note => {}
                Weight::Weak => weak += 1,
                Weight::Strong | Weight::Damning => {
                    strong.push(format!(
                        "{}: {} {:?} {}",
                        text(name),
                        signal.slug,
                        signal.weight,
                        signal.why
                    ));
                }
            }
        }
    }
    println!(
        "of {} units of packages {} say something strong, {weak} something weak",
        known.len(),
        strong.len()
    );
    assert!(strong.len() * 100 <= known.len(), "{}", strong.join("\n"));
}

fn skipped(why: &str) {
    println!("skipped unit_semantics: {why}");
    assert!(std::env::var_os("SVCSENSOR_REQUIRE_TOOLS").is_none(), "{why}");
}

#[test]
fn generated_units_are_what_systemd_makes_of_them() {
    if let Some(why) = oracle::missing() {
        return skipped(&why);
    }
    let (mut compared, mut loaded) = (0, 0);
    let mut differences = Vec::new();
    for seed in 0..100 {
        let root = tempfile::tempdir().unwrap();
        let names = generate::lay(root.path(), seed);
        let directories = directories(root.path());
        let load = load_path(&directories);
        let mut store = UnitFiles::new(1 << 24);
        read_below(&mut store, root.path());
        let view = View::new(&store, &load);
        for name in names {
            let ours = ours(&effective(&view, name.as_bytes()).unwrap());
            let theirs = oracle::ask(&directories, &name);
            compared += 1;
            loaded += u32::from(matches!(theirs, Verdict::Loaded(_)));
            if let Some(difference) = difference(ours, theirs) {
                differences.push(format!("seed {seed}, {name}\n{difference}"));
            }
        }
    }
    println!("{compared} generated units compared, {loaded} of them loadable");
    assert!(loaded * 3 > compared, "most are refused: little is compared");
    assert!(differences.is_empty(), "{} of {compared} differ\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn units_of_packages_are_what_systemd_makes_of_them() {
    if let Some(why) = oracle::missing() {
        return skipped(&why);
    }
    let Some(root) = std::env::var_os("SVCSENSOR_UNITS").map(PathBuf::from) else {
        println!(
            "skipped unit_semantics: SVCSENSOR_UNITS is not set; `cargo xtask test --only units` sets it"
        );
        return;
    };
    let directories = directories(&root);
    let load = load_path(&directories);
    let mut store = UnitFiles::new(1 << 26);
    let bytes: usize = directories.iter().map(|path| read_below(&mut store, Path::new(path))).sum();
    let view = View::new(&store, &load);
    let names = view.units();
    let files = store.len();
    println!(
        "{files} files and links of {bytes} bytes are {} in the store, {} each",
        store.bytes(),
        store.bytes() / files
    );
    let (mut compared, mut differences) = (0u32, Vec::new());
    let mut spent = std::time::Duration::ZERO;
    for name in &names {
        // A template is loaded as an instance, as the service manager does; "i" is verify's own choice.
        let shown = text(name).replace("@.", "@i.");
        let start = Instant::now();
        let unit = effective(&view, shown.as_bytes()).unwrap();
        spent += start.elapsed();
        let theirs = oracle::ask(&directories, &shown);
        compared += 1;
        if let Some(difference) = difference(ours(&unit), theirs) {
            differences.push(format!("{shown}\n{difference}"));
        }
    }
    quiet(&view);
    println!("{compared} units of packages compared; ours took {:?} each", spent / compared.max(1));
    assert!(compared > 200, "only {compared} units");
    assert!(differences.is_empty(), "{} of {compared} differ\n{}", differences.len(), differences.join("\n"));
}
