//! A compiler that can build Rust's `core` for BPF, with the LLVM and the bpf-linker of the same major version.
//!
//! There is no compiled `core` for `bpfel-unknown-none`, so the compiler must have the library's source beside it and
//! accept `-Z build-std`. bpf-linker reads the compiler's bitcode, for which its LLVM must have the same major version
//! (bpf-linker's BUILDING.md).

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::{apt, sh};

/// The newest bpf-linker that builds with the workspace's `rust-version`.
const BPF_LINKER: &str = "0.13.0";

/// The LLVM majors of which that bpf-linker has a feature (its Cargo.toml).
const BPF_LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// Debian's compiler for Firefox, the newest of each release: stable, but with the library source in its sysroot.
const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Everything whose change may change the object's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The first line of `rustc -vV`, with Debian's package version where it is Debian's.
    pub rustc: String,
    /// The compiler's host triple.
    pub host: String,
    /// The LLVM that bpf-linker loads, with Debian's package version.
    pub llvm: String,
    /// bpf-linker's version.
    pub bpf_linker: String,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, LLVM {}, bpf-linker {}, on {}", self.rustc, self.llvm, self.bpf_linker, self.host)
    }
}

/// All that a build of the kernel programs needs, installed.
pub struct Toolchain {
    pub rustc: PathBuf,
    pub cargo: PathBuf,
    /// The root of Rust's library source.
    pub library: PathBuf,
    /// The folder of LLVM's programs.
    pub llvm_bin: PathBuf,
    pub bpf_linker: PathBuf,
    pub versions: Versions,
}

impl Toolchain {
    /// A rustup nightly with rust-src if there is one, else Debian's compiler, installed if need be; where `preferred`
    /// is given, one with that very compiler comes first.
    ///
    /// # Errors
    /// Where none can be had; the error says what was tried, and why each did not serve.
    pub fn find(preferred: Option<&Versions>) -> Result<Self> {
        let mut refused = Vec::new();
        let mut compilers = nightlies(&mut refused);
        compilers.extend(Compiler::debian().ok());
        if let Some(preferred) = preferred {
            compilers.sort_by_key(|compiler| compiler.version != preferred.rustc);
        }
        for compiler in compilers {
            let version = compiler.version.clone();
            match compiler.with_llvm() {
                Ok(toolchain) => return Ok(toolchain),
                Err(error) => refused.push(format!("{version}: {error:#}")),
            }
        }
        let debian = || {
            if Compiler::debian().is_ok() {
                bail!("no other compiler to try");
            }
            apt::need(&DEBIAN, "the compiler for the kernel programs")?;
            Compiler::debian()?.with_llvm()
        };
        debian().with_context(|| {
            format!("no toolchain for the kernel programs; refused: [{}]", refused.join("; "))
        })
    }
}

/// A compiler with the library source, before it is known whether its LLVM can be had.
struct Compiler {
    rustc: PathBuf,
    cargo: PathBuf,
    library: PathBuf,
    version: String,
    host: String,
    llvm_major: u32,
}

impl Compiler {
    /// Debian's compiler, if it is installed.
    fn debian() -> Result<Self> {
        let mut compiler = Self::in_sysroot(Path::new("/usr"))?;
        let package =
            package_version(DEBIAN[0]).with_context(|| format!("{} is not installed", DEBIAN[0]))?;
        compiler.version = format!("{} [{} {package}]", compiler.version, DEBIAN[0]);
        Ok(compiler)
    }

    fn in_sysroot(sysroot: &Path) -> Result<Self> {
        let [rustc, cargo] = ["bin/rustc", "bin/cargo"].map(|program| sysroot.join(program));
        // Where rustup's component and Debian's package both put it.
        let library = sysroot.join("lib/rustlib/src/rust");
        for needed in [&rustc, &cargo, &library.join("library/core/Cargo.toml")] {
            if !needed.is_file() {
                bail!("no {}", needed.display());
            }
        }
        let (version, host, llvm_major) = about(&sh::output(isolated(&rustc).arg("-vV"))?)?;
        Ok(Self { rustc, cargo, library, version, host, llvm_major })
    }

    /// Finds or installs the LLVM and the bpf-linker that go with the compiler.
    fn with_llvm(self) -> Result<Toolchain> {
        let major = self.llvm_major;
        if !BPF_LINKER_LLVM.contains(&major) {
            bail!("its LLVM is {major}, and bpf-linker {BPF_LINKER} knows {BPF_LINKER_LLVM:?}");
        }
        let programs = format!("llvm-{major}");
        let (headers, polly) = (format!("llvm-{major}-dev"), format!("libpolly-{major}-dev"));
        // A C++ compiler links the LLVM bindings, and a C compiler the build scripts and procedural macros.
        apt::need(&[&programs, &headers, &polly, "g++"], "the kernel programs' linker")?;
        let prefix = PathBuf::from(format!("/usr/lib/llvm-{major}"));
        let llvm = sh::output(isolated(prefix.join("bin/llvm-config")).arg("--version"))?;
        let package = package_version(&programs).with_context(|| format!("{programs} is not installed"))?;
        Ok(Toolchain {
            bpf_linker: self.bpf_linker(&prefix)?,
            versions: Versions {
                rustc: self.version,
                host: self.host,
                llvm: format!("{llvm} [{programs} {package}]"),
                bpf_linker: BPF_LINKER.to_owned(),
            },
            rustc: self.rustc,
            cargo: self.cargo,
            library: self.library,
            llvm_bin: prefix.join("bin"),
        })
    }

