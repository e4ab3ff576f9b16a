//! What records say of who acted, compared with what the process itself and /proc say; control groups and namespaces.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use sensor_common::record::TaskContext;
use sensor_user::event::decode::{Event, decode};

use super::case::{Child, call};
use super::process::history;
use super::sensor::Sensor;
use super::setup::Results;

const CGROUP: &str = "/sys/fs/cgroup/context";
const FILE: &str = "/w/watched/context";

/// Runs all of them.
pub fn run_all(sensor: &mut Sensor, results: &mut Results) {
    let result = context(sensor);
    results.report("context/every field", result);
}

/// What a process says of itself, a number a field.
fn of_this_process() -> Result<String> {
    let link = |name: &str| -> Result<String> {
        let link = fs::read_link(format!("/proc/thread-self/ns/{name}")).with_context(|| name.to_owned())?;
        let text = link.to_string_lossy().into_owned();
        Ok(text.chars().filter(char::is_ascii_digit).collect())
    };
    // SAFETY: no argument, no failure.
    let pid = unsafe { libc::getpid() };
    // SAFETY: as above.
    let tid = unsafe { libc::gettid() };
    let (parent, uid) =
        (rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get()), rustix::process::getuid());
    let numbers = [
        pid.to_string(),
        tid.to_string(),
        parent.to_string(),
        uid.as_raw().to_string(),
        rustix::process::geteuid().as_raw().to_string(),
        rustix::process::getgid().as_raw().to_string(),
        fs::read_to_string("/proc/self/loginuid").unwrap_or_else(|_| u32::MAX.to_string()),
        fs::read_to_string("/proc/self/sessionid").unwrap_or_else(|_| u32::MAX.to_string()),
        link("mnt")?,
        link("pid")?,
        link("net")?,
        link("user")?,
        fs::metadata(CGROUP).context(CGROUP)?.ino().to_string(),
    ];
    Ok(numbers.join(" "))
}

/// The same out of a record.
fn of_record(task: &TaskContext) -> String {
    let numbers = [
        task.tgid,
        task.tid,
        task.parent_tgid,
        task.uid,
        task.euid,
        task.gid,
        task.loginuid,
        task.session_id,
        task.mnt_ns,
        task.pid_ns,
        task.net_ns,
        task.user_ns,
    ];
    let mut text: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    text.push(task.cgroup_id.to_string());
    text.join(" ")
}

/// Start of a process in clock ticks since boot (proc(5), "/proc/pid/stat", field 22).
fn start_ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; fields are counted behind it.
    let (_, rest) = stat.rsplit_once(')').context("no name")?;
    Ok(rest.split_whitespace().nth(19).context("too few fields")?.parse()?)
}

