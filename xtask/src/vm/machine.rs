//! Running a virtual machine: QEMU's options, the stream of results, the time limit.
//!
//! **The guest's protocol.** The guest writes lines of text to its result port; the last is `EXIT n`, n being 0 where
//! all went well. An empty line before it is dropped, so that a guest can end whatever line it is in. The machine is stopped as soon as that line is read. Kernel messages and init's own output go to
//! another port, the console, which is shown where a guest fails. A guest that ends, or runs out of time, without
//! an `EXIT` line has failed, whatever it wrote.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::cache::{RunDir, escaped};
use super::kernel::Kernel;
use super::qemu::Qemu;

/// What a guest returned.
#[derive(Debug)]
pub struct Outcome {
    /// The number of its `EXIT` line.
    pub status: i32,
    /// The lines before that one.
    pub lines: Vec<String>,
    /// Kernel messages, and what init wrote to its standard output and error.
    pub console: String,
    /// From QEMU's start to the `EXIT` line.
    pub elapsed: Duration,
}

/// The virtual processor and memory.
#[derive(Clone, Debug)]
pub struct Hardware {
    pub memory_mib: u32,
    /// Two machines at once want one processor each: each virtual one is a busy thread.
    pub cpus: u32,
    /// Time counts instructions, one nanosecond each, instead of following the host's clock. One processor only.
    ///
    /// The same loop took the same time within 0.01 % in four runs, on a busy host; but the first round after the boot,
    /// beside the kernel's own late work, took half as long again and varied by 4 %: measure after a warm-up.
    pub icount: bool,
    /// The machine is killed after this.
    pub limit: Duration,
}

/// Machines' speed varies by a factor of 2 to 3 where hosts are shared; a boot takes seconds.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Where the guest's results come from.
#[derive(Clone, Copy)]
pub enum ResultPort {
    /// The second serial port, /dev/ttyS1: in every kernel without a module, slow for megabytes.
    Serial,
    /// The virtio port /dev/vport1p1 (or whichever number; the name is `svcsensor`).
    Virtio,
}

/// Most that is read of a guest's results, so that a guest gone wild cannot fill the host.
const MAX_RESULTS: u64 = 256 << 20;

/// One boot.
pub struct Boot<'a> {
    pub kernel: &'a Kernel,
    pub initramfs: &'a [u8],
    /// The kernel's, whole.
    pub command_line: &'a str,
    pub hardware: &'a Hardware,
    pub port: ResultPort,
    /// Whether the guest may reboot; a panic reboots too, so such a guest is stopped by its time limit.
    pub reboots: bool,
    /// Further options for QEMU, as [`disk`] gives them.
    pub extra: &'a [String],
}

