//! What Prometheus can ask of the sensor.
//!
//! Every label has a fixed set of values: kinds of records, rules, hooks, sinks. None holds a path, a pid or the name
//! of a unit. Most numbers are counted where they arise, some in the kernel; [`Metrics`] is told the totals, and its
//! counters follow them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use sensor_common::record::kind;

use crate::detect::rule::{Rule, Severity};
use crate::incident::alert::Alert;
use crate::sink::Status;

pub mod health;
pub mod server;

/// Seconds from the first observation to the alert.
const LATENCY_BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All metrics of the sensor, and those of its process.
pub struct Metrics {
    registry: Registry,
    backend: IntGaugeVec,
    hook_attached: IntGaugeVec,
    records_received: Followed,
    records_dropped: Followed,
    decode_errors: Followed,
    recursion_misses: Followed,
    walks_cut: Followed,
    watch_full: Followed,
    contents_refused: Followed,
    stream_faults: Followed,
    proofs: Followed,
    findings: Followed,
    alerts: IntCounterVec,
    alerts_collapsed: IntCounter,
    alert_latency: Histogram,
    sink_alerts: Followed,
    sink_pending: IntGaugeVec,
    sink_queue_entries: IntGaugeVec,
    sink_queue_bytes: IntGaugeVec,
    sink_errors: Followed,
    tables: TableMetrics,
    ring_capacity: IntGauge,
    ring_pending: IntGauge,
    unwatched: IntGauge,
    inventory: [IntGauge; 3],
    approvals_matched: Followed,
}

/// What is known of what starts by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InventoryUse {
    /// Entries.
    pub entries: u64,
    /// Those that no package explains.
    pub unproved: u64,
    /// Seconds for which nobody watched before this start.
    pub blind_seconds: u64,
}

/// How full a bounded table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableUse {
    /// Entries now.
    pub entries: usize,
    /// The bound.
    pub capacity: usize,
    /// Entries that had to go for others since the start.
    pub evictions: u64,
    /// Bytes of the heap that the entries hold.
    pub bytes: usize,
}

/// The four metrics of every bounded table, by its name.
struct TableMetrics {
    entries: IntGaugeVec,
    capacity: IntGaugeVec,
    bytes: IntGaugeVec,
    evictions: Followed,
}

impl TableMetrics {
    fn new(registry: &Registry) -> Self {
        let label = &["table"];
        Self {
            entries: gauges(registry, "table_entries", "Entries in a bounded table.", label),
            capacity: gauges(
                registry,
                "table_capacity",
                "Bound of a table's entries; 0 where bytes are bounded.",
                label,
            ),
            bytes: gauges(
                registry,
                "table_bytes",
                "Bytes of the heap that a table holds; 0 where not measured.",
                label,
            ),
            evictions: Followed::new(
                registry,
                "table_evictions_total",
                "Entries that left a table, or were refused, for want of room.",
                label,
            ),
        }
    }

    fn set(&self, table: &str, now: TableUse) {
        self.entries.with_label_values(&[table]).set(signed(now.entries));
        self.capacity.with_label_values(&[table]).set(signed(now.capacity));
        self.bytes.with_label_values(&[table]).set(signed(now.bytes));
        self.evictions.follow(&[table], now.evictions);
    }
}

/// Counters whose totals somebody else keeps.
struct Followed {
    counters: IntCounterVec,
    /// The total that each was told last, by its labels.
    told: Mutex<BTreeMap<Vec<String>, u64>>,
}

impl Followed {
    fn new(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
        let followed = Self { counters: counters(registry, name, help, labels), told: Mutex::default() };
        if labels.is_empty() {
            followed.follow(&[], 0);
        }
        followed
    }

