//! The kernel programs' watch maps, and learning an object's identity as the hooks see it.

use std::os::fd::{AsRawFd, BorrowedFd};

use aya::maps::{Array, HashMap, MapData, MapError};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sensor_common::mute::Mute;
use sensor_common::watch::{
    ADMIT, ALL_BELOW, BY_NAME, ChildKey, Learned, LearnedIdentity, PENDING, SUBTREE, WatchKey, WatchValue,
    hash_of_name,
};
use zerocopy::{FromBytes, transmute};

use super::load::{LoadError, Loaded};
use super::watches::{Marker, WatchError};

const KEY: usize = size_of::<WatchKey>();
const CHILD: usize = size_of::<ChildKey>();
const VALUE: usize = size_of::<WatchValue>();
const LEARNED: usize = size_of::<Learned>();
const MUTE: usize = size_of::<Mute>();

/// `LEARNER` while nobody learns.
const NOBODY: u32 = u32::MAX;

/// Marks objects in the maps of the LSM and fentry programs.
pub struct MapMarker {
    watches: HashMap<MapData, [u8; KEY], [u8; VALUE]>,
    children: HashMap<MapData, [u8; CHILD], [u8; VALUE]>,
    sockets: HashMap<MapData, [u8; CHILD], u32>,
    learned: Array<MapData, [u8; LEARNED]>,
    /// The section `.data`: the learner's thread id.
    learner: Array<MapData, u32>,
}

impl MapMarker {
    /// Takes the maps of loaded programs.
    ///
    /// # Errors
    /// Where the object lacks one.
    pub fn new(loaded: &mut Loaded) -> Result<Self, LoadError> {
        Ok(Self {
            watches: loaded.take("WATCHES")?,
            children: loaded.take("CHILDREN")?,
            sockets: loaded.take("SOCKETS")?,
            learned: loaded.take("LEARNED")?,
            learner: loaded.take(".data")?,
        })
    }

    /// Entries in the watch map, those that the programs made included. Walks the map: for metrics, not for hot
    /// paths.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.watches.keys().count()
    }

    /// Opens the object while the programs watch for this thread's open.
    fn learn(&mut self, object: BorrowedFd<'_>, path: &str) -> Result<Learned, WatchError> {
        // Through /proc, because an O_PATH descriptor passes no open hook.
        self.open(&format!("/proc/self/fd/{}", object.as_raw_fd()), Learned::default(), path)
    }

    /// Has the programs admit an object to their far filter: for all below it, or for what lies below a child of one
    /// name; see [`sensor_common::watch::bloom_position`]. They alone write it, so this is asked for by opening something,
    /// whatever it is.
    fn admit(&mut self, object: &LearnedIdentity, child: Option<&[u8]>) -> Result<(), WatchError> {
        let how = LearnedIdentity {
            inode: child.map_or(0, |name| u64::from(hash_of_name(name))),
            device: u32::from(if child.is_some() { BY_NAME } else { ALL_BELOW }),
            generation: 0,
        };
        let request = Learned { count: ADMIT, identities: [*object, how], ..Learned::default() };
        let answer = self.open("/", request, "/")?;
        if answer.count == ADMIT { Err(WatchError::Unseen("/".to_owned())) } else { Ok(()) }
    }

    /// Opens `file` while the programs watch for this thread's open, and returns what they make of `request`. The
    /// object is called `path` in errors.
    fn open(&mut self, file: &str, request: Learned, path: &str) -> Result<Learned, WatchError> {
        let map = |source: MapError| WatchError::Map {
            what: format!("a request to learn {path}"),
            source: std::io::Error::other(source),
        };
        let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        let request: [u8; LEARNED] = transmute!(request);
        self.learned.set(0, request, 0).map_err(map)?;
        self.learner.set(0, thread, 0).map_err(map)?;
        // Non-blocking, should the object have become a FIFO; it stays the same object whatever happens to its path.
        let opened = rustix::fs::open(
            file,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        self.learner.set(0, NOBODY, 0).map_err(map)?;
        opened.map_err(|source| WatchError::Object { path: path.to_owned(), source })?;
        let bytes = self.learned.get(&0, 0).map_err(map)?;
        Ok(Learned::read_from_bytes(&bytes).unwrap_or_default())
    }
}

