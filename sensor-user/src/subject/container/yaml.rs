//! YAML as values, within bounds: what kubelet, podman and docker compose read is in the hands of whoever writes it.
//!
//! The events come from `saphyr-parser`, which does not recurse; what is built of them is counted, aliases included, so
//! that a few lines which stand for a billion values end as a [`Fault`] and not as memory. JSON is YAML, and is read here
//! as well. Plain scalars are taken as YAML 1.1 has them, for that is what Kubernetes reads (`yes` is true); numbers stay
//! text.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Values of a whole file, keys and aliases' values included.
pub const VALUES_MAX: usize = 20_000;
/// Bytes of scalars, those of aliases included.
const BYTES_MAX: usize = 1 << 20;
/// Values inside one another.
pub const DEPTH_MAX: usize = 64;
/// Documents of a file.
pub const DOCUMENTS_MAX: usize = 64;

/// Why reading ended before the text did. What stands before is told all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Not YAML.
    #[error("it is no YAML: {0}")]
    Syntax(String),
    /// More than [`VALUES_MAX`], [`DEPTH_MAX`], [`DOCUMENTS_MAX`], or a mebibyte of text: nothing that people write.
    #[error("it holds, or its aliases stand for, more than is read")]
    TooMuch,
}

/// What a file's documents say, and why not all of them were read.
pub fn documents(text: &[u8]) -> (Vec<Value>, Option<Fault>) {
    let Ok(text) = std::str::from_utf8(text) else { return (Vec::new(), Some(Fault::NotUtf8)) };
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let fault = match event {
            Ok((event, _)) => builder.take(event).err(),
            Err(error) => Some(Fault::Syntax(error.info().to_owned())),
        };
        if fault.is_some() {
            builder.abandon();
            return (builder.documents, fault);
        }
    }
    (builder.documents, None)
}

/// A collection that is not finished.
#[derive(Debug)]
enum Open {
    List { anchor: usize, items: Vec<Value> },
    Table { anchor: usize, entries: Map<String, Value>, key: Option<String> },
}

#[derive(Debug, Default)]
struct Builder {
    documents: Vec<Value>,
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    values: usize,
    bytes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                self.charge(1, text.len())?;
                // A key is text, whatever it looks like.
                let is_key = matches!(self.open.last(), Some(Open::Table { key: None, .. }));
                let value = match style {
                    ScalarStyle::Plain if !is_key => plain(&text),
                    _ => Value::String(text.into_owned()),
                };
                self.put(anchor, value)
            }
            Event::Alias(anchor) => {
                // One inside of what it stands for is in none yet, and stands for nothing.
                let value = self.anchors.get(&anchor).cloned().unwrap_or_default();
                let (values, bytes) = size(&value);
                self.charge(values, bytes)?;
                self.put(0, value)
            }
            Event::SequenceStart(anchor, _) => self.begin(Open::List { anchor, items: Vec::new() }),
            Event::MappingStart(anchor, _) => {
                self.begin(Open::Table { anchor, entries: Map::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { anchor, items }) => self.put(anchor, Value::Array(items)),
                Some(Open::Table { anchor, entries, .. }) => self.put(anchor, Value::Object(merged(entries))),
                None => Ok(()),
            },
            Event::DocumentStart(_) => {
                self.anchors.clear();
                if self.documents.len() == DOCUMENTS_MAX { Err(Fault::TooMuch) } else { Ok(()) }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, open: Open) -> Result<(), Fault> {
        self.charge(1, 0)?;
        if self.open.len() == DEPTH_MAX {
            return Err(Fault::TooMuch);
        }
        self.open.push(open);
        Ok(())
    }

    fn charge(&mut self, values: usize, bytes: usize) -> Result<(), Fault> {
        self.values += values;
        self.bytes += bytes;
        if self.values > VALUES_MAX || self.bytes > BYTES_MAX { Err(Fault::TooMuch) } else { Ok(()) }
    }

    fn put(&mut self, anchor: usize, value: Value) -> Result<(), Fault> {
        if anchor != 0 {
            let (values, bytes) = size(&value);
            self.charge(values, bytes)?;
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.documents.push(value),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Table { entries, key, .. }) => match key.take() {
                None => *key = Some(as_text(&value)),
                // `<<` may stand there several times, and all count (<https://yaml.org/type/merge.html>).
                Some(name) if name == "<<" => {
                    let all = entries.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(all) = all {
                        match value {
                            Value::Array(several) => all.extend(several),
                            one => all.push(one),
                        }
                    }
                }
                Some(name) => {
                    entries.insert(name, value);
                }
            },
        }
        Ok(())
    }

    /// Closes what is open, so that what was read until the fault is not lost.
    fn abandon(&mut self) {
        while let Some(open) = self.open.pop() {
            let value = match open {
                Open::List { items, .. } => Value::Array(items),
                Open::Table { entries, .. } => Value::Object(merged(entries)),
            };
            // Beyond a bound nothing is counted any more, for nothing is added.
            let _already_over = self.put(0, value);
        }
    }
}

