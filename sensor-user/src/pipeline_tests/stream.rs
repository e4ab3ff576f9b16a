//! The stream as a whole: repeats, loss, garbage, bounds, and the same alerts again.

use proptest::prelude::*;

use super::*;
use crate::detect::rule::Severity;
use crate::event::user::Loss;

#[test]
fn repeats_are_counted_and_told_at_the_windows_end() {
    let mut machine = Machine::new();
    for _ in 0..5 {
        machine.write(shell(), SYSTEM, "x.service");
    }
    assert_eq!(machine.one().collapsed, 0);
    let deadline = machine.pipeline.next_deadline().expect("repeats are due");
    machine.tick(deadline - machine.now);
    let alert = machine.one();
    assert_eq!(alert.collapsed, 3);
    assert!(alert.summary.ends_with("(and 3 more times)"), "{}", alert.summary);
    assert_eq!(machine.pipeline.stats().collapsed, 4);
    // Nothing more happens: nothing more is told.
    machine.tick(30 * SECOND);
    assert!(machine.alerts().is_empty());
    assert_eq!(machine.pipeline.next_deadline(), None);
    machine.write(shell(), SYSTEM, "x.service");
    assert_eq!(machine.rules().len(), 1);
}

#[test]
fn another_path_process_or_rule_is_no_repeat_and_neither_is_something_worse() {
    let mut machine = Machine::new();
    machine.write(shell(), SYSTEM, "a.service");
    machine.write(shell(), SYSTEM, "b.service");
    machine.write(task(900, 812), SYSTEM, "a.service");
    machine.file(kind::FILE_UNLINK, shell(), SYSTEM, "a.service");
    assert_eq!(machine.rules().len(), 4);
    let worse = machine
        .record(kind::FILE_CLOSE_WRITE, shell())
        .object(FileIdentity { mode: 0o100_666, inode: 4711, device: 8, ..FileIdentity::default() })
        .path(SYSTEM, SUBTREE, b"a.service")
        .build();
    machine.tick(6 * MS);
    machine.feed(worse);
    assert_eq!(machine.one().severity, Severity::Critical);
}

#[test]
fn draining_brings_everything_out() {
    let mut machine = Machine::new();
    machine.write(shell(), SYSTEM, "a.service");
    machine.write(shell(), SYSTEM, "a.service");
    machine.file(kind::FILE_OPEN_WRITE, shell(), SYSTEM, "b.service");
    machine.alerts();
    machine.pipeline.drain(&mut machine.out);
    let alerts = machine.alerts();
    assert_eq!(alerts.len(), 2);
    machine.pipeline.drain(&mut machine.out);
    assert!(machine.alerts().is_empty());
    assert_eq!(machine.pipeline.next_deadline(), None);
}

#[test]
fn loss_is_told_by_weight() {
    let mut machine = Machine::new();
    let loss = |kind, dropped| Loss { kind, dropped, at_least: false, since_boottime_ns: 0 };
    machine.user(kind::LOSS, &loss(kind::PROCESS_EXEC, 1234));
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("sensor.records.lost", Severity::Low));
    assert_eq!(alert.summary, "1234 process_exec records were lost");
    machine.user(kind::LOSS, &loss(kind::FILE_CLOSE_WRITE, 1));
    let alert = machine.one();
    assert_eq!(alert.severity, Severity::High);
    assert_eq!(alert.summary, "1 file_close_write record was lost");
    // Repeats add up.
    machine.user(kind::LOSS, &loss(kind::PROCESS_EXEC, 10));
    machine.user(kind::LOSS, &loss(kind::PROCESS_EXEC, 20));
    machine.user(kind::LOSS, &loss(kind::PROCESS_EXEC, 0));
    machine.tick(11 * SECOND);
    assert_eq!(machine.one().summary, "30 process_exec records were lost (and 1 more time)");
    let stats = machine.pipeline.stats();
    assert!(stats.lost().any(|lost| lost == ("process_exec", 1264)));
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    let mut machine = Machine::new();
    let mut out = Vec::new();
    let mut truncated =
        machine.record(kind::FILE_CREATE, shell()).path(SYSTEM, SUBTREE, b"x.service").build();
    truncated.pop();
    for bytes in [&b"short"[..], &[0xff; 64], &truncated] {
        assert!(machine.pipeline.feed(bytes, &mut out).is_err());
    }
    assert!(out.is_empty());
    assert_eq!(machine.pipeline.stats().decode_errors.iter().sum::<u64>(), 3);
    machine.write(shell(), SYSTEM, "x.service");
    assert_eq!(machine.rules().len(), 1);
}

#[test]
fn what_is_held_is_bounded_and_told_early() {
    let limits = Limits { incident_bytes: 16 << 10, ..Limits::default() };
    let mut machine = Machine::new();
    let mut pipeline = Pipeline::new(limits);
    let mut out = Vec::new();
    for record in &machine.records {
        pipeline.feed(record, &mut out).expect("a good record");
    }
    for number in 0..100 {
        let path = format!("u{number}.service");
        let record =
            machine.record(kind::FILE_OPEN_WRITE, shell()).path(SYSTEM, SUBTREE, path.as_bytes()).build();
        pipeline.feed(&record, &mut out).expect("a good record");
        let held =
            pipeline.stats().tables.iter().find(|table| table.name == "held").copied().expect("a table");
        assert!(held.bytes <= limits.incident_bytes && held.entries + out.len() == number + 1, "{held:?}");
    }
    assert!((80..99).contains(&out.len()), "{} were told early", out.len());
    assert_eq!(out[0].file.as_ref().expect("a file").path, "/etc/systemd/system/u0.service");
    pipeline.drain(&mut out);
    assert_eq!(out.len(), 100);
    machine.alerts();
}

