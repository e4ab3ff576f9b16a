//! Values split into words: quotes, backslashes and separators as the service manager takes them
//! (`extract_first_word`, src/basic/extract-word.c; `cunescape_one`, src/basic/escape.c; systemd.syntax(7)).

use super::syntax::is_blank;

/// What is done about backslashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escapes {
    /// C escapes are decoded; an unknown one is an error (`EXTRACT_CUNESCAPE`).
    C,
    /// C escapes are decoded, unknown ones stay (`EXTRACT_CUNESCAPE | EXTRACT_UNESCAPE_RELAX`).
    Relaxed,
    /// Backslashes stay (`EXTRACT_RETAIN_ESCAPE`).
    Kept,
    /// A backslash makes the next byte literal (no flag).
    Literal,
}

/// How a value is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `"` and `'` group words and are taken off (`EXTRACT_UNQUOTE`).
    pub quotes: bool,
    /// What is done about backslashes.
    pub escapes: Escapes,
    /// Quotes that are not closed end with the value (`EXTRACT_RELAX`).
    pub open_quotes: bool,
}

impl Rules {
    /// Of command lines and environments.
    pub const COMMAND: Self = Self { quotes: true, escapes: Escapes::C, open_quotes: false };
    /// Of paths and names of variables.
    pub const PATHS: Self = Self { quotes: true, escapes: Escapes::Literal, open_quotes: false };
    /// Of dependencies on other units.
    pub const UNITS: Self = Self { quotes: false, escapes: Escapes::Kept, open_quotes: false };
    /// Of \[Install\].
    pub const INSTALL: Self = Self { quotes: true, escapes: Escapes::Kept, open_quotes: false };
    /// Of a variable's value that stands for several arguments.
    pub const VARIABLE: Self = Self { quotes: true, escapes: Escapes::Literal, open_quotes: true };
}

/// Quotes that are not closed, a backslash at the end, or an unknown escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unbalanced quotes or an unknown escape")]
pub struct Unbalanced;

/// Takes the next word off `rest`; `None` at the end. On error `rest` is as it was.
///
/// # Errors
/// [`Unbalanced`].
pub fn word(rest: &mut &[u8], rules: Rules) -> Result<Option<Vec<u8>>, Unbalanced> {
    let mut text = skip_blanks(rest);
    if text.is_empty() {
        *rest = text;
        return Ok(None);
    }
    let mut out = Vec::new();
    let mut quote = None;
    while let Some((byte, after)) = text.split_first() {
        text = after;
        match (*byte, quote) {
            (b'\\', _) if rules.escapes != Escapes::Kept => {
                text = escaped(text, quote.is_some(), rules, &mut out)?;
            }
            (byte, Some(open)) if byte == open => quote = None,
            (b'"' | b'\'', None) if rules.quotes => quote = Some(*byte),
            (byte, None) if is_blank(byte) => {
                *rest = skip_blanks(text);
                return Ok(Some(out));
            }
            (byte, _) => out.push(byte),
        }
    }
    if quote.is_some() && !rules.open_quotes {
        return Err(Unbalanced);
    }
    *rest = text;
    Ok(Some(out))
}

/// Like [`word`], and once more with unknown escapes kept where that fails, as is done for command lines
/// (`extract_first_word_and_warn`).
///
/// # Errors
/// [`Unbalanced`] quotes.
pub fn lenient_word(rest: &mut &[u8], rules: Rules) -> Result<Option<Vec<u8>>, Unbalanced> {
    word(rest, rules).or_else(|_| word(rest, Rules { escapes: Escapes::Relaxed, ..rules }))
}

/// All words, up to an error or to `limit` of them; whether that was all.
pub fn words(value: &[u8], rules: Rules, limit: usize) -> (Vec<Vec<u8>>, bool) {
    let mut rest = value;
    let mut found = Vec::new();
    while found.len() < limit {
        match word(&mut rest, rules) {
            Ok(Some(word)) => found.push(word),
            Ok(None) => return (found, true),
            Err(Unbalanced) => return (found, false),
        }
    }
    (found, rest.is_empty())
}

/// `text` from its first byte that is no blank.
pub fn skip_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len())..]
}

/// What follows a backslash; gives the rest.
fn escaped<'a>(
    text: &'a [u8],
    quoted: bool,
    rules: Rules,
    out: &mut Vec<u8>,
) -> Result<&'a [u8], Unbalanced> {
    let relaxed = rules.escapes == Escapes::Relaxed;
    let Some((byte, after)) = text.split_first() else {
        return if relaxed && (!quoted || rules.open_quotes) {
            out.push(b'\\');
            Ok(text)
        } else if rules.open_quotes {
            Ok(text)
        } else {
            Err(Unbalanced)
        };
    };
    if rules.escapes == Escapes::Literal {
        out.push(*byte);
        return Ok(after);
    }
    if let Some(length) = unescape_one(text, out) {
        return Ok(&text[length..]);
    }
    if !relaxed {
        return Err(Unbalanced);
    }
    out.extend_from_slice(&[b'\\', *byte]);
    Ok(after)
}

