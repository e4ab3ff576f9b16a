//! The kernel programs' form of a path: names from the leaf upward, each followed by a NUL.

use std::borrow::Cow;

/// A borrowed path of a record. An empty one means "none".
///
/// Matching goes by bytes. Names are lossy UTF-8 only in what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathView<'a> {
    bytes: &'a [u8],
}

impl<'a> PathView<'a> {
    /// A view of `bytes`: names from the leaf upward, each followed by a NUL. A last name without its NUL counts as
    /// a name, for a kernel program may have been cut short there.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// No name at all.
    pub fn is_empty(&self) -> bool {
        self.components().next().is_none()
    }

    /// The bytes as recorded.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The names from the leaf upward.
    ///
    /// The root of a filesystem is an entry named "/" in the kernel (`d_make_root`, fs/dcache.c): it is no name
    /// here, and neither is an empty one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + Clone + use<'a> {
        self.bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty() && *name != b"/")
    }

    /// The name of the object itself.
    pub fn leaf(&self) -> Option<&'a [u8]> {
        self.components().next()
    }

    /// Appends the path, root first and separated by "/", to what `out` holds; a separator goes before it unless
    /// `out` ends in one.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        for name in self.components().rev() {
            if out.last() != Some(&b'/') {
                out.push(b'/');
            }
            out.extend_from_slice(name);
        }
    }

    /// The path below `prefix`, for people: what is not UTF-8 is replaced.
    pub fn to_path(&self, prefix: &str) -> String {
        let mut out = prefix.as_bytes().to_vec();
        self.append_to(&mut out);
        lossy(&out).into_owned()
    }
}

/// Bytes for people, up to a first NUL if there is one.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(until_nul(bytes))
}

/// What stands before the first NUL, or everything.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_come_leaf_first_and_print_root_first() {
        let path = PathView::new(b"evil.conf\0x.service.d\0");
        assert_eq!(path.leaf(), Some(&b"evil.conf"[..]));
        assert_eq!(path.components().count(), 2);
        assert_eq!(path.to_path("/etc/systemd/system"), "/etc/systemd/system/x.service.d/evil.conf");
    }

    #[test]
    fn the_root_entry_is_no_name() {
        let path = PathView::new(b"bash\0bin\0usr\0/\0");
        assert_eq!(path.to_path(""), "/usr/bin/bash");
        assert_eq!(path.to_path("/"), "/usr/bin/bash");
        assert!(PathView::new(b"/\0").is_empty());
        assert!(PathView::new(b"\0\0").is_empty());
    }

    #[test]
    fn a_cut_name_and_bad_utf8_are_kept() {
        assert_eq!(PathView::new(b"a\0b").to_path("/x"), "/x/b/a");
        assert_eq!(PathView::new(b"a\xff\0").to_path("/x"), "/x/a\u{fffd}");
        assert_eq!(PathView::new(b"a\xff\0").leaf(), Some(&b"a\xff"[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_path(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let path = PathView::new(&bytes);
            let mut out = Vec::new();
            path.append_to(&mut out);
            prop_assert!(out.len() <= bytes.len() + 1 && !out.contains(&0));
            prop_assert_eq!(path.is_empty(), out.is_empty());
        }

        #[test]
        fn names_come_back(names in proptest::collection::vec("[^/\0]{1,20}", 1..12)) {
            let bytes: Vec<u8> = names.iter().rev().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(PathView::new(&bytes).to_path("/etc"), format!("/etc/{}", names.join("/")));
        }
    }
}
