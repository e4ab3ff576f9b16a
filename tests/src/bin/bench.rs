//! The guest of `cargo xtask bench`: init of a micro VM whose clock counts instructions.
//!
//! It measures a few operations without programs, then under empty ones in the same places, then under the sensor with
//! its default watch list, and writes one JSON document to the result port.

#![expect(clippy::cast_precision_loss, reason = "counts of instructions stay far below 2^52")]

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, mount};
use rustix::process::Pid;
use sensor_common::record::kind;
use sensor_user::config::Watch;
use sensor_user::probe::hooks::{Backend, Hook};
use sensor_user::probe::load::{self, Loaded, Options};
use sensor_user::probe::mark::MapMarker;
use sensor_user::probe::watches::{Spec, WatchSet};
use sensor_user::subject::adjacent;
use serde::Serialize;

/// Where `cargo xtask bench` puts the objects.
const EMPTY: &str = "/empty.bpf.o";
const SENSOR: &str = "/svcsensor.bpf.o";

const WATCHED: &CStr = c"/etc/systemd/system/example.service";
const DEPTH_2: &CStr = c"/srv/data/file";
const DEPTH_9: &CStr = c"/srv/b/c/d/e/f/g/h/i/file";
const ELSEWHERE: &CStr = c"/mnt/a/b/file";
const TINY: &CStr = c"/srv/data/tiny";

/// The argument of the process that does what is measured.
const WORKER: &str = "worker";

/// An x86-64 program that ends with status 0: ELF header, one program header, `mov $60,%eax; xor %edi,%edi; syscall`.
const TINY_PROGRAM: [u8; 129] = tiny_program();

/// What goes to the host.
#[derive(Serialize)]
struct Report {
    /// Watched objects.
    objects: usize,
    /// Watched names of entries.
    names: usize,
    figures: Vec<Figure>,
}

/// One operation in one phase.
#[derive(Serialize)]
struct Figure {
    phase: &'static str,
    operation: &'static str,
    /// Instructions for one operation.
    instructions: f64,
    programs: Vec<ProgramFigure>,
}

/// One hook's program during an operation.
#[derive(Serialize)]
struct ProgramFigure {
    hook: &'static str,
    /// Runs for one operation.
    runs: f64,
    /// Instructions for one run, as the kernel accounts them (`kernel.bpf_stats_enabled`).
    instructions: f64,
}

/// Something to measure.
struct Operation {
    name: &'static str,
    /// Operations between two readings of the clock: so few that among the rounds is one without a timer tick, and
    /// without the page allocator's work for many processes at once.
    batch: u32,
    rounds: u32,
    /// Records of files that one operation must give under the sensor: no more, no fewer.
    file_records: u32,
    /// Records of processes that it must give at least; the kernel's own threads may add some.
    process_records: u32,
    run: fn() -> Result<()>,
}

