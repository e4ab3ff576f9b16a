//! Alerts leave here; only this room knows a format.

pub mod ecs;
#[cfg(test)]
pub(crate) mod sample;
pub mod text;
