//! The svcsensor binary.
fn main() {}
