//! How a change stands to known software, in an alert.

use serde::Serialize;

use crate::incident::proving::Outcome;
use crate::proof::package::Manager;

#[cfg(test)]
use schemars::JsonSchema;

/// `package.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Package<'a> {
    /// Without the architecture.
    pub name: &'a str,
    /// As the package manager writes it.
    pub version: &'a str,
    /// As the package manager writes it; absent where there is none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub architecture: &'a str,
    /// Whose database has it: `dpkg`, `rpm`, `apk`, `pacman`.
    #[serde(rename = "type")]
    pub kind: Manager,
}

/// `svcsensor.proof.*`: how the change stands to known software; absent where no package manager had a part in it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Proof<'a> {
    /// `proved`: the package manager made it, and it is what the package says. `doubted`: the same, but no sound package
    /// has such a thing. `unproved`: it was made for a package manager, and no package accounts for it. `imitated`: what
    /// made it is called a package manager and is none. `overdue`: there was no answer in time.
    pub verdict: Outcome,
    /// SHA-256 of the file's content, of a link of its target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<&'a str>,
    /// Process id of the uppermost package manager.
    pub transaction_pid: u32,
    /// Its command line, or the beginning of that.
    pub transaction: &'a str,
    /// The maintainer script that acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<&'a str>,
    /// Of which package that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script_package: Option<Package<'a>>,
}
