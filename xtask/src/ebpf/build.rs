//! The compilation of the kernel programs, without a trace of the machine on which it ran.
//!
//! Four things would otherwise leave one: source paths in BTF's line information, the hash that cargo makes of a path
//! dependency's place and that ends up in symbol names, the caller's environment, and the host's architecture.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, path};

use anyhow::{Context, Result, bail};

use super::toolchain::{Toolchain, isolated};
use crate::sh;

const TARGET: &str = "bpfel-unknown-none";

/// The instruction set. `v3` has 32-bit registers and jumps (Linux 5.1), whose bounds the verifier tracks (5.7). Without
/// them every `u32` costs a pair of shifts, through which 5.10's verifier loses bounds: a program that clamps a `u32`
/// length before a helper call was refused there as `v2` and accepted as `v3` (and is 5% shorter). `v4` needs 6.6.
const CPU: &str = "-Ctarget-cpu=v3";

/// What decides over the object's bytes beside sources and toolchain: written into the manifest.
pub const FLAGS: [&str; 6] = [
    "--release",
    "--target=bpfel-unknown-none",
    "-Zbuild-std=core",
    CPU,
    // bpf-linker turns the debug information into BTF; the types survive the stripping.
    "-Clink-arg=--btf",
    STRIP,
];

/// `.BTF.ext` holds line information: half of the object, and refused by the verifier where an optimisation barrier
/// (inline assembly without an instruction) gives one instruction two lines.
const STRIP: &str = "llvm-strip -g -R .BTF.ext -R .rel.BTF.ext";

/// The `FLAGS` that are the compiler's; the others are in [`cargo_build`] and [`object`].
const RUSTFLAGS: std::ops::Range<usize> = 3..5;

/// Set for the processes below `cargo build`, in which this program stands in front of the compiler.
const WRAPPER: &str = "SVCSENSOR_RUSTC_WRAPPER";

/// Builds a binary of `sensor-ebpf/Cargo.toml` ([`PROGRAMS`], [`EMPTY`]) and returns the stripped object.
///
/// Where `locked`, a lock file that does not fit `sensor-ebpf/Cargo.toml` is an error; else it is brought up to date.
///
/// # Errors
/// Where the build fails, and where its result would break a promise: a path of this machine in it, or an instruction
/// that the oldest supported kernel does not have.
pub fn object(toolchain: &Toolchain, program: &str, locked: bool) -> Result<Vec<u8>> {
    sh::say(format!("building the kernel programs ({program}) with {}", toolchain.versions));
    let work = path::absolute(sh::cache())?.join("ebpf");
    let target = work.join("target");
    start_afresh_where_needed(&target, &toolchain.versions.to_string())?;
    let hidden = machine_paths(toolchain, &target, locked)?;
    sh::run(&mut cargo_build(toolchain, program, &target, &hidden)?)?;

    let stripped = work.join(format!("{program}.stripped.o"));
    sh::run(
        isolated(toolchain.llvm_bin.join("llvm-strip"))
            .args(STRIP.split(' ').skip(1))
            .arg("-o")
            .args([&stripped, &target.join(TARGET).join("release").join(program)]),
    )?;
    let object = fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))?;
    if let Some((path, _)) =
        hidden.iter().find(|(path, _)| contains(&object, path.as_os_str().as_encoded_bytes()))
    {
        bail!(
            "the object of {program} contains the path {}: it would differ on every machine",
            path.display()
        );
    }
    let listing = sh::output(isolated(toolchain.llvm_bin.join("llvm-objdump")).arg("-d").arg(&stripped))?;
    let newer = atomics_after_5_10(&listing);
    if !newer.is_empty() {
        bail!(
            "the object of {program} has atomic operations that Linux 5.10 lacks (it has the plain addition alone, whose result is \
             not used and whose ordering is Relaxed):\n{}",
            newer.join("\n")
        );
    }
    Ok(object)
}

/// The sensor's programs, whose object is committed.
pub const PROGRAMS: &str = "svcsensor";

/// Programs in the same places that do nothing, for `cargo xtask bench`.
pub const EMPTY: &str = "empty";

/// Creates the folder of cargo's results, emptied unless the last build went by the same `toolchain` and by this very
/// source file: cargo notices neither an upgraded LLVM or bpf-linker nor a change of its `RUSTC_WRAPPER`.
fn start_afresh_where_needed(target: &Path, toolchain: &str) -> Result<()> {
    let key = toolchain.to_owned() + "\n" + include_str!("build.rs");
    let record = target.join("built-by");
    if fs::read_to_string(&record).is_ok_and(|last| last == key) {
        return Ok(());
    }
    if target.exists() {
        fs::remove_dir_all(target).with_context(|| format!("cannot remove {}", target.display()))?;
    }
    fs::create_dir_all(target)
        .and_then(|()| fs::write(&record, key))
        .with_context(|| format!("cannot write {}", record.display()))
}

