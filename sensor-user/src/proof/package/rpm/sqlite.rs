//! One table of an SQLite database, read in place.
//!
//! SQLite itself opens files by path only, and follows links on it in this process's own root: not below another root. And it
//! locks, or with `immutable` passes over the write-ahead log, which during a transaction has what is new. So this reads the
//! two files by descriptor: it takes no lock, makes no file, and sees what was committed. The format is
//! <https://www.sqlite.org/fileformat2.html>; numbers are big-endian.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of one row, at most.
const ROW_MAX: u64 = 32 << 20;
/// Bytes of a write-ahead log, at most.
const WAL_MAX: u64 = 1 << 30;
/// Levels of a tree: each page has two children at least.
const DEPTH_MAX: usize = 40;

/// Bytes at a place.
pub(super) trait ReadAt {
    /// Fills the buffer, or fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = || usize::try_from(offset).ok()?.checked_add(buffer.len());
        let bytes = end().and_then(|end| self.get(end - buffer.len()..end));
        let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// An open database.
#[derive(Debug)]
pub(super) struct Sqlite<R> {
    main: R,
    log: Option<(R, HashMap<u32, u64>)>,
    page: usize,
    /// Of a page without what is reserved at its end.
    usable: usize,
    pages: u64,
}

impl<R: ReadAt> Sqlite<R> {
    /// Opens a database with its write-ahead log, if there is one.
    pub(super) fn open(main: R, log: Option<R>) -> io::Result<Self> {
        let mut head = [0; 100];
        main.read_at(&mut head, 0)?;
        let page = match u16_at(&head, 16)? {
            1 => 1 << 16,
            size if size >= 512 && size.is_power_of_two() => usize::from(size),
            _ => return Err(damaged("the page size")),
        };
        if !head.starts_with(b"SQLite format 3\0") {
            return Err(damaged("the header"));
        }
        let usable = page - usize::from(head[20]);
        if usable < 480 {
            return Err(damaged("the space reserved in pages"));
        }
        // 2: of the mode WAL. In any other a log is a leftover.
        let log = match log.filter(|_| head[19] == 2) {
            Some(log) => {
                Some(frames(&log, page)?).filter(|frames| !frames.is_empty()).map(|frames| (log, frames))
            }
            None => None,
        };
        let last = log.iter().flat_map(|(_, frames)| frames.keys()).max().copied().unwrap_or(0);
        let pages = (main.length()? / page as u64).max(u64::from(last));
        Ok(Self { main, log, page, usable, pages })
    }

    fn page(&self, number: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.page];
        let newer = self.log.as_ref().and_then(|(log, frames)| Some((log, frames.get(&number)?)));
        if let Some((log, offset)) = newer {
            log.read_at(&mut bytes, *offset)?;
        } else {
            let before = number.checked_sub(1).ok_or_else(|| damaged("a page's number"))?;
            self.main.read_at(&mut bytes, u64::from(before) * self.page as u64)?;
        }
        Ok(bytes)
    }

