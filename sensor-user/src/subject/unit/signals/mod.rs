//! What is suspicious about a unit, each with a slug that stays, a weight, and a sentence.
//!
//! A signal is no finding: packages have odd units as well. Whoever asks weighs them against proof of origin.

pub mod command;
pub mod name;
pub mod place;
pub mod unit;

use super::effective::Origin;

/// How much a signal says by itself. The order is that of weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// Common in sound units; tells something beside others.
    Note,
    /// Uncommon in sound units.
    Weak,
    /// Hardly ever in sound units.
    Strong,
    /// Has no sound use.
    Damning,
}

/// A signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its name, which does not change: `command.reverse-shell`.
    pub slug: &'static str,
    /// How much it says.
    pub weight: Weight,
    /// Why, for people.
    pub why: String,
    /// Where in the unit's files, where it comes from one.
    pub origin: Option<Origin>,
}

impl Signal {
    fn new(slug: &'static str, weight: Weight, why: impl Into<String>) -> Self {
        Self { slug, weight, why: why.into(), origin: None }
    }

    fn at(self, origin: Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }
}

/// Bytes for a sentence: printable, and not too long.
fn told(bytes: &[u8]) -> String {
    const MAX: usize = 120;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX)]);
    let shown: String = text.chars().take(MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MAX).is_some() { shown + "…" } else { shown }
}
