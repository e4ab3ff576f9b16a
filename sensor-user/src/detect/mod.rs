//! Event, lineage and subject become a finding: a rule and its evidence.

pub mod agents;
mod budget;
mod client;
mod containers;
pub mod detector;
mod effects;
pub mod exec;
pub mod file;
pub mod finding;
pub mod follow;
pub mod quiet;
mod requests;
pub mod rule;
pub mod rules;
pub mod score;

mod memory;
mod units;
