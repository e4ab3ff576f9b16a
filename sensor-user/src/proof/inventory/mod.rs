//! What this machine starts by itself: the trusted baseline.

mod entry;
pub mod store;
pub mod survey;
pub mod tell;

pub use entry::{Entry, Kind, Program};
