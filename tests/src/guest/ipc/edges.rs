//! Sizes, failures, and memory that is not there.

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::os::fd::AsRawFd;

use anyhow::{Result, bail, ensure};
use rustix::fs::{Mode, OFlags};
use sensor_common::limits::SEND_MAX;
use sensor_common::record::{flags, kind};

use super::super::case::call;
use super::{COLD, Scene, connect, send_with};

pub fn sizes(scene: &mut Scene<'_>) -> Result<()> {
    let most = SEND_MAX[3];
    let around = SEND_MAX.iter().flat_map(|size| [size - 1, *size, size + 1]);
    for size in around.chain([1, 100_000]) {
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

pub fn short(scene: &mut Scene<'_>) -> Result<()> {
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
pub fn cold(scene: &mut Scene<'_>) -> Result<()> {
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

pub fn absent(scene: &mut Scene<'_>) -> Result<()> {
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
