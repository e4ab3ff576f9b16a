//! HTTP/2 requests without TLS (RFC 9113), as gRPC sends them: what clients send to containerd and CRI-O.

mod hpack;

use self::hpack::Hpack;
use super::http::Request;
use super::stream::{Frame, MESSAGE_MAX};

/// What a connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A frame's head.
const HEAD: usize = 9;
/// Streams of one connection whose requests have not ended.
const STREAMS_MAX: usize = 16;
/// Bytes of headers that are spread over several frames.
const BLOCK_MAX: usize = 16 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
/// Greatest type of a frame that is known (RFC 9113 and its extensions).
const LAST_TYPE: u8 = 0x10;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// One client's side of a connection, behind the preface.
#[derive(Clone, Debug, Default)]
pub struct Http2 {
    hpack: Hpack,
    /// A block was not seen or not understood: what refers to the table means nothing.
    lost: bool,
    streams: Vec<(u32, Request)>,
    /// Headers that further frames continue: of which stream, with which flags.
    block: Option<(u32, u8, Vec<u8>)>,
}

impl Http2 {
    /// What stands at the beginning of `bytes`.
    pub fn frame(bytes: &[u8]) -> Frame {
        match bytes {
            [high, middle, low, kind, ..] if bytes.len() >= HEAD => {
                if *kind > LAST_TYPE {
                    return Frame::Broken;
                }
                let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
                Frame::Length(HEAD + length)
            }
            _ => Frame::Unknown,
        }
    }

    /// Takes up a frame, of which the end may be missing.
    pub fn message(&mut self, bytes: &[u8], length: usize) -> Option<Request> {
        let (head, payload) = bytes.split_at_checked(HEAD)?;
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let cut = bytes.len() < length;
        match kind {
            DATA => self.data(id, flags, unpadded(payload, flags, cut)?, cut),
            HEADERS => {
                let mut payload = unpadded(payload, flags, cut)?;
                if flags & PRIORITY != 0 {
                    payload = payload.get(5..)?;
                }
                self.headers(id, flags, payload, cut)
            }
            CONTINUATION => {
                let (of, first, mut block) = self.block.take()?;
                block.extend_from_slice(payload);
                let whole = of == id && block.len() <= BLOCK_MAX;
                self.headers(id, first & !END_HEADERS | flags & END_HEADERS, &block, cut || !whole)
            }
            RST_STREAM => {
                self.streams.retain(|(of, _)| *of != id);
                None
            }
            _ => None,
        }
    }

    fn headers(&mut self, id: u32, flags: u8, block: &[u8], cut: bool) -> Option<Request> {
        if flags & END_HEADERS == 0 && !cut {
            self.block = Some((id, flags, block.to_vec()));
            return None;
        }
        let mut request = Request::default();
        let mut each = |name: &[u8], value: &[u8]| {
            let text = || String::from_utf8_lossy(value).into_owned();
            match name {
                b":method" => request.method = text(),
                b":path" => request.target = text(),
                _ => {}
            }
        };
        self.lost |= cut || self.hpack.block(block, &mut each).is_none();
        // Trailers name no path.
        if request.target.is_empty() || self.lost {
            return None;
        }
        if flags & END_STREAM != 0 {
            return Some(request);
        }
        if self.streams.len() == STREAMS_MAX {
            self.streams.remove(0);
        }
        self.streams.push((id, request));
        None
    }

    fn data(&mut self, id: u32, flags: u8, piece: &[u8], cut: bool) -> Option<Request> {
        let at = self.streams.iter().position(|(of, _)| *of == id)?;
        let request = &mut self.streams[at].1;
        let room = MESSAGE_MAX - request.body.len();
        request.body.extend_from_slice(&piece[..piece.len().min(room)]);
        request.cut |= cut || piece.len() > room;
        // A server in Go acts on a message when it is whole, not when the stream ends.
        let whole = match request.body[..] {
            [_, a, b, c, d, ref message @ ..] => message.len() >= u32::from_be_bytes([a, b, c, d]) as usize,
            _ => false,
        };
        (whole || request.cut || flags & END_STREAM != 0).then(|| self.streams.remove(at).1)
    }
}

/// A payload without its padding.
fn unpadded(payload: &[u8], flags: u8, cut: bool) -> Option<&[u8]> {
    if flags & PADDED == 0 {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    if cut {
        return Some(rest);
    }
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame.
    pub fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// `:method: POST` and a literal `:path` that enters the table.
    fn post(path: &str) -> Vec<u8> {
        let mut block = vec![0x83, 0x44, path.len() as u8];
        block.extend_from_slice(path.as_bytes());
        block
    }

    fn feed(http2: &mut Http2, bytes: &[u8]) -> Option<Request> {
        assert_eq!(Http2::frame(bytes), Frame::Length(bytes.len()));
        http2.message(bytes, bytes.len())
    }

    #[test]
    fn a_request_in_pieces_and_one_that_refers_to_it() {
        let mut http2 = Http2::default();
        let block = post("/svc/Create");
        assert_eq!(feed(&mut http2, &frame(HEADERS, 0, 1, &block[..4])), None);
        assert_eq!(feed(&mut http2, &frame(CONTINUATION, END_HEADERS, 1, &block[4..])), None);
        assert_eq!(feed(&mut http2, &frame(DATA, 0, 1, b"\0\0\0\0\x04ab")), None);
        let padded = b"\x03cd\0\0\0";
        let request = feed(&mut http2, &frame(DATA, PADDED, 1, padded)).expect("a whole message");
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/svc/Create"));
        assert_eq!(request.body, b"\0\0\0\0\x04abcd");
        // Method and path by their indices.
        assert_eq!(feed(&mut http2, &frame(HEADERS, END_HEADERS, 3, &[0x83, 0xbe])), None);
        let request = feed(&mut http2, &frame(DATA, END_STREAM, 3, b"\0\0\0\0\0")).expect("a request");
        assert_eq!(request.target, "/svc/Create");
    }

    #[test]
    fn without_the_table_nothing_is_made_up() {
        let mut http2 = Http2::default();
        let whole = frame(HEADERS, END_HEADERS, 1, &post("/svc/Create"));
        assert_eq!(http2.message(&whole[..12], whole.len()), None);
        assert_eq!(feed(&mut http2, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &[0x83, 0xbe])), None);
    }

    proptest! {
        #[test]
        fn any_frames_are_borne(frames in proptest::collection::vec((0_u8..12, any::<u8>(), 0_u32..4, proptest::collection::vec(any::<u8>(), 0..40)), 0..20)) {
            let mut http2 = Http2::default();
            for (kind, flags, id, payload) in frames {
                let bytes = frame(kind, flags, id, &payload);
                let _either = http2.message(&bytes, bytes.len());
                let _cut = http2.message(&bytes[..bytes.len() / 2], bytes.len());
                prop_assert!(http2.streams.len() <= STREAMS_MAX);
            }
        }
    }
}