fn cargo_build(
    toolchain: &Toolchain,
    program: &str,
    target: &Path,
    hidden: &[(PathBuf, &str)],
) -> Result<Command> {
    let mut rustflags: Vec<OsString> = FLAGS[RUSTFLAGS].iter().map(Into::into).collect();
    for (path, name) in hidden {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(path);
        flag.push("=");
        flag.push(name);
        rustflags.push(flag);
    }
    let mut cargo = isolated(&toolchain.cargo);
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "-Zbuild-std=core",
            "--target",
            TARGET,
            "--bin",
            program,
            "--target-dir",
        ])
        .arg(target)
        .current_dir(sh::root().join("sensor-ebpf"))
        .env("RUSTC", &toolchain.rustc)
        // Debian's compiler is a stable one, which accepts unstable flags only so.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC_WRAPPER", std::env::current_exe().context("cannot find this program's own file")?)
        .env(WRAPPER, "1")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.bpf_linker)
        // Unlike RUSTFLAGS, this takes paths with spaces; cargo splits it at 0x1f.
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join(OsStr::new("\x1f")))
        // aya-ebpf takes the host's by default, for the layout of `pt_regs`, which no program here reads.
        .env("AYA_BPF_TARGET_ARCH", "x86_64");
    Ok(cargo)
}

/// The folders of this machine from which a source file may come, each with the name that stands for it in the object.
/// The compiler tries the last of them first.
///
/// None of the names exists: LLVM would put the text of the sources that it finds into BTF's line information.
fn machine_paths(toolchain: &Toolchain, target: &Path, locked: bool) -> Result<Vec<(PathBuf, &'static str)>> {
    let canonical =
        |path: &Path| path.canonicalize().with_context(|| format!("cannot resolve {}", path.display()));
    let mut paths = vec![
        (canonical(&sh::root())?, "/svcsensor"),
        (canonical(target)?, "/svcsensor/target"),
        (toolchain.library.clone(), "/rust"),
        (canonical(&toolchain.library.join("library"))?, "/rust/library"),
    ];
    let mut metadata = isolated(&toolchain.cargo);
    metadata
        .args(["metadata", "--format-version=1", "--quiet"])
        .args(locked.then_some("--locked"))
        .current_dir(sh::root().join("sensor-ebpf"))
        .env("RUSTC", &toolchain.rustc);
    let folders = registry_folders(&sh::output(&mut metadata)?)?;
    paths.extend(folders.into_iter().map(|folder| (folder, "/cargo")));
    Ok(paths)
}

/// The folders that hold the unpacked dependencies, from `cargo metadata`.
fn registry_folders(metadata: &str) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        source: Option<String>,
        manifest_path: PathBuf,
    }
    let metadata: Metadata = serde_json::from_str(metadata).context("cannot read `cargo metadata`")?;
    let mut folders: Vec<PathBuf> = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some())
        .filter_map(|package| package.manifest_path.parent()?.parent().map(Path::to_owned))
        .collect();
    folders.sort();
    folders.dedup();
    Ok(folders)
}

/// Stands in front of the compiler where cargo runs this program as its `RUSTC_WRAPPER`; elsewhere does nothing.
///
/// cargo tells crates apart by a hash that it passes as `-C metadata` and that ends up in symbol names. For a path
/// dependency outside its workspace the hash is made of the absolute path, and so is that of everything above it. Here
/// the crate's name takes its place. (Two versions of one crate would collide: rustc refuses that, and says so.)
///
/// # Errors
/// Where the compiler cannot be started. Otherwise it takes the place of this process.
pub fn rustc_wrapper() -> Result<()> {
    if std::env::var_os(WRAPPER).is_none() {
        return Ok(());
    }
    let mut arguments = std::env::args_os().skip(1);
    let rustc = arguments.next().with_context(|| format!("{WRAPPER} is set, but no compiler was named"))?;
    let error = Command::new(&rustc).args(with_named_metadata(arguments.collect())).exec();
    Err(error).with_context(|| format!("cannot start {}", rustc.display()))
}

/// The compiler's arguments, with the crate's name as `-C metadata` where they are for the kernel's target.
fn with_named_metadata(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let after = |flag: &str| {
        let flag = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(flag + 1)
    };
    let Some(name) =
        after("--crate-name").filter(|_| after("--target").is_some_and(|target| target == TARGET))
    else {
        return arguments;
    };
    let mut metadata = OsString::from("metadata=");
    metadata.push(name);
    for argument in &mut arguments {
        if argument.as_encoded_bytes().starts_with(b"metadata=") {
            argument.clone_from(&metadata);
        }
    }
    arguments
}

