//! The figures side by side, and how far they repeat.

use std::fmt;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// What the guest writes: one boot.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Watched objects.
    pub objects: usize,
    /// Watched names of entries.
    pub names: usize,
    pub figures: Vec<Figure>,
}

/// One operation in one phase (`baseline`, `empty`, `sensor`).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    pub phase: String,
    pub operation: String,
    /// Instructions for one operation.
    pub instructions: f64,
    pub programs: Vec<ProgramFigure>,
}

/// One hook's program during an operation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramFigure {
    pub hook: String,
    /// Runs for one operation.
    pub runs: f64,
    /// Instructions for one run.
    pub instructions: f64,
}

/// What the sensor may add at most, as a multiple of what the empty programs add.
const AIMS: [(&str, f64); 3] = [
    ("open and close, read-only", 1.3),
    ("open and close for writing, depth 2", 2.5),
    ("open and close for writing, depth 9", 2.5),
];

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Table {
    kernel: String,
    backend: String,
    /// Watched objects and names.
    objects: usize,
    names: usize,
    boots: usize,
    operations: Vec<Operation>,
}

#[derive(Debug, Serialize)]
struct Operation {
    operation: String,
    /// Instructions without programs; under empty ones; under the sensor.
    baseline: f64,
    empty: f64,
    sensor: f64,
    /// What the sensor adds to the baseline over what the empty programs add.
    ratio: f64,
    aim: Option<f64>,
    /// How far the boots differ at most in one of the three, as a part of it.
    deviation: f64,
    programs: Vec<Program>,
}

#[derive(Debug, Serialize)]
struct Program {
    hook: String,
    /// Runs for one operation.
    runs: f64,
    /// Instructions for one run of the empty program, of the sensor's.
    empty: f64,
    sensor: f64,
}

impl Table {
    /// Puts the least of each figure over all boots into a table.
    ///
    /// # Errors
    /// Where the boots did not measure the same.
    pub fn of(kernel: &str, backend: &str, boots: &[Report]) -> Result<Self> {
        let first = boots.first().context("no boot, no table")?;
        let mut operations = Vec::new();
        for figure in first.figures.iter().filter(|figure| figure.phase == "baseline") {
            let name = &figure.operation;
            let mut deviation: f64 = 0.0;
            let mut total = |phase| -> Result<f64> {
                let (least, most) = range(boots, name, phase, |figure| Some(figure.instructions))?;
                deviation = deviation.max((most - least) / least);
                Ok(least)
            };
            let (baseline, empty, sensor) = (total("baseline")?, total("empty")?, total("sensor")?);
            let aim = AIMS.iter().find(|(operation, _)| operation == name).map(|(_, aim)| *aim);
            operations.push(Operation {
                operation: name.clone(),
                baseline,
                empty,
                sensor,
                ratio: (sensor - baseline) / (empty - baseline),
                aim,
                deviation,
                programs: programs(boots, name)?,
            });
        }
        ensure!(!operations.is_empty(), "the guest measured nothing");
        Ok(Self {
            kernel: kernel.into(),
            backend: backend.into(),
            objects: first.objects,
            names: first.names,
            boots: boots.len(),
            operations,
        })
    }
}

/// The hooks' programs during an operation.
fn programs(boots: &[Report], operation: &str) -> Result<Vec<Program>> {
    let sensor = find(&boots[0], operation, "sensor")?;
    let mut programs = Vec::new();
    for program in &sensor.programs {
        let of_hook = |figure: &Figure| {
            let program = figure.programs.iter().find(|other| other.hook == program.hook)?;
            Some(program.instructions)
        };
        programs.push(Program {
            hook: program.hook.clone(),
            runs: program.runs,
            empty: range(boots, operation, "empty", of_hook)?.0,
            sensor: range(boots, operation, "sensor", of_hook)?.0,
        });
    }
    Ok(programs)
}

