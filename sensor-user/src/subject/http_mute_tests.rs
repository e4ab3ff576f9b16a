//! What of uploads is not shown, and that nothing else is missed for it.

use proptest::prelude::*;
use sensor_common::mute::{self, Mute, NOWHERE};
use sensor_common::record::{IpcRecord, TaskContext};

use super::super::stream::{StreamStats, Streams};
use super::*;
use crate::event::decode::{Event, decode};
use crate::event::encode::{encode_send, encode_sent};

/// What the kernel programs do with one connection (`stream.rs` there), byte by byte.
struct Machine {
    streams: Streams<Http>,
    told: Vec<Request>,
    at: usize,
    chain: usize,
    next: Option<usize>,
    mute: Option<Mute>,
    /// Said, and not yet in the map.
    coming: Vec<(usize, Mute)>,
    /// Sends until a mute is in the map.
    delay: usize,
    sends: usize,
    records: usize,
    /// Bytes that were copied.
    copied: usize,
}

fn chunk(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).take(9).position(|pair| pair == b"\r\n")?;
    let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
    (size > 0 && end > 0 && bytes[..end].iter().all(u8::is_ascii_hexdigit)).then_some(end + size + 4)
}

impl Machine {
    fn new(delay: usize) -> Self {
        Self {
            streams: Streams::new(4),
            told: Vec::new(),
            at: 0,
            chain: 0,
            next: None,
            mute: None,
            coming: Vec::new(),
            delay,
            sends: 0,
            records: 0,
            copied: 0,
        }
    }

    fn record(&mut self, record: &[u8]) {
        let Ok(Event::Ipc(event)) = decode(record) else { panic!("a send") };
        self.records += 1;
        self.copied += event.data.len();
        let told = &mut self.told;
        self.streams.feed(&event, &mut |request| told.push(request));
        let due = self.sends + self.delay;
        self.coming.extend(self.streams.mutes().map(|(_, mute)| (due, mute)));
    }

    /// Sends, of which the kernel takes so many bytes.
    fn send(&mut self, bytes: &[u8], taken: usize) {
        self.sends += 1;
        while self.coming.first().is_some_and(|(due, _)| *due < self.sends) {
            self.mute = Some(self.coming.remove(0).1);
        }
        let (begun, end) = (self.at, self.at + bytes.len());
        let (old, mut next) = (self.next, self.next.or((bytes.len() >= 40).then_some(begun)));
        let mut first = None;
        let mut shown_from = end;
        while let Some(at) = next.filter(|at| *at < end) {
            let Some(length) = chunk(&bytes[at - begun..]) else {
                shown_from = at;
                next = None;
                break;
            };
            first = first.or(Some((at, at + length)));
            next = Some(at + length);
        }
        let skip = match self.mute {
            Some(mute) if mute.mode == mute::LENGTH => (mute.until as usize).saturating_sub(begun),
            Some(mute) if mute.mode == mute::ALL => bytes.len(),
            Some(mute) if old.is_some() && self.chain as u64 <= mute.until => shown_from - begun,
            _ => 0,
        }
        .min(bytes.len());
        let said = match (old, next) {
            (None, None) => NOWHERE,
            (None, _) => begun as u64,
            (_, None) if skip > 0 => shown_from as u64,
            (Some(next), _) => next as u64,
        };
        let task = TaskContext { tid: 7, tgid: 7, ..TaskContext::default() };
        let fixed = IpcRecord { task, connection: 5, since: 1, next: said, ..IpcRecord::default() };
        if skip < bytes.len() {
            self.record(&encode_send(&IpcRecord { at: (begun + skip) as u64, ..fixed }, &bytes[skip..]));
        }
        self.at = begun + taken;
        if old.is_none() {
            self.chain = begun;
        }
        self.next = if taken == bytes.len() {
            next
        } else if taken == 0 || old.is_some_and(|old| self.at <= old) {
            old
        } else {
            first.filter(|(at, end)| (*at + 20..=*end).contains(&self.at)).map(|(_, end)| end)
        };
        if taken < bytes.len() && skip < bytes.len() {
            let before = skip.min(taken);
            let next = if before == skip { said } else { self.next.map_or(NOWHERE, |next| next as u64) };
            let fixed = IpcRecord { at: (begun + before) as u64, next, ..fixed };
            let result = i32::try_from(taken - before).expect("sends are small");
            self.record(&encode_sent(&fixed, result));
        }
    }

    fn all(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.send(piece, piece.len());
        }
    }

    fn targets(&self) -> Vec<&str> {
        self.told.iter().map(|request| request.target.as_str()).collect()
    }
}