    /// bpf-linker for the LLVM at `prefix`, built into the cache where it is not there or does not start (it loads
    /// LLVM as a shared library, which an upgrade of the system may have replaced).
    fn bpf_linker(&self, prefix: &Path) -> Result<PathBuf> {
        let feature = format!("llvm-{}", self.llvm_major);
        let root = std::path::absolute(sh::cache())?.join(format!("bpf-linker-{BPF_LINKER}-{feature}"));
        let program = root.join("bin/bpf-linker");
        let works = || {
            let version = sh::output(isolated(&program).arg("--version"));
            version.is_ok_and(|version| version == format!("bpf-linker {BPF_LINKER}"))
        };
        if !works() {
            sh::say(format!("installing bpf-linker {BPF_LINKER} with cargo into {}", root.display()));
            sh::run(
                isolated(&self.cargo)
                    .args([
                        "install",
                        "bpf-linker",
                        "--version",
                        BPF_LINKER,
                        "--locked",
                        "--force",
                        "--quiet",
                    ])
                    .args(["--no-default-features", "--features", &feature, "--root"])
                    .arg(&root)
                    .env("RUSTC", &self.rustc)
                    .env("LLVM_PREFIX", prefix),
            )?;
            if !works() {
                bail!("{} was installed, but does not start: run it to see why", program.display());
            }
        }
        Ok(program)
    }
}

/// The rustup nightlies that have the library source; why others do not serve goes to `refused`.
fn nightlies(refused: &mut Vec<String>) -> Vec<Compiler> {
    if !sh::on_path("rustup") {
        return Vec::new();
    }
    let list = match sh::output(Command::new("rustup").args(["toolchain", "list"])) {
        Ok(list) => list,
        Err(error) => {
            refused.push(error.to_string());
            return Vec::new();
        }
    };
    nightly_names(&list)
        .filter_map(|name| {
            let sysroot =
                sh::output(Command::new("rustup").args(["run", name, "rustc", "--print", "sysroot"]));
            sysroot
                .and_then(|sysroot| Compiler::in_sysroot(Path::new(&sysroot)))
                .map_err(|error| refused.push(format!("rustup's {name}: {error:#}")))
                .ok()
        })
        .collect()
}

/// The nightlies of `rustup toolchain list`, whose lines are a name and, for some, `(active, default)`.
fn nightly_names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| name.starts_with("nightly"))
}

/// Version, host and LLVM major out of `rustc -vV`.
fn about(verbose: &str) -> Result<(String, String, u32)> {
    let field = |name: &str| {
        verbose
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .ok_or_else(|| anyhow!("`rustc -vV` names no {name}: {verbose}"))
    };
    let version = verbose.lines().next().unwrap_or_default();
    let llvm = field("LLVM version")?;
    let major = llvm.split('.').next().and_then(|major| major.parse().ok());
    let major = major.ok_or_else(|| anyhow!("`rustc -vV` names an LLVM version without a number: {llvm}"))?;
    Ok((version.to_owned(), field("host")?.to_owned(), major))
}

/// The version of a Debian package, if it is installed.
fn package_version(package: &str) -> Option<String> {
    let answer =
        sh::output(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status} ${Version}", package]));
    answer.ok()?.strip_prefix("installed ").map(str::to_owned)
}

/// `program` without what the cargo that runs xtask, or the user for other builds, put into the environment: none of it
/// may reach the object. What says how to reach a registry stays.
pub fn isolated(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(shapes_a_build) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether this environment variable could change what a compiler makes.
fn shapes_a_build(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
        "RUSTUP_HOME",
    ];
    // cargo puts its own sysroot's libraries first, where another compiler or linker could find them.
    let shaping =
        name == "LD_LIBRARY_PATH" || ["CARGO", "RUST", "LLVM_", "AYA_"].iter().any(|p| name.starts_with(p));
    shaping && !KEPT.iter().any(|kept| name.starts_with(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBOSE: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
        binary: rustc\n\
        host: x86_64-unknown-linux-gnu\n\
        release: 1.96.0\n\
        LLVM version: 22.1.8";

    #[test]
    fn a_compiler_tells_its_version_host_and_llvm() {
        let (version, host, llvm) = about(VERBOSE).unwrap();
        assert_eq!(version, "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)");
        assert_eq!(host, "x86_64-unknown-linux-gnu");
        assert_eq!(llvm, 22);
    }

    #[test]
    fn a_compiler_that_does_not_tell_is_an_error() {
        assert!(about("").unwrap_err().to_string().contains("LLVM version"));
        assert!(about(&VERBOSE.replace("22.1.8", "unknown")).unwrap_err().to_string().contains("unknown"));
    }

    #[test]
    fn nightlies_are_found_by_name() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\nnightly-2026-05-20-x86_64-unknown-linux-gnu\n\
                    nightly-x86_64-unknown-linux-gnu (override)\n1.95.0-x86_64-unknown-linux-gnu";
        let names: Vec<_> = nightly_names(list).collect();
        assert_eq!(
            names,
            ["nightly-2026-05-20-x86_64-unknown-linux-gnu", "nightly-x86_64-unknown-linux-gnu"]
        );
        assert_eq!(nightly_names("no installed toolchains").count(), 0);
    }

    #[test]
    fn the_callers_build_settings_do_not_reach_the_object() {
        for name in
            ["RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_PROFILE_RELEASE_LTO", "CARGO_TARGET_DIR", "LD_LIBRARY_PATH"]
        {
            assert!(shapes_a_build(name), "{name}");
        }
        for name in
            ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_HTTP_PROXY", "CARGO_REGISTRIES_X_INDEX"]
        {
            assert!(!shapes_a_build(name), "{name}");
        }
    }

    #[test]
    fn an_empty_folder_is_no_compiler() {
        let error = Compiler::in_sysroot(Path::new("/nonexistent")).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/bin/rustc"));
    }
}
