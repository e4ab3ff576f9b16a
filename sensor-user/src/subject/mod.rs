//! What was touched, and what it means.

pub mod service;
