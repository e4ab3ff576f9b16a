//! Entries as rows, and rows as bytes that are digested.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Row, ToSql};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::StoreError;
use crate::proof::inventory::{Entry, Kind, Program};
use crate::proof::package::{Package, Verdict};

/// Programs of one entry that are kept.
const PROGRAMS_MAX: usize = 64;

/// The columns of `entry` that [`known`] reads, in its order.
pub(super) const COLUMNS: &str = "path, kind, name, user, target, sha256, mode, uid, gid, modified_ns, proof, programs, \
    first_seen_ns, last_seen_ns, last_changed_ns, changed_by, changed_by_user, alert";

/// Who changed an entry, as far as the sensor saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct By {
    /// The process: name, pid and command line.
    pub process: String,
    /// Its user, and the login's.
    pub user: String,
    /// The alert that tells the rest.
    pub alert: String,
}

/// An entry as the inventory has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// What it was when it was last looked at.
    #[serde(flatten)]
    pub entry: Entry,
    /// When it was first there, nanoseconds since 1970.
    pub first_seen_ns: i64,
    /// When it was last there.
    pub last_seen_ns: i64,
    /// When it was last found changed; `first_seen_ns` where it never was.
    pub last_changed_ns: i64,
    /// Who changed it then.
    pub changed_by: Option<By>,
}

/// A path: text, which `sqlite3` shows, or a blob where it is no UTF-8.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl ToSql for Bytes<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match std::str::from_utf8(self.0) {
            // SQLite's text functions end at a NUL.
            Ok(text) if !text.contains('\0') => ValueRef::Text(text.as_bytes()),
            _ => ValueRef::Blob(self.0),
        }))
    }
}

/// What a row of bytes or text holds.
pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Text(text) => Some(text.into_bytes()),
        Value::Blob(bytes) => Some(bytes),
        Value::Null | Value::Integer(_) | Value::Real(_) => None,
    }
}

/// A kind as it is written: `drop-in`.
pub(super) fn kind_name(kind: Kind) -> String {
    serde_json::to_string(&kind).unwrap_or_default().trim_matches('"').to_owned()
}

/// Its programs as JSON, without those beyond the bound.
pub(super) fn programs(entry: &Entry) -> String {
    let kept = &entry.programs[..entry.programs.len().min(PROGRAMS_MAX)];
    serde_json::to_string(kept).unwrap_or_default()
}

/// The package that owns it, for people, and the verdict in a word.
pub(super) fn verdict(proof: &Verdict) -> (Option<String>, &'static str) {
    let named = |package: &Package| Some(format!("{} {}", package.name, package.version));
    match proof {
        Verdict::Proved { package } => (named(package), "proved"),
        Verdict::Modified { package, .. } => (named(package), "modified"),
        Verdict::Claimed { package } => (named(package), "claimed"),
        Verdict::Unowned => (None, "unowned"),
        Verdict::Unknown { .. } => (None, "unknown"),
    }
}

/// A row of [`COLUMNS`].
///
/// # Errors
/// [`StoreError::Damaged`] where it is none that this version writes.
pub(super) fn known(row: &Row<'_>) -> Result<Known, StoreError> {
    let text = |at: usize| -> Result<Option<String>, StoreError> { Ok(row.get(at)?) };
    let process = text(15)?;
    Ok(Known {
        entry: Entry {
            path: bytes(row.get(0)?).ok_or_else(|| damaged("a path is a number"))?,
            kind: json(&format!("\"{}\"", row.get::<_, String>(1)?))?,
            name: row.get(2)?,
            user: row.get(3)?,
            target: bytes(row.get(4)?),
            sha256: row.get(5)?,
            mode: row.get(6)?,
            uid: row.get(7)?,
            gid: row.get(8)?,
            modified_ns: row.get(9)?,
            proof: json(&row.get::<_, String>(10)?)?,
            programs: json::<Vec<Program>>(&row.get::<_, String>(11)?)?,
        },
        first_seen_ns: row.get(12)?,
        last_seen_ns: row.get(13)?,
        last_changed_ns: row.get(14)?,
        changed_by: match process {
            Some(process) => Some(By {
                process,
                user: text(16)?.unwrap_or_default(),
                alert: text(17)?.unwrap_or_default(),
            }),
            None => None,
        },
    })
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| damaged(&format!("{text:.80} makes no sense: {error}")))
}

pub(super) fn damaged(why: &str) -> StoreError {
    StoreError::Damaged { why: why.to_owned() }
}

/// Adds the first `columns` of a row to a digest: of each its type, its length and its bytes.
pub(super) fn digest(hash: &mut Sha256, row: &Row<'_>, columns: usize) -> rusqlite::Result<()> {
    let mut add = |tag: u8, bytes: &[u8]| {
        hash.update([tag]);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for column in 0..columns {
        match row.get_ref(column)? {
            ValueRef::Null => add(0, b""),
            ValueRef::Integer(number) => add(1, &number.to_be_bytes()),
            ValueRef::Real(number) => add(2, &number.to_be_bytes()),
            ValueRef::Text(text) => add(3, text),
            ValueRef::Blob(bytes) => add(4, bytes),
        }
    }
    Ok(())
}
