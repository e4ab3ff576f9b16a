//! A survey weighed: what is not proved and how odd it is, and what about the machine makes it easy to plant something.
//!
//! No I/O but in [`posture`], which looks at directories and settings below a root.

pub mod posture;
mod risk;

pub use risk::{Risk, Sum, weigh};
