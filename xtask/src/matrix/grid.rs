//! What guests said of the cells, and kernels side by side.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::test::Tally;

/// How a cell came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The records are there.
    Seen,
    /// The kernel does not allow it.
    Refused,
    /// It cannot be tried, or changes nothing.
    NotApplicable,
    /// A hole that is known.
    Missed,
    /// No reason for what happened: the test fails.
    Failed,
}

impl Outcome {
    /// All that can stand in a table.
    pub const ALL: [Self; 5] = [Self::Seen, Self::Refused, Self::NotApplicable, Self::Missed, Self::Failed];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Refused => "refused",
            Self::NotApplicable => "n/a",
            Self::Missed => "missed",
            Self::Failed => "failed",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// A cell on one kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    pub outcome: Outcome,
    /// Name of the error with which the kernel refused.
    pub errno: Option<String>,
    /// Why it is not seen.
    pub because: Option<String>,
}

/// A row or a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Title {
    pub name: String,
    /// Which table it belongs to; empty for ways.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    pub what: String,
}

/// One kernel with one backend.
#[derive(Debug, Serialize)]
pub struct Run {
    pub kernel: String,
    pub backend: String,
    #[serde(skip)]
    operations: Vec<Title>,
    #[serde(skip)]
    ways: Vec<Title>,
    /// By way, then by operation.
    pub cells: BTreeMap<String, BTreeMap<String, Cell>>,
    #[serde(skip)]
    failures: Vec<String>,
    #[serde(skip)]
    others: Tally,
}

impl Run {
    /// Nothing said yet.
    pub fn new(kernel: &str, backend: &str) -> Self {
        let (kernel, backend) = (kernel.to_owned(), backend.to_owned());
        let (operations, ways, cells, failures) = Default::default();
        Self { kernel, backend, operations, ways, cells, failures, others: Tally::default() }
    }

    /// Takes up a line of the guest.
    pub fn line(&mut self, line: &str) {
        let fields: Vec<&str> = line.split('\t').collect();
        let own = |text: &str| text.to_owned();
        match fields[..] {
            ["operation", name, group, what] => {
                self.operations.push(Title { name: own(name), group: own(group), what: own(what) });
            }
            ["way", name, what] => {
                self.ways.push(Title { name: own(name), group: String::new(), what: own(what) });
            }
            ["ok cell", way, operation, outcome, errno, because] if Outcome::from_name(outcome).is_some() => {
                let given = |text: &str| (text != "-").then(|| own(text));
                let outcome = Outcome::from_name(outcome).expect("asked above");
                self.set(way, operation, Cell { outcome, errno: given(errno), because: given(because) });
            }
            ["not ok cell", way, rest] => {
                let (operation, because) = rest.split_once(": ").unwrap_or((rest, ""));
                let cell = Cell { outcome: Outcome::Failed, errno: None, because: Some(own(because)) };
                self.set(way, operation, cell);
                self.fail(line);
            }
            _ => {
                self.others.line(line);
                if line.starts_with("not ok") || line.starts_with("ok cell") {
                    self.fail(line);
                }
            }
        }
    }

    fn set(&mut self, way: &str, operation: &str, cell: Cell) {
        self.cells.entry(way.to_owned()).or_default().insert(operation.to_owned(), cell);
    }

    fn fail(&mut self, line: &str) {
        self.failures.push(format!("{} {}: {}", self.kernel, self.backend, line.replace('\t', " ")));
    }

    /// What did not hold, a line each.
    pub fn failures(&self) -> Vec<String> {
        self.failures.clone()
    }

    /// As the tests count: a known hole is no failure.
    pub fn tally(&self) -> Tally {
        let mut tally = self.others;
        for cell in self.cells.values().flat_map(BTreeMap::values) {
            tally.add(if cell.outcome == Outcome::Failed { Tally::FAILED } else { Tally::PASSED });
        }
        tally
    }

    /// How many of each.
    pub fn count(&self) -> Count {
        Count::of(self.cells.values().flat_map(BTreeMap::values))
    }
}

/// How many cells came out how.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Count(pub [usize; Outcome::ALL.len()]);

impl Count {
    /// Counts.
    pub fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut count = Self::default();
        for cell in cells {
            count.0[cell.outcome as usize] += 1;
        }
        count
    }
}

