//! Records from the kernel's ring buffer, as they come.

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Records handed out before other work gets its turn.
const BATCH: usize = 4096;

/// The ring buffer's reading end.
pub struct Ring {
    inner: AsyncFd<RingBuf<MapData>>,
}

/// What a read of the ring left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nothing is waiting.
    Empty,
    /// More is waiting than one batch.
    More,
}

impl Ring {
    /// Takes the ring; must be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the descriptor cannot be registered with the runtime.
    pub fn new(ring: RingBuf<MapData>) -> std::io::Result<Self> {
        // SAFETY: the ring owns its descriptor and keeps it open until it is dropped, which the AsyncFd outlives not.
        let inner = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self { inner: inner.map_err(|error| error.into_parts().1)? })
    }

    /// Returns when a kernel program has woken the reader.
    ///
    /// # Errors
    /// Where waiting fails.
    pub async fn woken(&mut self) -> std::io::Result<()> {
        let mut guard = self.inner.readable_mut().await?;
        // What is there is taken now, by `drain`; what comes later wakes again.
        guard.clear_ready();
        Ok(())
    }

    /// Hands out what is waiting, each record where it lies, at most one batch.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) -> Drained {
        let ring = self.inner.get_mut();
        for _ in 0..BATCH {
            match ring.next() {
                Some(record) => take(&record),
                None => return Drained::Empty,
            }
        }
        Drained::More
    }
}
