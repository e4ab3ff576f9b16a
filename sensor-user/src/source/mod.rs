//! Where records come from: the live ring, or a recording of the same bytes.

pub mod content;
pub mod live;
pub mod object;
pub mod reader;
pub mod recording;
pub mod snapshot;
