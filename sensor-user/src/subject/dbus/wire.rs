//! The D-Bus wire format: messages, and values by their signature. Bounded, and content with a message whose end is
//! missing. Source: <https://dbus.freedesktop.org/doc/dbus-specification.html>, "Message Protocol" and "Type System".

use super::value::{Reader, Value};

/// Longest message (`DBUS_MAXIMUM_MESSAGE_LENGTH`).
const MESSAGE_MAX: usize = 128 << 20;
/// Longest array of header fields (`DBUS_MAXIMUM_ARRAY_LENGTH`).
const FIELDS_MAX: usize = 64 << 20;

/// Bytes of a header that tell a message's length.
pub const FIXED: usize = 16;

/// The fixed part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Byte order.
    pub big_endian: bool,
    /// `METHOD_CALL` and so on.
    pub kind: u8,
    /// Of the whole message, in bytes.
    pub length: usize,
    /// Where the body begins.
    pub body: usize,
    /// The sender's number of the message.
    pub serial: u32,
    /// Bytes of the header fields.
    fields: usize,
}

/// `METHOD_CALL`.
pub const METHOD_CALL: u8 = 1;

/// Whether `bytes` begin as a message does, as far as they go.
pub fn may_begin(bytes: &[u8]) -> bool {
    let checks: [fn(u8) -> bool; 4] =
        [|order| matches!(order, b'l' | b'B'), |kind| kind != 0, |_flags| true, |version| version == 1];
    bytes.iter().zip(checks).all(|(byte, check)| check(*byte))
}

/// The fixed part of the header at the beginning of `bytes`; `None` where there is none, or where they are fewer than
/// [`FIXED`].
pub fn fixed(bytes: &[u8]) -> Option<Fixed> {
    let bytes: &[u8; FIXED] = bytes.first_chunk()?;
    if !may_begin(bytes) {
        return None;
    }
    let big_endian = bytes[0] == b'B';
    let number = |at: usize| {
        let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    };
    let (body, serial, fields) = (number(4) as usize, number(8), number(12) as usize);
    if serial == 0 || fields > FIELDS_MAX || body > MESSAGE_MAX {
        return None;
    }
    let begin = FIXED + fields.next_multiple_of(8);
    let length = begin + body;
    (length <= MESSAGE_MAX).then_some(Fixed {
        big_endian,
        kind: bytes[1],
        length,
        body: begin,
        serial,
        fields,
    })
}

/// A method call, its arguments not looked at yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call<'a> {
    /// The sender's number of the message: another one for each of a connection's.
    pub serial: u32,
    /// The object.
    pub path: &'a str,
    /// Empty where the sender leaves it to the object.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// A well-known or unique name on a bus; empty without a bus.
    pub destination: &'a str,
    /// Types of the arguments.
    pub signature: &'a str,
    /// Not all of it was seen, or the header could not be read to its end.
    pub incomplete: bool,
    bytes: &'a [u8],
    body: usize,
    big_endian: bool,
}

impl<'a> Call<'a> {
    /// The arguments, as far as they were seen, and whether that is all.
    pub fn arguments(&self) -> (Vec<Value<'a>>, bool) {
        let mut arguments = Vec::new();
        let mut reader = Reader::new(self.bytes, self.body, self.big_endian);
        let complete = reader.values(self.signature.as_bytes(), &mut arguments);
        (arguments, complete && !self.incomplete)
    }
}

/// The method call at the beginning of `bytes`, of which the end may be missing; `None` for other messages.
pub fn call(bytes: &[u8]) -> Option<Call<'_>> {
    let fixed = fixed(bytes)?;
    if fixed.kind != METHOD_CALL {
        return None;
    }
    let mut call = Call {
        serial: fixed.serial,
        incomplete: bytes.len() < fixed.length,
        bytes: &bytes[..fixed.length.min(bytes.len())],
        body: fixed.body,
        big_endian: fixed.big_endian,
        ..Call::default()
    };
    let end = (FIXED + fixed.fields).min(bytes.len());
    let mut fields = Reader::new(&bytes[..end], FIXED, fixed.big_endian);
    while fields.at() < end {
        let Some((code, value)) = fields.header_field() else {
            call.incomplete = true;
            break;
        };
        // "Header Fields" of the specification; a field that is unknown is passed over.
        match (code, value) {
            (1, Value::Text(text)) => call.path = text,
            (2, Value::Text(text)) => call.interface = text,
            (3, Value::Text(text)) => call.member = text,
            (6, Value::Text(text)) => call.destination = text,
            (8, Value::Text(text)) => call.signature = text,
            _ => {}
        }
    }
    Some(call)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
