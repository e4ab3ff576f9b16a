//! Containers: what is asked of engines, and what they keep of it.

pub mod access;
pub mod api;
pub mod asked;
pub mod books;
pub mod cli;
pub mod manifest;
pub mod quadlet;
pub mod runtime;
pub mod service;
pub mod settings;
pub mod yaml;
