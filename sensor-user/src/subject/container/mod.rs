//! Containers: what is asked of engines, and what they keep of it.

pub mod access;
pub mod api;
pub mod cli;
pub mod service;
