//! Where records come from: the live ring, or a recording of the same bytes.

pub mod live;
pub mod recording;
pub mod snapshot;