/// A sentence without its end; what failed is named only where something did.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cells: ", self.0.iter().sum::<usize>())?;
        let parts = Outcome::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(outcome, count)| *outcome != Outcome::Failed || *count > 0);
        let parts: Vec<String> =
            parts.map(|(outcome, count)| format!("{} {count}", outcome.name())).collect();
        f.write_str(&parts.join(", "))
    }
}

/// Runs side by side: every one has the same rows and columns, and every cell.
#[derive(Debug, Serialize)]
pub struct Grid {
    pub operations: Vec<Title>,
    pub ways: Vec<Title>,
    pub runs: Vec<Run>,
}

impl Grid {
    /// Sets runs side by side.
    ///
    /// # Errors
    /// Where they differ in rows or columns, or one has no result for a cell.
    pub fn of(runs: Vec<Run>) -> Result<Self> {
        let first = runs.first().context("no kernel was tried")?;
        let (operations, ways) = (first.operations.clone(), first.ways.clone());
        ensure!(!operations.is_empty() && !ways.is_empty(), "the guest named no operation or no way");
        for run in &runs {
            ensure!(run.operations == operations && run.ways == ways, "{}: another table", run.kernel);
            for way in &ways {
                for operation in &operations {
                    let there = run.cells.get(&way.name).is_some_and(|row| row.contains_key(&operation.name));
                    ensure!(there, "{}: no result for {} {}", run.kernel, way.name, operation.name);
                }
            }
        }
        Ok(Self { operations, ways, runs })
    }

    /// A cell on every kernel.
    pub fn cell<'a>(&'a self, way: &'a Title, operation: &'a Title) -> impl Iterator<Item = &'a Cell> {
        self.runs.iter().map(|run| &run.cells[&way.name][&operation.name])
    }

    /// How many of all runs.
    pub fn count(&self) -> Count {
        Count::of(self.runs.iter().flat_map(|run| run.cells.values().flat_map(BTreeMap::values)))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Two operations, two ways.
    pub fn run(kernel: &str, last: &str) -> Run {
        let mut run = Run::new(kernel, "lsm");
        for line in [
            "operation\twrite\tcontent\toverwrite",
            "operation\tlink\tnames\thard link",
            "way\tplain\tabsolute path",
            "way\turing\tio_uring",
            "lsm is in place after 1.0 s",
            "ok cell\tplain\twrite\tseen\t-\t-",
            "ok cell\tplain\tlink\trefused\tEXDEV\tanother filesystem",
            "ok cell\turing\twrite\tseen\t-\t-",
            last,
            "ok no record is lost",
        ] {
            run.line(line);
        }
        run
    }

    #[test]
    fn lines_become_cells() {
        let whole = run("6.1", "ok cell\turing\tlink\tn/a\t-\tnot yet");
        assert_eq!(whole.count().to_string(), "4 cells: seen 2, refused 1, n/a 1, missed 0");
        assert_eq!(whole.failures(), Vec::<String>::new());
        let refused = &whole.cells["plain"]["link"];
        assert_eq!(
            (refused.errno.as_deref(), refused.because.as_deref()),
            (Some("EXDEV"), Some("another filesystem"))
        );
        let grid = Grid::of(vec![whole]).unwrap();
        assert_eq!(grid.cell(&grid.ways[1], &grid.operations[1]).count(), 1);
    }

    #[test]
    fn a_failure_is_a_cell_and_said() {
        let failed = run("6.1", "not ok cell\turing\tlink: missed: no \"link a\"");
        assert_eq!(failed.failures(), ["6.1 lsm: not ok cell uring link: missed: no \"link a\""]);
        assert_eq!(failed.count().to_string(), "4 cells: seen 2, refused 1, n/a 0, missed 0, failed 1");
        let mut expected = Tally::FAILED;
        // Three cells, and that no record is lost.
        (0..4).for_each(|_| expected.add(Tally::PASSED));
        assert_eq!(failed.tally(), expected);
    }

    #[test]
    fn no_cell_may_be_empty() {
        let error = Grid::of(vec![run("6.1", "lost")]).unwrap_err();
        assert_eq!(error.to_string(), "6.1: no result for uring link");
        let unknown = run("6.1", "ok cell\turing\tlink\tperhaps\t-\t-");
        assert_eq!(unknown.failures().len(), 1);
    }
}
