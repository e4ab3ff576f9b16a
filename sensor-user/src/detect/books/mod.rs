//! What container engines know of their containers: asked for when a container appears, compared when its file is
//! written, and missed where there is nothing.
//!
//! - `lookup`: a container's files are read, and what they say is noted in the lineage.
//! - `edited`: an engine's own files, written by others, or by the engine without anybody having asked.
//! - `unbooked`: containers that no engine knows.

mod edited;
mod lookup;
mod unbooked;

use std::collections::{HashMap, VecDeque};

use self::edited::{Ask, Named};
use self::lookup::Lookup;
use super::detector::Detector;
use super::finding::Who;
use super::memory::Recent;
use crate::lineage::table::Handle;
use crate::lineage::{Lineage, cgroup};
use crate::subject::container::service::ContainerService;
use crate::subject::tools::{Family, Recognised, Tool};

/// Containers that are looked up at one moment. A node runs some hundred.
const LOOKUPS_MAX: usize = 2048;
/// Of them, those that are being read: the answers of so many wait in memory at most.
const READING_MAX: usize = 16;
/// Bundles that were seen given to a runtime.
const BUNDLES_MAX: usize = 1024;
/// Containers whose engine's description is kept, to tell what is new in a later one.
const KNOWN_MAX: usize = 1024;
/// Files of engines being written.
const WRITES_MAX: usize = 256;
/// Processes that made namespaces.
const MAKERS_MAX: usize = 1024;

/// What is remembered of containers.
#[derive(Debug)]
pub(super) struct Books {
    /// By id.
    lookups: HashMap<String, Lookup>,
    /// Those that wait for being asked for.
    queue: VecDeque<String>,
    /// Those that are looked at again, or given up, at a time.
    due: VecDeque<(u64, String)>,
    /// Surveys that were asked for, and whose they are.
    surveys: HashMap<u64, String>,
    /// Bundles by container, as runtimes and conmon were given them.
    bundles: Recent<String, Bundle>,
    /// What engines' files last said, by id.
    known: Recent<String, Box<ContainerService>>,
    /// Who last wrote an engine's file.
    writes: Recent<Vec<u8>, (Who, u64)>,
    /// Containers that came to come back by themselves, until it is known what they are, by survey.
    named: Recent<u64, Named>,
    /// What was asked of engines.
    asked: VecDeque<Ask>,
    /// Namespaces that processes made, by process: `CLONE_NEW*`.
    makers: Recent<(u32, u64), u64>,
    /// Containers started by hand, and with what, whose control group is still to come.
    by_hand: Recent<String, &'static str>,
    /// Ids of containers that became known; the alerts that wait for them can go.
    identified: Vec<String>,
    /// The records' time.
    now: u64,
    unresolved: u64,
}

/// A runtime's bundle.
#[derive(Clone, Debug)]
struct Bundle {
    path: Vec<u8>,
    /// The container's name, where it was given beside it.
    name: Option<String>,
    /// The engine that gave it; `None` where none did.
    engine: Option<&'static str>,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            lookups: HashMap::new(),
            queue: VecDeque::new(),
            due: VecDeque::new(),
            surveys: HashMap::new(),
            bundles: Recent::new(BUNDLES_MAX),
            known: Recent::new(KNOWN_MAX),
            writes: Recent::new(WRITES_MAX),
            named: Recent::new(WRITES_MAX),
            asked: VecDeque::new(),
            makers: Recent::new(MAKERS_MAX),
            by_hand: Recent::new(WRITES_MAX),
            identified: Vec::new(),
            now: 0,
            unresolved: 0,
        }
    }
}

impl Books {
    /// Lookups under way, their bound, and containers of which nothing was found.
    pub(super) fn figures(&self) -> (usize, usize, u64) {
        (self.lookups.len(), LOOKUPS_MAX, self.unresolved)
    }

    /// When something is due, in nanoseconds.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.due.front().map(|(due, _)| *due)
    }
}

impl Detector {
    /// The engine, its daemon or helper that a process is: by its file in the host's own view, or by its name where PID 1
    /// started it as an engine's service.
    fn engine(&self, process: Handle, lineage: &Lineage) -> Option<&'static Tool> {
        let image = lineage.image(process)?;
        let tool = match self.tools.recognise(&image)? {
            Recognised::ByIdentity(tool) => {
                let entry = lineage.entry(process)?;
                (!lineage.is_foreign(entry.mnt_ns) || is_engines_service(process, lineage)).then_some(tool)
            }
            Recognised::ByName(tool) => is_engines_service(process, lineage).then_some(tool),
        }?;
        let family =
            matches!(tool.family, Family::ContainerDaemon | Family::ContainerEngine | Family::ContainerTool);
        family.then_some(tool)
    }

    /// The nearest engine that a process descends from.
    fn engine_above(&self, process: Handle, lineage: &Lineage) -> Option<&'static Tool> {
        lineage.line(process).skip(1).find_map(|at| self.engine(at, lineage))
    }

    /// When something of containers is due.
    pub fn next_deadline(&self) -> Option<u64> {
        self.books.next_deadline()
    }

    /// Containers that became known since the last time, by their ids.
    pub fn identified(&mut self) -> Vec<String> {
        std::mem::take(&mut self.books.identified)
    }

    /// Containers that are being looked up, the bound, and those of which nothing was found.
    pub fn container_lookups(&self) -> (usize, usize, u64) {
        self.books.figures()
    }
}

/// Services that engines of every distribution run as. Their programs may lie where no list has them (snap, k3s).
fn is_engines_service(process: Handle, lineage: &Lineage) -> bool {
    const SERVICES: [&str; 16] = [
        "docker.service",
        "containerd.service",
        "crio.service",
        "cri-o.service",
        "podman.service",
        "buildkit.service",
        "kubelet.service",
        "k3s.service",
        "k3s-agent.service",
        "rke2-server.service",
        "rke2-agent.service",
        "k0scontroller.service",
        "k0sworker.service",
        "snap.docker.dockerd.service",
        "snap.microk8s.daemon-containerd.service",
        "snap.lxd.daemon.service",
    ];
    let Some(entry) = lineage.entry(process) else { return false };
    let Some(path) = lineage.cgroups().path(entry.cgroup_id) else { return false };
    path.starts_with(b"/system.slice/")
        && cgroup::unit(path).is_some_and(|unit| SERVICES.contains(&unit.as_str()))
}
