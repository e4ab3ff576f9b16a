//! The whole sensor in a Debian with systemd, docker and podman: what a user does, and what the operator reads.
//!
//! The guest runs `tests/scenarios/main.sh`, which runs the parts of a [`Plan`]; what it writes becomes a [`transcript`],
//! and [`judge`] says what holds.

#[cfg(test)]
mod catalog;
mod changes;
mod judge;
mod packages;
mod short_lived;
mod suites;
mod transcript;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Tally;
use crate::sh;
use crate::vm::cpio::File;
use crate::vm::debian::DebianVm;
use crate::vm::image::Release;
use crate::vm::kernel::{Kernel, Series};
use crate::vm::tool;
use transcript::{Transcript, Verdict};

pub use changes::Figures;

/// What one guest does, and what must hold of it.
pub struct Plan {
    /// Of the log of all that the guest wrote.
    name: &'static str,
    release: Release,
    kernel: Series,
    /// Scenarios in their order.
    parts: &'static [&'static str],
    /// What they must tell ([`suites`]).
    rows: &'static [&'static str],
    /// Changes that `latency` makes.
    changes: u32,
    /// Containers that `short-lived` starts.
    containers: u32,
    /// Containers that come back when `engine-restart` restarts their engine.
    restarted: u32,
    judge: fn(&Transcript, &mut Vec<Verdict>),
    /// Resident memory at the end must be below, in KiB.
    rss_kib: u64,
}

/// From the unit file to the journal, and the service's own life.
pub const SERVICE: Plan = Plan {
    name: "e2e",
    release: Release::Bookworm,
    kernel: Series::V6_1,
    rows: &[],
    parts: &["ready", "quiet", "units", "containers", "running", "journal-away", "ending", "bad-input"],
    changes: 0,
    containers: 0,
    restarted: 0,
    judge: judge::service,
    rss_kib: 32 << 10,
};

/// The public suites, how quickly they are told, and files that are no units.
pub const SUITES: Plan = Plan {
    name: "suites",
    release: Release::Bookworm,
    kernel: Series::V6_1,
    rows: &[include_str!("e2e/suites.txt"), include_str!("e2e/suites-catalog.txt")],
    parts: &["ready", "images", "suites", "latency", "hostile", "ending"],
    changes: 100,
    containers: 0,
    restarted: 0,
    judge: judge::suites,
    // Units of 10 MiB, and 10,000 drop-ins.
    rss_kib: 64 << 10,
};

/// What machines do all day.
pub const QUIET: Plan = Plan {
    name: "quiet",
    release: Release::Bookworm,
    kernel: Series::V6_1,
    rows: &[],
    parts: &["ready", "images", "quiet-admin", "packages", "packages-hostile", "ending"],
    changes: 0,
    containers: 0,
    restarted: 0,
    judge: packages::judge,
    rss_kib: 32 << 10,
};

/// Containers that come back, and what is asked of their engines, by whomever.
pub const CONTAINERS: Plan = Plan {
    name: "containers",
    release: Release::Bookworm,
    kernel: Series::V6_1,
    rows: &[include_str!("e2e/containers.txt")],
    parts: &["ready", "images", "engines", "short-lived", "ending"],
    changes: 0,
    containers: 20,
    restarted: 0,
    judge: |_, _| {},
    rss_kib: 32 << 10,
};

/// What Debian's next release adds: another systemd, podman with Quadlet.
pub const TRIXIE: Plan = Plan {
    name: "trixie",
    release: Release::Trixie,
    kernel: Series::V6_12,
    rows: &[include_str!("e2e/trixie.txt")],
    parts: &["ready", "images", "trixie", "ending"],
    changes: 0,
    containers: 0,
    restarted: 0,
    judge: |_, _| {},
    rss_kib: 32 << 10,
};

/// What the tests run.
#[cfg(test)]
const PLANS: [Plan; 6] = [SERVICE, SUITES, CONTAINERS, QUIET, TRIXIE, SHORT_LIVED];

