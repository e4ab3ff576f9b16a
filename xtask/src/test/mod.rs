//! `cargo xtask test`: every test, in stages, each timed.

mod deny;
pub(crate) mod e2e;
mod guest;
mod host;
mod show;
mod units;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{ebpf, matrix, sh};

pub use guest::{Programs, btrfs};

/// Run the tests: all of them, or some stages
///
/// Stages that need a virtual machine fetch and build one the first time, and need no KVM. All stages run, whichever
/// fails; a table at the end says what passed, failed and was skipped, and why is said where it happens.
#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Only these stages: a list with commas, or repeated (see --list)
    #[arg(long, value_delimiter = ',', value_name = "STAGE")]
    only: Vec<String>,
    /// Name the stages, and end
    #[arg(long)]
    list: bool,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  nothing failed; something may have been skipped
  1  something failed, or there is no such stage
  2  usage

Examples:
  cargo xtask test
  cargo xtask test --list
  cargo xtask test --only format,lint,unit";

/// How many assertions of a stage held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Tally {
    /// One that held.
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    /// One that did not.
    pub const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Adds another's.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Whether one did not hold.
    pub fn has_failed(self) -> bool {
        self.failed > 0
    }

    /// Takes up a line `ok ...`, `not ok ...` or `skipped ...`; other lines count for nothing.
    pub fn line(&mut self, line: &str) {
        let first = |word: &str| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(' '));
        self.passed += u32::from(first("ok"));
        self.failed += u32::from(first("not ok"));
        self.skipped += u32::from(first("skipped"));
    }
}

/// What later stages need of earlier ones.
#[derive(Default)]
struct Built {
    /// An object built here by another toolchain than the committed one's: the machines try it as well.
    fresh_object: Option<PathBuf>,
    /// The static programs.
    programs: Option<Programs>,
}

impl Built {
    fn programs(&mut self) -> Result<Programs> {
        if self.programs.is_none() {
            self.programs = Some(Programs::build()?);
        }
        Ok(self.programs.clone().expect("set above"))
    }

    /// The objects to try: the committed one, and the fresh one where there is one.
    fn objects(&self) -> Vec<Option<PathBuf>> {
        let mut objects = vec![None];
        objects.extend(self.fresh_object.clone().map(Some));
        objects
    }
}

type Stage = (&'static str, &'static str, fn(&mut Built) -> Result<Tally>);

/// In this order: what fails fast comes first.
const STAGES: [Stage; 15] = [
    ("format", "cargo fmt --check", |_| host::format()),
    ("lint", "clippy and rustdoc, without warnings", |_| host::lint()),
    ("deny", "cargo-deny: licences, doubled crates and sources of all dependencies", |_| deny::deny()),
    ("unit", "cargo test of the workspace", |_| host::unit()),
    ("units", "effective units against systemd's own, on those of Debian packages", |_| units::run()),
    ("show", "effective units against `systemctl show` and `cat` of running managers, in a Debian", |_| {
        show::run()
    }),
    ("object", "the committed kernel object is what its sources give", object),
    ("hooks", "every file and process operation, four kernels, two backends, in micro VMs", |built| {
        guest::hooks(&built.programs()?, &built.objects())
    }),
    ("matrix", "every operation on a unit in every way, four kernels, in micro VMs", |built| {
        matrix::stage(&built.programs()?.guest)
    }),
    (
        "burst",
        "floods of execs and of watched writes, against the daemon and the library, in a micro VM",
        |built| guest::burst(&built.programs()?),
    ),
    ("e2e", "a Debian with systemd, docker and podman, from the unit file to the journal", |built| {
        e2e::run(&built.programs()?.sensor, &e2e::SERVICE)
    }),
    (
        "suites",
        "the public suites, ways around paths and names, latency and hostile files, in that Debian",
        |built| e2e::run(&built.programs()?.sensor, &e2e::SUITES),
    ),
    ("containers", "what container engines are asked for, keep and run, in that Debian", |built| {
        e2e::run(&built.programs()?.sensor, &e2e::CONTAINERS)
    }),
    ("quiet", "packages, sessions, editors, backups, images and containers, in that Debian", |built| {
        e2e::run(&built.programs()?.sensor, &e2e::QUIET)
    }),
    ("trixie", "what Debian's next release adds: systemd 257, podman with Quadlet", |built| {
        e2e::run(&built.programs()?.sensor, &e2e::TRIXIE)
    }),
];

/// Runs the tests.
///
/// # Errors
/// Where a stage is unknown, or any fails; the others have run all the same.
pub fn main(args: &Args) -> Result<()> {
    if args.list {
        for (name, what, _) in STAGES {
            println!("{name:<8} {what}");
        }
        return Ok(());
    }
    if let Some(unknown) = args.only.iter().find(|only| STAGES.iter().all(|(name, ..)| name != only)) {
        bail!("no stage {unknown}; `cargo xtask test --list` names them");
    }
    warn_of_little_room();
    let mut built = Built::default();
    let mut results: Vec<(&str, Tally, Duration)> = Vec::new();
    for (name, what, run) in STAGES {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        sh::say(format!("stage {name}: {what}"));
        let start = Instant::now();
        let tally = run(&mut built).unwrap_or_else(|error| {
            println!("not ok {name}: {error:#}");
            Tally { failed: 1, ..Tally::default() }
        });
        results.push((name, tally, start.elapsed()));
    }
    summary(&results)
}

/// Bytes that all stages need below target/ when nothing is there yet, as a run on a clean clone left them, rounded up.
const ROOM: u64 = 14 << 30;

/// A full disk ends builds and images in ways that do not say so. Where something is there already, less may do: so
/// this only tells.
fn warn_of_little_room() {
    let target = sh::target();
    let above = target.ancestors().find(|at| at.exists()).unwrap_or(&target);
    let said = sh::output(Command::new("df").args(["--output=avail", "-B1"]).arg(above));
    let free = said.ok().and_then(|said| said.lines().nth(1)?.trim().parse::<u64>().ok());
    if let Some(free) = free.filter(|free| *free < ROOM) {
        sh::say(format!(
            "{} MiB are free where {} lies; a first run of all stages needs {}",
            free >> 20,
            target.display(),
            ROOM >> 20
        ));
    }
}

fn summary(results: &[(&str, Tally, Duration)]) -> Result<()> {
    let mut total = Tally::default();
    println!("\nstage     passed failed skipped  seconds");
    for (name, tally, elapsed) in results {
        let Tally { passed, failed, skipped } = *tally;
        println!("{name:<9} {passed:>6} {failed:>6} {skipped:>7} {:>8.1}", elapsed.as_secs_f32());
        total.add(*tally);
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if total.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

fn object(built: &mut Built) -> Result<Tally> {
    match ebpf::check()? {
        ebpf::Check::Identical => sh::say("the committed object is what its sources give, byte for byte"),
        ebpf::Check::OtherToolchain { object } => {
            sh::say(format!("built by another toolchain: {} is tested as well", object.display()));
            built.fresh_object = Some(object);
        }
    }
    Ok(Tally::PASSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_their_first_words() {
        let mut tally = Tally::default();
        for line in ["ok a", "ok b", "not ok c: why", "skipped d: why", "okay", "# ok", "not okay"] {
            tally.line(line);
        }
        assert_eq!(tally, Tally { passed: 2, failed: 1, skipped: 1 });
    }
}