const OPERATIONS: [Operation; 10] = [
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

fn main() {
    if std::env::args().nth(1).as_deref() == Some(WORKER) {
        return serve().expect("every operation works");
    }
    let result = report();
    // The port is opened last: in the minimal root of a micro VM there is nothing else to tell of a failure.
    let mut port = File::options().write(true).open("/dev/ttyS1").expect("the initramfs has the result port");
    let (text, status) = match result.and_then(|report| Ok(serde_json::to_string(&report)?)) {
        Ok(text) => (text, 0),
        Err(error) => (format!("{error:#}"), 1),
    };
    writeln!(port, "{text}\nEXIT {status}").expect("the result port takes text");
    loop {
        // An init that ends is a kernel panic; the host stops the machine.
        std::thread::park();
    }
}

fn report() -> Result<Report> {
    let backend = match std::env::args().nth(1).as_deref() {
        Some("lsm") => Backend::Lsm,
        Some("fentry") => Backend::Fentry,
        other => bail!("the first argument must be lsm or fentry, not {other:?}"),
    };
    let specs = prepare().context("cannot prepare the filesystem")?;
    let mut worker = Worker::start()?;
    let mut figures = Vec::new();

    // The first round after the boot shares the processor with the kernel's own late work; and once programs
    // have been loaded and gone again, the kernel hands out memory differently, which shows in what processes cost.
    let warm_up = load_object(EMPTY, backend)?;
    for operation in &OPERATIONS {
        worker.measure(operation, &mut || Ok(()))?;
    }
    drop(warm_up);
    for operation in &OPERATIONS {
        let instructions = worker.measure(operation, &mut || Ok(()))?;
        figures.push(Figure { phase: "baseline", operation: operation.name, instructions, programs: vec![] });
    }

    let empty = load_object(EMPTY, backend)?;
    for operation in &OPERATIONS {
        let instructions = worker.measure(operation, &mut || Ok(()))?;
        let programs = worker.measure_programs(operation, &empty.hooks, &mut || Ok(()))?;
        figures.push(Figure { phase: "empty", operation: operation.name, instructions, programs });
    }
    drop(empty);

    let mut sensor = load_object(SENSOR, backend)?;
    let mut watches = WatchSet::new(MapMarker::new(&mut sensor)?, "/", specs);
    if let Some(error) = watches.resolve()?.errors.into_iter().next() {
        return Err(error.into());
    }
    let (objects, names) = watches.len();
    let mut ring = sensor.take_ring()?;
    while ring.next().is_some() {}
    for operation in &OPERATIONS {
        let mut check = || {
            let (mut files, mut processes) = (0, 0);
            while let Some(record) = ring.next() {
                if u16::from_ne_bytes([record[0], record[1]]) < kind::PROCESS_FORK {
                    files += 1;
                } else {
                    processes += 1;
                }
            }
            ensure!(
                files == operation.batch * operation.file_records
                    && processes >= operation.batch * operation.process_records,
                "{} times `{}` gave {files} records of files and {processes} of processes",
                operation.batch,
                operation.name
            );
            Ok(())
        };
        let instructions = worker.measure(operation, &mut check)?;
        let programs = worker.measure_programs(operation, &sensor.hooks, &mut check)?;
        figures.push(Figure { phase: "sensor", operation: operation.name, instructions, programs });
    }
    Ok(Report { objects, names, figures })
}

fn load_object(path: &str, backend: Backend) -> Result<Loaded> {
    let options = Options { object: Some(PathBuf::from(path)), ..Options::default() };
    load::load(backend, &options).with_context(|| format!("{path}, backend {}", backend.name()))
}

/// The process that does what is measured: a small one of its own, because what a fork costs depends on how much the
/// forking process has mapped, and where.
struct Worker {
    requests: ChildStdin,
    answers: ChildStdout,
}

impl Worker {
    fn start() -> Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg(WORKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the worker")?;
        let requests = child.stdin.take().context("a pipe was asked for")?;
        Ok(Self { requests, answers: child.stdout.take().context("a pipe was asked for")? })
    }

    /// Instructions that one batch took.
    fn batch(&mut self, operation: &Operation) -> Result<i64> {
        let index = OPERATIONS.iter().position(|other| other.name == operation.name);
        self.requests.write_all(&[index.context("an operation of the list")? as u8])?;
        let mut answer = [0; 8];
        let answered = self.answers.read_exact(&mut answer);
        answered.with_context(|| format!("`{}` failed; the console says why", operation.name))?;
        Ok(i64::from_ne_bytes(answer))
    }

    /// Instructions for one operation, in the batch that took fewest. `after` is called after each batch.
    fn measure(&mut self, operation: &Operation, after: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        let mut fewest = i64::MAX;
        for _ in 0..operation.rounds {
            fewest = fewest.min(self.batch(operation)?);
            after()?;
        }
        Ok(fewest as f64 / f64::from(operation.batch))
    }

    /// What each program took in the median batch, while the kernel accounts for it; that makes the programs' callers
    /// slower, so it is a measurement of its own.
    fn measure_programs(
        &mut self,
        operation: &Operation,
        hooks: &[Hook],
        after: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Vec<ProgramFigure>> {
        let _accounting = aya::sys::enable_stats(aya::sys::Stats::RunTime)?;
        let mut batches: BTreeMap<&'static str, Vec<(f64, f64)>> = BTreeMap::new();
        for _ in 0..operation.rounds / 10 {
            // Looking runs programs, too: once for nothing, to know how often.
            let looked = run_times(hooks)?;
            let before = run_times(hooks)?;
            self.batch(operation)?;
            for (hook, (time, runs)) in run_times(hooks)? {
                let (time_before, runs_before) = before.get(hook).copied().unwrap_or_default();
                let (time_looked, runs_looked) = looked.get(hook).copied().unwrap_or_default();
                let runs = (runs - runs_before).saturating_sub(runs_before - runs_looked);
                let time = (time - time_before).saturating_sub(time_before - time_looked);
                // A run now and then is the kernel's own doing, not the operation's.
                if runs >= u64::from(operation.batch) {
                    let runs_of_one = runs as f64 / f64::from(operation.batch);
                    batches.entry(hook).or_default().push((time as f64 / runs as f64, runs_of_one));
                }
            }
            after()?;
        }
        let median = |(hook, mut batches): (_, Vec<(f64, f64)>)| {
            batches.sort_by(|one, other| one.0.total_cmp(&other.0));
            let (instructions, runs) = batches[batches.len() / 2];
            ProgramFigure { hook, runs, instructions }
        };
        Ok(batches.into_iter().map(median).collect())
    }
}

/// The worker's side: for each byte on standard input, the number of an operation, the time of a batch of it on standard
/// output. Ends with an error, or with the input.
fn serve() -> Result<()> {
    let (requests, answers) = (std::io::stdin(), std::io::stdout());
    let mut request = [0; 1];
    while rustix::io::read(&requests, &mut request)? == 1 {
        let operation = OPERATIONS.get(usize::from(request[0])).context("an operation of the list")?;
        let start = now();
        for _ in 0..operation.batch {
            (operation.run)()?;
        }
        rustix::io::write(&answers, &(now() - start).to_ne_bytes())?;
    }
    Ok(())
}

/// Nanoseconds, which in this machine are instructions.
fn now() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// For each hook the time that its program has taken, in nanoseconds, and its runs.
fn run_times(hooks: &[Hook]) -> Result<BTreeMap<&'static str, (u64, u64)>> {
    /// Bytes of a program's name that the kernel keeps (`BPF_OBJ_NAME_LEN`, with the NUL).
    const NAME: usize = 15;
    let mut times = BTreeMap::new();
    for program in aya::programs::loaded_programs() {
        let program = program?;
        let name = program.name_as_str().unwrap_or_default();
        let of_program = |hook: &&Hook| &hook.program[..hook.program.len().min(NAME)] == name;
        if let Some(hook) = hooks.iter().find(of_program) {
            let time: &mut (u64, u64) = times.entry(hook.name).or_default();
            time.0 += program.run_time().as_nanos() as u64;
            time.1 += program.run_count();
        }
    }
    Ok(times)
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

/// Brings the loopback interface up (netdevice(7)).
fn raise_loopback() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: a request is plain data, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l'.cast_signed(), b'o'.cast_signed()]);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: an open descriptor, and a request that is a local.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    ensure!(result == 0, "cannot bring lo up: {}", std::io::Error::last_os_error());
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

/// Mounts what the loader reads, and makes the watched places and those beside them. Returns what is to be watched.
fn prepare() -> Result<Vec<Spec>> {
    for (kind, target) in [
        (c"proc", c"/proc"),
        (c"sysfs", c"/sys"),
        (c"securityfs", c"/sys/kernel/security"),
        (c"tmpfs", c"/run"),
        (c"tmpfs", c"/mnt"),
    ] {
        let path = target.to_str()?;
        fs::create_dir_all(path).with_context(|| path.to_owned())?;
        mount(kind, target, kind, MountFlags::empty(), None).with_context(|| format!("mounting {path}"))?;
    }
    raise_loopback()?;
    // Else the work of mapping a program, in page tables, would differ from run to run.
    fs::write("/proc/sys/kernel/randomize_va_space", "0")?;
    // As Debian's base-files, adduser(8) and user@.service(5) leave them.
    for directory in ["/root", "/home/user", "/run/user/1000/systemd", "/var/lib"] {
        fs::create_dir_all(directory)?;
    }

    let mut specs = Vec::new();
    for watch in Watch::default().effective() {
        let path = watch.path.replacen('~', "/root", 1);
        let place = path.replace('*', "1000");
        let beside_units = adjacent::of(watch.class).is_some();
        let foreign = FOREIGN.iter().any(|prefix| place.starts_with(prefix));
        if foreign || beside_units && !DEBIANS.contains(&place.as_str()) {
            // Not made: it stays a name to wait for.
        } else if watch.class.is_socket() {
            // Nobody listens there.
            let directory = Path::new(&place).parent().context("a socket lies in a directory")?;
            fs::create_dir_all(directory)?;
        } else if adjacent::is_file(watch.class, &place) {
            touch(&place)?;
        } else {
            fs::create_dir_all(&place)?;
        }
        specs.push(Spec { path, class: Some(watch.class), owner: None });
    }
    for file in [WATCHED, DEPTH_2, DEPTH_9, ELSEWHERE] {
        touch(file.to_str()?)?;
    }
    write_program(TINY)?;
    Ok(specs)
}

/// Default watches of which Debian's minimal system has nothing: they are waited for.
const FOREIGN: [&str; 6] = [
    "/etc/rc.d",
    "/run/capsules",
    "/var/lib/capsules",
    "/var/lib/flatpak",
    "/var/lib/snapd",
    "/root/.local/share/flatpak",
];

/// Default watches beside units that Debian's minimal system, with a kernel, GRUB, cron and D-Bus, does have.
const DEBIANS: [&str; 38] = [
    "/etc/systemd/system.conf",
    "/etc/systemd/user.conf",
    "/usr/lib/systemd/system-preset",
    "/usr/lib/systemd/user-preset",
    "/usr/lib/systemd/system-sleep",
    "/usr/lib/systemd/system-shutdown",
    "/etc/tmpfiles.d",
    "/run/tmpfiles.d",
    "/usr/lib/tmpfiles.d",
    "/usr/share/user-tmpfiles.d",
    "/etc/environment",
    "/etc/security/pam_env.conf",
    "/usr/lib/environment.d",
    "/etc/default",
    "/etc/default/grub",
    "/boot/grub/grub.cfg",
    "/usr/share/dbus-1/system-services",
    "/usr/share/dbus-1/services",
    "/usr/share/dbus-1/system.d",
    "/usr/share/dbus-1/session.d",
    "/etc/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/etc/fstab",
    "/etc/initramfs-tools",
    "/usr/share/initramfs-tools",
    "/etc/apt/apt.conf.d",
    "/etc/dpkg/dpkg.cfg",
    "/etc/dpkg/dpkg.cfg.d",
    "/etc/kernel/install.d",
    "/etc/kernel/postinst.d",
    "/etc/grub.d",
    "/etc/crontab",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/var/spool/cron/crontabs",
    "/etc/modules",
    "/etc/modules-load.d",
    "/etc/modprobe.d",
];

fn touch(path: &str) -> Result<()> {
    if let Some(directory) = Path::new(path).parent() {
        fs::create_dir_all(directory).with_context(|| path.to_owned())?;
    }
    File::create(path).map(drop).with_context(|| path.to_owned())
}

fn write_program(path: &CStr) -> Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CREATE, mode)?;
    rustix::io::write(&file, &TINY_PROGRAM)?;
    Ok(())
}

