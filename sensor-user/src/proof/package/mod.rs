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
pub use database::{Packages, Script, Status, UnderWay};
pub use temporary::{Stage, Temporary, temporary};

use serde::{Deserialize, Serialize};

use crate::event::content::latin1;

/// Whose database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// dpkg(1): `/var/lib/dpkg`.
    Dpkg,
    /// rpm(8): `rpmdb.sqlite` or `Packages.db` (ndb).
    Rpm,
    /// apk(8): `/lib/apk/db/installed`.
    Apk,
    /// pacman(8): `/var/lib/pacman/local`.
    Pacman,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Package {
    /// Whose database has it.
    pub manager: Manager,
    /// Its name, without the architecture.
    pub name: String,
    /// Its version as the manager writes it, with epoch and release.
    pub version: String,
    /// As the manager writes it: `amd64`, `noarch`; empty where there is none.
    pub architecture: String,
}

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

/// What is known of a path by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// Content (of a link: target) is what the package says it is.
    Proved {
        /// Which package.
        package: Package,
    },
    /// A package owns the path, and the content is another.
    Modified {
        /// Which package.
        package: Package,
        /// The package calls it a configuration file.
        config: bool,
    },
    /// A package owns the path, and its database does not say what the content must be.
    Claimed {
        /// Which package.
        package: Package,
    },
    /// No package owns the path.
    Unowned,
    /// Nobody can say: no database, or one that cannot be read or trusted.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}
