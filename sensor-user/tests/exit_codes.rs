//! Exit codes are kept where nobody takes what is said.

use std::fs::File;
use std::process::{Command, Stdio};

fn code(args: &[&str]) -> Option<i32> {
    // Every write to /dev/full fails with ENOSPC (full(4)).
    let full = File::options().write(true).open("/dev/full").expect("/dev/full can be opened");
    let mut command = Command::new(env!("CARGO_BIN_EXE_svcsensor"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(full);
    command.status().expect("svcsensor can be started").code()
}

#[test]
fn an_error_that_nobody_reads_is_no_panic() {
    assert_eq!(code(&["run", "--config", "/nonexistent/config.toml"]), Some(2));
    assert_eq!(code(&["replay", "/nonexistent/recording"]), Some(4));
}
