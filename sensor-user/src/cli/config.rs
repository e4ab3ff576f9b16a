//! `svcsensor config`: checking and showing the configuration.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::{EXIT_USAGE, scan};
use crate::config::{self, Overrides, Sources};
use crate::sink::ecs;

/// Checks and shows the configuration
///
/// It is TOML. Later ones win: /usr/lib/svcsensor/config.toml, /etc/svcsensor/config.toml, /etc/svcsensor/conf.d/*.toml
/// in the order of their names, variables (`SVCSENSOR_METRICS_ADDRESS` is `metrics.address`), options of `svcsensor run`.
/// Needs no privilege but to read the files.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  valid
  2  usage, or not valid: file, line and key are named
  4  the answer cannot be written

Examples:
  svcsensor config check
  svcsensor config dump
  svcsensor config schema";

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the configuration, and says where it is wrong
    ///
    /// A key that does not exist is an error, with the nearest one that does. The daemon does the same at its start and
    /// at SIGHUP; a wrong configuration does not replace a running one.
    #[command(after_long_help = AFTER_CHECK_HELP)]
    Check {
        /// This file alone, instead of those under /usr/lib and /etc
        file: Option<PathBuf>,
    },
    /// Prints what is in force, each value with where it comes from
    ///
    /// The answer is a configuration file again.
    #[command(after_long_help = AFTER_DUMP_HELP)]
    Dump {
        /// This file alone, instead of those under /usr/lib and /etc
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Flags of `run`, to see their effect
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Prints a JSON schema (draft 2020-12), for editors and for whoever reads alerts
    #[command(after_long_help = AFTER_SCHEMA_HELP)]
    Schema {
        /// Of what
        #[arg(value_enum, default_value = "config")]
        of: SchemaOf,
    },
}

const AFTER_CHECK_HELP: &str = "\
Exit codes:
  0  valid
  2  usage, or not valid: file, line and key are named

Examples:
  svcsensor config check
  svcsensor config check ./config.toml";

const AFTER_DUMP_HELP: &str = "\
Exit codes:
  0  printed
  2  usage, or the configuration is not valid
  4  the answer cannot be written

Examples:
  svcsensor config dump
  svcsensor config dump --config ./config.toml --output jsonl,journal";

const AFTER_SCHEMA_HELP: &str = "\
Exit codes:
  0  printed
  2  usage
  4  the answer cannot be written

Examples:
  svcsensor config schema
  svcsensor config schema alert";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemaOf {
    /// Of a configuration file
    Config,
    /// Of an alert as the jsonl output writes it
    Alert,
    /// Of what `scan --output json` writes
    Scan,
}

/// Runs the command.
///
/// # Errors
/// Where the answer cannot be written.
pub fn main(args: &Args) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::from(run(args, &mut io::stdout().lock(), &mut io::stderr().lock())?))
}

/// What was asked for goes to `out`, what is wrong to `complaints`; the value is the exit status.
fn run(args: &Args, out: &mut dyn Write, complaints: &mut dyn Write) -> io::Result<u8> {
    let (sources, dump) = match &args.command {
        Command::Schema { of } => {
            let schema = match of {
                SchemaOf::Config => config::SCHEMA,
                SchemaOf::Alert => ecs::SCHEMA,
                SchemaOf::Scan => scan::SCHEMA,
            };
            out.write_all(schema.as_bytes())?;
            return Ok(0);
        }
        Command::Check { file } => (Sources::host(file.clone(), Overrides::default()), false),
        Command::Dump { config, overrides } => (Sources::host(config.clone(), overrides.clone()), true),
    };
    let loaded = match config::load::load(&sources) {
        Ok(loaded) => loaded,
        Err(error) => {
            writeln!(complaints, "error: {error}")?;
            return Ok(EXIT_USAGE);
        }
    };
    for warning in &loaded.warnings {
        writeln!(complaints, "warning: {warning}")?;
    }
    if dump {
        out.write_all(loaded.dump().as_bytes())?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Args,
    }

    fn svcsensor_config(words: &[&str]) -> (u8, String, String) {
        let cli = Cli::try_parse_from([&["config"], words].concat()).unwrap();
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let status = run(&cli.config, &mut out, &mut complaints).unwrap();
        (status, String::from_utf8(out).unwrap(), String::from_utf8(complaints).unwrap())
    }

    #[test]
    fn check_tells_good_from_bad() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        let name = path.to_str().unwrap();
        std::fs::write(&path, "backend = 'lsm'\n").unwrap();
        let (status, out, complaints) = svcsensor_config(&["check", name]);
        assert_eq!((status, &*out), (0, ""), "{complaints}");

        std::fs::write(&path, "bakend = 'lsm'\n").unwrap();
        let (status, out, complaints) = svcsensor_config(&["check", name]);
        assert_eq!((status, &*out), (2, ""));
        assert!(
            complaints.contains(":1: bakend: there is no such key; did you mean `backend`?"),
            "{complaints}"
        );

        let (status, _, complaints) = svcsensor_config(&["check", "/nonexistent/config.toml"]);
        assert_eq!(status, 2);
        assert!(complaints.starts_with("error: /nonexistent/config.toml: cannot be read: "), "{complaints}");
    }

    #[test]
    fn dump_shows_flags_and_can_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, "backend = 'lsm'\n").unwrap();
        let words = ["dump", "--config", path.to_str().unwrap(), "--output", "jsonl,pretty"];
        let (status, out, _) = svcsensor_config(&words);
        assert_eq!(status, 0);
        assert!(out.contains("backend = \"lsm\"  # /"), "{out}");
        assert!(out.contains("output = [\"jsonl\", \"pretty\"]  # command line\n"), "{out}");
        assert!(toml::from_str::<config::Config>(&out).is_ok());
    }

    #[test]
    fn schemas_are_json() {
        for (words, title) in [
            (&["schema"][..], "svcsensor configuration"),
            (&["schema", "alert"], "svcsensor alert"),
            (&["schema", "scan"], "svcsensor scan"),
        ] {
            let (status, out, _) = svcsensor_config(words);
            let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!((status, schema["title"].as_str()), (0, Some(title)));
        }
    }
}
