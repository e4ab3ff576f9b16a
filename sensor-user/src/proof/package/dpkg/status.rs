//! `status` and the journal `updates/`: which packages there are, in which state, with which conffiles.
//!
//! Stanzas of deb822(5); the fields are those of dpkg's lib/dpkg/parse.c.

use crate::proof::package::{Digest, Manager, Package};

/// Conffiles of one package, at most; Debian's largest have some hundreds.
const CONFFILES_MAX: usize = 10_000;

/// What dpkg has done with a package (dpkg(1), "Package states").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    NotInstalled,
    /// Only its configuration files are left.
    ConfigFiles,
    HalfInstalled,
    Unpacked,
    HalfConfigured,
    TriggersAwaited,
    TriggersPending,
    Installed,
}

impl State {
    const NAMES: [(State, &str); 8] = [
        (State::NotInstalled, "not-installed"),
        (State::ConfigFiles, "config-files"),
        (State::HalfInstalled, "half-installed"),
        (State::Unpacked, "unpacked"),
        (State::HalfConfigured, "half-configured"),
        (State::TriggersAwaited, "triggers-awaited"),
        (State::TriggersPending, "triggers-pending"),
        (State::Installed, "installed"),
    ];

    /// As dpkg writes it.
    pub(super) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    /// Whether dpkg has begun something with it and not ended.
    pub(super) fn is_under_way(self) -> bool {
        !matches!(self, Self::NotInstalled | Self::ConfigFiles | Self::Installed)
    }
}

/// A configuration file that dpkg keeps (deb-conffiles(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conffile {
    pub(super) path: Vec<u8>,
    /// MD5 of the version that the package brought last, installed or offered; `None` while that is not known yet
    /// (`newconffile`).
    pub(super) md5: Option<String>,
}

/// What is kept of a stanza.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) state: State,
    /// `Multi-Arch: same`: its files in `info/` have the architecture in their name.
    pub(super) is_same: bool,
    pub(super) conffiles: Vec<Conffile>,
}

impl Record {
    pub(super) fn package(&self) -> Package {
        Package {
            manager: Manager::Dpkg,
            name: self.name.clone(),
            version: self.version.clone(),
            architecture: self.architecture.clone(),
        }
    }
}

/// Stanzas read, and how many could not be understood.
#[derive(Debug, Default)]
pub(super) struct Stanzas {
    pub(super) records: Vec<Record>,
    pub(super) refused: usize,
}

/// Reads all stanzas of a file, `most` at most.
pub(super) fn stanzas(text: &[u8], most: usize) -> Stanzas {
    let mut all = Stanzas::default();
    let mut stanza: Option<Record> = None;
    let mut in_conffiles = false;
    let lines = text.split(|byte| *byte == b'\n').chain([&b""[..]]);
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            in_conffiles = false;
            if let Some(record) = stanza.take() {
                if is_name(&record.name) && is_name_or_empty(&record.architecture) && all.records.len() < most
                {
                    all.records.push(record);
                } else {
                    all.refused += 1;
                }
            }
            continue;
        }
        // The file that becomes a journal entry is padded with such lines (lib/dpkg/dbmodify.c).
        if line.starts_with(b"#") {
            continue;
        }
        let record = stanza.get_or_insert_default();
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if in_conffiles && record.conffiles.len() < CONFFILES_MAX {
                record.conffiles.extend(conffile(line));
            }
            continue;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (field, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        in_conffiles = field.eq_ignore_ascii_case(b"Conffiles");
        let text = || String::from_utf8_lossy(value).into_owned();
        if field.eq_ignore_ascii_case(b"Package") {
            record.name = text();
        } else if field.eq_ignore_ascii_case(b"Version") {
            record.version = text();
        } else if field.eq_ignore_ascii_case(b"Architecture") {
            record.architecture = text();
        } else if field.eq_ignore_ascii_case(b"Multi-Arch") {
            record.is_same = value == b"same";
        } else if field.eq_ignore_ascii_case(b"Status") {
            record.state = state(value);
        }
    }
    all
}

/// `install ok installed`: what is wanted, errors, what is.
fn state(value: &[u8]) -> State {
    let word = value.split(u8::is_ascii_whitespace).rfind(|word| !word.is_empty()).unwrap_or_default();
    State::NAMES
        .iter()
        .find(|(_, name)| name.as_bytes() == word)
        .map_or(State::NotInstalled, |(state, _)| *state)
}

