//! `cargo xtask bench --latency`: how long an alert takes.
//!
//! In a Debian guest without KVM (QEMU's TCG), with the sensor as a service: files written, renamed, linked and symlinked
//! among the units, ten a second. From the return of the last system call to journald's receipt.

use anyhow::Result;

use super::Output;
use crate::test::e2e;
use crate::{programs, sh};

/// Measures `changes` and prints the figures.
///
/// # Errors
/// Where the machine fails, or a change is not in the journal.
pub fn measure(changes: u32, output: Output) -> Result<()> {
    let [sensor] = programs::build([("sensor-user", "svcsensor")])?;
    sh::say("a Debian guest without KVM: all figures are QEMU's TCG's");
    let figures = e2e::latency(&sensor, changes)?;
    match output {
        Output::Text => println!("{figures} (TCG)"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&figures)?),
    }
    Ok(())
}
