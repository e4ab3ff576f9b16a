//! What the programs do, by subject. Each function takes the hook's arguments, whichever kind of program it was
//! attached as.

pub mod container;
pub mod file;
pub mod ipc;
pub mod process;
