//! `mtree`: a line for each object (mtree(5), as libarchive writes it).

use std::io::Read;

/// Bytes of it uncompressed, at most.
const TEXT_MAX: u64 = 64 << 20;

/// What it says of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) sha256: Option<String>,
    pub(super) md5: Option<String>,
    /// Where it points to, if it is a symbolic link.
    pub(super) link: Option<Vec<u8>>,
}

/// What a compressed one says of a path.
pub(super) fn find(compressed: &[u8], spellings: &[Vec<u8>]) -> Option<Object> {
    let mut text = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(compressed).take(TEXT_MAX).read_to_end(&mut text);
    // Of a damaged one nothing counts.
    read.ok().and_then(|_| find_in(&text, spellings))
}

/// Objects are `./PATH KEYWORD=VALUE ...`; `/set` gives values for those that follow, but digests and links never.
pub(super) fn find_in(text: &[u8], spellings: &[Vec<u8>]) -> Option<Object> {
    for line in text.split(|byte| *byte == b'\n') {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let Some(path) = words.next().and_then(|path| path.strip_prefix(b".")) else { continue };
        let path = unescaped(path);
        if !spellings.contains(&path) {
            continue;
        }
        let mut object = Object::default();
        for word in words {
            let digest = |value: &[u8], length: usize| {
                let is_sound = value.len() == length && value.iter().all(u8::is_ascii_hexdigit);
                is_sound.then(|| String::from_utf8_lossy(value).to_ascii_lowercase())
            };
            if let Some(value) = word.strip_prefix(b"sha256digest=").or(word.strip_prefix(b"sha256=")) {
                object.sha256 = digest(value, 64);
            } else if let Some(value) = word.strip_prefix(b"md5digest=").or(word.strip_prefix(b"md5=")) {
                object.md5 = digest(value, 32);
            } else if let Some(value) = word.strip_prefix(b"link=") {
                object.link = Some(unescaped(value));
            }
        }
        return Some(object);
    }
    None
}

/// A backslash and three octal digits stand for a byte.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind
            .first_chunk::<3>()
            .filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        if let (b'\\', Some([a, b, c])) = (first, octal) {
            let value = u32::from(a - b'0') << 6 | u32::from(b - b'0') << 3 | u32::from(c - b'0');
            bytes.push((value & 0xff) as u8);
            rest = &behind[3..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    bytes
}
