//! What clients send to watched listeners, by every way into the kernel's sending.

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Mode, OFlags};
use sensor_common::limits::{SEND_MAX, SEND_SEGMENTS};
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

const TESTS: [(&str, Test); 24] = [
    ("send", send),
    ("write", write),
    ("writev", writev),
    ("sendmsg with 1 to 9 segments, and with more than are read", segments),
    ("sendmmsg", sendmmsg),
    ("io_uring send", uring_send),
    ("io_uring send by a worker", uring_send_worker),
    ("io_uring send by a poller", uring_send_poller),
    ("io_uring sendmsg", uring_sendmsg),
    ("io_uring write", uring_write),
    ("io_uring write from a registered buffer", uring_write_fixed),
    ("through a chroot, a bind mount, a symlink, a hard link", aliases),
    ("on a connection that is older than the sensor", older),
    ("by another process, with the connection's descriptor", passed),
    ("SOCK_SEQPACKET", packets),
    ("every size", sizes),
    ("a send that is cut short, and one that fails", short),
    ("memory that is not there yet", cold),
    ("memory that is not there at all", absent),
    ("sendfile and splice", pages),
    ("out of band", out_of_band),
    ("a listener that comes later, and again", later),
    ("a listener that is given another name", renamed),
    ("what goes elsewhere", elsewhere),
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

fn send(scene: &mut Scene<'_>) -> Result<()> {
    scene.expect(|| send_with(connect()?.as_raw_fd(), b"by send", 0).map(drop), &[b"by send"])?;
    // What names the connection is what /proc shows.
    let (read, tell) = rustix::pipe::pipe()?;
    let seen = scene.seen(2, || {
        let mut stream = connect()?;
        rustix::io::write(&tell, &rustix::fs::fstat(&stream)?.st_ino.to_ne_bytes())?;
        stream.write_all(b"one")?;
        Ok(stream.write_all(b"two")?)
    })?;
    check(&seen, MANAGER, &[b"one", b"two"])?;
    let mut inode = [0; 8];
    fs::File::from(read).read_exact(&mut inode)?;
    for one in seen {
        ensure!(one.record.connection == u64::from_ne_bytes(inode), "connection {}", one.record.connection);
        ensure!(one.record.socket_type == libc::SOCK_STREAM as u32, "type {}", one.record.socket_type);
    }
    Ok(())
}

fn write(scene: &mut Scene<'_>) -> Result<()> {
    scene.expect(|| Ok(connect()?.write_all(b"by write")?), &[b"by write"])
}

fn writev(scene: &mut Scene<'_>) -> Result<()> {
    scene.expect(
        || {
            let parts = [IoSlice::new(b"by "), IoSlice::new(b""), IoSlice::new(b"writev")];
            let sent = connect()?.write_vectored(&parts)?;
            ensure!(sent == 9, "{sent} bytes");
            Ok(())
        },
        &[b"by writev"],
    )
}

/// sendmsg(2) of one segment for each byte.
fn sendmsg(socket: RawFd, data: &[u8]) -> Result<()> {
    let mut parts: Vec<IoSlice<'_>> = data.chunks(1).map(IoSlice::new).collect();
    // SAFETY: a message is plain data, for which zeroes are a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // An IoSlice is a struct iovec (std::io::IoSlice, "ABI compatible").
    message.msg_iov = parts.as_mut_ptr().cast();
    message.msg_iovlen = parts.len();
    // SAFETY: the segments outlive the call.
    let sent = call("sendmsg", unsafe { libc::sendmsg(socket, &raw const message, 0) } as i64)?;
    ensure!(sent == data.len() as i64, "{sent} bytes");
    Ok(())
}

fn segments(scene: &mut Scene<'_>) -> Result<()> {
    for number in [1, 2, 3, 4, 5, 6, 7, 8, 9, SEND_SEGMENTS] {
        let data: Vec<u8> = (0..number as u8).map(|index| b'A' + index % 26).collect();
        scene
            .expect(|| sendmsg(connect()?.as_raw_fd(), &data), &[&data])
            .with_context(|| format!("{number}"))?;
    }
    let data = vec![b'x'; SEND_SEGMENTS + 1];
    let seen = scene.seen(1, || sendmsg(connect()?.as_raw_fd(), &data))?;
    let [one] = &seen[..] else { bail!("{} records", seen.len()) };
    ensure!(
        one.data == data[..SEND_SEGMENTS]
            && one.record.total as usize == data.len()
            && one.record.header.flags == flags::DATA_TRUNCATED,
        "{}",
        one.text()
    );
    Ok(())
}

fn sendmmsg(scene: &mut Scene<'_>) -> Result<()> {
    scene.expect(
        || {
            let stream = connect()?;
            let mut parts = [IoSlice::new(b"first"), IoSlice::new(b"second")];
            // SAFETY: as in `sendmsg`.
            let mut messages: [libc::mmsghdr; 2] = unsafe { std::mem::zeroed() };
            for (message, part) in messages.iter_mut().zip(&mut parts) {
                message.msg_hdr.msg_iov = (&raw mut *part).cast();
                message.msg_hdr.msg_iovlen = 1;
            }
            // SAFETY: the segments outlive the call.
            let sent =
                call("sendmmsg", unsafe { libc::sendmmsg(stream.as_raw_fd(), messages.as_mut_ptr(), 2, 0) })?;
            ensure!(sent == 2, "{sent} messages");
            Ok(())
        },
        &[b"first", b"second"],
    )
}

fn uring_entry(fd: io_uring::types::Fd) -> io_uring::squeue::Entry {
    io_uring::opcode::Send::new(fd, b"by ring".as_ptr(), 7).build()
}

fn uring_send(scene: &mut Scene<'_>) -> Result<()> {
    scene.uring(uring::How::Inline, io_uring::opcode::Send::CODE, &[b"by ring"], uring_entry)
}

fn uring_send_worker(scene: &mut Scene<'_>) -> Result<()> {
    scene.uring(uring::How::Worker, io_uring::opcode::Send::CODE, &[b"by ring"], uring_entry)
}

fn uring_send_poller(scene: &mut Scene<'_>) -> Result<()> {
    scene.uring(uring::How::Polled, io_uring::opcode::Send::CODE, &[b"by ring"], uring_entry)
}

fn uring_sendmsg(scene: &mut Scene<'_>) -> Result<()> {
    scene.uring(uring::How::Inline, io_uring::opcode::SendMsg::CODE, &[b"by ring message"], |fd| {
        let parts = Box::leak(Box::new([IoSlice::new(b"by ring"), IoSlice::new(b" message")]));
        // SAFETY: as in `sendmsg`.
        let message: &mut libc::msghdr = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
        message.msg_iov = parts.as_mut_ptr().cast();
        message.msg_iovlen = 2;
        io_uring::opcode::SendMsg::new(fd, message).build()
    })
}

fn uring_write(scene: &mut Scene<'_>) -> Result<()> {
    scene.uring(uring::How::Inline, io_uring::opcode::Write::CODE, &[b"by ring"], |fd| {
        io_uring::opcode::Write::new(fd, b"by ring".as_ptr(), 7).build()
    })
}

/// The pages of a registered buffer are handed over: that something is sent is told, not what.
fn uring_write_fixed(scene: &mut Scene<'_>) -> Result<()> {
    let seen = scene.seen(1, || {
        let stream = connect()?;
        let buffer = vec![b'x'; 4096];
        let mut queue = uring::Queue::new(uring::How::Inline)?;
        let segment = libc::iovec { iov_base: buffer.as_ptr().cast_mut().cast(), iov_len: buffer.len() };
        // SAFETY: the buffer outlives the queue.
        unsafe { queue.ring.submitter().register_buffers(&[segment]) }?;
        let fd = io_uring::types::Fd(stream.as_raw_fd());
        let entry = io_uring::opcode::WriteFixed::new(fd, buffer.as_ptr(), 100, 0).build();
        queue.run(entry).map(drop)
    })?;
    unreadable(&seen, 100)
}

fn unreadable(seen: &[Seen], total: u32) -> Result<()> {
    let [one] = seen else { bail!("{} records: {seen:?}", seen.len()) };
    ensure!(
        one.listener == MANAGER
            && one.data.is_empty()
            && one.record.total == total
            && one.record.header.flags == flags::DATA_UNREADABLE,
        "{}",
        one.text()
    );
    Ok(())
}

fn aliases(scene: &mut Scene<'_>) -> Result<()> {
    scene.expect(
        || {
            // SAFETY: a plain flag.
            call("unshare", unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
            rustix::mount::mount_bind("/w/sockets", "/w/socket-alias")?;
            rustix::process::chroot("/w/socket-alias")?;
            Ok(UnixStream::connect("/manager")?.write_all(b"chroot")?)
        },
        &[b"chroot"],
    )?;
    symlink(MANAGER, "/w/socket-link")?;
    scene.expect(|| Ok(UnixStream::connect("/w/socket-link")?.write_all(b"symlink")?), &[b"symlink"])?;
    fs::hard_link(MANAGER, "/w/socket-hard")?;
    scene.expect(|| Ok(UnixStream::connect("/w/socket-hard")?.write_all(b"hard link")?), &[b"hard link"])?;
    fs::remove_file("/w/socket-hard")?;
    scene
        .expect(|| Ok(UnixStream::connect(format!("/proc/1/root{MANAGER}"))?.write_all(b"proc")?), &[b"proc"])
}

fn older(scene: &mut Scene<'_>) -> Result<()> {
    let (child, mut go) = scene.stage.older.take().context("the older process is gone")?;
    let pid = child.pid.cast_unsigned();
    go.write_all(b"g")?;
    child.wait()?;
    let seen = scene.collect(1);
    check(&seen, MANAGER, &[b"older"])?;
    ensure!(seen[0].record.task.tgid == pid, "by {}", seen[0].record.task.tgid);
    Ok(())
}

fn passed(scene: &mut Scene<'_>) -> Result<()> {
    let (wait, go) = rustix::pipe::pipe()?;
    let (ready, tell) = rustix::pipe::pipe()?;
    let owner = Child::start(|| {
        let stream = connect()?;
        rustix::io::write(&tell, &stream.as_raw_fd().to_ne_bytes())?;
        fs::File::from(wait).read_exact(&mut [0])?;
        drop(stream);
        Ok(())
    })?;
    let mut number = [0; 4];
    fs::File::from(ready).read_exact(&mut number)?;
    let (pid, number) = (owner.pid, i32::from_ne_bytes(number));
    scene.expect(
        || {
            // SAFETY: plain numbers.
            let process = descriptor("pidfd_open", unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
            // SAFETY: an open descriptor and plain numbers.
            let copy = descriptor("pidfd_getfd", unsafe {
                libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0)
            })?;
            send_with(copy.as_raw_fd(), b"passed", 0).map(drop)
        },
        &[b"passed"],
    )?;
    fs::File::from(go).write_all(b"g")?;
    owner.wait()
}

fn packets(scene: &mut Scene<'_>) -> Result<()> {
    let seen = scene.seen(1, || {
        let socket = unix_socket(libc::SOCK_SEQPACKET)?;
        let (address, length) = address(PACKETS);
        // SAFETY: the address is a local of this length at least.
        call("connect", unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
        send_with(socket.as_raw_fd(), &b"a packet".to_vec(), 0).map(drop)
    })?;
    check(&seen, PACKETS, &[b"a packet"])?;
    ensure!(seen[0].record.socket_type == libc::SOCK_SEQPACKET as u32, "type {}", seen[0].record.socket_type);
    Ok(())
}

fn sizes(scene: &mut Scene<'_>) -> Result<()> {
    let most = SEND_MAX[2];
    for size in [1, 511, 512, 513, 4095, 4096, 4097, most - 1, most, most + 1, 100_000] {
        let data: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        for number in [1, 3] {
            let seen = scene.seen(1, || {
                let parts: Vec<IoSlice<'_>> = data.chunks(size.div_ceil(number)).map(IoSlice::new).collect();
                let sent = connect()?.write_vectored(&parts)?;
                ensure!(sent == size, "{sent} of {size} bytes");
                Ok(())
            })?;
            let [one] = &seen[..] else { bail!("{size}: {} records", seen.len()) };
            let (want, flag) =
                if size > most { (&data[..most], flags::DATA_TRUNCATED) } else { (&data[..], 0) };
            let right =
                one.data == want && one.record.total as usize == size && one.record.header.flags == flag;
            ensure!(right, "{size} bytes in {number}: {} ({} bytes)", one.text(), one.data.len());
        }
    }
    Ok(())
}

fn short(scene: &mut Scene<'_>) -> Result<()> {
    let (read, tell) = rustix::pipe::pipe()?;
    let seen = scene.seen(4, || {
        let stream = connect()?;
        stream.set_nonblocking(true)?;
        let size = 4096_i32;
        // SAFETY: an open descriptor, and an option of this size.
        call("setsockopt", unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_SNDBUF,
                (&raw const size).cast(),
                size_of::<i32>() as u32,
            )
        })?;
        let data = vec![b'x'; 400_000];
        let sent = send_with(stream.as_raw_fd(), &data, 0)?;
        rustix::io::write(&tell, &sent.to_ne_bytes())?;
        ensure!(send_with(stream.as_raw_fd(), &data[..4], 0).is_err(), "the socket is not full");
        Ok(())
    })?;
    let mut sent = [0; 8];
    fs::File::from(read).read_exact(&mut sent)?;
    let sent = i64::from_ne_bytes(sent);
    ensure!((1..400_000).contains(&sent), "{sent} bytes were taken");
    let results: Vec<(u16, u32, i32)> =
        seen.iter().map(|one| (one.record.header.kind, one.record.total, one.record.result)).collect();
    let want = [
        (kind::IPC_SEND, 400_000, 0),
        (kind::IPC_SENT, 400_000, sent as i32),
        (kind::IPC_SEND, 4, 0),
        (kind::IPC_SENT, 4, -libc::EAGAIN),
    ];
    ensure!(results == want, "expected {want:?}, got {results:?}");
    Ok(())
}

/// A file's page that is mapped but was never touched: the program cannot read it, the kernel's copying brings it in.
fn cold(scene: &mut Scene<'_>) -> Result<()> {
    let seen = scene.seen(2, || {
        let stream = connect()?;
        let file = rustix::fs::open(COLD, OFlags::RDONLY, Mode::empty())?;
        let (protection, mode) = (rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::PRIVATE);
        // SAFETY: a new mapping that nothing refers to.
        let at = unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, protection, mode, &file, 0) }?;
        // SAFETY: the mapping has these bytes.
        call("send", unsafe { libc::send(stream.as_raw_fd(), at, 40, 0) } as i64).map(drop)
    })?;
    let flags: Vec<u16> = seen.iter().map(|one| one.record.header.flags).collect();
    ensure!(flags == [flags::DATA_UNREADABLE, flags::DATA_LATE], "flags {flags:x?}");
    ensure!(seen[1].data == b"cold".repeat(10) && seen[1].record.total == 40, "{}", seen[1].text());
    ensure!(seen[0].record.connection == seen[1].record.connection, "{seen:?}");
    Ok(())
}

