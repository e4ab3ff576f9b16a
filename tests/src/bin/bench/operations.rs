//! What is measured.

use std::ffi::CStr;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::OnceLock;

use anyhow::{Result, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

pub const WATCHED: &CStr = c"/etc/systemd/system/example.service";
pub const DEPTH_2: &CStr = c"/srv/data/file";
pub const DEPTH_9: &CStr = c"/srv/b/c/d/e/f/g/h/i/file";
pub const ELSEWHERE: &CStr = c"/mnt/a/b/file";
pub const TINY: &CStr = c"/srv/data/tiny";

/// Something to measure.
pub struct Operation {
    pub name: &'static str,
    /// Operations between two readings of the clock: so few that among the rounds is one without a timer tick, and
    /// without the page allocator's work for many processes at once.
    pub batch: u32,
    pub rounds: u32,
    /// Records of files that one operation must give under the sensor: no more, no fewer.
    pub file_records: u32,
    /// Records of processes that it must give at least; the kernel's own threads may add some.
    pub process_records: u32,
    pub run: fn() -> Result<()>,
}

pub const OPERATIONS: [Operation; 10] = [
    file_operation("open and close, read-only", 0, || open_and_close(DEPTH_2, OFlags::RDONLY)),
    file_operation("open and close for writing, depth 2", 0, || open_and_close(DEPTH_2, OFlags::WRONLY)),
    file_operation("open and close for writing, depth 9", 0, || open_and_close(DEPTH_9, OFlags::WRONLY)),
    file_operation("the same, depth 2, filesystem without watches", 0, || {
        open_and_close(ELSEWHERE, OFlags::WRONLY)
    }),
    file_operation("open, write and close, watched", 2, || {
        let file = rustix::fs::open(WATCHED, OFlags::WRONLY, Mode::empty())?;
        rustix::io::write(&file, b"[Service]\n")?;
        Ok(())
    }),
    file_operation("send, unix sockets of a pair", 0, || send(&sockets()?.pair)),
    file_operation("send, to a listener that is not watched", 0, || send(&sockets()?.listener)),
    file_operation("send, TCP", 0, || send(&sockets()?.tcp)),
    process_operation("spawn, exec, exit and wait", 3, spawn),
    process_operation("fork, exit and wait", 2, fork),
];

const fn file_operation(name: &'static str, file_records: u32, run: fn() -> Result<()>) -> Operation {
    Operation { name, batch: 40, rounds: 60, file_records, process_records: 0, run }
}

const fn process_operation(name: &'static str, process_records: u32, run: fn() -> Result<()>) -> Operation {
    Operation { name, batch: 1, rounds: 200, file_records: 0, process_records, run }
}

fn open_and_close(path: &CStr, flags: OFlags) -> Result<()> {
    rustix::fs::open(path, flags, Mode::empty())?;
    Ok(())
}

/// Two connected sockets, of which the second is read.
type Pair = (OwnedFd, OwnedFd);

/// The worker's sockets.
struct Sockets {
    pair: Pair,
    listener: Pair,
    tcp: Pair,
}

fn sockets() -> Result<&'static Sockets> {
    static SOCKETS: OnceLock<Sockets> = OnceLock::new();
    if let Some(sockets) = SOCKETS.get() {
        return Ok(sockets);
    }
    let pair = UnixStream::pair()?;
    let listener = UnixListener::bind("/srv/data/socket")?;
    let client = UnixStream::connect("/srv/data/socket")?;
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let tcp_client = TcpStream::connect(tcp.local_addr()?)?;
    tcp_client.set_nodelay(true)?;
    let sockets = Sockets {
        pair: (pair.0.into(), pair.1.into()),
        listener: (client.into(), listener.accept()?.0.into()),
        tcp: (tcp_client.into(), tcp.accept()?.0.into()),
    };
    Ok(SOCKETS.get_or_init(|| sockets))
}

fn send((from, to): &Pair) -> Result<()> {
    let mut bytes = [0; 64];
    rustix::io::write(from, &bytes)?;
    rustix::io::read(to, &mut bytes)?;
    Ok(())
}

fn spawn() -> Result<()> {
    let argv = [TINY.as_ptr().cast_mut(), std::ptr::null_mut()];
    let environment = [std::ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: the strings and both arrays outlive the call and end as posix_spawn(3) wants them.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            TINY.as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            argv.as_ptr(),
            environment.as_ptr(),
        )
    };
    ensure!(error == 0, "cannot spawn {TINY:?}: {}", std::io::Error::from_raw_os_error(error));
    wait(pid)
}

fn fork() -> Result<()> {
    // SAFETY: this process has one thread, and its child calls nothing but _exit(2).
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error().into()),
        // SAFETY: no precondition; nothing of the parent's runs in the child.
        0 => unsafe { libc::_exit(0) },
        pid => wait(pid),
    }
}

fn wait(pid: i32) -> Result<()> {
    let status = rustix::process::waitpid(Pid::from_raw(pid), rustix::process::WaitOptions::empty())?;
    ensure!(status.is_some_and(|(_, status)| status.exit_status() == Some(0)), "child {pid} failed");
    Ok(())
}
