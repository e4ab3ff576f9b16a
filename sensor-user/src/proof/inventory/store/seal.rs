//! The seal: a digest over the content, by which an edit is noticed.

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::bounds::{self, HISTORY_BASE, SEALED};
use super::place::{self, Seals};
use super::row::digest;
use super::{Store, StoreError};
use crate::proof::hex;

/// What was found edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// The content is not what its own seal says.
    Content,
    /// Content and seal agree, and the file beside them has another seal: all was rewritten, or an older copy put back.
    Seal,
    /// There is no such file.
    SealMissing,
    /// The history's chain is broken.
    History,
    /// Another process wrote to the database while the sensor had it open.
    Running,
}

impl Tampering {
    /// In words.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Content => "its entries are not those that were sealed: somebody edited them",
            Self::Seal => {
                "its seal is not the one in inventory.seal: it was rewritten, or an older copy was put back"
            }
            Self::SealMissing => "inventory.seal, by which an edit is noticed, is missing or makes no sense",
            Self::History => "the chain of its history is broken: changes were edited or taken out",
            Self::Running => "another process wrote to it while the sensor ran",
        }
    }
}

/// The seal of what is in the database.
pub(super) fn of(connection: &Connection) -> Result<String, StoreError> {
    let mut hash = Sha256::new();
    hash.update(b"svcsensor inventory 1\n");
    // Without the time of the last look, which moves with every start.
    let columns = "path, kind, name, user, target, sha256, mode, uid, gid, modified_ns, package, verdict, proof, \
        programs, first_seen_ns, last_changed_ns, changed_by, changed_by_user, alert";
    let mut statement = connection.prepare(&format!("SELECT {columns} FROM entry ORDER BY path, kind"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        digest(&mut hash, row, 19)?;
    }
    hash.update(head(connection)?);
    Ok(hex(&hash.finalize()))
}

/// The chain's last value.
pub(super) fn head(connection: &Connection) -> Result<String, StoreError> {
    let mut statement = connection.prepare("SELECT chain FROM history ORDER BY id DESC LIMIT 1")?;
    let mut rows = statement.query([])?;
    match rows.next()? {
        Some(row) => Ok(row.get(0)?),
        None => Ok(bounds::meta(connection, HISTORY_BASE)?.unwrap_or_default()),
    }
}

/// The value of a change in the chain, from the one before it. `row` begins with the columns of `history` but for
/// `chain`.
pub(super) fn link(before: &str, row: &rusqlite::Row<'_>) -> Result<String, StoreError> {
    let mut hash = Sha256::new();
    hash.update(before);
    digest(&mut hash, row, HISTORY_COLUMNS)?;
    Ok(hex(&hash.finalize()))
}

/// Columns of `history` that its chain covers.
const HISTORY_COLUMNS: usize = 10;

impl Store {
    /// The seal of the last write.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn seal(&self) -> Result<String, StoreError> {
        Ok(self.meta(SEALED)?.unwrap_or_default())
    }

    /// Looks for edits that the sensor did not make.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn verify(&self) -> Result<Vec<Tampering>, StoreError> {
        let mut found = Vec::new();
        let Some(sealed) = self.meta::<String>(SEALED)? else {
            // Nothing was written yet; then nothing can be there.
            return Ok(if self.len()? == 0 { found } else { vec![Tampering::Content] });
        };
        if of(&self.connection)? != sealed {
            found.push(Tampering::Content);
        }
        match place::read_seals(&self.directory) {
            None => found.push(Tampering::SealMissing),
            Some(seals) if !seals.seals.contains(&sealed) => found.push(Tampering::Seal),
            Some(_) => {}
        }
        let mut before: String = self.meta(HISTORY_BASE)?.unwrap_or_default();
        let sql = "SELECT id, at_ns, change, path, kind, name, details, changed_by, changed_by_user, alert, chain \
            FROM history ORDER BY id";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let chain: String = row.get(HISTORY_COLUMNS)?;
            if link(&before, row)? != chain {
                found.push(Tampering::History);
                break;
            }
            before = chain;
        }
        Ok(found)
    }

    /// Whether another process has written to the database since the last look.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn was_written_by_others(&mut self) -> Result<bool, StoreError> {
        let version: i64 = self.pragma("data_version")?;
        Ok(std::mem::replace(&mut self.data_version, version) != version)
    }

    /// Takes what is there as it is from now on: after an edit was told, it is not told again.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub fn accept(&mut self) -> Result<(), StoreError> {
        self.write(|transaction| {
            rechain(transaction)?;
            Ok(())
        })
    }

    /// Runs `change` in a transaction that ends with a new seal. The file beside the database has the new seal before
    /// the database does, and the old one as well: whichever write the power fails in, one of the two fits.
    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let old: Option<String> = self.meta(SEALED)?;
        let directory = self.directory.clone();
        let transaction =
            self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let done = change(&transaction)?;
        let seal = of(&transaction)?;
        if old.as_ref() != Some(&seal) {
            bounds::set_meta(&transaction, SEALED, &seal)?;
            let seals = Seals { seals: old.into_iter().chain([seal]).collect() };
            place::write_seals(&directory, &seals).map_err(|error| StoreError::Unavailable {
                why: format!("{}/{}: {error}", directory.display(), place::SEAL),
            })?;
        }
        transaction.commit()?;
        Ok(done)
    }
}

/// Chains the history anew, as it is.
fn rechain(connection: &Connection) -> Result<(), StoreError> {
    let mut before: String = bounds::meta(connection, HISTORY_BASE)?.unwrap_or_default();
    let sql = "SELECT id, at_ns, change, path, kind, name, details, changed_by, changed_by_user, alert FROM history \
        ORDER BY id";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut update = connection.prepare("UPDATE history SET chain = ?2 WHERE id = ?1")?;
    while let Some(row) = rows.next()? {
        before = link(&before, row)?;
        update.execute((row.get::<_, i64>(0)?, &before))?;
    }
    Ok(())
}
