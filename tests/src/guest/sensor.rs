//! The sensor under test: programs loaded and attached through the library, the ring read to its end on demand.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, MapData, RingBuf};
use sensor_common::record::counter;
use sensor_user::event::user::{FileFound, WatchClass};
use sensor_user::probe::hooks::Backend;
use sensor_user::probe::load::{self, Loaded, Options};
use sensor_user::probe::mark::{MapMarker, Mutes};
use sensor_user::probe::watches::{Spec, WatchSet, host_root};

/// Where the harness puts an object to test in the committed one's stead.
pub const OTHER_OBJECT: &str = "/svcsensor.bpf.o";

/// Programs in place, with their maps.
pub struct Sensor {
    /// Keeps the programs attached.
    pub loaded: Loaded,
    ring: RingBuf<MapData>,
    counters: Array<MapData, u64>,
    /// What the programs need not show.
    pub mutes: Mutes,
    /// The watches.
    pub watches: WatchSet<MapMarker>,
    /// Their paths by number.
    pub names: HashMap<u32, String>,
}

impl Sensor {
    /// Loads `backend` and watches `paths`.
    ///
    /// # Errors
    /// Where the kernel refuses a program, or a path that is there cannot be watched.
    pub fn start(backend: Backend, paths: &[String], ring_bytes: Option<u32>) -> Result<Self> {
        let object = Path::new(OTHER_OBJECT).exists().then(|| PathBuf::from(OTHER_OBJECT));
        let mut options = Options { object, ..Options::default() };
        if let Some(bytes) = ring_bytes {
            options.ring_bytes = bytes;
        }
        let mut loaded = load::load(backend, &options)?;
        let ring = loaded.take_ring()?;
        let counters = loaded.take_counters()?;
        let mutes = Mutes::new(&mut loaded)?;
        let marker = MapMarker::new(&mut loaded)?;
        let class = |path: &String| {
            let socket = super::ipc::PATHS.contains(&path.as_str());
            if socket { WatchClass::BusSocket } else { WatchClass::SystemUnit }
        };
        let specs = paths
            .iter()
            .map(|path| Spec { path: path.clone(), class: Some(class(path)), owner: None })
            .collect();
        let watches = WatchSet::new(marker, host_root(), specs);
        let mut sensor = Self { loaded, ring, counters, mutes, watches, names: HashMap::new() };
        let found = sensor.resolve()?;
        ensure!(found.is_empty(), "the first walk calls what was there before a change: {found:?}");
        Ok(sensor)
    }

    /// Walks the paths again, and returns what was found in directories that are new.
    ///
    /// # Errors
    /// Where anything cannot be watched.
    pub fn resolve(&mut self) -> Result<Vec<FileFound>> {
        let changes = self.watches.resolve()?;
        if let Some(error) = changes.errors.into_iter().next() {
            return Err(error).context("a path cannot be watched");
        }
        self.names.extend(changes.watches.into_iter().map(|watch| (watch.watch, watch.path)));
        Ok(changes.found)
    }

    /// Takes every record that is in the ring and gives it to `each`.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        while let Some(record) = self.ring.next() {
            each(&record);
        }
    }

    /// What a counter stands at ([`sensor_common::record::counter`], or a kind).
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn counter(&self, index: u32) -> Result<u64> {
        self.counters.get(&index, 0).with_context(|| format!("counter {index}"))
    }

    /// All counters that are not 0.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn losses(&self) -> Result<Vec<(u32, u64)>> {
        let all: Result<Vec<_>> =
            (0..counter::LENGTH).map(|index| Ok((index, self.counter(index)?))).collect();
        Ok(all?.into_iter().filter(|(_, count)| *count > 0).collect())
    }
}
