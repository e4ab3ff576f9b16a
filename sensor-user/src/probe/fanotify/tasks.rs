//! Who acted: fanotify gives a process id and nothing else.
//!
//! The ring's own process records tell each process's exact start and parents, also of processes that have ended by
//! the time their file events are read; /proc tells the rest of those that still run.

use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use procfs::process::Process;
use sensor_common::record::{ContainerRecord, ExecRecord, ExitRecord, ForkRecord, Header, TaskContext, kind};
use zerocopy::FromBytes;

/// Living processes that are kept, at most; of others only what /proc says is known.
const LIVING_MAX: usize = 32_768;
/// Ended processes that are kept: those whose events may still be waiting.
const ENDED_MAX: usize = 4096;

/// The processes that the ring told of.
#[derive(Default)]
pub struct Tasks {
    known: HashMap<u32, Known>,
    /// Process ids in the order in which they ended, with their start.
    ended: VecDeque<(u32, u64)>,
    cgroup_root: Option<PathBuf>,
    tick_ns: u64,
}

struct Known {
    context: TaskContext,
    ended: bool,
}

impl Tasks {
    /// Knows nobody yet.
    #[must_use]
    pub fn new() -> Self {
        let mounts = Process::myself().and_then(|myself| myself.mountinfo()).ok();
        let cgroup_root = mounts
            .and_then(|mounts| mounts.into_iter().find(|mount| mount.fs_type == "cgroup2"))
            .map(|mount| mount.mount_point);
        let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
        Self { cgroup_root, tick_ns, ..Self::default() }
    }

    /// Takes note of a record of the ring: forks, execs, exits. Others cost one comparison.
    pub fn observe(&mut self, record: &[u8]) {
        let Ok((header, _)) = Header::read_from_prefix(record) else { return };
        match header.kind {
            kind::PROCESS_FORK => {
                let Ok((fork, _)) = ForkRecord::read_from_prefix(record) else { return };
                let parent = fork.task;
                self.insert(parent);
                self.insert(TaskContext {
                    tgid: fork.child_tgid,
                    tid: fork.child_tgid,
                    start_boottime_ns: fork.child_start_boottime_ns,
                    parent_tgid: parent.tgid,
                    parent_start_boottime_ns: parent.start_boottime_ns,
                    ..parent
                });
            }
            kind::PROCESS_EXEC => {
                let Ok((exec, _)) = ExecRecord::read_from_prefix(record) else { return };
                self.insert(exec.task);
            }
            kind::CGROUP_CREATE | kind::NAMESPACE => {
                let Ok((container, _)) = ContainerRecord::read_from_prefix(record) else { return };
                self.insert(container.task);
            }
            kind::PROCESS_EXIT => {
                let Ok((exit, _)) = ExitRecord::read_from_prefix(record) else { return };
                self.end(exit.tgid, exit.start_boottime_ns);
            }
            _ => {}
        }
    }

    fn insert(&mut self, context: TaskContext) {
        if context.tgid == 0 || (self.known.len() >= LIVING_MAX && !self.known.contains_key(&context.tgid)) {
            return;
        }
        self.known.insert(context.tgid, Known { context, ended: false });
    }

    fn end(&mut self, tgid: u32, start_ns: u64) {
        let Some(known) = self.known.get_mut(&tgid) else { return };
        if known.context.start_boottime_ns != start_ns || std::mem::replace(&mut known.ended, true) {
            return;
        }
        self.ended.push_back((tgid, start_ns));
        if self.ended.len() > ENDED_MAX {
            if let Some((oldest, start_ns)) = self.ended.pop_front() {
                let same = |known: &Known| known.ended && known.context.start_boottime_ns == start_ns;
                if self.known.get(&oldest).is_some_and(same) {
                    self.known.remove(&oldest);
                }
            }
        }
    }

    /// The task with this process id, as far as it is known now. Where neither the ring nor /proc tells of it, only
    /// `tgid` is set.
    #[must_use]
    pub fn context(&self, tgid: u32) -> TaskContext {
        let known = self.known.get(&tgid).map(|known| known.context);
        if tgid == 0 {
            return nobody(0);
        }
        let Some(now) = self.look(tgid) else { return known.unwrap_or_else(|| nobody(tgid)) };
        match known {
            Some(known) if self.is_same(known.start_boottime_ns, now.start_boottime_ns) => TaskContext {
                start_boottime_ns: known.start_boottime_ns,
                parent_tgid: known.parent_tgid,
                parent_start_boottime_ns: known.parent_start_boottime_ns,
                cgroup_id: if now.cgroup_id == 0 { known.cgroup_id } else { now.cgroup_id },
                ..now
            },
            _ => now,
        }
    }

    /// Whether two starts are one: /proc has it in whole ticks.
    fn is_same(&self, exact: u64, ticks: u64) -> bool {
        exact / self.tick_ns == ticks / self.tick_ns
    }

