use std::fmt::Write as _;

use proptest::prelude::*;
use sensor_common::record::{Header, IpcRecord, TaskContext};

use super::super::stream::Streams;
use super::*;
use crate::event::decode::{Event, decode};
use crate::event::encode::encode_send;

/// What comes of sends on one connection.
fn sent(pieces: &[&[u8]]) -> Vec<Request> {
    feed(&mut Streams::new(4), pieces)
}

fn feed(streams: &mut Streams<Http>, pieces: &[&[u8]]) -> Vec<Request> {
    let mut out = Vec::new();
    for piece in pieces {
        let task = TaskContext { tid: 7, tgid: 7, ..TaskContext::default() };
        let fixed = IpcRecord { header: Header::default(), task, connection: 5, ..IpcRecord::default() };
        let bytes = encode_send(&fixed, piece);
        let Ok(Event::Ipc(event)) = decode(&bytes) else { panic!("a send") };
        streams.feed(&event, &mut |request| out.push(request));
    }
    out
}

fn create(body: &str) -> String {
    format!(
        "POST /v1.41/containers/create?name=x HTTP/1.1\r\nHost: docker\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn summary(requests: &[Request]) -> Vec<(String, String, String, bool)> {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    requests.iter().map(|one| (one.method.clone(), one.target.clone(), text(&one.body), one.cut)).collect()
}

#[test]
fn a_request_in_one_write_and_byte_by_byte() {
    let text = create(r#"{"Image":"box"}"#);
    let whole = sent(&[text.as_bytes()]);
    let expected = (
        "POST".to_owned(),
        "/v1.41/containers/create?name=x".to_owned(),
        r#"{"Image":"box"}"#.to_owned(),
        false,
    );
    assert_eq!(summary(&whole), std::slice::from_ref(&expected));
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(summary(&sent(&bytes)), [expected]);
}

#[test]
fn pipelined_requests_chunks_and_bare_line_ends() {
    let text = "GET /_ping HTTP/1.1\n\nPOST /a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3\r\n\r\n\
        5;x=y\r\n{\"a\":\r\n2\r\n1}\r\n0\r\nTrailer: x\r\n\r\nHEAD /b HTTP/1.1\r\n\r\n";
    for size in [1, 2, 3, 7, 1000] {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        let targets: Vec<_> = sent(&pieces).into_iter().map(|one| (one.target, one.body)).collect();
        let expected = [
            ("/_ping".to_owned(), vec![]),
            ("/a".to_owned(), b"{\"a\":1}".to_vec()),
            ("/b".to_owned(), vec![]),
        ];
        assert_eq!(targets, expected, "{size}");
    }
}

#[test]
fn a_folded_length_counts() {
    let requests = sent(&[b"POST /a HTTP/1.1\r\nContent-Length:\r\n  2\r\n\r\n{}GET /b HTTP/1.1\r\n\r\n"]);
    assert_eq!(requests.len(), 2);
}

#[test]
fn a_whole_value_is_told_before_the_length_that_was_announced() {
    let head = "POST /containers/create HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n";
    let requests = sent(&[head.as_bytes(), b"{\"Image\":", b"\"box\"}", b"   ", b" "]);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].body, b"{\"Image\":\"box\"}");
    // The last chunk never comes.
    let head = "POST /containers/create HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(sent(&[head.as_bytes(), b"4\r\n{\"a\"\r\n3\r\n:1}"]).len(), 1);
}

#[test]
fn long_bodies_are_cut_and_the_next_request_is_found() {
    let filler = "x".repeat(1 << 20);
    let text = create(&format!("{{\"x\":\"{filler}\",\"y\":1}}"));
    let next = b"GET /next HTTP/1.1\r\n\r\n".as_slice();
    let mut pieces: Vec<&[u8]> = text.as_bytes().chunks(8192).collect();
    pieces.push(next);
    let requests = sent(&pieces);
    assert_eq!(requests.len(), 2);
    assert!(requests[0].cut && requests[0].body.len() <= MESSAGE_MAX);
    assert_eq!(requests[1].target, "/next");
    // One write, of which the record has 16 KiB.
    let requests = sent(&[text.as_bytes(), next]);
    assert!(requests[0].cut);
    assert_eq!(requests[1].target, "/next");
}

