//! What svcsensor's kernel programs and its daemon agree on: records, watch keys, kernel offsets and limits.
//!
//! Every type here crosses the border between kernel and userspace as bytes. So each is `#[repr(C)]` with its
//! padding written out and its size asserted, and none holds a Rust enum, a reference or a `bool`: any bit pattern
//! is a value, and a garbled record can be refused but never misread. [`RECORD_VERSION`] names the meaning of it
//! all; a recording carries it.
#![no_std]

pub mod layout;
pub mod limits;
pub mod mute;
pub mod record;
pub mod watch;

/// The version of every layout and number in this crate. A recording of another version is refused.
pub const RECORD_VERSION: u16 = 2;
