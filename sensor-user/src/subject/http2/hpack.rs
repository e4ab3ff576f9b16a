//! Header compression of HTTP/2 (HPACK, RFC 7541): decoding, with the state that one direction of a connection has.

use std::collections::VecDeque;

/// Bytes that the dynamic table may hold, whatever the peers agree on (`SETTINGS_HEADER_TABLE_SIZE` is 4096 at first,
/// and no engine of containers raises it).
const TABLE_MAX: usize = 4096;
/// What an entry counts beside its bytes (section 4.1).
const OVERHEAD: usize = 32;
/// Symbol that ends a string, and never occurs in one.
const END: usize = 256;

/// Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Lengths of the codes of the bytes and of the end of a string (appendix B). The code is canonical: codes of one length
/// are given in the order of the symbols, and go on from those that are shorter.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

/// Symbols in the order of their codes, and for each length the first code and where its symbols begin.
struct Codes {
    symbols: [u16; 257],
    first: [u32; 31],
    begin: [u16; 32],
}

const CODES: Codes = codes();

const fn codes() -> Codes {
    let mut codes = Codes { symbols: [0; 257], first: [0; 31], begin: [0; 32] };
    let (mut length, mut at, mut code) = (1, 0, 0_u32);
    while length <= 30 {
        code <<= 1;
        codes.first[length] = code;
        codes.begin[length] = at as u16;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                codes.symbols[at] = symbol as u16;
                at += 1;
                code += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    codes.begin[31] = at as u16;
    codes
}

/// The dynamic table of one direction.
#[derive(Clone, Debug)]
pub struct Hpack {
    entries: VecDeque<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    most: usize,
}

impl Default for Hpack {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, most: TABLE_MAX }
    }
}

impl Hpack {
    /// Reads a block of headers; each is given to `each`. `None` where it is wrong: then nothing that refers to the table
    /// can be understood any more.
    pub fn block(&mut self, mut block: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Option<()> {
        let rest = &mut block;
        while let Some(byte) = rest.first().copied() {
            if byte & 0x80 != 0 {
                let (name, value) = self.entry(integer(rest, 7)?)?;
                each(&name, &value);
            } else if byte & 0xe0 == 0x20 {
                self.most = integer(rest, 5)?.min(TABLE_MAX);
                self.shrink();
            } else {
                let indexed = byte & 0x40 != 0;
                let name = match integer(rest, if indexed { 6 } else { 4 })? {
                    0 => text(rest)?,
                    index => self.entry(index)?.0,
                };
                let value = text(rest)?;
                each(&name, &value);
                if indexed {
                    self.insert(name, value);
                }
            }
        }
        Some(())
    }

    fn entry(&self, index: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let index = index.checked_sub(1)?;
        match STATIC.get(index) {
            Some((name, value)) => Some((name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            None => self.entries.get(index - STATIC.len()).cloned(),
        }
    }

    fn insert(&mut self, name: Vec<u8>, value: Vec<u8>) {
        self.bytes += name.len() + value.len() + OVERHEAD;
        self.entries.push_front((name, value));
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.bytes > self.most {
            let Some((name, value)) = self.entries.pop_back() else { return };
            self.bytes -= name.len() + value.len() + OVERHEAD;
        }
    }
}

/// An integer with a prefix of so many bits (section 5.1).
fn integer(rest: &mut &[u8], prefix: u32) -> Option<usize> {
    let (first, mut after) = rest.split_first()?;
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (byte, left) = after.split_first()?;
            after = left;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            // No length or index is that great.
            if shift > 21 {
                return None;
            }
        }
    }
    *rest = after;
    Some(value)
}

/// A string (section 5.2).
fn text(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let huffman = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    if huffman { unpacked(bytes) } else { Some(bytes.to_vec()) }
}

/// Huffman's code undone. What is left at the end is padding.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    let (mut code, mut length) = (0_u32, 0_usize);
    for byte in bytes {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            if length > 30 {
                return None;
            }
            let (begin, end) = (CODES.begin[length], CODES.begin[length + 1]);
            let Some(number) = code.checked_sub(CODES.first[length]) else { continue };
            if number < u32::from(end - begin) {
                let symbol = CODES.symbols[usize::from(begin) + number as usize];
                if usize::from(symbol) == END {
                    return None;
                }
                out.push(symbol as u8);
                (code, length) = (0, 0);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|char| char.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    fn headers(hpack: &mut Hpack, block: &str) -> Vec<String> {
        let mut out = Vec::new();
        let each = &mut |name: &[u8], value: &[u8]| {
            out.push(format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        };
        hpack.block(&hex(block), each).expect("a good block");
        out
    }

    /// RFC 7541, C.4: three requests on one connection.
    #[test]
    fn the_rfcs_requests() {
        let mut hpack = Hpack::default();
        let first = headers(&mut hpack, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff");
        assert_eq!(first, [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"]);
        let second = headers(&mut hpack, "8286 84be 5886 a8eb 1064 9cbf");
        assert_eq!(second[3..], [":authority: www.example.com", "cache-control: no-cache"]);
        let third = headers(&mut hpack, "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
        assert_eq!(
            third[2..],
            [":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"]
        );
        assert_eq!(hpack.bytes, 164);
    }

    proptest! {
        #[test]
        fn any_block_is_borne(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..5)) {
            let mut hpack = Hpack::default();
            for block in blocks {
                let _either = hpack.block(&block, &mut |_, _| {});
                prop_assert!(hpack.bytes <= TABLE_MAX);
            }
        }
    }
}
