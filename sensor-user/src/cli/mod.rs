//! The commands, each as arguments and a function that does it.

pub mod config;
