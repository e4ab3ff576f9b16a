//! Packages, as records name them: who a file is of, and whether its content is what that one says.

use serde::{Deserialize, Serialize};

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
