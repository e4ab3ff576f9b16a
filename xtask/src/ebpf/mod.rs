//! `cargo xtask build-ebpf`: the kernel programs, from source to the committed object.
//!
//! `cargo build` on stable Rust embeds the object in `sensor-user/object`. Nobody should have to trust it: this
//! command builds it again, byte for byte, wherever the toolchain of its manifest can be had.
//!
//! - `toolchain`: a compiler with Rust's library source, and the LLVM and bpf-linker that go with it.
//! - `build`: the compilation, without a trace of the machine on which it ran.
//! - `manifest`: what the committed object was built from, and with what.

mod build;
mod manifest;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub use self::build::rustc_wrapper;
use self::manifest::Manifest;
use self::toolchain::Toolchain;
use crate::sh;

/// The object's file name, in the committed folder and wherever else it is put.
const OBJECT: &str = "svcsensor.bpf.o";

/// What to tell someone whose committed object cannot stand as it is.
const REBUILD: &str = "run `cargo xtask build-ebpf` and commit sensor-user/object";

/// Build the kernel object from source, or check that the committed one is what its sources give
///
/// `cargo build` embeds the object in sensor-user/object; nobody has to trust it. Needs a nightly with rust-src, or
/// Debian's rustc-web; installs what is missing. A toolchain other than the manifest's gives other bytes, and says so.
#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Check that the committed object is what its sources give; change nothing
    #[arg(long)]
    check: bool,
    /// Where to put the object and its manifest (by default sensor-user/object; with --check the cache)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  built; with --check: identical, or the toolchain here is another than the manifest's
  1  it cannot be built; with --check: the committed object is not what its sources give
  2  usage

Examples:
  cargo xtask build-ebpf            # then commit sensor-user/object
  cargo xtask build-ebpf --check";

/// What [`check`] found.
#[derive(Debug)]
pub enum Check {
    /// The sources give the committed object, byte for byte, by the manifest's toolchain or by another.
    Identical,
    /// The sources are those of the committed object, but give other bytes, as is to be expected: the toolchain here
    /// is not the manifest's. What it built is at `object`, for the tests to run with as well.
    OtherToolchain {
        /// The freshly built object.
        object: PathBuf,
    },
}

pub fn main(args: &Args) -> Result<()> {
    if args.check {
        match check_into(&args.out.clone().unwrap_or_else(fresh))? {
            Check::Identical => sh::say("the committed object is what its sources give, byte for byte"),
            Check::OtherToolchain { object } => {
                sh::say(format!(
                    "NOT compared byte for byte; run the tests with {} as well",
                    object.display()
                ));
            }
        }
        return Ok(());
    }
    let dir = args.out.clone().unwrap_or_else(committed);
    let toolchain = Toolchain::find(None)?;
    let built = build::object(&toolchain, build::PROGRAMS, false)?;
    let manifest = Manifest::of(&built, manifest::sources(&sh::root())?, toolchain.versions);
    write(&dir, &built)?;
    manifest.write(&dir)?;
    sh::say(format!("{}: {} bytes, sha256 {}", dir.join(OBJECT).display(), manifest.size, manifest.sha256));
    Ok(())
}

/// Whether the committed object is what its sources give.
///
/// The digests of the sources and of the object are compared first, which needs no toolchain; then the object is
/// built again.
///
/// # Errors
/// Where the object or the manifest is missing, was changed, or is older than the sources; where the manifest's own
/// toolchain gives other bytes; where no toolchain can be had, or the build fails.
pub fn check() -> Result<Check> {
    check_into(&fresh())
}

/// Builds the empty programs and the sensor's, as they stand in this checkout; neither is committed.
///
/// # Errors
/// Where no toolchain can be had, or a build fails.
pub fn for_bench() -> Result<(Vec<u8>, Vec<u8>)> {
    let toolchain = Toolchain::find(None)?;
    let empty = build::object(&toolchain, build::EMPTY, true)?;
    Ok((empty, build::object(&toolchain, build::PROGRAMS, true)?))
}

fn check_into(dir: &Path) -> Result<Check> {
    let manifest = Manifest::read(&committed())?;
    let object = committed().join(OBJECT);
    let bytes = fs::read(&object).with_context(|| format!("cannot read {}; {REBUILD}", object.display()))?;
    manifest.fits(&bytes, &manifest::sources(&sh::root())?)?;

    let toolchain = Toolchain::find(Some(&manifest.toolchain))?;
    let built = build::object(&toolchain, build::PROGRAMS, true)?;
    if built == bytes {
        return Ok(Check::Identical);
    }
    let object = write(dir, &built)?;
    if toolchain.versions == manifest.toolchain {
        bail!(
            "the committed object is not what its sources give with the manifest's own toolchain ({} bytes \
             committed, {} built: {}); {REBUILD}",
            bytes.len(),
            built.len(),
            object.display()
        );
    }
    sh::say("the toolchain here is not the one that built the committed object:");
    sh::say(format!("  the manifest: {}", manifest.toolchain));
    sh::say(format!("  here:         {}", toolchain.versions));
    Ok(Check::OtherToolchain { object })
}

/// The folder of the committed object, which `cargo build` embeds.
fn committed() -> PathBuf {
    sh::root().join("sensor-user/object")
}

/// The folder for an object that is not to be committed.
fn fresh() -> PathBuf {
    sh::cache().join("ebpf")
}

/// Writes the object into `dir` and returns its path.
fn write(dir: &Path, object: &[u8]) -> Result<PathBuf> {
    let path = dir.join(OBJECT);
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(&path, object))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
