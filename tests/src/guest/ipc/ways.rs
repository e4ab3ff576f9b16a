//! The ways into the kernel's sending.

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, bail, ensure};
use sensor_common::limits::SEND_SEGMENTS;
use sensor_common::record::flags;

use super::super::case::call;
use super::super::uring;
use super::{COLD, MANAGER, Scene, Seen, check, connect, send_with};

pub fn send(scene: &mut Scene<'_>) -> Result<()> {
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

pub fn write(scene: &mut Scene<'_>) -> Result<()> {
    scene.expect(|| Ok(connect()?.write_all(b"by write")?), &[b"by write"])
}

pub fn writev(scene: &mut Scene<'_>) -> Result<()> {
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
    ensure!(usize::try_from(sent) == Ok(data.len()), "{sent} bytes");
    Ok(())
}

pub fn segments(scene: &mut Scene<'_>) -> Result<()> {
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

pub fn sendmmsg(scene: &mut Scene<'_>) -> Result<()> {
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

pub fn uring_send(scene: &mut Scene<'_>) -> Result<()> {
    scene.uring(uring::How::Inline, io_uring::opcode::Send::CODE, &[b"by ring"], uring_entry)
}

pub fn uring_send_worker(scene: &mut Scene<'_>) -> Result<()> {
    scene.uring(uring::How::Worker, io_uring::opcode::Send::CODE, &[b"by ring"], uring_entry)
}

pub fn uring_send_poller(scene: &mut Scene<'_>) -> Result<()> {
    scene.uring(uring::How::Polled, io_uring::opcode::Send::CODE, &[b"by ring"], uring_entry)
}

pub fn uring_sendmsg(scene: &mut Scene<'_>) -> Result<()> {
    scene.uring(uring::How::Inline, io_uring::opcode::SendMsg::CODE, &[b"by ring message"], |fd| {
        let parts = Box::leak(Box::new([IoSlice::new(b"by ring"), IoSlice::new(b" message")]));
        // SAFETY: as in `sendmsg`.
        let message: &mut libc::msghdr = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
        message.msg_iov = parts.as_mut_ptr().cast();
        message.msg_iovlen = 2;
        io_uring::opcode::SendMsg::new(fd, message).build()
    })
}

pub fn uring_write(scene: &mut Scene<'_>) -> Result<()> {
    scene.uring(uring::How::Inline, io_uring::opcode::Write::CODE, &[b"by ring"], |fd| {
        io_uring::opcode::Write::new(fd, b"by ring".as_ptr(), 7).build()
    })
}

/// The pages of a registered buffer are handed over: that something is sent is told, not what.
pub fn uring_write_fixed(scene: &mut Scene<'_>) -> Result<()> {
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

pub fn pages(scene: &mut Scene<'_>) -> Result<()> {
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

pub fn out_of_band(scene: &mut Scene<'_>) -> Result<()> {
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
