//! Strings of others, made safe and unambiguous to show.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One shell command line out of arguments, such that no two argument lists give the same line.
///
/// An argument of only `A-Z a-z 0-9 _ @ % + = : , . / -` stands as it is; any other is put in single quotes, a
/// single quote in it written as `'\''` (POSIX.1-2017, XCU 2.2.2). The `shlex` crate would quote
/// `--restart=always` too, which makes the most interesting lines the hardest to read and to search for.
#[must_use]
pub fn command_line<S: AsRef<str>>(args: &[S]) -> String {
    let mut line = String::with_capacity(args.iter().map(|arg| arg.as_ref().len() + 3).sum());
    for arg in args {
        let arg = arg.as_ref();
        if !line.is_empty() {
            line.push(' ');
        }
        if !arg.is_empty() && arg.bytes().all(is_plain) {
            line.push_str(arg);
        } else {
            line.push('\'');
            line.push_str(&arg.replace('\'', r"'\''"));
            line.push('\'');
        }
    }
    line
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte)
}

/// `text` without anything by which it could steer a terminal or look like other text: control characters (C0,
/// DEL, C1) become `\x1b`, invisible and direction-changing ones `\u{202e}`.
///
/// The latter are those of Unicode's `Bidi_Control` and the common members of `Default_Ignorable_Code_Point`
/// (Unicode Character Database, PropList.txt and DerivedCoreProperties.txt), and the line and paragraph separators.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if !is_deceptive(character) {
            safe.push(character);
        } else if (character as u32) < 0x100 {
            let _ = write!(safe, "\\x{:02x}", character as u32);
        } else {
            let _ = write!(safe, "\\u{{{:x}}}", character as u32);
        }
    }
    Cow::Owned(safe)
}

/// Whether a character could steer a terminal or hide.
pub(super) fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The longest prefix of `text` that has at most `limit` bytes and ends between characters.
#[must_use]
pub fn prefix(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_arguments_stand_as_they_are() {
        assert_eq!(
            command_line(&["docker", "run", "--restart=always", "a/b:1"]),
            "docker run --restart=always a/b:1"
        );
    }

    #[test]
    fn other_arguments_are_quoted() {
        assert_eq!(command_line(&["sh", "-c", "echo 'hi' > /x", ""]), r"sh -c 'echo '\''hi'\'' > /x' ''");
        assert_eq!(command_line(&["a b"]), "'a b'");
        assert_eq!(command_line(&["~root", "$x", "é"]), "'~root' '$x' 'é'");
        assert_eq!(command_line::<&str>(&[]), "");
    }

    #[test]
    fn a_shell_reads_back_the_same_arguments() {
        let args =
            ["printf", "%s|", "a b", "it's", "", "new\nline", "\"$(id)\"", "\\", "*", "#x", "~", "{a,b}"];
        let output = std::process::Command::new("sh").arg("-c").arg(command_line(&args)).output().unwrap();
        let expected = args[2..].join("|") + "|";
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }

    #[test]
    fn terminal_control_is_spelled_out() {
        assert_eq!(
            printable("a\x1b[31mred\x07\r\n\tb\u{9b}c\x7f"),
            r"a\x1b[31mred\x07\x0d\x0a\x09b\x9bc\x7f"
        );
        assert_eq!(
            printable("gpj.\u{202e}exe\u{2066}\u{200b}\u{feff}"),
            r"gpj.\u{202e}exe\u{2066}\u{200b}\u{feff}"
        );
        assert!(matches!(printable("/etc/größe.service"), Cow::Borrowed(_)));
    }

    #[test]
    fn prefixes_end_between_characters() {
        assert_eq!(prefix("größe", 3), "gr");
        assert_eq!(prefix("größe", 4), "grö");
        assert_eq!(prefix("größe", 99), "größe");
        assert_eq!(prefix("€", 2), "");
    }
}