const fn tiny_program() -> [u8; 129] {
    const BASE: u64 = 0x40_0000;
    const CODE_AT: u64 = 64 + 56;
    const CODE: [u8; 9] = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
    // 64-bit, little-endian, version 1; then: executable, x86-64, version 1 (elf(5)).
    const IDENTITY: [u8; 24] =
        [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0];
    let mut bytes = [0; 129];
    put(&mut bytes, 0, &IDENTITY);
    put(&mut bytes, 24, &(BASE + CODE_AT).to_le_bytes());
    put(&mut bytes, 32, &64_u64.to_le_bytes());
    // Sizes of the two headers, and the number of program headers.
    put(&mut bytes, 52, &[64, 0, 56, 0, 1, 0]);
    // One segment, to load, readable and executable: the whole file, to BASE.
    put(&mut bytes, 64, &[1, 0, 0, 0, 5, 0, 0, 0]);
    put(&mut bytes, 80, &BASE.to_le_bytes());
    put(&mut bytes, 88, &BASE.to_le_bytes());
    put(&mut bytes, 96, &129_u64.to_le_bytes());
    put(&mut bytes, 104, &129_u64.to_le_bytes());
    put(&mut bytes, 112, &4096_u64.to_le_bytes());
    put(&mut bytes, CODE_AT as usize, &CODE);
    bytes
}

const fn put(bytes: &mut [u8; 129], at: usize, what: &[u8]) {
    let mut index = 0;
    while index < what.len() {
        bytes[at + index] = what[index];
        index += 1;
    }
}
