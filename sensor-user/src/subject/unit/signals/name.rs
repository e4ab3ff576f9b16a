//! Names that pass for others (ATT&CK T1036.004), and names of what watches the machine.

use std::collections::BTreeSet;

use super::super::name::Name;
use super::{Signal, Weight, told};

/// Units whose silence helps an intruder, without their type.
const GUARDS: [&str; 36] = [
    "svcsensor",
    "auditd",
    "systemd-journald",
    "systemd-journald-audit",
    "systemd-journal-upload",
    "rsyslog",
    "syslog-ng",
    "syslog",
    "falco",
    "falco-bpf",
    "falco-modern-bpf",
    "falco-kmod",
    "falcosidekick",
    "tetragon",
    "tracee",
    "kunai",
    "pedro",
    "sysmon",
    "osqueryd",
    "wazuh-agent",
    "ossec",
    "auditbeat",
    "filebeat",
    "packetbeat",
    "elastic-agent",
    "ElasticEndpoint",
    "falcon-sensor",
    "mdatp",
    "clamav-daemon",
    "clamav-clamonacc",
    "apparmor",
    "fail2ban",
    "crowdsec",
    "nftables",
    "firewalld",
    "ufw",
];

/// Whether a unit guards the machine, or is its log.
pub fn is_guard(name: Name<'_>) -> bool {
    GUARDS.iter().any(|guard| guard.as_bytes() == name.prefix)
}

/// Names of units that are known to be packaged, ready to be compared with others: that is done for each change.
#[derive(Clone, Debug, Default)]
pub struct Known {
    names: BTreeSet<Vec<u8>>,
    forms: Vec<Form>,
}

/// A name as it is compared.
#[derive(Clone, Debug)]
struct Form {
    whole: Box<[u8]>,
    prefix: Box<[u8]>,
    folded: Box<str>,
    letters: Box<str>,
}

impl Form {
    fn new(name: Name<'_>) -> Self {
        Self {
            whole: name.whole.into(),
            prefix: name.prefix.into(),
            folded: fold(name.prefix).into(),
            letters: letters(name.prefix).into(),
        }
    }

    /// Whether one may be taken for the other. The same name with another type is a unit's timer or socket.
    fn is_like(&self, other: &Self) -> bool {
        self.prefix != other.prefix && (self.folded == other.folded || self.is_near(other))
    }

    /// Whether one typing error lies between two names: a letter more, less or other, or two exchanged. Numbers count
    /// for nothing: they tell siblings apart.
    fn is_near(&self, other: &Self) -> bool {
        const SHORTEST: usize = 6;
        let (one, two) = (self.prefix.len(), other.prefix.len());
        one.min(two) >= SHORTEST
            && one.abs_diff(two) <= 1
            && self.letters.len().abs_diff(other.letters.len()) <= 4
            && self.letters != other.letters
            && strsim::osa_distance(&self.letters, &other.letters) == 1
    }
}

impl Known {
    /// Adds a name.
    pub fn insert(&mut self, name: &[u8]) {
        if self.names.insert(name.to_vec()) {
            self.forms.extend(Name::parse(name).map(Form::new));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.names.contains(name)
    }
}

impl<'a> FromIterator<&'a [u8]> for Known {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(names: I) -> Self {
        let mut known = Self::default();
        names.into_iter().for_each(|name| known.insert(name));
        known
    }
}

/// What a name passes for. `known` are the names of units that are known to be packaged.
pub fn signals(name: Name<'_>, known: &Known) -> Vec<Signal> {
    let template = name.template();
    if known.contains(name.whole) || template.is_some_and(|template| known.contains(&template)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let vendor = [&b"systemd-"[..], b"dbus-org."];
    if let Some(prefix) = vendor.iter().find(|prefix| name.whole.starts_with(prefix)) {
        found.push(Signal::new(
            "name.vendor-prefix",
            Weight::Strong,
            format!("the name begins with {} and is no packaged unit's", told(prefix)),
        ));
    }
    let form = Form::new(name);
    // Of several the first in the order of their names, whichever came first.
    let alike = known.forms.iter().filter(|other| form.is_like(other)).min_by_key(|other| &other.whole);
    if let Some(other) = alike {
        found.push(Signal::new(
            "name.look-alike",
            Weight::Strong,
            format!("the name looks like {}", told(&other.whole)),
        ));
    }
    found
}

/// A name as the eye takes it.
fn fold(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name).to_lowercase();
    let text = text.replace("rn", "m").replace("vv", "w");
    let eye = |c| match c {
        '0' => Some('o'),
        '1' | 'i' => Some('l'),
        '5' => Some('s'),
        // A separator is soon overlooked.
        '-' | '_' | '.' | ':' => None,
        other => Some(other),
    };
    text.chars().filter_map(eye).collect()
}

/// A name without its numbers.
fn letters(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [&str; 6] = [
        "systemd-journald.service",
        "dbus.service",
        "rsyslog.service",
        "getty@.service",
        "cron.service",
        "serial1.service",
    ];

    fn known() -> Known {
        KNOWN.iter().map(|name| name.as_bytes()).collect()
    }

    fn slugs(name: &str) -> Vec<&'static str> {
        signals(Name::parse(name.as_bytes()).unwrap(), &known()).iter().map(|signal| signal.slug).collect()
    }

    #[test]
    fn names() {
        for (name, expected) in [
            ("rsyslog.service", &[][..]),
            ("rsyslog.timer", &[]),
            ("getty@tty9.service", &[]),
            ("myapp.service", &[]),
            ("systemd-update-agent.service", &["name.vendor-prefix"]),
            ("systemd-joumald.service", &["name.vendor-prefix", "name.look-alike"]),
            ("systemd-journa1d.service", &["name.vendor-prefix", "name.look-alike"]),
            ("dbus-org.freedesktop.evil.service", &["name.vendor-prefix"]),
            ("rsyslogd.service", &["name.look-alike"]),
            ("rsyslog-.service", &["name.look-alike"]),
            ("rysslog.service", &["name.look-alike"]),
            ("r5yslog.service", &["name.look-alike"]),
            ("serial2.service", &[]),
            ("crond.service", &[]),
        ] {
            assert_eq!(slugs(name), expected, "{name}");
        }
    }

    #[test]
    fn guards() {
        assert!(is_guard(Name::parse(b"auditd.service").unwrap()));
        assert!(is_guard(Name::parse(b"systemd-journald.socket").unwrap()));
        assert!(!is_guard(Name::parse(b"auditd2.service").unwrap()));
    }

    proptest! {
        #[test]
        fn a_known_name_passes_for_none(index in 0..6usize) {
            prop_assert!(signals(Name::parse(KNOWN[index].as_bytes()).unwrap(), &known()).is_empty());
        }
    }
}
