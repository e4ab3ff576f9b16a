//! HTTP/1.1 requests (RFC 9112), as servers in Go read them: what clients send to an engine's socket. A connection that
//! begins as one of HTTP/2, or goes over to it, is [`super::http2`]'s.
//!
//! A head is taken up line by line and a body piece by piece, so that neither has a length that must be kept. Go's
//! server takes lines that end without a carriage return, folded header lines and absolute targets, and its handlers act
//! as soon as a JSON value is whole, whatever length was announced: so does this reader.

use super::http2::{Http2, PREFACE};
use super::json::Balance;
use super::stream::{Frame, MESSAGE_MAX, Protocol, Unwanted};

/// Methods that the engines' routers know.
const METHODS: [&[u8]; 7] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"];
/// Longest line that is waited for. Go takes 1 MiB of a whole head (net/http, `DefaultMaxHeaderBytes`), and a send's
/// record has [`sensor_common::limits::SEND_MAX`] of it.
const LINE_MAX: usize = 32 << 10;
/// Bytes of a header's value that are looked at.
const VALUE_MAX: usize = 256;
/// Longest line with the length of a chunk (net/http/internal, `maxLineLength`).
const CHUNK_LINE_MAX: usize = 4096;

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `POST`.
    pub method: String,
    /// As sent, not decoded.
    pub target: String,
    /// The body, or its beginning.
    pub body: Vec<u8>,
    /// Not all of it was seen, or it is longer than what is kept.
    pub cut: bool,
}

/// How a body's end is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Body {
    #[default]
    None,
    /// That many bytes are missing.
    Length(usize),
    Chunked,
}

/// A request that comes.
#[derive(Clone, Debug, Default)]
struct Coming {
    request: Request,
    body: Body,
    /// Header that a folded line continues.
    header: String,
    value: String,
    /// Of what is no HTTP any more once the server agrees.
    hijacks: bool,
    balance: Balance,
    /// Bytes of a piece that is waited for and was looked at already.
    seen: usize,
    given: bool,
    framing: Framing,
}

/// Whether a server finds a body's end where this reader does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    /// No header said anything of it yet.
    #[default]
    Plain,
    /// One did.
    Said,
    /// Servers may differ.
    Doubtful,
}

/// Whether what follows an upgrade can still be a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Raw {
    /// It is one.
    #[default]
    No,
    /// Nothing has come yet by which the server, had it not agreed, would have seen that it is none.
    First,
    /// It may be.
    Perhaps,
    /// Go's server reads no further request behind one that is malformed: it answers 400 and closes (net/http,
    /// `conn.serve`).
    Never,
}

#[derive(Clone, Debug, Default)]
enum State {
    /// Before a request, or what an upgrade led to: a terminal's input for instance.
    #[default]
    Start,
    Headers(Box<Coming>),
    Body(Box<Coming>),
    Chunk(Box<Coming>),
    Trailer(Box<Coming>),
    Second(Box<Http2>),
}

/// One client's side of a connection.
#[derive(Clone, Debug, Default)]
pub struct Http {
    state: State,
    raw: Raw,
    /// The body that comes to its end is an upload.
    uploading: bool,
}

impl Protocol for Http {
    type Message = Request;

    fn frame(&self, bytes: &[u8]) -> Frame {
        match &self.state {
            State::Start => self.start(bytes),
            State::Headers(_) | State::Trailer(_) => line(bytes, LINE_MAX),
            State::Body(coming) => match coming.body {
                Body::Length(missing) => Frame::Length(missing),
                Body::None | Body::Chunked => Frame::Broken,
            },
            State::Chunk(_) => match line(bytes, CHUNK_LINE_MAX) {
                Frame::Length(end) => match chunk_size(&bytes[..end]) {
                    Some(0) => Frame::Length(end),
                    Some(size) => Frame::Length(size.saturating_add(end + 2)),
                    None => Frame::Broken,
                },
                other => other,
            },
            State::Second(_) => Http2::frame(bytes),
        }
    }