const BUILD: &str = "POST /v1.41/build?t=x HTTP/1.1\r\nHost: docker\r\nTransfer-Encoding: chunked\r\n\r\n";
const CREATE: &str = "POST /containers/create HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn of_a_long_upload_little_is_shown_and_what_follows_is_seen() {
    let mut machine = Machine::new(20);
    machine.all(&[BUILD.as_bytes()]);
    let chunk = [b"8000\r\n".as_slice(), &vec![b'x'; 0x8000], b"\r\n"].concat();
    for _ in 0..3000 {
        // As Go writes it: what is left of a buffer of 4 KiB, the rest, the end of the line.
        let (first, rest) = chunk.split_at(4096);
        let (rest, end) = rest.split_at(rest.len() - 2);
        machine.all(&[first, rest, end]);
    }
    let last = [b"0\r\n\r\n".as_slice(), CREATE.as_bytes()].concat();
    machine.all(&[&last]);
    assert_eq!(machine.targets(), ["/v1.41/build?t=x", "/containers/create"]);
    assert!(machine.records < 40 && machine.copied < 300_000, "{} {}", machine.records, machine.copied);
    assert_eq!(machine.streams.stats().lost, 0);
    // And in one write behind the body's last chunks, beyond what a record holds.
    machine.all(&[BUILD.as_bytes()]);
    let chunks = chunk.repeat(5);
    for _ in 0..100 {
        machine.all(&[&chunks]);
    }
    machine.all(&[&[&chunks, last.as_slice()].concat()]);
    assert_eq!(machine.targets()[2..], ["/v1.41/build?t=x", "/containers/create"]);
}

