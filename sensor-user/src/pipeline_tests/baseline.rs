//! What changed while nobody watched, and what was told to be expected.

use super::*;
use crate::detect::rule::Severity;
use crate::event::approval::{Approval, Approvals, Source, When};
use crate::event::baseline::{Baseline, Because, Change, Compared, Difference, Oddity, Proof};

const STATE: u32 = 97;
const EVIL: &str = "[Service]\nExecStart=/tmp/x\n";
/// SHA-256 of `EVIL`, by sha256sum(1).
const EVIL_SHA256: &str = "960cc5dab7d3973756db7047d6360341862d5398bba24ef98c59a38af18097ce";

fn away() -> Because {
    Because::Away {
        since_ns: OFFSET_NS,
        until_ns: OFFSET_NS + 3_600_000_000_000,
        clean: false,
        rebooted: true,
    }
}

fn difference(change: Change, proof: Proof) -> Difference {
    Difference {
        because: away(),
        change,
        kind: "unit".to_owned(),
        name: "x.service".to_owned(),
        path: b"/etc/systemd/system/x.service".to_vec(),
        mode: 0o100_644,
        proof,
        details: vec!["its mode was 600, and is 644".to_owned()],
        signals: vec![Oddity { slug: "place.tmp".into(), points: 15, text: "it runs from /tmp".into() }],
        ..Difference::default()
    }
}

fn told(machine: &mut Machine, told: &Baseline) -> Alert {
    machine.out.clear();
    machine.user(kind::BASELINE, told);
    assert_eq!(machine.out.len(), 1, "{:?}", machine.out);
    machine.out.remove(0)
}

#[test]
fn what_changed_unwatched_is_weighed_by_its_proof() {
    let package = || "nginx 1.22".to_owned();
    let cases = [
        (Change::Added, Proof::Unowned, "baseline.added-unseen", Severity::High),
        (Change::Added, Proof::Proved { package: package() }, "baseline.added-unseen", Severity::Info),
        (Change::Changed, Proof::Modified { package: package() }, "baseline.changed-unseen", Severity::High),
        (Change::Changed, Proof::Proved { package: package() }, "baseline.changed-unseen", Severity::Info),
        (
            Change::Changed,
            Proof::Configuration { package: package() },
            "baseline.changed-unseen",
            Severity::Medium,
        ),
        (Change::Removed, Proof::Unowned, "baseline.removed-unseen", Severity::Low),
    ];
    for (change, proof, rule, severity) in cases {
        let mut machine = Machine::new();
        let alert = told(&mut machine, &Baseline::Difference(Box::new(difference(change, proof.clone()))));
        assert_eq!((alert.rule.id, alert.severity), (rule, severity), "{proof:?}: {:?}", alert.reasons);
        assert!(
            alert.summary.contains("between 2023-11-14T22:13:20Z and 2023-11-14T23:13:20Z"),
            "{}",
            alert.summary
        );
        assert_eq!(alert.file.unwrap().path, "/etc/systemd/system/x.service");
        assert_eq!(alert.unit.unwrap().name, "x.service");
        assert!(alert.reasons.iter().any(|reason| reason.text.contains("mode was 600")));
    }
}

#[test]
fn the_blind_window_and_the_first_baseline_are_stated() {
    let mut machine = Machine::new();
    let compared = Compared {
        because: away(),
        entries: 900,
        unproved: 3,
        differences: 700,
        told: 512,
        seal: "ab".to_owned(),
        ..Compared::default()
    };
    let alert = told(&mut machine, &Baseline::Compared(compared.clone()));
    assert_eq!((alert.rule.id, alert.severity), ("baseline.compared", Severity::Info));
    assert!(alert.summary.ends_with("700 things that start by themselves are another"), "{}", alert.summary);
    let has = |alert: &Alert, text: &str| alert.reasons.iter().any(|reason| reason.text.contains(text));
    assert!(has(&alert, "killed, or crashed") && has(&alert, "188 of them") && has(&alert, "seal is ab"));
    let mut machine = Machine::new();
    let alert = told(&mut machine, &Baseline::Begun(Compared { because: Because::First, ..compared }));
    assert_eq!((alert.rule.id, alert.severity), ("baseline.begun", Severity::Info));
    assert!(alert.summary.contains("900 entries, 3 of them of no package") && has(&alert, "svcsensor scan"));
    let edited = told(&mut machine, &Baseline::Tampered { how: "x\u{202e}".to_owned() });
    assert_eq!((edited.rule.id, edited.severity), ("baseline.tampered", Severity::High));
    assert!(!edited.summary.contains('\u{202e}'), "nothing turns the direction of writing");
    let lost = told(&mut machine, &Baseline::Unavailable { why: "full".to_owned() });
    assert_eq!(lost.rule.id, "baseline.lost");
}

fn state(machine: &mut Machine) {
    let path = "/var/lib/svcsensor".to_owned();
    machine
        .user(kind::WATCH, &Watch { watch: STATE, path, class: Some(WatchClass::SensorState), owner: None });
}

