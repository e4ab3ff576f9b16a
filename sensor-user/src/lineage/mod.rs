//! Processes, sessions, containers: who acted, and on whose behalf.
//!
//! Everything here comes from records: there is no look into /proc, so a replay knows what the live sensor knew.

pub mod actor;
pub mod cgroup;
pub mod containers;
pub mod image;
pub mod table;

mod describe;

use std::collections::BTreeMap;

use sensor_common::record::{ExitRecord, ForkRecord, TaskContext, flags};

use self::cgroup::Cgroups;
use self::containers::Containers;
use self::image::{Image, ImageId, Images};
use self::table::{ENDED, Entry, Handle, KERNEL, Table};
use crate::event::decode::ExecEvent;
use crate::event::path::PathView;
use crate::event::user::{Host, ProcessSnapshot};

/// `PF_KTHREAD` of include/linux/sched.h: a kernel thread.
pub const PF_KTHREAD: u32 = 0x0020_0000;

/// Bounds of [`Lineage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processes that run, or that running ones descend from.
    pub processes: usize,
    /// Ended processes kept beyond those.
    pub ended: usize,
    /// Bytes of executables' paths and arguments.
    pub image_bytes: usize,
    /// Control groups.
    pub cgroups: usize,
    /// Bytes of control groups' paths.
    pub cgroup_bytes: usize,
    /// Containers whose identity is kept.
    pub containers: usize,
    /// Bytes of these identities.
    pub container_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: 65_536,
            ended: 4096,
            image_bytes: 6 << 20,
            cgroups: 16_384,
            cgroup_bytes: 2 << 20,
            containers: 4096,
            container_bytes: 2 << 20,
        }
    }
}

/// Who is who.
#[derive(Debug)]
pub struct Lineage {
    table: Table,
    images: Images,
    cgroups: Cgroups,
    containers: Containers,
    users: BTreeMap<u32, String>,
    init_mnt_ns: u32,
    init: Option<Handle>,
    /// Paths of an exec record, root first, before they are interned.
    scratch: Vec<u8>,
}

