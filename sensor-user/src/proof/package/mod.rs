//! What package databases say of a path: who owns it, and what its content must be.

mod aliases;
mod apk;
mod check;
mod database;
mod dpkg;
mod index;
mod pacman;
mod rpm;
mod temporary;

pub use check::{Checked, End, Object};
pub use database::{Packages, Script, Status, UnderWay, database_of};
pub use temporary::{Stage, Temporary, temporary};

use serde::{Deserialize, Serialize};

use crate::event::content::latin1;
pub use crate::event::package::{Manager, Package, Verdict};

/// A content's digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "algorithm", content = "hex")]
pub enum Digest {
    /// dpkg's md5sums and conffiles, old rpm; 32 lower-case hexadecimal digits.
    Md5(String),
    /// apk; 40 digits.
    Sha1(String),
    /// rpm, pacman; 64 digits.
    Sha256(String),
    /// rpm; 128 digits.
    Sha512(String),
}

/// What a database says of one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Of which package it is.
    pub package: Package,
    /// What its content must be; `None` where the database does not say (directories; links say their target).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What it must point to, if the package brings it as a symbolic link and the database says where to.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "latin1::option")]
    pub target: Option<Vec<u8>>,
    /// A configuration file: the administrator may change it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub config: bool,
}

/// Reads bytes as every format that a package database has, and drops what comes of it: for the fuzzer.
pub fn read_as_all(bytes: &[u8]) {
    dpkg::read_as_all(bytes);
    rpm::read_as_all(bytes);
    apk::read_as_all(bytes);
    pacman::read_as_all(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on a path, in words.
    pub(super) fn told(packages: &mut Packages, path: &str) -> String {
        packages.refresh();
        match packages.check(path.as_bytes()).verdict {
            Verdict::Proved { package } => format!("proved {} {}", package.name, package.version),
            Verdict::Modified { package, config } => format!("modified {} {config}", package.name),
            Verdict::Claimed { package } => format!("claimed {}", package.name),
            Verdict::Unowned => "unowned".to_owned(),
            Verdict::Unknown { reason } => reason,
        }
    }
}
