//! Files of variables: `EnvironmentFile=` (systemd.exec(5); `parse_env_file_internal` and `load_env_file`,
//! src/basic/env-file.c; `exec_context_load_environment`, src/core/execute.c).

use std::collections::BTreeMap;

use super::effective::variable_name;

/// Most variables that are kept of one file.
pub const VARIABLES_MAX: usize = 4096;

/// What a file of variables sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: Box<[Box<[u8]>]>,
    private: bool,
}

impl Environment {
    /// Reads a file; `private` where not everybody may read it, so that what it says is not to be told.
    pub fn new(content: &[u8], private: bool) -> Self {
        let mut variables: BTreeMap<Vec<u8>, Box<[u8]>> = BTreeMap::new();
        for (key, value) in parse(content).unwrap_or_default() {
            let text = [&key[..], b"=", &value].concat();
            // Names that are none are left out (`strv_env_clean_with_callback`).
            let Some(name) = variable_name(&text).map(<[u8]>::to_vec) else { continue };
            if variables.len() < VARIABLES_MAX || variables.contains_key(&name) {
                variables.insert(name, text.into());
            }
        }
        Self { variables: variables.into_values().collect(), private }
    }

    /// The variables, each as `NAME=value`, each name once, in the order of names.
    pub fn variables(&self) -> impl Iterator<Item = &[u8]> {
        self.variables.iter().map(|text| &text[..])
    }

    /// Whether not everybody may read the file.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.variables.iter().map(|text| text.len() + size_of::<Box<[u8]>>()).sum()
    }
}

/// A variable that a unit takes from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVariable {
    /// `NAME=value`.
    pub text: Box<[u8]>,
    /// The file.
    pub path: Box<[u8]>,
    /// Not everybody may read the file.
    pub private: bool,
}

/// Whether a path of `EnvironmentFile=` is a pattern (glob(7)).
pub fn is_pattern(path: &[u8]) -> bool {
    path.iter().any(|byte| b"*?[".contains(byte))
}

/// Whether `path` is meant by `named`, a path or a pattern; a leading dot, and a slash, must be written (glob(3)).
pub fn is_meant(named: &[u8], path: &[u8]) -> bool {
    if named == path || !is_pattern(named) {
        return named == path;
    }
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let (Ok(named), Ok(path)) = (std::str::from_utf8(named), std::str::from_utf8(path)) else { return false };
    glob::Pattern::new(named).is_ok_and(|pattern| pattern.matches_with(path, options))
}

/// Where the reader is in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    BeforeKey,
    Key,
    BeforeValue,
    Value,
    ValueEscape,
    SingleQuotes,
    DoubleQuotes,
    DoubleQuotesEscape,
    Comment,
    CommentEscape,
}

/// Names and values in their order. `None` where the service manager refuses the file: it holds a NUL, or an
/// assignment that is not UTF-8.
fn parse(content: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    if content.contains(&0) {
        return None;
    }
    let mut found = Vec::new();
    let (mut key, mut value) = (Vec::new(), Vec::new());
    // So much of the value is not blank, or was written with a backslash.
    let mut solid = 0;
    let mut at = At::BeforeKey;
    let mut take = |key: &mut Vec<u8>, value: &mut Vec<u8>| {
        let (mut key, value) = (std::mem::take(key), std::mem::take(value));
        while key.last().is_some_and(|byte| is_blank(*byte)) {
            key.pop();
        }
        let text = std::str::from_utf8(&key).is_ok() && std::str::from_utf8(&value).is_ok();
        found.push((key, value));
        text.then_some(())
    };
    for byte in content.iter().copied() {
        let newline = matches!(byte, b'\n' | b'\r');
        match at {
            At::BeforeKey if matches!(byte, b'#' | b';') => at = At::Comment,
            At::BeforeKey if is_blank(byte) => {}
            At::BeforeKey => {
                key.push(byte);
                at = At::Key;
            }
            At::Key if newline => {
                key.clear();
                at = At::BeforeKey;
            }
            At::Key if byte == b'=' => {
                at = At::BeforeValue;
                solid = 0;
            }
            At::Key => key.push(byte),
            At::BeforeValue | At::Value if newline => {
                if at == At::Value {
                    value.truncate(solid);
                }
                take(&mut key, &mut value)?;
                at = At::BeforeKey;
            }
            At::BeforeValue if byte == b'\'' => at = At::SingleQuotes,
            At::BeforeValue if byte == b'"' => at = At::DoubleQuotes,
            At::BeforeValue | At::Value if byte == b'\\' => at = At::ValueEscape,
            At::BeforeValue if is_blank(byte) => {}
            At::BeforeValue | At::Value => {
                value.push(byte);
                if !is_blank(byte) {
                    solid = value.len();
                }
                at = At::Value;
            }
            At::ValueEscape => {
                // A line break behind a backslash is none.
                if !newline {
                    value.push(byte);
                }
                solid = value.len();
                at = At::Value;
            }
            At::SingleQuotes if byte == b'\'' => at = At::BeforeValue,
            At::DoubleQuotes if byte == b'"' => at = At::BeforeValue,
            At::DoubleQuotes if byte == b'\\' => at = At::DoubleQuotesEscape,
            At::SingleQuotes | At::DoubleQuotes => value.push(byte),
            At::DoubleQuotesEscape => {
                // As a shell does it: the backslash counts only before these.
                if b"\"\\`$".contains(&byte) {
                    value.push(byte);
                } else if byte != b'\n' {
                    value.extend([b'\\', byte]);
                }
                at = At::DoubleQuotes;
            }
            // Since systemd 254 a comment's last backslash does not make the next line part of it. Before, it did; to take
            // such a line for what it says is the safe side.
            At::Comment | At::CommentEscape if newline => at = At::BeforeKey,
            At::Comment if byte == b'\\' => at = At::CommentEscape,
            At::Comment => {}
            At::CommentEscape => at = At::Comment,
        }
    }
    if !matches!(at, At::BeforeKey | At::Key | At::Comment | At::CommentEscape) {
        if at == At::Value {
            value.truncate(solid);
        }
        take(&mut key, &mut value)?;
    }
    Some(found)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
