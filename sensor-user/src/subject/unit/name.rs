//! Unit names taken apart: prefix, instance, type; templates; escaping.

use super::super::name::{UNIT_NAME_MAX, UNIT_TYPES, unit_type};

/// A unit type (systemd.unit(5)). The order is that of [`UNIT_TYPES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the types")]
pub enum Type {
    Service,
    Socket,
    Device,
    Mount,
    Automount,
    Swap,
    Target,
    Path,
    Timer,
    Slice,
    Scope,
}

const TYPES: [Type; 11] = [
    Type::Service,
    Type::Socket,
    Type::Device,
    Type::Mount,
    Type::Automount,
    Type::Swap,
    Type::Target,
    Type::Path,
    Type::Timer,
    Type::Slice,
    Type::Scope,
];

impl Type {
    /// The type with this suffix, given without its dot.
    pub fn from_suffix(suffix: &[u8]) -> Option<Self> {
        UNIT_TYPES.iter().position(|known| *known == suffix).map(|at| TYPES[at])
    }

    /// The suffix without its dot.
    pub fn suffix(self) -> &'static [u8] {
        UNIT_TYPES[self as usize]
    }

    /// Whether a link in a unit directory may give a unit of this type another name (`unit_type_may_alias`,
    /// src/shared/unit-file.c).
    pub fn may_alias(self) -> bool {
        matches!(self, Self::Service | Self::Socket | Self::Target | Self::Device | Self::Timer | Self::Path)
    }

    /// Whether there are templates of this type (`unit_type_may_template`, src/shared/unit-file.c).
    pub fn may_template(self) -> bool {
        matches!(self, Self::Service | Self::Socket | Self::Target | Self::Timer | Self::Path)
    }
}

/// A valid unit name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// The whole name.
    pub whole: &'a [u8],
    /// What stands before the first `@`, or before the type.
    pub prefix: &'a [u8],
    /// What stands between the first `@` and the type: empty for a template, `None` where there is no `@`.
    pub instance: Option<&'a [u8]>,
    /// The type.
    pub kind: Type,
}

impl<'a> Name<'a> {
    /// Takes `name` apart; `None` where it is not a valid unit name.
    pub fn parse(name: &'a [u8]) -> Option<Self> {
        let suffix = unit_type(name)?;
        let stem = &name[..name.len() - suffix.len() - 1];
        let (prefix, instance) = match stem.iter().position(|byte| *byte == b'@') {
            Some(at) => (&stem[..at], Some(&stem[at + 1..])),
            None => (stem, None),
        };
        Some(Self { whole: name, prefix, instance, kind: Type::from_suffix(suffix)? })
    }

    /// `name@.type`.
    pub fn is_template(&self) -> bool {
        self.instance.is_some_and(<[u8]>::is_empty)
    }

    /// `name@instance.type`.
    pub fn is_instance(&self) -> bool {
        self.instance.is_some_and(|instance| !instance.is_empty())
    }

    /// The whole name without its type (`%N`).
    pub fn stem(&self) -> &'a [u8] {
        &self.whole[..self.whole.len() - self.kind.suffix().len() - 1]
    }

    /// The name of an instance's template.
    pub fn template(&self) -> Option<Vec<u8>> {
        self.is_instance().then(|| build(self.prefix, Some(b""), self.kind))
    }

    /// The name with another instance, where it has an `@` and the result is valid.
    pub fn with_instance(&self, instance: &[u8]) -> Option<Vec<u8>> {
        self.instance?;
        let name = build(self.prefix, Some(instance), self.kind);
        (name.len() <= UNIT_NAME_MAX).then_some(name)
    }

    /// The name with another type.
    pub fn with_type(&self, kind: Type) -> Vec<u8> {
        [self.stem(), b".", kind.suffix()].concat()
    }

    /// The last part of the prefix, after its last `-` (`%j`).
    pub fn last_component(&self) -> &'a [u8] {
        self.prefix.rsplit(|byte| *byte == b'-').next().unwrap_or_default()
    }

    /// The name that stands for all units whose prefix begins as this one's up to a `-`, the nearest first:
    /// `a-b-c.service` belongs to `a-b-.service` (`unit_file_find_dirs`, src/shared/dropin.c).
    pub fn parent(&self) -> Option<Vec<u8>> {
        let mut prefix = self.prefix;
        // A dash at the end is taken off once.
        if let [rest @ .., b'-'] = prefix {
            prefix = rest;
        }
        let dash = prefix.iter().rposition(|byte| *byte == b'-').filter(|dash| *dash > 0)?;
        let instance = self.instance.filter(|instance| !instance.is_empty());
        Some(build(&prefix[..=dash], instance, self.kind))
    }
}

fn build(prefix: &[u8], instance: Option<&[u8]>, kind: Type) -> Vec<u8> {
    match instance {
        Some(instance) => [prefix, b"@", instance, b".", kind.suffix()].concat(),
        None => [prefix, b".", kind.suffix()].concat(),
    }
}

