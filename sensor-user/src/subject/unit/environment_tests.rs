use std::collections::BTreeMap;
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn say(content: &str) -> Vec<String> {
    let environment = Environment::new(content.as_bytes(), false);
    environment.variables().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

#[test]
fn assignments_are_read_as_the_service_manager_reads_them() {
    for (content, expected) in [
        ("A=1\n  B = two  words  \r\nC=", &["A=1", "B=two  words", "C="][..]),
        ("# A=1\n;B=1\n #C=1\nD#=1\nE=1 # no comment", &["E=1 # no comment"]),
        ("A='x y' z\nB=\"x\"'y'\nC=x\"y\"\nD='two\nlines'", &["A=x yz", "B=xy", "C=x\"y\"", "D=two\nlines"]),
        ("A=\"a\\nb\\\"\\\\\\$c\\\n d\"", &["A=a\\nb\"\\$c d"]),
        ("A=x\\\n y\nB=\\ x\\ \nC=x\\", &["A=x y", "B= x ", "C=x"]),
        ("A=1\nB=2\nA=3", &["A=3", "B=2"]),
        ("9A=1\nA-B=1\nexport C=1\n=1\nnothing\nD=1", &["D=1"]),
        ("# a comment \\\nA=1", &["A=1"]),
        ("A=\"open\nB=1", &["A=open\nB=1"]),
        ("A=1\0", &[]),
        ("", &[]),
    ] {
        assert_eq!(say(content), expected, "{content:?}");
    }
    assert_eq!(Environment::new(b"A=1\nB=\xff\n", false), Environment::default(), "not UTF-8: refused");
}

#[test]
fn patterns_mean_files_of_their_directory() {
    for (named, path, meant) in [
        ("/etc/x", "/etc/x", true),
        ("/etc/x", "/etc/y", false),
        ("/etc/x.d/*.env", "/etc/x.d/a.env", true),
        ("/etc/x.d/*", "/etc/x.d/.hidden", false),
        ("/etc/x.d/*", "/etc/x.d/a/b", false),
        ("/etc/[xy]?", "/etc/y1", true),
        ("/etc/[", "/etc/[", true),
        ("/etc/[", "/etc/x", false),
    ] {
        assert_eq!(is_meant(named.as_bytes(), path.as_bytes()), meant, "{named} {path}");
    }
}

/// systemd's own reader, in a program that prints what it has read (systemd-environment-d-generator(8)).
const ORACLE: &str = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator";

/// What the oracle makes of a file, where it can be asked.
fn oracle(content: &str) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    use super::super::words::{Rules, words};
    let home = tempfile::tempdir().ok()?;
    std::fs::create_dir(home.path().join("environment.d")).ok()?;
    std::fs::write(home.path().join("environment.d/x.conf"), content).ok()?;
    let output = Command::new(ORACLE).env_clear().env("XDG_CONFIG_HOME", home.path()).output().ok()?;
    let pair = |line: &[u8]| {
        let name = variable_name(line)?.to_vec();
        // It quotes with C escapes.
        let value = words(&line[name.len() + 1..], Rules::COMMAND, 1).0.pop().unwrap_or_default();
        Some((name, value))
    };
    Some(output.stdout.split(|byte| *byte == b'\n').filter_map(pair).collect())
}

#[test]
fn systemd_reads_the_same() {
    let Some(machines) = oracle("") else {
        return crate::test_support::skip("files of variables", &format!("{ORACLE} cannot be run"));
    };
    // Variables are expanded there, values that are empty refused, and comments went on behind a backslash once; the rest
    // is the same code.
    let part = "[ABC]{1,2}|=|=|[a-z]{1,3}| |\\t|\\n|\\n|'|\"|#|;|\\\\[a-z\"'\\\\ \\n]";
    let content = proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));
    runner
        .run(&content, |content| {
            let comment_goes_on =
                content.lines().any(|line| line.trim_start().starts_with(['#', ';']) && line.ends_with('\\'));
            let ours: BTreeMap<Vec<u8>, Vec<u8>> = Environment::new(content.as_bytes(), false)
                .variables()
                .map(|text| {
                    let name = variable_name(text).unwrap();
                    (name.to_vec(), text[name.len() + 1..].to_vec())
                })
                .collect();
            let empty = ours.values().any(Vec::is_empty);
            let mut theirs = oracle(&content).unwrap();
            theirs.retain(|name, value| machines.get(name) != Some(value));
            prop_assume!(!comment_goes_on && !empty);
            prop_assert_eq!(ours, theirs);
            Ok(())
        })
        .unwrap();
}

proptest! {
    #[test]
    fn no_bytes_panic_and_nothing_grows(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        let environment = Environment::new(&content, true);
        prop_assert!(environment.variables().map(<[u8]>::len).sum::<usize>() <= content.len() + 1);
        prop_assert!(environment.variables().all(|text| variable_name(text).is_some()));
    }

    #[test]
    fn quoted_values_survive(values in proptest::collection::vec("[ -~\n\té]{0,20}", 0..6)) {
        let line = |(number, value): (usize, &String)| {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('`', "\\`").replace('$', "\\$");
            format!("V{number}=\"{escaped}\"\n")
        };
        let content: String = values.iter().enumerate().map(line).collect();
        let expected: Vec<String> =
            values.iter().enumerate().map(|(number, value)| format!("V{number}={value}")).collect();
        prop_assert_eq!(say(&content), expected);
    }
}
