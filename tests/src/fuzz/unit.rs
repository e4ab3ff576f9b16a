//! Unit files: from their bytes to what a change of them means.

use sensor_user::subject::service::Scope;
use sensor_user::subject::unit::affected::affected;
use sensor_user::subject::unit::change::{changes, shown};
use sensor_user::subject::unit::effective::{BYTES_MAX, Effective, SETTINGS_MAX, effective};
use sensor_user::subject::unit::exec::{self, ARGUMENTS_MAX, COMMANDS_MAX};
use sensor_user::subject::unit::load::{LoadPath, View, activators};
use sensor_user::subject::unit::name::Name;
use sensor_user::subject::unit::signals::{self, name::Known};
use sensor_user::subject::unit::specifier::{Context, Table, expand};
use sensor_user::subject::unit::store::UnitFiles;

/// Where files may lie: names that meet in aliases, templates, drop-ins of every level and dependencies.
pub const PLACES: [&str; 24] = [
    "/etc/systemd/system/a.service",
    "/etc/systemd/system/a-b.service",
    "/etc/systemd/system/t@.service",
    "/etc/systemd/system/t@x.service",
    "/etc/systemd/system/a.socket",
    "/etc/systemd/system/a.timer",
    "/etc/systemd/system/a.path",
    "/etc/systemd/system/a.mount",
    "/etc/systemd/system/g.target",
    "/run/systemd/system/a.service",
    "/usr/lib/systemd/system/a.service",
    "/usr/lib/systemd/system/t@.service",
    "/etc/systemd/system/service.d/1.conf",
    "/etc/systemd/system/a-.service.d/2.conf",
    "/etc/systemd/system/a.service.d/3.conf",
    "/run/systemd/system/a.service.d/3.conf",
    "/usr/lib/systemd/system/t@.service.d/4.conf",
    "/etc/systemd/system/t@x.service.d/5.conf",
    "/etc/systemd/system/g.target.wants/a.service",
    "/etc/systemd/system/g.target.requires/t@x.service",
    "/etc/systemd/system/b.service",
    "/opt/linked",
    "/etc/systemd/system",
    "/lib",
];

/// Between the files of an input.
pub const END: u8 = 0xff;

/// Set in the byte that says where a file lies: it is a link.
pub const LINK: u8 = 0x80;

const NAMES: [&str; 11] = [
    "a.service",
    "a-b.service",
    "b.service",
    "t@.service",
    "t@x.service",
    "a.socket",
    "a.timer",
    "a.path",
    "a.mount",
    "g.target",
    "no.slice",
];

/// Files one after another: where (`PLACES`, `LINK`), then the content or a link's target up to `END`. The last
/// one is a change, which is weighed.
pub fn unit(data: &[u8]) {
    let load = LoadPath::system();
    let mut store = UnitFiles::new(1 << 20);
    let mut last = None;
    let before = |store: &UnitFiles| -> Vec<Option<Effective>> {
        let view = View::new(store, &load);
        NAMES.iter().map(|name| effective(&view, name.as_bytes())).collect()
    };
    let mut old = Vec::new();
    let mut files = data.split(|byte| *byte == END).filter(|file| !file.is_empty()).take(64).peekable();
    while let Some(file) = files.next() {
        let path = PLACES[usize::from(file[0] & !LINK) % PLACES.len()].as_bytes();
        if files.peek().is_none() {
            old = before(&store);
            last = Some(path);
        }
        let stored = if file[0] & LINK == 0 {
            store.insert_file(path, &file[1..])
        } else {
            store.insert_link(path, &file[1..])
        };
        assert!(store.bytes() <= 1 << 20, "the store has a bound");
        if stored.is_err() {
            assert!(store.file(path).is_none() && store.link(path).is_none());
        }
    }
    let Some(last) = last else { return };
    let view = View::new(&store, &load);
    let known: Known = view.units().iter().map(Vec::as_slice).collect();
    let concerned = affected(&view, last, 16);
    assert!(concerned.units.len() <= 16);
    let new = before(&store);
    for (old, new) in old.iter().zip(&new) {
        for change in changes(old.as_ref(), new.as_ref()) {
            let _ = (change.aspect(), change.sentence());
        }
        assert!(changes(new.as_ref(), new.as_ref()).is_empty(), "nothing differs from itself");
        new.as_ref().into_iter().for_each(|unit| check(unit, &known));
    }
    for name in concerned.units {
        let parsed = Name::parse(&name).expect("a name of a unit");
        let _ = (activators(&view, parsed), view.candidates(&name));
    }
}

fn check(unit: &Effective, known: &Known) {
    assert!(unit.settings.len() <= SETTINGS_MAX + COMMANDS_MAX * 256 && unit.problems.len() <= SETTINGS_MAX);
    assert!(unit.commands.len() <= SETTINGS_MAX + COMMANDS_MAX);
    for origin in unit.settings.iter().map(|setting| setting.origin) {
        assert!(unit.file(origin).is_some(), "every setting comes from a file");
    }
    let held: usize = unit.settings.iter().map(|setting| setting.text.len()).sum();
    assert!(held <= BYTES_MAX + (4 << 20), "{held} bytes of settings");
    let _ = (unit.user(), unit.environment(), signals::unit::signals(unit, known));
}

/// A command line, for the unit that the first byte chooses; then the same bytes as a text with specifiers.
pub fn command(data: &[u8]) {
    let Some((choice, line)) = data.split_first() else { return };
    let name = NAMES[usize::from(*choice) % NAMES.len()].as_bytes();
    let user = choice & 0x40 != 0;
    let context = Context {
        name: Name::parse(name).expect("one of the names above"),
        scope: if user { Scope::User } else { Scope::System },
        home: (choice & 0x20 == 0).then_some(&b"/home/u"[..]),
        uid: user.then_some(1000),
        fragment: Some(b"/etc/systemd/system/a.service"),
    };
    let parsed = exec::parse(line, &context);
    assert!(parsed.commands.len() <= COMMANDS_MAX);
    for command in &parsed.commands {
        assert!(!command.path.is_empty() && command.argv.len() <= ARGUMENTS_MAX);
        let unresolved = command.unresolved && command.path[0] == b'%';
        assert!(command.path[0] == b'/' || unresolved || !command.path.contains(&b'/'), "a path or a name");
        let _ = (shown(command), signals::command::signals(&command.path, &command.argv, user));
    }
    for table in [Table::Names, Table::Full] {
        let _ = expand(line, table, &context);
    }
    let _ = signals::command::of_script(line);
}
