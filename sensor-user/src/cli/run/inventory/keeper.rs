//! The thread that keeps the inventory.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;

use super::{Batch, Figures, Order, Setting, Touched};
use crate::event::baseline::{Baseline, Because};
use crate::probe::support::return_memory;
use crate::proof::inventory::store::{Change, Found, Store, StoreError, Tampering, Window};
use crate::proof::inventory::survey::{Survey, survey};
use crate::proof::inventory::tell::{Comparison, compare, kind_name};
use crate::proof::package::Packages;
use crate::source::content::Root;
use crate::source::snapshot::realtime_ns;

/// How often the store hears that the sensor lives: a crash is known to no less.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// How often it is looked for writes of others.
const GUARD: Duration = Duration::from_secs(10);
/// After a touch it is waited for more of them.
const SETTLE: Duration = Duration::from_secs(3);
/// After a loss it is waited for less.
const SOON: Duration = Duration::from_millis(500);
/// A look may take one part in so many of the time.
const SHARE: u32 = 50;
/// The shortest time between two looks.
const APART: Duration = Duration::from_secs(30);
/// How long to wait before a store that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// Touched things that are remembered by name.
const TOUCHED_MAX: usize = 1024;

pub(super) struct Keeper {
    setting: Setting,
    told: Sender<Batch>,
    orders: Receiver<Order>,
    store: Option<Store>,
    window: Option<Window>,
    /// The comparison at the start was told and written.
    compared: bool,
    /// A look whose differences were told, and are not written yet.
    written_when_told: Option<(Survey, Comparison)>,
    /// Batches that were sent.
    sent: u64,
    /// The store was found edited; once that was told it is taken as it is.
    edited: bool,
    touched: Touched,
    /// More was touched than is remembered.
    much: bool,
    /// Records were lost since then.
    lost_since: Option<i64>,
    next_look: Option<Instant>,
    last_look: Option<(Instant, Duration)>,
    heartbeat: Instant,
    retry: Instant,
    figures: Figures,
    /// What could not be done, said once.
    complaint: Option<String>,
}

impl Keeper {
    pub(super) fn new(setting: Setting, told: Sender<Batch>, orders: Receiver<Order>) -> Self {
        let now = Instant::now();
        Self {
            setting,
            told,
            orders,
            store: None,
            window: None,
            compared: false,
            written_when_told: None,
            sent: 0,
            edited: false,
            touched: Touched::new(),
            much: false,
            lost_since: None,
            next_look: Some(now),
            last_look: None,
            heartbeat: now + HEARTBEAT,
            retry: now,
            figures: Figures::default(),
            complaint: None,
        }
    }

