//! Units that name others in their text, and so start them (systemd.unit(5); systemd.timer(5), systemd.path(5) and
//! systemd.socket(5) for the units that these activate; `config_parse_service_sockets`, src/core/load-fragment.c).

use super::super::name::is_type;
use super::effective::{Effective, State};
use super::key::{Key, Kind};
use super::load::{Fragment, View, split};
use super::name::{Name, Type};
use super::specifier::{Context, Table, expand};
use super::words::{Rules, words};

/// The settings by which a unit starts another, or has it enabled.
const STARTING: [Key; 11] = [
    Key::Requires,
    Key::Wants,
    Key::BindsTo,
    Key::Upholds,
    Key::OnSuccess,
    Key::OnFailure,
    Key::Unit,
    Key::Service,
    Key::Sockets,
    Key::Also,
    Key::Alias,
];

/// Most words of one setting that are looked at.
const WORDS_MAX: usize = 256;

/// A unit that is named by another, or names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The other unit. As one that names it may be the beginning of names up to a `-`, or a type: then it is every unit
    /// of these.
    pub unit: Vec<u8>,
    /// The setting.
    pub key: Key,
}

impl Reference {
    /// What it means for the unit that is named.
    pub fn sentence(&self) -> String {
        let unit = String::from_utf8_lossy(&self.unit);
        let unit = if is_type(&self.unit) { format!("every {unit}") } else { unit.into_owned() };
        match self.key {
            Key::Also => format!("is enabled with {unit} (Also=)"),
            Key::Alias => format!("is a name that {unit} gets when it is enabled (Alias=)"),
            key => format!("is started by {unit} ({}=)", key.name()),
        }
    }
}

/// Whether a setting names units that are started by it, or enabled.
pub fn is_starting(key: Key) -> bool {
    STARTING.contains(&key)
}

/// The units that name one of `names` in a setting that starts it, sorted, `limit` at most.
pub fn named_by(view: &View<'_>, names: &[&[u8]], limit: usize) -> Vec<Reference> {
    let mut found: Vec<Reference> = Vec::new();
    // What does not even hold the beginning of a name is not taken apart.
    let stems: Vec<&[u8]> = names.iter().filter_map(|name| Some(Name::parse(name)?.prefix)).collect();
    for directory in view.unit_directories() {
        for path in view.files.below(directory) {
            let Some(digest) = view.files.file(path) else { continue };
            let (parent, leaf) = split(path);
            let base = if parent == directory {
                leaf
            } else {
                match split(parent).1.strip_suffix(b".d") {
                    Some(base) if leaf.ends_with(b".conf") => base,
                    _ => continue,
                }
            };
            let may_name =
                |value: &[u8]| value.contains(&b'%') || stems.iter().any(|stem| contains(value, stem));
            let starting = digest.assignments().filter(|setting| is_starting(setting.key));
            for setting in starting.filter(|setting| may_name(setting.value)) {
                let meant = named_in(setting.key, setting.value, base, view);
                let is_named = meant.iter().any(|unit| is_one_of(unit, names));
                let reference = Reference { unit: base.to_vec(), key: setting.key };
                if !is_named || names.contains(&base) || found.contains(&reference) {
                    continue;
                }
                // A unit file behind a more important one of its name counts for nothing.
                let hidden = || match view.fragment(base) {
                    Fragment::Path(first) => view.files.resolve(&first, true).as_deref() != Some(path),
                    _ => true,
                };
                if parent == directory && hidden() {
                    continue;
                }
                found.push(reference);
                if found.len() == limit {
                    found.sort();
                    return found;
                }
            }
        }
    }
    found.sort();
    found
}

/// Whether a unit is called so, or is an instance of a template that is.
fn is_one_of(unit: &[u8], names: &[&[u8]]) -> bool {
    names.contains(&unit)
        || Name::parse(unit).and_then(|unit| unit.template()).is_some_and(|unit| names.contains(&&unit[..]))
}

/// The units that a setting of a unit names.
fn named_in(key: Key, value: &[u8], base: &[u8], view: &View<'_>) -> Vec<Vec<u8>> {
    let rules = match key.kind() {
        Kind::Units => Rules::UNITS,
        _ => Rules::INSTALL,
    };
    let (words, _) = words(value, rules, WORDS_MAX);
    // Of a drop-in for many units any name will do: specifiers are not for what they would name.
    let any = [b"any.", base].concat();
    let Some(name) = Name::parse(base).or_else(|| Name::parse(&any)) else { return words };
    let context = Context {
        name,
        scope: view.load.scope,
        home: view.load.home.as_deref(),
        uid: view.load.uid,
        fragment: None,
    };
    words
        .iter()
        .filter_map(|word| expand(word, Table::Names, &context).ok())
        .map(|expanded| expanded.text)
        .collect()
}

