//! Event, lineage and subject become a finding: a rule and its evidence.

pub mod rule;
