//! The inventory beside the loop: a thread looks, compares, and writes; the loop hears of it as records.
//!
//! What differs is told first, and written once it was told: what is cut off in between is told again at the next start.

mod keeper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

use self::keeper::Keeper;
use crate::config::{Config, WatchPath};
use crate::event::baseline::Baseline;
use crate::event::user::WatchClass;
use crate::incident::alert::Alert;
use crate::metrics::InventoryUse;
use crate::proof::inventory::store::By;

/// Orders that wait for the thread; what finds no room has everything looked at.
const ORDERS_MAX: usize = 256;
/// The thread's stack: a survey goes down into directories.
const STACK: usize = 1 << 20;
/// How long the thread is waited for at the end.
const LAST_LOOK: Duration = Duration::from_secs(2);
/// Bytes of a command line that are kept as an entry's changer.
const COMMAND_MAX: usize = 512;

/// What the loop tells the thread.
enum Order {
    /// An alert was raised about this file, unit or container.
    Touched { path: Vec<u8>, by: By },
    /// More was touched than there was room for.
    TouchedMuch,
    /// Records of files were lost, not before this time (nanoseconds since 1970).
    Lost { since_ns: i64 },
    /// What was told has left, up to this batch.
    Told(u64),
    /// The end.
    End,
}

/// What the thread tells the loop.
pub struct Batch {
    /// Its number; they ascend.
    ticket: u64,
    /// For the stream, in this order.
    pub records: Vec<Baseline>,
    /// For the metrics.
    pub figures: Figures,
}

/// Figures of the inventory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Entries.
    pub entries: u64,
    /// Those that no package explains.
    pub unproved: u64,
    /// Seconds for which nobody watched before this start.
    pub blind_seconds: u64,
}

/// The loop's end.
pub struct Inventory {
    orders: Option<SyncSender<Order>>,
    told: mpsc::Receiver<Batch>,
    ended: Receiver<()>,
    /// Alerts found no room.
    missed: bool,
    /// The last batch that was taken.
    taken: u64,
    /// The batch whose confirmation found no room.
    unconfirmed: Option<u64>,
    /// The loss that found no room.
    unheard: Option<i64>,
}

/// What the thread needs to know.
struct Setting {
    directory: PathBuf,
    root: &'static str,
    boot_id: String,
    paths: Vec<(String, WatchClass)>,
}

impl Inventory {
    /// Starts the thread; it begins to look at once.
    pub fn new(config: &Config, root: &'static str, boot_id: &str) -> Self {
        let (sender, told) = mpsc::channel(2);
        let (orders, taken) = sync_channel(ORDERS_MAX);
        let (last, ended) = sync_channel(1);
        if !config.inventory.enabled {
            return Self::of(None, told, ended);
        }
        let paths = config.watch.effective().into_iter();
        let paths = paths.filter(|path| is_kept(path, &config.inventory.directory));
        let paths = paths.map(|path| (path.path.clone(), path.class)).collect();
        let setting = Setting {
            directory: config.inventory.directory.clone(),
            root,
            boot_id: boot_id.to_owned(),
            paths,
        };
        let run = move || {
            Keeper::new(setting, sender, taken).run();
            let _the_loop_has_gone = last.send(());
        };
        let started = std::thread::Builder::new().name("svcsensor-keep".into()).stack_size(STACK).spawn(run);
        let orders = match started {
            Ok(_thread) => Some(orders),
            Err(error) => {
                tracing::error!(%error, "cannot start the inventory's thread: what changes unwatched is not noticed");
                None
            }
        };
        Self::of(orders, told, ended)
    }

    /// None yet: it is begun once the watches are set, so that nothing falls between.
    pub fn off() -> Self {
        Self::of(None, mpsc::channel(1).1, sync_channel(1).1)
    }

    fn of(orders: Option<SyncSender<Order>>, told: mpsc::Receiver<Batch>, ended: Receiver<()>) -> Self {
        Self { orders, told, ended, missed: false, taken: 0, unconfirmed: None, unheard: None }
    }