    /// What /proc says of a process (proc(5)); the start is in whole ticks.
    fn look(&self, tgid: u32) -> Option<TaskContext> {
        let process = Process::new(tgid.cast_signed()).ok()?;
        let stat = process.stat().ok()?;
        let status = process.status().ok()?;
        let parent_tgid = u32::try_from(stat.ppid).unwrap_or(0);
        let parent = self.known.get(&parent_tgid).map(|known| known.context.start_boottime_ns);
        let parent_start = parent
            .or_else(|| {
                let parent = Process::new(stat.ppid).ok()?.stat().ok()?;
                Some(parent.starttime * self.tick_ns)
            })
            .unwrap_or(0);
        let mut comm = [0; 16];
        let name = stat.comm.as_bytes();
        let length = name.len().min(comm.len() - 1);
        comm[..length].copy_from_slice(&name[..length]);
        let number = |file: &str| {
            let text = std::fs::read_to_string(format!("/proc/{tgid}/{file}")).ok();
            text.and_then(|text| text.trim().parse().ok()).unwrap_or(u32::MAX)
        };
        Some(TaskContext {
            start_boottime_ns: stat.starttime * self.tick_ns,
            parent_start_boottime_ns: if parent_tgid == 0 { 0 } else { parent_start },
            cgroup_id: self.cgroup(tgid).unwrap_or(0),
            tgid,
            tid: tgid,
            parent_tgid,
            uid: status.ruid,
            euid: status.euid,
            gid: status.rgid,
            loginuid: number("loginuid"),
            session_id: number("sessionid"),
            mnt_ns: namespace(tgid, "mnt"),
            pid_ns: namespace(tgid, "pid_for_children"),
            net_ns: namespace(tgid, "net"),
            user_ns: namespace(tgid, "user"),
            task_flags: stat.flags,
            comm,
            reserved: 0,
        })
    }

    /// Id of a process's group in the unified hierarchy: the inode number of its directory.
    fn cgroup(&self, tgid: u32) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{tgid}/cgroup")).ok()?;
        let group = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        // A group outside of the reader's cgroup namespace begins with "/../" (cgroup_namespaces(7)).
        if group.split('/').any(|name| name == "..") {
            return None;
        }
        Some(std::fs::symlink_metadata(self.cgroup_root.as_ref()?.join(group)).ok()?.ino())
    }
}

/// A process of which only the id is known.
fn nobody(tgid: u32) -> TaskContext {
    TaskContext { tgid, tid: tgid, loginuid: u32::MAX, session_id: u32::MAX, ..TaskContext::default() }
}

/// The inode number of a namespace (namespaces(7)); 0 where it may not be known.
fn namespace(tgid: u32, name: &str) -> u32 {
    std::fs::read_link(format!("/proc/{tgid}/ns/{name}"))
        .ok()
        .and_then(|link| {
            link.to_str()?.rsplit_once('[').and_then(|(_, number)| number.trim_end_matches(']').parse().ok())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::encode::{ExecParts, encode_exec, encode_exit, encode_fork};

    fn task(tgid: u32, start: u64) -> TaskContext {
        TaskContext { tgid, tid: tgid, start_boottime_ns: start, uid: 7, ..TaskContext::default() }
    }

    /// Beyond every process id that Linux gives out (`PID_MAX_LIMIT`, 4194304).
    const FIRST: u32 = 5_000_000;

    #[test]
    fn an_ended_process_is_known_a_while() {
        let mut tasks = Tasks::new();
        let parent = task(FIRST, 100);
        tasks.observe(&encode_fork(1, parent, FIRST + 1, 200));
        let child = tasks.context(FIRST + 1);
        assert_eq!((child.start_boottime_ns, child.uid), (200, 7));
        assert_eq!((child.parent_tgid, child.parent_start_boottime_ns), (FIRST, 100));
        tasks.observe(&encode_exec(
            2,
            &ExecParts { task: TaskContext { uid: 8, ..child }, ..ExecParts::default() },
        ));
        tasks.observe(&encode_exit(3, FIRST + 1, 200, 0));
        assert_eq!(tasks.context(FIRST + 1).uid, 8);
        for number in 2..ENDED_MAX as u32 + 2 {
            tasks.observe(&encode_fork(4, parent, FIRST + number, 300));
            tasks.observe(&encode_exit(5, FIRST + number, 300, 0));
        }
        assert_eq!(tasks.context(FIRST + 1), nobody(FIRST + 1), "the oldest are forgotten");
        assert_eq!(tasks.context(FIRST).uid, 7, "the living are not");
        assert!(tasks.known.len() <= ENDED_MAX + 1 && tasks.ended.len() == ENDED_MAX);
    }

    #[test]
    fn the_end_of_an_earlier_namesake_is_not_this_ones() {
        let mut tasks = Tasks::new();
        tasks.observe(&encode_fork(1, task(FIRST, 100), FIRST + 1, 900));
        tasks.observe(&encode_exit(2, FIRST + 1, 200, 0));
        assert!(!tasks.known[&(FIRST + 1)].ended);
    }

    #[test]
    fn this_process_is_found_in_proc_and_keeps_its_exact_start() {
        let mut tasks = Tasks::new();
        let me = std::process::id();
        let found = tasks.context(me);
        assert_eq!((found.tgid, found.parent_tgid), (me, std::os::unix::process::parent_id()));
        assert_eq!(found.uid, rustix::process::getuid().as_raw());
        assert_ne!((found.mnt_ns, found.user_ns), (0, 0));
        let exact = found.start_boottime_ns + 1234;
        let exec = ExecParts { task: task(me, exact), ..ExecParts::default() };
        tasks.observe(&encode_exec(1, &exec));
        let again = tasks.context(me);
        assert_eq!((again.start_boottime_ns, again.uid), (exact, found.uid));
    }

    #[test]
    fn nobody_is_nobody() {
        let tasks = Tasks::new();
        assert_eq!(tasks.context(0), nobody(0));
        assert_eq!(tasks.context(FIRST), nobody(FIRST));
    }

    proptest::proptest! {
        #[test]
        fn garbled_records_are_passed_over(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut tasks = Tasks::default();
            tasks.observe(&bytes);
            proptest::prop_assert!(tasks.known.len() <= 2);
        }
    }
}
