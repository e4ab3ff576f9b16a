//! Which packages dpkg has, read again as far as something changed.

use std::collections::HashMap;

use rustix::time::{ClockId, clock_gettime};

use super::status::{Record, Stanzas, State, stanzas};
use crate::source::content::Root;
use crate::source::object::{Stamp, nanoseconds};

pub(super) const STATUS: &[u8] = b"/var/lib/dpkg/status";
const UPDATES: &[u8] = b"/var/lib/dpkg/updates";
/// Bytes of `status` at most; 3,000 packages have 5 MiB.
const STATUS_MAX: u64 = 64 << 20;
/// Bytes of one entry of the journal: a stanza.
const UPDATE_MAX: u64 = 1 << 20;
/// Names in `updates`; dpkg begins anew at 250 (lib/dpkg/dbmodify.c, `MAXUPDATES`).
const UPDATES_MAX: usize = 2000;
/// Packages, at most.
const PACKAGES_MAX: usize = 1 << 16;
/// Two changes of a directory in this time may have one time stamp: a timer's tick, 10 ms at most.
const TICK_NS: i64 = 20_000_000;

/// A package that dpkg has, or had.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) record: Record,
    /// What of its list is in the index.
    pub(super) list: Option<Stamp>,
    pub(super) slot: Option<u32>,
}

/// What `status` and `updates/` say.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) known: Vec<Known>,
    by_name: HashMap<(String, String), usize>,
    status: Option<Stamp>,
    directory: Option<Stamp>,
    updates: Vec<(Vec<u8>, Stamp)>,
    /// What could not be read.
    pub(super) problems: Vec<String>,
}

/// What a look at the books brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Numbers of packages that are not as they were.
    pub(super) changed: Vec<usize>,
    /// All was read.
    pub(super) whole: bool,
}

impl Books {
    /// Whether there are any.
    pub(super) fn is_there(&self) -> bool {
        self.status.is_some()
    }

    /// Reads what changed.
    pub(super) fn refresh(&mut self, root: &Root) -> News {
        let status = root.stamp(STATUS);
        let directory = root.stamp(UPDATES);
        if status == self.status && directory == self.directory && !directory.is_some_and(is_fresh) {
            return News::default();
        }
        let mut news = News::default();
        let mut grown = None;
        if status == self.status && status.is_some() {
            grown = self.grown(root);
        }
        if let Some(new) = grown {
            self.directory = directory;
            for (name, stamp) in new {
                if let Some(text) = self.read(root, &path(&name), UPDATE_MAX) {
                    self.enter(stanzas(&text.0, PACKAGES_MAX), &mut news);
                    self.updates.push((name, stamp));
                }
            }
            return news;
        }
        self.read_all(root)
    }

    /// Entries of the journal that came since, in their order; `None` if that is not all that happened.
    fn grown(&self, root: &Root) -> Option<Vec<(Vec<u8>, Stamp)>> {
        let now = journal(root).ok()?;
        let rest = now.get(self.updates.len()..)?;
        (now[..self.updates.len()] == self.updates[..]).then(|| rest.to_vec())
    }

    /// dpkg writes a new `status` before it empties the journal: what was read is consistent if `status` did not change.
    fn read_all(&mut self, root: &Root) -> News {
        const TRIES: usize = 3;
        let mut news = News { whole: true, ..News::default() };
        for _try in 0..TRIES {
            self.problems.clear();
            self.directory = root.stamp(UPDATES);
            self.status = root.stamp(STATUS);
            let mut all = match self.status {
                Some(_) => match self.read(root, STATUS, STATUS_MAX) {
                    Some((text, stamp)) => {
                        self.status = Some(stamp);
                        stanzas(&text, PACKAGES_MAX)
                    }
                    None => return news,
                },
                None => Stanzas::default(),
            };
            self.updates = journal(root).unwrap_or_else(|error| {
                self.problems.push(format!("/var/lib/dpkg/updates: {error}"));
                Vec::new()
            });
            for at in 0..self.updates.len() {
                let path = path(&self.updates[at].0);
                if let Some((text, _)) = self.read(root, &path, UPDATE_MAX) {
                    let more = stanzas(&text, PACKAGES_MAX);
                    all.records.extend(more.records);
                    all.refused += more.refused;
                }
            }
            if root.stamp(STATUS) == self.status {
                self.forget_absent(&all, &mut news);
                self.enter(all, &mut news);
                return news;
            }
        }
        // It changes faster than it is read. What was read last time counts until then.
        self.status = None;
        self.problems.push("/var/lib/dpkg/status: it changed again and again while it was read".to_owned());
        news
    }

    fn read(&mut self, root: &Root, path: &[u8], most: u64) -> Option<(Vec<u8>, Stamp)> {
        let read = root.bytes(path, most);
        read.map_err(|error| self.problems.push(format!("{}: {error}", String::from_utf8_lossy(path)))).ok()
    }

    fn forget_absent(&mut self, all: &Stanzas, news: &mut News) {
        let mut present = vec![false; self.known.len()];
        for record in &all.records {
            if let Some(at) = self.by_name.get(&key(record)) {
                present[*at] = true;
            }
        }
        for (at, known) in self.known.iter_mut().enumerate() {
            if !present[at] && known.record.state != State::NotInstalled {
                known.record.state = State::NotInstalled;
                news.changed.push(at);
            }
        }
    }

    /// Later stanzas of a package replace earlier ones.
    fn enter(&mut self, stanzas: Stanzas, news: &mut News) {
        if stanzas.refused > 0 {
            self.problems
                .push(format!("/var/lib/dpkg/status: {} stanzas without a sound name", stanzas.refused));
        }
        for record in stanzas.records {
            let next = self.known.len();
            let at = *self.by_name.entry(key(&record)).or_insert(next);
            if at == next {
                self.known.push(Known::default());
            }
            let known = &mut self.known[at];
            if known.record != record {
                if known.record.conffiles != record.conffiles {
                    // They are in the index too.
                    known.slot = None;
                }
                known.record = record;
                news.changed.push(at);
            }
        }
        news.changed.sort_unstable();
        news.changed.dedup();
    }

    /// A package by its name, and architecture if that is told.
    pub(super) fn find(&self, name: &str, architecture: Option<&str>) -> Option<&Known> {
        let mut named = self.known.iter().filter(|known| known.record.state != State::NotInstalled);
        named.find(|known| {
            known.record.name == name && architecture.is_none_or(|wanted| known.record.architecture == wanted)
        })
    }
}

fn key(record: &Record) -> (String, String) {
    (record.name.clone(), record.architecture.clone())
}

fn path(name: &[u8]) -> Vec<u8> {
    [UPDATES, name].join(&b'/')
}

/// Entries of the journal: names of digits alone, in their order (`update_file_filter`).
fn journal(root: &Root) -> std::io::Result<Vec<(Vec<u8>, Stamp)>> {
    let mut names = match root.names(UPDATES, UPDATES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    names.retain(|name| name.iter().all(u8::is_ascii_digit));
    names.sort_unstable();
    Ok(names.into_iter().filter_map(|name| root.stamp(&path(&name)).map(|stamp| (name, stamp))).collect())
}

/// Whether it changed so shortly ago that a further change may not show.
fn is_fresh(stamp: Stamp) -> bool {
    let now = clock_gettime(ClockId::Realtime);
    nanoseconds(now.tv_sec, now.tv_nsec).saturating_sub(stamp.changed_ns()) < TICK_NS
}