fn absent(scene: &mut Scene<'_>) -> Result<()> {
    let seen = scene.seen(3, || {
        let stream = connect()?;
        // SAFETY: the kernel is asked to read what is not there, and refuses.
        let sent = unsafe { libc::send(stream.as_raw_fd(), 8 as *const libc::c_void, 40, 0) };
        ensure!(sent == -1, "{sent} bytes from nowhere");
        Ok(())
    })?;
    let got: Vec<(u16, u16, i32)> =
        seen.iter().map(|one| (one.record.header.kind, one.record.header.flags, one.record.result)).collect();
    let want = [
        (kind::IPC_SEND, flags::DATA_UNREADABLE, 0),
        (kind::IPC_SEND, flags::DATA_UNREADABLE | flags::DATA_LATE, 0),
        (kind::IPC_SENT, 0, -libc::EFAULT),
    ];
    ensure!(got == want, "expected {want:?}, got {got:?}");
    // Nothing is left over that would make the next send's record.
    scene.expect(|| Ok(connect()?.write_all(b"next")?), &[b"next"])
}

fn pages(scene: &mut Scene<'_>) -> Result<()> {
    let seen = scene.seen(1, || {
        let (stream, file) = (connect()?, fs::File::open(COLD)?);
        let sent = rustix::fs::sendfile(&stream, &file, None, 100)?;
        ensure!(sent == 100, "{sent} bytes");
        Ok(())
    })?;
    unreadable(&seen, 100).context("sendfile")?;
    let seen = scene.seen(1, || {
        let (stream, file) = (connect()?, fs::File::open(COLD)?);
        let (out, into) = rustix::pipe::pipe()?;
        let flags = rustix::pipe::SpliceFlags::empty();
        rustix::pipe::splice(&file, None, &into, None, 50, flags)?;
        let sent = rustix::pipe::splice(&out, None, &stream, None, 50, flags)?;
        ensure!(sent == 50, "{sent} bytes");
        Ok(())
    })?;
    unreadable(&seen, 50).context("splice")
}

