//! The syntax of unit files, read as the service manager reads it: what it takes, what it passes over, and what makes
//! it stop (systemd.syntax(7); `config_parse` and `parse_line`, src/shared/conf-parser.c; `read_line_full`,
//! src/basic/fileio.c; systemd 252 to 257).
//!
//! Where this differs from what one expects of an INI file, hiding places lie: a carriage return and a NUL end a line
//! as a newline does; a comment inside a continued line is passed over; a byte order mark is taken off the first line
//! that has one; one bad section header, or one line that is not UTF-8, ends the file there, in a drop-in as well.

use std::borrow::Cow;

/// Longest line, and longest continued line, in bytes (`LONG_LINE_MAX`, src/basic/fileio.h). A line must be shorter.
pub const LINE_MAX: usize = 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the service manager takes for blank (`WHITESPACE`, src/basic/string-util.h).
pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// `text` without the blanks on both sides.
pub fn strip(text: &[u8]) -> &[u8] {
    let Some(start) = text.iter().position(|byte| !is_blank(*byte)) else { return &[] };
    let end = text.iter().rposition(|byte| !is_blank(*byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// What a logical line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// `[Section]`, without the brackets. Blanks inside belong to the name.
    Section(Cow<'a, [u8]>),
    /// `Key=value`, both stripped. The value is unquoted, unescaped and split by the key's own rules.
    Assignment {
        /// Left of the first `=`; may be empty only where blanks stood there.
        key: Cow<'a, [u8]>,
        /// Right of it. Empty where the key is to be reset.
        value: Cow<'a, [u8]>,
    },
}

/// A logical line and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Number of the first physical line, from 1. (The service manager's own messages name the last one.)
    pub number: u32,
    /// What it says.
    pub item: Item<'a>,
}

/// Why the service manager stops reading a file. What stands before is in force in a drop-in; a unit file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line, or a continued line, of [`LINE_MAX`] bytes or more.
    #[error("line {line} is too long")]
    LineTooLong {
        /// The line on which the reader stopped.
        line: u32,
    },
    /// Outside of comments only UTF-8 is taken.
    #[error("line {line} is not UTF-8")]
    NotUtf8 {
        /// The line on which the reader stopped.
        line: u32,
    },
    /// `[` without `]` at the line's end, or control characters, quotes or a backslash between them.
    #[error("line {line} is not a section header")]
    BadSection {
        /// The line on which the reader stopped.
        line: u32,
    },
}

/// A logical line with its number.
type Numbered<'a> = (u32, Cow<'a, [u8]>);

/// The logical lines of a file: `Err` at most once, and then nothing follows.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    line: u32,
    bom_seen: bool,
    garbage: u32,
    stopped: bool,
}

impl<'a> Reader<'a> {
    /// Reads `text`, a whole file.
    pub fn new(text: &'a [u8]) -> Self {
        Self { rest: text, line: 0, bom_seen: false, garbage: 0, stopped: false }
    }

    /// How many lines so far were passed over because they are neither empty, comment, section nor assignment.
    pub fn garbage(&self) -> u32 {
        self.garbage
    }

