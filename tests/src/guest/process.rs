//! Forks, execs, exits, control groups and namespaces, and what records say of who acted.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sensor_common::limits::ARGS_MAX;
use sensor_common::record::{ExitRecord, ForkRecord, flags};
use sensor_user::event::decode::{Event, ExecEvent, decode};

use super::case::{Child, call, descriptor};
use super::sensor::Sensor;
use super::setup::Results;
use super::tiny;

/// The smallest program, on a mount of its own.
pub const TINY: &str = "/w/bin/tiny";

type Test = fn(&mut Sensor) -> Result<()>;

const TESTS: [(&str, Test); 18] = [
    ("fork and exit", fork_and_exit),
    ("exit status and signals", exit_status),
    ("threads are no processes", threads),
    ("a process lives as long as its last thread", leader_first),
    ("an exec in a second thread ends no process", exec_in_thread),
    ("exec", exec_plain),
    ("exec, as another user", exec_as_user),
    ("exec, arguments of every size", exec_sizes),
    ("exec without arguments", exec_without_arguments),
    ("exec of a script", exec_script),
    ("exec of a memfd", exec_memfd),
    ("exec of a deleted file", exec_deleted),
    ("exec in a chroot", exec_in_chroot),
    ("exec in a deep directory", exec_deep),
    ("exec with a long path", exec_long_path),
    ("vfork", vforked),
    ("control groups", super::context::cgroups),
    ("namespaces", super::context::namespaces),
];

/// Makes the programs.
///
/// # Errors
/// Where one cannot be written.
pub fn prepare() -> Result<()> {
    fs::create_dir_all("/w/bin")?;
    fs::create_dir_all(deep(40))?;
    program(TINY)?;
    fs::write("/w/bin/script", format!("#!{TINY} -x\n"))?;
    fs::set_permissions("/w/bin/script", fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn program(path: &str) -> Result<()> {
    fs::write(path, tiny::elf()).with_context(|| path.to_owned())?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// Runs all of them.
pub fn run_all(sensor: &mut Sensor, results: &mut Results) {
    for (name, test) in TESTS {
        let result = test(sensor);
        results.report(&format!("process/{name}"), result);
    }
}

/// The records of one process and of its making, as bytes.
pub struct History {
    /// Its process id.
    pub pid: u32,
    records: Vec<Vec<u8>>,
}

impl History {
    /// Every record since the last call, of whatever process.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        self.records.iter().filter_map(|record| decode(record).ok())
    }

    /// The record of the fork that made it: there must be one.
    ///
    /// # Errors
    /// Where there is none, or more.
    pub fn fork(&self) -> Result<ForkRecord> {
        one(self.events().filter_map(|event| match event {
            Event::Fork(record) if record.child_tgid == self.pid => Some(record),
            _ => None,
        }))
        .context("fork records")
    }

    /// Its exec: there must be one.
    ///
    /// # Errors
    /// Where there is none, or more.
    pub fn exec(&self) -> Result<ExecEvent<'_>> {
        one(self.events().filter_map(|event| match event {
            Event::Exec(event) if event.record.task.tgid == self.pid => Some(event),
            _ => None,
        }))
        .context("exec records")
    }

    /// Its exit: there must be one.
    ///
    /// # Errors
    /// Where there is none, or more.
    pub fn exit(&self) -> Result<ExitRecord> {
        one(self.events().filter_map(|event| match event {
            Event::Exit(record) if record.tgid == self.pid => Some(record),
            _ => None,
        }))
        .context("exit records")
    }
}

fn one<T>(mut all: impl Iterator<Item = T>) -> Result<T> {
    let first = all.next().context("none")?;
    let more = all.count();
    ensure!(more == 0, "{} instead of one", more + 1);
    Ok(first)
}

/// Does something in a process of its own, lets `meanwhile` look at the process, and returns the records.
///
/// # Errors
/// Where the act fails.
pub fn history(sensor: &mut Sensor, act: impl FnOnce() -> Result<()>) -> Result<History> {
    let (history, ended) = history_of(sensor, act)?;
    ended?;
    Ok(history)
}

fn history_of(sensor: &mut Sensor, act: impl FnOnce() -> Result<()>) -> Result<(History, Result<()>)> {
    sensor.drain(|_| {});
    let child = Child::start(act)?;
    let pid = child.pid.cast_unsigned();
    let ended = child.wait();
    let mut records = Vec::new();
    sensor.drain(|record| records.push(record.to_vec()));
    Ok((History { pid, records }, ended))
}

/// Replaces this process.
pub fn exec(path: &str, args: &[&str]) -> Result<()> {
    let path = CString::new(path)?;
    let args: Vec<CString> = args.iter().map(|arg| CString::new(*arg)).collect::<Result<_, _>>()?;
    let mut pointers: Vec<_> = args.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: strings with their NULs, in an array that ends with a null pointer.
    call("execv", unsafe { libc::execv(path.as_ptr(), pointers.as_ptr()) }).map(drop)
}

fn fork_and_exit(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || Ok(()))?;
    let (fork, exit) = (history.fork()?, history.exit()?);
    ensure!(fork.task.tgid == 1, "forked by {}", fork.task.tgid);
    ensure!(exit.start_boottime_ns == fork.child_start_boottime_ns, "{exit:?} {fork:?}");
    ensure!(exit.exit_code == 0, "{exit:?}");
    ensure!(history.exec().is_err(), "an exec that was none");
    Ok(())
}