/// `systemd-escape`: `/` becomes `-`, what is not allowed in a name `\xNN` (`unit_name_escape`,
/// src/basic/unit-name.c).
pub fn escape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'/' => out.push(b'-'),
            b':' | b'_' | b'.' if at > 0 || *byte != b'.' => out.push(*byte),
            byte if byte.is_ascii_alphanumeric() => out.push(*byte),
            byte => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out
}

/// `systemd-escape --unescape`; `None` where a backslash begins no `\xNN` (`unit_name_unescape`,
/// src/basic/unit-name.c).
pub fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'-' => out.push(b'/'),
            b'\\' => {
                let [b'x', high, low, after @ ..] = rest else { return None };
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                out.push((digit(high)? << 4 | digit(low)?) as u8);
                rest = after;
            }
            byte => out.push(*byte),
        }
    }
    Some(out)
}

/// `systemd-escape --unescape --path` (`unit_name_path_unescape`, src/basic/unit-name.c).
pub fn unescape_path(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"-" {
        return Some(b"/".to_vec());
    }
    let path = unescape(text).filter(|path| !path.is_empty())?;
    let normal = path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."));
    normal.then(|| [b"/", &path[..]].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: Option<Vec<u8>>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn types_and_suffixes_agree() {
        for (kind, suffix) in TYPES.iter().zip(UNIT_TYPES) {
            assert_eq!(Type::from_suffix(suffix), Some(*kind));
            assert_eq!(format!("{kind:?}").to_lowercase().as_bytes(), kind.suffix());
        }
    }

    #[test]
    fn names_are_taken_apart() {
        let name = Name::parse(b"a-b@c@d.e.service").unwrap();
        assert_eq!(
            (name.prefix, name.instance, name.kind),
            (&b"a-b"[..], Some(&b"c@d.e"[..]), Type::Service)
        );
        assert_eq!(name.stem(), b"a-b@c@d.e");
        assert_eq!(name.last_component(), b"b");
        assert!(name.is_instance() && !name.is_template());
        assert_eq!(text(name.template()).as_deref(), Some("a-b@.service"));
        assert_eq!(text(name.with_instance(b"x")).as_deref(), Some("a-b@x.service"));
        assert_eq!(name.with_instance(&[b'x'; 250]), None);
        let plain = Name::parse(b"x.timer").unwrap();
        assert_eq!((plain.instance, plain.template(), plain.with_instance(b"i")), (None, None, None));
        assert_eq!(plain.with_type(Type::Service), b"x.service");
        assert!(Name::parse(b"x@.service").unwrap().is_template());
        assert_eq!(Name::parse(b"@x.service"), None);
    }

    #[test]
    fn parents_are_the_prefixes_up_to_a_dash() {
        let chain = |name: &str| {
            let mut names = vec![name.as_bytes().to_vec()];
            while let Some(parent) = Name::parse(names.last().unwrap()).unwrap().parent() {
                names.push(parent);
            }
            names.into_iter().skip(1).map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(chain("a-b-c.service"), ["a-b-.service", "a-.service"]);
        assert_eq!(chain("a-b@i-j.service"), ["a-@i-j.service"]);
        assert_eq!(chain("a-b@.service"), ["a-.service"]);
        assert_eq!(chain("-a.service"), [""; 0]);
        assert_eq!(chain("a--b.service"), ["a--.service", "a-.service"]);
        assert_eq!(chain("-.mount"), [""; 0]);
    }

    #[test]
    fn escapes_are_systemd_escapes() {
        assert_eq!(escape(b"/dev/disk-a b"), b"-dev-disk\\x2da\\x20b");
        assert_eq!(escape(b".x@y"), b"\\x2ex\\x40y");
        assert_eq!(text(unescape(b"a-b\\x2dc")).as_deref(), Some("a/b-c"));
        assert_eq!((unescape(b"a\\"), unescape(b"\\x2"), unescape(b"\\xzz")), (None, None, None));
        assert_eq!(text(unescape_path(b"tmp-x")).as_deref(), Some("/tmp/x"));
        assert_eq!(text(unescape_path(b"-")).as_deref(), Some("/"));
        for refused in [&b""[..], b"-a", b"a-", b"a-..-b", b"a--b"] {
            assert_eq!(unescape_path(refused), None);
        }
    }

    proptest! {
        #[test]
        fn escaping_is_undone(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(unescape(&escape(&bytes)), Some(bytes));
        }

        #[test]
        fn no_name_panics(name in "[a@.\\-x\\\\]{0,12}(\\.service|\\.mount)?") {
            let _ = (unescape(name.as_bytes()), unescape_path(name.as_bytes()));
            if let Some(name) = Name::parse(name.as_bytes()) {
                let mut next = name.parent();
                let mut last = usize::MAX;
                while let Some(parent) = next {
                    let parent = Name::parse(&parent).expect("a parent is a name");
                    prop_assert!(parent.prefix.len() < last);
                    last = parent.prefix.len();
                    next = parent.parent();
                }
            }
        }
    }
}
