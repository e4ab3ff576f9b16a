//! The whole sensor in a Debian with systemd, docker and podman: what a user does, and what the operator reads.
//!
//! The guest runs `tests/scenarios/main.sh`; what it writes becomes a [`transcript`], and [`judge`] says what holds.

mod judge;
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
use crate::vm::kernel::{Kernel, Series};
use crate::vm::tool;
use transcript::{Transcript, Verdict};

/// Starts the sensor early in the guest's boot. A link among the wants of a target would do the same; the guest's files
/// are plain ones.
const EARLY: &str = "[Unit]\nWants=svcsensor.service\n";

const CONFIG: &str = "output = [\"journal\", \"jsonl\"]\n";

/// Alice may become root, and her login runs what a scenario gives it.
const SUDOERS: &str = "alice ALL=(ALL:ALL) NOPASSWD: ALL\n";
const PROFILE: &str = "if [ -r /run/e2e/commands ]; then . /run/e2e/commands; exit; fi\n";

/// Runs the scenarios against the static `program`, and prints a line for each assertion.
///
/// # Errors
/// Where the guest cannot run to its end, or an assertion does not hold.
pub fn run(program: &Path) -> Result<Tally> {
    let kernel = Kernel::fetch(Series::V6_1)?;
    let mut vm = DebianVm::new(&kernel, "#!/bin/bash\nexec /svcsensor/e2e/main.sh\n");
    vm.files = files(program)?;
    // Two minutes on an idle machine; machines that others share are slower by a factor of 2 to 3.
    vm.hardware.limit = Duration::from_secs(500);
    let mut talk = Vec::new();
    let outcome = vm.run(&mut |line| {
        let told = ["alert ", "entry ", "metric ", "pretty ", "recording "]
            .iter()
            .any(|word| line.starts_with(word));
        if !told {
            talk.push(line.to_owned());
        }
    })?;
    save(&outcome.lines)?;
    let told = Transcript::read(&outcome.lines)
        .with_context(|| format!("{}\n{}", talk.join("\n"), outcome.console))?;
    let mut verdicts = judge::judge(&told);
    verdicts.push(promtool(&told.metrics)?);
    for verdict in &verdicts {
        println!("{verdict}");
    }
    summary(&told, outcome.elapsed);
    let failed = verdicts.iter().filter(|verdict| verdict.evidence.is_some()).count();
    if failed > 0 || outcome.status != 0 {
        eprintln!("-- the guest's talk\n{}", talk.join("\n"));
    }
    ensure!(failed > 0 || outcome.status == 0, "the guest ended with status {}", outcome.status);
    Ok(Tally { passed: (verdicts.len() - failed) as u32, failed: failed as u32, skipped: 0 })
}

fn files(program: &Path) -> Result<Vec<File>> {
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
fn save(lines: &[String]) -> Result<()> {
    let path = sh::cache().join("e2e.log");
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
        let main = fs::read_to_string(scenarios.join("main.sh")).unwrap();
        // Not a part: what runs the parts, what they share, and what a login's shell does.
        let others = ["main", "lib", "backdoor"];
        for entry in fs::read_dir(&scenarios).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if path.extension().is_some_and(|extension| extension == "sh") {
                sh::output(Command::new("bash").arg("-n").arg(&path)).unwrap();
                let run = main.lines().any(|line| {
                    line.starts_with("for part in ") && line.split([' ', ';']).any(|part| part == name)
                });
                assert!(run || others.contains(&name), "{name} is never run");
            }
        }
    }
}
