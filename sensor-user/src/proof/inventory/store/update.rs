//! What differs between the inventory and what is there, and how the inventory follows.

use std::collections::HashMap;

use rusqlite::{Connection, Statement};
use serde::{Deserialize, Serialize};

use super::bounds::{
    self, BEGUN, ENTRIES_MAX, HISTORY_BASE, HISTORY_DROPPED, HISTORY_MAX, REFUSED, set_meta,
};
use super::row::{self, By, Bytes, COLUMNS, Known, kind_name, known, programs, verdict};
use super::{Store, StoreError, seal};
use crate::event::path::lossy;
use crate::proof::inventory::{Entry, Kind, Program};

/// Differences that are named in words.
const DETAILS_MAX: usize = 8;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Removed,
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// An entry that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How.
    pub change: Change,
    /// The entry as it is, or as it was where it is gone.
    pub entry: Entry,
    /// What differs, in words.
    pub details: Vec<String>,
}

/// What was looked at, so that what is not there counts as gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything, but for what lies at or below these paths: they could not be read.
    AllBut(Vec<Vec<u8>>),
    /// Only what lies at or below these.
    Below(Vec<Vec<u8>>),
}

impl Scope {
    fn has(&self, path: &[u8]) -> bool {
        let below = |directory: &Vec<u8>| {
            path.strip_prefix(directory.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || directory.ends_with(b"/"))
        };
        match self {
            Self::AllBut(unread) => !unread.iter().any(below),
            Self::Below(looked_at) => looked_at.iter().any(below),
        }
    }
}

/// A row of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryRow {
    /// When it was found, nanoseconds since 1970.
    pub at_ns: i64,
    /// `added`, `changed`, `removed`.
    pub change: String,
    /// What differed, in words.
    pub details: String,
    /// By whom.
    pub by: Option<By>,
}

