//! One thing that starts by itself, or has a part in it.

use serde::{Deserialize, Serialize};

use crate::event::content::latin1;
use crate::proof::package::Verdict;

/// What sort of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A unit file, template or instance (systemd.unit(5)).
    Unit,
    /// A drop-in of a unit, a prefix or a type.
    DropIn,
    /// A link that enables a unit (`.wants`, `.requires`, `.upholds`), makes an alias of it, or masks it.
    Link,
    /// A generator or environment generator (systemd.generator(7)).
    Generator,
    /// An init script, rc link, rc.local, or another init's service.
    InitScript,
    /// A container with a restart policy, in an engine's books.
    Container,
    /// A Quadlet source (podman-systemd.unit(5)).
    Quadlet,
    /// A manifest in a kubelet's folder of static pods.
    StaticPod,
    /// Anything else that the default watch list has: cron, udev rules, tmpfiles, D-Bus activation, hooks, settings.
    Adjacent,
}

/// A program that an [`Entry`] runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its path, as the host's PID 1 sees it.
    #[serde(with = "latin1")]
    pub path: Vec<u8>,
    /// SHA-256 of its content, 64 hexadecimal digits; `None` where it is absent or could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What package databases say.
    pub proof: Verdict,
}

/// One thing that starts by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What sort.
    pub kind: Kind,
    /// Whose: `None` the system's, else the user's whose manager reads it (by home directory's owner).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// The unit's, script's or container's name.
    pub name: String,
    /// Where it is, as the host's PID 1 sees it. With `kind` the key.
    #[serde(with = "latin1")]
    pub path: Vec<u8>,
    /// Where it points to, if it is a link.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "latin1::option")]
    pub target: Option<Vec<u8>>,
    /// SHA-256 of the content, or of the target's bytes for a link; 64 hexadecimal digits. `None` where unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// File type and permission bits (inode(7)).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content, nanoseconds since 1970.
    pub modified_ns: i64,
    /// What package databases say of it.
    pub proof: Verdict,
    /// What it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<Program>,
}
