//! Processes, sessions, containers: who acted, and on whose behalf.

pub mod actor;