const LATENCY: Plan = Plan {
    name: "latency",
    release: Release::Bookworm,
    kernel: Series::V6_1,
    rows: &[],
    parts: &["ready", "latency", "ending"],
    changes: 0,
    containers: 0,
    restarted: 0,
    judge: |_, _| {},
    rss_kib: 32 << 10,
};

const SHORT_LIVED: Plan = Plan {
    name: "short-lived",
    release: Release::Bookworm,
    kernel: Series::V6_1,
    rows: &[],
    parts: &["ready", "images", "short-lived", "engine-restart", "ending"],
    changes: 0,
    containers: 0,
    restarted: 0,
    judge: |_, _| {},
    rss_kib: 32 << 10,
};

/// Starts the sensor early in the guest's boot. A link among the wants of a target would do the same; the guest's files
/// are plain ones.
const EARLY: &str = "[Unit]\nWants=svcsensor.service\n";

const CONFIG: &str = "output = [\"journal\", \"jsonl\"]\n";

/// Alice may become root, and her login runs what a scenario gives it.
const SUDOERS: &str = "alice ALL=(ALL:ALL) NOPASSWD: ALL\n";
const PROFILE: &str = "if [ -r /run/e2e/commands ]; then . /run/e2e/commands; exit; fi\n";

/// Runs a plan against the static `program`, and prints a line for each assertion.
///
/// # Errors
/// Where the guest cannot run to its end.
pub fn run(program: &Path, plan: &Plan) -> Result<Tally> {
    let guest = boot(program, plan)?;
    let verdicts = judge::judge(&guest.told, plan)?;
    for verdict in &verdicts {
        println!("{verdict}");
    }
    summary(&guest.told, guest.elapsed);
    let failed = verdicts.iter().filter(|verdict| verdict.evidence.is_some()).count();
    if failed > 0 || guest.status != 0 {
        eprintln!("-- the guest's talk\n{}", guest.talk.join("\n"));
    }
    ensure!(failed > 0 || guest.status == 0, "the guest ended with status {}", guest.status);
    Ok(Tally { passed: (verdicts.len() - failed) as u32, failed: failed as u32, skipped: 0 })
}

/// How long `changes` of unit files take to the journal.
///
/// # Errors
/// Where the guest cannot run to its end.
pub fn latency(program: &Path, changes: u32) -> Result<Figures> {
    let guest = boot(program, &Plan { changes, ..LATENCY })?;
    changes::figures(&guest.told)
}

/// Whether of `containers` that end at once each is known, and whether an engine's own restart with `restarted` that come
/// back is quiet.
///
/// # Errors
/// Where the guest cannot run to its end.
pub fn containers(program: &Path, containers: u32, restarted: u32) -> Result<Tally> {
    run(program, &Plan { containers, restarted, ..SHORT_LIVED })
}

struct Guest {
    told: Transcript,
    talk: Vec<String>,
    status: i32,
    elapsed: Duration,
}

fn boot(program: &Path, plan: &Plan) -> Result<Guest> {
    let kernel = Kernel::fetch(plan.kernel)?;
    let mut vm = DebianVm::new(&kernel, "#!/bin/bash\nexec /svcsensor/e2e/main.sh\n");
    vm.release = plan.release;
    vm.files = files(program, plan)?;
    // Five minutes at most on an idle machine; machines that others share are slower by a factor of 2 to 3.
    vm.hardware.limit = Duration::from_secs(
        900 + u64::from(plan.changes) / 5 + u64::from(plan.containers + 4 * plan.restarted) * 8,
    );
    let (mut talk, mut all) = (Vec::new(), Vec::new());
    let outcome = vm.run(&mut |line| {
        all.push(line.to_owned());
        let told = ["alert ", "entry ", "metric ", "pretty ", "recording ", "change ", "container "]
            .iter()
            .any(|word| line.starts_with(word));
        if !told {
            talk.push(line.to_owned());
        }
    });
    // Whatever became of it.
    save(plan, &all)?;
    let outcome = outcome?;
    let told = Transcript::read(&outcome.lines)
        .with_context(|| format!("{}\n{}", talk.join("\n"), outcome.console))?;
    Ok(Guest { told, talk, status: outcome.status, elapsed: outcome.elapsed })
}

