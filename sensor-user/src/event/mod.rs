//! Records become typed events here, each field checked.

pub mod user;
