//! `cargo xtask`: every developer command of svcsensor, so that nothing needs a script or a tool installed by hand.

mod apt;
mod bench;
mod ebpf;
mod programs;
mod run;
mod sh;
mod test;
mod vm;

use clap::{Parser, Subcommand};

/// Builds, runs, tests and measures svcsensor. Installs with apt and cargo what a command lacks, and says so.
#[derive(Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the sensor and start it, alerts in this terminal (arguments after `--` go to `svcsensor run`)
    Run(run::Args),
    /// Run the tests
    Test(test::Args),
    /// Build the kernel object from source; commit it with its manifest, or check the committed one
    BuildEbpf(ebpf::Args),
    /// Count what the programs cost in instructions, against empty ones in the same places
    Bench(bench::Args),
    /// Fetch, build and start the virtual machines in which the tests run
    Vm(vm::Args),
}

fn main() -> anyhow::Result<()> {
    ebpf::rustc_wrapper()?;
    match Cli::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Test(args) => test::main(&args),
        Command::BuildEbpf(args) => ebpf::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Vm(args) => vm::main(&args),
    }
}
