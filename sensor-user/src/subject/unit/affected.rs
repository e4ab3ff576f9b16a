//! Which units a file concerns: before and after a change to it, these are to be compared.

use std::collections::BTreeSet;

use super::super::name::is_type;
use super::load::{View, bases, split};
use super::name::Name;
use super::pull::How;

/// The units that a path concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// Their names, sorted. A template's instances are those that there are files or links of.
    pub units: Vec<Vec<u8>>,
    /// There are more than were asked for.
    pub more: bool,
}

/// The units that the file, link or directory at `path` concerns, at most `limit` of them: the unit of its name, those
/// whose drop-in it is, that which it pulls in and that which pulls; also where the path is only the target of a link
/// in a unit directory. Ask when the file is there: before it is removed, or after it was written.
pub fn affected(view: &View<'_>, path: &[u8], limit: usize) -> Affected {
    let real = view.files.resolve(path, false).unwrap_or_else(|| path.to_vec());
    let mut entries: BTreeSet<Vec<u8>> = BTreeSet::new();
    for directory in view.unit_directories() {
        let below = |path: &[u8]| {
            let rest = path.strip_prefix(directory)?.strip_prefix(b"/")?;
            (!rest.is_empty()).then(|| rest.to_vec())
        };
        entries.extend(below(&real));
        // What is reached by a link, or lies below what is.
        for link in view.files.links_below(directory) {
            // Where a dependency's link leads does not matter.
            if How::ALL.iter().any(|how| split(link).0.ends_with(how.suffix())) {
                continue;
            }
            let target = view.files.resolve(link, true).filter(|target| target != b"/dev/null");
            let rest = target.as_deref().and_then(|target| real.strip_prefix(target));
            if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest[0] == b'/') {
                entries.extend(below(&[link, rest].concat()));
            }
        }
    }
    let mut concerned = Concerned::default();
    for entry in &entries {
        concerned.entry(entry);
    }
    concerned.units(view, limit)
}

/// Names that stand for units.
#[derive(Default)]
struct Concerned {
    /// By exactly this name.
    exact: BTreeSet<Vec<u8>>,
    /// By drop-ins of this name: also of instances and of names that begin so.
    base: BTreeSet<Vec<u8>>,
}

impl Concerned {
    /// Takes a path below a unit directory.
    fn entry(&mut self, entry: &[u8]) {
        let mut names = entry.splitn(2, |byte| *byte == b'/');
        let (first, second) = (names.next().unwrap_or_default(), names.next());
        if let Some(base) = first.strip_suffix(b".d") {
            self.base.insert(base.to_vec());
            return;
        }
        if let Some(base) = How::ALL.iter().find_map(|how| first.strip_suffix(how.suffix())) {
            self.exact.extend(second.map(<[u8]>::to_vec));
            // A type stands for all its units, which change in nothing but what they start.
            if !is_type(base) {
                self.base.insert(base.to_vec());
            }
            return;
        }
        self.base.insert(first.to_vec());
    }

    fn units(self, view: &View<'_>, limit: usize) -> Affected {
        let mut units: BTreeSet<Vec<u8>> =
            self.exact.iter().chain(&self.base).filter(|name| Name::parse(name).is_some()).cloned().collect();
        let mut more = units.len() > limit;
        for name in known(view) {
            let Some(parsed) = Name::parse(&name) else { continue };
            let kind = self.base.iter().any(|base| base == parsed.kind.suffix());
            // An alias is the unit it leads to: one name tells the change.
            if !kind && !bases(&name).iter().any(|base| self.base.contains(base)) {
                continue;
            }
            if units.len() >= limit && !units.contains(&name) {
                more = true;
                break;
            }
            units.insert(name);
        }
        Affected { units: units.into_iter().take(limit).collect(), more }
    }
}

/// The units that there are files or links of, and those that are pulled in, instances above all.
fn known(view: &View<'_>) -> BTreeSet<Vec<u8>> {
    let mut names = view.units();
    for directory in view.unit_directories() {
        for link in view.files.links_below(directory) {
            let (parent, name) = split(link);
            let pulled = parent.len() > directory.len() && Name::parse(name).is_some();
            names.extend(pulled.then(|| name.to_vec()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::load::LoadPath;
    use super::super::load::tests::store;
    use super::*;

    #[test]
    fn paths_concern_units() {
        let files = store(
            "/usr/lib/systemd/system/a.service
             /usr/lib/systemd/system/a-b.service
             /usr/lib/systemd/system/a-c.timer
             /usr/lib/systemd/system/t@.service
             /etc/systemd/system/multi-user.target.wants/t@1.service -> /usr/lib/systemd/system/t@.service
             /etc/systemd/system/linked.service -> /opt/x.service
             /opt/x.service
             /etc/systemd/system/a.service.d -> /opt/d
             /opt/d/y.conf",
        );
        let load = LoadPath::system();
        let view = View::new(&files, &load);
        let of = |path: &str| {
            let found = affected(&view, path.as_bytes(), 9);
            assert!(!found.more);
            found.units.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(" ")
        };
        for (path, expected) in [
            ("/usr/lib/systemd/system/a.service", "a.service"),
            ("/lib/systemd/system/a.service", "a.service"),
            ("/etc/systemd/system/new.service", "new.service"),
            ("/usr/lib/systemd/system/t@.service", "t@.service t@1.service"),
            ("/etc/systemd/system/t@1.service.d/x.conf", "t@1.service"),
            ("/etc/systemd/system/t@.service.d/x.conf", "t@.service t@1.service"),
            ("/etc/systemd/system/a-.service.d/x.conf", "a-.service a-b.service"),
            (
                "/etc/systemd/system/service.d/x.conf",
                "a-b.service a.service linked.service t@.service t@1.service",
            ),
            ("/etc/systemd/system/timer.d", "a-c.timer"),
            ("/run/systemd/system/x.target.wants/a.service", "a.service x.target"),
            ("/etc/systemd/system/target.wants/a.service", "a.service"),
            ("/opt/x.service", "linked.service"),
            ("/opt/d/y.conf", "a.service"),
            ("/opt/other", ""),
            ("/etc/systemd/system/readme", ""),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
        let cut = affected(&view, b"/etc/systemd/system/service.d/x.conf", 2);
        assert_eq!((cut.units.len(), cut.more), (2, true));
    }
}
