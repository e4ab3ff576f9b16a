use proptest::prelude::*;

use super::*;

/// One word per item: `[section]`, `line:key=value`, `!fault`.
fn read(text: &[u8]) -> Vec<String> {
    Reader::new(text)
        .map(|line| match line {
            Ok(Line { item: Item::Section(name), .. }) => format!("[{}]", String::from_utf8_lossy(&name)),
            Ok(Line { number, item: Item::Assignment { key, value } }) => {
                format!("{number}:{}={}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value))
            }
            Err(fault) => format!("!{fault}"),
        })
        .collect()
}

#[test]
fn an_ordinary_unit() {
    assert_eq!(
        read(b"# comment\n; another\n[Unit]\nDescription = a b \n\n[Service]\n\tExecStart=/bin/x # no comment\n"),
        ["[Unit]", "4:Description=a b", "[Service]", "7:ExecStart=/bin/x # no comment"]
    );
}

#[test]
fn continuations_join_with_a_blank_and_pass_over_comments() {
    assert_eq!(
        read(b"[S]\nA=a \\\n# x \\\n  ; y\n b \\\n\nB=c\\\\\nC=1\\\n\\\n2\nD=end\\"),
        ["[S]", "2:A=a   b", "7:B=c\\\\", "8:C=1  2", "11:D=end"]
    );
    // A blank line ends one; what follows is its own.
    assert_eq!(read(b"A=a\\\n\nB=b"), ["1:A=a", "3:B=b"]);
    // So do the end of the file and a line that is only the continuation's.
    assert_eq!(read(b"[Service]\\\n\nExecStart=/x"), ["[Service]", "3:ExecStart=/x"]);
}

#[test]
fn carriage_returns_and_nuls_end_lines() {
    assert_eq!(
        read(b"A=1\r\nB=2\rC=3\0D=4\n\rE=5\r\n\0F=6"),
        ["1:A=1", "2:B=2", "3:C=3", "4:D=4", "5:E=5", "6:F=6"]
    );
    assert_eq!(read(b"# a comment\rExecStart=/tmp/x"), ["2:ExecStart=/tmp/x"]);
    assert_eq!(read(b"\0\nA=1"), ["3:A=1"], "nothing belongs to a NUL's line end");
}

#[test]
fn a_byte_order_mark_is_taken_off_once() {
    assert_eq!(read(b"\xef\xbb\xbf[Unit]\nA=1"), ["[Unit]", "2:A=1"]);
    assert_eq!(read(b"\n\xef\xbb\xbfA=1\n\xef\xbb\xbfB=2"), ["2:A=1", "3:\u{feff}B=2"]);
}

#[test]
fn garbage_is_passed_over_and_counted() {
    let mut reader = Reader::new(b"hello\n=x\nA=1\n== =\n.include /x\nb = =c=d");
    let lines: Vec<_> = reader.by_ref().collect::<Result<_, _>>().unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(reader.garbage(), 4);
    assert_eq!(read(b"b = =c=d"), ["1:b==c=d"]);
}

#[test]
fn a_bad_line_ends_the_file() {
    assert_eq!(read(b"A=1\n[Unit\nB=2"), ["1:A=1", "!line 2 is not a section header"]);
    assert_eq!(read(b"[\nB=2"), ["!line 1 is not a section header"]);
    assert_eq!(read(b"[a\"b]\nB=2"), ["!line 1 is not a section header"]);
    assert_eq!(read(b"[]\nB=2"), ["[]", "2:B=2"]);
    assert_eq!(read(b"A=1\nX=\xff\nB=2"), ["1:A=1", "!line 2 is not UTF-8"]);
    assert_eq!(read(b"# \xff\nB=2"), ["2:B=2"], "comments are not looked at");
    assert_eq!(read("X=\u{fdd0}".as_bytes()), ["!line 1 is not UTF-8"]);
    assert_eq!(read("X=\u{1fffe}".as_bytes()), ["!line 1 is not UTF-8"]);
    assert_eq!(read("X=\u{1f980}".as_bytes()), ["1:X=\u{1f980}"]);
}

#[test]
fn lines_are_bounded() {
    let line = |length: usize| [b"A=".to_vec(), vec![b'x'; length - 2]].concat();
    assert_eq!(Reader::new(&line(LINE_MAX - 1)).flatten().count(), 1);
    let refused = Err(Fault::LineTooLong { line: 1 });
    assert_eq!(Reader::new(&line(LINE_MAX)).next(), Some(refused.clone()));
    let continued = [line(LINE_MAX / 2), b"\\\n".to_vec(), line(LINE_MAX / 2), b"\\\n".to_vec()].concat();
    assert_eq!(Reader::new(&continued).next(), Some(Err(Fault::LineTooLong { line: 2 })));
    // A comment of that length is too long as well.
    assert_eq!(Reader::new(&vec![b'#'; LINE_MAX]).next(), Some(refused));
}

proptest! {
    #[test]
    fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Reader::new(&text).count() <= text.len() + 1);
    }

    #[test]
    fn marks_in_any_order(text in "[\\[\\]=;#\\\\ ab\n\r\0\u{feff}]{0,60}") {
        for line in Reader::new(text.as_bytes()).flatten() {
            prop_assert!(line.number >= 1 && line.number as usize <= text.len() + 1);
        }
    }

    /// What is written in any of the forms is read back.
    #[test]
    fn assignments_survive(
        pairs in proptest::collection::vec(("[A-Za-z]{1,8}", "[A-Za-z0-9\"'/%$][ -Z^-~]{0,20}[!-Z^-~]"), 1..8),
        ends in proptest::collection::vec(0..5usize, 8),
    ) {
        let mut text = Vec::new();
        for ((key, value), end) in pairs.iter().zip(&ends) {
            text.extend_from_slice(format!(" {key} =\\\n# between\n {value}\t").as_bytes());
            text.extend_from_slice([&b"\n"[..], b"\r\n", b"\r", b"\0", b"\n\n"][*end]);
        }
        let found: Vec<_> = Reader::new(&text).map(Result::unwrap).map(|line| line.item).collect();
        let expected: Vec<_> = pairs.iter().map(|(key, value)| Item::Assignment {
            key: Cow::Borrowed(key.as_bytes()),
            value: Cow::Borrowed(value.as_bytes()),
        }).collect();
        prop_assert_eq!(found, expected);
    }
}
