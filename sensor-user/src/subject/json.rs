//! JSON as engines read it, of which the end may be missing.
//!
//! Container engines decode with Go's `encoding/json`: names of fields are compared without regard to case, the last of
//! several fields of one name counts (objects are merged), bytes that are no UTF-8 and lone surrogates are replaced, and
//! unknown fields are passed over at any depth. A reader that is stricter than the engine could be led past a field, so
//! this one is as lenient; and it keeps what stood before a cut, which `serde_json` does not.

/// Depth to which values are kept; what lies deeper is passed over, at any depth.
const DEPTH_MAX: usize = 32;

/// A value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json {
    /// `null`, and what is not kept.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, with all fields in their order.
    Map(Vec<(String, Json)>),
}

/// Reads a value from the beginning of `bytes`. `false` where it does not end in them, or something is wrong: then the
/// value has what stood before.
#[must_use]
pub fn read(bytes: &[u8]) -> (Json, bool) {
    let mut reader = Reader { bytes, at: 0 };
    let mut value = Json::Null;
    let whole = reader.value(&mut value, 0).is_some();
    (value, whole)
}

impl Json {
    /// The fields of this name, in their order.
    pub fn each<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a Self> + 'a {
        let fields = if let Self::Map(fields) = self { fields.as_slice() } else { &[] };
        fields.iter().filter(|(own, value)| *value != Self::Null && same(own, name)).map(|(_, value)| value)
    }

    /// The last field of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let fields = if let Self::Map(fields) = self { fields.as_slice() } else { &[] };
        let mut fitting = fields.iter().rev().filter(|(own, value)| *value != Self::Null && same(own, name));
        fitting.next().map(|(_, value)| value)
    }

    /// Its text, where it is one and not empty.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text.as_str()).filter(|text| !text.is_empty()) } else { None }
    }

    /// The text of a field.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Self::as_text)
    }

    /// A field that is a truth value; `None` where it is none.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        if let Some(Self::Bool(on)) = self.get(name) { Some(*on) } else { None }
    }

    /// A field that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        if let Some(Self::Number(number)) = self.get(name) { Some(*number) } else { None }
    }

    /// The elements of the fields of this name.
    pub fn items<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> + 'a {
        self.each(name).flat_map(|field| if let Self::List(items) = field { items.as_slice() } else { &[] })
    }

    /// The texts in a list of texts, or the text where it stands alone.
    pub fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let alone = self.each(name).filter_map(Self::as_text);
        alone.chain(self.items(name).filter_map(Self::as_text))
    }

    /// Names and values of an object's fields.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Self)> {
        let fields = if let Self::Map(fields) = self { fields.as_slice() } else { &[] };
        fields.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// Whether Go's `encoding/json` takes two names for one (fold.go: simple folding, by which U+017F is an S and U+212A a K).
fn same(one: &str, other: &str) -> bool {
    let fold = |letter: char| letter.to_uppercase().flat_map(char::to_lowercase);
    one.chars().flat_map(fold).eq(other.chars().flat_map(fold))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// `None` where the input ends or is wrong; what was read is in the slots that were handed down.
impl Reader<'_> {
    fn value(&mut self, slot: &mut Json, depth: usize) -> Option<()> {
        match self.next()? {
            b'{' | b'[' if depth >= DEPTH_MAX => self.pass_over(),
            b'{' => {
                *slot = Json::Map(Vec::new());
                let Json::Map(fields) = slot else { return None };
                self.map(fields, depth)
            }
            b'[' => {
                *slot = Json::List(Vec::new());
                let Json::List(items) = slot else { return None };
                self.list(items, depth)
            }
            b'"' => {
                let mut text = String::new();
                let whole = self.text(&mut text);
                *slot = Json::Text(text);
                whole
            }
            _ => {
                let start = self.at;
                while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
                    self.at += 1;
                }
                let word = std::str::from_utf8(&self.bytes[start..self.at]).ok()?;
                *slot = match word {
                    "true" => Json::Bool(true),
                    "false" => Json::Bool(false),
                    "null" => Json::Null,
                    number => Json::Number(number.parse().ok()?),
                };
                Some(())
            }
        }
    }

    fn map(&mut self, fields: &mut Vec<(String, Json)>, depth: usize) -> Option<()> {
        self.at += 1;
        if self.next()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let mut name = String::new();
            if self.next()? != b'"' {
                return None;
            }
            self.text(&mut name)?;
            if self.next()? != b':' {
                return None;
            }
            self.at += 1;
            fields.push((name, Json::Null));
            let slot = &mut fields.last_mut()?.1;
            self.value(slot, depth + 1)?;
            match self.next()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    fn list(&mut self, items: &mut Vec<Json>, depth: usize) -> Option<()> {
        self.at += 1;
        if self.next()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            items.push(Json::Null);
            let slot = items.last_mut()?;
            self.value(slot, depth + 1)?;
            match self.next()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    /// A string, from its first quotation mark.
    fn text(&mut self, out: &mut String) -> Option<()> {
        self.at += 1;
        let mut bytes = Vec::new();
        let whole = self.text_bytes(&mut bytes);
        out.push_str(&String::from_utf8_lossy(&bytes));
        whole
    }

    fn text_bytes(&mut self, out: &mut Vec<u8>) -> Option<()> {
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                b'\\' => {
                    let escaped = self.peek()?;
                    self.at += 1;
                    match escaped {
                        b'b' => out.push(8),
                        b'f' => out.push(12),
                        b'n' => out.push(b'\n'),
                        b'r' => out.push(b'\r'),
                        b't' => out.push(b'\t'),
                        b'u' => {
                            let letter = self.unicode()?;
                            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        other => out.push(other),
                    }
                }
                other => out.push(other),
            }
        }
    }

    /// What follows `\u`; half of a pair is U+FFFD.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            self.at = back;
        }
        Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
    }

    /// An object or array that is not kept, at any depth.
    fn pass_over(&mut self) -> Option<()> {
        let mut balance = Balance::default();
        while !balance.ended() {
            balance.take(self.peek()?);
            self.at += 1;
        }
        Some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.peek()
    }
}

