//! `svcsensor`: the command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sensor_user::cli;

/// Tells who made this machine run something by itself: systemd units, generators, init scripts and containers that
/// come back (ATT&CK T1543.002, T1543.005).
#[derive(Parser)]
#[command(name = "svcsensor", version, max_term_width = 100, after_long_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done, and nothing found; or ended as asked
  1  findings, or a failed check
  2  usage, or a configuration that is not valid
  3  privilege or kernel support missing
  4  failure at run time

Examples:
  svcsensor selftest              # can it run here?
  svcsensor scan                  # what starts by itself here, and is it known?
  svcsensor run --output pretty   # watch, with alerts in this terminal
  svcsensor help run              # all about a command";

#[derive(Subcommand)]
enum Command {
    Run(cli::run::Args),
    Replay(cli::replay::Args),
    Scan(cli::scan::Args),
    Baseline(cli::baseline::Args),
    Selftest(cli::selftest::Args),
    Inventory(cli::inventory::Args),
    Approve(cli::approve::ApproveArgs),
    Approvals(cli::approve::ApprovalsArgs),
    Config(cli::config::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => cli::run::main(&args),
        Command::Replay(args) => cli::replay::main(&args),
        Command::Scan(args) => cli::scan::main(&args),
        Command::Baseline(args) => cli::baseline::main(&args),
        Command::Config(args) => cli::config::main(&args),
        Command::Inventory(args) => cli::inventory::main(&args),
        Command::Approve(args) => cli::approve::approve(&args),
        Command::Approvals(args) => cli::approve::approvals(&args),
        Command::Selftest(args) => cli::selftest::main(&args),
    };
    result.unwrap_or_else(|error| {
        cli::complain(format_args!("{error:#}"));
        ExitCode::from(cli::EXIT_FAILURE)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// What a command's help has to teach, and those of its subcommands.
    fn check(command: &mut clap::Command, checked: &mut Vec<String>) {
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
        let help = command.render_long_help().to_string();
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{name}: a line is too long: {line}");
        }
        assert!(help.contains("Exit codes:\n  0  "), "{name}: no exit codes in\n{help}");
        let examples =
            help.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("{name}: no example in\n{help}"));
        for example in examples.lines().filter(|line| !line.is_empty()) {
            // What a shell would not pass on.
            let words = example.split(['#', '|']).next().unwrap_or_default().split_whitespace();
            let parsed = Cli::try_parse_from(words);
            let shows_help =
                parsed.as_ref().is_err_and(|error| error.kind() == clap::error::ErrorKind::DisplayHelp);
            assert!(shows_help || parsed.is_ok(), "{name}: {example}");
        }
        assert!(examples.trim_start().starts_with(&name), "{name}: the examples are another command's");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{name}: {} has no help", argument.get_id());
        }
        checked.push(name);
        for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
            check(below, checked);
        }
    }

    #[test]
    fn every_command_teaches_with_an_example_that_holds() {
        let mut command = Cli::command().term_width(100);
        command.build();
        let mut checked = Vec::new();
        check(&mut command, &mut checked);
        let names = [
            "",
            " run",
            " replay",
            " scan",
            " baseline",
            " baseline snapshot",
            " baseline diff",
            " selftest",
            " inventory",
            " inventory list",
            " inventory show",
            " inventory verify",
            " approve",
            " approvals",
            " approvals list",
            " approvals revoke",
            " config",
            " config check",
            " config dump",
            " config schema",
        ];
        assert_eq!(checked, names.map(|name| format!("svcsensor{name}")));
        let help = command.render_long_help().to_string();
        assert!((0..=4).all(|code| help.contains(&format!("\n  {code}  "))), "{help}");
    }
}