    fn message(&mut self, bytes: &[u8], length: usize) -> Option<Request> {
        let cut = bytes.len() < length;
        match std::mem::take(&mut self.state) {
            State::Second(mut second) => {
                let request = second.message(bytes, length);
                self.state = State::Second(second);
                request
            }
            State::Start => {
                self.uploading = false;
                if bytes == PREFACE {
                    self.state = State::Second(Box::default());
                } else if let Some((method, target)) = request_line(bytes) {
                    let version = trimmed(bytes).ends_with(b" HTTP/1.1");
                    let framing = if version { Framing::Plain } else { Framing::Doubtful };
                    let request = Request { method, target, ..Request::default() };
                    self.state = State::Headers(Box::new(Coming { request, framing, ..Coming::default() }));
                } else if self.raw == Raw::First {
                    self.raw = if is_malformed(bytes) { Raw::Never } else { Raw::Perhaps };
                }
                None
            }
            State::Headers(mut coming) => {
                if coming.header_line(trimmed(bytes)) {
                    self.state = State::Headers(coming);
                    return None;
                }
                match coming.body {
                    Body::None => return Some(self.end(*coming)),
                    Body::Length(_) => self.state = State::Body(coming),
                    Body::Chunked => self.state = State::Chunk(coming),
                }
                None
            }
            State::Body(mut coming) => {
                coming.take(bytes, cut);
                let given = coming.given;
                let request = self.end(*coming);
                (!given).then_some(request)
            }
            State::Chunk(mut coming) => {
                let Frame::Length(at) = line(bytes, CHUNK_LINE_MAX) else { return None };
                if chunk_size(&bytes[..at]) == Some(0) {
                    self.state = State::Trailer(coming);
                    return None;
                }
                let end = bytes.len().min(length.saturating_sub(2)).max(at);
                coming.take(&bytes[at..end], cut);
                let early = coming.early(cut);
                self.state = State::Chunk(coming);
                early
            }
            State::Trailer(coming) => {
                if !trimmed(bytes).is_empty() {
                    self.state = State::Trailer(coming);
                    return None;
                }
                let given = coming.given;
                let request = self.end(*coming);
                (!given).then_some(request)
            }
        }
    }

    fn early(&mut self, bytes: &[u8], length: usize) -> Option<Request> {
        let (coming, at) = match &mut self.state {
            State::Body(coming) => (coming, 0),
            State::Chunk(coming) => {
                let Frame::Length(at) = line(bytes, CHUNK_LINE_MAX) else { return None };
                (coming, at)
            }
            _ => return None,
        };
        // Without the end of a line behind a chunk.
        let end = if at == 0 { bytes.len() } else { bytes.len().min(length.saturating_sub(2)).max(at) };
        let piece = &bytes[at..end];
        piece.iter().skip(coming.seen).for_each(|byte| coming.balance.take(*byte));
        coming.seen = piece.len();
        if coming.given || !coming.balance.ended() {
            return None;
        }
        coming.given = true;
        let mut request = coming.request.clone();
        request.body.extend_from_slice(piece);
        Some(request)
    }

    fn unwanted(&self) -> Option<Unwanted> {
        match &self.state {
            State::Body(coming) if coming.is_upload() => Some(Unwanted::Rest),
            State::Chunk(coming) if coming.is_upload() => Some(Unwanted::Chunks),
            State::Start if self.raw == Raw::Never => Some(Unwanted::All),
            State::Start if self.uploading => Some(Unwanted::Rest),
            _ => None,
        }
    }

    fn abandoned(&mut self) -> Option<Request> {
        self.raw = Raw::No;
        self.uploading = false;
        match std::mem::take(&mut self.state) {
            State::Start | State::Second(_) => None,
            State::Headers(coming) | State::Body(coming) | State::Chunk(coming) | State::Trailer(coming) => {
                (!coming.given).then_some(Request { cut: true, ..coming.request })
            }
        }
    }

    fn resynchronise(&mut self, bytes: &[u8]) -> Option<usize> {
        *self = Self::default();
        position(bytes, PREFACE).into_iter().chain(find(bytes)).min()
    }
}