/// Takes up what merge keys bring, where the table does not say it itself.
fn merged(mut entries: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Array(others)) = entries.remove("<<") {
        for other in others {
            if let Value::Object(other) = other {
                for (name, value) in other {
                    entries.entry(name).or_insert(value);
                }
            }
        }
    }
    entries
}

/// A scalar without quotes (<https://yaml.org/type/bool.html>).
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        text => Value::String(text.to_owned()),
    }
}

/// A scalar as text; of what is none nothing.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(on) => on.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// Values and bytes. The depth is bounded, for a value is inside of [`DEPTH_MAX`] others at most, and aliases of such.
fn size(value: &Value) -> (usize, usize) {
    let mut left = vec![value];
    let (mut values, mut bytes) = (0, 0);
    while let Some(value) = left.pop() {
        values += 1;
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Array(items) => left.extend(items),
            Value::Object(entries) => {
                bytes += entries.keys().map(String::len).sum::<usize>();
                left.extend(entries.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    (values, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn all(text: &str) -> Vec<Value> {
        let (documents, fault) = documents(text.as_bytes());
        assert_eq!(fault, None, "{text}");
        documents
    }

    #[test]
    fn values_of_yaml_and_json() {
        assert_eq!(
            all("a: yes\nb: 'yes'\nc: 0\nd: [1, ~]\n---\n{\"x\": {\"y\": true}}\n"),
            [json!({"a": true, "b": "yes", "c": "0", "d": ["1", null]}), json!({"x": {"y": true}})]
        );
    }

    #[test]
    fn aliases_and_merge_keys() {
        let text = "x: &x {privileged: true, a: 1}\nlist: [*x]\ny: {<<: *x, a: 2}\nz: {<<: [*x, {b: 3}]}\n";
        assert_eq!(
            all(text)[0],
            json!({
                "x": {"privileged": true, "a": "1"},
                "list": [{"privileged": true, "a": "1"}],
                "y": {"privileged": true, "a": "2"},
                "z": {"privileged": true, "a": "1", "b": "3"},
            })
        );
        assert_eq!(all("a: &a [*a]\n")[0], json!({"a": [null]}), "inside of what it stands for");
    }

    #[test]
    fn what_is_too_much_ends_and_what_stood_before_is_told() {
        let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (before, name) in "abcdefgh".chars().zip("bcdefghi".chars()) {
            let aliases = vec![format!("*{before}"); 9].join(",");
            laughs.extend([format!("{name}: &{name} [{aliases}]\n")]);
        }
        let (read, fault) = documents(laughs.as_bytes());
        assert_eq!(fault, Some(Fault::TooMuch));
        assert_eq!(read[0]["a"][8], "x");
        for (text, what) in [
            ("[".repeat(70) + &"]".repeat(70), "depth"),
            ("- ".repeat(70) + "x", "block depth"),
            ("- x\n".repeat(VALUES_MAX + 1), "values"),
            ("--- x\n".repeat(DOCUMENTS_MAX + 1), "documents"),
        ] {
            assert_eq!(documents(text.as_bytes()).1, Some(Fault::TooMuch), "{what}");
        }
        let (read, fault) = documents(b"spec:\n  hostPID: true\n  x: [}\n");
        assert!(matches!(fault, Some(Fault::Syntax(_))), "{fault:?}");
        assert_eq!(read[0]["spec"]["hostPID"], true);
        assert_eq!(documents(b"a: \xff").1, Some(Fault::NotUtf8));
    }

    #[test]
    fn hostile_shapes_of_the_largest_size_take_little_time() {
        let begin = std::time::Instant::now();
        for unit in [
            "[", "{", "- ", "? ", "a: ", "{a: ", "&a ", "!x ", "'", "\"", "|\n", "\t", "#", "*a\n", "%Y\n",
            "a:\n ",
        ] {
            let text = unit.repeat(crate::event::content::CONTENT_MAX / unit.len());
            let _any_answer = documents(text.as_bytes());
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([-?:,{}\\[\\]&*!|>'\"%#@ \n\ta-c0-9<.]|: |- |<<: |\n  ){0,80}") {
            let _any_answer = documents(text.as_bytes());
        }

        #[test]
        fn json_is_read_as_json(keys in proptest::collection::vec("[a-z]{1,6}", 0..6), text in "[ -~é]{0,20}") {
            let value = Value::Object(keys.into_iter().map(|key| (key, Value::String(text.clone()))).collect());
            let (read, fault) = documents(value.to_string().as_bytes());
            prop_assert_eq!(fault, None);
            prop_assert_eq!(read, [value]);
        }
    }
}
