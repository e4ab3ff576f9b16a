//! The machine's apt sources, in both forms of sources.list(5), and which of them is Debian's archive.

use std::fs;
use std::path::{Path, PathBuf};

/// One source: a `deb` line, or a stanza of a `.sources` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// Where Debian's archive is.
#[derive(Debug, PartialEq, Eq)]
pub struct Debian {
    /// The archive of releases, updates and backports.
    pub main: String,
    /// The archive of the `-security` suites.
    pub security: String,
    /// The keyring that the source itself names.
    pub keyring: Option<PathBuf>,
}

/// Every source under an apt configuration directory; a file that cannot be read is skipped, as apt does.
pub fn read(etc_apt: &Path) -> Vec<Source> {
    let mut files: Vec<PathBuf> = fs::read_dir(etc_apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "list" || e == "sources"))
        .collect();
    files.sort();
    files.insert(0, etc_apt.join("sources.list"));
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        if file.extension().is_some_and(|e| e == "sources") {
            sources.extend(stanzas(&text));
        } else {
            sources.extend(text.lines().filter_map(one_line));
        }
    }
    sources
}

/// `deb [option=value ...] uri suite component...`; `deb-src` and comments are none.
fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let signed_by = options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).map(str::to_owned);
    Some(Source {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by,
    })
}

/// The enabled `deb` stanzas of a deb822 file.
fn stanzas(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut source = Source::default();
    let (mut wanted, mut enabled) = (false, true);
    let mut field = String::new();
    // The empty line at the end closes the last stanza.
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            let done = std::mem::take(&mut source);
            if wanted && enabled && !done.uris.is_empty() {
                found.push(done);
            }
            (wanted, enabled) = (false, true);
            field.clear();
            continue;
        }
        let value = if line.starts_with([' ', '\t']) {
            line
        } else if let Some((name, value)) = line.split_once(':') {
            field = name.trim().to_ascii_lowercase();
            value
        } else {
            continue;
        };
        let words = value.split_whitespace().map(str::to_owned);
        match field.as_str() {
            "types" => wanted |= words.into_iter().any(|w| w == "deb"),
            "uris" => source.uris.extend(words),
            "suites" => source.suites.extend(words),
            "components" => source.components.extend(words),
            "enabled" => {
                enabled = !matches!(value.trim(), "no" | "false" | "0" | "off" | "without" | "disable");
            }
            "signed-by" if source.signed_by.is_none() => source.signed_by = words.into_iter().next(),
            _ => {}
        }
    }
    found
}

/// The releases by which Debian's own sources are known; vendors publish under some of the same names.
const RELEASES: [&str; 8] =
    ["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "oldstable", "testing"];

/// Picks Debian's archive: `main` of a release, signed by Debian's keyring, or (where no keyring is named) kept in a
/// folder called `debian`, as mirrors do. The security archive lies beside it where no source names it.
pub fn debian(sources: &[Source]) -> Option<Debian> {
    let by_debian = |s: &Source| s.signed_by.as_ref().is_some_and(|k| k.contains("debian-archive"));
    let usable = |s: &&Source| {
        let has_main = s.components.iter().any(|c| c == "main");
        let unsigned_mirror =
            s.signed_by.is_none() && s.uris.first().is_some_and(|uri| last_folder(uri).starts_with("debian"));
        has_main
            && (by_debian(s) || unsigned_mirror)
            && s.uris.first().is_some_and(|u| !u.starts_with("cdrom:"))
    };
    let is_release = |suite: &String| RELEASES.contains(&suite.as_str());
    let is_security = |suite: &String| suite.ends_with("-security") || suite.ends_with("/updates");
    let candidates: Vec<&Source> = sources.iter().filter(usable).collect();
    let main = candidates.iter().filter(|s| s.suites.iter().any(is_release)).max_by_key(|s| by_debian(s))?;
    let main_uri = main.uris.first()?.trim_end_matches('/').to_owned();
    let security = candidates
        .iter()
        .find(|s| s.suites.iter().any(is_security))
        .and_then(|s| s.uris.first())
        .map_or_else(|| format!("{main_uri}-security"), |uri| uri.trim_end_matches('/').to_owned());
    let keyring = main.signed_by.as_ref().filter(|k| k.starts_with('/')).map(PathBuf::from);
    Some(Debian { main: main_uri, security, keyring })
}

fn last_folder(uri: &str) -> &str {
    uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb\n# a comment\nURIs: http://mirror.example/debian/\nSuites: bookworm bookworm-updates\n\
        Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
        Types: deb deb-src\nURIs: http://mirror.example/debian-security\nSuites:\n bookworm-security\nComponents: main\n\
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";

    fn lines(text: &str) -> Vec<Source> {
        text.lines().filter_map(one_line).collect()
    }

    #[test]
    fn stanzas_give_both_archives_and_the_keyring() {
        assert_eq!(
            debian(&stanzas(DEB822)),
            Some(Debian {
                main: "http://mirror.example/debian".into(),
                security: "http://mirror.example/debian-security".into(),
                keyring: Some("/usr/share/keyrings/debian-archive-keyring.gpg".into()),
            })
        );
    }

    #[test]
    fn a_vendor_that_uses_debians_suite_names_is_not_debian() {
        let vendors = "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.gpg] https://vendor.example/linux/debian bookworm stable\n\
            deb [signed-by=/etc/apt/keyrings/ms.gpg] https://vendor.example/debian/12/prod bookworm main\n\
            deb https://vendor.example/apt cloud-sdk-bookworm main\n\
            deb https://vendor.example/apt bookworm main\n\
            deb-src http://mirror.example/debian bookworm main\n\
            # deb http://old.example/debian bookworm main\n";
        assert_eq!(debian(&lines(vendors)), None);
        let mut all = lines(vendors);
        all.extend(stanzas(DEB822));
        assert_eq!(debian(&all).unwrap().main, "http://mirror.example/debian");
    }

    #[test]
    fn one_line_sources_work_without_a_keyring_or_a_security_line() {
        let found = debian(&lines(
            "deb [ arch=amd64 ] http://mirror.example/pub/debian stable main contrib # local\n",
        ))
        .unwrap();
        assert_eq!(found.main, "http://mirror.example/pub/debian");
        assert_eq!(found.security, "http://mirror.example/pub/debian-security");
        assert_eq!(found.keyring, None);
    }

    #[test]
    fn a_disabled_stanza_is_not_used() {
        assert_eq!(debian(&stanzas(&format!("Enabled: no\n{DEB822}"))), None);
    }

    #[test]
    fn a_disc_is_not_a_mirror() {
        assert_eq!(debian(&lines("deb cdrom:[Debian]/debian bookworm main\n")), None);
    }

    #[test]
    fn a_directory_without_sources_has_none() {
        assert_eq!(read(Path::new("/nonexistent")), Vec::new());
    }
}