impl Boot<'_> {
    /// Boots, and gives each line of results to `on_line` as it comes. The files of the run lie in `dir`.
    ///
    /// # Errors
    /// Where QEMU cannot be started, or the guest ends or runs out of time without an `EXIT` line: the error has the
    /// end of its console.
    pub fn run(&self, dir: &RunDir, on_line: &mut dyn FnMut(&str)) -> Result<Outcome> {
        let console = dir.join("console");
        let machine = Machine::start(self.command(dir, &console)?)?;
        let limit = self.hardware.limit;
        let ended = machine.watch(limit, on_line);
        let complaint = machine.stop();
        let console = fs::read(&console).unwrap_or_default();
        let console = String::from_utf8_lossy(&console).replace('\r', "");
        let release = self.kernel.release();
        match ended {
            Ended::Exit { status, lines, elapsed } => Ok(Outcome { status, lines, console, elapsed }),
            Ended::TooLate { lines } => bail!(
                "the guest ({release}) wrote no EXIT line within {} s and was killed\n{}",
                limit.as_secs(),
                tails(&lines, &console, &complaint)
            ),
            Ended::Silent { lines } => bail!(
                "the guest ({release}) ended without an EXIT line\n{}",
                tails(&lines, &console, &complaint)
            ),
        }
    }

    fn command(&self, dir: &RunDir, console: &Path) -> Result<Command> {
        // COMMAND_LINE_SIZE of x86; the kernel would cut the rest off in silence.
        ensure!(
            self.command_line.len() < 2048,
            "the kernel's command line is too long: {}",
            self.command_line
        );
        let initrd = dir.join("initramfs");
        fs::write(&initrd, self.initramfs).with_context(|| format!("cannot write {}", initrd.display()))?;
        let mut command = Qemu::fetch()?.command();
        command
            .args(self.hardware.options())
            .args(["-chardev".into(), format!("file,id=console,path={}", escaped(console))])
            .args(["-serial", "chardev:console"])
            .args(["-chardev", "stdio,id=result,signal=off"])
            .args(match self.port {
                ResultPort::Serial => &["-serial", "chardev:result"][..],
                ResultPort::Virtio => &[
                    "-device",
                    "virtio-serial-pci",
                    "-device",
                    "virtserialport,chardev=result,name=svcsensor",
                ],
            })
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(&initrd)
            .args(["-append", self.command_line])
            .args((!self.reboots).then_some("-no-reboot"))
            .args(self.extra)
            // Held open by the child's handle: at its end QEMU would take the host's side of the port for closed, and a
            // guest that writes to a closed virtio port waits.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }
}

impl Hardware {
    /// The options that every machine has. TCG wants none of what only slows an emulated processor down: 5-level
    /// paging, nested virtualisation, a HPET.
    fn options(&self) -> Vec<String> {
        let accelerator = if self.icount { "tcg,thread=single" } else { "tcg,thread=multi" };
        let mut options = vec!["-machine", "q35,hpet=off,vmport=off", "-cpu", "max,la57=off,svm=off"];
        options.extend(["-accel", accelerator, "-nodefaults", "-display", "none"]);
        if self.icount {
            options.extend(["-icount", "shift=0,sleep=off", "-rtc", "clock=vm,base=2026-01-01T00:00:00"]);
        }
        let mut options: Vec<String> = options.into_iter().map(str::to_owned).collect();
        options.extend(["-m".into(), self.memory_mib.to_string(), "-smp".into(), self.cpus.to_string()]);
        options
    }
}

/// The kernel's command line that every machine has. `panic=-1` with `-no-reboot` ends QEMU when the kernel panics.
/// A kernel started as an uncompressed image has no KASLR to turn off: the decompressor does that.
pub const COMMAND_LINE: &str = "console=ttyS0 panic=-1 reboot=t no_timer_check tsc=reliable mitigations=off \
    random.trust_cpu=on quiet";

/// A disk from an image file that is never written: writes go to a temporary file and are lost.
pub fn disk(image: &Path, serial: &str) -> [String; 4] {
    [
        "-drive".into(),
        format!("file={},format=raw,if=none,id={serial},snapshot=on,cache=unsafe", escaped(image)),
        "-device".into(),
        format!("virtio-blk-pci,drive={serial},serial={serial}"),
    ]
}

/// A started QEMU.
struct Machine {
    child: Child,
    lines: mpsc::Receiver<String>,
    complaint: std::thread::JoinHandle<String>,
    started: Instant,
}

enum Ended {
    Exit { status: i32, lines: Vec<String>, elapsed: Duration },
    TooLate { lines: Vec<String> },
    Silent { lines: Vec<String> },
}