/// A path, a digest, and flags: a path may have spaces, so it is read from the end.
fn conffile(line: &[u8]) -> Option<Conffile> {
    let mut rest = line.trim_ascii();
    loop {
        let space = rest.iter().rposition(|byte| *byte == b' ')?;
        let (path, word) = (rest[..space].trim_ascii_end(), &rest[space + 1..]);
        rest = path;
        if matches!(word, b"obsolete" | b"remove-on-upgrade") {
            continue;
        }
        let is_path = path.starts_with(b"/");
        return is_path.then(|| Conffile { path: path.to_vec(), md5: md5(word) });
    }
}

/// 32 hexadecimal digits; dpkg also writes `newconffile`, `nonexistent`, `inaccessible` and `-` (lib/dpkg/dpkg.h).
pub(super) fn md5(word: &[u8]) -> Option<String> {
    let is_digest = word.len() == 32 && word.iter().all(u8::is_ascii_hexdigit);
    is_digest.then(|| String::from_utf8_lossy(word).to_ascii_lowercase())
}

/// The digest of a path in an `md5sums` (deb-md5sums(5): 32 digits, two spaces, the path without its first `/`).
pub(super) fn digest_in(md5sums: &[u8], spellings: &[Vec<u8>]) -> Option<Digest> {
    for line in md5sums.split(|byte| *byte == b'\n') {
        let Some((digest, path)) = line.split_at_checked(32) else { continue };
        let path = path.trim_ascii_start();
        let path = path.strip_prefix(b"./").or(path.strip_prefix(b"/")).unwrap_or(path);
        if spellings.iter().any(|spelling| spelling.get(1..) == Some(path)) {
            return md5(digest).map(Digest::Md5);
        }
    }
    None
}

/// What dpkg allows in a name (lib/dpkg/parsehelp.c, `pkg_name_is_illegal`): it becomes part of a path.
pub(super) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() < 200
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte))
}

fn is_name_or_empty(name: &str) -> bool {
    name.is_empty() || is_name(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"Package: one\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\n\
        Version: 1:2-3\nConffiles:\n /etc/a 0123456789abcdef0123456789ABCDEF\n /etc/b c newconffile\n\
        \x20/etc/d 00000000000000000000000000000000 obsolete remove-on-upgrade\nDescription: x\n /etc/no a line\n\n\
        Package: two\nStatus: deinstall ok config-files\nVersion: 1\n\n\n\
        Package: ../three\nStatus: install ok installed\n\n\
        Package: four\nStatus: install reinstreq half-installed\nArchitecture: all\n#padded\n#padded\n";

    #[test]
    fn stanzas_are_read_as_dpkg_writes_them() {
        let all = stanzas(TEXT, 10);
        let [one, two, four] = &all.records[..] else { panic!("three records: {all:?}") };
        assert_eq!(all.refused, 1);
        assert_eq!((one.name.as_str(), one.version.as_str(), one.is_same), ("one", "1:2-3", true));
        let conffiles: Vec<_> =
            one.conffiles.iter().map(|file| (&file.path[..], file.md5.as_deref())).collect();
        let expected = [
            (&b"/etc/a"[..], Some("0123456789abcdef0123456789abcdef")),
            (b"/etc/b c", None),
            (b"/etc/d", Some("00000000000000000000000000000000")),
        ];
        assert_eq!(conffiles, expected);
        assert_eq!((two.state, four.state), (State::ConfigFiles, State::HalfInstalled));
        assert!(four.state.is_under_way() && four.state.name() == "half-installed");
        assert_eq!(stanzas(TEXT, 1).refused, 3);
    }

    #[test]
    fn a_digest_is_found_by_any_spelling() {
        let text = b"nonsense\n00000000000000000000000000000001  usr/share/a b\n\
            00000000000000000000000000000002  lib/x\n";
        let of = |paths: &[&str]| {
            let spellings: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
            digest_in(text, &spellings)
        };
        assert_eq!(of(&["/usr/share/a b"]), Some(Digest::Md5("00000000000000000000000000000001".into())));
        assert_eq!(
            of(&["/usr/lib/x", "/lib/x"]),
            Some(Digest::Md5("00000000000000000000000000000002".into()))
        );
        assert_eq!((of(&["/x"]), of(&[])), (None, None));
    }

    proptest! {
        #[test]
        fn any_text_is_read(mut text in proptest::collection::vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>()) {
            // In the middle of a sound one, too.
            let middle = at.index(TEXT.len());
            text.splice(0..0, TEXT[..middle].iter().copied());
            let all = stanzas(&text, 5);
            prop_assert!(all.records.len() <= 5);
            prop_assert!(all.records.iter().all(|record| is_name(&record.name) && !record.name.contains('/')));
            let _ = digest_in(&text, &[b"/usr/share/a".to_vec()]);
        }
    }
}
