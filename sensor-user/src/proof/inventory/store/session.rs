//! When the sensor watched, and when it did not.

use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use super::bounds::{BEGUN, SESSIONS_MAX};
use super::{Store, StoreError};

/// A stretch of time in which nobody watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its beginning, nanoseconds since 1970: the end of the last session that had compared, or its last sign of life.
    pub since_ns: i64,
    /// Its end.
    pub until_ns: i64,
    /// The sensor had been asked to end.
    pub clean: bool,
    /// The machine was booted meanwhile.
    pub rebooted: bool,
}

impl Store {
    /// Whether a baseline was ever taken.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn has_begun(&self) -> Result<bool, StoreError> {
        Ok(self.meta::<i64>(BEGUN)?.is_some())
    }

    /// Notes that watching begins at `now_ns`. Gives the time in which nobody watched: since the last session whose
    /// differences were told; `None` where there was none.
    ///
    /// # Errors
    /// Where the store cannot be read or written.
    pub fn begin_session(&mut self, boot_id: &str, now_ns: i64) -> Result<Option<Window>, StoreError> {
        let sql = "SELECT boot_id, heartbeat_ns, ended_ns FROM session WHERE compared_ns IS NOT NULL \
            ORDER BY id DESC LIMIT 1";
        let last = self
            .connection
            .query_row(sql, [], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?))
            })
            .optional()?;
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO session (boot_id, began_ns, heartbeat_ns) VALUES (?1, ?2, ?2)",
            (boot_id, now_ns),
        )?;
        let id = transaction.last_insert_rowid();
        transaction.execute(
            "DELETE FROM session WHERE id <= ?1 AND id IS NOT \
                (SELECT max(id) FROM session WHERE compared_ns IS NOT NULL)",
            [id - SESSIONS_MAX],
        )?;
        transaction.commit()?;
        self.session = Some(id);
        Ok(last.map(|(boot, heartbeat, ended)| Window {
            // The wall clock may have been set back meanwhile.
            since_ns: ended.unwrap_or(heartbeat).min(now_ns),
            until_ns: now_ns,
            clean: ended.is_some(),
            rebooted: boot != boot_id,
        }))
    }

    /// Notes that all that had changed while nobody watched was told.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub fn compared(&mut self, now_ns: i64) -> Result<(), StoreError> {
        self.note("UPDATE session SET compared_ns = ?2, heartbeat_ns = ?2 WHERE id = ?1", now_ns)
    }

    /// A sign of life: after a crash the time in which nobody watched begins here.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub fn heartbeat(&mut self, now_ns: i64) -> Result<(), StoreError> {
        self.note("UPDATE session SET heartbeat_ns = ?2 WHERE id = ?1", now_ns)
    }

    /// Watching ends, as asked.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub fn end_session(&mut self, now_ns: i64) -> Result<(), StoreError> {
        self.note("UPDATE session SET heartbeat_ns = ?2, ended_ns = ?2 WHERE id = ?1", now_ns)
    }

    fn note(&self, sql: &str, now_ns: i64) -> Result<(), StoreError> {
        let Some(session) = self.session else { return Ok(()) };
        self.connection.prepare(sql)?.execute((session, now_ns))?;
        Ok(())
    }
}
