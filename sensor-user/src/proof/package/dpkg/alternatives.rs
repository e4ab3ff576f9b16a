//! `alternatives/`: links that update-alternatives(1) makes.
//!
//! A file for each, named as the master (update-alternatives.c, `alternative_save`): `auto` or `manual`, the master's link,
//! pairs of a slave's name and link, an empty line; then for each choice its path, its priority and a line for each slave,
//! ended by an empty line.

/// Slaves of one alternative, at most.
const SLAVES_MAX: usize = 1000;

/// What one file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alternative<'a> {
    /// Names and links: the master's first.
    links: Vec<(&'a [u8], &'a [u8])>,
    /// The choices, each with a path for every link; empty where it has none.
    choices: Vec<Vec<&'a [u8]>>,
}

impl<'a> Alternative<'a> {
    /// `name` is that of the file. `None` where it is not of this form.
    pub(super) fn parse(name: &'a [u8], text: &'a [u8]) -> Option<Self> {
        let mut lines = text.split(|byte| *byte == b'\n');
        lines.next().filter(|state| matches!(*state, b"auto" | b"manual"))?;
        let mut links = vec![(name, lines.next()?)];
        loop {
            let slave = lines.next()?;
            if slave.is_empty() {
                break;
            }
            links.push((slave, lines.next()?));
            if links.len() > SLAVES_MAX {
                return None;
            }
        }
        let mut choices = Vec::new();
        while let Some(path) = lines.next().filter(|path| !path.is_empty()) {
            let mut paths = vec![path];
            lines.next()?;
            for _slave in &links[1..] {
                paths.push(lines.next()?);
            }
            choices.push(paths);
        }
        Some(Self { links, choices })
    }

    /// The name of the alternative, if a link at `path` to `target` is one that this file stands for: a link to
    /// `/etc/alternatives`, or one from there to a choice. `same` compares paths.
    pub(super) fn explains(
        &self,
        path: &[u8],
        target: &[u8],
        same: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Option<&'a [u8]> {
        self.links.iter().enumerate().find_map(|(at, (name, link))| {
            let middle = [DIRECTORY, name].concat();
            let first = target == middle && same(path, link);
            let second = || {
                path == middle
                    && !target.is_empty()
                    && self.choices.iter().any(|choice| same(choice[at], target))
            };
            (first || second()).then_some(*name)
        })
    }
}

/// Where the links in the middle are.
pub(super) const DIRECTORY: &[u8] = b"/etc/alternatives/";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"auto\n/usr/bin/vi\nvi.1.gz\n/usr/share/man/man1/vi.1.gz\n\n\
        /usr/bin/vim.basic\n30\n/usr/share/man/man1/vim.1.gz\n/usr/bin/vim.tiny\n15\n\n\n";

    #[test]
    fn both_links_are_explained_and_no_others() {
        let vi = Alternative::parse(b"vi", TEXT).unwrap();
        let is = |path: &str, target: &str| vi.explains(path.as_bytes(), target.as_bytes(), |a, b| a == b);
        assert_eq!(is("/usr/bin/vi", "/etc/alternatives/vi"), Some(&b"vi"[..]));
        assert_eq!(is("/etc/alternatives/vi", "/usr/bin/vim.tiny"), Some(&b"vi"[..]));
        assert_eq!(is("/etc/alternatives/vi.1.gz", "/usr/share/man/man1/vim.1.gz"), Some(&b"vi.1.gz"[..]));
        for (path, target) in [
            ("/usr/bin/vim", "/etc/alternatives/vi"),
            ("/usr/bin/vi", "/usr/bin/vim.tiny"),
            ("/etc/alternatives/vi", "/tmp/x"),
            ("/etc/alternatives/vi", ""),
            ("/etc/alternatives/vi.1.gz", "/usr/bin/vim.tiny"),
        ] {
            assert_eq!(is(path, target), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in proptest::collection::vec(any::<u8>(), 0..200), end in 0..TEXT.len()) {
            for text in [&text[..], &TEXT[..end], &[&TEXT[..end], &text].concat()] {
                if let Some(one) = Alternative::parse(b"vi", text) {
                    let _ = one.explains(b"/etc/alternatives/vi", b"/usr/bin/vim", |a, b| a == b);
                }
            }
        }
    }
}
