//! How long a change of a unit file takes to its line in the journal.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use serde_json::Value;

use super::transcript::{Transcript, field, text};

/// Latencies, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Changes made.
    pub changes: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// As far as the sensor has sent the alert; the rest is journald's.
    pub sent_p50_ms: f64,
    pub sent_p99_ms: f64,
    pub sent_max_ms: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} changes of unit files, from the end of the system call to the journal: p50 {:.1} ms, p99 {:.1} ms, \
             max {:.1} ms; of that until the sensor has sent it: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            self.changes,
            self.p50_ms,
            self.p99_ms,
            self.max_ms,
            self.sent_p50_ms,
            self.sent_p99_ms,
            self.sent_max_ms
        )
    }
}

/// The figures of a guest that made changes. The end of a change is what its process reads off the clock next; the line
/// in the journal is there when journald says that it received it (`__REALTIME_TIMESTAMP`), and sent when the kernel
/// stamped the datagram (`_SOURCE_REALTIME_TIMESTAMP`; systemd.journal-fields(7)).
///
/// # Errors
/// Where it made none, or not all were told: figures of the rest would flatter.
pub fn figures(told: &Transcript) -> Result<Figures> {
    ensure!(!told.changes.is_empty(), "the guest changed nothing");
    let mut entries: HashMap<&str, &Value> = HashMap::new();
    for entry in &told.entries {
        for file in field(entry, "SVCSENSOR_FILE") {
            entries.entry(file).or_insert(entry);
        }
    }
    let [p50_ms, p99_ms, max_ms] = ranks(told, &entries, "/__REALTIME_TIMESTAMP")?;
    let [sent_p50_ms, sent_p99_ms, sent_max_ms] = ranks(told, &entries, "/_SOURCE_REALTIME_TIMESTAMP")?;
    Ok(Figures { changes: told.changes.len(), p50_ms, p99_ms, max_ms, sent_p50_ms, sent_p99_ms, sent_max_ms })
}

/// Median, 99 of a hundred, and maximum of the times from each change to this stamp of its entry.
fn ranks(told: &Transcript, entries: &HashMap<&str, &Value>, stamp: &str) -> Result<[f64; 3]> {
    let latency = |(path, ended): &(String, u64)| {
        let microseconds: u64 = text(entries.get(path.as_str())?, stamp).parse().ok()?;
        Some(Duration::from_nanos((microseconds * 1000).saturating_sub(*ended)))
    };
    let mut latencies: Vec<Duration> = told.changes.iter().filter_map(latency).collect();
    latencies.sort_unstable();
    let untold = told.changes.len() - latencies.len();
    ensure!(untold == 0, "{untold} of {} changes are not in the journal", told.changes.len());
    // The nearest rank: the least value that so many of a hundred do not exceed.
    let rank =
        |percent: usize| latencies[(latencies.len() * percent).div_ceil(100).max(1) - 1].as_secs_f64() * 1e3;
    Ok([rank(50), rank(99), rank(100)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_of_what_was_measured() {
        let mut told = Transcript::default();
        for number in 0..200_u64 {
            let path = format!("/{number}");
            told.entries.push(serde_json::json!({
                "__REALTIME_TIMESTAMP": (1_000_000 + 1000 * number).to_string(), "SVCSENSOR_FILE": path,
                "_SOURCE_REALTIME_TIMESTAMP": (1_000_000 + 500 * number).to_string(),
            }));
            told.changes.push((path, 1_000_000_000));
        }
        let figures = figures(&told).unwrap();
        assert_eq!((figures.p50_ms, figures.p99_ms, figures.max_ms), (99.0, 197.0, 199.0));
        assert_eq!((figures.sent_p50_ms, figures.sent_max_ms), (49.5, 99.5));
        told.entries.pop();
        assert!(super::figures(&told).unwrap_err().to_string().contains("1 of 200"));
        assert!(super::figures(&Transcript::default()).is_err());
    }
}
