//! Records from the kernel's ring buffer, as they come.

use std::ops::ControlFlow;

use aya::maps::{MapData, RingBuf};
use sensor_common::record::Header;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use zerocopy::FromBytes;

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

    /// Hands out what is waiting, each record where it lies, at most one batch, and no more once `take` breaks off.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8]) -> ControlFlow<()>) -> Drained {
        let ring = self.inner.get_mut();
        for _ in 0..BATCH {
            let Some(record) = ring.next() else { return Drained::Empty };
            if take(meaningful(&record)).is_break() {
                break;
            }
        }
        Drained::More
    }
}

/// The part of a reservation that means something: kernel programs reserve in a few constant sizes.
fn meaningful(record: &[u8]) -> &[u8] {
    let length = Header::read_from_prefix(record).map_or(0, |(header, _)| header.length as usize);
    // A length that cannot be is for the decoder to refuse and count.
    record.get(..length).unwrap_or(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_header_counts_is_handed_out() {
        let mut record = [0_u8; 64];
        record[4..8].copy_from_slice(&24_u32.to_ne_bytes());
        assert_eq!(meaningful(&record).len(), 24);
        record[4..8].copy_from_slice(&65_u32.to_ne_bytes());
        assert_eq!(meaningful(&record).len(), 64);
        assert_eq!(meaningful(&record[..3]).len(), 0);
    }
}
