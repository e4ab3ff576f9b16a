//! Container engines: what a command line asks of them.

pub mod access;
pub mod cli;
