//! `diversions`: files that packages have moved out of other packages' way (dpkg-divert(1)).

use std::borrow::Cow;

use crate::proof::package::aliases::Aliases;

/// Diversions, at most.
const DIVERSIONS_MAX: usize = 100_000;

/// One of them. Paths are canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Diversion {
    from: Vec<u8>,
    to: Vec<u8>,
    /// Whose file stays at `from`; `None`: nobody's (a local diversion).
    by: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Diversions(Vec<Diversion>);

/// One path as owners know it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known<'a> {
    /// The path that stands in the owner's list.
    pub(super) path: Cow<'a, [u8]>,
    of: Owner<'a>,
}

/// Whose file of a path it is. A local diversion has no package: `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner<'a> {
    Anyones,
    Only(Option<&'a str>),
    Not(Option<&'a str>),
}

impl Known<'_> {
    /// Whether a package's file of this path is the one.
    pub(super) fn counts(&self, package: &str) -> bool {
        match self.of {
            Owner::Anyones => true,
            Owner::Only(by) => by == Some(package),
            Owner::Not(by) => by != Some(package),
        }
    }
}

impl Diversions {
    /// Three lines each: from, to, by whom (`:` for a local one).
    pub(super) fn parse(text: &[u8], aliases: &Aliases) -> Self {
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').take(3 * DIVERSIONS_MAX).collect();
        let three = |lines: &[&[u8]]| {
            let [from, to, by] = lines else { return None };
            let by = (*by != b":").then(|| String::from_utf8_lossy(by).into_owned());
            let path = |path: &[u8]| aliases.canonical(path).into_owned();
            (from.starts_with(b"/") && to.starts_with(b"/")).then(|| Diversion {
                from: path(from),
                to: path(to),
                by,
            })
        };
        Self(lines.chunks_exact(3).filter_map(three).collect())
    }

    /// Under which paths the owner of what is at `path` may know it.
    pub(super) fn known_as<'a>(&'a self, path: &'a [u8]) -> Vec<Known<'a>> {
        let by = |diversion: &'a Diversion| diversion.by.as_deref();
        let from = self.0.iter().find(|diversion| diversion.from == path);
        let of = from.map_or(Owner::Anyones, |diversion| Owner::Only(by(diversion)));
        let mut all = vec![Known { path: Cow::Borrowed(path), of }];
        let moved = self.0.iter().filter(|diversion| diversion.to == path);
        all.extend(moved.map(|diversion| Known {
            path: Cow::Borrowed(&diversion.from[..]),
            of: Owner::Not(by(diversion)),
        }));
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_diverter_stays_and_all_others_move() {
        let text = b"/usr/bin/perf\n/usr/bin/perf.wrapper\nlinux-perf\n/etc/x\n/etc/x.local\n:\n";
        let diversions = Diversions::parse(text, &Aliases::default());
        let who = |path: &str, known: &str, package: &str| {
            let all = diversions.known_as(path.as_bytes());
            all.iter().any(|one| *one.path == *known.as_bytes() && one.counts(package))
        };
        assert!(who("/usr/bin/perf", "/usr/bin/perf", "linux-perf"));
        assert!(!who("/usr/bin/perf", "/usr/bin/perf", "other"));
        assert!(who("/usr/bin/perf.wrapper", "/usr/bin/perf", "other"));
        assert!(!who("/usr/bin/perf.wrapper", "/usr/bin/perf", "linux-perf"));
        assert!(!who("/etc/x", "/etc/x", "any") && who("/etc/x.local", "/etc/x", "any"));
        assert!(who("/etc/y", "/etc/y", "any") && !who("/etc/y", "/etc/x", "any"));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Diversions::parse(&text, &Aliases::default()).known_as(b"/etc/x");
        }
    }
}
