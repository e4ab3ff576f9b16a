//! The inventory on disk: an `SQLite` database that survives being killed, that is bounded, and that notices being
//! edited.
//!
//! `sqlite3 -readonly /var/lib/svcsensor/inventory.sqlite "SELECT kind, name, verdict, package FROM entry WHERE verdict
//! <> 'proved' ORDER BY last_changed_ns DESC"` shows what no package explains, the newest change first.
//!
//! **Crash safety.** A write-ahead log with `synchronous=FULL`: each transaction is one append and one fsync, and what
//! was committed survives a power failure (<https://sqlite.org/wal.html>, <https://sqlite.org/pragma.html#pragma_synchronous>).
//! A rollback journal needs at least three, and a reader with `sqlite3` would hold the writer up. An entry is written
//! only after what changed was told, so that what is cut off in between is told again, not forgotten.
//!
//! **What the seal proves.** The seal is SHA-256 over all entries and the head of the chained history. It is kept in the
//! database, in a file beside it, and in the journal. Who edits the entries alone is noticed; who edits database and
//! file, only by who compares with the journal, or with where that is sent; who edits all of them, not at all: against
//! root no key on the same machine helps. Times of the last look and of sessions are not sealed. While the sensor runs,
//! a write through any other connection is noticed by `PRAGMA data_version`, and the writer by the watch on the
//! directory.

mod bounds;
#[cfg(test)]
mod crash_tests;
mod place;
mod row;
mod seal;
mod session;
#[cfg(test)]
mod tests;
mod update;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

pub use self::place::{DATABASE, SEAL};
pub use self::row::{By, Known};
pub use self::seal::Tampering;
pub use self::session::Window;
pub use self::update::{Change, Difference, HistoryRow, Scope};

/// Where the sensor keeps what it knows.
pub const DIRECTORY: &str = "/var/lib/svcsensor";

/// Each brings the schema from its number (`PRAGMA user_version`) to the next; an empty database has 0. A step is never
/// changed, another is added behind it.
const MIGRATIONS: [&str; 1] = [SCHEMA];
/// The schema of this version.
const VERSION: i64 = MIGRATIONS.len().cast_signed() as i64;
/// "svcs": what file(1) and `SQLite` tell an application's own databases by (`PRAGMA application_id`).
const APPLICATION: i64 = 0x7376_6373;
/// How long somebody else's lock is waited for; this runs in a thread of its own.
const BUSY: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE entry (
  path ANY NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, user INTEGER, target ANY, sha256 TEXT,
  mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, modified_ns INTEGER NOT NULL,
  package TEXT, verdict TEXT NOT NULL, proof TEXT NOT NULL, programs TEXT NOT NULL,
  first_seen_ns INTEGER NOT NULL, last_seen_ns INTEGER NOT NULL, last_changed_ns INTEGER NOT NULL,
  changed_by TEXT, changed_by_user TEXT, alert TEXT,
  PRIMARY KEY (path, kind)) STRICT, WITHOUT ROWID;
CREATE TABLE history (
  id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, change TEXT NOT NULL, path ANY NOT NULL, kind TEXT NOT NULL,
  name TEXT NOT NULL, details TEXT NOT NULL, changed_by TEXT, changed_by_user TEXT, alert TEXT,
  chain TEXT NOT NULL) STRICT;
CREATE TABLE session (
  id INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, began_ns INTEGER NOT NULL, heartbeat_ns INTEGER NOT NULL,
  compared_ns INTEGER, ended_ns INTEGER) STRICT;
";

/// Why the inventory cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file is no inventory, or is broken: it is to be set aside.
    #[error("the inventory is damaged: {why}")]
    Damaged {
        /// In words.
        why: String,
    },
    /// It cannot be read or written now: a full disk, a read-only filesystem, somebody's lock.
    #[error("the inventory cannot be used now: {why}")]
    Unavailable {
        /// In words.
        why: String,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let what = match code {
            Some(ErrorCode::DiskFull) => "the disk, or the bound of the database's size, is full: make room",
            Some(ErrorCode::ReadOnly) => "it lies on a read-only filesystem: make /var writable",
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another process holds its lock: end that process"
            }
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed,
            ) => "the system does not let it",
            // SQLITE_CORRUPT, SQLITE_NOTADB, and what a foreign schema or type brings.
            _ => return Self::Damaged { why: error.to_string() },
        };
        Self::Unavailable { why: format!("{what} ({error})") }
    }
}

/// How the store was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There was none.
    Nothing,
    /// It is as it was left.
    Known,
    /// It was no good: renamed, and begun anew.
    SetAside {
        /// To what.
        to: PathBuf,
        /// What was wrong.
        why: String,
    },
}

/// The open store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    directory: PathBuf,
    /// `PRAGMA data_version`: changes with others' writes only.
    data_version: i64,
    /// The present session's row.
    session: Option<i64>,
}

