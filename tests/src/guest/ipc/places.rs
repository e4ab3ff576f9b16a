//! The ways to a listener, and what goes elsewhere.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::case::{Child, call, descriptor};
use super::{LATER, MANAGER, OTHER, PACKETS, Scene, address, check, connect, send_with, unix_socket};

pub fn aliases(scene: &mut Scene<'_>) -> Result<()> {
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

pub fn older(scene: &mut Scene<'_>) -> Result<()> {
    let (child, mut go) = scene.stage.older.take().context("the older process is gone")?;
    let pid = child.pid.cast_unsigned();
    go.write_all(b"g")?;
    child.wait()?;
    let seen = scene.collect(1);
    check(&seen, MANAGER, &[b"older"])?;
    ensure!(seen[0].record.task.tgid == pid, "by {}", seen[0].record.task.tgid);
    Ok(())
}

pub fn passed(scene: &mut Scene<'_>) -> Result<()> {
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

pub fn packets(scene: &mut Scene<'_>) -> Result<()> {
    let seen = scene.seen(1, || {
        let socket = unix_socket(libc::SOCK_SEQPACKET)?;
        let (address, length) = address(PACKETS);
        // SAFETY: the address is a local of this length at least.
        call("connect", unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
        // On the heap: only of streams is a constant whose page is not there yet read again.
        let packet = Vec::from(*b"a packet");
        send_with(socket.as_raw_fd(), &packet, 0).map(drop)
    })?;
    check(&seen, PACKETS, &[b"a packet"])?;
    ensure!(seen[0].record.socket_type == libc::SOCK_SEQPACKET as u32, "type {}", seen[0].record.socket_type);
    Ok(())
}

pub fn later(scene: &mut Scene<'_>) -> Result<()> {
    for round in [&b"first"[..], b"second"] {
        let listener = UnixListener::bind(LATER)?;
        let seen = scene.seen(1, || Ok(UnixStream::connect(LATER)?.write_all(round)?))?;
        check(&seen, LATER, &[round])?;
        drop(listener);
        fs::remove_file(LATER)?;
    }
    Ok(())
}

pub fn renamed(scene: &mut Scene<'_>) -> Result<()> {
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
pub fn elsewhere(scene: &mut Scene<'_>) -> Result<()> {
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
