//! `svcsensor run`: the rooms wired together.

mod approvals;
mod contents;
mod daemon;
mod files;
mod inventory;
mod probe;
mod stream;
mod watching;

use std::path::PathBuf;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload;

use super::{EXIT_UNSUPPORTED, EXIT_USAGE, complain};
use crate::config::{self, Overrides, Sources};
use crate::probe::load::LoadError;
use crate::probe::support::missing_capabilities;

/// Watches this machine and raises alerts
///
/// Needs root, or the capabilities that `svcsensor selftest` names, and a kernel that it finds fit. Settings come from
/// /usr/lib/svcsensor/config.toml, /etc/svcsensor/config.toml, /etc/svcsensor/conf.d/*.toml, the environment and these
/// options; later ones win. Without any, alerts go to journald, and metrics are at 127.0.0.1:9543.
///
/// SIGHUP reads the configuration again: what is watched, and the log level; the rest counts from the next start.
/// SIGTERM and SIGINT bring out what is held back, and end.
#[derive(clap::Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// This configuration file alone, instead of those under /usr/lib and /etc
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Write every record to FILE as well, for `svcsensor replay`; a full disk ends the recording, not the sensor
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Load the kernel programs from FILE instead of those built in (see `cargo xtask build-ebpf`)
    #[arg(long, env = "SVCSENSOR_OBJECT", hide_env_values = true, value_name = "FILE")]
    object: Option<PathBuf>,
    /// Let the kernel programs tell their own diagnostics (aya-log), on standard error
    #[arg(long)]
    kernel_log: bool,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  ended as asked, or nobody reads standard output any more
  2  usage, or the configuration is not valid
  3  privilege or kernel support missing
  4  failure at run time: an address in use, a recording that cannot be made

Examples:
  svcsensor run                                  # alerts to journald: journalctl -t svcsensor
  svcsensor run --output pretty                  # for people, in this terminal
  svcsensor run --output jsonl | jq .message
  svcsensor run --output jsonl,journal --record /var/tmp/today.svcrec
  svcsensor run --metrics-address none --backend fentry";

impl Args {
    fn sources(&self) -> Sources {
        Sources::host(self.config.clone(), self.overrides.clone())
    }
}

/// Changes what the daemon says of itself.
type LogLevels = reload::Handle<EnvFilter, tracing_subscriber::Registry>;

/// Runs the command.
///
/// # Errors
/// Where it fails at run time.
pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = match config::load::load(&args.sources()) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(error);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let levels = begin_log(loaded.config.log_level);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    // One thread: the work is one stream, and the learner must be the thread that the programs know.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(daemon::run(args, loaded.config, &levels)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<LoadError>() {
            Some(cause) => {
                complain(refusal(cause, &missing_capabilities()));
                Ok(ExitCode::from(EXIT_UNSUPPORTED))
            }
            None => Err(error),
        },
    }
}

/// Why the sensor cannot run here, and what to do: where privilege is missing the kernel's own word is about something
/// else, a map that may not be made.
fn refusal(cause: &LoadError, missing: &[&str]) -> String {
    let advice = if missing.is_empty() {
        "`svcsensor selftest` tells what this kernel lacks".to_owned()
    } else {
        format!("this process lacks {}: run it as root", missing.join(", "))
    };
    format!("no backend works here: {cause}\n{advice}")
}

/// The daemon's own log goes to standard error; standard output is for alerts.
fn begin_log(level: config::LogLevel) -> LogLevels {
    let (filter, handle) = reload::Layer::new(filter(level));
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let format =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false);
    tracing_subscriber::registry().with(filter).with(format).init();
    handle
}

/// The level as a filter; what libraries say is of interest only when it goes wrong.
fn filter(level: config::LogLevel) -> EnvFilter {
    let level = match level {
        config::LogLevel::Error => "error",
        config::LogLevel::Warn => "warn",
        config::LogLevel::Info => "info",
        config::LogLevel::Debug => "debug",
        config::LogLevel::Trace => "trace",
    };
    // The kernel programs speak under their own names, and only where they were asked to.
    EnvFilter::new(format!("warn,sensor_user={level},svcsensor={level},svcsensor::kernel=trace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let cause = LoadError::Missing("map RING");
        let text = refusal(&cause, &["CAP_BPF", "CAP_PERFMON"]);
        assert!(
            text.contains("RING") && text.ends_with("lacks CAP_BPF, CAP_PERFMON: run it as root"),
            "{text}"
        );
        assert!(refusal(&cause, &[]).ends_with("`svcsensor selftest` tells what this kernel lacks"));
    }
}
