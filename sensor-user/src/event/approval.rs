//! `kind::APPROVALS`: what was told to be expected.

use serde::{Deserialize, Serialize};

/// All approvals and exceptions that there are. Replaces what was known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    /// In the order in which they are tried.
    pub approvals: Vec<Approval>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its name: an exception's, or an approval's id.
    pub name: String,
    /// Where it was told.
    pub source: Source,
    /// Who approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    pub reason: String,
    /// Until when, nanoseconds since 1970; `None` where it is permanent.
    pub expires_ns: Option<i64>,
    /// What it is about.
    #[serde(flatten)]
    pub when: When,
}

/// Where something was approved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `svcsensor approve`.
    #[default]
    Command,
    /// A signed file.
    Signed,
    /// An exception of the configuration.
    Exception,
}

/// What must be true of an alert, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct When {
    /// The file's path; `*` stands for any part of a component, `**` for any part of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The unit's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// SHA-256 of the file's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The rule's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The executable of the process that acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// The package by which the change is proved: its name, or name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The container service's image, as it was asked for: with a digest it is the content that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

impl When {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it goes by names alone, which anybody can take on, and by no content.
    pub fn is_by_name(&self) -> bool {
        let pinned = self.image.as_ref().is_some_and(|image| image.contains("@sha256:"));
        self.sha256.is_none() && self.package.is_none() && !pinned
    }
}
