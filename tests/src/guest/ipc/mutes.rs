//! What userspace agreed to do without: counted, not copied, and shown again where the agreement ends.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sensor_common::mute::{ALL, CHUNKS, LENGTH, Mute, NOWHERE};
use sensor_common::record::kind;

use super::super::run;
use super::{Scene, Seen, connect, send_with};

/// How long mutes hold that are not to end by themselves.
const LONG: u64 = 600_000_000_000;

/// A connection, and a thread that reads all that comes.
struct Line {
    client: UnixStream,
    reader: JoinHandle<std::io::Result<u64>>,
    /// The client's socket and the name of its count.
    connection: u64,
    since: u64,
}

impl Line {
    fn new(scene: &mut Scene<'_>) -> Result<Self> {
        let client = connect()?;
        let (server, _) = scene.stage.manager.accept().context("nobody connected")?;
        let reader = std::thread::spawn(move || {
            server.set_nonblocking(false)?;
            std::io::copy(&mut &server, &mut std::io::sink())
        });
        let mut line = Self { client, reader, connection: 0, since: 0 };
        let seen = line.send(scene, b"head", 1)?;
        let record = &seen[0].record;
        ensure!(record.since != 0 && record.at == 0 && record.next == NOWHERE, "{record:?}");
        (line.connection, line.since) = (record.connection, record.since);
        Ok(line)
    }

    /// Sends in one system call, and returns the records.
    fn send(&mut self, scene: &mut Scene<'_>, bytes: &[u8], records: usize) -> Result<Vec<Seen>> {
        let sent = send_with(self.client.as_raw_fd(), bytes, 0)?;
        ensure!(usize::try_from(sent) == Ok(bytes.len()), "{sent} of {} bytes", bytes.len());
        collect(scene, records)
    }

    fn mute(&self, scene: &mut Scene<'_>, mode: u32, until: u64, nanoseconds: u64) -> Result<()> {
        let expires = run::boottime_ns()? + nanoseconds;
        let mute = Mute { since: self.since, until, expires, mode, reserved: 0 };
        Ok(scene.sensor.mutes.mute(self.connection, mute)?)
    }

    fn end(self) -> Result<u64> {
        drop(self.client);
        self.reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?.context("cannot read")
    }
}

/// Exactly so many records.
fn collect(scene: &mut Scene<'_>, records: usize) -> Result<Vec<Seen>> {
    let mut seen = if records == 0 { Vec::new() } else { scene.collect(records) };
    // One too many would come at the same time.
    std::thread::sleep(Duration::from_millis(20));
    seen.extend(scene.collect(0));
    let texts: Vec<String> = seen.iter().map(Seen::text).collect();
    ensure!(seen.len() == records, "{} records, not {records}: {texts:?}", seen.len());
    Ok(seen)
}

fn shows(seen: &[Seen], at: u64, total: usize, begins: &[u8]) -> Result<()> {
    let [one] = seen else { anyhow::bail!("{} records", seen.len()) };
    let right = one.record.header.kind == kind::IPC_SEND
        && one.record.at == at
        && one.record.total as usize == total
        && one.data.starts_with(begins);
    ensure!(right, "not {total} bytes at {at}: {} at {}", one.text(), one.record.at);
    Ok(())
}

/// A body of known length, and what follows it in the same send.
pub fn length(scene: &mut Scene<'_>) -> Result<()> {
    let mut line = Line::new(scene)?;
    line.mute(scene, LENGTH, 4 + 100_000, LONG)?;
    line.send(scene, &vec![b'x'; 60_000], 0)?;
    let both = [&vec![b'x'; 40_000], b"POST /containers/create".as_slice()].concat();
    let seen = line.send(scene, &both, 1)?;
    shows(&seen, 100_004, 23, b"POST /containers/create")?;
    shows(&line.send(scene, b"next", 1)?, 100_027, 4, b"next")?;
    // In several pieces what is behind the body is not told apart: all is shown.
    line.mute(scene, LENGTH, 100_031 + 4, LONG)?;
    let parts = [std::io::IoSlice::new(b"body"), std::io::IoSlice::new(b"more")];
    ensure!(line.client.write_vectored(&parts)? == 8, "cut short");
    shows(&collect(scene, 1)?, 100_031, 8, b"bodymore")?;
    ensure!(line.end()? == 100_039, "the reader has other bytes");
    Ok(())
}