impl Machine {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let out = child.stdout.take().context("QEMU has no standard output")?;
        let mut err = child.stderr.take().context("QEMU has no standard error")?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || read_lines(out, &send));
        let complaint = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What was read before an error is what there is to show.
            let _ = err.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self { child, lines, complaint, started: Instant::now() })
    }

    /// Reads until the `EXIT` line, the end of the stream, or the limit.
    fn watch(&self, limit: Duration, on_line: &mut dyn FnMut(&str)) -> Ended {
        let mut lines: Vec<String> = Vec::new();
        let mut shown = 0;
        loop {
            let line = match self.lines.recv_timeout(limit.saturating_sub(self.started.elapsed())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => return Ended::TooLate { lines },
                Err(RecvTimeoutError::Disconnected) => return Ended::Silent { lines },
            };
            if let Some(status) = exit_status(&line) {
                lines.pop_if(|last| last.is_empty());
                return Ended::Exit { status, lines, elapsed: self.started.elapsed() };
            }
            lines.push(line);
            // An empty line waits for the next, which may be the last.
            while let Some(line) = lines.get(shown).filter(|line| shown + 1 < lines.len() || !line.is_empty())
            {
                on_line(line);
                shown += 1;
            }
        }
    }

    /// Kills it, by its own process id, and returns what QEMU itself said.
    fn stop(mut self) -> String {
        // It may have ended by itself; either way it is reaped here.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.complaint.join().unwrap_or_default()
    }
}

fn read_lines(out: impl Read, send: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(out.take(MAX_RESULTS));
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line);
        // A serial port that the guest has not set raw writes CR LF.
        if send.send(text.trim_end_matches(['\n', '\r']).to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

/// The status of an `EXIT n` line.
fn exit_status(line: &str) -> Option<i32> {
    line.strip_prefix("EXIT ")?.trim().parse().ok()
}

fn tails(lines: &[String], console: &str, complaint: &str) -> String {
    let last = |lines: &[&str]| lines[lines.len().saturating_sub(40)..].join("\n");
    let results: Vec<&str> = lines.iter().map(String::as_str).collect();
    let console: Vec<&str> = console.lines().collect();
    format!(
        "-- results, last of {} lines\n{}\n-- console, last of {} lines\n{}\n-- QEMU\n{}",
        lines.len(),
        last(&results),
        console.len(),
        last(&console),
        complaint.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Ended, String) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let machine = Machine::start(command).unwrap();
        let ended = machine.watch(limit, &mut |_| {});
        (ended, machine.stop())
    }

    #[test]
    fn an_exit_line_ends_the_run() {
        let (ended, _) =
            shell("printf 'a\\r\\nb\\n\\nEXIT 3\\nc\\n'; exec sleep 60", Duration::from_secs(20));
        let Ended::Exit { status, lines, .. } = ended else { panic!("no exit") };
        assert_eq!((status, lines), (3, vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn lines_are_shown_as_they_come_but_for_the_empty_one_before_the_end() {
        let mut command = Command::new("printf");
        command.arg("a\\n\\n\\nb\\n\\nEXIT 0\\n").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut shown = Vec::new();
        let machine = Machine::start(command).unwrap();
        let ended = machine.watch(Duration::from_secs(20), &mut |line| shown.push(line.to_owned()));
        machine.stop();
        assert!(matches!(ended, Ended::Exit { status: 0, lines, .. } if lines == ["a", "", "", "b"]));
        assert_eq!(shown, ["a", "", "", "b"]);
    }

    #[test]
    fn an_end_without_an_exit_line_is_told_apart() {
        let (ended, complaint) = shell("echo half; echo EXITED; echo why >&2", Duration::from_secs(20));
        let Ended::Silent { lines } = ended else { panic!("not silent") };
        assert_eq!(lines, ["half", "EXITED"]);
        assert_eq!(complaint, "why\n");
    }

    #[test]
    fn a_guest_that_hangs_is_killed() {
        let start = Instant::now();
        let (ended, _) = shell("echo up; exec sleep 60", Duration::from_millis(300));
        assert!(matches!(ended, Ended::TooLate { lines } if lines == ["up"]));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn only_a_number_is_a_status() {
        assert_eq!(exit_status("EXIT 0"), Some(0));
        assert_eq!(exit_status("EXIT -1"), Some(-1));
        assert_eq!(exit_status("EXIT"), None);
        assert_eq!(exit_status("EXIT soon"), None);
        assert_eq!(exit_status(" EXIT 0"), None);
    }
}