/// Whether an object or array has ended, byte by byte: brackets are counted, those in strings are not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Balance {
    depth: u32,
    at: At,
}

/// Where a [`Balance`] stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Outside of strings.
    #[default]
    Value,
    Text,
    /// Behind a backslash in a string.
    Escape,
    /// Behind the value.
    End,
    /// In what begins as neither object nor array.
    Other,
}

impl Balance {
    /// Takes up the next byte.
    pub fn take(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (At::Text, b'\\') => At::Escape,
            (At::Text, b'"') => At::Value,
            (At::Value, b'{' | b'[') => {
                self.depth = self.depth.saturating_add(1);
                At::Value
            }
            (At::Value, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 { At::End } else { At::Value }
            }
            (At::Escape, _) | (At::Value, b'"') => At::Text,
            (At::Value, byte) if self.depth == 0 && !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => {
                At::Other
            }
            (at, _) => at,
        };
    }

    /// Whether the value is whole.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.at == At::End
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Json {
        let (value, whole) = read(text.as_bytes());
        assert!(whole, "{text}");
        value
    }

    #[test]
    fn fields_are_found_as_go_finds_them() {
        let value =
            whole(r#"{"hostconfig":{"PRIVILEGED":true},"HoſtConfig":{"Privileged":false,"PidMode":"x"}}"#);
        let modes: Vec<_> = value.each("HostConfig").map(|host| host.bool("Privileged")).collect();
        assert_eq!(modes, [Some(true), Some(false)]);
        assert_eq!(whole(r#"{"a":"1","A":"2","a":null}"#).text("a"), Some("2"));
    }

    #[test]
    fn what_stood_before_a_cut_is_kept() {
        let (value, whole) = read(br#"{"Image":"box","Cmd":["sh","-c"],"HostConfig":{"Binds":["/:/ho"#);
        assert!(!whole);
        assert_eq!(value.text("Image"), Some("box"));
        assert_eq!(value.texts("Cmd").collect::<Vec<_>>(), ["sh", "-c"]);
        assert_eq!(value.get("HostConfig").unwrap().texts("Binds").collect::<Vec<_>>(), ["/:/ho"]);
    }

    #[test]
    fn neither_depth_nor_bad_text_hides_a_field() {
        let deep = format!(
            r#"{{"x":{}"]{}{},"y":"\ud800\u00e9\ud83d\ude00","z":1}}"#,
            "[".repeat(5000),
            '"',
            "]".repeat(5000)
        );
        let value = whole(&deep.replace(r#""]""#, r#""a]""#));
        assert_eq!(value.text("y"), Some("\u{fffd}é😀"));
        assert_eq!(value.number("z"), Some(1.0));
        let (value, whole) = read(b"{\"x\":\"\xff\xfe\",\"y\":true}");
        assert!(whole);
        assert_eq!(value.bool("y"), Some(true));
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde_json(text in "[\\[\\]{}\",:a0 \\\\tru]{0,40}") {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                let (own, whole) = read(text.as_bytes());
                prop_assert!(whole, "{}", text);
                if let Some(text) = value.as_str() {
                    prop_assert_eq!(own, Json::Text(text.to_owned()));
                }
            }
        }

        #[test]
        fn any_bytes_are_borne(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (_, whole) = read(&bytes);
            let mut balance = Balance::default();
            for byte in &bytes {
                balance.take(*byte);
            }
            let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
            if whole && matches!(begins, Some(b'{' | b'[')) {
                prop_assert!(balance.ended());
            }
        }

        #[test]
        fn a_cut_never_adds(at in 0_usize..60) {
            let text = br#"{"Image":"box","HostConfig":{"Privileged":true,"CapAdd":["ALL"]}}"#;
            let (value, whole) = read(&text[..at.min(text.len())]);
            prop_assert!(!whole);
            prop_assert!(value.text("Image").is_none_or(|image| "box".starts_with(image)));
        }
    }
}