fn exit_status(sensor: &mut Sensor) -> Result<()> {
    let code = |sensor: &mut Sensor, act: fn() -> Result<()>| -> Result<u32> {
        Ok(history_of(sensor, act)?.0.exit()?.exit_code)
    };
    let exited = code(sensor, || {
        // SAFETY: ends the process.
        unsafe { libc::_exit(3) }
    })?;
    let killed = code(sensor, || {
        let own = std::process::id().cast_signed();
        // SAFETY: to ourselves.
        call("kill", unsafe { libc::kill(own, libc::SIGKILL) }).map(drop)
    })?;
    ensure!((exited, killed) == (3 << 8, 9), "exit codes {exited:#x} and {killed:#x}");
    Ok(())
}

fn threads(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || {
        std::thread::spawn(|| {}).join().ok().context("thread")?;
        Ok(())
    })?;
    history.fork()?;
    history.exit()?;
    let forks = history.events().filter(|event| matches!(event, Event::Fork(_))).count();
    ensure!(forks == 1, "{forks} forks");
    Ok(())
}

/// The exit of the first thread alone.
fn exit_thread() {
    // SAFETY: ends this thread; its stack is used no more.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

fn leader_first(sensor: &mut Sensor) -> Result<()> {
    const FILE: &str = "/w/watched/by-the-last-thread";
    let history = history(sensor, || {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            let written = fs::write(FILE, "x");
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from(written.is_err())) };
        });
        exit_thread();
        Ok(())
    })?;
    let exit = history.exit()?;
    let last_write = history.events().filter_map(|event| match event {
        Event::File(event) => Some(event.record),
        _ => None,
    });
    let last_write = last_write.last().context("no record of the file")?;
    ensure!(last_write.task.tgid == history.pid, "by {}", last_write.task.tgid);
    ensure!(last_write.task.tid != history.pid, "not by the second thread");
    ensure!(exit.header.boottime_ns > last_write.header.boottime_ns, "the exit came before the last write");
    ensure!(exit.start_boottime_ns == last_write.task.start_boottime_ns, "two identities: {exit:?}");
    Ok(())
}

fn exec_in_thread(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || {
        std::thread::spawn(|| exec(TINY, &["from-a-thread"])).join().ok().context("thread")?
    })?;
    let (fork, exec, exit) = (history.fork()?, history.exec()?, history.exit()?);
    ensure!(exec.args == b"from-a-thread\0", "{:?}", exec.args);
    ensure!(exec.record.task.start_boottime_ns == fork.child_start_boottime_ns, "another identity");
    ensure!(exit.header.boottime_ns > exec.record.header.boottime_ns, "it ended before its exec");
    Ok(())
}

/// Checks an exec of [`TINY`].
fn check_tiny(event: &ExecEvent<'_>) -> Result<()> {
    let there = fs::metadata(TINY)?;
    let exe = event.record.exe;
    let device = rustix::fs::major(there.dev()) << 20 | rustix::fs::minor(there.dev());
    ensure!((exe.inode, exe.device) == (there.ino(), device), "is {} of {device:#x}: {exe:?}", there.ino());
    ensure!((exe.mode, exe.size) == (there.mode(), there.size()), "{exe:?}");
    let path = event.exe_path.to_path("");
    ensure!(path == TINY, "executable {path}");
    Ok(())
}

