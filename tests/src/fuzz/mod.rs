//! What is fuzzed: for each reader of foreign bytes a function that takes any bytes and must return.
//!
//! `tests/fuzz` makes a libFuzzer program of each (`cargo xtask fuzz`). Here they are compiled and linted with all else,
//! and `cargo test` runs them on their [`seeds()`], of which a fuzzer's corpus grows.

mod seeds;
mod stream;
mod unit;

use sensor_user::probe::btf::{Btf, Target as Attached};
use sensor_user::proof::package::read_as_all;

pub use seeds::seeds;
pub use stream::{bus, recording, records};
pub use unit::{command, unit};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the program in `tests/fuzz/fuzz_targets`.
    pub name: &'static str,
    /// What takes the bytes.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target { name: "unit", run: unit },
    Target { name: "command", run: command },
    Target { name: "bus", run: bus },
    Target { name: "records", run: records },
    Target { name: "recording", run: recording },
    Target { name: "btf", run: btf },
    Target { name: "packages", run: packages },
];

/// Bytes as every format of package databases.
pub fn packages(data: &[u8]) {
    read_as_all(data);
}

/// Type information, and every question that the sensor has for it.
pub fn btf(data: &[u8]) {
    let Ok(btf) = Btf::parse(data.to_vec()) else { return };
    for path in ["file.f_path.dentry", "outer.x.a", "outer.y", "s.x", "a", "", "."] {
        let _ = btf.offset(path);
    }
    for name in ["f", "outer", "security_file_open", ""] {
        let _ = (btf.has_function(name), btf.arguments(name));
        let _ = (btf.enumerator("kinds", name), btf.has_enumerator(name, "y"));
    }
    // What is kept of it is BTF again, with the same numbers.
    let kept = btf.only(&[Attached::Function("f".into()), Attached::Typedef("btf_trace_f".into())]);
    let again = Btf::parse(kept).expect("what `only` writes can be read");
    assert_eq!(again.has_function("f"), btf.has_function("f"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_program_and_takes_its_seeds() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/fuzz_targets");
        let mut programs: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        programs.sort();
        let mut names = TARGETS.map(|target| target.name);
        names.sort_unstable();
        assert_eq!(programs, names);
        for target in TARGETS {
            let seeds = seeds(target.name);
            assert!(seeds.len() > 1, "{} has no seeds", target.name);
            for seed in seeds {
                // Also cut in the middle, as by a fuzzer.
                (target.run)(&seed[..seed.len() / 2]);
                (target.run)(&seed);
            }
            (target.run)(&[]);
        }
    }
}
