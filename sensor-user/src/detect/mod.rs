//! Event, lineage and subject become a finding: a rule and its evidence.

pub mod budget;
mod client;
pub mod detector;
mod effects;
pub mod exec;
pub mod file;
pub mod finding;
pub mod follow;
mod mounts;
pub mod quiet;
mod requests;
pub mod rule;
pub mod rules;
pub mod score;

mod memory;
mod units;
