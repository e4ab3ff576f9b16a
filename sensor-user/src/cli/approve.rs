//! `svcsensor approve` and `svcsensor approvals`: changes that are expected.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use sha2::{Digest, Sha256};

use super::{EXIT_FINDINGS, EXIT_USAGE, complain};
use crate::event::approval::{Approval, Source, When};
use crate::incident::summary::printable;
use crate::proof::approval::{check, list, moment, revoke, shown, write};
use crate::proof::inventory::store::DIRECTORY;
use crate::source::snapshot::realtime_ns;

/// Bytes of a file whose digest is taken.
const FILE_MAX: u64 = 1 << 30;

/// Tells the running sensor that a change is expected
///
/// The content is what is approved: an alert about the path or unit whose file has just that content, until the approval
/// expires, is told as info, with this approval in it. Any other content is told as ever. Making an approval is itself
/// told, with who made it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_APPROVE)]
#[command(override_usage = USAGE)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["path", "unit"]))]
#[command(group = clap::ArgGroup::new("content").required(true).args(["sha256", "file"]))]
pub struct ApproveArgs {
    /// The path that is going to be written; `*` stands for any part of a name, `**` for any directories
    #[arg(long)]
    path: Option<String>,
    /// The unit that is going to be written or enabled
    #[arg(long)]
    unit: Option<String>,
    /// SHA-256 of the content that it will have
    #[arg(long, value_name = "DIGEST")]
    sha256: Option<String>,
    /// A file with the content that it will have
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Who approves
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Until when: 2026-12-01, 2026-12-01T12:00:00Z, or from now on 90m, 12h, 7d
    #[arg(long, value_name = "TIME")]
    expires: String,
    /// Why
    #[arg(long, default_value = "expected")]
    reason: String,
    /// The sensor's state directory
    #[arg(long, value_name = "DIRECTORY", default_value = DIRECTORY)]
    state: PathBuf,
}

/// What clap makes of the groups is wider than a terminal.
const USAGE: &str = "svcsensor approve --unit <UNIT> --file <FILE> --by <NAME> --expires <TIME> [OPTIONS]";

const AFTER_APPROVE: &str = "\
Exit codes:
  0  approved; the id is printed, and counts within five seconds
  2  usage: a time or digest that makes no sense
  4  it cannot be written

Examples:
  svcsensor approve --unit app.service --file build/app.service --by anna --expires 2h
  svcsensor approve --path /etc/cron.d/app --file app.cron --by ops --expires 2026-12-01";

/// Lists approvals, or takes one back
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_APPROVALS)]
pub struct ApprovalsArgs {
    /// The sensor's state directory
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = DIRECTORY)]
    state: PathBuf,
    #[command(subcommand)]
    command: Command,
}

const AFTER_APPROVALS: &str = "\
Exit codes:
  0  done
  1  there is no such approval
  2  usage
  4  it cannot be read or written

Examples:
  svcsensor approvals list
  svcsensor approvals revoke 1764590400000000000";

const AFTER_LIST: &str = "\
Exit codes:
  0  done
  4  the answer cannot be written

Examples:
  svcsensor approvals list
  svcsensor approvals list --json";

const AFTER_REVOKE: &str = "\
Exit codes:
  0  done
  1  there is no such approval
  4  it cannot be removed

Examples:
  svcsensor approvals revoke 1764590400000000000";

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists what was approved by command; signed files and exceptions are where they were written
    #[command(after_long_help = AFTER_LIST)]
    List {
        /// One JSON document a line
        #[arg(long)]
        json: bool,
    },
    /// Takes an approval back
    #[command(after_long_help = AFTER_REVOKE)]
    Revoke {
        /// Its id, as `approve` and `list` print it
        id: String,
    },
}

/// Runs `svcsensor approve`.
///
/// # Errors
/// Where a file cannot be read or written.
pub fn approve(args: &ApproveArgs) -> anyhow::Result<ExitCode> {
    let now = realtime_ns();
    let expires = match moment(&args.expires, Some(now)) {
        Ok(expires) if expires > now => expires,
        Ok(_) => return Ok(refuse(format_args!("--expires {} is past", args.expires))),
        Err(problem) => return Ok(refuse(format_args!("--expires {problem}"))),
    };
    let sha256 = match &args.file {
        Some(file) => Some(digest(file)?),
        None => args.sha256.as_ref().map(|digest| digest.to_ascii_lowercase()),
    };
    let approval = Approval {
        name: now.to_string(),
        source: Source::Command,
        by: Some(args.by.clone()),
        reason: args.reason.clone(),
        expires_ns: Some(expires),
        when: When { path: args.path.clone(), unit: args.unit.clone(), sha256, ..When::default() },
    };
    if let Err(problem) = check(&approval) {
        return Ok(refuse(problem));
    }
    write(&args.state, &approval)
        .with_context(|| format!("cannot write the approval below {}", args.state.display()))?;
    writeln!(io::stdout(), "{}", approval.name)?;
    Ok(ExitCode::SUCCESS)
}

fn refuse(problem: impl std::fmt::Display) -> ExitCode {
    complain(problem);
    ExitCode::from(EXIT_USAGE)
}

fn digest(path: &PathBuf) -> anyhow::Result<String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(file.metadata()?.is_file(), "{} is no regular file", path.display());
    let mut hash = Sha256::new();
    let copied = io::copy(&mut file.take(FILE_MAX + 1), &mut hash)
        .with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(copied <= FILE_MAX, "{} has more than {FILE_MAX} bytes", path.display());
    Ok(hash.finalize().iter().fold(String::new(), |mut digits, byte| {
        let _infallible = write!(digits, "{byte:02x}");
        digits
    }))
}

/// Runs `svcsensor approvals`.
///
/// # Errors
/// Where a file cannot be removed, or the answer not be written.
pub fn approvals(args: &ApprovalsArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List { json } => {
            let loaded = list(&args.state);
            let (now, mut out) = (realtime_ns(), io::stdout().lock());
            for approval in &loaded.approvals {
                if *json {
                    writeln!(out, "{}", serde_json::to_string(approval)?)?;
                } else {
                    writeln!(out, "{}", line(approval, now))?;
                }
            }
            for problem in &loaded.problems {
                complain(problem);
            }
        }
        Command::Revoke { id } => match revoke(&args.state, id) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                complain(format_args!("there is no approval {id:?}"));
                return Ok(ExitCode::from(EXIT_FINDINGS));
            }
            Err(error) => return Err(error).context(format!("cannot revoke {id}")),
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn line(approval: &Approval, now_ns: i64) -> String {
    let when = &approval.when;
    let what = [&when.path, &when.unit].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    let until = approval.expires_ns.map_or("permanent".to_owned(), |expires| {
        let word = if expires <= now_ns { "expired" } else { "until" };
        format!("{word} {}", shown(expires))
    });
    let by = approval.by.as_deref().unwrap_or("?");
    let digest = when.sha256.as_deref().unwrap_or("");
    printable(&format!("{}  {until}  {what} {digest:.16}  by {by}: {}", approval.name, approval.reason))
}
