//! What the store may grow to.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, ToSql};

use super::StoreError;

/// Pages of 4 KiB that the database may have: 64 MiB.
pub(super) const PAGES_MAX: i64 = 16 << 10;
/// The log is cut back to this after a checkpoint, in bytes.
pub(super) const LOG_BYTES: i64 = 1 << 20;
/// Of pages in memory, in KiB.
pub(super) const CACHE_KIB: i64 = 256;
/// Entries. A Debian with 300 packages has some 1,500.
pub(super) const ENTRIES_MAX: usize = 20_000;
/// Changes that are remembered; the oldest goes first, and is counted.
pub(super) const HISTORY_MAX: i64 = 10_000;
/// Sessions that are remembered.
pub(super) const SESSIONS_MAX: i64 = 256;

/// Changes that left for want of room: key of `meta`.
pub(super) const HISTORY_DROPPED: &str = "history_dropped";
/// The chain's value before the oldest change that is there.
pub(super) const HISTORY_BASE: &str = "history_base";
/// When the first baseline was whole.
pub(super) const BEGUN: &str = "begun_ns";
/// The seal of the last write.
pub(super) const SEALED: &str = "seal";
/// Entries that found no room at the last look.
pub(super) const REFUSED: &str = "entries_refused";

pub(super) fn meta<T: FromSql>(connection: &Connection, key: &str) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

pub(super) fn set_meta(connection: &Connection, key: &str, value: impl ToSql) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2";
    connection.prepare(sql)?.execute((key, value))?;
    Ok(())
}
