//! One datagram to journald, without ever waiting.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, sendmsg_addr, sendto, socket_with,
};

/// An unconnected socket: each datagram looks up journald's address anew, so a restarted journald is found again.
#[derive(Debug)]
pub(super) struct Socket {
    descriptor: OwnedFd,
    journald: SocketAddrUnix,
}

impl Socket {
    pub(super) fn new(journald: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let descriptor = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        Ok(Self { descriptor, journald: SocketAddrUnix::new(journald)? })
    }

    /// Sends an entry; one that is too large for a datagram goes as a sealed memfd.
    pub(super) fn send(&self, entry: &[u8]) -> Result<(), Errno> {
        match sendto(&self.descriptor, entry, SendFlags::NOSIGNAL, &self.journald) {
            Err(Errno::MSGSIZE | Errno::NOBUFS) => self.send_memfd(entry),
            result => result.map(drop),
        }
    }

    /// An empty datagram with a file that nobody can change any more, which journald demands (`memfd_create`(2);
    /// src/journal/journald-native.c, `server_process_native_file`).
    fn send_memfd(&self, entry: &[u8]) -> Result<(), Errno> {
        let memfd = memfd_create(c"svcsensor-entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut written = 0;
        while written < entry.len() {
            written += rustix::io::pwrite(&memfd, &entry[written..], written as u64)?;
        }
        fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
        let descriptors = [memfd.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(Errno::NOBUFS);
        }
        let nothing = [IoSlice::new(&[])];
        sendmsg_addr(&self.descriptor, &self.journald, &nothing, &mut control, SendFlags::NOSIGNAL).map(drop)
    }
}
