use proptest::prelude::*;

use super::*;
use crate::event::encode::encode_tick;

fn recording(records: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).expect("a Vec takes everything");
    for record in records {
        writer.record(record).expect("a Vec takes everything");
    }
    writer.into_inner()
}

fn read_all(bytes: &[u8]) -> Result<Vec<Vec<u8>>, RecordingError> {
    let mut reader = Reader::new(bytes)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record.to_vec());
    }
    Ok(records)
}

/// A disk with room for so many bytes.
#[derive(Debug)]
struct Disk {
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let count = bytes.len().min(self.room);
        self.room -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_empty_recording_has_no_records() {
    assert!(read_all(&recording(&[])).expect("reads").is_empty());
}

#[test]
fn a_full_disk_is_told_once_and_then_counted() {
    let mut writer = Writer::new(Disk { room: 16 + 24 + 10 }).expect("room for the preamble");
    writer.record(&encode_tick(1)).expect("room for one");
    let error = writer.record(&encode_tick(2)).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert!(error.to_string().starts_with("recording: frame 1 could not be written"));
    assert!(matches!(writer.record(&encode_tick(3)), Err(RecordingError::Stopped)));
    assert!(matches!(writer.flush(), Err(RecordingError::Stopped)));
    assert_eq!((writer.frames(), writer.unrecorded(), writer.bytes()), (1, 2, 40));
}

#[test]
fn a_record_too_long_does_not_end_the_recording() {
    let mut writer = Writer::new(Vec::new()).expect("a Vec takes everything");
    let mut long = vec![0; KERNEL_RECORD_MAX + 1];
    long[..2].copy_from_slice(&kind::PROCESS_EXEC.to_ne_bytes());
    assert!(matches!(writer.record(&long), Err(RecordingError::TooLong { kind: kind::PROCESS_EXEC, .. })));
    writer.record(&encode_tick(1)).expect("goes on");
    assert_eq!((writer.frames(), writer.unrecorded()), (1, 1));
    // The same length is allowed to userspace's own records.
    long[..2].copy_from_slice(&kind::USERS.to_ne_bytes());
    writer.record(&long).expect("within the bound");
    assert_eq!(read_all(&writer.into_inner()).expect("reads").len(), 2);
}

#[test]
fn foreign_files_are_refused() {
    assert!(matches!(read_all(b""), Err(RecordingError::NotARecording)));
    assert!(matches!(read_all(b"\x7fELF and so on and on"), Err(RecordingError::NotARecording)));

    let good = recording(&[]);
    let mut other_order = good.clone();
    other_order[12..16].reverse();
    assert!(matches!(read_all(&other_order), Err(RecordingError::OtherByteOrder)));

    let mut other_version = good;
    other_version[10..12].copy_from_slice(&(RECORD_VERSION + 1).to_ne_bytes());
    let error = read_all(&other_version).unwrap_err();
    assert!(matches!(error, RecordingError::OtherVersion { format: FORMAT_VERSION, .. }), "{error}");
    assert!(error.to_string().contains("replay it with the svcsensor that made it"));
}

#[test]
fn every_cut_is_told_or_at_a_frame_border() {
    let tick = encode_tick(1);
    let whole = recording(&[&tick, &tick]);
    for length in 0..whole.len() {
        let result = read_all(&whole[..length]);
        match length {
            0..8 => assert!(matches!(result, Err(RecordingError::NotARecording))),
            16 => assert_eq!(result.expect("no frame yet").len(), 0),
            40 => assert_eq!(result.expect("one frame").len(), 1),
            41.. => {
                assert!(matches!(result, Err(RecordingError::CutShort { frame: 1, offset: 40 })), "{length}");
            }
            _ => assert!(matches!(result, Err(RecordingError::CutShort { frame: 0, .. })), "{length}"),
        }
    }
}

#[test]
fn a_flipped_bit_is_found() {
    let tick = encode_tick(1);
    let whole = recording(&[&tick]);
    for bit in 16 * 8..whole.len() * 8 {
        let mut garbled = whole.clone();
        garbled[bit / 8] ^= 1 << (bit % 8);
        assert!(read_all(&garbled).is_err(), "bit {bit}");
    }
}

#[test]
fn a_huge_length_is_not_believed() {
    let mut bytes = recording(&[]);
    bytes.extend_from_slice(&u32::MAX.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    assert!(matches!(read_all(&bytes), Err(RecordingError::Garbled { frame: 0, offset: 16, .. })));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20),
    ) {
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(read_all(&recording(&slices)).expect("reads"), records);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        tail in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = recording(&[]);
        bytes.extend_from_slice(&tail);
        let _ = read_all(&bytes);
        let _ = read_all(&tail);
    }
}