    /// The next physical line without its end, which is one of `\n`, `\r`, `\0`, and what combines with them.
    fn physical(&mut self) -> Option<Result<&'a [u8], Fault>> {
        if self.rest.is_empty() {
            return None;
        }
        self.line = self.line.saturating_add(1);
        let length = self.rest.iter().position(|byte| end_of_line(*byte) != 0).unwrap_or(self.rest.len());
        if length >= LINE_MAX {
            return Some(Err(Fault::LineTooLong { line: self.line }));
        }
        let (text, mut rest) = self.rest.split_at(length);
        let mut seen = 0;
        while let Some((first, after)) = rest.split_first() {
            let kind = end_of_line(*first);
            // Each kind once, nothing after a NUL.
            if kind == 0 || seen & (kind | END_NUL) != 0 {
                break;
            }
            seen |= kind;
            rest = after;
        }
        self.rest = rest;
        Some(Ok(text))
    }

    /// The next line with its continuations, comments between them left out, and its number.
    fn logical(&mut self) -> Option<Result<Numbered<'a>, Fault>> {
        let mut joined: Option<(u32, Vec<u8>)> = None;
        loop {
            let text = match self.physical() {
                None => return joined.map(|(line, text)| Ok((line, Cow::Owned(text)))),
                Some(Err(fault)) => return Some(Err(fault)),
                Some(Ok(text)) => text,
            };
            if text.iter().find(|byte| !is_blank(**byte)).is_some_and(|byte| b"#;".contains(byte)) {
                continue;
            }
            let text = match text.strip_prefix(BYTE_ORDER_MARK) {
                Some(after) if !self.bom_seen => {
                    self.bom_seen = true;
                    after
                }
                _ => text,
            };
            let continues = text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
            let kept = &text[..text.len() - usize::from(continues)];
            match &mut joined {
                None if !continues => return Some(Ok((self.line, Cow::Borrowed(text)))),
                None => {
                    let mut buffer = kept.to_vec();
                    buffer.push(b' ');
                    joined = Some((self.line, buffer));
                }
                Some((_, buffer)) if buffer.len() + text.len() > LINE_MAX => {
                    return Some(Err(Fault::LineTooLong { line: self.line }));
                }
                Some((_, buffer)) => {
                    buffer.extend_from_slice(kept);
                    if !continues {
                        return joined.map(|(line, text)| Ok((line, Cow::Owned(text))));
                    }
                    buffer.push(b' ');
                }
            }
        }
    }

    /// What a logical line says; `None` where it is passed over.
    fn item(&mut self, number: u32, text: Cow<'a, [u8]>) -> Result<Option<Line<'a>>, Fault> {
        let text = part(text, strip);
        if text.is_empty() {
            return Ok(None);
        }
        if !is_utf8(&text) {
            return Err(Fault::NotUtf8 { line: number });
        }
        if text[0] == b'[' {
            if text.len() < 2 || text[text.len() - 1] != b']' {
                return Err(Fault::BadSection { line: number });
            }
            let name = part(text, |text| &text[1..text.len() - 1]);
            // `string_is_safe`, src/basic/string-util.c.
            if name.iter().any(|byte| byte.is_ascii_control() || b"\"'\\".contains(byte)) {
                return Err(Fault::BadSection { line: number });
            }
            return Ok(Some(Line { number, item: Item::Section(name) }));
        }
        match text.iter().position(|byte| *byte == b'=') {
            None | Some(0) => {
                self.garbage = self.garbage.saturating_add(1);
                Ok(None)
            }
            Some(at) => {
                let key = part(text.clone(), |text| strip(&text[..at]));
                let value = part(text, |text| strip(&text[at + 1..]));
                Ok(Some(Line { number, item: Item::Assignment { key, value } }))
            }
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Line<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.stopped {
            let line = match self.logical()? {
                Ok((number, text)) => self.item(number, text),
                Err(fault) => Err(fault),
            };
            match line {
                Ok(None) => {}
                Ok(Some(line)) => return Some(Ok(line)),
                Err(fault) => {
                    self.stopped = true;
                    return Some(Err(fault));
                }
            }
        }
        None
    }
}

const END_NUL: u8 = 1;

/// Which kind of line end a byte is; 0 for none.
fn end_of_line(byte: u8) -> u8 {
    match byte {
        0 => END_NUL,
        b'\n' => 2,
        b'\r' => 4,
        _ => 0,
    }
}

/// A part of `text`, borrowed where `text` is.
fn part(text: Cow<'_, [u8]>, take: impl Fn(&[u8]) -> &[u8]) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(take(text)),
        Cow::Owned(text) => Cow::Owned(take(&text).to_vec()),
    }
}

/// UTF-8 without the code points that Unicode keeps for no character (`utf8_is_valid` and `unichar_is_valid`,
/// src/basic/utf8.c).
pub fn is_utf8(text: &[u8]) -> bool {
    let noncharacter = |c: char| matches!(c as u32, 0xFDD0..=0xFDEF) || c as u32 & 0xFFFE == 0xFFFE;
    std::str::from_utf8(text).is_ok_and(|text| text.is_ascii() || !text.chars().any(noncharacter))
}

#[cfg(test)]
#[path = "syntax_tests.rs"]
mod tests;
