//! Signed approvals: a TOML file, and beside it its signature by minisign.

use std::path::{Path, PathBuf};

use minisign_verify::{PublicKey, Signature};
use serde::Deserialize;

use super::files::{names, read};
use super::{APPROVALS_MAX, Loaded, check, moment};
use crate::event::approval::{Approval, Source, When};

/// Public keys whose signatures count.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<PublicKey>);

impl Keys {
    /// Of the second line of a minisign `.pub` file each.
    ///
    /// # Errors
    /// The first that is none, and why.
    pub fn parse(keys: &[String]) -> Result<Self, (usize, String)> {
        let parsed = keys.iter().enumerate().map(|(at, key)| {
            PublicKey::from_base64(key.trim())
                .map_err(|error| (at, format!("{key:?} is no minisign public key: {error}")))
        });
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }
}

/// A signed file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    approval: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    reason: String,
    by: Option<String>,
    expires: Option<String>,
    #[serde(default)]
    permanent: bool,
    path: Option<String>,
    unit: Option<String>,
    sha256: Option<String>,
    rule: Option<String>,
    exe: Option<String>,
    image: Option<String>,
    package: Option<String>,
}

/// The approvals of a folder of signed files. One without a signature that fits counts for nothing.
pub fn load_signed(directory: &Path, keys: &Keys) -> Loaded {
    let mut loaded = Loaded::default();
    for path in names(directory, ".toml", &mut loaded.problems) {
        match load(&path, keys) {
            Ok(approvals) => loaded.approvals.extend(approvals),
            Err(problem) => loaded.problems.push(problem),
        }
    }
    if loaded.approvals.len() > APPROVALS_MAX {
        loaded.problems.push(format!("{}: only {APPROVALS_MAX} approvals count", directory.display()));
        loaded.approvals.truncate(APPROVALS_MAX);
    }
    loaded
}

fn load(path: &Path, keys: &Keys) -> Result<Vec<Approval>, String> {
    let said = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    if keys.0.is_empty() {
        return Err(said(&"no key is configured (approvals.keys): it approves nothing"));
    }
    let content = read(path)?;
    let beside = PathBuf::from(format!("{}.minisig", path.display()));
    let signature = read(&beside)?;
    let signature = String::from_utf8(signature)
        .map_err(|error| error.to_string())
        .and_then(|text| Signature::decode(&text).map_err(|error| error.to_string()))
        .map_err(|error| format!("{}: {error}", beside.display()))?;
    if !keys.0.iter().any(|key| key.verify(&content, &signature, false).is_ok()) {
        return Err(said(&"it is signed with none of the configured keys: it approves nothing"));
    }
    let text = std::str::from_utf8(&content).map_err(|error| said(&error))?;
    let document: Document = toml::from_str(text).map_err(|error| said(&error.message()))?;
    let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut approvals = Vec::new();
    for (at, written) in document.approval.into_iter().enumerate() {
        let name = format!("{file}[{at}]");
        let expires_ns = match (&written.expires, written.permanent) {
            (Some(text), false) => Some(moment(text, None).map_err(|error| said(&error))?),
            (None, true) => None,
            _ => {
                return Err(said(&format_args!(
                    "approval[{at}]: needs either `expires` or `permanent = true`"
                )));
            }
        };
        let when = When {
            path: written.path,
            unit: written.unit,
            sha256: written.sha256,
            rule: written.rule,
            exe: written.exe,
            image: written.image,
            package: written.package,
        };
        let approval = Approval {
            name,
            source: Source::Signed,
            by: written.by,
            reason: written.reason,
            expires_ns,
            when,
        };
        check(&approval).map_err(|problem| said(&format_args!("approval[{at}]: {problem}")))?;
        approvals.push(approval);
    }
    Ok(approvals)
}
