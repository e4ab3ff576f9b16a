//! A recording: the stream of records as bytes, to be replayed anywhere.
//!
//! Layout, all numbers in the byte order of the machine that wrote it:
//! - 16 bytes of preamble: [`MAGIC`], then [`FORMAT_VERSION`] (u16), [`RECORD_VERSION`] (u16), [`BYTE_ORDER`] (u32);
//! - frames: length (u32), CRC-32 of the record's bytes (u32; the polynomial of IEEE 802.3), the record's bytes.
//!
//! There is no end mark: a recording may stop after any frame, for the sensor may have been killed.

use std::io::{self, Read, Write};

use sensor_common::RECORD_VERSION;
use sensor_common::record::kind;

use crate::event::decode::{KERNEL_RECORD_MAX, USER_RECORD_MAX};

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"SVCSREC\n";
/// The version of this file's layout; the records' own is [`RECORD_VERSION`].
pub const FORMAT_VERSION: u16 = 1;
/// Reads differently on a machine of the other byte order.
pub const BYTE_ORDER: u32 = 0x0102_0304;

const PREAMBLE: usize = 16;
const FRAME_HEADER: usize = 8;

/// Why a recording could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The medium refused, a full disk for one. Nothing more is written after that.
    #[error("recording: frame {frame} could not be written: {source}")]
    Write {
        /// The frame, from 0.
        frame: u64,
        /// The medium's words.
        source: io::Error,
    },
    /// An earlier write had failed: the record is not recorded.
    #[error("recording: stopped at an earlier write error")]
    Stopped,
    /// No frame may be that long. The recording goes on without this record.
    #[error("recording: record of kind {kind} has {length} bytes, at most {most} are allowed")]
    TooLong {
        /// The record's kind, 0 where it has no header.
        kind: u16,
        /// In bytes.
        length: usize,
        /// The bound.
        most: usize,
    },
    /// The medium could not be read.
    #[error("recording: cannot read at byte {offset}: {source}")]
    Read {
        /// From the start.
        offset: u64,
        /// The medium's words.
        source: io::Error,
    },
    /// The file begins otherwise.
    #[error("not a recording of svcsensor (it does not begin with {:?})", String::from_utf8_lossy(&MAGIC).trim_end())]
    NotARecording,
    /// Written on a machine of the other byte order.
    #[error("the recording was made on a machine of the other byte order: replay it on one of the same")]
    OtherByteOrder,
    /// Of another version.
    #[error(
        "the recording has format {format} and records of version {record}; this svcsensor reads format \
         {FORMAT_VERSION} and version {RECORD_VERSION}: replay it with the svcsensor that made it"
    )]
    OtherVersion {
        /// The file's format.
        format: u16,
        /// The records' version.
        record: u16,
    },
    /// The file ends within a frame.
    #[error("recording: cut short in frame {frame}, which begins at byte {offset}")]
    CutShort {
        /// The frame, from 0.
        frame: u64,
        /// Where it begins.
        offset: u64,
    },
    /// A length that no frame has, or a checksum that does not fit.
    #[error("recording: garbled in frame {frame} at byte {offset}: {reason}")]
    Garbled {
        /// The frame, from 0.
        frame: u64,
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
}

impl RecordingError {
    /// The disk or the quota is full (write(2), ENOSPC and EDQUOT).
    pub fn is_full(&self) -> bool {
        matches!(
            self,
            Self::Write { source, .. }
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        )
    }
}

/// Longest frame for a record that begins with these bytes.
fn longest(record: &[u8]) -> (u16, usize) {
    let kind = record.first_chunk().map_or(0, |bytes: &[u8; 2]| u16::from_ne_bytes(*bytes));
    (kind, if kind < kind::FIRST_USER { KERNEL_RECORD_MAX } else { USER_RECORD_MAX })
}

/// Writes a recording. Give it a buffered writer; [`Writer::flush`] surfaces what the buffer hid.
#[derive(Debug)]
pub struct Writer<W: Write> {
    inner: W,
    frames: u64,
    bytes: u64,
    unrecorded: u64,
    stopped: bool,
}

impl<W: Write> Writer<W> {
    /// Begins a recording.
    ///
    /// # Errors
    /// [`RecordingError::Write`] where the preamble cannot be written.
    pub fn new(mut inner: W) -> Result<Self, RecordingError> {
        let mut preamble = [0; PREAMBLE];
        preamble[..8].copy_from_slice(&MAGIC);
        preamble[8..10].copy_from_slice(&FORMAT_VERSION.to_ne_bytes());
        preamble[10..12].copy_from_slice(&RECORD_VERSION.to_ne_bytes());
        preamble[12..].copy_from_slice(&BYTE_ORDER.to_ne_bytes());
        inner.write_all(&preamble).map_err(|source| RecordingError::Write { frame: 0, source })?;
        Ok(Self { inner, frames: 0, bytes: PREAMBLE as u64, unrecorded: 0, stopped: false })
    }

    /// Appends one record.
    ///
    /// # Errors
    /// [`RecordingError::Write`] once, and from then on [`RecordingError::Stopped`]: after a half-written frame
    /// nothing more could be read back. [`RecordingError::TooLong`] concerns this record alone. Each record that
    /// is refused counts in [`Writer::unrecorded`].
    pub fn record(&mut self, record: &[u8]) -> Result<(), RecordingError> {
        let result = self.append(record);
        if result.is_err() {
            self.unrecorded += 1;
        }
        result
    }

