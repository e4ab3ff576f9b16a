//! `docs/CATALOG.md`: each row of the catalog of variants and ways around, and how it is shown.
//!
//! `catalog.txt` is the data. The tests here fail where the document differs from it, where an id is absent, and where
//! something is said to be shown by what no test does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::suites::{self, Item, SEVERITIES};
use crate::sh;

const ROWS: &str = include_str!("catalog.txt");

/// How many ids each section has. What lies beside services is one id in the catalog, of ten kinds; so are the other engines,
/// of eight.
const SECTIONS: [(&str, &str, usize); 18] = [
    ("A1", "Unit directories of the system manager", 12),
    ("A2", "Types of units, and what triggers them", 13),
    ("A3", "Drop-ins", 8),
    ("A4", "Enabling, disabling, arming", 10),
    ("A5", "Generators", 9),
    ("A6", "The manager's configuration and environment", 9),
    ("A7", "Requests without systemctl", 9),
    ("A8", "Units of users", 9),
    ("A9", "Images and overlays", 8),
    ("A10", "System V, rc, other inits", 8),
    ("A11", "Beside services", 10),
    ("B1", "Docker", 15),
    ("B2", "Low-level runtimes, containerd, CRI-O", 11),
    ("B3", "Podman", 10),
    ("B4", "Kubernetes' node agents and control plane", 8),
    ("B5", "LXC, LXD and Incus, nspawn, others", 8),
    ("B6", "Out of a container, into the host's units", 9),
    ("C", "Ways around detectors", 33),
];

const VERDICTS: [&str; 4] = ["detected", "fixture", "partly", "missed"];

struct Row {
    id: &'static str,
    verdict: &'static str,
    severity: &'static str,
    what: &'static str,
    shown: Vec<&'static str>,
    why: &'static str,
}

/// The rows, each with what is known of its words alone.
fn rows() -> Result<Vec<Row>> {
    let lines = ROWS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let [id, verdict, severity, what, shown, why] = columns[..] else {
                bail!("not six columns: {line}")
            };
            ensure!(VERDICTS.contains(&verdict), "{id}: no verdict {verdict}");
            ensure!(severity == "-" || SEVERITIES.contains(&severity), "{id}: no severity {severity}");
            ensure!(verdict == "detected" || !why.is_empty(), "{id}: {verdict}, without a reason");
            Ok(Row { id, verdict, severity, what, shown: shown.split_whitespace().collect(), why })
        })
        .collect()
}

/// What tests do, by name.
struct Shown {
    items: Vec<Item>,
    /// Steps of the scenarios.
    steps: BTreeSet<String>,
    /// The published matrix.
    matrix: String,
    /// The guests' cases.
    guests: String,
    /// The tests of the pipeline, and of the readers of what engines say.
    pipeline: String,
}

impl Shown {
    fn read() -> Result<Self> {
        let root = sh::root();
        let scenarios = concatenated(&root.join("tests/scenarios"))?;
        let steps = scenarios.lines().filter_map(|line| line.trim().strip_prefix("step "));
        Ok(Self {
            items: super::PLANS
                .into_iter()
                .map(|plan| suites::items(plan.rows))
                .collect::<Result<Vec<_>>>()?
                .concat(),
            steps: steps.map(str::to_owned).collect(),
            matrix: fs::read_to_string(root.join("docs/EVASION.md"))?,
            guests: concatenated(&root.join("tests/src/guest"))?,
            pipeline: concatenated(&root.join("sensor-user/src/pipeline_tests"))?
                + &concatenated(&root.join("sensor-user/src/subject/container"))?,
        })
    }

    /// The alerts that a step must bring; none for other tests.
    fn alerts(&self, name: &str) -> Result<Vec<&Item>> {
        let known = |exists: bool| ensure_known(name, exists);
        match name.split_once(':') {
            Some(("matrix", name)) => known(self.matrix.contains(&format!("\n- `{name}`: ")))?,
            Some(("hooks", name)) => {
                known(self.guests.contains(&format!("\"{}\"", name.replace('~', " "))))?;
            }
            Some(("test", name)) => known(
                self.pipeline.contains(&format!(" fn {name}()"))
                    || self.pipeline.contains(&format!("\nfn {name}()")),
            )?,
            Some(("row", name)) => known(self.pipeline.contains(&format!("(\"{name}\", \"/")))?,
            Some(("step", name)) => known(self.steps.contains(name))?,
            Some((kind, _)) => bail!("{name}: no kind of test is called {kind}"),
            None => {
                known(self.steps.contains(name))?;
                let alerts: Vec<&Item> = self.items.iter().filter(|item| item.step == name).collect();
                ensure!(!alerts.is_empty(), "step {name} must bring no alert");
                return Ok(alerts);
            }
        }
        Ok(vec![])
    }
}

