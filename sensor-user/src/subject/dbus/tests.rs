//! Requests out of records.

use proptest::prelude::*;
use sensor_common::record::{Header, IpcRecord, TaskContext, flags};

use super::super::stream::MESSAGE_MAX;
use super::super::stream::StreamStats;
use super::request::Verb;
use super::*;
use crate::event::decode::{Event, decode};
use crate::event::encode::{encode_send, encode_sent};

/// A message under construction.
#[derive(Clone, Debug)]
pub struct Message {
    pub big_endian: bool,
    pub destination: String,
    pub serial: u32,
    kind: u8,
    path: String,
    interface: String,
    member: String,
    signature: String,
    body: Vec<u8>,
}

impl Message {
    pub fn call(path: &str, interface: &str, member: &str) -> Self {
        Self {
            big_endian: false,
            destination: String::new(),
            serial: 1,
            kind: wire::METHOD_CALL,
            path: path.into(),
            interface: interface.into(),
            member: member.into(),
            signature: String::new(),
            body: Vec::new(),
        }
    }

    pub fn manager(member: &str) -> Self {
        Self::call("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", member)
    }

    pub fn signature(mut self, signature: &str) -> Self {
        self.signature = signature.into();
        self
    }

    pub fn number(mut self, number: u32) -> Self {
        let (big_endian, mut body) = (self.big_endian, std::mem::take(&mut self.body));
        put(&mut body, number, big_endian);
        self.body = body;
        self
    }

