//! Whether each container that ended at once is known by its id, name and image, and costs no memory for good.

use super::judge::rule;
use super::transcript::{Transcript, Verdict, text};

/// Growth of the sensor's resident memory over all containers must be below, in KiB. Its tables fill up to their bounds
/// (`lineage::Limits`: 6 MiB of command lines, 2 MiB of containers, 2 MiB of control groups, and processes that ended), and
/// do so whatever number of containers comes.
const GROWTH_KIB: u64 = 12 << 10;

/// Judges every container that the guest named, and that there are as many as the plan wants.
pub fn judge(told: &Transcript, wanted: usize, verdicts: &mut Vec<Verdict>) {
    let started = told.containers.len();
    verdicts.push(Verdict::new(
        "short-lived.started",
        (started != wanted || wanted == 0).then(|| format!("{started} of {wanted} containers ran")),
    ));
    let unknown: Vec<String> = told
        .containers
        .iter()
        .filter_map(|container| {
            let alerts: Vec<_> = told
                .alerts
                .iter()
                .filter(|alert| {
                    rule(alert) == "systemd.unit.written" && text(alert, "/file/path") == container.file
                })
                .collect();
            let values = |pointer| alerts.iter().map(|alert| text(alert, pointer)).collect::<Vec<_>>();
            let known = [
                ("/container/id", &container.id),
                ("/container/name", &container.name),
                ("/container/image/name", &container.image),
            ];
            // What repeats is told again ten seconds later.
            let fault = known.into_iter().find(|(pointer, value)| {
                alerts.is_empty() || values(pointer).iter().any(|told| told != value)
            });
            fault.map(|(pointer, value)| {
                format!("{} {pointer} is {:?}, not {value}", container.file, values(pointer))
            })
        })
        .collect();
    let shown = unknown.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    verdicts.push(Verdict::new(
        "short-lived.each-known",
        (!unknown.is_empty()).then(|| format!("{} of {started} are not: {shown}", unknown.len())),
    ));
    let (before, after) = (told.number("short.rss.before"), told.number("short.rss.after"));
    let bounded = matches!((before, after), (Some(before), Some(after)) if after < before + GROWTH_KIB);
    verdicts.push(Verdict::new(
        "short-lived.no-growth",
        (!bounded).then(|| format!("from {before:?} to {after:?} KiB")),
    ));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_known_by_id_name_and_image() {
        let line = "container /etc/x aa n i".to_owned();
        let alert = |name: &str| {
            let container = json!({"id": "aa", "name": name, "image": {"name": "i"}});
            json!({"rule": {"id": "systemd.unit.written"}, "file": {"path": "/etc/x"}, "container": container})
        };
        let judged = |alert: String, wanted| {
            let facts = ["fact short.rss.before 20000", "fact short.rss.after 22000"].map(str::to_owned);
            let lines = [line.clone(), format!("alert {alert}"), "complete".to_owned()];
            let told = Transcript::read(&[&facts[..], &lines].concat()).unwrap();
            let mut verdicts = Vec::new();
            judge(&told, wanted, &mut verdicts);
            verdicts.iter().filter(|verdict| verdict.evidence.is_some()).count()
        };
        assert_eq!(judged(alert("n").to_string(), 1), 0);
        assert_eq!(judged(alert("n").to_string(), 2), 1);
        assert_eq!(judged(alert("other").to_string(), 1), 1);
        assert_eq!(judged("{}".to_owned(), 0), 2);
    }
}
