//! Where file records come from: the ring, with those of processes; or fanotify, beside it.

use std::os::fd::AsFd;

use anyhow::Context;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::probe::fanotify::{Fanotify, FanotifyMarker, Mounts, Overflow};
use crate::probe::load::LoadError;
use crate::source::snapshot::boottime_ns;

/// The source of file records.
pub enum Files {
    /// The kernel programs put them into the ring.
    Ring,
    /// fanotify, and the mount table.
    Fanotify(Box<Queue>),
}

/// The fanotify backend's descriptors.
pub struct Queue {
    events: AsyncFd<Fanotify>,
    mounts: AsyncFd<Mounts>,
}

/// What became of a reading.
#[derive(Default)]
pub struct Taken {
    /// More is waiting.
    pub more: bool,
    /// Events were dropped by the kernel.
    pub overflow: Option<Overflow>,
}

impl Files {
    /// fanotify's group and the host's mount table, and the side that marks objects.
    ///
    /// # Errors
    /// Where the kernel does not allow it.
    pub fn fanotify(root: &'static str) -> anyhow::Result<(Self, FanotifyMarker)> {
        let events = Fanotify::new().map_err(LoadError::from)?;
        let marker = events.marker();
        let mounts = events.mounts(root)?;
        let events = registered(events, Interest::READABLE).context("cannot wait for fanotify")?;
        // A change of the mount table is an exceptional condition, not readability (proc_pid_mounts(5)).
        let mounts = registered(mounts, Interest::PRIORITY).context("cannot wait for the mount table")?;
        Ok((Self::Fanotify(Box::new(Queue { events, mounts })), marker))
    }

    /// Returns when something is waiting; never, where all records come through the ring.
    ///
    /// # Errors
    /// Where waiting fails.
    pub async fn woken(&mut self) -> std::io::Result<()> {
        match self {
            Self::Ring => std::future::pending().await,
            Self::Fanotify(queue) => {
                tokio::select! {
                    events = queue.events.readable_mut() => events?.clear_ready(),
                    mounts = queue.mounts.ready_mut(Interest::PRIORITY) => mounts?.clear_ready(),
                }
                Ok(())
            }
        }
    }

    /// Takes note of a record of the ring, before the files are read: who is behind an event is known from there.
    pub fn observe(&mut self, record: &[u8]) {
        if let Self::Fanotify(queue) = self {
            queue.events.get_mut().observe(record);
        }
    }

    /// Hands out what is waiting, at most one batch.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read(&mut self, mut take: impl FnMut(&[u8])) -> anyhow::Result<Taken> {
        let Self::Fanotify(queue) = self else { return Ok(Taken::default()) };
        let now = boottime_ns();
        let reading = queue.events.get_mut().read(now, &mut take)?;
        queue.mounts.get_mut().read(now, &mut take)?;
        Ok(Taken { more: reading.more, overflow: reading.overflow })
    }
}

fn registered<T: AsFd + std::os::fd::AsRawFd>(inner: T, interest: Interest) -> std::io::Result<AsyncFd<T>> {
    // SAFETY: `inner` owns its descriptor and keeps it open for as long as the AsyncFd holds it.
    let registered = unsafe { AsyncFd::register_with_interest(inner, interest) };
    registered.map_err(|error| error.into_parts().1)
}
