//! What clients ask of a service manager over D-Bus: from the bytes that they sent to requests with a meaning.
//!
//! - [`wire`], `value`: the message format.
//! - [`request`]: what was asked, for people and for correlation. `method`: from methods to requests.
//! - [`super::stream`] puts messages together out of sends.

mod method;
pub mod request;
pub mod value;
pub mod wire;

use request::ManagerRequest;

use super::stream::{Frame, Protocol, Streams};

/// One client's side of a D-Bus connection: authentication (line by line; "Authentication Protocol" of the
/// specification), then messages.
#[derive(Clone, Debug, Default)]
pub struct DBus {
    /// Lines come, not messages.
    authenticating: bool,
}

/// All D-Bus connections.
pub type Connections = Streams<DBus>;

/// What ends a line of the authentication.
const LINE_END: &[u8] = b"\r\n";
/// The last line.
const BEGIN: &[u8] = b"BEGIN";
/// Longest line that is waited for (`MAX_BUFFER` of dbus/dbus-auth.c).
const LINE_MAX: usize = 16 << 10;

impl Protocol for DBus {
    type Message = ManagerRequest;

    fn frame(&self, bytes: &[u8]) -> Frame {
        // A connection begins with a NUL, which no message does.
        if self.authenticating || bytes[0] == 0 {
            let searched = &bytes[..bytes.len().min(LINE_MAX)];
            return match find(searched, LINE_END) {
                Some(end) => Frame::Length(end + LINE_END.len()),
                None if bytes.len() < LINE_MAX => Frame::Unknown,
                None => Frame::Broken,
            };
        }
        match wire::fixed(bytes) {
            Some(fixed) => Frame::Length(fixed.length),
            None if bytes.len() < wire::FIXED && wire::may_begin(bytes) => Frame::Unknown,
            None => Frame::Broken,
        }
    }

    fn message(&mut self, bytes: &[u8], _: usize) -> Option<ManagerRequest> {
        if self.authenticating || bytes[0] == 0 {
            let line = bytes.strip_prefix(b"\0").unwrap_or(bytes);
            let word = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).next();
            self.authenticating = word != Some(BEGIN);
            return None;
        }
        method::request(&wire::call(bytes)?)
    }

    fn resynchronise(&mut self, bytes: &[u8]) -> Option<usize> {
        self.authenticating = bytes.first() == Some(&0);
        if self.authenticating {
            return Some(0);
        }
        if let Some(begin) = find(bytes, b"BEGIN\r\n") {
            return Some(begin + BEGIN.len() + LINE_END.len());
        }
        // A header that names an object and a method, or at least is well-formed to its end.
        (0..bytes.len()).find(|at| {
            let rest = &bytes[*at..];
            wire::fixed(rest).is_some_and(|fixed| {
                let call = wire::call(rest);
                call.map_or(fixed.length <= rest.len(), |call| {
                    !call.path.is_empty() && !call.member.is_empty()
                })
            })
        })
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
pub(crate) mod tests;
