//! Containers that no engine knows: a runtime called by hand, a control group that is named like a container's, and
//! namespaces that root made for a program.

use sensor_common::record::{ContainerRecord, TaskContext};

use super::super::containers::weigh;
use super::super::detector::Detector;
use super::super::finding::{Finding, Who};
use super::super::rules;
use super::Bundle;
use super::lookup::{Lookup, Why};
use crate::event::decode::ExecEvent;
use crate::event::path::lossy;
use crate::lineage::Lineage;
use crate::lineage::table::Handle;
use crate::subject::container::books::shown;
use crate::subject::container::runtime;
use crate::subject::container::service::Source;
use crate::subject::tools::{Family, Recognised, Tool};

/// `CLONE_NEWNS`, `CLONE_NEWUSER`, `CLONE_NEWPID` of include/uapi/linux/sched.h.
const NEW_MOUNTS: u64 = 0x0002_0000;
const NEW_USERS: u64 = 0x1000_0000;
const NEW_PIDS: u64 = 0x2000_0000;

/// Generations between whoever made namespaces and the program that runs in them: `unshare --fork`, and one in between.
const GENERATIONS: usize = 3;

impl Detector {
    /// A runtime begins to run: whose container does it start?
    pub(super) fn runtime_called(
        &mut self,
        handle: Handle,
        tool: &'static Tool,
        now: u64,
        task: TaskContext,
        lineage: &Lineage,
    ) {
        if tool.family != Family::ContainerRuntime {
            return;
        }
        let Some(image) = lineage.image(handle) else { return };
        let Some(start) = runtime::parse(image.arguments()) else { return };
        let engine = self.engine_above(handle, lineage).map(|tool| tool.name);
        // In a container the path leads to the container's own files.
        let inside = lineage.container_id(task.cgroup_id).is_some() || lineage.is_foreign(task.mnt_ns);
        if inside {
            return;
        }
        let path = start.bundle_in(image.cwd).into_owned();
        let id = start.id.to_owned();
        let (verb, name) = (start.verb, self.books.bundles.get(&id).and_then(|known| known.name.clone()));
        self.books.bundles.insert(id.clone(), Bundle { path, name, engine });
        if engine.is_some() {
            return;
        }
        self.books.by_hand.insert(id.clone(), tool.name);
        let who = Some(Who { handle, task });
        self.look_up(&id, Lookup::new(Why::ByHand { tool: tool.name, verb }, None, who, now), lineage);
    }

    /// A control group without an id: it may be that of a container that somebody started by hand, under its own name.
    pub(super) fn group_by_hand(&mut self, group: u64, leaf: &[u8], lineage: &mut Lineage) {
        if self.books.by_hand.len() == 0 {
            return;
        }
        let leaf = lossy(leaf);
        let name = leaf.strip_suffix(".scope").unwrap_or(&leaf);
        // The runtimes' own names for a scope: `runc-ID.scope`, `crun-ID.scope`.
        let short = name.split_once('-').map(|(_, short)| short);
        let mut known = [Some(name), short].into_iter().flatten();
        let found = known.find_map(|id| Some((id.to_owned(), self.books.by_hand.remove(id)?)));
        if let Some((id, tool)) = found {
            lineage.containers_mut().name_group(group, &id, tool);
        }
    }

    /// Namespaces are made.
    pub fn namespaces_made(&mut self, record: &ContainerRecord) {
        let made = record.value & (NEW_MOUNTS | NEW_USERS | NEW_PIDS);
        if made == 0 {
            return;
        }
        let maker = (record.task.tgid, record.task.start_boottime_ns);
        let before = self.books.makers.get(&maker).copied().unwrap_or(0);
        self.books.makers.insert(maker, before | made);
    }