    /// The next batch; waits for it.
    pub async fn told(&mut self) -> Batch {
        match self.told.recv().await {
            Some(batch) => {
                self.taken = batch.ticket;
                batch
            }
            None => std::future::pending().await,
        }
    }

    /// Says that a batch has left.
    pub fn confirm(&mut self) {
        self.order(Order::Told(self.taken));
    }

    /// Says again what found no room.
    pub fn catch_up(&mut self) {
        if let Some(ticket) = self.unconfirmed.take() {
            self.order(Order::Told(ticket));
        }
        if let Some(since_ns) = self.unheard.take() {
            self.order(Order::Lost { since_ns });
        }
        if std::mem::take(&mut self.missed) {
            self.order(Order::TouchedMuch);
        }
    }

    /// Takes note of an alert: what it is about is looked at again.
    pub fn note(&mut self, alert: &Alert) {
        let path = match (&alert.file, &alert.container_service) {
            (Some(file), _) => file.path.clone(),
            (None, Some(_)) => String::new(),
            (None, None) => return,
        };
        if self.orders.is_none() || alert.actions.iter().any(|action| action.starts_with("inventory")) {
            return;
        }
        self.order(Order::Touched { path: path.into_bytes(), by: by(alert) });
    }

    /// Records of files were lost, not before this time (nanoseconds since 1970).
    pub fn lost(&mut self, since_ns: i64) {
        self.order(Order::Lost { since_ns });
    }

    /// Ends the thread, and waits a moment for it.
    pub fn end(&mut self) {
        self.order(Order::End);
        if self.orders.take().is_some() && self.ended.recv_timeout(LAST_LOOK).is_err() {
            tracing::warn!("the inventory's thread is still busy: the next start takes this for a crash");
        }
    }

    /// Never waits: a thread that is held up by a disk must not hold the loop up.
    fn order(&mut self, order: Order) {
        let Some(orders) = &self.orders else { return };
        match orders.try_send(order) {
            Ok(()) => {}
            Err(TrySendError::Full(Order::Told(ticket))) => self.unconfirmed = Some(ticket),
            Err(TrySendError::Full(Order::Lost { since_ns })) => {
                self.unheard = Some(self.unheard.map_or(since_ns, |before| before.min(since_ns)));
            }
            Err(TrySendError::Full(_)) => self.missed = true,
            Err(TrySendError::Disconnected(_)) => self.orders = None,
        }
    }
}

/// Whether what lies there is part of the inventory: not what service managers make anew at each reload or session, and
/// not the inventory itself.
fn is_kept(path: &WatchPath, state: &Path) -> bool {
    let made_anew = matches!(path.class, WatchClass::GeneratorOutput | WatchClass::TransientUnit);
    !made_anew && !path.class.is_socket() && !Path::new(&path.path).starts_with(state)
}

fn by(alert: &Alert) -> By {
    let actor = &alert.actor;
    // What a service manager did, its client had it do.
    let process =
        actor.on_behalf_of.as_ref().and_then(|client| client.processes.first()).unwrap_or(&actor.process);
    let mut command = process.args.join(" ");
    if command.len() > COMMAND_MAX {
        let end = (0..=COMMAND_MAX).rev().find(|at| command.is_char_boundary(*at)).unwrap_or_default();
        command.truncate(end);
    }
    let user =
        |user: &crate::lineage::actor::User| user.name.clone().unwrap_or_else(|| format!("uid {}", user.id));
    let login = actor.login_user.as_ref().map(|login| format!(", login {}", user(login))).unwrap_or_default();
    By {
        process: format!("{} (pid {}): {command}", process.name, process.pid),
        user: format!("{}{login}", user(&process.user)),
        alert: alert.id.clone(),
    }
}

impl From<Figures> for InventoryUse {
    fn from(figures: Figures) -> Self {
        let Figures { entries, unproved, blind_seconds } = figures;
        Self { entries, unproved, blind_seconds }
    }
}

/// What was touched since the last look, and who did it.
type Touched = BTreeMap<Vec<u8>, By>;

#[cfg(test)]
mod tests;
