//! What a rule is. The rules themselves are data (`rules.rs`).

use serde::{Deserialize, Serialize};

/// How bad a finding is, from its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Worth a look in a review.
    Low,
    /// Worth a look this week.
    Medium,
    /// Worth a look now.
    High,
    /// Wake someone.
    Critical,
}

impl Severity {
    /// From least to worst.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// As documents, journal fields and labels have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// An ATT&CK technique or sub-technique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Technique {
    /// `T1543.002`; of a technique without a sub-technique `T1543`.
    pub id: &'static str,
    /// Name of the technique: `Create or Modify System Process`.
    pub technique: &'static str,
    /// Name of the sub-technique: `Systemd Service`.
    pub subtechnique: Option<&'static str>,
    /// Tactics (`TA0003`, `Persistence`).
    pub tactics: &'static [(&'static str, &'static str)],
}

/// A rule: its id never changes its meaning.
#[derive(Debug)]
pub struct Rule {
    /// Dotted slug.
    pub id: &'static str,
    /// One line.
    pub name: &'static str,
    /// Where nothing raises or lowers it.
    pub severity: Severity,
    /// The first is the one that the alert names first.
    pub techniques: &'static [Technique],
    /// For `explain`: what it means, what to look at, how to undo.
    pub description: &'static str,
    /// What legitimate work looks the same.
    pub false_positives: &'static [&'static str],
}
