//! `kind::PROOF`: what package databases say of paths, and what is there.
//!
//! Databases and digests are as far from the pipeline as any other file: it names paths
//! ([`super::content::Want::Proof`]), the daemon compares, and what it finds enters the stream as a record.

use serde::{Deserialize, Serialize};

use super::content::latin1;
use super::package::{Package, Verdict};

/// Paths of one question at most. An answer has some 600 bytes for each, and the longest path has 4 KiB: it fits a record.
pub const PATHS_MAX: usize = 64;

/// `kind::PROOF`: the answer to one [`super::content::Want::Proof`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proofs {
    /// Which question; 0 where nobody asked.
    pub id: u64,
    /// One per path.
    pub proofs: Vec<Proof>,
}

/// What is known of one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// As the host's PID 1 sees it.
    #[serde(with = "latin1")]
    pub path: Vec<u8>,
    /// What the databases say of what is there.
    pub verdict: Verdict,
    /// Of which package the path was when the databases were read the time before: a package that is being removed
    /// is still known by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Package>,
    /// What is there; `None` where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// What a symbolic link leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// The identity of what was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Device in the kernel's encoding (major << 20 | minor), as stat(2) has it.
    pub device: u32,
    /// Inode number.
    pub inode: u64,
    /// File type and permission bits (inode(7)).
    pub mode: u32,
    /// Last change of content or attributes (`st_ctim`), nanoseconds since 1970: nobody sets it back without setting
    /// the clock.
    pub changed_ns: i64,
    /// SHA-256 of the content, 64 hexadecimal digits; `None` where it has none that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The end of a symbolic link, as PID 1 follows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Where it is.
    #[serde(with = "latin1")]
    pub path: Vec<u8>,
    /// What the databases say of it.
    pub verdict: Verdict,
    /// File type and permission bits (inode(7)); 0 where nothing is there.
    #[serde(default)]
    pub mode: u32,
}

/// Whether a mode is a directory's (inode(7)).
pub fn is_directory(mode: u32) -> bool {
    mode & 0o170_000 == 0o040_000
}