impl Http {
    /// What stands where a request may begin.
    fn start(&self, bytes: &[u8]) -> Frame {
        if bytes.starts_with(PREFACE) {
            return Frame::Length(PREFACE.len());
        }
        if PREFACE.starts_with(bytes) {
            return Frame::Unknown;
        }
        if may_begin(bytes) {
            match line(bytes, LINE_MAX) {
                Frame::Length(end) if request_line(&bytes[..end]).is_some() => return Frame::Length(end),
                Frame::Unknown => return Frame::Unknown,
                _ => {}
            }
        }
        if self.raw == Raw::No {
            return Frame::Broken;
        }
        // A server that did not agree goes on with HTTP.
        Frame::Length(find(&bytes[1..]).map_or(bytes.len(), |at| at + 1))
    }

    fn end(&mut self, coming: Coming) -> Request {
        self.raw = match (coming.hijacks, coming.framing) {
            (false, _) => Raw::No,
            (true, Framing::Doubtful) => Raw::Perhaps,
            (true, _) => Raw::First,
        };
        self.uploading = coming.is_upload();
        coming.request
    }
}

impl Coming {
    /// Takes up a line of the head. `false` for the last, empty one.
    fn header_line(&mut self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(&line[..line.len().min(VALUE_MAX * 2)]);
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let plain = name.len() < line.len() && !name.is_empty() && name.iter().copied().all(is_token);
        let control = |byte: &u8| *byte < b' ' && *byte != b'\t' || *byte == 0x7f;
        if !line.is_empty() && (!plain || line.iter().any(control)) {
            self.framing = Framing::Doubtful;
        }
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            if self.value.len() < VALUE_MAX {
                self.value.push(' ');
                self.value.push_str(text.trim());
            }
            return true;
        }
        self.header();
        if line.is_empty() {
            let path = self.request.target.split('?').next().unwrap_or_default();
            let starts = path.contains("/exec/") && path.ends_with("/start");
            self.hijacks |= path.ends_with("/attach") || starts;
            return false;
        }
        let (name, value) = text.split_once(':').unwrap_or_default();
        self.header = name.to_ascii_lowercase();
        value.trim().clone_into(&mut self.value);
        true
    }

    fn header(&mut self) {
        let value = self.value.trim();
        match self.header.as_str() {
            "content-length" | "transfer-encoding" if self.framing != Framing::Plain => {
                self.framing = Framing::Doubtful;
            }
            "content-length" => {
                let plain = value.len() <= 15 && value.bytes().all(|byte| byte.is_ascii_digit());
                self.framing = if plain { Framing::Said } else { Framing::Doubtful };
            }
            "transfer-encoding" => {
                let plain = value.eq_ignore_ascii_case("chunked");
                self.framing = if plain { Framing::Said } else { Framing::Doubtful };
            }
            _ => {}
        }
        match self.header.as_str() {
            "content-length" if self.body != Body::Chunked => {
                // An absurd length is one: what it announces never comes.
                let length = value.parse::<u64>().unwrap_or(0);
                let length = usize::try_from(length).unwrap_or(usize::MAX).min(usize::MAX / 4);
                self.body = if length == 0 { Body::None } else { Body::Length(length) };
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => self.body = Body::Chunked,
            "upgrade" => self.hijacks = true,
            _ => {}
        }
        self.header.clear();
    }

    /// Whether the body is a file or an archive that a server reads to its end, or not at all.
    fn is_upload(&self) -> bool {
        self.framing == Framing::Said && !self.hijacks && is_upload(&self.request)
    }

    /// Takes up a piece of the body.
    fn take(&mut self, piece: &[u8], cut: bool) {
        let seen = std::mem::take(&mut self.seen);
        piece.iter().skip(seen).for_each(|byte| self.balance.take(*byte));
        let room = MESSAGE_MAX - self.request.body.len();
        self.request.body.extend_from_slice(&piece[..piece.len().min(room)]);
        self.request.cut |= cut || piece.len() > room;
    }

    /// The request before its body has ended: when its JSON is whole, or will never be.
    fn early(&mut self, cut: bool) -> Option<Request> {
        if self.given || !(cut || self.balance.ended()) {
            return None;
        }
        self.given = true;
        Some(self.request.clone())
    }
}

