use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// A blob of these types and strings, as Documentation/bpf/btf.rst lays it out.
fn blob(words: &[u32], strings: &[u8]) -> Vec<u8> {
    let types = words.len() as u32 * 4;
    let header = [0x0001_eb9f, 24, 0, types, types, strings.len() as u32];
    let mut bytes: Vec<u8> = header.iter().chain(words).flat_map(|word| word.to_ne_bytes()).collect();
    bytes.extend_from_slice(strings);
    bytes
}

fn info(kind: u32, vlen: usize) -> u32 {
    kind << 24 | vlen as u32
}

/// Builds BTF: `struct inner { int a; }; struct outer { char pad[..]; union { struct inner x; int y; }; }`.
fn sample() -> Vec<u8> {
    let strings = b"\0inner\0a\0outer\0x\0y\0int\0f\0who\0kinds\0";
    let name = |text: &str| {
        let needle = [b"\0", text.as_bytes(), b"\0"].concat();
        strings.windows(needle.len()).position(|w| w == needle).unwrap() as u32 + 1
    };
    let words = [
        [name("int"), info(1, 0), 4, 32].as_slice(),           // 1
        &[name("inner"), info(4, 1), 8, name("a"), 1, 32],     // 2: a at byte 4
        &[0, info(5, 2), 8, name("x"), 2, 0, name("y"), 1, 0], // 3: anonymous union
        &[name("outer"), info(4, 1), 24, 0, 3, 128],           // 4: union at byte 16
        &[0, info(2, 0), 4],                                   // 5: struct outer *
        &[0, info(13, 2), 0, name("who"), 5, name("y"), 1],    // 6: (outer *who, int y)
        &[name("f"), info(12, 0), 6],                          // 7
        // 8: enum kinds { x = 4, y = 8 }
        &[name("kinds"), info(6, 2), 4, name("x"), 4, name("y"), 8],
    ]
    .concat();
    blob(&words, strings)
}

#[test]
fn offsets_cross_anonymous_unions_and_embedded_structures() {
    let btf = Btf::parse(sample()).unwrap();
    assert_eq!(btf.offset("outer.x.a"), Some(20));
    assert_eq!(btf.offset("outer.y"), Some(16));
    assert_eq!(btf.offset("outer.z"), None);
    assert_eq!(btf.offset("none.a"), None);
}

#[test]
fn functions_show_what_their_arguments_point_to() {
    let btf = Btf::parse(sample()).unwrap();
    assert!(btf.has_function("f") && !btf.has_function("outer"));
    assert_eq!(btf.arguments("f"), Some(vec![Some("outer"), None]));
}

#[test]
fn enumerators_have_values() {
    let btf = Btf::parse(sample()).unwrap();
    assert_eq!(btf.enumerator("kinds", "y"), Some(8));
    assert_eq!(btf.enumerator("kinds", "z"), None);
    assert!(btf.has_enumerator("kinds", "x") && !btf.has_enumerator("outer", "x"));
}

#[test]
fn every_truncation_is_an_error() {
    let whole = sample();
    for length in 0..whole.len() {
        assert!(Btf::parse(whole[..length].to_vec()).is_err(), "{length} of {} bytes", whole.len());
    }
    assert!(matches!(Btf::parse(vec![0; 64]), Err(BtfError::Malformed(0))));
}

#[test]
fn structures_that_hold_themselves_have_an_end() {
    // struct s { struct s; struct s; ... }, each anonymous: 65,535 to the power of the depth.
    let members = [0, 1, 0].repeat(0xffff);
    let words = [&[1, info(KIND_STRUCT, 0xffff), 8][..], &members].concat();
    let btf = Btf::parse(blob(&words, b"\0s\0")).unwrap();
    assert_eq!(btf.offset("s.x"), None);
    // A typedef of itself.
    let btf = Btf::parse(blob(&[1, info(KIND_STRUCT, 1), 8, 0, 2, 0, 0, info(8, 0), 2], b"\0s\0")).unwrap();
    assert_eq!(btf.offset("s.x"), None);
}

#[test]
fn a_name_that_never_ends_costs_no_more_than_a_short_one() {
    // Each of 20,000 arguments points to a structure whose name is a megabyte long: read to its end each time that
    // would be 20 gigabytes.
    let strings = [b"\0f\0".as_slice(), &vec![b'x'; 1 << 20], b"\0"].concat();
    let arguments = [0, 2].repeat(20_000);
    let words = [
        &[
            3,
            info(KIND_STRUCT, 0),
            8,
            0,
            info(KIND_PTR, 0),
            1,
            1,
            info(KIND_FUNC, 0),
            4,
            0,
            info(13, 20_000),
            0,
        ][..],
        &arguments,
    ]
    .concat();
    let btf = Btf::parse(blob(&words, &strings)).unwrap();
    assert_eq!(btf.arguments("f"), Some(vec![None; 20_000]));
    assert_eq!(btf.offset("xxxx.x"), None);
}

#[test]
fn offsets_beyond_all_bounds_are_none() {
    let (far, near) = (!7, 8);
    let words = [
        1,
        info(KIND_STRUCT, 1),
        8,
        5,
        2,
        far, // struct a { struct b x; }
        3,
        info(KIND_STRUCT, 1),
        8,
        7,
        1,
        near, // struct b { struct a y; }
    ];
    let btf = Btf::parse(blob(&words, b"\0a\0b\0x\0y\0")).unwrap();
    assert_eq!(btf.offset("a.x"), Some(far / 8));
    assert_eq!(btf.offset("a.x.y"), None);
}

