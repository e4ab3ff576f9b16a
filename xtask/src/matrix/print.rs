//! The matrix for people: one symbol a cell, or one a kernel where kernels differ, and a footnote a reason.

use std::fmt::Write;

use super::grid::{Cell, Count, Grid, Outcome, Title};

/// Reasons by number, in the order in which they come up.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    /// The symbol of a cell, with the number of its reason.
    fn symbol(&mut self, cell: &Cell) -> String {
        let symbol = match cell.outcome {
            Outcome::Seen => "✓",
            Outcome::Refused => "R",
            Outcome::NotApplicable => "–",
            Outcome::Missed => "✗",
            Outcome::Failed => "!",
        };
        let Some(because) = &cell.because else { return symbol.to_owned() };
        let reason =
            cell.errno.as_ref().map_or_else(|| because.clone(), |errno| format!("{errno}: {because}"));
        let known = self.0.iter().position(|known| *known == reason);
        let number = known.unwrap_or_else(|| {
            self.0.push(reason);
            self.0.len() - 1
        });
        format!("{symbol}{}", number + 1)
    }

    /// The symbols of a cell on each kernel; one where they are the same.
    fn symbols<'a>(&mut self, cells: impl Iterator<Item = &'a Cell>) -> String {
        let symbols: Vec<String> = cells.map(|cell| self.symbol(cell)).collect();
        if symbols.iter().all(|symbol| *symbol == symbols[0]) {
            symbols[0].clone()
        } else {
            symbols.join("/")
        }
    }
}

/// The tables of one grid: a title, its columns, and the rows with their way's name first.
fn tables(grid: &Grid, notes: &mut Notes) -> Vec<(String, Vec<Vec<String>>)> {
    let mut groups: Vec<&str> = grid.operations.iter().map(|operation| operation.group.as_str()).collect();
    groups.dedup();
    let mut tables = Vec::new();
    for group in groups {
        let columns: Vec<&Title> =
            grid.operations.iter().filter(|operation| operation.group == group).collect();
        let mut rows = vec![vec!["way".to_owned()]];
        rows[0].extend(columns.iter().map(|column| column.name.clone()));
        for way in &grid.ways {
            let mut row = vec![way.name.clone()];
            row.extend(columns.iter().map(|column| notes.symbols(grid.cell(way, column))));
            rows.push(row);
        }
        tables.push((group.to_owned(), rows));
    }
    tables
}

fn kernels(grid: &Grid) -> String {
    let names: Vec<String> =
        grid.runs.iter().map(|run| format!("{} ({})", run.kernel, run.backend)).collect();
    names.join(", ")
}

const LEGEND: &str = "✓ seen, R refused by the kernel, – not applicable, ✗ missed";

/// For a terminal.
pub fn text(grid: &Grid) -> String {
    let mut notes = Notes::default();
    let mut out = String::new();
    for (_, rows) in tables(grid, &mut notes) {
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            out += cells.join(" ").trim_end();
            out.push('\n');
        }
        out.push('\n');
    }
    let _ = writeln!(out, "{LEGEND}; where kernels differ: {}", kernels(grid));
    for (number, note) in notes.0.iter().enumerate() {
        let _ = writeln!(out, "{:>3} {note}", number + 1);
    }
    for run in &grid.runs {
        let _ = writeln!(out, "{} {}: {}", run.kernel, run.backend, run.count());
    }
    out
}

/// The committed document.
pub fn markdown(grid: &Grid) -> String {
    let mut notes = Notes::default();
    let tables = tables(grid, &mut notes);
    let mut out = format!(
        "# Evasion matrix\n\n\
         What the sensor sees when a unit in a watched directory is changed: each operation, done in each way. Written by\n\
         `cargo xtask matrix --output markdown`, which does all of it in virtual machines; the `matrix` stage of\n\
         `cargo xtask test` fails where a run gives another document.\n\n\
         {}.\n\n\
         {LEGEND}. Where kernels differ, one symbol for each: {}.\n\
         Seen means: a record of the operation, with the path as the host has it and the process that did it, came out of\n\
         the kernel programs. Numbers are the reasons below.\n",
        grid.count(),
        kernels(grid),
    );
    let table = |out: &mut String, rows: &[Vec<String>]| {
        for (number, row) in rows.iter().enumerate() {
            let _ = writeln!(out, "| {} |", row.join(" | "));
            if number == 0 {
                let _ = writeln!(out, "|{}", "---|".repeat(row.len()));
            }
        }
    };
    let mut counts = vec![["kernel", "seen", "refused", "n/a", "missed"].map(str::to_owned).to_vec()];
    for run in &grid.runs {
        let Count(count) = run.count();
        let mut row = vec![format!("{} ({})", run.kernel, run.backend)];
        row.extend(count.iter().take(4).map(ToString::to_string));
        counts.push(row);
    }
    out.push('\n');
    table(&mut out, &counts);
    for (title, rows) in &tables {
        let _ = write!(out, "\n## {}\n\n", capital(title));
        table(&mut out, rows);
    }
    out += "\n## Reasons\n\n";
    for (number, note) in notes.0.iter().enumerate() {
        let _ = writeln!(out, "{}. {note}", number + 1);
    }
    for (title, list) in [("Operations", &grid.operations), ("Ways", &grid.ways)] {
        let _ = write!(out, "\n## {title}\n\n");
        for Title { name, what, .. } in list {
            let _ = writeln!(out, "- `{name}`: {what}");
        }
    }
    out
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::super::grid::tests::run;
    use super::*;

    fn grid() -> Grid {
        let old = run("5.10", "ok cell\turing\tlink\tn/a\t-\tnot yet");
        let new = run("6.1", "ok cell\turing\tlink\tseen\t-\t-");
        Grid::of(vec![old, new]).unwrap()
    }

    #[test]
    fn kernels_that_differ_have_a_symbol_each() {
        let text = text(&grid());
        let expected = "\
way   write
plain ✓
uring ✓

way   link
plain R1
uring –2/✓

✓ seen, R refused by the kernel, – not applicable, ✗ missed; where kernels differ: 5.10 (lsm), 6.1 (lsm)
  1 EXDEV: another filesystem
  2 not yet
5.10 lsm: 4 cells: seen 2, refused 1, n/a 1, missed 0
6.1 lsm: 4 cells: seen 3, refused 1, n/a 0, missed 0
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_document_has_every_table_and_reason() {
        let document = markdown(&grid());
        for part in [
            "8 cells: seen 5, refused 2, n/a 1, missed 0.\n",
            "| 5.10 (lsm) | 2 | 1 | 1 | 0 |\n",
            "## Content\n\n| way | write |\n|---|---|\n| plain | ✓ |\n",
            "## Names\n\n| way | link |\n|---|---|\n| plain | R1 |\n| uring | –2/✓ |\n",
            "1. EXDEV: another filesystem\n2. not yet\n",
            "- `uring`: io_uring\n",
        ] {
            assert!(document.contains(part), "no {part:?} in\n{document}");
        }
    }
}
