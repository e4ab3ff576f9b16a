//! `svcsensor replay`: the alerts of a recording, again.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::config::{Journal, Output};
use crate::pipeline::{Limits, Pipeline};
use crate::sink::{SinkError, Sinks};
use crate::source::recording::Reader;

/// Raises the alerts of a recording again
///
/// The same bytes give the same alerts, on any machine: needs no privilege, and looks at nothing but the recording.
#[derive(clap::Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// The recording, as `svcsensor run --record` made it
    file: PathBuf,
    /// Where alerts go; may be repeated, or a list with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORM", default_value = "pretty")]
    output: Vec<Output>,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  the recording was read to its end, or nobody reads standard output any more
  2  usage
  4  it is no recording, of another version, or cut short: the alerts up to there have been told

Examples:
  svcsensor replay /var/tmp/today.svcrec
  svcsensor replay /var/tmp/today.svcrec --output jsonl | jq -r .message";

/// Runs the command.
///
/// # Errors
/// Where the recording cannot be read to its end; alerts up to there have been written.
pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    let mut sinks = super::sinks(&args.output, &Journal::default())?;
    let file = File::open(&args.file).with_context(|| format!("cannot open {}", args.file.display()))?;
    let mut reader = Reader::new(BufReader::new(file)).with_context(|| args.file.display().to_string())?;
    let mut pipeline = Pipeline::new(Limits::default());
    let mut alerts = Vec::new();
    let mut refused = 0_u64;
    let read = loop {
        match reader.next_record() {
            Ok(Some(record)) => refused += u64::from(pipeline.feed(record, &mut alerts).is_err()),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if write(&mut sinks, &mut alerts)?.is_break() {
            return Ok(ExitCode::SUCCESS);
        }
    };
    pipeline.drain(&mut alerts);
    if write(&mut sinks, &mut alerts)?.is_break() {
        return Ok(ExitCode::SUCCESS);
    }
    let lost = sinks.drain(Instant::now() + Duration::from_secs(5));
    anyhow::ensure!(lost == 0, "{lost} alerts could not be delivered");
    if refused > 0 {
        super::complain(format_args!(
            "{refused} records of {} make no sense and were passed over",
            args.file.display()
        ));
    }
    read.with_context(|| args.file.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Hands alerts on; breaks where nobody reads them any more.
fn write(
    sinks: &mut Sinks,
    alerts: &mut Vec<crate::incident::alert::Alert>,
) -> anyhow::Result<std::ops::ControlFlow<()>> {
    for alert in alerts.drain(..) {
        match sinks.write(&alert) {
            Ok(()) => {}
            Err(SinkError::Closed { .. }) => return Ok(std::ops::ControlFlow::Break(())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(std::ops::ControlFlow::Continue(()))
}