/// Decodes one C escape, its backslash taken off; how long it was.
fn unescape_one(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let number = |from: usize, digits: usize, radix: u32| {
        let digits = text.get(from..from + digits)?;
        digits
            .iter()
            .try_fold(0u32, |sum, digit| Some(sum.wrapping_mul(radix) + char::from(*digit).to_digit(radix)?))
    };
    let simple = match text.first()? {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b's' => b' ',
        byte @ (b'\\' | b'"' | b'\'') => *byte,
        b'x' => {
            out.push(number(1, 2, 16).filter(|code| *code != 0)? as u8);
            return Some(3);
        }
        b'0'..=b'7' => {
            out.push(number(0, 3, 8).filter(|code| (1..=255).contains(code))? as u8);
            return Some(3);
        }
        b'u' => {
            let code = number(1, 4, 16).filter(|code| *code != 0)?;
            encode(code, out);
            return Some(5);
        }
        b'U' => {
            let code = number(1, 8, 16).filter(|code| *code != 0)?;
            let unused = matches!(code, 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE;
            encode(char::from_u32(code).filter(|_| !unused)? as u32, out);
            return Some(9);
        }
        _ => return None,
    };
    out.push(simple);
    Some(1)
}

/// UTF-8, of surrogates as well: `\u` does not ask (`utf8_encode_unichar`, src/basic/utf8.c).
fn encode(code: u32, out: &mut Vec<u8>) {
    match char::from_u32(code) {
        Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend([0xe0 | code >> 12, 0x80 | code >> 6 & 0x3f, 0x80 | code & 0x3f].map(|b| b as u8)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(value: &str, rules: Rules) -> Result<Vec<String>, Unbalanced> {
        let mut rest = value.as_bytes();
        let mut found = Vec::new();
        while let Some(word) = word(&mut rest, rules)? {
            found.push(String::from_utf8_lossy(&word).into_owned());
        }
        Ok(found)
    }

    #[test]
    fn commands() {
        let split = |value| split(value, Rules::COMMAND).unwrap();
        assert_eq!(split(r#" a  "b c" 'd "e"' f"g h"i "#), ["a", "b c", "d \"e\"", "fg hi"]);
        assert_eq!(split(r#""" x ''"#), ["", "x", ""]);
        assert_eq!(split(r"\x2ftmp \057a \u00e9 \U0001F980 a\sb \t"), ["/tmp", "/a", "é", "🦀", "a b", "\t"]);
        assert_eq!(split(r#"a\"b \\ "a\nb""#), ["a\"b", "\\", "a\nb"]);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn what_is_refused() {
        for value in [r"\q", "\"a", "'a\\'", r"a\", r"\x00", r"\x2", r"\777", r"\000", r"\U0000fffe", r"\u12"]
        {
            assert_eq!(split(value, Rules::COMMAND), Err(Unbalanced), "{value}");
        }
        let mut rest = &br"\d+ x\"[..];
        assert_eq!(lenient_word(&mut rest, Rules::COMMAND), Ok(Some(b"\\d+".to_vec())));
        assert_eq!(lenient_word(&mut rest, Rules::COMMAND), Ok(Some(b"x\\".to_vec())));
        assert_eq!(lenient_word(&mut &b"'x\\"[..], Rules::COMMAND), Err(Unbalanced));
    }

    #[test]
    fn other_rules() {
        assert_eq!(split(r#"a\x2db "c d""#, Rules::UNITS).unwrap(), [r"a\x2db", "\"c", "d\""]);
        assert_eq!(split(r#"a\x2db "c d""#, Rules::INSTALL).unwrap(), [r"a\x2db", "c d"]);
        assert_eq!(split(r"/a\ b /c", Rules::PATHS).unwrap(), ["/a b", "/c"]);
        assert_eq!(split(r#"a "b c"#, Rules::VARIABLE).unwrap(), ["a", "b c"]);
        assert_eq!(words(b"a 'b", Rules::PATHS, 9), (vec![b"a".to_vec()], false));
        assert!(!words(b"a b c", Rules::PATHS, 2).1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_every_word_ends(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            for rules in [Rules::COMMAND, Rules::PATHS, Rules::UNITS, Rules::INSTALL, Rules::VARIABLE] {
                let (found, _) = words(&value, rules, usize::MAX);
                prop_assert!(found.len() <= value.len());
                let _ = lenient_word(&mut &value[..], rules);
            }
        }

        #[test]
        fn quoted_words_survive(list in proptest::collection::vec("[ -~é🦀\t]{0,12}", 0..6)) {
            let quoted: Vec<String> = list.iter()
                .map(|word| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")))
                .collect();
            prop_assert_eq!(split(&quoted.join(" "), Rules::COMMAND).unwrap(), list);
        }

        #[test]
        fn escaped_bytes_survive(bytes in proptest::collection::vec(1..=255u8, 1..20)) {
            let join = |words: Vec<String>| words.concat();
            let text = join(bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect());
            prop_assert_eq!(words(text.as_bytes(), Rules::COMMAND, 9), (vec![bytes.clone()], true));
            let text = join(bytes.iter().map(|byte| format!("\\{byte:03o}")).collect());
            prop_assert_eq!(words(text.as_bytes(), Rules::COMMAND, 9), (vec![bytes], true));
        }
    }
}