#[test]
fn repeats_that_find_no_room_are_told_early() {
    let mut machine = Machine::new();
    machine.pipeline = Pipeline::new(Limits { incident_bytes: 16 << 10, ..Limits::default() });
    for record in std::mem::take(&mut machine.records) {
        machine.feed(record);
    }
    for round in 0..3 {
        for number in 0..100 {
            machine.write(shell(), SYSTEM, &format!("u{number}.service"));
            let windows =
                machine.pipeline.stats().tables.iter().find(|table| table.name == "windows").copied();
            assert!(windows.expect("a table").bytes <= 16 << 10, "round {round}: {windows:?}");
        }
    }
    let early = machine.alerts();
    assert!(early.len() > 200, "{} alerts", early.len());
    machine.pipeline.drain(&mut machine.out);
    let told: u64 = early.iter().chain(&machine.alerts()).map(|alert| 1 + alert.collapsed).sum();
    assert_eq!(told, 300);
}

#[test]
fn five_hundred_writes_among_a_flood_are_all_told() {
    let mut machine = Machine::new();
    for number in 0..500 {
        for child in 0..20 {
            let task = machine.fork(shell(), 10_000 + number * 20 + child);
            machine.exec(task, "/usr/bin/true", 80, &["true", &number.to_string()]);
            machine.exit(task);
        }
        machine.write(shell(), SYSTEM, &format!("u{number}.service"));
        machine.records.clear();
    }
    assert_eq!(machine.alerts().len(), 500);
    let stats = machine.pipeline.stats();
    assert!(stats.received().any(|received| received == ("process_exec", 10_000)));
    assert!(stats.tables[0].bytes < 8 << 20, "{:?}", stats.tables[0]);
}

#[test]
fn every_figure_is_there() {
    let mut machine = Machine::new();
    machine.write(shell(), SYSTEM, "x.service");
    let stats = machine.pipeline.stats();
    assert_eq!(stats.findings.iter().sum::<u64>(), 3);
    assert_eq!(stats.alerts.iter().sum::<u64>(), 1);
    for table in stats.tables {
        let in_bytes = table.name == "held";
        assert!(in_bytes || table.capacity > 0 && table.entries <= table.capacity, "{table:?}");
    }
    assert_eq!(stats.tables[0].entries, 2);
}

fn ids(records: &[Vec<u8>]) -> Vec<(String, String)> {
    let mut pipeline = Pipeline::new(Limits::default());
    let mut out = Vec::new();
    for record in records {
        let _ = pipeline.feed(record, &mut out);
    }
    pipeline.drain(&mut out);
    out.into_iter().map(|alert| (alert.id, alert.summary)).collect()
}

#[test]
fn the_same_bytes_give_the_same_alerts() {
    let mut machine = Machine::new();
    for number in 0..50 {
        let child = machine.fork(shell(), 2000 + number);
        machine.exec(child, "/usr/bin/docker", 60, &["docker", "run", "--restart=always", "img"]);
        machine.write(child, SYSTEM, &format!("u{}.service", number % 7));
        machine.file(kind::FILE_OPEN_WRITE, shell(), SYSTEM, "open.service");
    }
    let first = ids(&machine.records);
    assert!(first.len() > 50);
    assert_eq!(first, ids(&machine.records));
    let mut unique = first.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), first.len(), "ids are unique");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_stream_panics_and_bounds_hold(
        steps in proptest::collection::vec((0..15u16, 0..12u32, "[a-z.@/-]{0,20}", 0..6u32, any::<u16>()), 1..120),
    ) {
        let mut machine = Machine::new();
        let mut out = Vec::new();
        for (what, watch, name, who, salt) in steps {
            let actor = task(who, who.saturating_sub(1));
            let mut record = FileRecordBuilder::new(what + 1, machine.now, actor)
                .path(watch, 1 << (salt % 6), name.as_bytes())
                .other(watch ^ u32::from(salt & 7), SUBTREE, b"a.service")
                .extra(name.as_bytes())
                .argument(u64::from(salt) << 20)
                .build();
            if salt % 5 == 0 {
                let at = usize::from(salt) % record.len();
                record[at] ^= 0x41;
            }
            let _ = machine.pipeline.feed(&record, &mut out);
            machine.now += u64::from(salt) * 10_000;
        }
        machine.pipeline.drain(&mut out);
        prop_assert_eq!(machine.pipeline.next_deadline(), None);
        for alert in &out {
            prop_assert!(!alert.summary.is_empty() && alert.score <= 100 && !alert.reasons.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_is_lost_silently(
        steps in proptest::collection::vec((0..4u32, 0..4u32, 0..3000u64), 1..200),
    ) {
        let mut machine = Machine::new();
        for (unit, who, wait) in &steps {
            let path = format!("u{unit}.service");
            machine.rename(task(SHELL + who, 1), (NONE, "/opt/x"), (SYSTEM, &path));
            machine.tick(wait * MS);
        }
        machine.pipeline.drain(&mut machine.out);
        let told: u64 = machine.alerts().iter().map(|alert| 1 + alert.collapsed).sum();
        prop_assert_eq!(told, steps.len() as u64);
    }
}
