//! Effective units against running service managers: see [`tests::show`]. Runs as root in a Debian guest.

fn main() -> anyhow::Result<std::process::ExitCode> {
    Ok(if tests::show::main()? { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE })
}
