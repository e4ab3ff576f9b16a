//! `svcsensor inventory`: what this machine starts by itself, as the sensor has it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use super::{EXIT_FINDINGS, complain};
use crate::event::path::lossy;
use crate::incident::summary::printable;
use crate::proof::approval::shown;
use crate::proof::inventory::store::{DIRECTORY, Known, Store};
use crate::proof::inventory::tell::{is_proved, kind_name};

/// Shows what this machine starts by itself, as the running sensor has it
///
/// Reads /var/lib/svcsensor/inventory.sqlite and changes nothing; sqlite3 can read it as well. `svcsensor scan` looks at
/// the machine instead.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// The sensor's state directory
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = DIRECTORY)]
    state: PathBuf,
    /// One JSON document a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  verify: the inventory was edited; show: there is nothing of this name
  2  usage
  4  there is no inventory, or it cannot be read

Examples:
  svcsensor inventory list
  svcsensor inventory list --unproved --json
  svcsensor inventory show ssh.service
  svcsensor inventory verify";

const AFTER_LIST: &str = "\
Exit codes:
  0  done
  4  there is no inventory, or it cannot be read

Examples:
  svcsensor inventory list
  svcsensor inventory list --unproved";

const AFTER_SHOW: &str = "\
Exit codes:
  0  done
  1  there is nothing of this name
  4  there is no inventory, or it cannot be read

Examples:
  svcsensor inventory show ssh.service
  svcsensor inventory show /etc/systemd/system/ssh.service";

const AFTER_VERIFY: &str = "\
Exit codes:
  0  it is as the sensor left it
  1  it was edited
  4  there is no inventory, or it cannot be read

Examples:
  svcsensor inventory verify
  svcsensor inventory verify --json";

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists all of it: kind, name, who proves it, when it was last changed
    #[command(after_long_help = AFTER_LIST)]
    List {
        /// Only what no package explains by its content
        #[arg(long)]
        unproved: bool,
    },
    /// Shows one thing, what it runs, and what happened to it
    #[command(after_long_help = AFTER_SHOW)]
    Show {
        /// A unit's, script's or container's name, or a path
        name: String,
    },
    /// Tells whether the inventory is as the sensor left it, and its seal
    ///
    /// The seal is a digest over all entries and their history. It lies beside the inventory as well, and each one is in
    /// the journal: who rewrites both files is found by comparing with the journal, or with where that is sent.
    #[command(after_long_help = AFTER_VERIFY)]
    Verify,
}

/// Runs the command.
///
/// # Errors
/// Where there is no inventory, it cannot be read, or the answer cannot be written.
pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match run(args, &mut out) {
        Err(error) if is_closed(&error) => Ok(ExitCode::SUCCESS),
        other => other,
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(args: &Args, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let store = open(&args.state)?;
    match &args.command {
        Command::List { unproved } => {
            let mut written = Ok(());
            store.each(|known| {
                if written.is_ok() && !(*unproved && is_proved(&known.entry)) {
                    written = list_one(&known, args.json, out);
                }
            })?;
            written?;
        }
        Command::Show { name } => {
            let found = store.named(name)?;
            if found.is_empty() {
                complain(format_args!("the inventory has nothing of the name or path {name:?}"));
                return Ok(ExitCode::from(EXIT_FINDINGS));
            }
            for known in &found {
                show_one(&store, known, args.json, out)?;
            }
        }
        Command::Verify => {
            let edits = store.verify()?;
            let seal = store.seal()?;
            if args.json {
                let edits: Vec<&str> =
                    edits.iter().map(crate::proof::inventory::store::Tampering::describe).collect();
                writeln!(out, "{}", serde_json::json!({ "seal": seal, "edits": edits }))?;
            } else {
                writeln!(out, "seal {seal}")?;
                for edit in &edits {
                    writeln!(out, "edited: {}", edit.describe())?;
                }
            }
            if !edits.is_empty() {
                return Ok(ExitCode::from(EXIT_FINDINGS));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(state: &Path) -> anyhow::Result<Store> {
    Store::open_to_read(state).with_context(|| format!("cannot read the inventory in {}", state.display()))
}

fn proof(known: &Known) -> String {
    use crate::proof::package::Verdict;
    let of = |word: &str, package: &crate::proof::package::Package| {
        format!("{word} {} {}", package.name, package.version)
    };
    match &known.entry.proof {
        Verdict::Proved { package } if is_proved(&known.entry) => of("proved", package),
        Verdict::Proved { package } => of("runs what is not of", package),
        Verdict::Modified { package, config: true } => of("configuration of", package),
        Verdict::Modified { package, config: false } => of("modified", package),
        Verdict::Claimed { package } => of("of", package),
        Verdict::Unowned => "of no package".to_owned(),
        Verdict::Unknown { .. } => "unknown".to_owned(),
    }
}

fn list_one(known: &Known, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        return writeln!(out, "{}", serde_json::to_string(known)?);
    }
    let entry = &known.entry;
    writeln!(
        out,
        "{:<11} {:<44} {:<40} {}  {}",
        kind_name(entry.kind),
        printable(&entry.name),
        printable(&proof(known)),
        shown(known.last_changed_ns),
        printable(&lossy(&entry.path)),
    )
}

fn show_one(store: &Store, known: &Known, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let history = store.history(&known.entry.path)?;
    if json {
        let mut document = serde_json::to_value(known)?;
        document["history"] = serde_json::to_value(&history)?;
        writeln!(out, "{document}")?;
        return Ok(());
    }
    let entry = &known.entry;
    writeln!(out, "{} {}", kind_name(entry.kind), printable(&entry.name))?;
    let mut line = |name: &str, value: &str| writeln!(out, "  {name:<14}{}", printable(value));
    line("path", &lossy(&entry.path))?;
    if let Some(target) = &entry.target {
        line("leads to", &lossy(target))?;
    }
    line("proof", &proof(known))?;
    line("sha256", entry.sha256.as_deref().unwrap_or("unreadable"))?;
    line("mode", &format!("{:o} {}:{}", entry.mode & 0o7777, entry.uid, entry.gid))?;
    for program in &entry.programs {
        let digest = program.sha256.as_deref().unwrap_or("unreadable");
        line("runs", &format!("{} ({digest:.16})", lossy(&program.path)))?;
    }
    line("first seen", &shown(known.first_seen_ns))?;
    line("last seen", &shown(known.last_seen_ns))?;
    line("last changed", &shown(known.last_changed_ns))?;
    if let Some(by) = &known.changed_by {
        line("changed by", &format!("{} as {}, alert {}", by.process, by.user, by.alert))?;
    }
    for change in &history {
        let by = change.by.as_ref().map(|by| format!(", by {} as {}", by.process, by.user));
        let details = if change.details.is_empty() { String::new() } else { format!(": {}", change.details) };
        let by = by.unwrap_or_default();
        line("history", &format!("{} {}{details}{by}", shown(change.at_ns), change.change))?;
    }
    Ok(())
}
