//! Layers of settings: each value under its dotted key, with where it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

/// Lists to which every layer adds; of all other settings the last layer has the word.
const CUMULATIVE: &[&str] = &["watch.extra", "exception"];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default.
    BuiltIn,
    /// A file and a line, counted from 1.
    File(Arc<PathBuf>, usize),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => formatter.write_str("built in"),
            Self::File(path, line) => write!(formatter, "{}:{line}", path.display()),
            Self::Environment(name) => write!(formatter, "${name}"),
            Self::CommandLine => formatter.write_str("command line"),
        }
    }
}

/// A value and its origins: one, or one for each element of a list.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) value: toml::Value,
    pub(super) origins: Vec<Origin>,
}

impl Leaf {
    /// Adds the elements of another list.
    fn append(&mut self, mut other: Self) {
        let (Some(list), Some(more)) = (self.value.as_array_mut(), other.value.as_array_mut()) else {
            return;
        };
        if more.is_empty() {
            return;
        }
        if list.is_empty() {
            self.origins.clear();
        }
        list.append(more);
        self.origins.append(&mut other.origins);
    }

    /// Of the element with this index, or of the whole.
    pub(super) fn origin(&self, index: usize) -> &Origin {
        self.origins.get(index).or(self.origins.first()).unwrap_or(&Origin::BuiltIn)
    }
}

/// All settings by dotted key (`journal.socket`).
#[derive(Clone, Debug, Default)]
pub(super) struct Layers(BTreeMap<String, Leaf>);

impl Layers {
    /// Lays a value over what is there.
    pub(super) fn set(&mut self, key: &str, mut leaf: Leaf) {
        if let (Some(list), Some(last)) = (leaf.value.as_array(), leaf.origins.last().cloned()) {
            leaf.origins.resize(list.len().max(1), last);
        }
        match self.0.get_mut(key) {
            Some(under) if CUMULATIVE.contains(&key) => under.append(leaf),
            _ => {
                self.0.insert(key.to_owned(), leaf);
            }
        }
    }

    /// Lays a whole table over what is there; `origins` tells of each key where it comes from.
    pub(super) fn set_all(&mut self, table: toml::Table, origins: &dyn Fn(&str) -> Vec<Origin>) {
        for (key, value) in leaves(table) {
            let origins = origins(&key);
            self.set(&key, Leaf { value, origins });
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Leaf> {
        self.0.get(key)
    }

    /// All keys in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Leaf)> {
        self.0.iter().map(|(key, leaf)| (&**key, leaf))
    }

    /// The table that has these values.
    pub(super) fn to_table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        for (key, leaf) in self.iter() {
            insert(&mut table, key, leaf.value.clone());
        }
        table
    }
}

/// `a.b.c` and a value as nested tables.
pub(super) fn nested(key: &str, value: toml::Value) -> toml::Table {
    let mut table = toml::Table::new();
    insert(&mut table, key, value);
    table
}

fn insert(table: &mut toml::Table, key: &str, value: toml::Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let section = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(section) = section {
                insert(section, rest, value);
            }
        }
    }
}

/// Every value that is no table, with its dotted key.
pub(super) fn leaves(table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(section) => {
                found.extend(
                    leaves(section).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)),
                );
            }
            value => found.push((key, value)),
        }
    }
    found
}

/// The byte at which the value of a dotted key stands; of a list also of each element.
pub(super) fn offsets(table: &DeTable<'_>, key: &str) -> Vec<usize> {
    let (name, rest) = key.split_once('.').map_or((key, None), |(name, rest)| (name, Some(rest)));
    let Some((_, value)) = table.iter().find(|(own, _)| own.get_ref() == name) else {
        return Vec::new();
    };
    match (value.get_ref(), rest) {
        (DeValue::Table(section), Some(rest)) => offsets(section, rest),
        (DeValue::Array(list), None) if !list.is_empty() => {
            list.iter().map(|element| element.span().start).collect()
        }
        _ => vec![value.span().start],
    }
}

/// The dotted key that stands, or whose value stands, at a byte; empty where none does.
pub(super) fn key_at(table: &DeTable<'_>, offset: usize) -> String {
    let mut best = String::new();
    for (name, value) in table {
        let in_name = name.span().contains(&offset);
        let inner = match value.get_ref() {
            DeValue::Table(section) => key_at(section, offset),
            DeValue::Array(list) => list
                .iter()
                .enumerate()
                .filter(|(_, element)| element.span().contains(&offset) || holds(element.get_ref(), offset))
                .map(|(index, element)| match element.get_ref() {
                    DeValue::Table(section) => match key_at(section, offset) {
                        inner if inner.is_empty() => format!("[{index}]"),
                        inner => format!("[{index}].{inner}"),
                    },
                    _ => format!("[{index}]"),
                })
                .next()
                .unwrap_or_default(),
            _ => String::new(),
        };
        if !inner.is_empty() {
            let dot = if inner.starts_with('[') { "" } else { "." };
            return format!("{}{dot}{inner}", name.get_ref());
        }
        if in_name || value.span().contains(&offset) {
            best = name.get_ref().to_string();
        }
    }
    best
}

/// Whether something in a table of `[[...]]` form, whose own span is only its header, stands at a byte.
fn holds(value: &DeValue<'_>, offset: usize) -> bool {
    matches!(value, DeValue::Table(section) if !key_at(section, offset).is_empty())
}

/// The line of a byte, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).fold(1, |line, byte| line + usize::from(byte == b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
a = 1
list = [
  'x',
  'y',
]
[s]
b = { c = true }
[[s.t]]
d = 1
[[s.t]]
e = 2
";

    #[test]
    fn keys_and_offsets_are_found() {
        let parsed = DeTable::parse(TEXT).unwrap();
        let table = parsed.get_ref();
        for (needle, key) in [
            ("a = 1", "a"),
            ("'y'", "list[1]"),
            ("c = true", "s.b.c"),
            ("true", "s.b.c"),
            ("d = 1", "s.t[0].d"),
            ("e = 2", "s.t[1].e"),
            ("2\n", "s.t[1].e"),
        ] {
            assert_eq!(key_at(table, TEXT.find(needle).unwrap()), key, "{needle}");
        }
        let lines = |key| offsets(table, key).into_iter().map(|at| line_of(TEXT, at)).collect::<Vec<_>>();
        assert_eq!(lines("a"), [1]);
        assert_eq!(lines("list"), [3, 4]);
        assert_eq!(lines("s.b.c"), [7]);
        assert_eq!(lines("s.t"), [8, 10]);
        assert_eq!(lines("s.nothing"), [0; 0]);
    }

    #[test]
    fn a_table_survives_being_taken_apart() {
        let table: toml::Table = toml::from_str(TEXT).unwrap();
        let mut layers = Layers::default();
        layers.set_all(table.clone(), &|_| vec![Origin::BuiltIn]);
        assert_eq!(layers.to_table(), table);
    }

    #[test]
    fn later_layers_win_and_cumulative_lists_grow() {
        let mut layers = Layers::default();
        for (name, text) in
            [("one", "output = ['a']\nwatch.extra = [1]"), ("two", "output = ['b']\nwatch.extra = [2]")]
        {
            let origin = Origin::Environment(name.to_owned());
            layers.set_all(toml::from_str(text).unwrap(), &|_| vec![origin.clone()]);
        }
        assert_eq!(layers.to_table(), toml::from_str("output = ['b']\nwatch.extra = [1, 2]").unwrap());
        assert_eq!(layers.get("watch.extra").unwrap().origin(1).to_string(), "$two");
    }
}
