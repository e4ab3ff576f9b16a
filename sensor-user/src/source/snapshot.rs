//! What was there before the first record: the machine, its users, control groups and processes.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs::process::Process;
use rustix::time::{ClockId, clock_gettime};
use sensor_common::limits::ARGS_MAX;

use crate::event::user::{CgroupSnapshot, Host, ProcessSnapshot, Users};

/// Control groups that are listed at start.
const CGROUPS_MAX: usize = 65_536;
/// Users that are listed.
const USERS_MAX: usize = 65_536;

/// `CLOCK_BOOTTIME` in nanoseconds.
#[must_use]
pub fn boottime_ns() -> u64 {
    nanoseconds(ClockId::Boottime).cast_unsigned()
}

/// Now, on the wall clock, in nanoseconds since 1970.
pub fn realtime_ns() -> i64 {
    nanoseconds(ClockId::Realtime)
}

fn nanoseconds(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// The machine and its clocks. What cannot be read stays empty.
#[must_use]
pub fn host(backend: &str) -> Host {
    let uname = rustix::system::uname();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Host {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        machine_id: read("/etc/machine-id"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        kernel_release: uname.release().to_string_lossy().into_owned(),
        realtime_offset_ns: nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Boottime),
        backend: backend.to_owned(),
        init_mnt_ns: namespace(1, "mnt"),
        init_pid_ns: namespace(1, "pid_for_children"),
    }
}

/// Inode number of a process's namespace (namespaces(7)); 0 where it cannot be read.
fn namespace(pid: u32, kind: &str) -> u32 {
    std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).map_or(0, |meta| meta.ino() as u32)
}

/// A user, as passwd(5) has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Number.
    pub id: u32,
    /// Name.
    pub name: String,
    /// Home directory.
    pub home: String,
}

/// The users of /etc/passwd below `root`, in its order. Lines that are none are passed over.
///
/// # Errors
/// Where the file cannot be read.
pub fn users(root: &str) -> std::io::Result<Vec<User>> {
    let text = std::fs::read(Path::new(root).join("etc/passwd"))?;
    Ok(parse_users(&String::from_utf8_lossy(&text)))
}

/// The users of a text in the form of passwd(5), in its order. Lines that are none are passed over.
pub fn parse_users(text: &str) -> Vec<User> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
            let id = fields.nth(1)?.parse().ok()?;
            let home = fields.nth(2)?.to_owned();
            Some(User { id, name, home })
        })
        .take(USERS_MAX)
        .collect()
}

/// Numbers, names and homes, for the stream. Of two entries for one number the first counts, as in getpwuid(3).
#[must_use]
pub fn known(users: &[User]) -> Users {
    let mut known = Users::default();
    for user in users {
        known.names.entry(user.id).or_insert_with(|| user.name.clone());
        known.homes.entry(user.id).or_insert_with(|| user.home.clone());
    }
    known
}

/// Every control group of the unified hierarchy.
#[must_use]
pub fn cgroups() -> Vec<CgroupSnapshot> {
    let Some(root) = cgroup_root() else {
        tracing::warn!(
            "no cgroup2 is mounted: containers that run already are not recognised by their control group"
        );
        return Vec::new();
    };
    let mut groups = Vec::new();
    let mut waiting = vec![root.clone()];
    while let Some(directory) = waiting.pop() {
        let Ok(meta) = std::fs::symlink_metadata(&directory) else { continue };
        let below = directory.strip_prefix(&root).unwrap_or(&directory);
        groups.push(CgroupSnapshot { id: meta.ino(), path: format!("/{}", below.to_string_lossy()) });
        if groups.len() >= CGROUPS_MAX {
            tracing::warn!(bound = CGROUPS_MAX, "more control groups than are listed");
            break;
        }
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        waiting.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    groups
}

/// Where the unified hierarchy is mounted (cgroups(7)).
fn cgroup_root() -> Option<PathBuf> {
    let mounts = Process::myself().ok()?.mountinfo().ok()?;
    mounts.into_iter().find(|mount| mount.fs_type == "cgroup2").map(|mount| mount.mount_point)
}

/// Every process. One that ends meanwhile is left out.
///
/// # Errors
/// Where /proc cannot be listed.
pub fn processes(
    groups: &[CgroupSnapshot],
    mut found: impl FnMut(ProcessSnapshot),
) -> procfs::ProcResult<usize> {
    let ids: HashMap<&str, u64> = groups.iter().map(|group| (group.path.as_str(), group.id)).collect();
    let ticks = procfs::ticks_per_second();
    let (mut snapshots, mut starts) = (Vec::new(), HashMap::new());
    for process in procfs::process::all_processes()? {
        if let Ok(snapshot) = process.and_then(|process| snapshot(&process, ticks, &ids)) {
            starts.insert(snapshot.tgid, snapshot.start_boottime_ns);
            snapshots.push(snapshot);
        }
    }
    let count = snapshots.len();
    for mut snapshot in snapshots {
        snapshot.parent_start_boottime_ns = starts.get(&snapshot.parent_tgid).copied();
        found(snapshot);
    }
    Ok(count)
}

fn snapshot(
    process: &Process,
    ticks: u64,
    cgroups: &HashMap<&str, u64>,
) -> procfs::ProcResult<ProcessSnapshot> {
    let stat = process.stat()?;
    let status = process.status()?;
    let pid = stat.pid.cast_unsigned();
    let number = |file: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{file}"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(u32::MAX)
    };
    // A kernel thread has no executable; of others it may be hidden from this process.
    let exe = process.exe().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let stripped = exe.strip_suffix(" (deleted)");
    let meta = std::fs::metadata(format!("/proc/{pid}/exe")).ok();
    let (args, args_truncated) = arguments(pid);
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    Ok(ProcessSnapshot {
        tgid: pid,
        start_boottime_ns: stat.starttime * (1_000_000_000 / ticks),
        parent_tgid: stat.ppid.cast_unsigned(),
        parent_start_boottime_ns: None,
        uid: status.ruid,
        euid: status.euid,
        gid: status.rgid,
        loginuid: number("loginuid"),
        session_id: number("sessionid"),
        cgroup_id: cgroups.get(cgroup).copied().unwrap_or(0),
        mnt_ns: namespace(pid, "mnt"),
        pid_ns: namespace(pid, "pid_for_children"),
        comm: stat.comm,
        exe_deleted: stripped.is_some(),
        exe: stripped.unwrap_or(&exe).to_owned(),
        exe_device: meta.as_ref().map_or(0, |meta| kernel_device(meta.dev())),
        exe_inode: meta.as_ref().map_or(0, MetadataExt::ino),
        cwd: process.cwd().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        args,
        args_truncated,
    })
}