/// Whether a request sends an image, a build's context or files of a container, by its whole path: Docker's (with or
/// without a version; docs.docker.com/reference/api/engine) or podman's own (docs.podman.io). What a server would have to
/// decode or clean first is none.
fn is_upload(request: &Request) -> bool {
    let path = request.target.split('?').next().unwrap_or_default();
    let Some(path) = path.strip_prefix('/') else { return false };
    let plain = |word: &&str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        word.bytes().all(fits) && !matches!(*word, "" | "." | "..")
    };
    let words: Vec<&str> = path.split('/').collect();
    if !words.iter().all(plain) {
        return false;
    }
    let words = match &words[..] {
        [first, rest @ ..]
            if first.starts_with('v') && first[1..].starts_with(|c: char| c.is_ascii_digit()) =>
        {
            rest
        }
        all => all,
    };
    let words = words.strip_prefix(&["libpod"]).unwrap_or(words);
    match request.method.as_str() {
        "POST" => matches!(words, ["build"] | ["images", "load" | "create" | "import"]),
        "PUT" => matches!(words, ["containers", _, "archive"]),
        _ => false,
    }
}

/// A character of a header's name or a method (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether Go's server finds no request at the beginning of `bytes`, whatever follows them (net/http, `readRequest`: up
/// to four ends of lines are passed over behind a POST, a method is a token, a line ends with the protocol's version).
fn is_malformed(bytes: &[u8]) -> bool {
    let ends = bytes.iter().take(4).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = &bytes[ends..];
    let Some(first) = bytes.first() else { return false };
    let version = |line: &[u8]| {
        matches!(line.trim_ascii_end(), [.., b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit())
    };
    let line = bytes.split_inclusive(|byte| *byte == b'\n').next().filter(|line| line.ends_with(b"\n"));
    !is_token(*first) && !matches!(first, b'\r' | b'\n') || line.is_some_and(|line| !version(line))
}

fn line(bytes: &[u8], most: usize) -> Frame {
    match bytes.iter().take(most).position(|byte| *byte == b'\n') {
        Some(at) => Frame::Length(at + 1),
        None if bytes.len() < most => Frame::Unknown,
        None => Frame::Broken,
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = trimmed(line).split(|byte| *byte == b';').next()?.trim_ascii();
    let text = std::str::from_utf8(digits).ok()?;
    let size = u64::from_str_radix(text, 16).ok()?;
    Some(usize::try_from(size).unwrap_or(usize::MAX).min(usize::MAX / 4))
}

/// Whether `bytes` are a request line as far as they go.
fn may_begin(bytes: &[u8]) -> bool {
    METHODS.iter().any(|method| match bytes.strip_prefix(*method) {
        Some(rest) => match rest {
            [] => true,
            [b' ', rest @ ..] => rest.first().is_none_or(|byte| matches!(byte, b'/' | b'h' | b'H' | b'*')),
            _ => false,
        },
        None => method.starts_with(bytes),
    })
}

/// Method and target of `POST /path HTTP/1.1`.
fn request_line(line: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(trimmed(line)).ok()?;
    let (method, rest) = text.split_once(' ')?;
    let (target, version) = rest.rsplit_once(' ')?;
    (METHODS.contains(&method.as_bytes()) && version.starts_with("HTTP/1."))
        .then(|| (method.to_owned(), target.to_owned()))
}

/// Where a request line begins, wherever it stands: behind a body there is no end of a line.
fn find(bytes: &[u8]) -> Option<usize> {
    const VERSION: &[u8] = b" HTTP/1.";
    let mut from = 0;
    while let Some(at) = position(&bytes[from..], VERSION) {
        let end = from + at;
        let start = bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1).max(from);
        let before = &bytes[start..end];
        let begin = METHODS
            .iter()
            .filter_map(|method| {
                let words = [*method, b" /"].concat();
                before.windows(words.len()).rposition(|window| window == words)
            })
            .max();
        if let Some(begin) = begin {
            return Some(start + begin);
        }
        from = end + VERSION.len();
    }
    None
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "http_mute_tests.rs"]
mod mute_tests;
