//! The detector: what it remembers, and what all rules share.

use std::collections::BTreeMap;

use sensor_common::limits::WATCH_ENTRIES;
use sensor_common::record::{FileRecord, flags};

use super::books::Books;
use super::budget::Budget;
use super::client::Clients;
use super::effects::Effects;
use super::engine::Engines;
use super::file::{AWAITED_MAX, Awaiting, DIRECTORIES_MAX, Looked, Merges};
use super::finding::{Finding, Who};
use super::follow::{FOLLOWED_MAX, Followed};
use super::managers::Managers;
use super::memory::{Echoes, Excused, Recent};
use super::mounts::Mounts;
use super::programs::{self, Running};
use super::quiet::{Quiet, QuietCounts};
use super::requests::Requests;
use super::score::Reason;
use super::units::{FILES_MAX as UNIT_FILES_MAX, Units};
use super::{rules, score};
use crate::event::content::Want;
use crate::event::user::{FileFound, Loss, ToolIdentity, Watch, WatchClass};
use crate::lineage::Lineage;
use crate::lineage::actor::{Actor, Process, Requester};
use crate::lineage::image::Image;
use crate::lineage::table::{Handle, KERNEL};
use crate::subject::place::Watches;
use crate::subject::stream::StreamStats;
use crate::subject::tools::{Family, KnownTools};

/// Symlinks under unfinished names whose targets are remembered.
const LINKS_MAX: usize = 256;
/// Files whose paths are remembered by identity.
const FILES_MAX: usize = 4096;
/// Containers of which it is remembered who asked for them.
const ASKERS_MAX: usize = 128;
/// Kubelets whose configuration is known.
const KUBELETS_MAX: usize = 16;
/// Files known to be tools.
const TOOLS_MAX: usize = 1024;

/// Finds what rules describe. All state is bounded.
#[derive(Debug)]
pub struct Detector {
    pub(super) watches: Watches,
    pub(super) tools: KnownTools,
    /// Homes by user.
    pub(super) homes: BTreeMap<u32, String>,
    pub(super) clients: Clients,
    /// Of container engines.
    pub(super) engine_clients: Clients,
    /// Who probably asked for a container, by its id.
    pub(super) container_askers: Recent<String, Requester>,
    /// Targets of symlinks by path: a rename does not tell them.
    pub(super) links: Recent<Vec<u8>, Vec<u8>>,
    /// Paths by (device, inode): a write through another hard link tells another path.
    pub(super) files: Recent<(u32, u64), KnownFile>,
    pub(super) echoes: Echoes,
    pub(super) excused: Excused,
    pub(super) quiet: QuietCounts,
    /// The unit files that were read.
    pub(super) units: Units,
    /// Files that are watched for what leads to them.
    pub(super) followed: Followed,
    /// What clients asked service managers for.
    pub(super) requests: Requests,
    /// What clients asked container engines for.
    pub(super) engines: Engines,
    /// Services that began.
    pub(super) effects: Effects,
    /// What services run.
    pub(super) running: Running,
    /// When a file was last seen changed, by its path.
    pub(super) written: Recent<Vec<u8>, u64>,
    /// Findings that wait for what a file says, by its path.
    pub(super) awaiting: Recent<Vec<u8>, Vec<Awaiting>>,
    /// Findings about directories that are being read, by the survey that reads them.
    pub(super) directories: Recent<u64, Vec<Looked>>,
    /// Drop-ins of Quadlets that wait for their sources.
    pub(super) merges: Merges,
    /// What engines know of containers.
    pub(super) books: Books,
    /// Configuration of kubelets that run, by its path.
    pub(super) kubelet_configs: Recent<Vec<u8>, ()>,
    /// Package managers at work.
    pub(super) managers: Managers,
    /// Mounts on what is watched.
    pub(super) mounts: Mounts,
    /// For putting units together.
    pub(super) budget: Budget,
    /// The process id of the sensor itself; 0 where it was not told.
    pub(super) sensor: u32,
    /// Files that are to be read.
    pub(super) wants: Vec<Want>,
    /// Paths under examination; kept for their capacity.
    pub(super) path: Vec<u8>,
    pub(super) other: Vec<u8>,
}