    fn append(&mut self, record: &[u8]) -> Result<(), RecordingError> {
        if self.stopped {
            return Err(RecordingError::Stopped);
        }
        let (kind, most) = longest(record);
        if record.len() > most {
            return Err(RecordingError::TooLong { kind, length: record.len(), most });
        }
        let mut header = [0; FRAME_HEADER];
        header[..4].copy_from_slice(&(record.len() as u32).to_ne_bytes());
        header[4..].copy_from_slice(&crc32fast::hash(record).to_ne_bytes());
        if let Err(source) = self.inner.write_all(&header).and_then(|()| self.inner.write_all(record)) {
            self.stopped = true;
            return Err(RecordingError::Write { frame: self.frames, source });
        }
        self.frames += 1;
        self.bytes += (FRAME_HEADER + record.len()) as u64;
        Ok(())
    }

    /// Hands everything to the medium.
    ///
    /// # Errors
    /// As [`Writer::record`].
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        if self.stopped {
            return Err(RecordingError::Stopped);
        }
        self.inner.flush().map_err(|source| {
            self.stopped = true;
            RecordingError::Write { frame: self.frames, source }
        })
    }

    /// Records accepted.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes accepted, the preamble included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records refused.
    pub fn unrecorded(&self) -> u64 {
        self.unrecorded
    }

    /// A write failed: nothing more is recorded.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The medium back.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

/// Reads a recording, one frame in memory at a time.
#[derive(Debug)]
pub struct Reader<R: Read> {
    inner: R,
    frame: Vec<u8>,
    frames: u64,
    offset: u64,
}

impl<R: Read> Reader<R> {
    /// Opens a recording. Give it a buffered reader.
    ///
    /// # Errors
    /// Where this is no recording, one of another version or byte order, or cannot be read.
    pub fn new(mut inner: R) -> Result<Self, RecordingError> {
        let mut preamble = [0; PREAMBLE];
        let got = read_full(&mut inner, &mut preamble)
            .map_err(|source| RecordingError::Read { offset: 0, source })?;
        if got < MAGIC.len() || preamble[..8] != MAGIC {
            return Err(RecordingError::NotARecording);
        }
        if got < PREAMBLE {
            return Err(RecordingError::CutShort { frame: 0, offset: 0 });
        }
        let order = u32_at(&preamble, 12);
        if order == BYTE_ORDER.swap_bytes() {
            return Err(RecordingError::OtherByteOrder);
        }
        if order != BYTE_ORDER {
            return Err(RecordingError::Garbled { frame: 0, offset: 12, reason: "no byte order".into() });
        }
        let (format, record) = (u16_at(&preamble, 8), u16_at(&preamble, 10));
        if (format, record) != (FORMAT_VERSION, RECORD_VERSION) {
            return Err(RecordingError::OtherVersion { format, record });
        }
        Ok(Self { inner, frame: Vec::new(), frames: 0, offset: PREAMBLE as u64 })
    }

    /// The next record, or `None` at the end.
    ///
    /// # Errors
    /// Where the file ends within a frame, a frame is garbled, or it cannot be read. After an error nothing that
    /// follows can be trusted.
    pub fn next_record(&mut self) -> Result<Option<&[u8]>, RecordingError> {
        let (frame, offset) = (self.frames, self.offset);
        let mut header = [0; FRAME_HEADER];
        match self.fill(&mut header)? {
            0 => return Ok(None),
            FRAME_HEADER => {}
            _ => return Err(RecordingError::CutShort { frame, offset }),
        }
        let (length, checksum) = (u32_at(&header, 0) as usize, u32_at(&header, 4));
        if length > USER_RECORD_MAX {
            let reason = format!("a length of {length} bytes, at most {USER_RECORD_MAX} are allowed");
            return Err(RecordingError::Garbled { frame, offset, reason });
        }
        let mut bytes = std::mem::take(&mut self.frame);
        bytes.resize(length, 0);
        let got = self.fill(&mut bytes);
        self.frame = bytes;
        if got? != length {
            return Err(RecordingError::CutShort { frame, offset });
        }
        let actual = crc32fast::hash(&self.frame);
        if actual != checksum {
            let reason = format!("checksum {actual:08x} where {checksum:08x} is written");
            return Err(RecordingError::Garbled { frame, offset, reason });
        }
        let (kind, most) = longest(&self.frame);
        if length > most {
            let reason = format!("a record of kind {kind} with {length} bytes, at most {most} are allowed");
            return Err(RecordingError::Garbled { frame, offset, reason });
        }
        self.frames += 1;
        Ok(Some(&self.frame))
    }

    /// Frames read.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<usize, RecordingError> {
        let got = read_full(&mut self.inner, into)
            .map_err(|source| RecordingError::Read { offset: self.offset, source })?;
        self.offset += got as u64;
        Ok(got)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Reads until `into` is full or the end is reached; says how much it read.
fn read_full(inner: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < into.len() {
        match inner.read(&mut into[got..]) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
