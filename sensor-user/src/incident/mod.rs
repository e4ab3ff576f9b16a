//! Findings become one incident: collapse, score, alert.

pub mod alert;