/// A file in a watched directory, to be recognised under another name.
#[derive(Clone, Debug)]
pub(super) struct KnownFile {
    /// The host's path.
    pub(super) path: Box<[u8]>,
    /// The watch and flag by which it was found.
    pub(super) place: crate::subject::place::Place,
}

impl Default for Detector {
    fn default() -> Self {
        Self {
            watches: Watches::new(WATCH_ENTRIES),
            tools: KnownTools::new(TOOLS_MAX),
            homes: BTreeMap::new(),
            clients: Clients::default(),
            engine_clients: Clients::default(),
            container_askers: Recent::new(ASKERS_MAX),
            links: Recent::new(LINKS_MAX),
            files: Recent::new(FILES_MAX),
            echoes: Echoes::default(),
            excused: Excused::default(),
            quiet: QuietCounts::default(),
            units: Units::default(),
            effects: Effects::default(),
            requests: Requests::default(),
            engines: Engines::default(),
            followed: Followed::default(),
            running: programs::running(),
            written: Recent::new(FILES_MAX),
            awaiting: Recent::new(AWAITED_MAX),
            directories: Recent::new(DIRECTORIES_MAX),
            books: Books::default(),
            merges: Merges::default(),
            kubelet_configs: Recent::new(KUBELETS_MAX),
            managers: Managers::default(),
            mounts: Mounts::default(),
            budget: Budget::default(),
            sensor: 0,
            wants: Vec::new(),
            path: Vec::new(),
            other: Vec::new(),
        }
    }
}

impl Detector {
    /// Notes what a watch number stands for.
    pub fn watch(&mut self, watch: Watch) {
        self.watches.insert(watch);
    }

    /// Notes the homes of all users.
    pub fn set_homes(&mut self, homes: BTreeMap<u32, String>) {
        self.homes = homes;
    }

    /// Notes executables of tools.
    pub fn tools_found(&mut self, tools: &[ToolIdentity]) {
        for tool in tools {
            self.tools.insert(tool.name.as_bytes(), tool.device, tool.inode);
        }
    }

    /// The watches, for their figures.
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// The known tools, for their figures.
    pub fn known_tools(&self) -> &KnownTools {
        &self.tools
    }

    /// Files whose paths are remembered by identity, and the bound.
    pub fn remembered_files(&self) -> (usize, usize) {
        (self.files.len(), FILES_MAX)
    }

    /// Unit files held, the bound, their bytes, and what found no room.
    pub fn unit_files(&self) -> (usize, usize, usize, u64) {
        let (files, bytes, refused) = self.units.figures();
        (files, UNIT_FILES_MAX, bytes, refused)
    }

    /// Files followed, the bound, and those that found no room.
    pub fn followed_files(&self) -> (usize, usize, u64) {
        let (files, refused) = self.followed.figures();
        (files, FOLLOWED_MAX, refused)
    }

    /// Connections to service managers that are followed, the bound, and the bytes that they keep.
    pub fn connections(&self) -> (usize, usize, usize) {
        self.requests.figures()
    }

    /// The same of connections to container engines.
    pub fn engine_connections(&self) -> (usize, usize, usize) {
        self.engines.figures()
    }