#[test]
fn only_the_sensor_itself_writes_its_state_unnoticed() {
    let mut machine = Machine::new();
    state(&mut machine);
    machine.user(kind::BASELINE, &Baseline::Sensor { pid: 900 });
    for (pid, alerts) in [(900, 0), (SHELL, 1)] {
        machine.out.clear();
        let task = task(pid, PID1);
        let object = FileIdentity { inode: 9, mode: 0o100_600, ..FileIdentity::default() };
        for number in [kind::FILE_OPEN_WRITE, kind::FILE_CLOSE_WRITE] {
            let now = machine.now;
            let record = FileRecordBuilder::new(number, now, task)
                .path(STATE, SUBTREE, b"inventory.sqlite")
                .object(object)
                .build();
            machine.feed(record);
        }
        machine.now += SECOND;
        let tick = encode_tick(machine.now).to_vec();
        machine.feed(tick);
        assert_eq!(machine.out.len(), alerts, "{:?}", machine.out);
    }
    assert_eq!(machine.out[0].rule.id, "sensor.state.written");
}

/// A unit is written as `evil.service`.
fn write_unit(machine: &mut Machine, mapped: bool) -> Alert {
    machine.out.clear();
    let path = "/etc/systemd/system/evil.service";
    let regular = Regular {
        inode: 8,
        mode: 0o100_644,
        size: EVIL.len() as u64,
        content: EVIL.into(),
        ..Regular::default()
    };
    machine.files.insert(path.into(), Found::Regular(regular));
    let object = FileIdentity { inode: 8, mode: 0o100_644, ..FileIdentity::default() };
    let mapping = mapped.then_some(kind::FILE_MMAP_WRITE);
    for number in [Some(kind::FILE_OPEN_WRITE), mapping, Some(kind::FILE_CLOSE_WRITE)].into_iter().flatten() {
        let now = machine.now;
        let record = FileRecordBuilder::new(number, now, shell())
            .path(SYSTEM, SUBTREE, b"evil.service")
            .object(object)
            .build();
        machine.feed(record);
    }
    machine.now += 20 * SECOND;
    let tick = encode_tick(machine.now).to_vec();
    machine.feed(tick);
    assert_eq!(machine.out.len(), 1, "{:?}", machine.out);
    machine.out.remove(0)
}

fn approved(when: When, expires_ns: Option<i64>) -> Machine {
    let mut machine = Machine::new();
    let approval = Approval {
        name: "app".to_owned(),
        source: Source::Exception,
        by: Some("anna".to_owned()),
        reason: "release 7".to_owned(),
        expires_ns,
        when,
    };
    machine.user(kind::APPROVALS, &Approvals { approvals: vec![approval] });
    machine
}

fn content() -> When {
    When {
        unit: Some("evil.service".to_owned()),
        sha256: Some(EVIL_SHA256.to_uppercase()),
        ..When::default()
    }
}

#[test]
fn an_approved_content_is_kept_as_info_and_counted() {
    let mut machine = approved(content(), None);
    let alert = write_unit(&mut machine, false);
    assert_eq!((alert.rule.id, alert.severity, alert.score), ("systemd.unit.written", Severity::Info, 10));
    let approval = alert.approved.as_deref().unwrap();
    assert_eq!((approval.name.as_str(), approval.by.as_deref()), ("app", Some("anna")));
    assert!(alert.reasons.iter().any(|reason| reason.text == "excepted as app by anna: release 7"));
    assert_eq!(machine.pipeline.approvals_matched()["app"], 1);
}

#[test]
fn what_was_not_approved_is_told_as_ever() {
    let by_path = |path: &str| When { path: Some(path.to_owned()), ..When::default() };
    let loud = [
        ("another content", When { sha256: Some("a".repeat(64)), ..content() }, None, false),
        ("another unit", When { unit: Some("x.service".to_owned()), ..content() }, None, false),
        ("expired", content(), Some(OFFSET_NS), false),
        ("mapped for writing", content(), None, true),
        ("another rule", When { rule: Some("systemd.unit.enabled".to_owned()), ..content() }, None, false),
        ("another program", When { exe: Some("/usr/bin/dpkg".to_owned()), ..content() }, None, false),
        ("nothing said", When::default(), None, false),
        ("no such directory", by_path("/etc/*/evil.service"), None, false),
        ("a pattern that makes no sense", by_path("/etc/***"), None, false),
    ];
    for (why, when, expires, mapped) in loud {
        let mut machine = approved(when, expires);
        let alert = write_unit(&mut machine, mapped);
        assert!(alert.severity >= Severity::High && alert.approved.is_none(), "{why}: {:?}", alert.reasons);
    }
    let quiet = [
        (by_path("/etc/systemd/*/evil.service"), None),
        (by_path("/etc/**/evil.service"), None),
        (content(), Some(OFFSET_NS + 3_600_000_000_000)),
        (When { exe: Some("/usr/bin/bash".to_owned()), ..content() }, None),
    ];
    for (when, expires) in quiet {
        let mut machine = approved(when.clone(), expires);
        assert!(write_unit(&mut machine, false).approved.is_some(), "{when:?}");
    }
}

#[test]
fn what_is_revoked_is_loud_again() {
    let mut machine = approved(content(), None);
    assert!(write_unit(&mut machine, false).approved.is_some());
    machine.user(kind::APPROVALS, &Approvals::default());
    machine.now += 20 * SECOND;
    assert!(write_unit(&mut machine, false).approved.is_none());
}
