//! Directories of one tree under two names: the merged /usr.

use std::borrow::Cow;

use crate::source::content::Root;
use crate::source::object::Stamp;

/// Directories that are links on some systems: the merged /usr (<https://wiki.debian.org/UsrMerge>), one bin
/// (Fedora 42, Arch), and what the Filesystem Hierarchy Standard 3.0 moved to /run.
const CANDIDATES: [&str; 11] = [
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libo32",
    "/libx32",
    "/usr/sbin",
    "/usr/lib64",
    "/var/run",
    "/var/lock",
];

/// Which of these are links here. Databases write paths as the package was built, kernels as the tree is.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// From, to.
    links: Vec<(&'static [u8], Vec<u8>)>,
    seen: [Option<Stamp>; 3],
}

impl Aliases {
    /// Looks again. `true` where something is another than before, so that all that was made canonical is stale.
    pub(super) fn refresh(&mut self, root: &Root) -> bool {
        let seen = [&b"/"[..], b"/usr", b"/var"].map(|path| root.stamp(path));
        if seen == self.seen {
            return false;
        }
        self.seen = seen;
        let mut links = Vec::new();
        for candidate in CANDIDATES {
            let is_link = root.link(candidate.as_bytes()).is_ok();
            if let (true, Ok(end)) = (is_link, root.resolve(candidate.as_bytes())) {
                links.push((candidate.as_bytes(), end));
            }
        }
        std::mem::replace(&mut self.links, links) != self.links
    }

    /// The path by which all names of an object are one, as far as these directories go.
    pub(super) fn canonical<'a>(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        for (from, to) in &self.links {
            if let Some(rest) = path.strip_prefix(*from).filter(|rest| rest.starts_with(b"/")) {
                // `to` was resolved: no link is on it.
                return Cow::Owned([to, rest].concat());
            }
        }
        Cow::Borrowed(path)
    }

    /// All ways to write a path that is canonical, itself first.
    pub(super) fn spellings(&self, canonical: &[u8]) -> Vec<Vec<u8>> {
        let mut all = vec![canonical.to_vec()];
        for (from, to) in &self.links {
            if let Some(rest) = canonical.strip_prefix(&to[..]).filter(|rest| rest.starts_with(b"/")) {
                all.push([*from, rest].concat());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_of_a_merged_usr_are_one() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(at("usr/lib")).unwrap();
        std::fs::create_dir_all(at("usr/bin")).unwrap();
        std::fs::create_dir_all(at("lib64")).unwrap();
        symlink("usr/lib", at("lib")).unwrap();
        symlink("bin", at("usr/sbin")).unwrap();
        symlink("/usr/sbin", at("sbin")).unwrap();
        let root = Root::open(directory.path().to_str().unwrap()).unwrap();
        let mut aliases = Aliases::default();
        assert!(aliases.refresh(&root) && !aliases.refresh(&root));
        assert_eq!(&*aliases.canonical(b"/lib/systemd/x"), b"/usr/lib/systemd/x");
        assert_eq!(&*aliases.canonical(b"/sbin/init"), b"/usr/bin/init");
        for same in ["/lib64/x", "/library/x", "/lib", "/usr/lib/x"] {
            assert_eq!(&*aliases.canonical(same.as_bytes()), same.as_bytes());
        }
        let spellings = aliases.spellings(b"/usr/bin/init");
        assert_eq!(spellings, [&b"/usr/bin/init"[..], b"/sbin/init", b"/usr/sbin/init"]);
        std::fs::remove_file(at("lib")).unwrap();
        assert!(aliases.refresh(&root));
        assert_eq!(&*aliases.canonical(b"/lib/x"), b"/lib/x");
    }
}
