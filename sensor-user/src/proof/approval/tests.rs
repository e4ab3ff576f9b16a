use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;
use crate::event::approval::{Source, When};

const DAY_NS: i64 = 86_400_000_000_000;

fn approval(name: &str) -> Approval {
    Approval {
        name: name.to_owned(),
        source: Source::Command,
        by: Some("anna".to_owned()),
        reason: "deploy".to_owned(),
        expires_ns: Some(7),
        when: When { unit: Some("a.service".to_owned()), sha256: Some("a".repeat(64)), ..When::default() },
    }
}

#[test]
fn what_is_written_is_read_until_it_is_revoked() {
    let state = tempfile::tempdir().unwrap();
    let path = write(state.path(), &approval("1")).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(write(state.path(), &approval("1")).is_err(), "an approval is not replaced");
    write(state.path(), &approval("2")).unwrap();
    assert_eq!(
        load_directory(state.path()),
        Loaded { approvals: vec![approval("1"), approval("2")], problems: Vec::new() }
    );
    revoke(state.path(), "1").unwrap();
    for wrong in ["1", "../approvals.d/2", "", ".2.new"] {
        assert!(revoke(state.path(), wrong).is_err(), "{wrong}");
    }
    assert_eq!(load_directory(state.path()).approvals, [approval("2")]);
}

#[test]
fn what_others_can_write_approves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let path = write(state.path(), &approval("open")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let directory = path.parent().unwrap();
    std::os::unix::fs::symlink("/etc/hostname", directory.join("link.json")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        directory.join("fifo.json"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    std::fs::write(directory.join("long.json"), vec![b' '; FILE_MAX as usize + 1]).unwrap();
    std::fs::write(directory.join("none.json"), "{}").unwrap();
    std::fs::write(directory.join("ignored.txt"), "x").unwrap();
    let loaded = load_directory(state.path());
    assert_eq!((loaded.approvals, loaded.problems.len()), (Vec::new(), 5), "{:?}", loaded.problems);
}

#[test]
fn approvals_that_make_no_sense_are_refused() {
    type Change = fn(&mut Approval);
    let changes: [(&str, Change); 6] = [
        ("of nothing", |one| one.when = When::default()),
        ("reason", |one| one.reason = " ".to_owned()),
        ("begin with /", |one| one.when.path = Some("etc".to_owned())),
        ("makes no sense", |one| one.when.path = Some("/etc/***".to_owned())),
        ("hexadecimal", |one| one.when.sha256 = Some("a".repeat(63))),
        ("no rule", |one| one.when.rule = Some("no.such".to_owned())),
    ];
    assert_eq!(check(&approval("x")), Ok(()));
    for (problem, change) in changes {
        let mut wrong = approval("x");
        change(&mut wrong);
        assert!(check(&wrong).unwrap_err().contains(problem), "{problem}");
    }
}

#[test]
fn moments_as_people_write_them() {
    assert_eq!(moment("1970-01-02", None), Ok(2 * DAY_NS), "until the day's end");
    assert_eq!(moment("1970-01-02T00:00:00Z", None), Ok(DAY_NS));
    assert_eq!(moment("1d", Some(1)), Ok(DAY_NS + 1));
    assert_eq!(moment("90m", Some(0)), Ok(90 * 60 * 1_000_000_000));
    for wrong in ["", "d", "1", "1w", "-1d", "tomorrow", "1970-13-01", "9999999999d", "ü"] {
        assert!(moment(wrong, Some(0)).is_err(), "{wrong}");
    }
    assert!(moment("1d", None).is_err(), "a file says no time from now on");
    assert_eq!(shown(DAY_NS), "1970-01-02T00:00:00Z");
}

#[test]
fn without_a_key_or_a_signature_a_file_approves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[[approval]]\nreason = 'x'\npermanent = true\nunit = 'a.service'\n";
    std::fs::write(directory.path().join("a.toml"), text).unwrap();
    let none = load_signed(directory.path(), &Keys::default());
    assert!(none.approvals.is_empty() && none.problems[0].contains("no key"), "{none:?}");
    // The public key of minisign-verify's own documentation.
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".to_owned();
    let keys = Keys::parse(std::slice::from_ref(&key)).unwrap();
    let unsigned = load_signed(directory.path(), &keys);
    assert!(unsigned.approvals.is_empty() && unsigned.problems[0].contains("minisig"), "{unsigned:?}");
    let foreign = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n";
    std::fs::write(directory.path().join("a.toml.minisig"), foreign).unwrap();
    let signed = load_signed(directory.path(), &keys);
    assert!(signed.approvals.is_empty() && signed.problems[0].contains("none of the"), "{signed:?}");
    assert_eq!(Keys::parse(&[key, "x".to_owned()]).unwrap_err().0, 1);
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in "\\PC{0,40}", digits in "[0-9]{0,30}[mhd]?") {
        let _any = (moment(&text, Some(1)), moment(&digits, Some(i64::MAX - 5)));
    }
}
