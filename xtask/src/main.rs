//! `cargo xtask`: every developer command of svcsensor, so that nothing needs a script or a tool installed by hand.

mod apt;
mod bench;
mod containers;
mod ebpf;
mod fuzz;
mod installed;
mod matrix;
mod programs;
mod run;
mod sh;
mod test;
mod vm;

use clap::{Parser, Subcommand};

/// Builds, runs, tests and measures svcsensor. Installs with apt and cargo what a command lacks, and says so.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", max_term_width = 100, after_long_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Needs cargo, apt for what is missing, and root or sudo to install it. What is downloaded or
built is kept in target/cache, or in SVCSENSOR_CACHE.

Exit codes:
  0  done
  1  failed; what and why was said
  2  usage
  `vm boot` and `vm debian` end with the status of what ran in the machine

Examples:
  cargo xtask run
  cargo xtask test
  cargo xtask help vm";

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Test(test::Args),
    BuildEbpf(ebpf::Args),
    Bench(bench::Args),
    Containers(containers::Args),
    Matrix(matrix::Args),
    Fuzz(fuzz::Args),
    Vm(vm::Args),
}

fn main() -> anyhow::Result<()> {
    ebpf::rustc_wrapper()?;
    match Cli::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Test(args) => test::main(&args),
        Command::BuildEbpf(args) => ebpf::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Containers(args) => containers::main(&args),
        Command::Matrix(args) => matrix::main(&args),
        Command::Fuzz(args) => fuzz::main(&args),
        Command::Vm(args) => vm::main(&args),
    }
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
            // cargo passes on what follows its alias.
            let words = example.split('#').next().unwrap_or_default().split_whitespace().skip(1);
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
            " test",
            " build-ebpf",
            " bench",
            " containers",
            " matrix",
            " fuzz",
            " vm",
            " vm fetch",
            " vm boot",
            " vm debian",
        ];
        assert_eq!(checked, names.map(|name| format!("cargo xtask{name}")));
    }
}
