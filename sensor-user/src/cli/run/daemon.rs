//! The loop: records in, alerts out, until a signal ends it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use aya::maps::{Array, MapData};
use sensor_common::limits::{CHILD_ENTRIES, WATCH_ENTRIES};
use sensor_common::record::{counter, kind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::approvals::Approvals;
use super::contents::Contents;
use super::files::Files;
use super::inventory::{Batch, Inventory};
use super::stream::Stream;
use super::watching::{Marks, Watching};
use super::{Args, LogLevels, filter, probe};
use crate::cli;
use crate::config::{self, Config};
use crate::detect::rules::RULES;
use crate::event::baseline::Baseline;
use crate::event::decode::DecodeError;
use crate::event::user::{Host, Loss};
use crate::incident::proving::Outcome;
use crate::metrics::health::Health;
use crate::metrics::server::{self, Bounds};
use crate::metrics::{Metrics, TableUse};
use crate::probe::fanotify::Overflow;
use crate::probe::hooks::Backend;
use crate::probe::load::Loaded;
use crate::probe::mark::{MapMarker, Mutes};
use crate::probe::watches::{self, WatchError};
use crate::sink::{Notice, Sinks};
use crate::source::live::{Drained, Ring};
use crate::source::snapshot::{self, User, boottime_ns};

/// Objects found in directories that appeared that are told before their contents are asked for.
const FOUND_AT_ONCE: usize = 64;
/// How often the ring is looked at without being woken: process records do not wake (see `emit.rs` of the programs).
const LOOK: Duration = Duration::from_millis(100);
/// How often figures are brought up to date and losses looked for.
const FIGURES: Duration = Duration::from_secs(1);
/// How long the loop may stand still before /livez says so.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// How long the journal is waited for at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How far the wall clock may be from where it was told to be before it is told anew.
const CLOCK_SLACK_NS: i64 = 1_000_000_000;

/// Runs until SIGTERM or SIGINT, or until the reader of standard output has gone.
///
/// # Errors
/// [`crate::probe::load::LoadError`] where no backend works; else what failed.
pub async fn run(args: &Args, config: Config, levels: &LogLevels) -> anyhow::Result<()> {
    let signals = Signals::new()?;
    let health = Arc::new(Health::new(LONGEST_SILENCE));
    let metrics = Arc::new(Metrics::new());
    metrics.declare_rules(RULES);
    if let Some(address) = config.metrics.address.0 {
        let listener = server::listen(address).await?;
        tracing::info!(%address, "serving /metrics, /livez and /readyz");
        tokio::spawn(server::serve(listener, Arc::clone(&metrics), Arc::clone(&health), Bounds::default()));
    }
    let sinks = cli::sinks(&config.output, &config.journal)?;
    let stream = Stream::new(&config, args.record.clone())?;
    let loaded = probe::choose(args, &config)?;
    let mut daemon = Daemon::new(config, loaded, stream, sinks, metrics, health)?;
    daemon.begin()?;
    daemon.follow(args, signals, levels).await
}

struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

struct Daemon {
    config: Config,
    loaded: Loaded,
    ring: Ring,
    files: Files,
    contents: Contents,
    inventory: Inventory,
    approvals: Approvals,
    /// A batch of the inventory's is to be confirmed once its alerts have left.
    told_inventory: bool,
    counters: Array<MapData, u64>,
    mutes: Mutes,
    /// Drops by kind that are told already.
    told: [u64; kind::KERNEL_KINDS as usize],
    told_at: u64,
    watching: Watching,
    users: Vec<User>,
    host: Host,
    stream: Stream,
    sinks: Sinks,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// What could not be watched at the last walk: said once.
    complaints: Vec<String>,
    /// Nobody reads standard output any more.
    closed: bool,
}

impl Daemon {
    fn new(
        config: Config,
        mut loaded: Loaded,
        stream: Stream,
        sinks: Sinks,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> anyhow::Result<Self> {
        let ring = Ring::new(loaded.take_ring()?).context("cannot wait for the ring buffer")?;
        let counters = loaded.take_counters()?;
        let mutes = Mutes::new(&mut loaded)?;
        let root = watches::host_root();
        let users = snapshot::users(root).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the user database: homes are not watched, users have no names");
            Vec::new()
        });
        let (files, marks) = match loaded.backend {
            Backend::Lsm | Backend::Fentry => {
                (Files::Ring, Marks::Maps(Box::new(MapMarker::new(&mut loaded)?)))
            }
            Backend::Fanotify => {
                let (files, marker) = Files::fanotify(root)?;
                (files, Marks::Fanotify(marker))
            }
        };
        let contents = Contents::new(root)?;
        let watching = Watching::new(marks, root, &config, &users);
        let host = snapshot::host(loaded.backend.name());
        let told = [0; kind::KERNEL_KINDS as usize];
        let told_at = boottime_ns();
        Ok(Self {
            config,
            loaded,
            ring,
            files,
            contents,
            inventory: Inventory::off(),
            approvals: Approvals::default(),
            told_inventory: false,
            counters,
            mutes,
            told,
            told_at,
            watching,
            users,
            host,
            stream,
            sinks,
            metrics,
            health,
            complaints: Vec::new(),
            closed: false,
        })
    }

    /// Tells what is there, sets the watches, and is ready.
    fn begin(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let processes = self.stream.tell_what_is_there(&self.host, self.watching.root(), &self.users)?;
        self.stream.tell(kind::BASELINE, &Baseline::Sensor { pid: std::process::id() });
        self.approvals.refresh(&self.config, &mut self.stream);
        self.walk()?;
        self.inventory = Inventory::new(&self.config, self.watching.root(), &self.host.boot_id);
        let (objects, names) = self.watching.entries();
        let backend = self.loaded.backend.name();
        self.metrics.set_backend(backend);
        for hook in &self.loaded.hooks {
            self.metrics.set_hook(hook.name, true);
        }
        self.sinks.notice(&Notice::Started { backend });
        self.health.set_missing(Vec::new());
        self.health.beat();
        crate::probe::support::return_memory();
        let elapsed = started.elapsed();
        tracing::info!(backend, processes, objects, names, ?elapsed, "watching");
        Ok(())
    }

    async fn follow(&mut self, args: &Args, mut signals: Signals, levels: &LogLevels) -> anyhow::Result<()> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut figures = tokio::time::interval(FIGURES);
        figures.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut more = false;
        while !self.closed {
            let walk_at = self.watching.due();
            tokio::select! {
                biased;
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.reload.recv() => self.reload(args, levels),
                _ = figures.tick() => self.bring_figures_up_to_date(),
                () = tokio::time::sleep_until(walk_at.into()) => self.walk()?,
                answered = self.contents.answer() => answered.tell(&mut self.stream),
                batch = self.inventory.told() => self.tell_inventory(&batch),
                // A flood must starve neither what stands above, nor the metrics server.
                () = tokio::task::yield_now(), if more => {}
                woken = self.files.woken() => woken.context("cannot wait for file events")?,
                woken = self.ring.woken() => woken.context("cannot wait for the ring buffer")?,
                _ = look.tick() => {}
            }
            more = self.take_what_waits()?;
            self.loaded.flush_log();
        }
        self.end()
    }

    /// Takes a batch from the ring, and from what else brings records; the alerts leave. Whether more is waiting.
    fn take_what_waits(&mut self) -> anyhow::Result<bool> {
        let (stream, watching, files) = (&mut self.stream, &mut self.watching, &mut self.files);
        let (config, users, mutes) = (&self.config, &self.users, &mut self.mutes);
        let drained = self.ring.drain(|record| {
            stream.take(record);
            // Not after the batch: meanwhile the ring would fill with what nobody needs.
            for (connection, mute) in stream.mutes() {
                if let Err(error) = mutes.mute(connection, mute) {
                    tracing::debug!(connection, %error, "an upload goes on being shown");
                }
            }
            watching.observe(record, config, users);
            files.observe(record);
            stream.room()
        });
        let taken = files.read(|record| {
            stream.take(record);
            watching.observe(record, config, users);
        })?;
        if let Some(overflow) = taken.overflow {
            self.tell_overflow(overflow);
        }
        self.contents.exchange(&mut self.stream);
        let follows: Vec<_> = self.stream.follows().collect();
        if !follows.is_empty() {
            self.watching.follow(follows, &self.config, &self.users);
        }
        self.stream.tick();
        self.send();
        if std::mem::take(&mut self.told_inventory) {
            self.inventory.confirm();
        }
        self.health.beat();
        if self.watching.users_changed() {
            self.reread_users();
        }
        Ok(drained == Drained::More || taken.more)
    }

    /// fanotify's queue was full: what is new or changed was told as found; what came and went is lost.
    fn tell_overflow(&mut self, overflow: Overflow) {
        tracing::warn!(
            found = overflow.found,
            "file events were lost; everything watched was looked through"
        );
        let since_boottime_ns = overflow.since_boottime_ns;
        // The kernel tells that events were dropped, not how many.
        let loss = Loss { kind: kind::FILE_CLOSE_WRITE, dropped: 1, at_least: true, since_boottime_ns };
        self.stream.tell(kind::LOSS, &loss);
        self.watching.look_again();
        self.compare_since(since_boottime_ns);
    }

    /// What starts by itself is compared with the inventory, since records of files were lost.
    fn compare_since(&mut self, boottime_ns: u64) {
        self.inventory.lost(boottime_ns.cast_signed().saturating_add(self.host.realtime_offset_ns));
    }

    /// What the inventory found enters the stream.
    fn tell_inventory(&mut self, batch: &Batch) {
        for (number, record) in batch.records.iter().enumerate() {
            self.stream.tell(kind::BASELINE, record);
            // Each may become an alert.
            if number % FOUND_AT_ONCE == FOUND_AT_ONCE - 1 {
                self.send();
            }
        }
        self.metrics.set_inventory(&batch.figures.into());
        self.told_inventory = true;
    }

    /// Hands alerts to the sinks.
    fn send(&mut self) {
        for alert in self.stream.alerts() {
            let latency = Duration::from_nanos(boottime_ns().saturating_sub(alert.boottime_ns));
            self.metrics.count_alert(&alert, latency);
            self.inventory.note(&alert);
            if let Err(error) = self.sinks.write(&alert) {
                tracing::info!("{error}; ending");
                self.closed = true;
            }
        }
        self.sinks.retry(Instant::now());
    }

    /// Walks the watched paths where that is due.
    fn walk(&mut self) -> anyhow::Result<()> {
        let Some((changes, seeded)) = self.watching.walk(Instant::now())? else { return Ok(()) };
        for watch in &changes.watches {
            self.stream.tell(kind::WATCH, watch);
        }
        Contents::tell_links(&changes, &mut self.stream);
        self.contents.tell_baseline(&changes, &mut self.stream);
        for (number, found) in changes.found.iter().enumerate() {
            self.stream.tell(kind::FILE_FOUND, found);
            // Of hundreds at once each is to be read; the pipeline holds only so many wants.
            if number % FOUND_AT_ONCE == FOUND_AT_ONCE - 1 {
                self.contents.exchange(&mut self.stream);
            }
        }
        self.metrics.set_unwatched(changes.errors.iter().map(WatchError::refused).sum());
        let complaints: Vec<String> =
            changes.errors.iter().chain(&seeded.errors).map(ToString::to_string).collect();
        for complaint in complaints.iter().filter(|complaint| !self.complaints.contains(complaint)) {
            tracing::warn!("{complaint}");
        }
        self.complaints = complaints;
        Ok(())
    }

    fn reread_users(&mut self) {
        match snapshot::users(self.watching.root()) {
            Ok(users) => {
                self.stream.tell(kind::USERS, &snapshot::known(&users));
                self.users = users;
            }
            Err(error) => tracing::warn!(%error, "cannot read the user database again"),
        }
        self.watching.reconfigure(&self.config, &self.users);
    }

    /// Reads the configuration again. One that is not valid changes nothing.
    fn reload(&mut self, args: &Args, levels: &LogLevels) {
        match config::load::load(&args.sources()) {
            Ok(loaded) => {
                let new = loaded.config;
                if (&new.output, new.backend, &new.journal, &new.metrics, &new.limits)
                    != (
                        &self.config.output,
                        self.config.backend,
                        &self.config.journal,
                        &self.config.metrics,
                        &self.config.limits,
                    )
                {
                    tracing::warn!(
                        "outputs, backend, journal, metrics and limits change with the next start only"
                    );
                }
                if let Err(error) = levels.reload(filter(new.log_level)) {
                    tracing::warn!(%error, "the log level stays");
                }
                self.config.watch = new.watch;
                self.config.approvals = new.approvals;
                self.config.exception = new.exception;
                self.approvals = Approvals::default();
                self.config.log_level = new.log_level;
                self.watching.reconfigure(&self.config, &self.users);
                tracing::info!("configuration read again");
            }
            Err(error) => tracing::error!("the configuration stays as it was: {error}"),
        }
    }

    /// Tells drops since the last time, and the wall clock where it was set.
    fn tell_losses(&mut self) {
        let now = boottime_ns();
        for number in 0..kind::KERNEL_KINDS {
            let dropped = self.counters.get(&u32::from(number), 0).unwrap_or(0);
            let told = &mut self.told[usize::from(number)];
            let new = dropped.saturating_sub(*told);
            if new == 0 {
                continue;
            }
            *told = dropped;
            let loss = Loss { kind: number, dropped: new, at_least: false, since_boottime_ns: self.told_at };
            self.stream.tell(kind::LOSS, &loss);
            if number <= kind::UMOUNT {
                self.compare_since(self.told_at);
            }
            tracing::warn!(kind = kind::name(number), dropped = new, "records were lost");
        }
        self.told_at = now;
        let host = snapshot::host(self.loaded.backend.name());
        if (host.realtime_offset_ns - self.host.realtime_offset_ns).abs() > CLOCK_SLACK_NS {
            tracing::info!("the wall clock was set");
            self.host = host;
            self.stream.tell(kind::HOST, &self.host);
        }
    }

    fn bring_figures_up_to_date(&mut self) {
        self.tell_losses();
        self.approvals.refresh(&self.config, &mut self.stream);
        self.inventory.catch_up();
        let stats = self.stream.pipeline().stats();
        let received: Vec<(&str, u64)> = stats.received().collect();
        for number in 0..kind::KERNEL_KINDS {
            let Some(name) = kind::name(number) else { continue };
            let count = received.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
            self.metrics.set_records(number, count, self.told[usize::from(number)]);
        }
        for (reason, total) in DecodeError::REASONS.iter().zip(stats.decode_errors) {
            self.metrics.set_decode_errors(reason, total);
        }
        self.metrics.set_approvals_matched(self.stream.pipeline().approvals_matched());
        self.metrics.set_contents_refused(self.contents.refused());
        let streams = stats.streams;
        self.metrics.set_stream_faults(&[
            ("lost", streams.lost),
            ("cut", streams.cut),
            ("evicted", streams.evicted),
            ("unmatched", streams.unmatched),
        ]);
        self.metrics.set_proofs(Outcome::ALL.map(Outcome::name).into_iter().zip(stats.proofs));
        let lost = |index| self.counters.get(&index, 0).unwrap_or(0);
        self.metrics.set_watch_limits_hit(lost(counter::WALK_CUT), lost(counter::WATCH_FULL));
        for (hook, misses) in self.loaded.recursion_misses() {
            self.metrics.set_recursion_misses(hook, misses);
        }
        for (rule, total) in RULES.iter().zip(stats.findings) {
            self.metrics.set_findings(rule, total);
        }
        for table in &stats.tables {
            let now = TableUse {
                entries: table.entries,
                capacity: table.capacity,
                evictions: table.evicted,
                bytes: table.bytes,
            };
            self.metrics.set_table(table.name, now);
        }
        let (watches, names) = self.watching.entries();
        for (table, entries, capacity) in
            [("kernel_watches", watches, WATCH_ENTRIES), ("kernel_names", names, CHILD_ENTRIES)]
        {
            self.metrics.set_table(table, TableUse { entries, capacity, ..TableUse::default() });
        }
        self.metrics.set_ring_buffer(self.config.limits.ring_buffer_bytes as usize, 0);
        for (sink, status) in self.sinks.status() {
            self.metrics.set_sink(sink, &status);
        }
        self.stream.flush();
    }

    /// Brings out everything that was seen.
    fn end(&mut self) -> anyhow::Result<()> {
        tracing::info!("ending");
        self.health.set_missing(vec!["ending".to_owned()]);
        while self.take_what_waits()? {}
        self.tell_losses();
        self.stream.drain();
        self.send();
        self.inventory.end();
        self.bring_figures_up_to_date();
        let lost = self.sinks.drain(Instant::now() + LAST_WORDS);
        anyhow::ensure!(lost == 0, "{lost} alerts could not be delivered before the end");
        Ok(())
    }
}