    /// A program begins to run in namespaces that somebody made.
    pub fn in_new_namespaces(
        &mut self,
        exec: &ExecEvent<'_>,
        handle: Handle,
        lineage: &Lineage,
    ) -> Option<Finding> {
        let task = &exec.record.task;
        if self.books.makers.len() == 0 || !lineage.is_foreign(task.mnt_ns) {
            return None;
        }
        let made = |at: Handle| {
            let entry = lineage.entry(at)?;
            Some(((entry.tgid, entry.start_ns), *self.books.makers.get(&(entry.tgid, entry.start_ns))?))
        };
        let both = NEW_MOUNTS | NEW_PIDS;
        let mut near = lineage.line(handle).take(GENERATIONS);
        let (depth, maker) = near.by_ref().enumerate().find_map(|(depth, at)| {
            made(at).filter(|(_, made)| made & both == both).map(|(key, _)| (depth, (at, key)))
        })?;
        // The maker itself stays in its old pid namespace: what it executes is not in the new one.
        if depth == 0 || lineage.container_id(task.cgroup_id).is_some() {
            return None;
        }
        if lineage.line(handle).any(|at| made(at).is_some_and(|(_, made)| made & NEW_USERS != 0))
            || self.makes_namespaces_anyway(maker.0, lineage)
        {
            return None;
        }
        self.books.makers.remove(&maker.1);
        let runs = lossy(exec.filename).into_owned();
        let mut finding =
            Finding::new(&rules::CONTAINER_UNBOOKED, exec.record.header.boottime_ns, "process_exec", runs)
                .by(Some(Who { handle, task: *task }));
        finding.event_type = "start";
        let made_by = lineage.image(maker.0).map(|image| lossy(image.exe_name()).into_owned());
        finding.reason(
            0,
            format!(
                "mount and pid namespaces of its own, made by {}",
                made_by.filter(|name| !name.is_empty()).unwrap_or_else(|| "an unknown program".to_owned())
            ),
        );
        Some(finding)
    }

    /// Whether whoever made namespaces does so as a matter of course: service managers, engines, runtimes (a runtime
    /// called by hand is told as such), sandboxes.
    fn makes_namespaces_anyway(&self, maker: Handle, lineage: &Lineage) -> bool {
        let mut line = lineage.line(maker);
        // PID 1's child before it executes the service, or systemd's executor (systemd 254 and later).
        let managers = Self::is_manager(lineage, maker)
            || lineage.image(maker).is_some_and(|image| image.exe.ends_with(b"/systemd-executor"))
                && line.nth(1).is_some_and(|parent| Self::is_manager(lineage, parent));
        managers
            || lineage.line(maker).any(|at| {
                let Some(image) = lineage.image(at) else { return false };
                match self.tools.recognise(&image) {
                    // By its file: the process itself is in another mount namespace by now.
                    Some(Recognised::ByIdentity(tool)) => matches!(
                        tool.family,
                        Family::Sandbox
                            | Family::ContainerRuntime
                            | Family::ContainerDaemon
                            | Family::ContainerEngine
                            | Family::ContainerTool
                    ),
                    // snapd executes the one in its own snap.
                    Some(Recognised::ByName(tool)) => {
                        tool.name == "snap-confine" && image.exe.starts_with(b"/snap/")
                            || self.engine(at, lineage).is_some()
                    }
                    None => false,
                }
            })
    }

    /// Tells of a container that is in no engine's books.
    pub(super) fn unbooked(id: &str, lookup: &Lookup, bundle: Option<&[u8]>, out: &mut impl FnMut(Finding)) {
        let mut service = lookup.booked.service(Source::Bundle);
        service.name.get_or_insert_with(|| id.to_owned());
        service.id.get_or_insert_with(|| id.to_owned());
        let subject = match &lookup.why {
            Why::ByHand { tool, verb } => {
                (*tool).clone_into(&mut service.engine);
                (*verb).clone_into(&mut service.verb);
                format!("{tool} {verb} {id}")
            }
            _ => format!("container {id}"),
        };
        let mut finding =
            Finding::new(&rules::CONTAINER_UNBOOKED, lookup.since, "process_exec", subject).by(lookup.who);
        finding.event_type = "start";
        weigh(&service, &mut finding);
        match &lookup.why {
            Why::ByHand { .. } => {
                let bundle = bundle.map(shown).unwrap_or_default();
                finding.reason(0, format!("the bundle is {bundle}, and no engine called the runtime"));
                if !lookup.booked.found && lookup.faults.is_empty() {
                    finding.reason(0, "the bundle was gone when it was looked at");
                }
                finding.container_service = Some(service);
            }
            _ => finding.reason(
                0,
                format!("its control group is named like an engine's container {id}, of which no engine has a file"),
            ),
        }
        for fault in &lookup.faults {
            finding.reason(0, fault.clone());
        }
        out(finding);
    }
}
