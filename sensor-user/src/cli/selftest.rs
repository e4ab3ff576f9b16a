//! `svcsensor selftest`: what this kernel allows, what is missing, and which backend would run.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use crate::probe::btf::Btf;
use crate::probe::fanotify::Fanotify;
use crate::probe::hooks::{self, Backend};
use crate::probe::{load, support};

/// Says what this kernel allows, and what is missing
///
/// Loads and attaches each backend's programs for a moment, and changes nothing. Needs what `svcsensor run` needs, and
/// names what of it is not there; without privilege no backend works.
#[derive(clap::Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Form of the answer
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
    output: Format,
    /// Test the kernel programs in FILE instead of those built in (see `cargo xtask build-ebpf`)
    #[arg(long, env = "SVCSENSOR_OBJECT", hide_env_values = true, value_name = "FILE")]
    object: Option<std::path::PathBuf>,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  svcsensor can run here
  2  usage
  3  it cannot: privilege or kernel support is missing
  4  the answer cannot be written

Examples:
  svcsensor selftest
  svcsensor selftest --output json | jq .chosen";

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Report {
    kernel_release: String,
    lsm: Option<String>,
    missing_capabilities: Vec<&'static str>,
    /// Why there is no BTF, where there is none.
    btf_error: Option<String>,
    backends: Vec<BackendReport>,
    /// The backend that `run` would choose.
    chosen: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct BackendReport {
    backend: &'static str,
    works: bool,
    /// Why not.
    error: Option<String>,
    hooks: Vec<&'static str>,
    cannot_see: Vec<&'static str>,
}

/// Runs the command.
///
/// # Errors
/// Where the answer cannot be written.
pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    let report = probe(args);
    let mut out = std::io::stdout().lock();
    match args.output {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        Format::Text => print(&report, &mut out)?,
    }
    Ok(if report.chosen.is_some() { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_UNSUPPORTED) })
}

fn probe(args: &Args) -> Report {
    let mut report = Report {
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        lsm: support::lsm_list().map(|list| list.trim().to_owned()),
        missing_capabilities: support::missing_capabilities(),
        btf_error: None,
        backends: Vec::new(),
        chosen: None,
    };
    let btf = match Btf::of_running_kernel() {
        Ok(btf) => btf,
        Err(error) => {
            report.btf_error = Some(error.to_string());
            return report;
        }
    };
    let options = load::Options { object: args.object.clone(), ..load::Options::default() };
    for backend in Backend::ALL {
        let mut loaded = load::load(backend, &options);
        if backend == Backend::Fanotify {
            // Its file side is no program.
            loaded = loaded.and_then(|loaded| Ok(Fanotify::new().map(|_| loaded)?));
        }
        report.backends.push(BackendReport {
            backend: backend.name(),
            works: loaded.is_ok(),
            error: loaded.err().map(|error| error.to_string()),
            hooks: hooks::of(backend, &btf).iter().map(|hook| hook.name).collect(),
            cannot_see: hooks::blind_spots(backend, &btf),
        });
    }
    report.chosen = report.backends.iter().find(|backend| backend.works).map(|backend| backend.backend);
    report
}

fn print(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "kernel        {}", report.kernel_release)?;
    writeln!(
        out,
        "security list {}",
        report.lsm.as_deref().unwrap_or("unreadable (securityfs is not mounted)")
    )?;
    let capabilities = match report.missing_capabilities.as_slice() {
        [] => "all present".to_owned(),
        missing => format!("missing {}", missing.join(", ")),
    };
    writeln!(out, "capabilities  {capabilities}")?;
    writeln!(out, "BTF           {}", report.btf_error.as_deref().unwrap_or("present"))?;
    for backend in &report.backends {
        let verdict = if backend.works { "works" } else { "does not work" };
        writeln!(
            out,
            "\n{:<9} {verdict}, {} hooks: {}",
            backend.backend,
            backend.hooks.len(),
            backend.hooks.join(" ")
        )?;
        if let Some(error) = &backend.error {
            writeln!(out, "          because: {error}")?;
        }
        for blind in &backend.cannot_see {
            writeln!(out, "          cannot see: {blind}")?;
        }
    }
    match report.chosen {
        Some(backend) => writeln!(out, "\nsvcsensor can run here, with backend {backend}."),
        None => writeln!(
            out,
            "\nsvcsensor cannot run here. Run it as root (or with the capabilities above) on a kernel with BTF."
        ),
    }
}