fn contains(value: &[u8], part: &[u8]) -> bool {
    value.windows(part.len().max(1)).any(|window| window == part)
}

/// The units that a unit names in settings that start them, in their order, and the one that a timer, path or socket
/// starts because it is called like it; `limit` at most.
pub fn names(unit: &Effective, limit: usize) -> Vec<Reference> {
    let starting =
        unit.settings.iter().filter(|setting| is_starting(setting.key) && setting.key != Key::Alias);
    let named = starting.filter(|setting| Name::parse(&setting.text).is_some());
    let named = named.map(|setting| Reference { unit: setting.text.to_vec(), key: setting.key });
    let own = |key| unit.last(key).is_none().then_some(key);
    let implied = match unit.kind {
        Type::Timer | Type::Path => own(Key::Unit),
        Type::Socket => own(Key::Service),
        _ => None,
    };
    let implied = implied.filter(|_| !matches!(unit.state, State::Missing | State::Masked)).and_then(|key| {
        let name = Name::parse(&unit.name)?;
        let each = unit.kind == Type::Socket && unit.is_on(Key::Accept);
        let service = if each { [name.prefix, b"@.service"].concat() } else { name.with_type(Type::Service) };
        Some(Reference { unit: service, key })
    });
    named.chain(implied).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::super::effective::tests::{store, unit};
    use super::super::load::LoadPath;
    use super::*;

    const FILES: [(&str, &str); 9] = [
        (
            "/usr/lib/systemd/system/ssh.service",
            "[Unit]\nWants=a.service b.service\nOnFailure=notify@%n.service\n",
        ),
        ("/etc/systemd/system/cron.service.d/x.conf", "[Unit]\nOnFailure=evil.service\n"),
        ("/etc/systemd/system/service.d/y.conf", "[Unit]\nUpholds=evil.service\n"),
        ("/etc/systemd/system/t.timer", "[Timer]\nOnBootSec=1\nUnit=evil.service\n"),
        ("/etc/systemd/system/i.timer", "[Timer]\nOnBootSec=1\n"),
        ("/etc/systemd/system/s.socket", "[Socket]\nListenStream=1\nAccept=yes\n"),
        (
            "/etc/systemd/system/e.service",
            "[Service]\nExecStart=/x evil.service\n[Install]\nAlso=evil.service\nAlias=b.service\n",
        ),
        ("/usr/lib/systemd/system/e.service", "[Unit]\nRequires=evil.service\n"),
        ("/etc/systemd/system/evil.service", "[Unit]\nWants=evil.service evil2.service\n"),
    ];

    #[test]
    fn units_that_name_another_start_it() {
        let (files, load) = (store(&FILES), LoadPath::system());
        let view = View::new(&files, &load);
        let of = |name: &str| {
            named_by(&view, &[name.as_bytes()], 9).iter().map(Reference::sentence).collect::<Vec<_>>()
        };
        assert_eq!(
            of("evil.service"),
            [
                "is started by cron.service (OnFailure=)",
                "is enabled with e.service (Also=)",
                "is started by every service (Upholds=)",
                "is started by t.timer (Unit=)",
            ]
        );
        assert_eq!(
            of("b.service"),
            [
                "is a name that e.service gets when it is enabled (Alias=)",
                "is started by ssh.service (Wants=)"
            ]
        );
        assert_eq!(of("notify@.service"), ["is started by ssh.service (OnFailure=)"]);
        assert_eq!(of("notify@ssh.service.service"), ["is started by ssh.service (OnFailure=)"]);
        assert_eq!(of("il.service"), [""; 0]);
        assert_eq!(named_by(&view, &[b"evil.service"], 2).len(), 2);
    }

    #[test]
    fn units_start_what_they_name() {
        let of = |name: &str| {
            let found = names(&unit(&FILES, name), 9);
            found.iter().map(|found| String::from_utf8_lossy(&found.unit).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            of("ssh.service"),
            ["a.service", "b.service", "notify@ssh.service.service", "evil.service"]
        );
        assert_eq!((of("t.timer"), of("i.timer")), (vec!["evil.service".into()], vec!["i.service".into()]));
        assert_eq!((of("s.socket"), of("none.timer")), (vec!["s@.service".to_owned()], vec![]));
    }
}
