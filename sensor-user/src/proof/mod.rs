//! Why a change may be legitimate: the package that a file is of, and what this machine is known to start by itself.
//!
//! Proof is by content. That a process is called `dpkg`, or that a path looks like a package's, proves nothing.

pub mod approval;
pub mod inventory;
pub mod package;
pub mod prover;