/// The lines of a disassembly that 5.10 would refuse: `BPF_STX | BPF_ATOMIC` (0xc3 for 32 bits, 0xdb for 64) with an
/// operation other than `BPF_ADD` without `BPF_FETCH` (0), which came with 5.12 (Documentation/bpf/standardization).
///
/// A line of `llvm-objdump -d` is the instruction's number, its bytes and its text, separated by tabs.
fn atomics_after_5_10(listing: &str) -> Vec<&str> {
    let newer = |line: &&str| {
        let mut bytes = line.split('\t').nth(1).unwrap_or_default().split_whitespace();
        matches!(bytes.next(), Some("c3" | "db")) && bytes.skip(3).any(|byte| byte != "00")
    };
    listing.lines().filter(newer).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plain_atomic_addition_passes() {
        let listing = "0000000000000000 <relaxed>:\n       \
            0:\t18 02 00 00 c3 00 00 00 00 00 00 00 db 00 00 01\tr2 = 0x1 ll\n      \
            19:\tdb 12 00 00 00 00 00 00\tlock *(u64 *)(r2 + 0x0) += r1\n      \
            25:\tc3 12 08 00 00 00 00 00\tlock *(u32 *)(r2 + 0x8) += w1\n      \
            26:\tdb 12 00 00 40 00 00 00\tlock *(u64 *)(r2 + 0x0) |= r1\n      \
            31:\tdb 12 00 00 01 00 00 00\tr1 = atomic_fetch_add((u64 *)(r2 + 0x0), r1)\n      \
            32:\tdb 12 00 00 e1 00 00 00\tr1 = xchg_64(r2 + 0x0, r1)";
        let newer = atomics_after_5_10(listing);
        assert_eq!(newer.len(), 3, "{newer:?}");
        assert!(
            newer[0].contains("|=") && newer[1].contains("atomic_fetch_add") && newer[2].contains("xchg_64")
        );
    }

    #[test]
    fn a_crate_of_the_kernels_target_is_told_apart_by_its_name() {
        let arguments = |target: &str| {
            ["--crate-name", "sensor_common", "-C", "metadata=4c1f447764126a3f", "--target", target]
                .map(OsString::from)
                .to_vec()
        };
        assert_eq!(with_named_metadata(arguments(TARGET))[3], "metadata=sensor_common");
        let host = arguments("x86_64-unknown-linux-gnu");
        assert_eq!(with_named_metadata(host.clone()), host);
        let probe = vec![OsString::from("-vV")];
        assert_eq!(with_named_metadata(probe.clone()), probe);
    }

    #[test]
    fn dependencies_are_found_wherever_cargo_unpacked_them() {
        let metadata = r#"{"packages": [
            {"source": null, "manifest_path": "/src/sensor-ebpf/Cargo.toml"},
            {"source": "registry+x", "manifest_path": "/home/a b/registry/src/y/aya-ebpf-0.2.1/Cargo.toml"},
            {"source": "registry+x", "manifest_path": "/home/a b/registry/src/y/aya-log-ebpf-0.2.0/Cargo.toml"}]}"#;
        assert_eq!(registry_folders(metadata).unwrap(), [PathBuf::from("/home/a b/registry/src/y")]);
        assert!(registry_folders("{}").is_err());
    }

    #[test]
    fn results_of_another_toolchain_are_not_reused() {
        let target = std::env::temp_dir().join(format!("svcsensor-target-{}", std::process::id()));
        let result = target.join("result");
        for (toolchain, kept) in [("LLVM 22.1.8", false), ("LLVM 22.1.8", true), ("LLVM 22.1.9", false)] {
            start_afresh_where_needed(&target, toolchain).unwrap();
            assert_eq!(result.exists(), kept, "{toolchain}");
            fs::write(&result, "").unwrap();
        }
        fs::remove_dir_all(&target).unwrap();
    }

    #[test]
    fn the_compilers_flags_are_among_the_recorded_ones() {
        assert_eq!(FLAGS[RUSTFLAGS], [CPU, "-Clink-arg=--btf"]);
    }

    #[test]
    fn a_path_inside_the_object_is_seen() {
        assert!(contains(b"\0/home/a/src/main.rs\0", b"/home/a"));
        assert!(!contains(b"/svcsensor", b"/home/a"));
        assert!(!contains(b"", b"/home/a"));
    }
}