fn out_of_band(scene: &mut Scene<'_>) -> Result<()> {
    let supported = {
        let (one, _other) = UnixStream::pair()?;
        send_with(one.as_raw_fd(), b"x", libc::MSG_OOB).is_ok()
    };
    if !supported {
        scene.skipped = Some("this kernel's unix sockets have no out-of-band data".into());
        return Ok(());
    }
    let seen = scene.seen(1, || send_with(connect()?.as_raw_fd(), b"abc", libc::MSG_OOB).map(drop))?;
    check(&seen, MANAGER, &[b"abc"])?;
    ensure!(
        seen[0].record.message_flags & libc::MSG_OOB as u32 != 0,
        "flags {:#x}",
        seen[0].record.message_flags
    );
    Ok(())
}

fn later(scene: &mut Scene<'_>) -> Result<()> {
    for round in [&b"first"[..], b"second"] {
        let listener = UnixListener::bind(LATER)?;
        let seen = scene.seen(1, || Ok(UnixStream::connect(LATER)?.write_all(round)?))?;
        check(&seen, LATER, &[round])?;
        drop(listener);
        fs::remove_file(LATER)?;
    }
    Ok(())
}

fn renamed(scene: &mut Scene<'_>) -> Result<()> {
    let listener = UnixListener::bind(LATER)?;
    fs::rename(LATER, "/w/aside")?;
    let seen = scene.seen(1, || Ok(UnixStream::connect("/w/aside")?.write_all(b"aside")?))?;
    check(&seen, LATER, &[b"aside"])?;
    // Another one that takes its place is watched as well.
    let second = UnixListener::bind(LATER)?;
    let seen = scene.seen(1, || Ok(UnixStream::connect(LATER)?.write_all(b"in place")?))?;
    check(&seen, LATER, &[b"in place"])?;
    drop((listener, second));
    fs::remove_file("/w/aside")?;
    Ok(fs::remove_file(LATER)?)
}