    /// The source's total is this by now. One below the last means that the source began anew at 0, as a BPF map
    /// does when the programs are loaded again.
    fn follow(&self, labels: &[&str], total: u64) {
        let key: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = told.entry(key).or_default();
        let more = if total >= *last { total - *last } else { total };
        *last = total;
        self.counters.with_label_values(labels).inc_by(more);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        register(&registry, ProcessCollector::for_self());
        let build = gauges(&registry, "build_info", "Always 1; the label is the version.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let reg = &registry;
        let metrics = Self {
            backend: gauges(reg, "backend_info", "Always 1; the label is the backend.", &["backend"]),
            hook_attached: gauges(reg, "hook_attached", "1 where the hook is attached, else 0.", &["hook"]),
            records_received: Followed::new(
                reg,
                "records_received_total",
                "Records that reached the daemon.",
                &["kind"],
            ),
            records_dropped: Followed::new(
                reg,
                "records_dropped_total",
                "Records that found no room between kernel and daemon.",
                &["kind"],
            ),
            decode_errors: Followed::new(
                reg,
                "decode_errors_total",
                "Records that were skipped because they make no sense.",
                &["reason"],
            ),
            recursion_misses: Followed::new(
                reg,
                "recursion_misses_total",
                "Runs of a program that the kernel skipped to prevent recursion.",
                &["program"],
            ),
            walks_cut: Followed::new(
                reg,
                "directory_walks_cut_total",
                "Files nested too deep to tell whether they lie in a watched directory.",
                &[],
            ),
            watch_full: watch_full(reg),
            contents_refused: Followed::new(
                reg,
                "content_reads_refused_total",
                "Changed files that were not read, because too many waited to be.",
                &[],
            ),
            proofs: Followed::new(
                reg,
                "proofs_total",
                "Changes by package managers, by what their proof came to; overdue are those whose deadline passed.",
                &["verdict"],
            ),
            stream_faults: Followed::new(
                reg,
                "ipc_stream_faults_total",
                "Times that a client's requests to a service manager could not be followed.",
                &["fault"],
            ),
            findings: Followed::new(
                reg,
                "findings_total",
                "Matches of a rule, before repeats are collapsed.",
                &["rule"],
            ),
            alerts: counters(reg, "alerts_total", "Alerts.", &["rule", "severity"]),
            alerts_collapsed: counter(reg, "alerts_collapsed_total", "Repeats that an alert stands for."),
            alert_latency: latency(reg),
            sink_alerts: Followed::new(
                reg,
                "sink_alerts_total",
                "What became of the alerts that a sink was given.",
                &["sink", "outcome"],
            ),
            sink_pending: gauges(
                reg,
                "sink_pending_alerts",
                "Alerts that a sink keeps to try again.",
                &["sink"],
            ),
            sink_queue_entries: gauges(reg, "sink_queue_entries", "Entries that wait in a sink.", &["sink"]),
            sink_queue_bytes: gauges(reg, "sink_queue_bytes", "Bytes that wait in a sink.", &["sink"]),
            sink_errors: Followed::new(
                reg,
                "sink_errors_total",
                "Failed attempts of a sink, but for those where its receiver was busy or absent.",
                &["sink"],
            ),
            tables: TableMetrics::new(reg),
            ring_capacity: gauge(reg, "ring_buffer_capacity_bytes", "Size of the ring buffer."),
            ring_pending: gauge(reg, "ring_buffer_pending_bytes", "Bytes that wait in the ring buffer."),
            unwatched: unwatched(reg),
            inventory: inventory(reg),
            approvals_matched: approvals_matched(reg),
            registry,
        };
        for name in (0..kind::KERNEL_KINDS).filter_map(kind::name) {
            metrics.records_received.follow(&[name], 0);
            metrics.records_dropped.follow(&[name], 0);
        }
        metrics
    }

    /// Shows these rules with zeros, so that a query sees the step from none to one.
    pub fn declare_rules(&self, rules: impl IntoIterator<Item = &'static Rule>) {
        for rule in rules {
            self.findings.follow(&[rule.id], 0);
            for severity in Severity::ALL {
                self.alerts.with_label_values(&[rule.id, severity.name()]);
            }
        }
    }

    /// The backend in use.
    pub fn set_backend(&self, backend: &'static str) {
        self.backend.reset();
        self.backend.with_label_values(&[backend]).set(1);
    }

    /// Whether a hook is attached.
    pub fn set_hook(&self, hook: &'static str, attached: bool) {
        self.hook_attached.with_label_values(&[hook]).set(attached.into());
    }

    /// Totals of one kind of records. A kind that does not exist counts as a decoding error, not here.
    pub fn set_records(&self, kind: u16, received: u64, dropped: u64) {
        if let Some(name) = kind::name(kind) {
            self.records_received.follow(&[name], received);
            self.records_dropped.follow(&[name], dropped);
        }
    }

    /// Total of the records skipped for one reason.
    pub fn set_decode_errors(&self, reason: &'static str, total: u64) {
        self.decode_errors.follow(&[reason], total);
    }

    /// Total of `bpf_prog_info.recursion_misses` of a program.
    pub fn set_recursion_misses(&self, program: &'static str, total: u64) {
        self.recursion_misses.follow(&[program], total);
    }

    /// Totals of the kernel's counters `WALK_CUT` and `WATCH_FULL`.
    pub fn set_watch_limits_hit(&self, walks_cut: u64, watch_full: u64) {
        self.walks_cut.follow(&[], walks_cut);
        self.watch_full.follow(&[], watch_full);
    }

    /// Total of the changed files that were not read for want of room.
    pub fn set_contents_refused(&self, total: u64) {
        self.contents_refused.follow(&[], total);
    }

    /// Totals of what went wrong with clients' streams.
    pub fn set_stream_faults(&self, faults: &[(&str, u64)]) {
        for (fault, total) in faults {
            self.stream_faults.follow(&[fault], *total);
        }
    }

    /// Totals of what became of changes by package managers, by verdict.
    pub fn set_proofs<'a>(&self, proofs: impl IntoIterator<Item = (&'a str, u64)>) {
        for (verdict, total) in proofs {
            self.proofs.follow(&[verdict], total);
        }
    }

    /// Total of the matches of a rule.
    pub fn set_findings(&self, rule: &'static Rule, total: u64) {
        self.findings.follow(&[rule.id], total);
    }

    /// One more alert, this long after its first observation.
    pub fn count_alert(&self, alert: &Alert, latency: Duration) {
        self.alerts.with_label_values(&[alert.rule.id, alert.severity.name()]).inc();
        self.alerts_collapsed.inc_by(alert.collapsed);
        self.alert_latency.observe(latency.as_secs_f64());
    }

    /// How a sink does.
    pub fn set_sink(&self, sink: &'static str, status: &Status) {
        let counts = status.counts;
        for (outcome, total) in
            [("written", counts.written), ("failed", counts.failed), ("dropped", counts.dropped)]
        {
            self.sink_alerts.follow(&[sink, outcome], total);
        }
        self.sink_pending.with_label_values(&[sink]).set(signed(status.pending));
        if let Some(queue) = status.queue {
            self.sink_queue_entries.with_label_values(&[sink]).set(signed(queue.entries));
            self.sink_queue_bytes.with_label_values(&[sink]).set(signed(queue.bytes));
            self.sink_errors.follow(&[sink], queue.errors);
        }
    }

    /// A bounded table: `processes`, `cgroups`, `kernel_watches`...
    pub fn set_table(&self, table: &'static str, now: TableUse) {
        self.tables.set(table, now);
    }

    /// What is configured to be watched and found no room.
    pub fn set_unwatched(&self, count: usize) {
        self.unwatched.set(signed(count));
    }

    /// What the inventory has.
    pub fn set_inventory(&self, now: &InventoryUse) {
        for (gauge, value) in self.inventory.iter().zip([now.entries, now.unproved, now.blind_seconds]) {
            gauge.set(value.cast_signed());
        }
    }

    /// Totals of the alerts that each exception, and approvals together, have lowered. The configuration bounds the names.
    pub fn set_approvals_matched(&self, matched: &BTreeMap<String, u64>) {
        for (name, total) in matched {
            self.approvals_matched.follow(&[name], *total);
        }
    }

    /// The ring buffer: its size, and the bytes in it.
    pub fn set_ring_buffer(&self, capacity: usize, pending: usize) {
        self.ring_capacity.set(signed(capacity));
        self.ring_pending.set(signed(pending));
    }

    /// All of it in Prometheus's text format 0.0.4
    /// (<https://prometheus.io/docs/instrumenting/exposition_formats>).
    #[must_use]
    pub fn render(&self) -> String {
        // Encoding fails only for a metric without a name or without a value, and a registry refuses such.
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

fn signed(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("each metric is registered once, under a valid name");
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("svcsensor")
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(options(name, help), labels).expect("names and labels are valid");
    register(registry, counters.clone());
    counters
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let counter = IntCounter::with_opts(options(name, help)).expect("the name is valid");
    register(registry, counter.clone());
    counter
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(options(name, help), labels).expect("names and labels are valid");
    register(registry, gauges.clone());
    gauges
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::with_opts(options(name, help)).expect("the name is valid");
    register(registry, gauge.clone());
    gauge
}

fn watch_full(registry: &Registry) -> Followed {
    Followed::new(
        registry,
        "watch_refusals_total",
        "Files of interest that found no room in the kernel's table of watches.",
        &[],
    )
}

fn unwatched(registry: &Registry) -> IntGauge {
    gauge(
        registry,
        "unwatched_for_want_of_room",
        "Configured objects and names that found no room in the kernel's tables, and are not watched.",
    )
}

/// In the order of [`InventoryUse`].
fn inventory(registry: &Registry) -> [IntGauge; 3] {
    [
        gauge(registry, "inventory_entries", "What starts by itself on this machine."),
        gauge(registry, "inventory_unproved_entries", "Of that, what no package explains by its content."),
        gauge(registry, "blind_seconds", "Seconds for which nobody watched before this start."),
    ]
}

fn approvals_matched(registry: &Registry) -> Followed {
    Followed::new(
        registry,
        "approvals_matched_total",
        "Alerts that were expected: by each exception, and by approvals together.",
        &["name"],
    )
}

fn latency(registry: &Registry) -> Histogram {
    let options = HistogramOpts::new("alert_latency_seconds", "From the first observation to the alert.")
        .namespace("svcsensor")
        .buckets(LATENCY_BUCKETS.to_vec());
    let histogram = Histogram::with_opts(options).expect("the name is valid and the buckets ascend");
    register(registry, histogram.clone());
    histogram
}

#[cfg(test)]
mod tests;