#[test]
fn what_follows_an_upgrade_is_skipped_until_a_request_comes() {
    let attach = b"POST /containers/x/attach?stdin=1 HTTP/1.1\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n";
    let requests =
        sent(&[attach, b"ls -l\n", b"P", b"OSTER\n", &[0xff; 100], b"POST /real HTTP/1.1\r\n\r\n"]);
    assert_eq!(
        requests.iter().map(|one| one.target.as_str()).collect::<Vec<_>>(),
        ["/containers/x/attach?stdin=1", "/real"]
    );
    // The server refused.
    let both = [attach.as_slice(), b"POST /next HTTP/1.1\r\n\r\n"].concat();
    assert_eq!(sent(&[&both]).len(), 2);
}

#[test]
fn a_stream_that_was_lost_is_found_again() {
    let mut streams = Streams::new(4);
    assert!(feed(&mut streams, &[b"}}}} garbage"]).is_empty());
    let both = [b"rest of something}".as_slice(), create("{}").as_bytes()].concat();
    assert_eq!(feed(&mut streams, &[&both]).len(), 1);
    assert_eq!(streams.stats().lost, 1);
}

#[test]
fn of_a_head_that_is_too_long_the_request_is_told() {
    let text = format!(
        "POST /containers/create HTTP/1.1\r\nX: {}\r\nContent-Length: 2\r\n\r\n{{}}",
        "x".repeat(40_000)
    );
    let requests = sent(&[text.as_bytes()]);
    assert_eq!(requests.len(), 1);
    assert!(requests[0].cut);
}

proptest! {
    #[test]
    fn any_sends_are_borne(pieces in proptest::collection::vec("(POST /a HTTP/1.1\r\n|Content-Length: [0-9]{1,20}\r\n|Transfer-Encoding: chunked\r\n|\r\n|[0-9a-f]{1,16}\r\n|[{}\"\\\\a]{0,9}|Upgrade: x\r\n| HTTP/1.){0,6}", 0..8)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
        let _requests = sent(&pieces);
    }

    #[test]
    fn however_it_is_cut_the_same_is_told(
        bodies in proptest::collection::vec("\\{\"[a-z\\\\\"]{0,1}a\":[0-9]{1,40}\\}", 1..4),
        chunked in any::<bool>(),
        sizes in proptest::collection::vec(1_usize..40, 1..20),
    ) {
        let bodies: Vec<&String> = bodies.iter().filter(|body| serde_json::from_str::<serde_json::Value>(body).is_ok()).collect();
        let mut text = String::new();
        for body in &bodies {
            if chunked {
                let (one, other) = body.split_at(body.len() / 2);
                let _infallible = write!(
                    text,
                    "PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:X}\r\n{other}\r\n0\r\n\r\n", one.len(), other.len());
            } else {
                text += &create(body);
            }
        }
        let mut rest = text.as_bytes();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let told: Vec<Vec<u8>> = sent(&pieces).into_iter().map(|one| one.body).collect();
        let expected: Vec<Vec<u8>> = bodies.iter().map(|body| body.as_bytes().to_vec()).collect();
        prop_assert_eq!(told, expected);
    }
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, (payload.len() >> 8) as u8, payload.len() as u8, kind, flags, 0, 0, 0, 1];
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn a_connection_of_http_2_is_read_however_it_is_cut() {
    // SETTINGS, HEADERS with `:method: POST` and a literal `:path: /s/Create`, DATA with a message of two bytes.
    let headers = [&[0x83, 0x44, 9][..], b"/s/Create"].concat();
    let text =
        [PREFACE.to_vec(), frame(4, 0, &[]), frame(1, 4, &headers), frame(0, 1, b"\0\0\0\0\x02ab")].concat();
    for size in [1, 5, 24, 1000] {
        let pieces: Vec<&[u8]> = text.chunks(size).collect();
        let requests = sent(&pieces);
        assert_eq!(requests.len(), 1, "{size}");
        assert_eq!((requests[0].target.as_str(), &requests[0].body[5..]), ("/s/Create", &b"ab"[..]));
    }
}
