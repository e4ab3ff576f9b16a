//! `svcsensor`: the command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sensor_user::cli;

/// Tells who made this machine run something by itself: systemd units, generators, init scripts and containers that
/// come back (ATT&CK T1543.002, T1543.005).
#[derive(Parser)]
#[command(name = "svcsensor", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(cli::run::Args),
    Replay(cli::replay::Args),
    Config(cli::config::Args),
    Selftest(cli::selftest::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => cli::run::main(&args),
        Command::Replay(args) => cli::replay::main(&args),
        Command::Config(args) => cli::config::main(&args),
        Command::Selftest(args) => cli::selftest::main(&args),
    };
    result.unwrap_or_else(|error| {
        cli::complain(format_args!("{error:#}"));
        ExitCode::from(cli::EXIT_FAILURE)
    })
}