/// Chunks are followed from one that userspace knows for one, to the first line that is none.
pub fn chunks(scene: &mut Scene<'_>) -> Result<()> {
    let chunk = |size: usize| [format!("{size:x}\r\n").as_bytes(), &vec![b'x'; size], b"\r\n"].concat();
    let mut line = Line::new(scene)?;
    let first = chunk(0x800);
    let seen = line.send(scene, &first, 1)?;
    shows(&seen, 4, first.len(), b"800\r\n")?;
    ensure!(seen[0].record.next == 4, "the chunk is not followed: {:?}", seen[0].record);
    line.mute(scene, CHUNKS, 4, LONG)?;
    let mut at = 4 + first.len();
    // As Go sends one: a full buffer, the rest, the end of the line.
    let long = chunk(0x8000);
    for piece in [&long[..4096], &long[4096..long.len() - 2], b"\r\n"] {
        line.send(scene, piece, 0)?;
    }
    at += long.len();
    let several = [chunk(0x400), chunk(0x10), chunk(7)].concat();
    line.send(scene, &several, 0)?;
    at += several.len();
    // The last one, behind others and in one send with what is hidden there.
    let hidden = b"0\r\n\r\nPOST /containers/create".as_slice();
    let both = [&chunk(0x7000), hidden].concat();
    let seen = line.send(scene, &both, 1)?;
    at += both.len() - hidden.len();
    shows(&seen, at as u64, hidden.len(), hidden)?;
    ensure!(seen[0].record.next == at as u64, "{:?}", seen[0].record);
    at += hidden.len();
    // Further chunks are another row: that they belong to an upload nobody has said.
    let next = chunk(0x800);
    let seen = line.send(scene, &next, 1)?;
    shows(&seen, at as u64, next.len(), b"800\r\n")?;
    line.mute(scene, CHUNKS, at as u64, LONG)?;
    at += next.len();
    // What Go would take for a chunk, but others would not, is shown.
    let odd = b"10 \r\nxxxxxxxxxxxxxxxx\r\n";
    shows(&line.send(scene, odd, 1)?, at as u64, odd.len(), odd)?;
    line.end().map(drop)
}

/// Everything, for a time, and by the name of the count.
pub fn all(scene: &mut Scene<'_>) -> Result<()> {
    let mut line = Line::new(scene)?;
    line.mute(scene, ALL, 0, LONG)?;
    for _ in 0..100 {
        ensure!(send_with(line.client.as_raw_fd(), &[b'x'; 10_000], 0)? == 10_000, "cut short");
    }
    collect(scene, 0)?;
    line.mute(scene, ALL, 0, 0)?;
    shows(&line.send(scene, b"expired", 1)?, 1_000_004, 7, b"expired")?;
    line.since += 1;
    line.mute(scene, ALL, 0, LONG)?;
    shows(&line.send(scene, b"another count", 1)?, 1_000_011, 13, b"another count")?;
    ensure!(line.end()? == 1_000_024, "the reader has other bytes");
    Ok(())
}

/// A socket that is full takes a part, or nothing: only what it took is counted, and no record tells of either.
pub fn short(scene: &mut Scene<'_>) -> Result<()> {
    let client = connect()?;
    let (mut server, _) = scene.stage.manager.accept().context("nobody connected")?;
    server.set_nonblocking(true)?;
    client.set_nonblocking(true)?;
    (&client).write_all(b"head")?;
    let head = collect(scene, 1)?[0].record;
    let expires = run::boottime_ns()? + LONG;
    let mute = |until, mode| Mute { since: head.since, until, expires, mode, reserved: 0 };
    scene.sensor.mutes.mute(head.connection, mute(9_000_000, LENGTH))?;
    let data = vec![b'x'; 4_000_000];
    let sent = send_with(client.as_raw_fd(), &data, 0)?;
    ensure!((1..4_000_000).contains(&sent), "{sent} bytes were taken");
    ensure!(send_with(client.as_raw_fd(), &data, 0).is_err(), "the socket is not full");
    collect(scene, 0)?;
    let mut room = vec![0; 1 << 20];
    while server.read(&mut room).is_ok_and(|count| count > 0) {}
    // Of what goes beyond the mute the rest is shown; what was taken of it, too.
    scene.sensor.mutes.mute(head.connection, mute(4 + sent.cast_unsigned() + 10, LENGTH))?;
    let second = send_with(client.as_raw_fd(), &data, 0)?;
    let seen = collect(scene, 2)?;
    shows(&seen[..1], 14 + sent.cast_unsigned(), 3_999_990, b"xxx")?;
    let last = &seen[1].record;
    ensure!(
        (last.header.kind, i64::from(last.result), last.at)
            == (kind::IPC_SENT, second - 10, 14 + sent.cast_unsigned()),
        "{last:?}"
    );
    Ok(())
}

/// Sends that overlap have no order that could be known: the count begins anew, and what was muted is shown.
pub fn overlapping(scene: &mut Scene<'_>) -> Result<()> {
    let client = connect()?;
    let (mut server, _) = scene.stage.manager.accept().context("nobody connected")?;
    (&client).write_all(b"head")?;
    let head = collect(scene, 1)?[0].record;
    let expires = run::boottime_ns()? + LONG;
    let mute = Mute { since: head.since, until: u64::MAX, expires, mode: LENGTH, reserved: 0 };
    scene.sensor.mutes.mute(head.connection, mute)?;
    let other = client.try_clone()?;
    let waiting = std::thread::spawn(move || (&other).write_all(&vec![b'x'; 4_000_000]));
    std::thread::sleep(Duration::from_millis(200));
    // The socket is full; that it takes nothing of this does not matter.
    let _full = send_with(client.as_raw_fd(), b"between", libc::MSG_DONTWAIT);
    let seen = scene.collect(1);
    ensure!(seen.first().is_some_and(|one| one.data == b"between"), "{:?}", seen.first().map(Seen::text));
    ensure!(seen[0].record.since != head.since, "the count went on");
    server.set_nonblocking(false)?;
    let reader = std::thread::spawn(move || std::io::copy(&mut server, &mut std::io::sink()));
    waiting.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    scene.sensor.drain(|_| {});
    (&client).write_all(b"after")?;
    let seen = collect(scene, 1)?;
    ensure!(seen[0].record.since != head.since && seen[0].data == b"after", "{}", seen[0].text());
    drop(client);
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    Ok(())
}
