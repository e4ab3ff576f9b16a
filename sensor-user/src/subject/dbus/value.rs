//! Values by their signature.

/// Nesting of arrays, structures and variants (the specification allows 32 of arrays and 32 of structures).
const DEPTH_MAX: u32 = 64;
/// Values of one message that are read.
const VALUES_MAX: usize = 4096;

/// A value; strings are the message's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `s`, `o`, `g`.
    Text(&'a str),
    /// `s` that is not UTF-8, which a peer must refuse.
    Bytes(&'a [u8]),
    /// `b`.
    Bool(bool),
    /// `y`, `q`, `u`, `t`, `h`.
    Unsigned(u64),
    /// `n`, `i`, `x`.
    Signed(i64),
    /// `d`, by its bits.
    Double(u64),
    /// `a`, `(`, `{`.
    List(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// A string.
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A boolean.
    pub fn bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A number without sign.
    pub fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of an array or structure; none of anything else.
    pub fn list(&self) -> &[Value<'a>] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }

    /// The strings among the elements.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.list().iter().filter_map(Value::text)
    }
}

/// Reads values out of a message; positions count from its beginning, for alignment.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
    left: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, a message or its beginning, that starts at `at`.
    pub fn new(bytes: &'a [u8], at: usize, big_endian: bool) -> Self {
        Self { bytes, at, big_endian, left: VALUES_MAX }
    }

    /// The position.
    pub fn at(&self) -> usize {
        self.at
    }

    /// A header field: its code, and its value.
    pub fn header_field(&mut self) -> Option<(u8, Value<'a>)> {
        self.align(8);
        let code = *self.take(1)?.first()?;
        Some((code, self.variant(0)?))
    }

    /// Reads values of `signature` to `out`; false where the bytes, the signature or the bounds end before.
    pub fn values(&mut self, mut signature: &[u8], out: &mut Vec<Value<'a>>) -> bool {
        while !signature.is_empty() {
            let Some(length) = type_length(signature, 0) else { return false };
            let (one, rest) = signature.split_at(length);
            signature = rest;
            match self.value(one, 0) {
                Read::Whole(value) => out.push(value),
                Read::Part(value) => {
                    out.push(value);
                    return false;
                }
                Read::Nothing => return false,
            }
        }
        true
    }

    fn value(&mut self, signature: &[u8], depth: u32) -> Read<'a> {
        if self.left == 0 || depth > DEPTH_MAX {
            return Read::Nothing;
        }
        self.left -= 1;
        match signature.first() {
            Some(b'a') => self.array(&signature[1..], depth),
            Some(b'(' | b'{') => self.structure(&signature[1..signature.len() - 1], depth),
            Some(b'v') => match self.variant(depth + 1) {
                Some(value) => Read::Whole(value),
                None => Read::Nothing,
            },
            Some(code) => self.basic(*code).map_or(Read::Nothing, Read::Whole),
            None => Read::Nothing,
        }
    }

    fn array(&mut self, element: &[u8], depth: u32) -> Read<'a> {
        let Some(length) = self.number(4) else { return Read::Nothing };
        self.align(alignment(element));
        let end = self.at.saturating_add(length as usize);
        let mut values = Vec::new();
        while self.at < end {
            if self.at >= self.bytes.len() {
                return Read::Part(Value::List(values));
            }
            match self.value(element, depth + 1) {
                Read::Whole(value) => values.push(value),
                Read::Part(value) => {
                    values.push(value);
                    return Read::Part(Value::List(values));
                }
                Read::Nothing => return Read::Part(Value::List(values)),
            }
        }
        Read::Whole(Value::List(values))
    }

    fn structure(&mut self, mut fields: &[u8], depth: u32) -> Read<'a> {
        self.align(8);
        let mut values = Vec::new();
        while let Some(length) = type_length(fields, 0) {
            let (one, rest) = fields.split_at(length);
            fields = rest;
            match self.value(one, depth + 1) {
                Read::Whole(value) => values.push(value),
                Read::Part(value) => {
                    values.push(value);
                    return Read::Part(Value::List(values));
                }
                Read::Nothing => return Read::Part(Value::List(values)),
            }
        }
        Read::Whole(Value::List(values))
    }

    /// What a variant holds. Of one that is cut the part that is there is lost only where it is no container.
    fn variant(&mut self, depth: u32) -> Option<Value<'a>> {
        let length = usize::from(*self.take(1)?.first()?);
        let signature = self.take(length + 1)?.get(..length)?;
        if type_length(signature, 0) != Some(length) {
            return None;
        }
        match self.value(signature, depth) {
            Read::Whole(value) => Some(value),
            Read::Part(value) => {
                // The bytes are at their end: whatever follows finds nothing.
                self.at = self.bytes.len();
                Some(value)
            }
            Read::Nothing => None,
        }
    }

    fn basic(&mut self, code: u8) -> Option<Value<'a>> {
        Some(match code {
            b'y' => Value::Unsigned(self.number(1)?),
            b'b' => Value::Bool(self.number(4)? != 0),
            b'n' => Value::Signed(i64::from(self.number(2)?.cast_signed() as i16)),
            b'q' => Value::Unsigned(self.number(2)?),
            b'i' => Value::Signed(i64::from(self.number(4)?.cast_signed() as i32)),
            b'u' | b'h' => Value::Unsigned(self.number(4)?),
            b'x' => Value::Signed(self.number(8)?.cast_signed()),
            b't' => Value::Unsigned(self.number(8)?),
            b'd' => Value::Double(self.number(8)?),
            b's' | b'o' => {
                let length = self.number(4)? as usize;
                self.string(length)?
            }
            b'g' => {
                let length = self.number(1)? as usize;
                self.string(length)?
            }
            _ => return None,
        })
    }

    /// A string of `length` bytes and its NUL. One that is cut is nothing: half a name names something else.
    fn string(&mut self, length: usize) -> Option<Value<'a>> {
        let bytes = self.take(length.checked_add(1)?)?.get(..length)?;
        Some(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text))
    }

    /// A number of `size` bytes, aligned to its size.
    fn number(&mut self, size: usize) -> Option<u64> {
        self.align(size);
        let bytes = self.take(size)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }
}

/// How far a value could be read.
enum Read<'a> {
    Whole(Value<'a>),
    /// A container without its end.
    Part(Value<'a>),
    Nothing,
}

/// Bytes of the first complete type in a signature.
fn type_length(signature: &[u8], depth: u32) -> Option<usize> {
    if depth > DEPTH_MAX {
        return None;
    }
    match signature.first()? {
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'h' | b'v' => {
            Some(1)
        }
        b'a' => Some(1 + type_length(&signature[1..], depth + 1)?),
        open @ (b'(' | b'{') => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut at = 1;
            while *signature.get(at)? != close {
                at += type_length(&signature[at..], depth + 1)?;
            }
            // A structure has a field at least.
            (at > 1).then_some(at + 1)
        }
        _ => None,
    }
}

/// Of a value of this type, in bytes.
fn alignment(signature: &[u8]) -> usize {
    match signature.first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b'h' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}
