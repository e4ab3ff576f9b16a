//! Containers: what is asked of engines, and what they keep of it.

pub mod access;
pub mod api;
pub mod books;
pub mod cli;
pub mod runtime;
pub mod service;