#[test]
fn an_announced_length_ends_where_it_ends() {
    let mut machine = Machine::new(3);
    let head = "PUT /containers/x/archive?path=/ HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n";
    let pieces: Vec<Vec<u8>> = (0..99).map(|_| vec![b'x'; 100_000]).collect();
    machine.all(&[head.as_bytes()]);
    machine.all(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
    // The last of it and what follows in one write.
    machine.all(&[&[&vec![b'x'; 100_000], CREATE.as_bytes()].concat()]);
    assert_eq!(machine.targets(), ["/containers/x/archive?path=/", "/containers/create"]);
    assert!(machine.records < 10, "{}", machine.records);
    assert_eq!(machine.streams.stats().lost, 0);
}

#[test]
fn what_was_not_taken_mutes_nothing() {
    let mut machine = Machine::new(0);
    let head = "PUT /containers/x/archive HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n";
    // Ten bytes of the head are taken; the client goes on with another request.
    machine.send(head.as_bytes(), 10);
    machine.send(b"inue HTTP/1.1\r\n\r\n", 17);
    machine.send(CREATE.as_bytes(), CREATE.len());
    assert_eq!(machine.targets().last(), Some(&"/containers/create"));
    assert_eq!(machine.mute, None);
}

#[test]
fn only_uploads_whose_end_is_certain_are_muted() {
    let muted = |head: &str| {
        let mut machine = Machine::new(0);
        machine.all(&[head.as_bytes(), &[b'x'; 100], &[b'x'; 100], &[b'x'; 100]]);
        machine.mute.is_some()
    };
    let upload = |target: &str, headers: &str| muted(&format!("POST {target} HTTP/1.1\r\n{headers}\r\n"));
    let length = "Content-Length: 99999\r\n";
    for target in ["/build", "/v1.41/images/load", "/v4.0.0/libpod/images/import?x", "/libpod/build"] {
        assert!(upload(target, length), "{target}");
    }
    for target in [
        "/containers/create",
        "/build/",
        "//build",
        "/x/build",
        "/%62uild",
        "/./build",
        "http://x/build",
        "/volumes/create",
    ] {
        assert!(!upload(target, length), "{target}");
    }
    for headers in [
        "Content-Length: 99999\r\nContent-Length: 99999\r\n",
        "Content-Length: +99999\r\n",
        "Content-Length:\r\n 99999\r\n",
        "Content-Length: 99999\r\n folded: 1\r\n",
        "Content-Length : 99999\r\n",
        "no colon\r\nContent-Length: 99999\r\n",
        "Content-Length: 99999\r\nUpgrade: tcp\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 99999\r\n",
        "Content-Length: 99999\r\nTransfer-Encoding: identity\r\n",
        "X: a\rb\r\nContent-Length: 99999\r\n",
    ] {
        assert!(!upload("/build", headers), "{headers}");
    }
    assert!(!muted("POST /build HTTP/1.0\r\nContent-Length: 99999\r\n\r\n"));
    assert!(!muted("GET /build HTTP/1.1\r\nContent-Length: 99999\r\n\r\n"));
}

#[test]
fn behind_an_upgrade_what_can_be_no_request_is_the_last() {
    let attach = "POST /containers/x/attach HTTP/1.1\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n";
    let muted = |pieces: &[&[u8]]| {
        let mut machine = Machine::new(0);
        machine.all(&[attach.as_bytes()]);
        machine.all(pieces);
        machine.all(&[b"more", b"more"]);
        machine.mute.is_some_and(|mute| mute.mode == mute::ALL)
    };
    assert!(muted(&[b"\0\0\x12\x04\0\0\0\0\0"]), "HTTP/2");
    assert!(muted(&[b"etc/passwd and so on\nmore"]), "a line that is none of HTTP");
    assert!(muted(&[b"\r\n\x1f\x8b"]), "compressed");
    assert!(muted(&[&b"a\n".repeat(50_000)]), "more than a record holds");
    assert!(!muted(&[b"l", b"s\n"]), "typed: no whole line was seen at once");
    assert!(!muted(&[b"FOO /x HTTP/1.1\r\n\r\n"]), "Go knows any method");
    assert!(!muted(&[b"etc/passwd and so on"]), "the line has not ended");
    assert!(!muted(&[b"\r\n"]), "up to four are passed over");
    let doubtful = attach.replace("\r\n\r\n", "\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n");
    let mut machine = Machine::new(0);
    machine.all(&[doubtful.as_bytes(), b"\0\0", b"\0\0", b"\0\0"]);
    assert_eq!(machine.mute, None);
}

#[test]
fn a_count_that_begins_anew_while_muted_is_a_loss() {
    let task = TaskContext { tid: 7, tgid: 7, ..TaskContext::default() };
    let length = "PUT /containers/x/archive HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n";
    let mut machine = Machine::new(0);
    machine.all(&[length.as_bytes(), b"x", b"x", b"x"]);
    assert!(machine.mute.is_some());
    let fixed = IpcRecord { task, connection: 5, since: 2, next: NOWHERE, ..IpcRecord::default() };
    machine.record(&encode_send(&fixed, CREATE.as_bytes()));
    assert_eq!(machine.targets().last(), Some(&"/containers/create"));
    assert_eq!(machine.streams.stats(), StreamStats { lost: 1, ..machine.streams.stats() });
}

#[test]
fn a_record_that_is_missing_is_noticed_by_the_count() {
    let mut machine = Machine::new(0);
    machine.all(&[b"GET /_ping HTTP/1.1\r\n\r\n"]);
    machine.at += 1000;
    machine.all(&[CREATE.as_bytes()]);
    assert_eq!(machine.targets(), ["/_ping", "/containers/create"]);
    assert_eq!(machine.streams.stats().lost, 1);
}

proptest! {
    /// Whatever is uploaded between them, cut however it is, taken in whatever portions: each request is seen as it would
    /// be without a mute.
    #[test]
    fn no_request_hides_behind_an_upload(
        parts in proptest::collection::vec((0_u8..4, 1_usize..30_000), 1..8),
        sizes in proptest::collection::vec(1_usize..9000, 1..20),
        shares in proptest::collection::vec(0_usize..12, 1..7),
        delay in 0_usize..6,
    ) {
        let mut text = Vec::new();
        let mut expected = Vec::new();
        for (number, (kind, size)) in parts.iter().enumerate() {
            match kind {
                0 => text.extend_from_slice(format!("PUT /containers/a{number}/archive HTTP/1.1\r\nContent-Length: {size}\r\n\r\n").as_bytes()),
                1 => text.extend_from_slice(BUILD.as_bytes()),
                _ => {
                    let body = format!("{{\"Image\":\"{number}\"}}");
                    text.extend_from_slice(format!("POST /containers/create?n={number} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
                    expected.push((format!("/containers/create?n={number}"), body.into_bytes()));
                }
            }
            match kind {
                0 => text.extend(std::iter::repeat_n(b'\n', *size)),
                1 => {
                    for piece in vec![b'7'; *size].chunks(1 + size % 5000) {
                        text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                        text.extend_from_slice(piece);
                        text.extend_from_slice(b"\r\n");
                    }
                    text.extend_from_slice(b"0\r\n\r\n");
                }
                _ => {}
            }
        }
        let mut machine = Machine::new(delay);
        let mut rest = &text[..];
        for (size, share) in sizes.iter().cycle().zip(shares.iter().cycle()).take(3000) {
            if rest.is_empty() { break; }
            let piece = &rest[..(*size).min(rest.len())];
            // Most sends are taken whole; of some a part is, or nothing.
            let taken = if *share < 9 { piece.len() } else { piece.len() * (*share - 9) / 3 };
            machine.send(piece, taken);
            rest = &rest[taken..];
        }
        // A send that is taken in part is sent again, and what it completed is told again.
        let mut told: Vec<(String, Vec<u8>)> = Vec::new();
        for one in machine.told.into_iter().filter(|one| one.target.contains("create")) {
            let one = (one.target, one.body);
            if !told.contains(&one) {
                told.push(one);
            }
        }
        if rest.is_empty() {
            prop_assert_eq!(told, expected);
        }
    }
}