    /// The root page of a table, by the schema's own table.
    pub(super) fn table(&self, name: &str) -> io::Result<u32> {
        let mut root = None;
        let mut rows = Vec::new();
        self.walk(1, &mut |row| rows.push(row))?;
        for row in rows {
            let Some(record) = self.row(1, row)? else { continue };
            let mut columns = columns(&record);
            let is = |column: Option<&[u8]>, text: &str| column == Some(text.as_bytes());
            if is(columns.next(), "table") && is(columns.next(), name) {
                let number = columns.nth(1).unwrap_or_default();
                root = Some(number.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte)));
            }
        }
        root.and_then(|root| u32::try_from(root).ok()).ok_or_else(|| damaged("the table of packages"))
    }

    /// Numbers of all rows of a table.
    pub(super) fn rows(&self, root: u32, most: usize) -> io::Result<Vec<i64>> {
        let mut rows = Vec::new();
        let mut too_many = false;
        self.walk(root, &mut |row| {
            too_many |= rows.len() >= most;
            if !too_many {
                rows.push(row);
            }
        })?;
        if too_many { Err(io::Error::other(format!("more than {most} rows"))) } else { Ok(rows) }
    }

    /// The second column of a row as bytes.
    pub(super) fn blob(&self, root: u32, row: i64) -> io::Result<Option<Vec<u8>>> {
        let record = self.row(root, row)?;
        Ok(record.and_then(|record| columns(&record).nth(1).map(<[u8]>::to_vec)))
    }

    /// Visits all rows of a tree.
    fn walk(&self, root: u32, each: &mut dyn FnMut(i64)) -> io::Result<()> {
        let mut waiting = vec![(root, 0)];
        let mut visited = 0_u64;
        while let Some((number, depth)) = waiting.pop() {
            visited += 1;
            if visited > self.pages + 1 || depth > DEPTH_MAX {
                return Err(damaged("a tree that goes in circles"));
            }
            let page = Node::parse(number, self.page(number)?)?;
            for at in 0..page.cells {
                let mut place = page.cell(at)?;
                if page.is_leaf {
                    let _length = varint(&page.bytes, &mut place)?;
                    each(varint(&page.bytes, &mut place)?.cast_signed());
                } else {
                    waiting.push((u32_at(&page.bytes, place)?, depth + 1));
                }
            }
            waiting.extend(page.right.map(|right| (right, depth + 1)));
        }
        Ok(())
    }

    /// A row's record.
    fn row(&self, root: u32, row: i64) -> io::Result<Option<Vec<u8>>> {
        let mut number = root;
        for _level in 0..DEPTH_MAX {
            let page = Node::parse(number, self.page(number)?)?;
            let mut next = page.right;
            for at in 0..page.cells {
                let mut place = page.cell(at)?;
                if page.is_leaf {
                    let length = varint(&page.bytes, &mut place)?;
                    let key = varint(&page.bytes, &mut place)?;
                    if key.cast_signed() == row {
                        return self.payload(&page.bytes, place, length).map(Some);
                    }
                } else {
                    let child = u32_at(&page.bytes, place)?;
                    place += 4;
                    if row <= varint(&page.bytes, &mut place)?.cast_signed() {
                        next = Some(child);
                        break;
                    }
                }
            }
            match next {
                Some(next) if !page.is_leaf => number = next,
                _ => return Ok(None),
            }
        }
        Err(damaged("a tree too deep"))
    }

    /// A record that begins in a leaf and may go on in overflow pages ("B-tree Pages", on X, M and K).
    fn payload(&self, page: &[u8], place: usize, length: u64) -> io::Result<Vec<u8>> {
        if length > ROW_MAX {
            return Err(io::Error::other(format!("a row longer than {ROW_MAX} bytes")));
        }
        let (length, usable) = (length as usize, self.usable);
        let most = usable - 35;
        let local = if length <= most {
            length
        } else {
            let least = (usable - 12) * 32 / 255 - 23;
            let wanted = least + (length - least) % (usable - 4);
            if wanted <= most { wanted } else { least }
        };
        let begin = page.get(place..place + local).ok_or_else(|| damaged("a row"))?;
        let mut record = Vec::with_capacity(length);
        record.extend_from_slice(begin);
        if local == length {
            return Ok(record);
        }
        let mut next = u32_at(page, place + local)?;
        while record.len() < length {
            // Each turn adds bytes, so a chain that goes in circles ends as well.
            let page = self.page(next)?;
            let rest = (length - record.len()).min(usable - 4);
            record.extend_from_slice(&page[4..4 + rest]);
            next = u32_at(&page, 0)?;
        }
        Ok(record)
    }
}

/// A page of a table's tree.
struct Node {
    bytes: Vec<u8>,
    /// Where its header begins.
    head: usize,
    cells: usize,
    is_leaf: bool,
    /// The last child.
    right: Option<u32>,
}

