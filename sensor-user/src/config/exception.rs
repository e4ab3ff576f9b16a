//! Exceptions: findings that are to be expected here, by what they are about.

use serde::{Deserialize, Serialize};

use crate::event::approval::{Approval, Source, When};
use crate::proof::approval;

/// Exceptions that there may be: each has a metric of its own.
pub(super) const EXCEPTIONS_MAX: usize = 256;

/// An element of `[[exception]]`: what all of its conditions fit is kept, and told as info.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Exception {
    /// By what alerts and metrics name it: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Why this is to be expected.
    pub reason: String,
    /// Until when: `2026-12-01`, or `2026-12-01T12:00:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// It never expires. One of the two must be said.
    pub permanent: bool,
    /// A rule's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The file's path; `*` stands for any part of a component, `**` for any components.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The unit's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// SHA-256 of the file's content, or of that at a link's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The executable of the process that acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// The package by which the change is proved: its name, or name and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The container service's image, as it is asked for; one with `@sha256:` is bound to its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

impl Exception {
    /// As the pipeline knows it.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn approval(&self) -> Result<Approval, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(plain) {
            return Err("its name must be 1 to 64 letters, digits, -, _ and .".to_owned());
        }
        let expires_ns = match (&self.expires, self.permanent) {
            (Some(text), false) => Some(approval::moment(text, None)?),
            (None, true) => None,
            _ => return Err("it needs either `expires` or `permanent = true`".to_owned()),
        };
        let when = When {
            path: self.path.clone(),
            unit: self.unit.clone(),
            sha256: self.sha256.clone(),
            rule: self.rule.clone(),
            exe: self.exe.clone(),
            image: self.image.clone(),
            package: self.package.clone(),
        };
        let told = Approval {
            name: self.name.clone(),
            source: Source::Exception,
            by: None,
            reason: self.reason.clone(),
            expires_ns,
            when,
        };
        approval::check(&told)?;
        Ok(told)
    }

    /// What the administrator should know of it.
    pub(super) fn warning(&self) -> Option<String> {
        let by_name = self.approval().is_ok_and(|approval| approval.when.is_by_name());
        by_name.then(|| {
            format!(
                "exception {}: it goes by names alone, which anybody can take on; name a sha256, a package or an image's digest",
                self.name
            )
        })
    }
}
