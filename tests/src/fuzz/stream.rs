//! Records, recordings of them, and the messages in them.

use sensor_common::record::{IpcRecord, TaskContext};
use sensor_user::event::decode::{Event, decode};
use sensor_user::event::encode::{encode_send, encode_sent};
use sensor_user::pipeline::{Limits, Pipeline};
use sensor_user::source::recording::{Reader, Writer};
use sensor_user::subject::dbus::{Connections, wire};

/// Most records that one input is read as.
const RECORDS: usize = 256;

/// The next piece of `data`: a length in two bytes (little-endian), then that many bytes or what is left.
fn piece<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    let (piece, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    *data = rest;
    Some(piece)
}

/// `bytes` as [`piece`] reads them.
pub(super) fn as_piece(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_le_bytes(), bytes].concat()
}

/// What clients send to a bus: pieces, of which the first byte says on which of four connections, what became of the
/// send, and whether a loss follows; the rest is sent.
pub fn bus(data: &[u8]) {
    let _ = wire::call(data).map(|call| call.arguments());
    let mut connections = Connections::new(3);
    let mut rest = data;
    for _ in 0..RECORDS {
        let Some((how, bytes)) = piece(&mut rest).and_then(<[u8]>::split_first) else { break };
        let fixed = IpcRecord {
            connection: u64::from(how & 3),
            message_flags: u32::from(how >> 2 & 1),
            socket_type: 1,
            task: TaskContext { tid: u32::from(how >> 3 & 1), ..TaskContext::default() },
            ..IpcRecord::default()
        };
        let mut feed = |record: &[u8]| {
            let Ok(Event::Ipc(event)) = decode(record) else { panic!("what is encoded can be decoded") };
            connections.feed(&event, &mut |request| {
                let _ = (request.names("a.service"), request.property("ExecStart"));
            });
        };
        let mut send = encode_send(&fixed, bytes);
        if how & 0x10 != 0 {
            // The kernel could copy less than was sent.
            let total = bytes.len() as u32 + u32::from(*how) * 16;
            let at = std::mem::offset_of!(IpcRecord, total);
            send[at..at + 4].copy_from_slice(&total.to_ne_bytes());
        }
        feed(&send);
        if how & 0x20 != 0 {
            let taken = if how & 0x40 != 0 { -11 } else { i32::from(*how) };
            feed(&encode_sent(&fixed, taken));
        }
        if how & 0x80 != 0 {
            connections.records_lost();
        }
        assert!(connections.len() <= 3, "connections have a bound");
    }
}

/// Records from anywhere: pieces, into the whole road from a record to an alert.
pub fn records(data: &[u8]) {
    let mut pipeline = Pipeline::new(Limits::default());
    let mut alerts = Vec::new();
    let mut rest = data;
    let (mut fed, mut refused) = (0, 0);
    while let Some(record) = piece(&mut rest).filter(|_| fed < RECORDS) {
        fed += 1;
        let sound = decode(record).is_ok();
        let taken = pipeline.feed(record, &mut alerts).is_ok();
        assert_eq!(sound, taken, "what can be decoded is taken, and nothing else");
        refused += u64::from(!taken);
        pipeline.wants().for_each(drop);
        pipeline.follows().for_each(drop);
    }
    assert_eq!(pipeline.stats().decode_errors.iter().sum::<u64>(), refused);
    pipeline.drain(&mut alerts);
    for alert in &alerts {
        assert!(!alert.summary.is_empty());
    }
}

/// A recording's file; then one whose frames are sound, since hardly any bytes have the checksum that they claim.
pub fn recording(data: &[u8]) {
    if let Ok(mut reader) = Reader::new(data) {
        let mut read = 0;
        while let Ok(Some(record)) = reader.next_record() {
            read += record.len() as u64;
        }
        assert!(read <= reader.offset() && reader.offset() <= data.len() as u64);
    }
    let mut writer = Writer::new(Vec::new()).expect("memory takes everything");
    let (mut rest, mut kept) = (data, Vec::new());
    while let Some(record) = piece(&mut rest) {
        if writer.record(record).is_ok() {
            kept.push(record);
        }
    }
    let file = writer.into_inner();
    let mut reader = Reader::new(&file[..]).expect("what was written can be read");
    for record in kept {
        assert_eq!(reader.next_record().expect("sound"), Some(record));
    }
    assert!(matches!(reader.next_record(), Ok(None)));
}