fn exec_plain(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || {
        std::env::set_current_dir("/sys/kernel/security")?;
        exec("../../../w/bin/./tiny", &["a name", "b", "", "d"])
    })?;
    let event = history.exec()?;
    check_tiny(&event)?;
    let record = &event.record;
    ensure!(event.filename == b"../../../w/bin/./tiny\0", "{:?}", event.filename);
    ensure!(event.args == b"a name\0b\0\0d\0", "{:?}", event.args);
    ensure!((record.argc, record.args_total) == (4, 12), "{record:?}");
    ensure!(event.cwd.to_path("/") == "/sys/kernel/security", "{}", event.cwd.to_path("/"));
    ensure!(record.header.flags == 0, "flags {:#x}", record.header.flags);
    ensure!(record.task.comm.starts_with(b"tiny\0"), "{:?}", record.task.comm);
    ensure!(record.task.start_boottime_ns == history.fork()?.child_start_boottime_ns, "another identity");
    ensure!(record.task.start_boottime_ns == history.exit()?.start_boottime_ns, "another identity");
    Ok(())
}

fn exec_as_user(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || {
        // SAFETY: plain numbers.
        call("setresgid", unsafe { libc::setresgid(8, 8, 8) })?;
        // SAFETY: plain numbers.
        call("setresuid", unsafe { libc::setresuid(7, 7, 7) })?;
        exec(TINY, &["t"])
    })?;
    let task = history.exec()?.record.task;
    ensure!((task.uid, task.euid, task.gid) == (7, 7, 8), "{task:?}");
    Ok(())
}

/// Each size of record, its bounds, and one more than fits.
fn exec_sizes(sensor: &mut Sensor) -> Result<()> {
    for total in [3, 255, 256, 257, 1023, 1024, 1025, ARGS_MAX - 1, ARGS_MAX, ARGS_MAX + 1, 100_000] {
        let long = "y".repeat(total - 3);
        let whole = format!("x\0{long}\0");
        let history =
            history(sensor, || exec(TINY, &["x", &long])).with_context(|| format!("{total} bytes"))?;
        let event = history.exec()?;
        let length = total.min(ARGS_MAX);
        ensure!(
            event.args == &whole.as_bytes()[..length],
            "{total}: {} bytes, not {length}",
            event.args.len()
        );
        let record = event.record;
        ensure!(record.args_total as usize == total, "{total}: said to be {}", record.args_total);
        let cut = record.header.flags & flags::ARGS_TRUNCATED != 0;
        ensure!(cut == (total > ARGS_MAX), "{total}: flags {:#x}", record.header.flags);
        check_tiny(&event)?;
    }
    Ok(())
}

/// From 5.18 on the kernel gives a program that was given none an empty one (fs/exec.c, `do_execveat_common`).
fn exec_without_arguments(sensor: &mut Sensor) -> Result<()> {
    let event_args = history(sensor, || exec(TINY, &[]))?;
    let event = event_args.exec()?;
    ensure!(event.args.is_empty() || event.args == b"\0", "{:?}", event.args);
    ensure!(event.record.args_total as usize == event.args.len(), "{}", event.record.args_total);
    ensure!(event.record.header.flags == 0, "flags {:#x}", event.record.header.flags);
    check_tiny(&event)
}

fn exec_script(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || exec("/w/bin/script", &["name", "argument"]))?;
    let event = history.exec()?;
    check_tiny(&event)?;
    ensure!(event.filename == b"/w/bin/script\0", "{:?}", event.filename);
    ensure!(event.args == b"/w/bin/tiny\0-x\0/w/bin/script\0argument\0", "{:?}", event.args);
    ensure!(event.record.header.flags == flags::EXE_SCRIPT, "flags {:#x}", event.record.header.flags);
    Ok(())
}

/// Executes an open file that may have no name.
///
/// # Errors
/// Where the kernel refuses; else it does not return.
pub fn exec_descriptor(file: &impl std::os::fd::AsRawFd, args: &[CString]) -> Result<()> {
    let args: Vec<_> = args.iter().map(|arg| arg.as_ptr()).chain([std::ptr::null()]).collect();
    let environment = [std::ptr::null::<libc::c_char>()];
    // SAFETY: an open descriptor, an empty path, arrays that end with null pointers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    call("execveat", result).map(drop)
}

