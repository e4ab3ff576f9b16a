//! `svcsensor baseline`: what starts by itself as a portable file, and what has become different since.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EXIT_FINDINGS, scan};
use crate::audit::{Change, Difference, differences};
use crate::event::path::lossy;
use crate::proof::inventory::Entry;
use crate::sink::text::printable;

/// Version of the file. Only files of the same first number are compared.
const SCHEMA_VERSION: &str = "1.0";
/// Bytes of a file that is read: a machine with everything has a few MiB.
const FILE_MAX: u64 = 256 << 20;

/// Writes down what starts by itself, and tells what is different later
///
/// A snapshot is a JSON file that can be kept elsewhere: beside a golden image, or where whoever breaks in cannot reach
/// it. Each entry has its digest, owner, package and what it runs.
#[derive(clap::Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  written; or no difference
  1  differences
  2  usage
  4  failure: a file cannot be read or written, or is no snapshot

Examples:
  svcsensor baseline snapshot -o golden.json
  svcsensor baseline diff golden.json";

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes down what starts by itself
    #[command(after_long_help = AFTER_SNAPSHOT_HELP)]
    Snapshot {
        /// Look below DIR instead of /
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Where to; standard output if not given. A file that is there is replaced
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Tells what is different
    #[command(after_long_help = AFTER_DIFF_HELP)]
    Diff {
        /// The snapshot to compare with
        before: PathBuf,
        /// A later snapshot, instead of looking now
        #[arg(conflicts_with = "root")]
        after: Option<PathBuf>,
        /// Look below DIR instead of /
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Form of the answer
        #[arg(long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
        output: Format,
    },
}

const AFTER_SNAPSHOT_HELP: &str = "\
What could not be read is told on standard error, and stands in the file.

Exit codes:
  0  written
  2  usage
  4  it cannot be written

Examples:
  svcsensor baseline snapshot -o golden.json
  svcsensor baseline snapshot --root /mnt/image | gzip";

const AFTER_DIFF_HELP: &str = "\
Exit codes:
  0  no difference
  1  differences
  2  usage
  4  a file cannot be read, or is no snapshot

Examples:
  svcsensor baseline diff golden.json
  svcsensor baseline diff golden.json --root /mnt/image
  svcsensor baseline diff monday.json tuesday.json --output json";

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// A snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    schema_version: String,
    #[serde(rename = "@timestamp")]
    timestamp: String,
    root: String,
    entries: Vec<Entry>,
    /// What was not looked at: path and why.
    problems: Vec<(String, String)>,
}

/// Runs the command.
///
/// # Errors
/// Where a file cannot be read or written, or is no snapshot.
pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Snapshot { root, output } => {
            let snapshot = take(root)?;
            let mut text = serde_json::to_string(&snapshot)?;
            text.push('\n');
            match output {
                Some(path) => write(path, text.as_bytes())?,
                None => {
                    std::io::stdout()
                        .write_all(text.as_bytes())
                        .context("cannot write to standard output")?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Diff { before, after, root, output } => {
            let before = read(before)?;
            let after = match after {
                Some(path) => read(path)?,
                None => take(root)?,
            };
            let found = differences(&before.entries, &after.entries);
            let text = match output {
                Format::Text => words(&before, &after, &found),
                Format::Json => {
                    let lines: Result<Vec<String>, _> = found.iter().map(serde_json::to_string).collect();
                    lines?.into_iter().map(|line| line + "\n").collect()
                }
            };
            std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
            Ok(ExitCode::from(if found.is_empty() { 0 } else { EXIT_FINDINGS }))
        }
    }
}

fn take(root: &Path) -> anyhow::Result<Snapshot> {
    let (_, survey) = scan::look(root)?;
    let problems: Vec<(String, String)> = survey
        .problems
        .iter()
        .map(|problem| (lossy(&problem.path).into_owned(), problem.what.clone()))
        .collect();
    for (path, what) in problems.iter().take(8) {
        super::complain(format_args!("{}: {}", printable(path), printable(what)));
    }
    if problems.len() > 8 {
        super::complain(format_args!("and {} more that could not be looked at", problems.len() - 8));
    }
    Ok(Snapshot {
        schema_version: SCHEMA_VERSION.to_owned(),
        timestamp: Timestamp::now().to_string(),
        root: root.display().to_string(),
        entries: survey.entries,
        problems,
    })
}

/// Puts a file in its place once it is whole.
fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let wrong = || format!("cannot write {}", path.display());
    let mut name = path.file_name().with_context(wrong)?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let done = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if done.is_err() {
        let _may_never_have_been = std::fs::remove_file(&temporary);
    }
    done.with_context(wrong)
}