/// What a member is.
#[derive(Clone, Debug)]
enum Shape {
    Word,
    Aggregate {
        union: bool,
        /// Whether each member has no name of its own (only aggregates can do without).
        members: Vec<(bool, Shape)>,
    },
}

fn shape() -> impl Strategy<Value = Shape> {
    let aggregate = |member: BoxedStrategy<Shape>| {
        let members = proptest::collection::vec((any::<bool>(), member), 1..5);
        (any::<bool>(), members).prop_map(|(union, members)| Shape::Aggregate { union, members })
    };
    let nested = Just(Shape::Word).prop_recursive(4, 48, 4, move |inner| aggregate(inner.boxed()));
    aggregate(nested.boxed())
}

/// Writes types, and what reading them must give.
struct Writer {
    bit_fields: bool,
    words: Vec<u32>,
    types: u32,
    strings: Vec<u8>,
    offsets: Vec<(String, u32)>,
}

impl Writer {
    fn new(bit_fields: bool) -> Self {
        Self { bit_fields, words: Vec::new(), types: 0, strings: vec![0], offsets: Vec::new() }
    }

    fn name(&mut self, name: &str) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn add(&mut self, words: &[u32]) -> u32 {
        self.words.extend_from_slice(words);
        self.types += 1;
        self.types
    }

    /// Writes `shape`, which lies at byte `base` of `path`. Returns its type and its size.
    fn write(&mut self, shape: &Shape, name: u32, path: &str, base: u32) -> (u32, u32) {
        let Shape::Aggregate { union, members } = shape else {
            return (self.add(&[name, info(1, 0), 4, 32]), 4);
        };
        let mut records = Vec::new();
        let (mut size, mut next) = (0, 0);
        for (anonymous, member) in members {
            let anonymous = *anonymous && !matches!(member, Shape::Word);
            let mut path = path.to_owned();
            let mut name = 0;
            if !anonymous {
                let own = format!("member{}", self.strings.len());
                name = self.name(&own);
                let _infallible = write!(path, ".{own}");
                self.offsets.push((path.clone(), base + next));
            }
            let (mut ty, length) = self.write(member, 0, &path, base + next);
            if !anonymous {
                // const, behind a typedef
                ty = self.add(&[0, info(10, 0), ty]);
                ty = self.add(&[name, info(8, 0), ty]);
            }
            let width = if self.bit_fields && matches!(member, Shape::Word) { 32 << 24 } else { 0 };
            records.extend([name, ty, width | (next * 8)]);
            size = size.max(next + length);
            next = if *union { 0 } else { size };
        }
        let kind = if *union && !path.ends_with("root") { KIND_UNION } else { KIND_STRUCT };
        let head = [name, info(kind, members.len()) | u32::from(self.bit_fields) << 31, size];
        (self.add(&[&head[..], &records].concat()), size)
    }
}

/// Whatever the bytes, every question has an answer and takes no more memory than a third of them.
fn interrogate(bytes: Vec<u8>) {
    let length = bytes.len();
    let Ok(btf) = Btf::parse(bytes) else { return };
    assert!(btf.types.len() <= length / 12 + 1);
    for name in ["outer", "inner", "f", "x", ""] {
        let _any_answer = (btf.has_function(name), btf.arguments(name), btf.has_enumerator(name, "x"));
        for path in ["x", "x.a", "y", "pad.x", ""] {
            let _any_answer = btf.offset(&format!("{name}.{path}"));
        }
    }
}

proptest! {
    #[test]
    fn offsets_come_back_as_they_were_put_in(shape in shape(), bit_fields in any::<bool>()) {
        let mut writer = Writer::new(bit_fields);
        let root = writer.name("root");
        writer.write(&shape, root, "root", 0);
        let btf = Btf::parse(blob(&writer.words, &writer.strings)).expect("well-formed");
        for (path, offset) in &writer.offsets {
            prop_assert_eq!(btf.offset(path), Some(*offset), "{}", path);
        }
        prop_assert_eq!(btf.offset("root.other"), None);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        interrogate(bytes);
    }

    #[test]
    fn arbitrary_types_never_panic(
        // Mostly small numbers: names and types that are there, kinds and lengths that fit.
        words in proptest::collection::vec(
            prop_oneof![0..8u32, any::<u32>(), (1..20u32, 0..3usize).prop_map(|(kind, vlen)| info(kind, vlen))],
            0..60,
        ),
    ) {
        interrogate(blob(&words, b"\0x\0outer\0f\0"));
    }

    #[test]
    fn mutated_blobs_never_panic(edits in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..12)) {
        let mut bytes = sample();
        for (at, value) in edits {
            let at = at as usize % bytes.len();
            bytes[at] = value;
        }
        interrogate(bytes);
    }
}

#[test]
fn what_is_attached_to_keeps_its_number() {
    let targets = ["f", "none", "outer"].map(|name| Target::Function(name.to_owned()));
    let only = Btf::parse(Btf::parse(sample()).unwrap().only(&targets)).unwrap();
    assert_eq!(only.find_id("f", &[KIND_FUNC]), Some(7));
    // Six placeholders, and nothing else has a name.
    assert_eq!(only.types.len(), 8);
    assert!((1..7).all(|id| only.get(id).unwrap().name == 0 && only.get(id).unwrap().kind == KIND_FORWARD));
    let aya = aya::Btf::parse(&Btf::parse(sample()).unwrap().only(&targets), aya::Endianness::default());
    aya.expect("aya reads it");
}