fn exec_memfd(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || {
        // SAFETY: a string with its NUL.
        let file = descriptor("memfd_create", unsafe {
            libc::memfd_create(c"payload".as_ptr(), libc::MFD_CLOEXEC)
        })?;
        rustix::io::write(&file, &tiny::elf())?;
        exec_descriptor(&file, &[c"t".into()])
    })?;
    let event = history.exec()?;
    let expected = flags::EXE_MEMFD | flags::EXE_DELETED;
    ensure!(event.record.header.flags == expected, "flags {:#x}", event.record.header.flags);
    ensure!(event.exe_path.leaf() == Some(b"memfd:payload"), "{:?}", event.exe_path);
    Ok(())
}

fn exec_deleted(sensor: &mut Sensor) -> Result<()> {
    program("/w/bin/short-lived")?;
    let history = history(sensor, || {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::open("/w/bin/short-lived", flags, rustix::fs::Mode::empty())?;
        fs::remove_file("/w/bin/short-lived")?;
        exec_descriptor(&file, &[c"t".into()])
    })?;
    let event = history.exec()?;
    ensure!(event.record.header.flags == flags::EXE_DELETED, "flags {:#x}", event.record.header.flags);
    ensure!(event.exe_path.leaf() == Some(b"short-lived"), "{:?}", event.exe_path);
    Ok(())
}

/// The path is that of the mount tree, whatever the process takes for its root.
fn exec_in_chroot(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || {
        std::os::unix::fs::chroot("/w")?;
        std::env::set_current_dir("/bin")?;
        exec("/bin/tiny", &["t"])
    })?;
    let event = history.exec()?;
    check_tiny(&event)?;
    ensure!(event.cwd.to_path("/") == "/w/bin", "{}", event.cwd.to_path("/"));
    Ok(())
}

fn deep(levels: usize) -> String {
    format!("/w/deep{}", "/d".repeat(levels))
}

fn exec_deep(sensor: &mut Sensor) -> Result<()> {
    for (levels, cut) in [(20, false), (40, true)] {
        let path = deep(levels);
        let history = history(sensor, || {
            std::env::set_current_dir(&path)?;
            exec(TINY, &["t"])
        })?;
        let event = history.exec()?;
        check_tiny(&event)?;
        let cwd = event.cwd.to_path("");
        ensure!(path.ends_with(&cwd) && (cwd == path) != cut, "{levels}: {cwd}");
        let flags = event.record.header.flags;
        ensure!((flags == flags::PATH_TRUNCATED) == cut, "{levels}: flags {flags:#x}");
    }
    Ok(())
}

/// Paths of more bytes than the small record has room for.
fn exec_long_path(sensor: &mut Sensor) -> Result<()> {
    let path = format!("/w/{}", [&"n".repeat(255)[..]; 5].join("/"));
    fs::create_dir_all(&path)?;
    let there = format!("{path}/tiny");
    program(&there)?;
    let history = history(sensor, || {
        std::env::set_current_dir(&path)?;
        exec(&there, &["t"])
    })?;
    let event = history.exec()?;
    ensure!(event.exe_path.to_path("") == there, "executable of {} bytes", event.exe_path.to_path("").len());
    // Room for paths is shared: the working directory may be cut, from above, and then the record says so.
    let (cwd, cut) = (event.cwd.to_path(""), event.record.header.flags & flags::PATH_TRUNCATED != 0);
    ensure!(path.ends_with(&cwd) && (cwd == path) != cut, "cwd of {} bytes, cut: {cut}", cwd.len());
    // The kernel's own limit is 4096; the record keeps the beginning.
    ensure!(event.filename.starts_with(&there.as_bytes()[..255]), "filename of {}", event.filename.len());
    ensure!(Path::new(&there).exists(), "it was not there");
    Ok(())
}

fn vforked(sensor: &mut Sensor) -> Result<()> {
    let history = history(sensor, || {
        std::process::Command::new(TINY).arg("spawned").status()?;
        Ok(())
    })?;
    let spawned = history.events().find_map(|event| match event {
        Event::Fork(record) if record.task.tgid == history.pid => Some(record.child_tgid),
        _ => None,
    });
    let spawned = spawned.context("no fork of the process")?;
    let exec = history.events().find_map(|event| match event {
        Event::Exec(event) if event.record.task.tgid == spawned => Some(event),
        _ => None,
    });
    let exec = exec.context("no exec of the child")?;
    ensure!(exec.record.task.parent_tgid == history.pid, "parent {}", exec.record.task.parent_tgid);
    ensure!(exec.args == b"/w/bin/tiny\0spawned\0", "{:?}", exec.args);
    Ok(())
}
