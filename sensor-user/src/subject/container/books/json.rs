//! JSON of which the end may be missing: what is there is read, value by value.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Gives each member of an object, its value as text, up to the first that is not whole. Whether all was read.
pub fn members(json: &[u8], take: &mut dyn FnMut(&str, &str)) -> bool {
    struct Members<'a>(&'a mut dyn FnMut(&str, &str));
    impl<'de> Visitor<'de> for Members<'_> {
        type Value = ();
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some((name, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                (self.0)(&name, value.get());
            }
            Ok(())
        }
    }
    let mut source = serde_json::Deserializer::from_slice(json);
    source.deserialize_map(Members(take)).is_ok()
}

/// Gives each element of an array as text, up to the first that is not whole. Whether all was read.
pub fn elements(json: &[u8], take: &mut dyn FnMut(&str)) -> bool {
    struct Elements<'a>(&'a mut dyn FnMut(&str));
    impl<'de> Visitor<'de> for Elements<'_> {
        type Value = ();
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
            while let Some(value) = array.next_element::<&'de RawValue>()? {
                (self.0)(value.get());
            }
            Ok(())
        }
    }
    let mut source = serde_json::Deserializer::from_slice(json);
    source.deserialize_seq(Elements(take)).is_ok()
}

/// A value that is read if it is what it should be; of anything else, null included, there is the default. Engines differ
/// in what they write for nothing.
pub fn value<T: Default + for<'de> Deserialize<'de>>(text: &str) -> T {
    serde_json::from_str::<Option<T>>(text).ok().flatten().unwrap_or_default()
}

/// For `#[serde(deserialize_with)]`: as [`value`], for a member. Costs a copy, of what is bounded by the file.
pub fn lenient<'de, T, D>(source: D) -> Result<T, D::Error>
where
    T: Default + for<'any> Deserialize<'any>,
    D: Deserializer<'de>,
{
    let raw = Box::<RawValue>::deserialize(source)?;
    Ok(value(raw.get()))
}

/// A list of which the elements that are texts are kept, the first so many.
#[derive(Debug, Default)]
pub struct Texts(pub Vec<String>);

impl Texts {
    const MAX: usize = 64;
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Texts;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of texts")
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Texts, E> {
                Ok(Texts::default())
            }
            // Docker's `Cmd` and `Entrypoint` may be one text (api/types/strslice).
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(raw) = array.next_element_seed(Raw)? {
                    let text: String = value(raw.get());
                    if texts.len() < Texts::MAX && !text.is_empty() {
                        texts.push(text);
                    }
                }
                Ok(Texts(texts))
            }
        }
        source.deserialize_any(List)
    }
}

struct Raw;

impl<'de> DeserializeSeed<'de> for Raw {
    type Value = Box<RawValue>;
    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        Box::<RawValue>::deserialize(source).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(json: &[u8]) -> (Vec<String>, bool) {
        let mut names = Vec::new();
        let whole = members(json, &mut |name, value| names.push(format!("{name}={value}")));
        (names, whole)
    }

    #[test]
    fn what_is_cut_is_read_up_to_the_cut() {
        let json = br#"{"a": 1, "b": {"c": [2, 3]}, "d": "unfinished"#;
        assert_eq!(names(json), (vec!["a=1".to_owned(), r#"b={"c": [2, 3]}"#.to_owned()], false));
        let mut seen = Vec::new();
        assert!(!elements(br#"[{"a":1},{"b""#, &mut |value| seen.push(value.to_owned())));
        assert_eq!(seen, [r#"{"a":1}"#]);
        for other in [&b""[..], b"[]", b"null", b"\xff", b"{\"\xff\":1}"] {
            assert_eq!(names(other), (vec![], false));
        }
    }

    #[test]
    fn values_of_another_kind_are_none() {
        assert_eq!(value::<Vec<String>>("null"), Vec::<String>::new());
        assert_eq!(value::<u64>(r#""x""#), 0);
        assert_eq!(value::<Texts>(r#"["a", 1, null, "b"]"#).0, ["a", "b"]);
        assert_eq!(value::<Texts>(r#""only""#).0, ["only"]);
        assert!(value::<Texts>("7").0.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(json in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:a1 null]{0,60}") {
            for bytes in [json.as_slice(), text.as_bytes()] {
                let _any = (members(bytes, &mut |_, _| {}), elements(bytes, &mut |_| {}));
            }
            let _any = value::<Texts>(&text);
        }

        #[test]
        fn nothing_before_a_cut_is_lost(count in 0..20_usize, cut in 0..400_usize) {
            let body: Vec<String> = (0..count).map(|at| format!("\"k{at}\":{{\"v\":{at}}}")).collect();
            let whole = format!("{{{}}}", body.join(","));
            let cut = cut.min(whole.len());
            let (found, all) = names(&whole.as_bytes()[..cut]);
            prop_assert_eq!(all, cut == whole.len());
            // A member is whole once its closing brace is there.
            prop_assert_eq!(found.len(), whole[..cut].matches('}').count().min(count));
        }
    }
}
