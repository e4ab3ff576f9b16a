//! Processes as an alert names them.

use sensor_common::record::{TaskContext, flags};

use super::actor::{Actor, Container, Process, Requester, User};
use super::table::{ENDED, Entry, GAP, Handle, KERNEL};
use super::{Lineage, cgroup};
use crate::event::path::lossy;

/// Ancestors that an alert names at most.
pub const ANCESTORS_MAX: usize = 64;

impl Lineage {
    /// The actor behind a task: the process, its ancestors, session, container and unit. The task must have been
    /// observed; its own word on users, name and namespaces counts.
    pub fn actor(&mut self, handle: Handle, task: &TaskContext) -> Actor {
        self.cgroups.touch(task.cgroup_id);
        let mut process = self.process(handle);
        process.name = lossy(&task.comm).into_owned();
        process.user = self.user(task.uid);
        process.euid = task.euid;
        let (ancestors, ancestors_truncated) = self.ancestors(handle);
        let path = self.cgroups.path(task.cgroup_id).unwrap_or_default();
        Actor {
            process,
            ancestors,
            ancestors_truncated,
            login_user: self.login_user(task.loginuid),
            session: Some(task.session_id).filter(|session| *session != u32::MAX),
            unit: cgroup::unit(path),
            cgroup: lossy(path).into_owned(),
            container: self.container(task.cgroup_id),
            foreign_mount_namespace: self.is_foreign(task.mnt_ns),
            on_behalf_of: None,
        }
    }

    /// A client as the probable origin of what a manager did.
    pub fn requester(&mut self, client: Handle, confidence: &'static str) -> Option<Requester> {
        let entry = *self.table.get(client)?;
        self.cgroups.touch(entry.cgroup_id);
        let (ancestors, ancestors_truncated) = self.ancestors(client);
        let mut processes = vec![self.process(client)];
        processes.extend(ancestors);
        Some(Requester {
            confidence,
            request: None,
            processes,
            ancestors_truncated,
            login_user: self.login_user(entry.loginuid),
            container: self.container(entry.cgroup_id),
        })
    }

    /// The container that a control group belongs to, with its identity as far as that is known.
    pub fn container(&mut self, cgroup_id: u64) -> Option<Container> {
        let mut container = self.container_id(cgroup_id)?;
        container.identity = self.containers.identity(&container.id).cloned().map(Box::new);
        Some(container)
    }

    /// The same, without its identity.
    pub fn container_id(&self, cgroup_id: u64) -> Option<Container> {
        if let Some(container) = self.cgroups.path(cgroup_id).and_then(cgroup::container) {
            return Some(container);
        }
        let (id, runtime) = self.containers.of_group(cgroup_id)?;
        Some(Container { id: id.to_owned(), runtime: Some(runtime.to_owned()), identity: None })
    }

    /// Another mount namespace than PID 1's; `false` where either is unknown.
    pub fn is_foreign(&self, mnt_ns: u32) -> bool {
        let own = match self.init_mnt_ns {
            0 => self.init().and_then(|init| self.table.get(init)).map_or(0, |init| init.mnt_ns),
            known => known,
        };
        mnt_ns != 0 && own != 0 && mnt_ns != own
    }

    /// A process by its handle.
    pub fn process(&self, handle: Handle) -> Process {
        let Some(entry) = self.table.get(handle) else {
            return Process { incomplete: true, ..Process::default() };
        };
        let image = self.images.get(entry.image);
        let mut process = Process {
            pid: entry.tgid,
            start_boottime_ns: entry.start_ns,
            name: lossy(&entry.comm).into_owned(),
            user: self.user_of(entry),
            euid: entry.euid,
            incomplete: image.is_none() && !entry.has(KERNEL),
            ..Process::default()
        };
        if let Some(image) = image {
            process.executable = lossy(image.exe).into_owned();
            process.memfd = image.flags & flags::EXE_MEMFD != 0;
            process.deleted = image.flags & flags::EXE_DELETED != 0;
            process.args = image.arguments().map(|arg| lossy(arg).into_owned()).collect();
            process.args_truncated = image.flags & flags::ARGS_TRUNCATED != 0;
            process.working_directory = lossy(image.cwd).into_owned();
        }
        process
    }

    fn ancestors(&self, handle: Handle) -> (Vec<Process>, bool) {
        let mut ancestors = Vec::new();
        let mut truncated = false;
        let mut at = handle;
        loop {
            truncated |= self.table.get(at).is_some_and(|entry| entry.has(GAP));
            let Some(parent) = self.table.parent(at) else {
                truncated |= self.table.had_parent(at);
                return (ancestors, truncated);
            };
            if ancestors.len() == ANCESTORS_MAX {
                return (ancestors, true);
            }
            ancestors.push(self.process(parent));
            at = parent;
        }
    }

    /// A user by number.
    pub fn user(&self, id: u32) -> User {
        User { id, name: self.user_name(id).map(str::to_owned) }
    }

    fn user_of(&self, entry: &Entry) -> User {
        self.user(entry.uid)
    }

    fn login_user(&self, loginuid: u32) -> Option<User> {
        (loginuid != u32::MAX).then(|| self.user(loginuid))
    }

    /// Whether a process runs, or ended no more than `grace_ns` before `now`.
    pub fn was_running(&self, handle: Handle, now: u64, grace_ns: u64) -> bool {
        self.table
            .get(handle)
            .is_some_and(|entry| !entry.has(ENDED) || entry.end_ns.saturating_add(grace_ns) >= now)
    }
}
