//! `svcsensor scan`: everything that starts by itself on a machine or image, with proof and risk.

mod document;
mod table;

pub use document::{SCHEMA, SCHEMA_VERSION};

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;

use super::{EXIT_FINDINGS, EXIT_UNSUPPORTED, complain};
use crate::audit::{Risk, Sum, posture, weigh};
use crate::config::{Overrides, Sources, load};
use crate::detect::rule::Severity;
use crate::proof::inventory::survey::{Step, Survey, survey};
use crate::proof::package::Packages;
use crate::sink::pretty::wants_colour;
use crate::source::content::Root;

/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(200);

/// Lists what starts by itself, whose it is, and what is odd about it
///
/// Looks once at all that the sensor watches: units with drop-ins and links, generators, init scripts, containers that
/// come back, Quadlets, static pods, cron, udev rules and the like. What package databases prove by content is summed up;
/// the rest is listed, the riskiest first, and behind it what about the machine makes planting something easy. Needs no
/// BPF, no running systemd and no package manager: only files are read, so an image mounted somewhere will do. Without
/// root it says what it could not read.
#[derive(clap::Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Look below DIR instead of /; nothing outside of it is read, wherever its links point
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Form of the answer
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Format::Table)]
    output: Format,
    /// Only these parts; may be repeated, or a list with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// List what shows nothing odd as well, though no package proves it (the same as --min-risk info)
    #[arg(long, conflicts_with = "min_risk")]
    all: bool,
    /// Least risk that is listed, and for which the exit code is 1
    #[arg(long, value_enum, value_name = "RISK", default_value_t = Least::Low)]
    min_risk: Least,
}

const AFTER_HELP: &str = "\
Risk is that of the sensor's rule for writing such a file, less what nobody can know of a file that is
just there, and more for what is odd: a program in /tmp or of no package, LD_PRELOAD, a download in
the command line, a look-alike name. `info` is for the record.

Exit codes:
  0  nothing at --min-risk or above
  1  findings
  2  usage
  3  nothing could be read for want of privilege
  4  failure, or the answer cannot be written

Examples:
  svcsensor scan
  svcsensor scan --root /mnt/image --output json | jq '.findings[].path'
  svcsensor scan --only posture --all";

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON document (`svcsensor config schema scan`)
    Json,
}

/// A part of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Units, drop-ins, links and generators of systemd
    Units,
    /// Init scripts and services of other inits
    Init,
    /// Containers, Quadlets, static pods
    Containers,
    /// Cron, udev rules, D-Bus activation and all else that makes a machine run something
    Adjacent,
    /// What about the machine makes planting something easy
    Posture,
}

/// A least risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Least {
    /// All that is not proved
    Info,
    /// Worth a look in a review
    Low,
    /// Worth a look this week
    Medium,
    /// Worth a look now
    High,
    /// Wake someone
    Critical,
}

impl Least {
    fn severity(self) -> Severity {
        Severity::ALL[self as usize]
    }
}

impl Part {
    fn of(kind: crate::proof::inventory::Kind) -> Self {
        use crate::proof::inventory::Kind;
        match kind {
            Kind::Unit | Kind::DropIn | Kind::Link | Kind::Generator => Self::Units,
            Kind::InitScript => Self::Init,
            Kind::Container | Kind::Quadlet | Kind::StaticPod => Self::Containers,
            Kind::Adjacent => Self::Adjacent,
        }
    }
}

/// What is told.
struct Answer<'a> {
    root: String,
    least: Severity,
    survey: &'a Survey,
    sum: Sum,
    /// All that are not proved, of the parts that are asked for.
    risks: Vec<Risk<'a>>,
    posture: Vec<posture::Check>,
}

impl Answer<'_> {
    /// Whether anything is at the least risk.
    fn has_findings(&self) -> bool {
        self.risks.iter().any(|risk| risk.severity >= self.least)
            || self.posture.iter().any(|check| check.severity >= self.least)
    }
}

/// Runs the command.
///
/// # Errors
/// Where the root cannot be opened, or the answer not be written.
pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    let (root, survey) = look(&args.root)?;
    let least = if args.all { Severity::Info } else { args.min_risk.severity() };
    let wants = |part: Part| args.only.is_empty() || args.only.contains(&part);
    let (mut risks, sum) = weigh(&survey);
    risks.retain(|risk| wants(Part::of(risk.entry.kind)));
    let posture = if wants(Part::Posture) { posture::check(&root, &survey) } else { Vec::new() };
    let answer =
        Answer { root: args.root.display().to_string(), least, survey: &survey, sum, risks, posture };
    let mut out = anstream::AutoStream::auto(std::io::stdout().lock());
    let written = match args.output {
        Format::Table => {
            let colour = wants_colour(&std::io::stdout());
            out.write_all(table::table(&answer, colour).as_bytes()).and_then(|()| out.flush())
        }
        Format::Json => {
            let text = serde_json::to_string(&document::of(&answer))?;
            writeln!(out, "{text}").and_then(|()| out.flush())
        }
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(error).context("the answer cannot be written");
        }
        _ => {}
    }
    let denied = survey.entries.is_empty() && !survey.problems.is_empty();
    Ok(ExitCode::from(match () {
        () if answer.has_findings() => EXIT_FINDINGS,
        () if denied && rustix::process::geteuid().as_raw() != 0 => EXIT_UNSUPPORTED,
        () => 0,
    }))
}

/// Surveys what is below a directory, with progress for whoever waits at a terminal.
///
/// # Errors
/// Where it cannot be opened.
pub(super) fn look(directory: &std::path::Path) -> anyhow::Result<(Arc<Root>, Survey)> {
    let name = directory.to_str().with_context(|| format!("{}: not UTF-8", directory.display()))?;
    let root = Arc::new(Root::open(name).with_context(|| format!("cannot open {name}"))?);
    // Of this machine its own configuration says what else is watched.
    let sources = Sources::host(None, Overrides::default());
    let config = match (name, load::load(&sources)) {
        ("/", Ok(loaded)) => loaded.config,
        ("/", Err(error)) => {
            complain(format_args!("{error}: looking at what is watched by default"));
            crate::config::Config::default()
        }
        _ => crate::config::Config::default(),
    };
    let mut progress = Progress::new();
    progress.tell(Step { what: "reading package databases", done: 0, of: 0 });
    let mut packages = Packages::open(Arc::clone(&root));
    let paths = config.watch.effective();
    let paths = paths.iter().map(|path| (&*path.path, path.class));
    let mut survey = survey(&root, &mut packages, paths, &mut |step| progress.tell(step));
    progress.end();
    for status in packages.status() {
        let path = status.path.clone().into_bytes();
        let problem = |what: String| crate::proof::inventory::survey::Problem { path: path.clone(), what };
        survey.problems.extend(status.problems.into_iter().map(problem));
    }
    Ok((root, survey))
}

/// A line on standard error that is written over, where that is a terminal.
struct Progress {
    shown: bool,
    next: Instant,
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self { shown: false, next: Instant::now() + PROGRESS, terminal: std::io::stderr().is_terminal() }
    }

    fn tell(&mut self, step: Step) {
        if !self.terminal || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + PROGRESS;
        self.shown = true;
        let of = if step.of > 0 { format!(" {}/{}", step.done, step.of) } else { String::new() };
        let _nobody_watches = write!(std::io::stderr(), "\r\x1b[K{}{of}", step.what);
    }

    fn end(&self) {
        if self.shown {
            let _nobody_watches = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests;