/// The least and the greatest of one figure over all boots.
fn range(
    boots: &[Report],
    operation: &str,
    phase: &str,
    of: impl Fn(&Figure) -> Option<f64>,
) -> Result<(f64, f64)> {
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for boot in boots {
        let figure = of(find(boot, operation, phase)?)
            .with_context(|| format!("no {phase} program ran in one boot during `{operation}`"))?;
        (least, most) = (least.min(figure), most.max(figure));
    }
    Ok((least, most))
}

fn find<'a>(boot: &'a Report, operation: &str, phase: &str) -> Result<&'a Figure> {
    let mut figures = boot.figures.iter();
    figures
        .find(|figure| figure.operation == operation && figure.phase == phase)
        .with_context(|| format!("the guest has no figure for `{operation}`, {phase}"))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Linux {}, backend {}, {} objects and {} names watched\n",
            self.kernel, self.backend, self.objects, self.names
        )?;
        writeln!(
            f,
            "{:<48} {:>9} {:>8} {:>8} {:>6} {:>6}  aim",
            "instructions for one", "baseline", "+ empty", "+ sensor", "ratio", "differ"
        )?;
        for row in &self.operations {
            write!(
                f,
                "{:<48} {:>9.0} {:>+8.0} {:>+8.0} {:>6.2} {:>5.2}%",
                row.operation,
                row.baseline,
                row.empty - row.baseline,
                row.sensor - row.baseline,
                row.ratio,
                row.deviation * 100.0
            )?;
            match row.aim {
                Some(aim) => {
                    let verdict = if row.ratio <= aim { "reached" } else { "missed" };
                    writeln!(f, "  {aim:.1} {verdict}")?;
                }
                None => writeln!(f)?,
            }
        }
        writeln!(
            f,
            "\n{:<70} {:>6} {:>6} {:>6}",
            "instructions for one run of a program", "runs", "empty", "sensor"
        )?;
        for row in &self.operations {
            for program in &row.programs {
                writeln!(
                    f,
                    "{:<48} {:<21} {:>6.2} {:>6.0} {:>6.0}",
                    row.operation, program.hook, program.runs, program.empty, program.sensor
                )?;
            }
        }
        writeln!(f, "\nleast of {} boot(s); `differ` says how far they lie apart", self.boots)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(sensor: f64) -> Report {
        let figure = |phase: &str, instructions: f64, program: Option<f64>| Figure {
            phase: phase.into(),
            operation: AIMS[0].0.into(),
            instructions,
            programs: program
                .map(|instructions| ProgramFigure { hook: "file_open".into(), runs: 1.0, instructions })
                .into_iter()
                .collect(),
        };
        let figures = vec![
            figure("baseline", 1000.0, None),
            figure("empty", 1100.0, Some(70.0)),
            figure("sensor", sensor, Some(100.0)),
        ];
        Report { objects: 7, names: 9, figures }
    }

    #[test]
    fn the_least_counts_and_the_rest_is_deviation() {
        let table = Table::of("6.12", "lsm", &[boot(1250.0), boot(1200.0)]).unwrap();
        let row = &table.operations[0];
        assert!((row.ratio - 2.0).abs() < 1e-9, "{}", row.ratio);
        assert!((row.deviation - 50.0 / 1200.0).abs() < 1e-9);
        let text = table.to_string();
        assert!(text.contains("1.3 missed") && text.contains("4.17%"), "{text}");
        let text = Table::of("6.12", "lsm", &[boot(1120.0)]).unwrap().to_string();
        assert!(text.contains("1.3 reached") && text.contains("0.00%"), "{text}");
    }

    #[test]
    fn boots_that_measured_different_things_are_an_error() {
        let mut other = boot(1200.0);
        other.figures.pop();
        assert!(Table::of("6.12", "lsm", &[boot(1200.0), other]).is_err());
        assert!(Table::of("6.12", "lsm", &[]).is_err());
    }
}