/// A process with everything set apart writes a file from a second thread.
fn context(sensor: &mut Sensor) -> Result<()> {
    fs::create_dir_all(CGROUP)?;
    sensor.drain(|_| {});
    let (read, tell) = rustix::pipe::pipe()?;
    let (wait, go) = rustix::pipe::pipe()?;
    let child = Child::start(|| {
        fs::write(format!("{CGROUP}/cgroup.procs"), "0").context("cgroup.procs")?;
        let has_audit = fs::write("/proc/self/loginuid", "1234").is_ok();
        rustix::io::write(&tell, if has_audit { b"a" } else { b"-" })?;
        let thread =
            std::thread::Builder::new().name("second-thread".into()).spawn(move || -> Result<()> {
                // Namespaces are a thread's own.
                let flags = libc::CLONE_NEWNS | libc::CLONE_NEWNET;
                // SAFETY: plain flags.
                call("unshare", unsafe { libc::unshare(flags) })?;
                let own = of_this_process()?;
                fs::write(FILE, "x").context(FILE)?;
                rustix::io::write(&tell, own.replace('\n', "").as_bytes())?;
                drop(tell);
                fs::File::from(wait).read_exact(&mut [0]).ok();
                Ok(())
            })?;
        thread.join().ok().context("thread")?
    })?;
    let pid = child.pid.cast_unsigned();
    let mut told = String::new();
    let mut reader = fs::File::from(read);
    let mut buffer = [0; 1024];
    // The parent holds no writing end, but the child's own copy of it is closed only by its thread.
    loop {
        let length = reader.read(&mut buffer)?;
        told.push_str(std::str::from_utf8(&buffer[..length])?);
        if length == 0 || told.len() > 20 {
            break;
        }
    }
    let ticks = start_ticks(pid)?;
    let parent_ticks = start_ticks(1)?;
    // Where the process has failed already, it says why.
    let _ = fs::File::from(go).write_all(b"g");
    child.wait()?;

    let mut task = None;
    sensor.drain(|record| {
        if let Ok(Event::File(event)) = decode(record) {
            task = Some(event.record.task);
        }
    });
    let task = task.context("no record of the file")?;
    let (audit, own) = told.split_at(1);
    ensure!(audit == "a" || task.loginuid == u32::MAX, "loginuid {} without audit", task.loginuid);
    ensure!(of_record(&task) == own, "the record says {}, the process {own}", of_record(&task));
    ensure!(task.tgid == pid && task.tid != pid, "{task:?}");
    ensure!(task.comm.starts_with(b"second-thread\0"), "{:?}", task.comm);
    ensure!(audit != "a" || task.loginuid == 1234, "loginuid {}", task.loginuid);
    for (name, start, ticks) in [
        ("start", task.start_boottime_ns, ticks),
        ("parent's start", task.parent_start_boottime_ns, parent_ticks),
    ] {
        ensure!(start / 10_000_000 == ticks, "{name} {start} ns, /proc says {ticks} ticks");
    }
    Ok(())
}

/// Control groups are told with their id, which is their directory's inode number, and path.
pub fn cgroups(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || Ok(fs::create_dir_all("/sys/fs/cgroup/outer.slice/inner.scope")?))?;
    let mut made = Vec::new();
    for event in history.events() {
        if let Event::Cgroup(event) = event {
            ensure!(event.record.task.tgid == history.pid, "by {}", event.record.task.tgid);
            made.push((
                event.record.value,
                String::from_utf8_lossy(event.path).trim_end_matches('\0').to_owned(),
            ));
        }
    }
    let mut expected = Vec::new();
    for path in ["/outer.slice", "/outer.slice/inner.scope"] {
        expected.push((fs::metadata(format!("/sys/fs/cgroup{path}"))?.ino(), path.to_owned()));
    }
    ensure!(made == expected, "expected {expected:?}, got {made:?}");
    Ok(())
}

/// Flags of unshare and clone; nothing for what setns enters.
pub fn namespaces(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || {
        // SAFETY: plain flags.
        call("unshare", unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUTS) })?;
        let namespace = fs::File::open("/proc/1/ns/uts")?;
        // SAFETY: an open descriptor and a plain flag.
        let entered = unsafe { libc::setns(std::os::fd::AsRawFd::as_raw_fd(&namespace), libc::CLONE_NEWUTS) };
        call("setns", entered)?;
        let flags = libc::CLONE_NEWIPC | libc::SIGCHLD;
        // SAFETY: without a new stack and without CLONE_VM this is fork.
        let child = call("clone", unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
        if child == 0 {
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: waits for a child of ours; the status is a local.
        call("waitpid", unsafe { libc::waitpid(child as i32, &raw mut status, 0) }).map(drop)
    })?;
    let told = |event| match event {
        Event::Namespace(record) => Some((record.task.tgid, record.value as i32)),
        _ => None,
    };
    let got: Vec<(u32, i32)> = history.events().filter_map(told).collect();
    let pid = history.pid;
    let expected = [(pid, libc::CLONE_NEWNS | libc::CLONE_NEWUTS), (pid, 0), (pid, libc::CLONE_NEWIPC)];
    ensure!(got == expected, "expected {expected:x?}, got {got:x?}");
    Ok(())
}