/// A device number as stat(2) gives it, in the kernel's own encoding (`MKDEV`, `include/linux/kdev_t.h`).
#[must_use]
pub fn kernel_device(device: u64) -> u32 {
    rustix::fs::major(device) << 20 | rustix::fs::minor(device)
}

/// At most [`ARGS_MAX`] bytes of a process's arguments, and whether there are more.
fn arguments(pid: u32) -> (Vec<String>, bool) {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(format!("/proc/{pid}/cmdline"))
        .and_then(|file| file.take(ARGS_MAX as u64 + 1).read_to_end(&mut bytes));
    if read.is_err() || bytes.is_empty() {
        return (Vec::new(), false);
    }
    let truncated = bytes.len() > ARGS_MAX;
    bytes.truncate(ARGS_MAX);
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    (bytes.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect(), truncated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn users_are_read_and_bad_lines_passed_over() {
        let text = "root:x:0:0:root:/root:/bin/bash\nbroken\nno:x:number:0::/:\n:x:5:5::/:\nalice:x:1000:1000::/home/alice:/bin/sh\nroot2:x:0:0::/r:/bin/sh\n";
        let users = parse_users(text);
        let seen: Vec<_> =
            users.iter().map(|user| (user.id, user.name.as_str(), user.home.as_str())).collect();
        assert_eq!(seen, [(0, "root", "/root"), (1000, "alice", "/home/alice"), (0, "root2", "/r")]);
        let known = known(&users);
        assert_eq!((known.names[&0].as_str(), known.homes[&0].as_str()), ("root", "/root"));
    }

    #[test]
    fn this_process_is_found_as_it_is() {
        let mut mine = None;
        let count = processes(&[], |process| {
            if process.tgid == std::process::id() {
                mine = Some(process);
            }
        })
        .unwrap();
        let mine = mine.expect("this process runs");
        assert!(count >= 1);
        assert_eq!(mine.args, std::env::args().collect::<Vec<_>>());
        assert_eq!(mine.exe, std::env::current_exe().unwrap().to_str().unwrap());
        assert_eq!(mine.cwd, std::env::current_dir().unwrap().to_str().unwrap());
        assert_eq!(mine.uid, rustix::process::getuid().as_raw());
        assert!(!mine.exe_deleted && mine.start_boottime_ns <= boottime_ns());
        assert_eq!(mine.exe_inode, std::fs::metadata("/proc/self/exe").unwrap().ino());
    }

    #[test]
    fn devices_are_encoded_as_the_kernel_does() {
        assert_eq!(kernel_device(rustix::fs::makedev(8, 17)), 0x0080_0011);
    }

    proptest! {
        #[test]
        fn users_come_back_between_lines_of_any_kind(
            lines in proptest::collection::vec(
                prop_oneof![
                    ("[a-zA-Z_][a-z0-9_.$-]{0,31}", any::<u32>(), "[^:\\n]{0,40}")
                        .prop_map(|(name, id, home)| Ok(User { id, name, home })),
                    // No number, or too few fields: nobody.
                    "[^\\n0-9]{0,60}".prop_map(Err),
                ],
                0..20,
            ),
        ) {
            let text: Vec<String> = lines
                .iter()
                .map(|line| match line {
                    Ok(User { id, name, home }) => format!("{name}:x:{id}:100:Full Name,,,:{home}:/bin/sh\n"),
                    Err(other) => format!("{other}\n"),
                })
                .collect();
            let users: Vec<User> = lines.into_iter().filter_map(Result::ok).collect();
            prop_assert_eq!(parse_users(&text.concat()), users);
        }

        #[test]
        fn any_bytes_give_users_of_whole_lines(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = String::from_utf8_lossy(&bytes);
            let users = parse_users(&text);
            prop_assert!(users.len() <= text.lines().count());
            prop_assert!(users.iter().all(|user| !user.name.is_empty() && !user.name.contains([':', '\n'])));
        }
    }
}