    /// Until the loop has ended.
    pub(super) fn run(mut self) {
        loop {
            if let Err(error) = self.work() {
                self.complain(&error);
            }
            let now = Instant::now();
            let due = if self.store.is_none() {
                self.retry
            } else {
                let look = self.next_look.filter(|_| self.written_when_told.is_none());
                look.unwrap_or(now + GUARD).min(now + GUARD)
            };
            match self.orders.recv_timeout(due.saturating_duration_since(now)) {
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(order) => {
                    if let Err(error) = self.take(order) {
                        self.complain(&error);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        if let Some(mut store) = self.store.take() {
            if let Err(error) = store.end_session(realtime_ns()) {
                tracing::warn!("{error}");
            }
        }
    }

    fn take(&mut self, order: Order) -> Result<(), StoreError> {
        match order {
            Order::Touched { path, by } => {
                if self.touched.len() < TOUCHED_MAX || self.touched.contains_key(&path) {
                    self.touched.insert(path, by);
                } else {
                    self.much = true;
                }
                self.look_in(SETTLE);
            }
            Order::TouchedMuch => {
                self.much = true;
                self.look_in(SETTLE);
            }
            Order::Lost { since_ns } => {
                self.lost_since = Some(self.lost_since.map_or(since_ns, |before| before.min(since_ns)));
                self.look_in(SOON);
            }
            Order::Told(ticket) if ticket == self.sent => self.write()?,
            Order::Told(_) | Order::End => {}
        }
        Ok(())
    }

    fn look_in(&mut self, wait: Duration) {
        let now = Instant::now();
        let earliest = self.last_look.map_or(now, |(at, took)| at + (took * SHARE).max(APART));
        let due = (now + wait).max(earliest);
        self.next_look = Some(self.next_look.map_or(due, |planned| planned.min(due)));
    }

    fn work(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        if self.store.is_none() {
            if self.retry > now {
                return Ok(());
            }
            self.retry = now + AGAIN;
            self.open()?;
        }
        self.guard()?;
        if let Some(store) = self.store.as_mut().filter(|_| self.heartbeat <= now) {
            self.heartbeat = now + HEARTBEAT;
            store.heartbeat(realtime_ns())?;
        }
        if self.written_when_told.is_none() && self.next_look.is_some_and(|due| due <= now) {
            self.next_look = None;
            self.look()?;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), StoreError> {
        let now = realtime_ns();
        let (mut store, found) = Store::open(&self.setting.directory, now)?;
        let mut records = Vec::new();
        match found {
            Found::SetAside { to, why } => {
                tracing::error!(to = %to.display(), %why, "the inventory was damaged: it is begun anew");
                records.push(Baseline::Damaged { why, to: to.display().to_string() });
            }
            Found::Nothing => tracing::info!("there is no inventory: what is there now is the baseline"),
            Found::Known => {
                for edit in store.verify()? {
                    tracing::error!("the inventory was edited: {}", edit.describe());
                    records.push(Baseline::Tampered { how: edit.describe().to_owned() });
                    self.edited = true;
                }
            }
        }
        let window = store.begin_session(&self.setting.boot_id, now)?;
        if self.compared {
            // The sensor watched while it had no store.
            store.compared(now)?;
        } else {
            self.window = window;
        }
        if let Some(window) = self.window.filter(|_| !self.compared) {
            let blind = (window.until_ns - window.since_ns) / 1_000_000_000;
            self.figures.blind_seconds = u64::try_from(blind).unwrap_or_default();
        }
        self.complaint = None;
        self.store = Some(store);
        self.tell(records);
        self.next_look = Some(Instant::now());
        Ok(())
    }

    /// Looks for writes of others.
    fn guard(&mut self) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        if store.was_written_by_others()? {
            tracing::error!("the inventory: {}", Tampering::Running.describe());
            let mut records = vec![Baseline::Tampered { how: Tampering::Running.describe().to_owned() }];
            for edit in store.verify()? {
                records.push(Baseline::Tampered { how: edit.describe().to_owned() });
            }
            store.accept()?;
            self.tell(records);
        }
        Ok(())
    }

    /// Surveys everything, and tells what differs and was not told by an alert.
    fn look(&mut self) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let began = Instant::now();
        let root = match Root::open(self.setting.root) {
            Ok(root) => Arc::new(root),
            Err(error) => {
                return Err(StoreError::Unavailable { why: format!("{}: {error}", self.setting.root) });
            }
        };
        let mut packages = Packages::open(Arc::clone(&root));
        let paths = self.setting.paths.iter().map(|(path, class)| (path.as_str(), *class));
        let mut found = survey(&root, &mut packages, paths, &mut |_step| {});
        drop(packages);
        // What generators and clients make of it is put together again when it is compared; only the files count here.
        found.units = Vec::new();
        return_memory();
        let until_ns = realtime_ns();
        let because = match (self.compared, &self.window, self.lost_since) {
            (false, Some(window), _) => Because::Away {
                since_ns: window.since_ns,
                until_ns: window.until_ns,
                clean: window.clean,
                rebooted: window.rebooted,
            },
            (true, _, Some(since_ns)) => Because::Loss { since_ns, until_ns },
            // Alerts have told of it; or it was never done.
            (true, _, None) | (false, None, _) => Because::First,
        };
        let quiet = self.compared && self.lost_since.is_none();
        let rebooted = matches!(because, Because::Away { rebooted: true, .. });
        let mut comparison = compare(store, &found, &because, |difference| {
            // What lies below /run is gone with a boot.
            let gone = rebooted
                && difference.change == Change::Removed
                && difference.entry.path.starts_with(b"/run/");
            !quiet && !gone && !self.touched.contains_key(&difference.entry.path)
        })?;
        if quiet {
            comparison.records.clear();
        }
        self.lost_since = None;
        let took = began.elapsed();
        self.last_look = Some((Instant::now(), took));
        self.figures.entries = found.entries.len() as u64;
        self.figures.unproved = comparison.unproved;
        tracing::info!(
            entries = found.entries.len(),
            unproved = comparison.unproved,
            differences = comparison.differences.len(),
            ?took,
            "looked through what starts by itself"
        );
        for difference in &comparison.differences {
            tracing::debug!(kind = kind_name(difference.entry.kind), name = difference.entry.name, change = ?difference.change, "differs");
        }
        let records = std::mem::take(&mut comparison.records);
        let waits = !records.is_empty();
        // What was odd is told; until the batch has left, only what will be written is kept.
        found.parts.clear();
        found.remarks = Vec::new();
        self.written_when_told = Some((found, comparison));
        return_memory();
        if waits {
            self.tell(records);
            Ok(())
        } else {
            self.write()
        }
    }

    /// Has the store say what was found.
    fn write(&mut self) -> Result<(), StoreError> {
        let (Some(store), Some((found, comparison))) = (&mut self.store, self.written_when_told.take())
        else {
            return Ok(());
        };
        let now = realtime_ns();
        let touched = std::mem::take(&mut self.touched);
        let written = store.update(
            &found.entries,
            &comparison.differences,
            |difference| touched.get(&difference.entry.path).cloned(),
            now,
        );
        drop((found, comparison));
        return_memory();
        written?;
        if std::mem::take(&mut self.edited) {
            store.accept()?;
        }
        if !self.compared {
            self.compared = true;
            store.compared(now)?;
        }
        let seal = store.seal()?;
        tracing::info!(%seal, "the inventory is written");
        if std::mem::take(&mut self.much) {
            self.look_in(SETTLE);
        }
        Ok(())
    }

    fn tell(&mut self, records: Vec<Baseline>) {
        self.sent += 1;
        let batch = Batch { ticket: self.sent, records, figures: self.figures };
        // An error means that the loop has ended; the orders say so next.
        let _ended = self.told.blocking_send(batch);
    }

    fn complain(&mut self, error: &StoreError) {
        let why = error.to_string();
        self.store = None;
        self.written_when_told = None;
        self.retry = Instant::now() + AGAIN;
        if matches!(error, StoreError::Damaged { .. }) {
            // Opening sets it aside.
            self.retry = Instant::now();
        }
        if self.complaint.as_ref() != Some(&why) {
            tracing::error!("{why}");
            self.complaint = Some(why.clone());
            self.tell(vec![Baseline::Unavailable { why }]);
        }
    }
}
