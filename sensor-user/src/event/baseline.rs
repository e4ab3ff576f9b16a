//! `kind::BASELINE`: what the inventory knows, as the pipeline hears of it.
//!
//! The inventory is a file, and the pipeline reads none: a thread of the daemon compares it with the machine, and what it
//! finds enters the stream as these records. A replay then tells the same.

use serde::{Deserialize, Serialize};

use super::content::latin1;

/// One thing that the inventory tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tells", rename_all = "kebab-case")]
pub enum Baseline {
    /// The sensor itself: what it does with its own files is no finding.
    Sensor {
        /// Its process id in the initial namespace.
        pid: u32,
    },
    /// There was no inventory: what is there now is the baseline, on trust.
    Begun(Compared),
    /// Inventory and machine were compared, and each difference was told.
    Compared(Compared),
    /// Something differs.
    Difference(Box<Difference>),
    /// The inventory was edited by somebody else.
    Tampered {
        /// What was noticed, in words.
        how: String,
    },
    /// It was no good, and was set aside; the next that is told is [`Self::Begun`].
    Damaged {
        /// What was wrong, in words.
        why: String,
        /// Where it is now.
        to: String,
    },
    /// It cannot be read or written at present.
    Unavailable {
        /// Why, in words.
        why: String,
    },
}

/// A comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Why it was made.
    pub because: Because,
    /// Entries that are there.
    pub entries: u64,
    /// Entries of which no package explains the content.
    pub unproved: u64,
    /// What could not be looked at.
    pub problems: u64,
    /// Entries for which the inventory had no room.
    pub refused: u64,
    /// Entries that differ.
    pub differences: u64,
    /// Those of them that are told one by one.
    pub told: u64,
    /// The inventory's seal, for who compares it later.
    pub seal: String,
}

/// Why inventory and machine were compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Because {
    /// It was never done.
    #[default]
    First,
    /// The sensor did not run.
    Away {
        /// From then, nanoseconds since 1970.
        since_ns: i64,
        /// Until then.
        until_ns: i64,
        /// It had been asked to end.
        clean: bool,
        /// The machine was booted meanwhile.
        rebooted: bool,
    },
    /// Records were lost.
    Loss {
        /// From then, nanoseconds since 1970.
        since_ns: i64,
        /// Until then.
        until_ns: i64,
    },
}

/// An entry that is not as the inventory has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Why it was compared.
    pub because: Because,
    /// How it differs.
    pub change: Change,
    /// What sort of thing (`proof::inventory::Kind`).
    pub kind: String,
    /// Whose: `None` the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Its name.
    pub name: String,
    /// Where it is.
    #[serde(with = "latin1")]
    pub path: Vec<u8>,
    /// Where it points to, if it is a link.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "latin1::option")]
    pub target: Option<Vec<u8>>,
    /// SHA-256 of its content; 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// File type and permission bits (inode(7)).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// What package databases say of its content.
    pub proof: Proof,
    /// What differs, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What is odd about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Oddity>,
}

/// How an entry differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Added,
    /// It is another.
    #[default]
    Changed,
    /// It is gone.
    Removed,
}

/// What package databases say of an entry and of what it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Proof {
    /// Its content, and that of every program that it runs, is a package's.
    Proved {
        /// `name version`.
        package: String,
    },
    /// A package's configuration file, which the administrator may change.
    Configuration {
        /// `name version`.
        package: String,
    },
    /// A package owns it, and does not say what its content is.
    Claimed {
        /// `name version`.
        package: String,
    },
    /// A package owns it, and its content, or that of a program that it runs, is another.
    Modified {
        /// `name version`.
        package: String,
    },
    /// No package owns it, or a program that it runs.
    Unowned,
    /// Nobody can say.
    #[default]
    Unknown,
}

/// Something odd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oddity {
    /// For rules and queries.
    pub slug: String,
    /// What it adds to the score.
    pub points: i8,
    /// In words.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_survives_being_written() {
        let difference = Difference {
            because: Because::Away { since_ns: -1, until_ns: i64::MAX, clean: false, rebooted: true },
            path: b"/etc/\xff".to_vec(),
            target: Some(b"\n".to_vec()),
            proof: Proof::Proved { package: "a 1".to_owned() },
            signals: vec![Oddity { slug: "a.b".to_owned(), points: -3, text: "x".to_owned() }],
            ..Difference::default()
        };
        for told in [
            Baseline::Begun(Compared {
                because: Because::Loss { since_ns: 1, until_ns: 2 },
                ..Compared::default()
            }),
            Baseline::Difference(Box::new(difference)),
            Baseline::Tampered { how: "x".to_owned() },
        ] {
            let text = serde_json::to_string(&told).unwrap();
            assert_eq!(serde_json::from_str::<Baseline>(&text).unwrap(), told);
        }
    }
}