impl Lineage {
    /// Knows nobody yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            table: Table::new(limits.processes, limits.ended),
            images: Images::new(limits.image_bytes),
            cgroups: Cgroups::new(limits.cgroups, limits.cgroup_bytes),
            containers: Containers::new(limits.containers, limits.container_bytes),
            users: BTreeMap::new(),
            init_mnt_ns: 0,
            init: None,
            scratch: Vec::new(),
        }
    }

    /// The process table, for its figures.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The executed images, for their figures.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The control groups, for their figures.
    pub fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    /// What is known of containers.
    pub fn containers(&self) -> &Containers {
        &self.containers
    }

    /// The same, to be told more.
    pub fn containers_mut(&mut self) -> &mut Containers {
        &mut self.containers
    }

    /// Whether a control group is a container's.
    pub fn is_in_container(&self, cgroup_id: u64) -> bool {
        self.cgroups.path(cgroup_id).is_some_and(|path| cgroup::container(path).is_some())
    }

    /// The name of a user.
    pub fn user_name(&self, uid: u32) -> Option<&str> {
        self.users.get(&uid).map(String::as_str)
    }

    /// Replaces the user names.
    pub fn set_users(&mut self, names: BTreeMap<u32, String>) {
        self.users = names;
    }

    /// Notes the machine's own namespaces.
    pub fn set_host(&mut self, host: &Host) {
        self.init_mnt_ns = host.init_mnt_ns;
    }

    /// Notes a control group; `path` is root first.
    pub fn set_cgroup(&mut self, id: u64, path: &[u8]) {
        self.cgroups.insert(id, path);
    }

    /// The process that a record's task belongs to, with what the record says of it. One that is not known yet is
    /// added, incomplete, and so is its parent. `None` for the idle task, which is no process.
    pub fn observe(&mut self, task: &TaskContext) -> Option<Handle> {
        let handle = match self.table.find(task.tgid, task.start_boottime_ns) {
            Some(handle) => handle,
            None if task.tgid == 0 => return None,
            None => {
                let parent = self.known_or_new(task.parent_tgid, task.parent_start_boottime_ns);
                self.insert(Entry::new(task.tgid, task.start_boottime_ns), parent)
            }
        };
        self.update(handle, task);
        Some(handle)
    }

    /// As [`Self::observe`], but a process that is not known stays so.
    pub fn update_known(&mut self, task: &TaskContext) {
        if let Some(handle) = self.table.find(task.tgid, task.start_boottime_ns) {
            self.update(handle, task);
        }
    }

    fn update(&mut self, handle: Handle, task: &TaskContext) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        entry.start_ns = task.start_boottime_ns;
        entry.cgroup_id = task.cgroup_id;
        (entry.uid, entry.euid) = (task.uid, task.euid);
        (entry.loginuid, entry.session_id) = (task.loginuid, task.session_id);
        // An ending task has no namespaces any more; what it had still holds.
        if task.mnt_ns != 0 {
            (entry.mnt_ns, entry.pid_ns) = (task.mnt_ns, task.pid_ns);
        }
        if task.task_flags & PF_KTHREAD != 0 {
            entry.flags |= KERNEL;
        }
        // Threads name themselves; the process is called by its leader.
        if task.tid == task.tgid || entry.comm[0] == 0 {
            entry.comm = task.comm;
        }
    }

    fn known_or_new(&mut self, tgid: u32, start_ns: u64) -> Option<Handle> {
        if tgid == 0 {
            return None;
        }
        self.table.find(tgid, start_ns).or_else(|| Some(self.insert(Entry::new(tgid, start_ns), None)))
    }

    fn insert(&mut self, entry: Entry, parent: Option<Handle>) -> Handle {
        let images = &mut self.images;
        let handle = self.table.insert(entry, parent, &mut |image| images.release(image));
        if entry.tgid == 1 {
            self.init = Some(handle);
        }
        handle
    }

    /// A fork: the child has what the parent had.
    pub fn fork(&mut self, fork: &ForkRecord) {
        let Some(parent) = self.observe(&fork.task) else { return };
        if fork.child_tgid == 0 {
            return;
        }
        if let Some(child) = self.table.find(fork.child_tgid, fork.child_start_boottime_ns) {
            // A snapshot was quicker. It knows no more than this, save for the nanoseconds.
            if let Some(entry) = self.table.get_mut(child) {
                entry.start_ns = fork.child_start_boottime_ns;
            }
            self.table.adopt(child, parent);
            return;
        }
        let Some(mut child) = self.table.get(parent).copied() else { return };
        (child.tgid, child.start_ns) = (fork.child_tgid, fork.child_start_boottime_ns);
        child.end_ns = 0;
        child.flags &= KERNEL;
        self.images.retain(child.image);
        self.insert(child, Some(parent));
        let images = &mut self.images;
        self.table.shorten(parent, &mut |image| images.release(image));
    }

    /// An exec: the process runs something else from now on.
    pub fn exec(&mut self, exec: &ExecEvent<'_>) -> Option<Handle> {
        let handle = self.observe(&exec.record.task)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        absolute(&exec.exe_path, &mut scratch);
        let exe_end = scratch.len();
        absolute(&exec.cwd, &mut scratch);
        let image = Image {
            device: exec.record.exe.device,
            inode: exec.record.exe.inode,
            flags: exec.record.header.flags,
            exe: &scratch[..exe_end],
            filename: exec.filename,
            cwd: &scratch[exe_end..],
            args: exec.args,
        };
        self.set_image(handle, image);
        self.scratch = scratch;
        if let Some(entry) = self.table.get_mut(handle) {
            entry.flags &= !KERNEL;
            entry.comm = exec.record.task.comm;
        }
        Some(handle)
    }

    fn set_image(&mut self, handle: Handle, image: Image<'_>) {
        let images = &mut self.images;
        while !images.fits(&image) && self.table.retire_one(&mut |image| images.release(image)) {}
        // Making room can have taken the process itself, where it had ended.
        if self.table.get(handle).is_none() {
            return;
        }
        let new = self.images.intern(image);
        let Some(entry) = self.table.get_mut(handle) else { return };
        let old = std::mem::replace(&mut entry.image, new);
        self.images.release(old);
    }

    /// An exit.
    pub fn exit(&mut self, exit: &ExitRecord) {
        if let Some(handle) = self.table.find(exit.tgid, exit.start_boottime_ns) {
            let images = &mut self.images;
            self.table.end(handle, exit.header.boottime_ns, &mut |image| images.release(image));
        }
    }

    /// A process found in /proc. What live records have told already is newer and stays. Answers with
    /// the process, where there is anything new.
    pub fn snapshot(&mut self, snapshot: &ProcessSnapshot) -> Option<Handle> {
        let parent = snapshot
            .parent_start_boottime_ns
            .and_then(|start| self.known_or_new(snapshot.parent_tgid, start));
        let handle = if let Some(handle) = self.table.find(snapshot.tgid, snapshot.start_boottime_ns) {
            if let Some(parent) = parent {
                self.table.adopt(handle, parent);
            }
            if self.table.get(handle).is_some_and(|entry| entry.image.is_some() || entry.has(ENDED)) {
                return None;
            }
            handle
        } else if snapshot.tgid == 0 {
            return None;
        } else {
            self.insert(Entry::new(snapshot.tgid, snapshot.start_boottime_ns), parent)
        };
        if let Some(entry) = self.table.get_mut(handle) {
            (entry.uid, entry.euid) = (snapshot.uid, snapshot.euid);
            (entry.loginuid, entry.session_id) = (snapshot.loginuid, snapshot.session_id);
            entry.cgroup_id = snapshot.cgroup_id;
            (entry.mnt_ns, entry.pid_ns) = (snapshot.mnt_ns, snapshot.pid_ns);
            let comm = snapshot.comm.as_bytes();
            let length = comm.len().min(entry.comm.len() - 1);
            entry.comm = [0; 16];
            entry.comm[..length].copy_from_slice(&comm[..length]);
        }
        if snapshot.exe.is_empty() {
            // proc(5): only a kernel thread has no executable; where it could not be read, there are arguments.
            if let Some(entry) = self.table.get_mut(handle).filter(|_| snapshot.args.is_empty()) {
                entry.flags |= KERNEL;
            }
            if snapshot.args.is_empty() {
                return None;
            }
        }
        let mut args = Vec::new();
        for arg in &snapshot.args {
            args.extend_from_slice(arg.as_bytes());
            args.push(0);
        }
        let mut image_flags = 0;
        if snapshot.args_truncated {
            image_flags |= flags::ARGS_TRUNCATED;
        }
        if snapshot.exe.starts_with("/memfd:") {
            image_flags |= flags::EXE_MEMFD;
        } else if snapshot.exe_deleted {
            image_flags |= flags::EXE_DELETED;
        }
        self.set_image(
            handle,
            Image {
                device: snapshot.exe_device,
                inode: snapshot.exe_inode,
                flags: image_flags,
                exe: snapshot.exe.as_bytes(),
                filename: b"",
                cwd: snapshot.cwd.as_bytes(),
                args: &args,
            },
        );
        Some(handle)
    }

    /// The process of an id and start, where it is still known.
    pub fn find(&self, (tgid, start_ns): (u32, u64)) -> Option<Handle> {
        self.table.find(tgid, start_ns)
    }

    /// What is known of a process.
    pub fn entry(&self, handle: Handle) -> Option<&Entry> {
        self.table.get(handle)
    }

    /// What it executes.
    pub fn image(&self, handle: Handle) -> Option<Image<'_>> {
        let id: ImageId = self.table.get(handle)?.image;
        self.images.get(id)
    }

    /// The process, its parent at fork time, that one's parent, and so on. Never more than `1 << 10`.
    pub fn line(&self, handle: Handle) -> impl Iterator<Item = Handle> + '_ {
        std::iter::successors(Some(handle), |at| self.table.parent(*at)).take(1 << 10)
    }

    /// PID 1 of the initial pid namespace, where known.
    pub fn init(&self) -> Option<Handle> {
        self.init.filter(|init| self.table.get(*init).is_some())
    }
}

fn absolute(path: &PathView<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    path.append_to(out);
    if out.len() == start && !path.as_bytes().is_empty() {
        out.push(b'/');
    }
}

#[cfg(test)]
#[path = "lineage_tests.rs"]
mod tests;