impl Store {
    /// Opens the store in `directory`, or makes it. One that is no good is set aside under a name with the time
    /// `now_ns`, and a new one is begun.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], where there is no way to have one at present.
    pub fn open(directory: &Path, now_ns: i64) -> Result<(Self, Found), StoreError> {
        place::directory(directory)?;
        // `SQLITE_OPEN_NOFOLLOW` refuses a link in any component, and /var may well be one.
        let real = directory
            .canonicalize()
            .map_err(|error| StoreError::Unavailable { why: format!("{}: {error}", directory.display()) })?;
        match Self::open_existing(&real) {
            Ok((store, new)) => Ok((store, if new { Found::Nothing } else { Found::Known })),
            Err(StoreError::Damaged { why }) => {
                let to = place::set_aside(&real, now_ns).map_err(|error| StoreError::Unavailable {
                    why: format!("it is damaged ({why}) and cannot be set aside: {error}"),
                })?;
                let (store, _new) = Self::open_existing(&real)?;
                Ok((store, Found::SetAside { to, why }))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the store for reading; nothing is made, repaired or locked for longer than a look.
    ///
    /// # Errors
    /// Where there is none, or it is no good.
    pub fn open_to_read(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(DATABASE);
        if !std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
            let why = format!("there is no {}: `svcsensor run` makes it", path.display());
            return Err(StoreError::Unavailable { why });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        let store = Self { connection, directory: directory.to_owned(), data_version: 0, session: None };
        store.check_schema()?;
        Ok(store)
    }

    fn open_existing(directory: &Path) -> Result<(Self, bool), StoreError> {
        let path = directory.join(DATABASE);
        let new = place::database(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        // Of 2 MiB that would be the default.
        connection.pragma_update(None, "cache_size", -bounds::CACHE_KIB)?;
        let mut store = Self { connection, directory: directory.to_owned(), data_version: 0, session: None };
        // What is not ours is set aside as it was: all that writes comes after the checks.
        let version: i64 = store.pragma("user_version")?;
        // A crash between the file's making and its first transaction leaves it empty.
        let new = new || version == 0 && store.is_blank()?;
        let older = (1..VERSION).contains(&version);
        if !new && !older {
            store.check_schema()?;
        }
        let fault: String = store.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if fault != "ok" {
            return Err(StoreError::Damaged { why: fault });
        }
        let connection = &store.connection;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let journal: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if journal != "wal" {
            tracing::debug!(journal, "the inventory's filesystem allows no write-ahead log");
        }
        let _now: i64 =
            connection
                .pragma_update_and_check(None, "journal_size_limit", bounds::LOG_BYTES, |row| row.get(0))?;
        let _now: i64 =
            connection
                .pragma_update_and_check(None, "max_page_count", bounds::PAGES_MAX, |row| row.get(0))?;
        if new || older {
            store.migrate(version)?;
            store.check_schema()?;
        }
        store.data_version = store.pragma("data_version")?;
        Ok((store, new))
    }

    fn is_blank(&self) -> Result<bool, StoreError> {
        let objects: i64 =
            self.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok(objects == 0)
    }

    fn migrate(&mut self, version: i64) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for step in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or_default()) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        Ok(transaction.commit()?)
    }

    /// Whether the database is ours, of a version that this program knows, and nothing but tables: a trigger of
    /// somebody else's would run with the next write.
    fn check_schema(&self) -> Result<(), StoreError> {
        let (application, version): (i64, i64) =
            (self.pragma("application_id")?, self.pragma("user_version")?);
        if application != APPLICATION {
            return Err(row::damaged("it is another program's database"));
        }
        if version > VERSION {
            let why = format!("it has schema {version} of a newer svcsensor, and this one knows {VERSION}");
            return Err(StoreError::Damaged { why });
        }
        if version != VERSION {
            return Err(StoreError::Damaged {
                why: format!("it has schema {version}, which no svcsensor wrote"),
            });
        }
        let mut statement = self
            .connection
            .prepare("SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY rootpage")?;
        let found = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        let wanted = SCHEMA.split(';').map(str::trim).filter(|sql| !sql.is_empty());
        if !found.iter().map(|sql| sql.trim()).eq(wanted) {
            return Err(row::damaged("its tables are not those that svcsensor makes"));
        }
        Ok(())
    }

    fn pragma<T: rusqlite::types::FromSql>(&self, name: &str) -> Result<T, StoreError> {
        Ok(self.connection.pragma_query_value(None, name, |row| row.get(0))?)
    }

    fn meta<T: rusqlite::types::FromSql>(&self, key: &str) -> Result<Option<T>, StoreError> {
        bounds::meta(&self.connection, key)
    }

    /// Entries in the store.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn len(&self) -> Result<usize, StoreError> {
        let count: i64 = self.connection.query_row("SELECT count(*) FROM entry", [], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    /// Hands out every entry, by path and kind.
    ///
    /// # Errors
    /// Where it cannot be read, or holds what this version does not write.
    pub fn each(&self, mut take: impl FnMut(Known)) -> Result<(), StoreError> {
        let sql = format!("SELECT {} FROM entry ORDER BY path, kind", row::COLUMNS);
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(row::known(row)?);
        }
        Ok(())
    }
}
