//! systemd units: what their files say, and what the service manager makes of them.
//!
//! No I/O and no clock: [`store::UnitFiles`] holds what others have read, by path, and answers what a unit comes to
//! ([`effective::Effective`]), what a change does ([`change`]), and what is suspicious about it ([`signals`]).

pub mod affected;
pub mod change;
pub mod effective;
pub mod environment;
pub mod exec;
pub mod key;
pub mod load;
pub mod name;
pub mod pull;
pub mod refer;
pub mod signals;
pub mod specifier;
pub mod store;
pub mod syntax;
mod verify;
pub mod words;
