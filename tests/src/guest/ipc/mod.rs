//! What clients send to watched listeners, by every way into the kernel's sending.

mod edges;
mod mutes;
mod places;
mod ways;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sensor_common::record::{IpcRecord, flags, kind};
use sensor_user::event::decode::{Event, decode};

use super::case::{Child, call, descriptor};
use super::sensor::Sensor;
use super::setup::Results;
use super::{run, uring};

/// The listeners that are watched. The last one is bound only later.
pub const PATHS: [&str; 3] = [MANAGER, PACKETS, LATER];

const MANAGER: &str = "/w/sockets/manager";
const PACKETS: &str = "/w/sockets/packets";
const LATER: &str = "/w/sockets/later";
const OTHER: &str = "/w/sockets/other";
/// Content that no process has mapped.
const COLD: &str = "/w/sockets/cold";

type Test = fn(&mut Scene<'_>) -> Result<()>;

const TESTS: [(&str, Test); 29] = [
    ("send", ways::send),
    ("write", ways::write),
    ("writev", ways::writev),
    ("sendmsg with 1 to 9 segments, and with more than are read", ways::segments),
    ("sendmmsg", ways::sendmmsg),
    ("io_uring send", ways::uring_send),
    ("io_uring send by a worker", ways::uring_send_worker),
    ("io_uring send by a poller", ways::uring_send_poller),
    ("io_uring sendmsg", ways::uring_sendmsg),
    ("io_uring write", ways::uring_write),
    ("io_uring write from a registered buffer", ways::uring_write_fixed),
    ("through a chroot, a bind mount, a symlink, a hard link", places::aliases),
    ("on a connection that is older than the sensor", places::older),
    ("by another process, with the connection's descriptor", places::passed),
    ("SOCK_SEQPACKET", places::packets),
    ("every size", edges::sizes),
    ("a send that is cut short, and one that fails", edges::short),
    ("memory that is not there yet", edges::cold),
    ("memory that is not there at all", edges::absent),
    ("sendfile and splice", ways::pages),
    ("out of band", ways::out_of_band),
    ("a listener that comes later, and again", places::later),
    ("a listener that is given another name", places::renamed),
    ("what goes elsewhere", places::elsewhere),
    ("muted up to a length", mutes::length),
    ("muted chunks", mutes::chunks),
    ("muted for a time", mutes::all),
    ("muted, and cut short", mutes::short),
    ("muted, and overlapping", mutes::overlapping),
];

/// What is there before the sensor starts.
pub struct Stage {
    manager: UnixListener,
    _packets: OwnedFd,
    _other: UnixListener,
    older: Option<(Child, fs::File)>,
    /// Its other end.
    _accepted: UnixStream,
}

/// Binds the listeners, and starts a process that is connected before anyone watches.
///
/// # Errors
/// Where it cannot be done.
pub fn prepare() -> Result<Stage> {
    fs::create_dir_all("/w/sockets")?;
    fs::create_dir_all("/w/socket-alias")?;
    fs::write(COLD, b"cold".repeat(1024))?;
    let manager = UnixListener::bind(MANAGER)?;
    manager.set_nonblocking(true)?;
    let packets = bind_packets()?;
    let other = UnixListener::bind(OTHER)?;
    let (wait, go) = rustix::pipe::pipe()?;
    let (ready, tell) = rustix::pipe::pipe()?;
    let child = Child::start(|| {
        let mut stream = UnixStream::connect(MANAGER)?;
        rustix::io::write(&tell, b"r")?;
        fs::File::from(wait).read_exact(&mut [0])?;
        Ok(stream.write_all(b"older")?)
    })?;
    fs::File::from(ready).read_exact(&mut [0]).context("the older process did not start")?;
    let (accepted, _) = manager.accept()?;
    Ok(Stage {
        manager,
        _packets: packets,
        _other: other,
        older: Some((child, go.into())),
        _accepted: accepted,
    })
}

fn bind_packets() -> Result<OwnedFd> {
    let socket = unix_socket(libc::SOCK_SEQPACKET)?;
    let (address, length) = address(PACKETS);
    // SAFETY: the address is a local of this length at least.
    call("bind", unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    // SAFETY: an open descriptor.
    call("listen", unsafe { libc::listen(socket.as_raw_fd(), 8) })?;
    Ok(socket)
}

fn unix_socket(kind: i32) -> Result<OwnedFd> {
    // SAFETY: plain numbers.
    descriptor("socket", unsafe { libc::socket(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0) })
}

fn address(path: &str) -> (libc::sockaddr_un, u32) {
    // SAFETY: an address is plain data, for which zeroes are a value.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from.cast_signed();
    }
    (address, size_of::<libc::sockaddr_un>() as u32)
}

/// Runs all of them.
pub fn run_all(sensor: &mut Sensor, results: &mut Results, stage: Stage) {
    let mut scene = Scene { sensor, stage, skipped: None };
    for (name, test) in TESTS {
        scene.skipped = None;
        let result = test(&mut scene);
        let name = format!("ipc/{name}");
        match scene.skipped.take() {
            Some(reason) if result.is_ok() => results.skip(&name, &reason),
            _ => results.report(&name, result),
        }
        while scene.stage.manager.accept().is_ok() {}
        scene.sensor.drain(|_| {});
    }
}

/// The sensor, and what a test does with it.
struct Scene<'a> {
    sensor: &'a mut Sensor,
    stage: Stage,
    skipped: Option<String>,
}

