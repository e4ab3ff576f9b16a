//! The lines of `installed`.

use std::ops::Range;

use crate::proof::hex;
use crate::proof::package::{Digest, Manager, Package};

/// Where paragraphs are: what is between empty lines.
pub(super) fn paragraphs(text: &[u8]) -> Vec<Range<usize>> {
    let (mut all, mut begin, mut at) = (Vec::new(), 0, 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\n" {
            if begin < at {
                all.push(begin..at);
            }
            begin = at + 1;
        }
        at += line.len();
    }
    if begin < at {
        all.push(begin..at);
    }
    all
}

fn lines(paragraph: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    paragraph.split(|byte| *byte == b'\n').filter_map(|line| match line {
        [letter, b':', value @ ..] => Some((*letter, value)),
        _ => None,
    })
}

/// Which package a paragraph is of.
pub(super) fn package(paragraph: &[u8]) -> Option<Package> {
    let text = |letter| {
        let value = lines(paragraph).find(|line| line.0 == letter)?.1;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    Some(Package {
        manager: Manager::Apk,
        name: text(b'P').filter(|name| !name.is_empty())?,
        version: text(b'V')?,
        architecture: text(b'A').unwrap_or_default(),
    })
}

/// Calls `each` with every directory and file, and the digest of the latter.
pub(super) fn files(paragraph: &[u8], mut each: impl FnMut(&[u8], Option<Digest>)) {
    let mut directory = Vec::new();
    // A checksum stands behind its file.
    let mut file: Option<(Vec<u8>, Option<Digest>)> = None;
    for (letter, value) in lines(paragraph) {
        if let Some((path, digest)) = file.take_if(|_| matches!(letter, b'F' | b'R')) {
            each(&path, digest);
        }
        match letter {
            b'F' => {
                directory = if value.is_empty() { Vec::new() } else { [b"/", value].concat() };
                if !directory.is_empty() {
                    each(&directory, None);
                }
            }
            b'R' => file = Some(([&directory[..], value].join(&b'/'), None)),
            b'Z' => file.iter_mut().for_each(|file| file.1 = checksum(value)),
            _ => {}
        }
    }
    if let Some((path, digest)) = file {
        each(&path, digest);
    }
}

/// `Q1` and base64 of SHA-1, `Q2` and base64 of SHA-256, or 32 digits of MD5 (apk-tools, src/blob.c, `apk_blob_pull_digest`).
fn checksum(value: &[u8]) -> Option<Digest> {
    if value.len() == 32 && value.iter().all(u8::is_ascii_hexdigit) {
        return Some(Digest::Md5(String::from_utf8_lossy(value).to_ascii_lowercase()));
    }
    let (kind, text) = value.split_at_checked(2)?;
    let bytes = base64(text)?;
    match (kind, bytes.len()) {
        (b"Q1", 20) => Some(Digest::Sha1(hex(&bytes))),
        (b"Q2", 32) => Some(Digest::Sha256(hex(&bytes))),
        _ => None,
    }
}

/// RFC 4648, section 4.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const LENGTH_MAX: usize = 100;
    let text = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    if text.len() > LENGTH_MAX {
        return None;
    }
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}
