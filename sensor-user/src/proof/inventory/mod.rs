//! What this machine starts by itself: the trusted baseline.

mod entry;

pub use entry::{Entry, Kind, Program};
