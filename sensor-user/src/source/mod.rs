//! Where records come from: the live ring, or a recording of the same bytes.

pub mod recording;
