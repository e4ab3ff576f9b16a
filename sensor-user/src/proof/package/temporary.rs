//! Names that package managers give to files on their way.

/// What a file of such a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The package's new content, about to be renamed to the final name.
    New,
    /// What was there before, until the transaction is done.
    Backup,
    /// What the administrator had, kept beside the package's configuration file that took its place.
    Kept,
    /// The package's configuration file, laid beside the administrator's, who keeps his.
    Offered,
}

/// A temporary name understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Temporary<'a> {
    /// The path that it stands for.
    pub path: &'a [u8],
    /// What the file is.
    pub stage: Stage,
}

/// Endings, by whom.
const ENDINGS: [(&str, Stage); 13] = [
    // dpkg: lib/dpkg/dpkg.h, DPKG*EXT; a conffile stays `.dpkg-new` from unpacking to configuring (src/main/configure.c).
    (".dpkg-new", Stage::New),
    (".dpkg-tmp", Stage::Backup),
    (".dpkg-old", Stage::Kept),
    (".dpkg-dist", Stage::Offered),
    // ucf(1), which maintainer scripts call.
    (".ucf-new", Stage::New),
    (".ucf-old", Stage::Kept),
    (".ucf-dist", Stage::Offered),
    // rpm: lib/fsm.c (SUFFIX_RPM*).
    (".rpmnew", Stage::Offered),
    (".rpmsave", Stage::Kept),
    (".rpmorig", Stage::Kept),
    // apk: src/database.c.
    (".apk-new", Stage::Offered),
    // pacman(8), "Handling config files".
    (".pacnew", Stage::Offered),
    (".pacsave", Stage::Kept),
];

/// What a temporary name stands for; `None` for any other name.
///
/// A name proves nothing: whoever wants a proof asks [`super::Packages::check_as`] of the content.
pub fn temporary(path: &[u8]) -> Option<Temporary<'_>> {
    for (ending, stage) in ENDINGS {
        if let Some(path) = path.strip_suffix(ending.as_bytes()) {
            return named(path).then_some(Temporary { path, stage });
        }
    }
    // rpm: the path, a semicolon and the transaction's id in eight hexadecimal digits (lib/fsm.c).
    let (path, id) = path.split_at_checked(path.len().checked_sub(9)?)?;
    let is_id = id.starts_with(b";") && id[1..].iter().all(u8::is_ascii_hexdigit);
    (is_id && named(path)).then_some(Temporary { path, stage: Stage::New })
}

fn named(path: &[u8]) -> bool {
    path.last().is_some_and(|last| *last != b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_names_are_understood_and_no_others() {
        let is = |path: &'static str| temporary(path.as_bytes()).map(|found| (found.path, found.stage));
        assert_eq!(is("/usr/lib/a.service.dpkg-new"), Some((&b"/usr/lib/a.service"[..], Stage::New)));
        assert_eq!(is("/etc/a.dpkg-dist"), Some((&b"/etc/a"[..], Stage::Offered)));
        assert_eq!(is("/usr/bin/x;5f3a1b2c"), Some((&b"/usr/bin/x"[..], Stage::New)));
        for other in ["", "/", "/a/.dpkg-new", "/etc/a.service", "/x;5f3a1b2", "/x;5f3a1b2g", ";12345678"] {
            assert_eq!(is(other), None, "{other}");
        }
    }
}