    /// What the kernel need not show of the latter.
    pub fn mutes(&mut self) -> std::collections::vec_deque::Drain<'_, (u64, sensor_common::mute::Mute)> {
        self.engines.mutes()
    }

    /// What became of what was sent on all of them.
    pub fn streams(&self) -> StreamStats {
        let (managers, engines) = (self.requests.streams(), self.engines.streams());
        StreamStats {
            lost: managers.lost + engines.lost,
            cut: managers.cut + engines.cut,
            evicted: managers.evicted + engines.evicted,
            unmatched: managers.unmatched + engines.unmatched,
        }
    }

    /// Files that findings wait for the content of, the bound, and those whose unit there was no time for.
    pub fn awaited_contents(&self) -> (usize, usize, u64) {
        (self.awaiting.len(), AWAITED_MAX, self.budget.exceeded() + self.effects.exceeded())
    }

    /// Files whose content is to come as `FILE_CONTENT` records; none is waited for longer than a finding is held.
    pub fn wants(&mut self) -> std::vec::Drain<'_, Want> {
        self.wants.drain(..)
    }

    /// What was seen and left unsaid.
    pub fn quiet(&self) -> &QuietCounts {
        &self.quiet
    }

    pub(super) fn stay_quiet(&mut self, why: Quiet) {
        self.quiet[why as usize] += 1;
    }

    /// What runs in a process, be it after an exec at `now` or found at start (0): a client of a service manager?
    pub fn executed(&mut self, now: u64, handle: Handle, lineage: &Lineage) {
        let Some(image) = lineage.image(handle) else { return };
        let foreign = lineage.entry(handle).is_some_and(|entry| lineage.is_foreign(entry.mnt_ns));
        self.tools.learn(&image, foreign);
        self.agent_runs(&image, foreign);
        let family = self.tools.recognise(&image).map(|found| found.tool().family);
        if family == Some(Family::ContainerEngine) {
            self.engine_clients.executed(now, handle);
        }
        match family {
            Some(Family::ManagerClient) => self.clients.executed(now, handle),
            // Its sockets are watched from now on; what an exec is to tell, `exec` tells.
            Some(Family::ContainerDaemon | Family::ContainerEngine) => {
                let _told_elsewhere = self.engine_executed(now, handle, None, lineage);
            }
            _ => {}
        }
    }

    /// Whether the process is PID 1, or runs the same file: a user's manager, or a fork of a manager that has not
    /// executed anything else yet. The file counts, not its name.
    ///
    /// stat(2), by which PID 1 is known, and the kernel's records do not give the same device on btrfs and overlay:
    /// there path and inode must agree, in the host's own mount namespace.
    pub(super) fn is_manager(lineage: &Lineage, handle: Handle) -> bool {
        let Some(init) = lineage.init() else { return false };
        if handle == init {
            return true;
        }
        let (Some(own), Some(manager)) = (lineage.image(handle), lineage.image(init)) else { return false };
        let host_path = || {
            own.exe == manager.exe
                && lineage.entry(handle).is_some_and(|entry| !lineage.is_foreign(entry.mnt_ns))
        };
        own.inode != 0 && own.inode == manager.inode && (own.device == manager.device || host_path())
    }

    /// Actor and the score's reasons for a finding, the rule's own first.
    pub fn describe(&self, finding: &Finding, lineage: &mut Lineage) -> (Actor, Vec<Reason>) {
        let mut reasons =
            vec![Reason { points: score::base(finding.rule.severity), text: finding.rule.name.to_owned() }];
        reasons.extend_from_slice(&finding.reasons);
        let Some(who) = finding.who else {
            let process = Process { incomplete: true, ..Process::default() };
            return (Actor { process, ..Actor::default() }, reasons);
        };
        let mut actor = lineage.actor(who.handle, &who.task);
        actor.on_behalf_of = finding.requester.as_deref().cloned();
        self.actor_reasons(&actor, &who, lineage, &mut reasons);
        (actor, reasons)
    }

    fn actor_reasons(&self, actor: &Actor, who: &Who, lineage: &Lineage, reasons: &mut Vec<Reason>) {
        let mut add = |points, text: String| reasons.push(Reason { points, text });
        if let Some(container) = &actor.container {
            let id = container.id.get(..12).unwrap_or(&container.id);
            add(20, format!("the process runs in container {id}"));
        } else if actor.foreign_mount_namespace {
            add(5, "the process has another mount namespace than PID 1".to_owned());
        }
        if let Some(container) = actor.on_behalf_of.as_ref().and_then(|client| client.container.as_ref()) {
            let id = container.id.get(..12).unwrap_or(&container.id);
            add(20, format!("the client runs in container {id}"));
        }
        if actor.process.memfd {
            add(20, "the process runs a program that is in no filesystem (memfd)".to_owned());
        } else if actor.process.deleted {
            add(10, "the process runs a program that has been deleted".to_owned());
        }
        if lineage.entry(who.handle).is_some_and(|entry| entry.has(KERNEL)) {
            add(
                15,
                "a kernel thread acted: for a network client, or started by the kernel for somebody"
                    .to_owned(),
            );
        }
        let tools: Vec<&str> = lineage
            .line(who.handle)
            .filter_map(|at| self.tools.recognise(&lineage.image(at)?))
            .map(|found| found.tool().name)
            .collect();
        for (at, tool) in tools.iter().enumerate() {
            if !tools[..at].contains(tool) {
                add(0, format!("{tool} in the call tree"));
            }
        }
    }

    /// Records were lost.
    pub fn lost(&mut self, now: u64, loss: &Loss) -> Finding {
        use sensor_common::record::kind;
        if matches!(loss.kind, kind::IPC_SEND | kind::IPC_SENT) {
            self.requests.records_lost();
            self.engines.records_lost();
        }
        let name = kind::name(loss.kind).unwrap_or("unknown");
        let mut finding = Finding::new(&rules::RECORDS_LOST, now, "loss", name.to_owned());
        finding.event_type = "info";
        finding.quantity = loss.dropped;
        if loss.kind <= kind::UMOUNT {
            finding.reason(40, "they concerned watched files");
        }
        if loss.at_least {
            finding.reason(0, "at least as many; the kernel does not say how many");
        }
        finding
    }

    /// An object that was there when its directory's watch was set; `out` receives it, and the mount that brought it.
    pub fn found(
        &mut self,
        now: u64,
        found: &FileFound,
        lineage: &mut Lineage,
        out: &mut impl FnMut(Finding),
    ) {
        use crate::event::encode::FileRecordBuilder;
        use sensor_common::record::{FileIdentity, TaskContext, kind};
        use sensor_common::watch;
        // Through the same road as a live record, so that the same rules hold.
        let kind = if found.target.is_some() { kind::FILE_SYMLINK } else { kind::FILE_CLOSE_WRITE };
        let bytes = FileRecordBuilder::new(kind, now, TaskContext::default())
            .path(found.watch, watch::SUBTREE, found.path.as_bytes())
            .extra(found.target.as_deref().unwrap_or_default().as_bytes())
            .object(FileIdentity { mode: found.mode, uid: found.uid, ..FileIdentity::default() })
            .build();
        let Ok(crate::event::decode::Event::File(event)) = crate::event::decode::decode(&bytes) else {
            return;
        };
        if !matches!(found.mode & super::file::S_IFMT, super::file::S_IFREG | super::file::S_IFLNK) {
            return self.stay_quiet(Quiet::Meaningless);
        }
        let mut finding = None;
        self.file_by(None, &event, lineage, &mut |one| finding = Some(one));
        let Some(mut finding) = finding else { return };
        // Seen being made, and excused by who made it: that it is found there afterwards tells nothing new.
        if self.excused.has(super::file::hash(finding.subject.as_bytes()), now) {
            self.awaiting.remove(finding.subject.as_bytes());
            return self.stay_quiet(Quiet::Echo);
        }
        let class = self.watches.get(found.watch).and_then(|watch| watch.class);
        let mounted = found.replaces && self.mounts.brought(now, finding.subject.as_bytes(), out);
        let of_unit = finding.unit.as_ref().is_some_and(|unit| unit.part.is_of_unit());
        if mounted && !of_unit {
            // The mount itself is told. Only what units say is known well enough to tell what is new.
            self.awaiting.remove(finding.subject.as_bytes());
            return self.stay_quiet(Quiet::Mounted);
        }
        // A reload removes what generators made and makes it anew, sooner than a watch may be set; most of what a
        // mount over /usr brings was there before.
        let again = class == Some(WatchClass::GeneratorOutput) || found.replaces && of_unit;
        let target = found.target.as_deref().map(str::as_bytes);
        if again && self.units.has_link(finding.subject.as_bytes(), target) {
            self.awaiting.remove(finding.subject.as_bytes());
            return self.stay_quiet(Quiet::GeneratorOutput);
        }
        finding.action = "file_found";
        finding.event_type = "creation";
        finding.phase = super::finding::Phase::Complete;
        finding.reason(0, "it was there when the directory's watch was set: who made it was not seen");
        self.await_again(&mut finding, again);
        // Of a file the content says whether it is what it was.
        if !again || target.is_some() || !finding.awaits_content {
            out(finding);
        }
    }
}

/// Whether something of the record was cut, for a reason without points.
pub(super) fn truncation(record: &FileRecord) -> Option<&'static str> {
    (record.header.flags & flags::PATH_TRUNCATED != 0).then_some("the path was too long to be recorded whole")
}

/// Whether `image` runs with these arguments as its parent does: an engine that executes itself again.
pub(super) fn same_command(own: &Image<'_>, parent: &Image<'_>) -> bool {
    own.args == parent.args && !own.args.is_empty()
}
