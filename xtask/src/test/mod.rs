//! `cargo xtask test`.

pub mod e2e;
