//! What several rooms' tests need.

use std::io::Write as _;
use std::path::Path;

/// Says on the terminal, past libtest's capture, that a test cannot be done on this machine, and why.
///
/// # Panics
/// Where `SVCSENSOR_REQUIRE_TOOLS` is set: there every test must be done.
pub(crate) fn skip(test: &str, reason: &str) {
    assert!(std::env::var_os("SVCSENSOR_REQUIRE_TOOLS").is_none(), "{test} cannot be done: {reason}");
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
}

/// Compares `assets/NAME` with what the types give now. `UPDATE_SCHEMA=1` writes it instead.
pub(crate) fn check_generated(name: &str, now: &serde_json::Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name);
    let mut now = serde_json::to_string_pretty(now).unwrap();
    now.push('\n');
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == now,
        "assets/{name} is out of date: run UPDATE_SCHEMA=1 cargo test -p sensor-user --lib"
    );
}
