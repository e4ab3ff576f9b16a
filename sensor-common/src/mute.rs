//! What of a connection's stream userspace agrees to do without, and the programs need not copy.
//!
//! The programs count the bytes of each connection to a watched listener from the first send that they see, which gives
//! the count its name ([`crate::record::IpcRecord::since`]). Userspace names ranges in that count. Where the count began
//! anew, because an entry made room or sends overlapped, a mute of the former one means nothing.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Up to the position [`Mute::until`]: a body whose length was announced.
pub const LENGTH: u32 = 1;
/// While chunks of a body follow one another (RFC 9112, 7.1), of which one begins at [`Mute::until`]. The programs read
/// the lengths of the chunks, and show everything from the first line on that is not plainly one.
pub const CHUNKS: u32 = 2;
/// Everything: the server cannot take it for a request any more.
pub const ALL: u32 = 3;

/// No such position ([`crate::record::IpcRecord::next`]).
pub const NOWHERE: u64 = u64::MAX;

/// Value of the map of mutes, whose keys are [`crate::record::IpcRecord::connection`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Mute {
    /// The count that `until` is a position of.
    pub since: u64,
    /// By `mode`; 0 for [`ALL`].
    pub until: u64,
    /// On `CLOCK_BOOTTIME`, in nanoseconds. From then on everything is shown: userspace looks again, and a socket that
    /// was given the number of a closed one is not muted for long.
    pub expires: u64,
    /// [`LENGTH`], [`CHUNKS`] or [`ALL`].
    pub mode: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Mute>() == 32);
