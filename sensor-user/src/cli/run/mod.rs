//! `svcsensor run`: the rooms wired together.

mod contents;
mod daemon;
mod files;
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

/// Watches this machine and raises alerts. Needs root, or the capabilities that `selftest` lists.
///
/// SIGHUP reads the configuration again; SIGTERM and SIGINT bring out what is held back, and end.
/// Exit: 0 ended as asked, 2 the configuration is not valid, 3 privilege or kernel support is missing, 4 failure.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  svcsensor run --output pretty\n  svcsensor run --output jsonl,journal --record /var/tmp/today.svcrec"
)]
pub struct Args {
    /// This configuration file alone, instead of those under /usr/lib and /etc
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Write every record to FILE as well, for `replay`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Program object to load in the built-in one's stead
    #[arg(long, env = "SVCSENSOR_OBJECT", value_name = "FILE", hide = true)]
    object: Option<PathBuf>,
    /// Let the kernel programs tell their own diagnostics (aya-log)
    #[arg(long)]
    kernel_log: bool,
}

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