impl Node {
    fn parse(number: u32, bytes: Vec<u8>) -> io::Result<Self> {
        let head = if number == 1 { 100 } else { 0 };
        let is_leaf = match bytes[head] {
            0x0d => true,
            0x05 => false,
            _ => return Err(damaged("a page of a table")),
        };
        let cells = usize::from(u16_at(&bytes, head + 3)?);
        let right = if is_leaf { None } else { Some(u32_at(&bytes, head + 8)?) };
        Ok(Self { bytes, head, cells, is_leaf, right })
    }

    /// Where a cell begins.
    fn cell(&self, at: usize) -> io::Result<usize> {
        let array = self.head + if self.is_leaf { 8 } else { 12 };
        Ok(usize::from(u16_at(&self.bytes, array + 2 * at)?))
    }
}

/// Columns of a record as their bytes ("Record Format").
fn columns(record: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut place = 0;
    let end = varint(record, &mut place).unwrap_or(0);
    let end = usize::try_from(end).unwrap_or(0).min(record.len());
    let mut body = end;
    std::iter::from_fn(move || {
        if place >= end {
            return None;
        }
        let length = match varint(record, &mut place).ok()? {
            0 | 8 | 9 => 0,
            kind @ 1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            kind => (kind.saturating_sub(12)) / 2,
        };
        let next = body.checked_add(usize::try_from(length).ok()?)?;
        let column = record.get(body..next)?;
        body = next;
        Some(column)
    })
}

/// Where the newest committed content of each page is in a log ("The Write-Ahead Log").
fn frames<R: ReadAt>(log: &R, page: usize) -> io::Result<HashMap<u32, u64>> {
    let length = log.length()?;
    let mut head = [0; 32];
    if length < 32 || log.read_at(&mut head, 0).is_err() {
        return Ok(HashMap::new());
    }
    if length > WAL_MAX {
        return Err(io::Error::other(format!("a log longer than {WAL_MAX} bytes")));
    }
    let is_big = match u32_at(&head, 0)? {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return Ok(HashMap::new()),
    };
    let mut sum = checksum(is_big, (0, 0), &head[..24]);
    if sum != (u32_at(&head, 24)?, u32_at(&head, 28)?) || u32_at(&head, 8)? as usize != page {
        return Ok(HashMap::new());
    }
    let (mut committed, mut open) = (HashMap::new(), Vec::new());
    let mut frame = vec![0; 24 + page];
    let mut offset = 32;
    while log.read_at(&mut frame, offset).is_ok() {
        sum = checksum(is_big, sum, &frame[..8]);
        sum = checksum(is_big, sum, &frame[24..]);
        if frame[8..16] != head[16..24] || sum != (u32_at(&frame, 16)?, u32_at(&frame, 20)?) {
            break;
        }
        open.push((u32_at(&frame, 0)?, offset + 24));
        // The size of the database after a commit; else nought.
        if u32_at(&frame, 4)? != 0 {
            committed.extend(open.drain(..));
        }
        offset += frame.len() as u64;
    }
    Ok(committed)
}

fn checksum(is_big: bool, (mut one, mut two): (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let word = |four: &[u8]| {
        let four = [four[0], four[1], four[2], four[3]];
        if is_big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    };
    for eight in bytes.chunks_exact(8) {
        one = one.wrapping_add(word(&eight[..4])).wrapping_add(two);
        two = two.wrapping_add(word(&eight[4..])).wrapping_add(one);
    }
    (one, two)
}

/// A number of up to nine bytes, seven bits in each but the ninth.
fn varint(bytes: &[u8], place: &mut usize) -> io::Result<u64> {
    let mut value = 0_u64;
    for at in 0..9 {
        let byte = *bytes.get(*place).ok_or_else(|| damaged("a number"))?;
        *place += 1;
        if at == 8 {
            return Ok(value << 8 | u64::from(byte));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            break;
        }
    }
    Ok(value)
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    let two = bytes.get(at..).and_then(|rest| rest.first_chunk());
    two.map(|two| u16::from_be_bytes(*two)).ok_or_else(|| damaged("a page"))
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk());
    four.map(|four| u32::from_be_bytes(*four)).ok_or_else(|| damaged("a page"))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged: {what}"))
}
