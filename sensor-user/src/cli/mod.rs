//! The commands. Each wires rooms together and holds no logic of its own.

pub mod approve;
pub mod baseline;
pub mod config;
pub mod inventory;
pub mod replay;
pub mod run;
pub mod scan;
pub mod selftest;

use std::io::stdout;

use anyhow::Context;

use crate::config::{Journal, Output};
use crate::sink::journald::{Journald, QueueBounds};
use crate::sink::{Sinks, jsonl, pretty};

/// Exit code: findings, or a failed check.
pub const EXIT_FINDINGS: u8 = 1;
/// Exit code: usage or configuration.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: privilege or kernel support missing.
pub const EXIT_UNSUPPORTED: u8 = 3;
/// Exit code: failure at run time.
pub const EXIT_FAILURE: u8 = 4;

/// Says why a command fails, or what it passed over, on standard error.
///
/// Unlike `eprintln!` it does not panic where nobody takes it (a full disk, a journald that has gone): the exit code
/// still tells.
pub fn complain(what: impl std::fmt::Display) {
    use std::io::Write;
    let _nobody_listens = writeln!(std::io::stderr(), "svcsensor: {what}");
}

/// The sinks for these outputs.
///
/// # Errors
/// Where no socket for the journal can be made.
pub fn sinks(outputs: &[Output], journal: &Journal) -> anyhow::Result<Sinks> {
    let mut sinks = Sinks::default();
    for output in outputs {
        match output {
            Output::Pretty => {
                sinks.add(Box::new(pretty::Pretty::new(stdout(), pretty::wants_colour(&stdout()))));
            }
            Output::Jsonl => sinks.add(Box::new(jsonl::Jsonl::new(stdout()))),
            Output::Journal => {
                let bounds = QueueBounds {
                    entries: journal.queue_entries as usize,
                    bytes: journal.queue_bytes as usize,
                };
                let writer = Journald::new(&journal.socket, bounds).with_context(|| {
                    format!("cannot write to the journal at {}", journal.socket.display())
                })?;
                sinks.add(Box::new(writer));
            }
        }
    }
    Ok(sinks)
}
