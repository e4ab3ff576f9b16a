//! The effective configuration as a file, each value with its origin.

use std::fmt::Write as _;

use super::Loaded;
use super::merge::{Leaf, Origin};

impl Loaded {
    /// TOML that gives this configuration again. Where all of a list comes from one place, that stands behind its
    /// key; else behind each element.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut text =
            String::from("# The effective configuration. Behind each value: where it comes from.\n");
        let mut keys: Vec<(&str, &str, &Leaf)> = self
            .layers
            .iter()
            .map(|(key, leaf)| {
                let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
                (section, name, leaf)
            })
            .collect();
        // Keys of no section must stand before the first section.
        keys.sort_by_key(|(section, name, _)| (*section, *name));
        let mut current = "";
        for (section, name, leaf) in keys {
            if section != current {
                let _ = write!(text, "\n[{section}]\n");
                current = section;
            }
            value(&mut text, name, leaf);
        }
        text
    }
}

fn value(text: &mut String, name: &str, leaf: &Leaf) {
    match leaf.value.as_array() {
        Some(list) if !list.is_empty() => {
            let first = leaf.origin(0);
            let shared = (0..list.len()).all(|index| same_place(leaf.origin(index), first));
            if shared && !list.iter().any(toml::Value::is_table) {
                let _ = writeln!(text, "{name} = {}{}", inline(&leaf.value), comment(first));
                return;
            }
            let _ = writeln!(text, "{name} = [{}", if shared { comment(first) } else { String::new() });
            for (index, element) in list.iter().enumerate() {
                let behind = if shared { String::new() } else { comment(leaf.origin(index)) };
                let _ = writeln!(text, "    {},{behind}", inline(element));
            }
            let _ = writeln!(text, "]");
        }
        _ => {
            let _ = writeln!(text, "{name} = {}{}", inline(&leaf.value), comment(leaf.origin(0)));
        }
    }
}

fn same_place(one: &Origin, other: &Origin) -> bool {
    match (one, other) {
        (Origin::File(one, _), Origin::File(other, _)) => one == other,
        _ => one == other,
    }
}

/// A path may hold a line break, which would end the comment.
fn comment(origin: &Origin) -> String {
    format!("  # {}", origin.to_string().escape_debug())
}

fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(table) => {
            let pairs: Vec<String> =
                table.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        // Display of a scalar is TOML, escapes included.
        scalar => scalar.to_string(),
    }
}
