//! svcsensor: who made this machine run something by itself, and is that legitimate?
//!
//! The rooms stand in the order in which data passes; a later room may use an earlier one, never the reverse. Only
//! [`probe`] and [`source`] know aya, only [`sink`] knows an output format. `ARCHITECTURE.md` is the map.

pub mod audit;
pub mod cli;
pub mod config;
pub mod detect;
pub mod event;
pub mod incident;
pub mod lineage;
pub mod metrics;
pub mod pipeline;
pub mod probe;
pub mod proof;
pub mod sink;
pub mod source;
pub mod subject;
#[cfg(test)]
mod test_support;