/// A record of a send.
#[derive(Debug)]
struct Seen {
    record: IpcRecord,
    data: Vec<u8>,
    listener: String,
}

impl Seen {
    fn is(&self, data: &[u8]) -> bool {
        let header = &self.record.header;
        header.kind == kind::IPC_SEND
            && self.data == data
            && self.record.total as usize == data.len()
            && header.flags & !flags::DATA_LATE == 0
            && self.record.result == 0
    }

    /// For people.
    fn text(&self) -> String {
        format!(
            "{} kind {} flags {:#x} total {} result {} data {:?}",
            self.listener,
            self.record.header.kind,
            self.record.header.flags,
            self.record.total,
            self.record.result,
            String::from_utf8_lossy(&self.data[..self.data.len().min(60)])
        )
    }
}

impl Scene<'_> {
    /// Does something in a process of its own, and returns its records of sends.
    fn seen(&mut self, at_least: usize, act: impl FnOnce() -> Result<()>) -> Result<Vec<Seen>> {
        self.sensor.drain(|_| {});
        let before = run::boottime_ns()?;
        let child = Child::start(act)?;
        let pid = child.pid.cast_unsigned();
        child.wait()?;
        let seen = self.collect(at_least);
        let after = run::boottime_ns()?;
        for one in &seen {
            ensure!(one.record.task.tgid == pid, "{}: by {}, not {pid}", one.text(), one.record.task.tgid);
            ensure!(
                (before..=after).contains(&one.record.header.boottime_ns),
                "{}: at another time",
                one.text()
            );
        }
        Ok(seen)
    }

    fn collect(&mut self, at_least: usize) -> Vec<Seen> {
        let names = self.sensor.names.clone();
        let mut seen = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            self.sensor.drain(|record| {
                if let Ok(Event::Ipc(event)) = decode(record) {
                    let listener = names.get(&event.record.watch).cloned().unwrap_or_default();
                    seen.push(Seen { record: event.record, data: event.data.to_vec(), listener });
                }
            });
            if seen.len() >= at_least || Instant::now() > deadline {
                return seen;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Exactly these bytes must be seen on their way to the manager, a record each.
    fn expect(&mut self, act: impl FnOnce() -> Result<()>, want: &[&[u8]]) -> Result<()> {
        let seen = self.seen(want.len(), act)?;
        check(&seen, MANAGER, want)
    }

    /// An `io_uring` test, on a connected socket.
    fn uring(
        &mut self,
        how: uring::How,
        code: u8,
        want: &[&[u8]],
        entry: fn(io_uring::types::Fd) -> io_uring::squeue::Entry,
    ) -> Result<()> {
        if let Some(reason) = uring::lacks(code) {
            self.skipped = Some(reason);
            return Ok(());
        }
        self.expect(
            || {
                let stream = UnixStream::connect(MANAGER)?;
                let mut queue = uring::Queue::new(how)?;
                queue.run(entry(io_uring::types::Fd(stream.as_raw_fd()))).map(drop)
            },
            want,
        )
    }
}

/// Without the records that a later one replaces: a page with a constant may not be there when it is first sent.
fn settled(seen: &[Seen]) -> Vec<&Seen> {
    let mut settled: Vec<&Seen> = Vec::new();
    for one in seen {
        if one.record.header.flags & flags::DATA_LATE != 0 {
            let replaced =
                settled.last().is_some_and(|last| last.record.header.flags & flags::DATA_UNREADABLE != 0);
            settled.truncate(settled.len() - usize::from(replaced));
        }
        settled.push(one);
    }
    settled
}

fn check(seen: &[Seen], listener: &str, want: &[&[u8]]) -> Result<()> {
    let settled = settled(seen);
    let is = |seen: &&Seen, want: &[u8]| seen.is(want) && seen.listener == listener;
    if settled.len() == want.len() && settled.iter().zip(want).all(|(seen, want)| is(seen, want)) {
        return Ok(());
    }
    let texts: Vec<String> = seen.iter().map(Seen::text).collect();
    let want: Vec<_> = want.iter().map(|want| String::from_utf8_lossy(&want[..want.len().min(60)])).collect();
    bail!("expected {want:?} to {listener}, got {texts:?}")
}

fn connect() -> Result<UnixStream> {
    Ok(UnixStream::connect(MANAGER)?)
}

/// send(2).
fn send_with(socket: RawFd, data: &[u8], flags: i32) -> Result<i64> {
    // SAFETY: an open descriptor, and a buffer of the length given.
    call("send", unsafe { libc::send(socket, data.as_ptr().cast(), data.len(), flags) } as i64)
}