fn files(program: &Path, plan: &Plan) -> Result<Vec<File>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let scenarios = sh::root().join("tests/scenarios");
    let mut files = vec![
        File::program("usr/bin/svcsensor", read(program)?),
        File::data(
            "usr/lib/systemd/catalog/svcsensor.catalog",
            read(&sh::root().join("sensor-user/assets/svcsensor.catalog"))?,
        ),
        File::data("etc/systemd/system/svcsensor.service", read(&scenarios.join("svcsensor.service"))?),
        File::data("etc/systemd/system/e2e-login.service", read(&scenarios.join("e2e-login.service"))?),
        File::data("etc/systemd/system/sysinit.target.d/svcsensor.conf", EARLY.into()),
        File::data("etc/svcsensor/config.toml", CONFIG.into()),
        File::data("svcsensor/e2e/parts", plan.parts.join("\n").into()),
        File::data("svcsensor/e2e/changes", plan.changes.to_string().into()),
        File::data("svcsensor/e2e/containers", plan.containers.to_string().into()),
        File::data("svcsensor/e2e/restarted", plan.restarted.to_string().into()),
        File { path: "etc/sudoers.d/alice".into(), mode: 0o440, data: SUDOERS.into() },
        File::data("home/alice/.bash_profile", PROFILE.into()),
    ];
    for entry in fs::read_dir(&scenarios).with_context(|| format!("cannot list {}", scenarios.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sh") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            files.push(File::program(format!("svcsensor/e2e/{name}"), read(&path)?));
        }
    }
    Ok(files)
}

/// Keeps what the guest wrote, for whoever wants to know more than the verdicts.
fn save(plan: &Plan, lines: &[String]) -> Result<()> {
    let path = sh::cache().join(format!("{}.log", plan.name));
    fs::write(&path, lines.join("\n")).with_context(|| format!("cannot write {}", path.display()))?;
    sh::say(format!("all that the guest wrote is in {}", path.display()));
    Ok(())
}

fn summary(told: &Transcript, elapsed: Duration) {
    for (unit, ms) in judge::latencies(told) {
        println!("# {unit}: {ms} ms from the write to the journal");
    }
    for (name, value) in &told.facts {
        println!("# {name} {value}");
    }
    for step in told.steps.iter().filter(|step| step.name.starts_with("quiet.")) {
        for alert in told.during(step) {
            println!("# {}: {}", step.name, judge::line(alert));
        }
    }
    println!("# guest: {:.1} s", elapsed.as_secs_f32());
}

/// `promtool check metrics`, with the promtool of Debian's package.
fn promtool(metrics: &str) -> Result<Verdict> {
    let mut command = Command::new(tool::promtool()?);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start promtool")?;
    let mut input = child.stdin.take().context("promtool has no standard input")?;
    std::io::Write::write_all(&mut input, metrics.as_bytes())?;
    drop(input);
    let out = child.wait_with_output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let holds = out.status.success() && said.trim().is_empty() && !metrics.is_empty();
    Ok(Verdict::new(
        "metrics.promtool",
        (!holds).then(|| format!("{}: {}", out.status, said.replace('\n', " | "))),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenarios_are_sound_shell_and_all_of_them_are_run() {
        let scenarios = sh::root().join("tests/scenarios");
        let parts: Vec<&str> = PLANS.iter().flat_map(|plan| plan.parts.iter().copied()).collect();
        // Not a part: what runs the parts, what they share, and what a login's shell does.
        let others = ["main", "lib", "backdoor"];
        let of_suites = ["suites", "engines", "trixie"]
            .map(|part| fs::read_to_string(scenarios.join(part).with_extension("sh")).unwrap())
            .concat();
        for entry in fs::read_dir(&scenarios).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if path.extension().is_some_and(|extension| extension == "sh") {
                sh::output(Command::new("bash").arg("-n").arg(&path)).unwrap();
                let run = parts.contains(&name) || name.starts_with("suite-") && of_suites.contains(name);
                assert!(run || others.contains(&name), "{name} is never run");
            }
        }
    }
}
