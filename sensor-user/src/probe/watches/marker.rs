//! What a backend does for a [`super::WatchSet`], and how it fails.

use std::hash::Hash;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

/// Why a directory could not be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// An object could not be opened or identified.
    #[error("cannot watch {path}: {source}")]
    Object {
        /// Which.
        path: String,
        /// Why.
        source: Errno,
    },
    /// The programs did not see the sensor's own open.
    #[error("the kernel programs did not see the sensor open {0}: they are attached but do not run")]
    Unseen(String),
    /// A map refused an entry.
    #[error("cannot enter {what} into the kernel's watch map: {source}")]
    Map {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// A map is full.
    #[error(
        "the kernel's map of {what} is full: {refused} found no room, and what happens to them is not seen; \
         watch fewer paths"
    )]
    Full {
        /// Of what.
        what: &'static str,
        /// How many found no room.
        refused: usize,
    },
}

impl WatchError {
    /// Adds an error to others. Of all that found no room in one map one error tells: there may be tens of thousands.
    pub(in crate::probe) fn gather(self, errors: &mut Vec<Self>) {
        if let Self::Full { what, refused } = &self {
            for known in errors.iter_mut() {
                if let Self::Full { what: other, refused: sum } = known {
                    if what == other {
                        *sum += refused;
                        return;
                    }
                }
            }
        }
        errors.push(self);
    }

    /// How many objects and names found no room.
    #[must_use]
    pub fn refused(&self) -> usize {
        if let Self::Full { refused, .. } = self { *refused } else { 0 }
    }
}

/// How a backend marks objects.
pub trait Marker {
    /// An object as the backend recognises it.
    type Identity: Clone + Eq + Hash;

    /// What the backend will see for this open object (an `O_PATH` descriptor of a directory or a regular file): more
    /// than one identity where a stacked filesystem shows it twice.
    ///
    /// # Errors
    /// Where it cannot be opened, or the backend does not see it.
    fn identify(&mut self, object: BorrowedFd<'_>, path: &str) -> Result<Vec<Self::Identity>, WatchError>;

    /// Marks an object with flags of [`sensor_common::watch`], or takes the mark away where they are 0.
    ///
    /// # Errors
    /// Where there is no room.
    fn mark(&mut self, object: &Self::Identity, flags: u32, number: u32) -> Result<(), WatchError>;

    /// The same for a named child of an anchor.
    ///
    /// # Errors
    /// Where there is no room.
    fn mark_child(
        &mut self,
        parent: &Self::Identity,
        name: &[u8],
        flags: u32,
        number: u32,
    ) -> Result<(), WatchError>;

    /// Has what clients send to the listener whose file has this name in the directory reported under `number`, or not
    /// any more. A backend that cannot see it does nothing.
    ///
    /// # Errors
    /// Where there is no room.
    fn mark_socket(
        &mut self,
        directory: &Self::Identity,
        name: &[u8],
        number: Option<u32>,
    ) -> Result<(), WatchError>;
}

/// An object that cannot be opened or identified.
pub(super) fn object(path: &str, source: Errno) -> WatchError {
    WatchError::Object { path: path.to_owned(), source }
}