fn ensure_known(name: &str, exists: bool) -> Result<()> {
    ensure!(exists, "no test does {name}");
    Ok(())
}

/// The text of all files below a directory.
fn concatenated(directory: &Path) -> Result<String> {
    let mut text = String::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            text += &concatenated(&path)?;
        } else {
            text += &fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            text.push('\n');
        }
    }
    Ok(text)
}

fn rank(severity: &str) -> Option<usize> {
    SEVERITIES.iter().position(|known| *known == severity)
}

/// The document.
fn document(rows: &[Row], shown: &Shown) -> Result<String> {
    let mut text = String::from(HEAD);
    let count = |section: &str, verdict| {
        let of = |row: &&Row| section_of(row.id).starts_with(section) && row.verdict == verdict;
        rows.iter().filter(of).count()
    };
    writeln!(text, "| | {} |\n|---|---|---|---|---|", VERDICTS.join(" | "))?;
    for (section, what) in
        [("A", "variants of services (A)"), ("B", "variants of containers (B)"), ("C", "ways around (C)")]
    {
        let counts = VERDICTS.map(|verdict| count(section, verdict).to_string());
        writeln!(text, "| {what} | {} |", counts.join(" | "))?;
    }
    for (section, title, _) in SECTIONS {
        writeln!(text, "\n## {section}: {title}\n\n{COLUMNS}")?;
        for row in rows.iter().filter(|row| section_of(row.id) == section) {
            writeln!(text, "{}", line(row, shown)?)?;
        }
    }
    Ok(text)
}

const HEAD: &str = "\
# Catalog

What a sensor for ATT&CK T1543.002 and T1543.005 has to see: variants of systemd services (A) and of container services (B),
ways around detectors (C), and how each is shown. Written by
`UPDATE_CATALOG=1 cargo test -p xtask catalog` from `xtask/src/test/e2e/catalog.txt`; a test fails where the two differ.

**Detected** is what a test does in a virtual machine and is told of. Names with a dot are steps of `tests/scenarios`, done in a
Debian 12 (`trixie`: 13) by a user who logged in, with the alert that each must bring in `xtask/src/test/e2e/*.txt`: docker
20.10, containerd 1.6, runc 1.1, crun 1.8, podman 4.3 (5.4). *matrix* is an operation
or a way of [EVASION.md](EVASION.md), *hooks* a case of the guests in `tests/src/guest`, both on four kernels. **Fixture** is
what a test of the pipeline, or of a reader, alone does (*test*; *row*: one of its table of files), with what real programs
write: the last column names the source.

Severity is the catalog's, for a writer whom nothing explains; where the least alert of a row is below it, that one stands behind
the arrow, and the last column says why.

";

const COLUMNS: &str =
    "| id | what | verdict | rules | severity | shown by | not, or less |\n|---|---|---|---|---|---|---|";

/// A line of the document; an error where the row claims what is not so.
fn line(row: &Row, shown: &Shown) -> Result<String> {
    let mut alerts: Vec<&Item> = Vec::new();
    let mut in_machine = false;
    for name in &row.shown {
        alerts.extend(shown.alerts(name).with_context(|| row.id)?);
        in_machine |= !name.starts_with("test:") && !name.starts_with("row:");
    }
    let holds = match row.verdict {
        "detected" => in_machine,
        "fixture" => !in_machine && !row.shown.is_empty(),
        "missed" => row.shown.is_empty(),
        _ => !row.shown.is_empty(),
    };
    ensure!(holds, "{}: {}, by {:?}", row.id, row.verdict, row.shown);
    let mut rules: Vec<&str> = Vec::new();
    for item in &alerts {
        if !rules.contains(&item.rule) {
            rules.push(item.rule);
        }
    }
    let least = alerts.iter().map(|item| item.least).min_by_key(|least| rank(least));
    let less = least.filter(|least| rank(least) < rank(row.severity));
    ensure!(less.is_none() || !row.why.is_empty(), "{}: {less:?}, less than {}", row.id, row.severity);
    let severity = less.map_or_else(|| row.severity.to_owned(), |less| format!("{} → {less}", row.severity));
    let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
    let named: Vec<String> = row.shown.iter().map(|name| called(name)).collect();
    let Row { id, what, verdict, why, .. } = row;
    Ok(format!(
        "| {id} | {what} | {verdict} | {} | {severity} | {} | {why} |",
        quoted(&rules),
        named.join(", ")
    ))
}