/// Nothing of this is told: other listeners, pairs, datagrams, names without a file, other families, answers.
fn elsewhere(scene: &mut Scene<'_>) -> Result<()> {
    scene.expect(|| Ok(UnixStream::connect(OTHER)?.write_all(b"other")?), &[])?;
    scene.expect(|| Ok(UnixStream::pair()?.0.write_all(b"pair")?), &[])?;
    scene.expect(
        || {
            let datagrams = UnixDatagram::bind("/w/sockets/datagrams")?;
            UnixDatagram::unbound()?.send_to(b"datagram", "/w/sockets/datagrams")?;
            drop(datagrams);
            Ok(())
        },
        &[],
    )?;
    scene.expect(
        || {
            let name = SocketAddr::from_abstract_name(b"manager")?;
            let _listener = UnixListener::bind_addr(&name)?;
            Ok(UnixStream::connect_addr(&name)?.write_all(b"abstract")?)
        },
        &[],
    )?;
    scene.expect(loopback, &[])?;
    let (wait, go) = rustix::pipe::pipe()?;
    let client = Child::start(|| {
        let stream = connect()?;
        fs::File::from(wait).read_exact(&mut [0])?;
        drop(stream);
        Ok(())
    })?;
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut accepted = loop {
        match scene.stage.manager.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if Instant::now() > deadline => return Err(error).context("nobody connected"),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    scene.expect(|| Ok(accepted.write_all(b"answer")?), &[])?;
    drop(accepted);
    fs::File::from(go).write_all(b"g")?;
    client.wait()
}

/// A byte over TCP.
fn loopback() -> Result<()> {
    // SAFETY: plain numbers.
    let socket = descriptor("socket", unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) })?;
    // SAFETY: a request is plain data, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l'.cast_signed(), b'o'.cast_signed()]);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request is a local.
    call("SIOCSIFFLAGS", unsafe {
        libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request)
    })?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    ensure!(Path::new("/proc/net/tcp").exists(), "no TCP");
    Ok(stream.write_all(b"tcp")?)
}
