//! What the committed object was built from, and with what.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::REBUILD;
use super::build::FLAGS;
use super::toolchain::Versions;

const FILE: &str = "manifest.json";

/// Stands beside the committed object, as `manifest.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// SHA-256 of the object, in hexadecimal.
    pub sha256: String,
    /// The object's length in bytes.
    pub size: u64,
    /// [`sources`] at the time of the build.
    pub sources_sha256: String,
    /// What built it.
    pub toolchain: Versions,
    /// How it was built: [`FLAGS`] at that time.
    pub flags: Vec<String>,
}

impl Manifest {
    /// The manifest of `object`, built now from the sources of this digest.
    pub fn of(object: &[u8], sources_sha256: String, toolchain: Versions) -> Self {
        Self {
            sha256: hex(&Sha256::digest(object)),
            size: object.len() as u64,
            sources_sha256,
            toolchain,
            flags: FLAGS.iter().map(ToString::to_string).collect(),
        }
    }

    /// Reads the manifest in `dir`.
    ///
    /// # Errors
    /// Where it is missing or is no manifest.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; {REBUILD}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no manifest; {REBUILD}", path.display()))
    }

    /// Writes the manifest into `dir`.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether this is the manifest of `object` and of sources with this digest, built as they would be built now.
    ///
    /// # Errors
    /// Names the first of these that differs.
    pub fn fits(&self, object: &[u8], sources_sha256: &str) -> Result<()> {
        if self.sources_sha256 != sources_sha256 {
            bail!("the kernel programs' sources changed after the committed object was built; {REBUILD}");
        }
        if self.flags != FLAGS {
            bail!("the flags of the build changed after the committed object was built; {REBUILD}");
        }
        let sha256 = hex(&Sha256::digest(object));
        if self.sha256 != sha256 || self.size != object.len() as u64 {
            bail!(
                "the committed object is not its manifest's: {} bytes, sha256 {sha256}, where the manifest has {} \
                 bytes, sha256 {}; {REBUILD}",
                object.len(),
                self.size,
                self.sha256
            );
        }
        Ok(())
    }
}

/// The digest of everything of ours that the object is made of, in the checkout at `root`: `sensor-ebpf` with its
/// lock, and `sensor-common`. A file counts with its path, its length and its content.
///
/// The workspace's `Cargo.toml`, from which `sensor-common` inherits its edition, is left out: nearly every change
/// to it concerns other crates, and where one concerns this object, the build that follows shows it.
///
/// # Errors
/// Where a file or folder cannot be read.
pub fn sources(root: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> =
        ["sensor-common/Cargo.toml", "sensor-ebpf/Cargo.lock", "sensor-ebpf/Cargo.toml"]
            .map(PathBuf::from)
            .into();
    for dir in ["sensor-common/src", "sensor-ebpf/src"] {
        rust_files(root, Path::new(dir), &mut files)?;
    }
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        let content =
            fs::read(root.join(&file)).with_context(|| format!("cannot read {}", file.display()))?;
        digest.update(file.as_os_str().as_encoded_bytes());
        digest.update([0]);
        digest.update((content.len() as u64).to_le_bytes());
        digest.update(content);
    }
    Ok(hex(&digest.finalize()))
}

/// Adds the Rust files below `root`/`dir` to `files`, relative to `root`. An editor's own files do not count.
fn rust_files(root: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(root.join(dir)).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        let path = dir.join(entry.file_name());
        let kind = entry.file_type().with_context(|| format!("cannot look at {}", path.display()))?;
        if kind.is_dir() {
            rust_files(root, &path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkout with the smallest set of sources, removed at the end.
    struct Checkout(PathBuf);

    impl Checkout {
        fn new(name: &str) -> Self {
            let checkout =
                Self(std::env::temp_dir().join(format!("svcsensor-manifest-{name}-{}", std::process::id())));
            for file in [
                "sensor-common/Cargo.toml",
                "sensor-common/src/lib.rs",
                "sensor-ebpf/Cargo.lock",
                "sensor-ebpf/Cargo.toml",
                "sensor-ebpf/src/main.rs",
                "sensor-ebpf/src/hooks/file.rs",
            ] {
                checkout.write(file, file);
            }
            checkout
        }

        fn write(&self, file: &str, content: &str) {
            let path = self.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn digest(&self) -> String {
            sources(&self.0).unwrap()
        }
    }

    impl Drop for Checkout {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn versions() -> Versions {
        Versions {
            rustc: "rustc 1.96.0".into(),
            host: "x86_64-unknown-linux-gnu".into(),
            llvm: "22.1.8".into(),
            bpf_linker: "0.13.0".into(),
        }
    }

    #[test]
    fn the_digest_depends_on_the_sources_and_on_nothing_else() {
        let one = Checkout::new("one");
        let two = Checkout::new("two");
        let before = one.digest();
        assert_eq!(before.len(), 64);
        assert_eq!(before, two.digest(), "the same sources at another path");
        two.write("sensor-ebpf/src/.main.rs.swp", "an editor's");
        two.write("sensor-user/src/main.rs", "another crate's");
        assert_eq!(before, two.digest());
    }

    #[test]
    fn every_source_counts() {
        for file in ["sensor-common/src/lib.rs", "sensor-ebpf/src/hooks/file.rs", "sensor-ebpf/Cargo.lock"] {
            let checkout = Checkout::new("change");
            let before = checkout.digest();
            checkout.write(file, "changed");
            assert_ne!(before, checkout.digest(), "{file} changed");
        }
        let checkout = Checkout::new("add");
        let before = checkout.digest();
        checkout.write("sensor-ebpf/src/path.rs", "");
        assert_ne!(before, checkout.digest(), "an empty file was added");
    }

    #[test]
    fn content_does_not_slide_from_one_file_into_the_next() {
        let one = Checkout::new("slide-one");
        let two = Checkout::new("slide-two");
        one.write("sensor-common/src/a.rs", "xy");
        one.write("sensor-common/src/b.rs", "z");
        two.write("sensor-common/src/a.rs", "x");
        two.write("sensor-common/src/b.rs", "yz");
        assert_ne!(one.digest(), two.digest());
    }

    #[test]
    fn a_missing_source_is_an_error_that_names_it() {
        let checkout = Checkout::new("missing");
        fs::remove_file(checkout.0.join("sensor-ebpf/Cargo.lock")).unwrap();
        assert!(sources(&checkout.0).unwrap_err().to_string().contains("sensor-ebpf/Cargo.lock"));
    }

    #[test]
    fn a_manifest_fits_its_own_object_and_sources_alone() {
        let manifest = Manifest::of(b"object", "digest".into(), versions());
        manifest.fits(b"object", "digest").unwrap();
        let error = |object: &[u8], sources: &str| manifest.fits(object, sources).unwrap_err().to_string();
        assert!(error(b"object", "other").contains("cargo xtask build-ebpf"));
        assert!(error(b"objecT", "digest").contains("not its manifest's"));
        let other_flags = Manifest { flags: vec![], ..Manifest::of(b"object", "digest".into(), versions()) };
        assert!(other_flags.fits(b"object", "digest").unwrap_err().to_string().contains("flags"));
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let checkout = Checkout::new("read");
        let manifest = Manifest::of(b"object", checkout.digest(), versions());
        manifest.write(&checkout.0).unwrap();
        assert_eq!(Manifest::read(&checkout.0).unwrap(), manifest);
        checkout.write(FILE, "{\"sha256\": \"cut short");
        assert!(Manifest::read(&checkout.0).unwrap_err().to_string().contains("no manifest"));
    }
}