    pub fn long(mut self, number: u64) -> Self {
        self.body.resize(self.body.len().next_multiple_of(8), 0);
        self.body.extend(if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
        self
    }

    pub fn bool(self, value: bool) -> Self {
        self.number(value.into())
    }

    pub fn text(self, text: &str) -> Self {
        let mut message = self.number(text.len() as u32);
        message.body.extend(text.as_bytes());
        message.body.push(0);
        message
    }

    /// An array; of what aligned to `alignment`, and put in by `fill`.
    pub fn array(self, alignment: usize, fill: impl FnOnce(Self) -> Self) -> Self {
        let mut message = self.number(0);
        let length_at = message.body.len() - 4;
        message.body.resize(message.body.len().next_multiple_of(alignment), 0);
        let start = message.body.len();
        let mut message = fill(message);
        let length = (message.body.len() - start) as u32;
        let bytes = if message.big_endian { length.to_be_bytes() } else { length.to_le_bytes() };
        message.body[length_at..length_at + 4].copy_from_slice(&bytes);
        message
    }

    pub fn structure(mut self) -> Self {
        self.body.resize(self.body.len().next_multiple_of(8), 0);
        self
    }

    pub fn texts(self, texts: &[&str]) -> Self {
        self.array(4, |message| texts.iter().fold(message, |message, text| message.text(text)))
    }

    pub fn variant(mut self, signature: &str) -> Self {
        self.body.push(signature.len() as u8);
        self.body.extend(signature.as_bytes());
        self.body.push(0);
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.body.extend(bytes);
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let mut fields = Self { body: Vec::new(), ..self.clone() };
        for (code, signature, text) in [
            (1, "o", &self.path),
            (2, "s", &self.interface),
            (3, "s", &self.member),
            (6, "s", &self.destination),
            (8, "g", &self.signature),
        ] {
            if text.is_empty() {
                continue;
            }
            fields = fields.structure().raw(&[code]).variant(signature);
            fields = if signature == "g" {
                let length = [text.len() as u8];
                fields.raw(&length).raw(text.as_bytes()).raw(&[0])
            } else {
                fields.text(text)
            };
        }
        let mut bytes = vec![if self.big_endian { b'B' } else { b'l' }, self.kind, 0, 1];
        for number in [self.body.len() as u32, self.serial, fields.body.len() as u32] {
            put(&mut bytes, number, self.big_endian);
        }
        bytes.extend(&fields.body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(&self.body);
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, number: u32, big_endian: bool) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(if big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
}

/// What sd-bus sends first (src/libsystemd/sd-bus/bus-socket.c).
const AUTH: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";

fn record(connection: u64, flags: u16) -> IpcRecord {
    IpcRecord {
        header: Header { flags, ..Header::default() },
        task: TaskContext { tgid: 9, tid: 9, ..TaskContext::default() },
        connection,
        ..IpcRecord::default()
    }
}

/// Feeds records to connections and collects the requests as sentences.
struct Feed {
    connections: Connections,
    said: Vec<String>,
}

impl Feed {
    fn new() -> Self {
        Self { connections: Connections::new(8), said: Vec::new() }
    }

    fn record(&mut self, record: &[u8]) {
        let Event::Ipc(event) = decode(record).unwrap() else { panic!("no send") };
        self.connections.feed(&event, &mut |request| self.said.push(request.to_string()));
    }

    fn send(&mut self, bytes: &[u8]) {
        self.record(&encode_send(&record(1, 0), bytes));
    }
}

fn enable(unit: &str) -> Vec<u8> {
    Message::manager("EnableUnitFiles").signature("asbb").texts(&[unit]).bool(false).bool(false).build()
}

const ENABLED: &str = "to enable evil.service (EnableUnitFiles)";

fn said(message: &Message) -> String {
    method::request(&wire::call(&message.build()).unwrap()).map_or("nothing".into(), |said| said.to_string())
}

#[test]
fn a_request_is_found_however_the_bytes_are_cut_up() {
    let whole = [AUTH, &enable("evil.service"), &enable("evil.service")].concat();
    for size in 1..=whole.len() {
        let mut feed = Feed::new();
        whole.chunks(size).for_each(|part| feed.send(part));
        assert_eq!(feed.said, [ENABLED, ENABLED], "in pieces of {size}");
        assert_eq!(feed.connections.stats(), StreamStats::default());
    }
}

#[test]
fn a_connection_that_was_there_before_is_understood() {
    let mut feed = Feed::new();
    feed.send(&enable("evil.service"));
    assert_eq!(feed.said, [ENABLED]);
    // In the middle of a message: what begins a send after it is understood again.
    let mut feed = Feed::new();
    feed.send(&enable("first.service")[40..]);
    feed.send(&enable("evil.service"));
    assert_eq!(feed.said, [ENABLED]);
    assert_eq!(feed.connections.stats().lost, 1);
    // So does what follows in the same send.
    let mut feed = Feed::new();
    feed.send(&[&enable("first.service")[40..], &enable("evil.service")].concat());
    feed.send(&enable("evil.service"));
    assert_eq!(feed.said.last().map(String::as_str), Some(ENABLED));
}

#[test]
fn what_the_kernel_did_not_copy_is_stepped_over() {
    let mut feed = Feed::new();
    let long = Message::manager("SetEnvironment")
        .signature("as")
        .texts(&["LD_PRELOAD=/x", &"y".repeat(30_000)])
        .build();
    feed.send(&long);
    feed.send(&enable("evil.service"));
    assert_eq!(feed.said.len(), 2);
    assert!(
        feed.said[0].starts_with("to change the environment of units, with LD_PRELOAD=/x"),
        "{}",
        feed.said[0]
    );
    assert!(feed.said[0].contains("only a part was seen"), "{}", feed.said[0]);
    assert_eq!(feed.said[1], ENABLED);
    assert_eq!(feed.connections.stats().lost, 0);
}

#[test]
fn after_a_loss_the_next_message_is_found() {
    let message = enable("evil.service");
    let mut feed = Feed::new();
    feed.send(&[AUTH, &message[..50]].concat());
    feed.connections.records_lost();
    feed.send(&message);
    assert_eq!((feed.said.len(), feed.connections.stats().lost), (1, 1));
    // Where the end of the authentication was lost, or only its end was seen.
    let mut feed = Feed::new();
    feed.send(b"AGREE\r\nBEGIN\r\n");
    feed.send(&message);
    feed.send(&[b"\0AUTH EXTERNAL\r\nBEGIN\r\n", &message[..]].concat());
    assert_eq!(feed.said, [ENABLED, ENABLED]);
}

#[test]
fn a_send_that_fails_or_is_cut_short_leaves_the_stream_in_step() {
    let message = enable("evil.service");
    let mut feed = Feed::new();
    feed.send(AUTH);
    feed.send(&message[..20]);
    // Refused as a whole, then taken up to a part, then the rest.
    feed.send(&message[20..]);
    feed.record(&encode_sent(&record(1, 0), -11));
    feed.send(&message[20..]);
    feed.record(&encode_sent(&record(1, 0), 7));
    feed.send(&message[27..]);
    assert_eq!(feed.said, [ENABLED, ENABLED, ENABLED], "each attempt is told");
    feed.send(&enable("next.service"));
    assert_eq!(feed.said.len(), 4);
    assert_eq!(feed.connections.stats(), StreamStats::default());
    // A result of another thread's belongs to nothing.
    let mut other = record(1, 0);
    other.task.tid = 10;
    feed.record(&encode_sent(&other, 1));
    assert_eq!(feed.connections.stats().unmatched, 1);
}

#[test]
fn what_is_read_late_counts_as_if_it_had_been_there() {
    let message = enable("evil.service");
    let mut feed = Feed::new();
    feed.send(AUTH);
    let mut unread = encode_send(&record(1, flags::DATA_UNREADABLE), &[]);
    let at = std::mem::offset_of!(IpcRecord, total);
    unread[at..at + 4].copy_from_slice(&(message.len() as u32).to_ne_bytes());
    feed.record(&unread);
    assert!(feed.said.is_empty());
    feed.record(&encode_send(&record(1, flags::DATA_LATE), &message));
    feed.send(&message);
    assert_eq!(feed.said, [ENABLED, ENABLED]);
}

#[test]
fn a_byte_out_of_band_is_not_part_of_the_stream() {
    let message = enable("evil.service");
    let mut feed = Feed::new();
    feed.send(&message[..9]);
    let out_of_band = IpcRecord { message_flags: 1, ..record(1, 0) };
    feed.record(&encode_send(&out_of_band, b"!"));
    feed.send(&message[9..]);
    assert_eq!(feed.said, [ENABLED]);
}

#[test]
fn connections_are_kept_apart_and_bounded() {
    let message = enable("evil.service");
    let mut feed = Feed::new();
    for connection in 1..=8 {
        feed.record(&encode_send(&record(connection, 0), &message[..30]));
    }
    for connection in 1..=8 {
        feed.record(&encode_send(&record(connection, 0), &message[30..]));
    }
    assert_eq!(feed.said.len(), 8);
    feed.record(&encode_send(&record(9, 0), &message[..30]));
    assert_eq!((feed.connections.len(), feed.connections.stats().evicted), (8, 1));
    for connection in 10..1000 {
        feed.record(&encode_send(&record(connection, 0), &message[..30]));
    }
    assert!(feed.connections.bytes() < 8 * 4 * MESSAGE_MAX);
}

#[test]
fn methods_are_understood() {
    let exec = |message: Message| {
        message.structure().text("ExecStart").variant("a(sasb)").array(8, |message| {
            message.structure().text("/bin/sh").texts(&["/bin/sh", "-c", "id"]).bool(false)
        })
    };
    let transient = Message::manager("StartTransientUnit")
        .signature("ssa(sv)a(sa(sv))")
        .text("run-u1.service")
        .text("fail")
        .array(8, |message| exec(message).structure().text("User").variant("s").text("root"))
        .array(8, |message| message);
    assert_eq!(
        said(&transient),
        "to create and start the transient unit run-u1.service, with ExecStart=/bin/sh -c id, User=root \
         (StartTransientUnit)"
    );
    let flags = Message::manager("EnableUnitFilesWithFlags").signature("ast").texts(&["a.service"]).long(1);
    assert_eq!(said(&flags), "to enable a.service (EnableUnitFilesWithFlags, until the next boot)");
    let path = "/org/freedesktop/systemd1/unit/getty_40tty1_2eservice";
    let unit = Message::call(path, "org.freedesktop.systemd1.Unit", "Restart").signature("s").text("replace");
    assert_eq!(said(&unit), "to start getty@tty1.service (Restart)");
    let stop =
        Message::manager("EnqueueUnitJob").signature("sss").text("auditd.service").text("stop").text("x");
    assert!(said(&stop).starts_with("to stop auditd.service"), "{}", said(&stop));
    let dependency = Message::manager("AddDependencyUnitFiles")
        .signature("asssbb")
        .texts(&["a.service"])
        .text("basic.target")
        .text("Wants")
        .bool(false)
        .bool(false);
    assert_eq!(
        said(&dependency),
        "to add dependencies on a.service, basic.target, with Type=Wants (AddDependencyUnitFiles)"
    );
    let environment =
        Message::manager("UnsetAndSetEnvironment").signature("asas").texts(&["A"]).texts(&["B=1"]);
    assert_eq!(
        said(&environment),
        "to change the environment of units, with A, B=1 (UnsetAndSetEnvironment)"
    );
    let linger = Message::call("/org/freedesktop/login1", "org.freedesktop.login1.Manager", "SetUserLinger")
        .signature("ubb")
        .number(1000)
        .bool(true)
        .bool(false);
    assert!(said(&linger).contains("UID=1000, Linger=yes"), "{}", said(&linger));
    let image =
        Message::call("/org/freedesktop/portable1", "org.freedesktop.portable1.Manager", "AttachImage")
            .signature("sassbs")
            .text("/tmp/evil")
            .texts(&["evil"])
            .text("default")
            .bool(true)
            .text("copy");
    assert!(said(&image).starts_with("to attach the portable service /tmp/evil"), "{}", said(&image));
    // Without an interface the object decides.
    assert_eq!(
        said(&Message::call("/org/freedesktop/systemd1", "", "Reload")),
        "to reload all units (Reload)"
    );
    // Who only asks is of no interest, nor is who speaks to others.
    for message in [
        Message::manager("ListUnits"),
        Message::manager("GetUnitFileState"),
        Message::call(path, "org.freedesktop.DBus.Properties", "GetAll"),
        Message::call("/org/freedesktop/login1", "org.freedesktop.login1.Manager", "ListSessions"),
        Message::call("/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello"),
    ] {
        assert_eq!(said(&message), "nothing", "{message:?}");
    }
    assert!(
        said(&Message::manager("SomethingNew").signature("s").text("a.service")).contains("SomethingNew")
    );
}

#[test]
fn a_request_knows_the_units_that_it_names() {
    let request = |unit: &str| method::request(&wire::call(&enable(unit)).unwrap()).unwrap();
    assert!(request("/tmp/evil.service").names("evil.service"));
    assert!(request("evil").names("evil.service"));
    assert!(request("evil@.service").names("evil@a.service"));
    assert!(request("evil@a.service").names("evil@.service"));
    assert!(!request("evil.service").names("other.service"));
    assert!(!request("evil@a.service").names("evil@b.service"));
    assert!(request("evil.service").verb.changes_files() && !Verb::Start.changes_files());
}

#[test]
fn a_stranger_s_text_does_no_harm_in_a_sentence() {
    let sentence =
        said(&Message::manager("StopUnit").signature("s").text(&format!("\x1b[2J{}", "x".repeat(5000))));
    assert!(!sentence.contains('\x1b') && sentence.len() < 300, "{sentence}");
}

proptest! {
    #[test]
    fn any_sends_are_taken(
        sends in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..200), any::<bool>(), 0..12_u64, any::<u16>(), -20..200_i32),
            1..40,
        ),
    ) {
        let mut feed = Feed::new();
        for (bytes, is_message, connection, flags, result) in sends {
            let bytes = if is_message { enable("a.service") } else { bytes };
            feed.record(&encode_send(&record(connection, flags), &bytes));
            if result < 100 {
                feed.record(&encode_sent(&record(connection, 0), result));
            }
        }
        prop_assert!(feed.connections.len() <= 8);
    }

    #[test]
    fn a_stream_in_step_stays_so(cuts in proptest::collection::vec(1..60_usize, 1..30), seen in 0..60_usize) {
        // Only so many bytes of each send are seen: whatever is cut off, the message after a whole one is found.
        let mut feed = Feed::new();
        let padded = Message::manager("ListUnits").signature("s").text(&"p".repeat(2000)).build();
        let mut rest = &padded[..];
        for cut in cuts {
            let (part, after) = rest.split_at(cut.min(rest.len()));
            if part.is_empty() {
                break;
            }
            rest = after;
            let mut bytes = encode_send(&record(1, 0), &part[..part.len().min(seen.max(16))]);
            let at = std::mem::offset_of!(IpcRecord, total);
            bytes[at..at + 4].copy_from_slice(&(part.len() as u32).to_ne_bytes());
            feed.record(&bytes);
        }
        if !rest.is_empty() {
            feed.send(rest);
        }
        feed.send(&enable("evil.service"));
        prop_assert_eq!(feed.said.last().map(String::as_str), Some(ENABLED));
    }
}
