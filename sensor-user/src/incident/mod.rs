//! Findings become one incident: collapse, score, alert.
//!
//! One write is several records (create, open, truncate, close): they are held and become one alert at the close, or
//! when [`HOLD_NS`] have passed without one. What the same process does again to the same subject within
//! [`WINDOW_NS`] under the same rule, and no worse, is counted; at the window's end one more alert stands for all of
//! these repeats. Nothing is dropped: where a table is full its oldest entry becomes an alert at once.

pub mod alert;
mod approve;
pub mod collapse;
pub mod held;
mod identity;
pub mod pending;
pub mod proving;
pub mod summary;
mod weight;

/// How long a write that is not closed is held, in nanoseconds.
pub const HOLD_NS: u64 = 250_000_000;

/// For how long repeats are counted, in nanoseconds.
pub const WINDOW_NS: u64 = 10_000_000_000;