/// A test's name as the document has it.
fn called(name: &str) -> String {
    match name.split_once(':') {
        None => format!("`{name}`"),
        Some(("step", name)) => format!("`{name}`"),
        Some(("hooks", name)) => format!("hooks `{}`", name.replace('~', " ")),
        Some((kind, name)) => format!("{kind} `{name}`"),
    }
}

fn section_of(id: &str) -> &str {
    id.split_once('.').map_or(if id.starts_with('C') { "C" } else { id }, |(section, _)| section)
}

#[test]
fn every_id_of_the_catalog_is_there_once() {
    let expected =
        SECTIONS.iter().flat_map(|(section, _, count)| {
            (1..=*count).map(move |number| {
                if *section == "C" { format!("C{number}") } else { format!("{section}.{number}") }
            })
        });
    let ids: Vec<&str> = rows().unwrap().iter().map(|row| row.id).collect();
    assert_eq!(ids, expected.collect::<Vec<_>>());
}

#[test]
fn every_step_of_the_catalog_is_done_and_claimed() {
    let shown = Shown::read().unwrap();
    let claimed: BTreeSet<&str> = rows().unwrap().iter().flat_map(|row| row.shown.clone()).collect();
    for item in shown.items.iter().filter(|item| item.step.starts_with("catalog.")) {
        assert!(shown.steps.contains(item.step), "no scenario has step {}", item.step);
        assert!(claimed.contains(item.step), "no row is shown by {}", item.step);
    }
}

#[test]
fn the_document_is_what_the_data_says() {
    let document = document(&rows().unwrap(), &Shown::read().unwrap()).unwrap();
    let path = sh::root().join("docs/CATALOG.md");
    if std::env::var_os("UPDATE_CATALOG").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document,
        "docs/CATALOG.md is out of date: UPDATE_CATALOG=1 cargo test -p xtask catalog"
    );
}

#[test]
fn what_no_test_does_shows_nothing() {
    let shown = Shown::read().unwrap();
    for name in [
        "catalog.none",
        "matrix:none",
        "hooks:none at all",
        "test:none",
        "row:none",
        "step:none",
        "other:create",
        "catalog.A5-end",
    ] {
        assert!(shown.alerts(name).is_err(), "{name}");
    }
    for name in ["suite.atomic-unit", "matrix:rename", "matrix:chroot", "step:quiet.reload-storm"] {
        assert!(shown.alerts(name).is_ok(), "{name}");
    }
    let row = |verdict, severity, shown: &[&'static str], why| Row {
        id: "A1.1",
        verdict,
        severity,
        what: "",
        shown: shown.to_vec(),
        why,
    };
    for (verdict, severity, by, why, holds) in [
        ("detected", "high", &["suite.atomic-unit"][..], "", true),
        ("detected", "critical", &["suite.atomic-unit"], "", false),
        ("detected", "critical", &["suite.atomic-unit"], "because", true),
        ("detected", "high", &["test:quiet"], "", false),
        ("detected", "high", &[], "", false),
        ("fixture", "high", &["row:B1.13"], "its source", true),
        ("fixture", "high", &["suite.atomic-unit"], "its source", false),
        ("missed", "high", &["suite.atomic-unit"], "because", false),
        ("missed", "high", &[], "because", true),
    ] {
        assert_eq!(
            line(&row(verdict, severity, by, why), &shown).is_ok(),
            holds,
            "{verdict} {severity} {by:?}"
        );
    }
}
