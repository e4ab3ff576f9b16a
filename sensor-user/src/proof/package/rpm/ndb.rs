//! rpm's own database, ndb: `Packages.db`.
//!
//! Little-endian (lib/backend/ndb/rpmpkg.c): a header of 32 bytes (`RpmP`, version 0, generation, pages of slots, next number),
//! slots of 16 bytes to the end of these pages of 4096 (`Slot`, package's number, begin and length in blocks of 16 bytes), then
//! blobs: `BlbS`, number, time, length; the header; checksum, length, `BlbE`.

use std::io;

use super::sqlite::ReadAt;

/// Pages of slots, at most: 65,536 packages.
const PAGES_MAX: usize = 256;
/// Bytes of one package's header, at most.
const BLOB_MAX: usize = 32 << 20;
const PAGE: usize = 4096;
const SLOT: usize = 16;
const BLOCK: u64 = 16;

/// Where a package's header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    /// The package's number: a new one with each installation.
    pub(super) number: u32,
    begin: u32,
    blocks: u32,
}

/// All slots in use.
pub(super) fn slots<R: ReadAt>(file: &R) -> io::Result<Vec<Slot>> {
    let mut head = [0; 32];
    file.read_at(&mut head, 0)?;
    if !head.starts_with(b"RpmP\0\0\0\0") {
        return Err(damaged("the header"));
    }
    let pages = number(&head, 12) as usize;
    if pages > PAGES_MAX {
        return Err(io::Error::other(format!("more than {PAGES_MAX} pages of packages")));
    }
    let mut all = vec![0; pages * PAGE];
    file.read_at(&mut all, 0)?;
    let mut slots = Vec::new();
    for slot in all.chunks_exact(SLOT).skip(head.len() / SLOT) {
        if !slot.starts_with(b"Slot") {
            return Err(damaged("a slot"));
        }
        let slot = Slot { number: number(slot, 4), begin: number(slot, 8), blocks: number(slot, 12) };
        if slot.begin != 0 {
            slots.push(slot);
        }
    }
    Ok(slots)
}

/// A package's header.
pub(super) fn blob<R: ReadAt>(file: &R, slot: Slot) -> io::Result<Vec<u8>> {
    let offset = u64::from(slot.begin) * BLOCK;
    let mut head = [0; 16];
    file.read_at(&mut head, offset)?;
    let length = number(&head, 12) as usize;
    if !head.starts_with(b"BlbS") || number(&head, 4) != slot.number {
        return Err(damaged("a package"));
    }
    if length > BLOB_MAX || length as u64 + 28 > u64::from(slot.blocks) * BLOCK {
        return Err(damaged("a package's length"));
    }
    let mut blob = vec![0; length];
    file.read_at(&mut blob, offset + 16)?;
    Ok(blob)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged: {what}"))
}
