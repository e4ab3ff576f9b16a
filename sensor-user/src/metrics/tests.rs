use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::sink::{Counts, Queue, sample};
use crate::test_support::skip;

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

/// All that can be told, told once.
fn full() -> Metrics {
    let metrics = Metrics::new();
    let alert = Alert { collapsed: 6, ..sample::unit_written() };
    metrics.declare_rules([alert.rule]);
    metrics.set_backend("fentry");
    metrics.set_backend("lsm");
    metrics.set_hook("inode_rename", true);
    metrics.set_hook("inode_link", false);
    metrics.set_records(kind::FILE_RENAME, 10, 3);
    metrics.set_decode_errors("truncated", 2);
    metrics.set_recursion_misses("fentry_inode_rename", 1);
    metrics.set_watch_limits_hit(4, 5);
    metrics.set_findings(alert.rule, 1);
    metrics.count_alert(&alert, Duration::from_millis(20));
    metrics.set_sink(
        "journal",
        &Status {
            counts: Counts { written: 7, failed: 0, dropped: 1 },
            pending: 2,
            queue: Some(Queue { entries: 3, bytes: 9000, errors: 1 }),
        },
    );
    let table = TableUse { entries: 5, capacity: 10, evictions: 1, bytes: 1000 };
    metrics.set_table("processes", table);
    metrics.set_ring_buffer(8 << 20, 4096);
    metrics.set_unwatched(6);
    metrics
}

#[test]
fn what_is_told_is_shown() {
    let metrics = full();
    for (series, expected) in [
        (r#"svcsensor_backend_info{backend="lsm"}"#, 1.0),
        (r#"svcsensor_hook_attached{hook="inode_rename"}"#, 1.0),
        (r#"svcsensor_hook_attached{hook="inode_link"}"#, 0.0),
        (r#"svcsensor_records_received_total{kind="file_rename"}"#, 10.0),
        (r#"svcsensor_records_dropped_total{kind="file_rename"}"#, 3.0),
        (r#"svcsensor_records_dropped_total{kind="process_exec"}"#, 0.0),
        (r#"svcsensor_decode_errors_total{reason="truncated"}"#, 2.0),
        (r#"svcsensor_recursion_misses_total{program="fentry_inode_rename"}"#, 1.0),
        ("svcsensor_directory_walks_cut_total", 4.0),
        ("svcsensor_watch_refusals_total", 5.0),
        (r#"svcsensor_findings_total{rule="systemd.unit.written"}"#, 1.0),
        (r#"svcsensor_alerts_total{rule="systemd.unit.written",severity="high"}"#, 1.0),
        (r#"svcsensor_alerts_total{rule="systemd.unit.written",severity="low"}"#, 0.0),
        ("svcsensor_alerts_collapsed_total", 6.0),
        (r#"svcsensor_alert_latency_seconds_bucket{le="0.025"}"#, 1.0),
        (r#"svcsensor_alert_latency_seconds_bucket{le="0.01"}"#, 0.0),
        (r#"svcsensor_sink_alerts_total{outcome="written",sink="journal"}"#, 7.0),
        (r#"svcsensor_sink_alerts_total{outcome="dropped",sink="journal"}"#, 1.0),
        (r#"svcsensor_sink_pending_alerts{sink="journal"}"#, 2.0),
        (r#"svcsensor_sink_queue_entries{sink="journal"}"#, 3.0),
        (r#"svcsensor_sink_queue_bytes{sink="journal"}"#, 9000.0),
        (r#"svcsensor_sink_errors_total{sink="journal"}"#, 1.0),
        (r#"svcsensor_table_entries{table="processes"}"#, 5.0),
        (r#"svcsensor_table_capacity{table="processes"}"#, 10.0),
        (r#"svcsensor_table_bytes{table="processes"}"#, 1000.0),
        (r#"svcsensor_table_evictions_total{table="processes"}"#, 1.0),
        ("svcsensor_ring_buffer_capacity_bytes", 8_388_608.0),
        ("svcsensor_ring_buffer_pending_bytes", 4096.0),
        ("svcsensor_unwatched_for_want_of_room", 6.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}");
    }
    assert_eq!(value(&metrics, r#"svcsensor_backend_info{backend="fentry"}"#), None);
    assert!(value(&metrics, "process_start_time_seconds").is_some());
}

#[test]
fn counters_follow_totals_without_drift() {
    let metrics = Metrics::new();
    let series = r#"svcsensor_records_received_total{kind="file_create"}"#;
    for (told, shown) in [(5, 5.0), (5, 5.0), (9, 9.0), (3, 12.0), (4, 13.0), (0, 13.0), (2, 15.0)] {
        metrics.set_records(kind::FILE_CREATE, told, 0);
        assert_eq!(value(&metrics, series), Some(shown), "told {told}");
    }
}

#[test]
fn a_kind_that_does_not_exist_makes_no_series() {
    let metrics = Metrics::new();
    let before = metrics.render().lines().count();
    metrics.set_records(9999, 1, 1);
    assert_eq!(metrics.render().lines().count(), before);
}

#[test]
fn promtool_finds_no_fault() {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match spawned {
        Ok(promtool) => promtool,
        Err(error) => return skip("promtool check metrics", &format!("promtool missing: {error}")),
    };
    promtool.stdin.take().unwrap().write_all(full().render().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