impl Store {
    /// What differs from `entries` within `scope`; nothing is written.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn compare(&self, entries: &[Entry], scope: &Scope) -> Result<Vec<Difference>, StoreError> {
        let mut there: Vec<(&Entry, bool)> = entries.iter().map(|entry| (entry, false)).collect();
        there.sort_by_key(|(entry, _)| key(entry));
        let mut differences = Vec::new();
        let mut examine = |was: Known| match there.binary_search_by_key(&key(&was.entry), |(is, _)| key(is)) {
            Ok(at) => {
                let (is, known) = &mut there[at];
                *known = true;
                let details = details(&was.entry, is);
                if !details.is_empty() {
                    differences.push(Difference { change: Change::Changed, entry: (*is).clone(), details });
                }
            }
            Err(_) if scope.has(&was.entry.path) => {
                let details = Vec::new();
                differences.push(Difference { change: Change::Removed, entry: was.entry, details });
            }
            Err(_) => {}
        };
        match scope {
            Scope::AllBut(_) => self.each(&mut examine)?,
            Scope::Below(_) => self.each(|was| {
                if scope.has(&was.entry.path) {
                    examine(was);
                }
            })?,
        }
        let new = there.into_iter().filter(|(_, known)| !known).map(|(is, _)| Difference {
            change: Change::Added,
            entry: is.clone(),
            details: Vec::new(),
        });
        differences.extend(new);
        differences.sort_by(|one, other| key(&one.entry).cmp(&key(&other.entry)));
        Ok(differences)
    }

    /// Has the inventory say what `entries` do; `differences` go into the history, with who is behind each. The first
    /// time it is the baseline, which has no history.
    ///
    /// # Errors
    /// Where the store cannot be written; then it is as it was.
    pub fn update(
        &mut self,
        entries: &[Entry],
        differences: &[Difference],
        who: impl Fn(&Difference) -> Option<By>,
        now_ns: i64,
    ) -> Result<(), StoreError> {
        let begun = self.has_begun()?;
        self.write(|connection| {
            let mut refused = 0_i64;
            let mut room = ENTRIES_MAX.saturating_sub(connection.query_row(
                "SELECT count(*) FROM entry",
                [],
                |row| Ok(usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX)),
            )?);
            let mut delete = connection.prepare("DELETE FROM entry WHERE path = ?1 AND kind = ?2")?;
            for gone in differences.iter().filter(|one| one.change == Change::Removed) {
                delete.execute((Bytes(&gone.entry.path), kind_name(gone.entry.kind)))?;
                room += 1;
            }
            let behind: HashMap<(&[u8], Kind), &Difference> =
                differences.iter().map(|one| ((one.entry.path.as_slice(), one.entry.kind), one)).collect();
            let (mut put_statement, mut touch_statement) =
                (connection.prepare(PUT)?, connection.prepare(TOUCH)?);
            for entry in entries {
                let change = behind.get(&(entry.path.as_slice(), entry.kind));
                if let Some(change) = change {
                    if change.change == Change::Added {
                        if room == 0 {
                            refused += 1;
                            continue;
                        }
                        room -= 1;
                    }
                    put(&mut put_statement, entry, who(change).as_ref(), now_ns)?;
                } else {
                    touch(&mut touch_statement, entry, now_ns)?;
                }
            }
            if begun {
                for change in differences {
                    remember(connection, change, who(change).as_ref(), now_ns)?;
                }
                forget(connection)?;
            } else {
                set_meta(connection, BEGUN, now_ns)?;
            }
            set_meta(connection, REFUSED, refused)
        })
    }

    /// Entries that found no room at the last look, and changes that left the history for want of room.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn refused(&self) -> Result<(i64, i64), StoreError> {
        Ok((self.meta(REFUSED)?.unwrap_or_default(), self.meta(HISTORY_DROPPED)?.unwrap_or_default()))
    }

    /// What happened to the entry of this path, the oldest first.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn history(&self, path: &[u8]) -> Result<Vec<HistoryRow>, StoreError> {
        let sql = "SELECT at_ns, change, details, changed_by, changed_by_user, alert FROM history \
            WHERE path = ?1 ORDER BY id";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([Bytes(path)], |row| {
            let process: Option<String> = row.get(3)?;
            let (user, alert): (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
            Ok(HistoryRow {
                at_ns: row.get(0)?,
                change: row.get(1)?,
                details: row.get(2)?,
                by: process.map(|process| By {
                    process,
                    user: user.unwrap_or_default(),
                    alert: alert.unwrap_or_default(),
                }),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn key(entry: &Entry) -> (&[u8], Kind) {
    (&entry.path, entry.kind)
}

/// What makes `is` another than `was`, in words. That a package database says something else of the same content is
/// no change of it.
fn details(was: &Entry, is: &Entry) -> Vec<String> {
    let mut details = Vec::new();
    let link = |target: &Option<Vec<u8>>| {
        target.as_ref().map_or_else(|| "no link".to_owned(), |target| format!("a link to {}", lossy(target)))
    };
    if was.target != is.target {
        details.push(format!("it was {}, and is {}", link(&was.target), link(&is.target)));
    } else if was.sha256 != is.sha256 {
        details.push(match (&was.sha256, &is.sha256) {
            (Some(was), Some(is)) => format!("its content was {was:.16}, and is {is:.16} (SHA-256)"),
            (_, None) => "its content cannot be read any more".to_owned(),
            (None, _) => "its content could not be read before".to_owned(),
        });
    }
    if was.mode != is.mode {
        details.push(format!("its mode was {:o}, and is {:o}", was.mode & 0o7777, is.mode & 0o7777));
    }
    if (was.uid, was.gid) != (is.uid, is.gid) {
        details.push(format!("it belonged to {}:{}, and belongs to {}:{}", was.uid, was.gid, is.uid, is.gid));
    }
    for program in &is.programs {
        match was.programs.iter().find(|known| known.path == program.path) {
            None => details.push(format!("it runs {}", lossy(&program.path))),
            Some(known) if known.sha256 != program.sha256 => {
                details.push(format!("the program {} is another", lossy(&program.path)));
            }
            Some(_) => {}
        }
    }
    let dropped = |known: &&Program| !is.programs.iter().any(|program| program.path == known.path);
    for program in was.programs.iter().filter(dropped) {
        details.push(format!("it no longer runs {}", lossy(&program.path)));
    }
    details.truncate(DETAILS_MAX);
    details
}

const PUT: &str = "INSERT INTO entry VALUES \
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15, ?15, ?16, ?17, ?18) \
    ON CONFLICT (path, kind) DO UPDATE SET name = ?3, user = ?4, target = ?5, sha256 = ?6, mode = ?7, uid = ?8, \
    gid = ?9, modified_ns = ?10, package = ?11, verdict = ?12, proof = ?13, programs = ?14, last_seen_ns = ?15, \
    last_changed_ns = ?15, changed_by = ?16, changed_by_user = ?17, alert = ?18";

const TOUCH: &str = "UPDATE entry SET last_seen_ns = ?3, package = ?4, verdict = ?5, proof = ?6, programs = ?7, \
    modified_ns = ?8 WHERE path = ?1 AND kind = ?2";

fn put(statement: &mut Statement<'_>, entry: &Entry, by: Option<&By>, now_ns: i64) -> Result<(), StoreError> {
    let (package, word) = verdict(&entry.proof);
    let proof = serde_json::to_string(&entry.proof).unwrap_or_default();
    statement.execute(rusqlite::params![
        Bytes(&entry.path),
        kind_name(entry.kind),
        entry.name,
        entry.user,
        entry.target.as_deref().map(Bytes),
        entry.sha256,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.modified_ns,
        package,
        word,
        proof,
        programs(entry),
        now_ns,
        by.map(|by| &by.process),
        by.map(|by| &by.user),
        by.map(|by| &by.alert),
    ])?;
    Ok(())
}

/// It is as it was; what packages say of it may have changed, and when it was written.
fn touch(statement: &mut Statement<'_>, entry: &Entry, now_ns: i64) -> Result<(), StoreError> {
    let (package, word) = verdict(&entry.proof);
    let proof = serde_json::to_string(&entry.proof).unwrap_or_default();
    statement.execute(rusqlite::params![
        Bytes(&entry.path),
        kind_name(entry.kind),
        now_ns,
        package,
        word,
        proof,
        programs(entry),
        entry.modified_ns,
    ])?;
    Ok(())
}

fn remember(
    connection: &Connection,
    change: &Difference,
    by: Option<&By>,
    now_ns: i64,
) -> Result<(), StoreError> {
    let before = seal::head(connection)?;
    let sql = "INSERT INTO history (at_ns, change, path, kind, name, details, changed_by, changed_by_user, alert, \
        chain) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, '')";
    connection.prepare(sql)?.execute(rusqlite::params![
        now_ns,
        change.change.name(),
        Bytes(&change.entry.path),
        kind_name(change.entry.kind),
        change.entry.name,
        change.details.join("; "),
        by.map(|by| &by.process),
        by.map(|by| &by.user),
        by.map(|by| &by.alert),
    ])?;
    let id = connection.last_insert_rowid();
    let sql = "SELECT id, at_ns, change, path, kind, name, details, changed_by, changed_by_user, alert FROM history \
        WHERE id = ?1";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([id])?;
    let row = rows.next()?.ok_or_else(|| row::damaged("a row that was written is not there"))?;
    let chain = seal::link(&before, row)?;
    drop(rows);
    connection.prepare("UPDATE history SET chain = ?2 WHERE id = ?1")?.execute((id, chain))?;
    Ok(())
}

/// Takes the oldest changes out where there are too many.
fn forget(connection: &Connection) -> Result<(), StoreError> {
    let most = HISTORY_MAX;
    let last: Option<(i64, String)> = {
        let sql = "SELECT id, chain FROM history ORDER BY id DESC LIMIT 1 OFFSET ?1";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([most])?;
        match rows.next()? {
            Some(row) => Some((row.get(0)?, row.get(1)?)),
            None => None,
        }
    };
    let Some((id, chain)) = last else { return Ok(()) };
    let dropped = connection.execute("DELETE FROM history WHERE id <= ?1", [id])?;
    let before: i64 = bounds::meta(connection, HISTORY_DROPPED)?.unwrap_or_default();
    set_meta(connection, HISTORY_DROPPED, before + i64::try_from(dropped).unwrap_or_default())?;
    set_meta(connection, HISTORY_BASE, chain)
}

impl Store {
    /// Entries of this name or path.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn named(&self, name: &str) -> Result<Vec<Known>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE name = ?1 OR path = ?1 ORDER BY path, kind");
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([name])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(known(row)?);
        }
        Ok(found)
    }
}
