//! Event, lineage and subject become a finding: a rule and its evidence.

mod agents;
mod baseline;
mod books;
pub mod budget;
mod client;
mod containers;
pub mod detector;
mod effects;
mod engine;
mod environment;
pub mod exec;
pub mod file;
pub mod finding;
pub mod follow;
pub mod managers;
mod mounts;
mod programs;
pub mod quiet;
mod references;
mod remembered;
mod requests;
pub mod rule;
pub mod rules;
pub mod score;

mod memory;
mod units;
