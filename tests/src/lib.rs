//! svcsensor's end-to-end tests.
//!
//! [`guest`] is the program that boots as init in the micro VM and tries every hook on a real kernel; `cargo xtask
//! test` builds it, boots it and reads its results. [`show`] asks the service managers of a Debian guest. [`fuzz`] is what
//! `cargo xtask fuzz` gives bytes to.

pub mod fuzz;
pub mod guest;
pub mod show;