/// What the kernel programs need not show of connections.
pub struct Mutes {
    map: HashMap<MapData, u64, [u8; MUTE]>,
}

impl Mutes {
    /// Takes the map of loaded programs.
    ///
    /// # Errors
    /// Where the object lacks it.
    pub fn new(loaded: &mut Loaded) -> Result<Self, LoadError> {
        Ok(Self { map: loaded.take("MUTES")? })
    }

    /// Has the programs count what they would show.
    ///
    /// # Errors
    /// Where the kernel refuses. Then all is shown.
    pub fn mute(&mut self, connection: u64, mute: Mute) -> Result<(), MapError> {
        let mute: [u8; MUTE] = transmute!(mute);
        self.map.insert(connection, mute, 0)
    }
}

impl Marker for MapMarker {
    type Identity = LearnedIdentity;

    fn identify(&mut self, object: BorrowedFd<'_>, path: &str) -> Result<Vec<LearnedIdentity>, WatchError> {
        let learned = self.learn(object, path)?;
        match learned.count {
            0 => Err(WatchError::Unseen(path.to_owned())),
            1 => Ok(vec![learned.identities[0]]),
            _ => Ok(learned.identities.to_vec()),
        }
    }

    fn mark(&mut self, object: &LearnedIdentity, flags: u32, number: u32) -> Result<(), WatchError> {
        if flags & SUBTREE != 0 {
            self.admit(object, None)?;
        }
        let key: [u8; KEY] = transmute!(key(object));
        let result = if flags == 0 {
            absent_is_fine(self.watches.remove(&key))
        } else {
            let value = WatchValue { watch: number, flags, generation: object.generation, reserved: 0 };
            let value: [u8; VALUE] = transmute!(value);
            self.watches.insert(key, value, 0)
        };
        result.map_err(|source| {
            refused(source, "objects", || format!("inode {} of device {:#x}", object.inode, object.device))
        })
    }

    fn mark_child(
        &mut self,
        parent: &LearnedIdentity,
        name: &[u8],
        flags: u32,
        number: u32,
    ) -> Result<(), WatchError> {
        if flags & PENDING != 0 {
            self.admit(parent, Some(name))?;
        }
        let child: [u8; CHILD] = transmute!(ChildKey::new(key(parent), name));
        let result = if flags == 0 {
            absent_is_fine(self.children.remove(&child))
        } else {
            let generation = sensor_common::watch::ANY_GENERATION;
            let value: [u8; VALUE] = transmute!(WatchValue { watch: number, flags, generation, reserved: 0 });
            self.children.insert(child, value, 0)
        };
        result.map_err(|source| {
            refused(source, "names", || format!("name {:?}", String::from_utf8_lossy(name)))
        })
    }

    fn mark_socket(
        &mut self,
        directory: &LearnedIdentity,
        name: &[u8],
        number: Option<u32>,
    ) -> Result<(), WatchError> {
        let socket: [u8; CHILD] = transmute!(ChildKey::new(key(directory), name));
        let result = match number {
            None => absent_is_fine(self.sockets.remove(&socket)),
            Some(number) => self.sockets.insert(socket, number, 0),
        };
        result.map_err(|source| {
            refused(source, "sockets", || format!("socket {:?}", String::from_utf8_lossy(name)))
        })
    }
}

/// The map key of an identity.
fn key(identity: &LearnedIdentity) -> WatchKey {
    WatchKey { inode: identity.inode, device: identity.device, reserved: 0 }
}

/// Why one of `kind`, called `what`, is not in its map. A full one says so by `E2BIG`, the kernel's lack of memory by
/// `ENOMEM` (kernel/bpf/hashtab.c, `alloc_htab_elem`).
fn refused(source: MapError, kind: &'static str, what: impl FnOnce() -> String) -> WatchError {
    if let MapError::SyscallError(error) = &source {
        let number = error.io_error.raw_os_error().map(Errno::from_raw_os_error);
        if matches!(number, Some(Errno::TOOBIG | Errno::NOMEM)) {
            return WatchError::Full { what: kind, refused: 1 };
        }
    }
    WatchError::Map { what: what(), source: std::io::Error::other(source) }
}

/// A mark that a program took away already is away.
fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
