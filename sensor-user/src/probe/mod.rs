//! What this kernel allows, and the programs on it: offsets, loading, attaching, watching.

pub mod btf;
pub mod fanotify;
pub mod hooks;
pub mod load;
pub mod mark;
pub mod seed;
pub mod support;
pub mod watches;