fn read(path: &Path) -> anyhow::Result<Snapshot> {
    let wrong = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(wrong)?;
    let mut text = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut text).with_context(wrong)?;
    if text.len() as u64 > FILE_MAX {
        bail!("{}: more than {} MiB, not a snapshot", path.display(), FILE_MAX >> 20);
    }
    let snapshot: Snapshot =
        serde_json::from_slice(&text).with_context(|| format!("{}: not a snapshot", path.display()))?;
    let first = |version: &str| version.split('.').next().map(str::to_owned);
    if first(&snapshot.schema_version) != first(SCHEMA_VERSION) {
        bail!(
            "{}: of version {}, not {SCHEMA_VERSION}: take it again",
            path.display(),
            snapshot.schema_version
        );
    }
    Ok(snapshot)
}

fn words(before: &Snapshot, after: &Snapshot, found: &[Difference]) -> String {
    let mut text = String::new();
    let said =
        if found.is_empty() { "no difference".to_owned() } else { format!("{} differences", found.len()) };
    let _ = writeln!(
        text,
        "{} of {} and {} of {}: {said}.",
        printable(&before.root),
        printable(&before.timestamp),
        printable(&after.root),
        printable(&after.timestamp)
    );
    for one in found {
        let mark = match one.change {
            Change::Added => '+',
            Change::Removed => '-',
            Change::Changed => '~',
        };
        let _ = writeln!(
            text,
            "\n{mark} {} {}  {}",
            scan::kind_name(one.kind),
            printable(&one.name),
            printable(&one.path)
        );
        for what in &one.what {
            let _ = writeln!(text, "    {}", printable(what));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_again_and_a_planted_unit_is_the_difference() {
        let tree = tempfile::tempdir().unwrap();
        let units = tree.path().join("etc/systemd/system");
        std::fs::create_dir_all(&units).unwrap();
        std::fs::write(units.join("a.service"), "[Service]\nExecStart=/bin/a\n").unwrap();
        let kept = tempfile::tempdir().unwrap();
        let file = kept.path().join("x.json");
        write(&file, &serde_json::to_vec(&take(tree.path()).unwrap()).unwrap()).unwrap();
        let before = read(&file).unwrap();
        assert_eq!(differences(&before.entries, &take(tree.path()).unwrap().entries), []);
        std::fs::write(units.join("evil.service"), "[Service]\nExecStart=/tmp/x\n").unwrap();
        let after = take(tree.path()).unwrap();
        let found = differences(&before.entries, &after.entries);
        assert_eq!(found.len(), 1, "{found:?}");
        let said = words(&before, &after, &found);
        assert!(said.contains("+ unit evil.service  /etc/systemd/system/evil.service\n"), "{said}");
        assert_eq!(std::fs::read_dir(kept.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        let kept = tempfile::tempdir().unwrap();
        let file = kept.path().join("x.json");
        for (text, why) in [
            ("{", "not a snapshot"),
            ("{}", "not a snapshot"),
            (
                r#"{"schema_version":"2.0","@timestamp":"","root":"/","entries":[],"problems":[]}"#,
                "version 2.0",
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", read(&file).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
        assert!(read(&kept.path().join("none")).is_err());
    }
}
