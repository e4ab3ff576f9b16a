//! svcsensor developer commands.
fn main() {}
