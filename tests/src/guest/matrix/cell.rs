//! One cell: an operation done in one way, by a process of its own that says how it went.

use std::ffi::{CString, OsString};
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};

use super::super::case::{Child, Place};
use super::super::process::exec_descriptor;
use super::ground::Scene;
use super::operations::{self, Operation};
use super::ways::{Reach, Way};

/// First argument of this program where it is executed to do one operation.
pub const PROGRAM: &str = "matrix-cell";

/// An operation and the way it is done, where it can be tried.
pub struct Cell<'a> {
    /// Way and operation.
    pub key: String,
    /// The way.
    pub way: &'a Way,
    /// The operation.
    pub operation: &'a Operation,
    /// The place as the host sees it.
    pub host: Place,
    /// The directory at which the way begins.
    pub start: PathBuf,
    /// The mount point of the filesystem.
    pub filesystem: &'static str,
    /// What is there for all cells.
    pub scene: &'a Scene,
}

/// How it went, as the process tells it.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Done,
    /// The kernel refused, with this error.
    Refused(i32, String),
    /// This kernel has no such operation.
    Lacking(String),
    /// Something else went wrong.
    Failed(String),
}

/// The error of an operation that this kernel does not have.
#[derive(Debug)]
pub struct Lacking(pub String);

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lacking {}

impl Verdict {
    fn of(result: Result<()>) -> Self {
        let Err(error) = result else { return Self::Done };
        if let Some(lacking) = error.downcast_ref::<Lacking>() {
            return Self::Lacking(lacking.0.clone());
        }
        match number(&error) {
            Some(number) => Self::Refused(number, format!("{error:#}")),
            None => Self::Failed(format!("{error:#}")),
        }
    }

    fn to_line(&self) -> String {
        match self {
            Self::Done => "done".into(),
            Self::Refused(number, text) => format!("refused {number} {text}"),
            Self::Lacking(text) => format!("lacking {text}"),
            Self::Failed(text) => format!("failed {text}"),
        }
    }

    fn from_line(line: &str) -> Self {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, rest.split_once(' ').map(|(number, text)| (number.parse(), text))) {
            ("done", _) => Self::Done,
            ("refused", Some((Ok(number), text))) => Self::Refused(number, text.to_owned()),
            ("lacking", _) => Self::Lacking(rest.to_owned()),
            ("failed", _) => Self::Failed(rest.to_owned()),
            _ => Self::Failed(format!("the process said {line:?}")),
        }
    }
}

/// The error number of a system call.
fn number(error: &Error) -> Option<i32> {
    error.chain().find_map(|cause| {
        let number = cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.raw_os_error());
        number.or_else(|| cause.downcast_ref::<std::io::Error>()?.raw_os_error())
    })
}

impl Cell<'_> {
    /// The place where the filesystems are reached below another directory.
    pub fn below(&self, prefix: &str) -> Place {
        self.host.reached_at(format!("{prefix}{}", self.host.mount.display()))
    }

    /// Does it in a process of its own, and returns the process's id and what it said.
    ///
    /// # Errors
    /// Where there can be no process.
    pub fn run(&self) -> Result<(u32, Verdict)> {
        let (read, write) = rustix::pipe::pipe()?;
        let (wait, go) = rustix::pipe::pipe()?;
        let child = Child::start(|| {
            fs::File::from(wait).read_exact(&mut [0]).context("not told to begin")?;
            tell(&write, self.act(&write));
            Ok(())
        })?;
        drop(write);
        // The process has its own of it by now, and begins only when this one has none.
        self.scene.files.borrow_mut().remove(&self.key);
        rustix::io::write(&go, b"g")?;
        let pid = child.pid.cast_unsigned();
        // Whoever runs longer than the process holds no writing end: what the process started has ended with it.
        child.wait()?;
        let mut line = String::new();
        fs::File::from(read).read_to_string(&mut line)?;
        Ok((pid, Verdict::from_line(&line)))
    }

    fn act(&self, tell: &OwnedFd) -> Result<()> {
        let act = self.operation.act;
        match &self.way.reach {
            Reach::Names(enter) => act(&enter(self).context("the way itself")?),
            Reach::File(open) => {
                let on_file = self.operation.on_file.context("no operation on a descriptor")?;
                on_file(&self.host, open(self).context("the way itself")?)
            }
            Reach::Ring(how) => self.operation.by_ring.context("no operation by io_uring")?(&self.host, *how),
            Reach::Thread => {
                let place = self.host.clone();
                std::thread::spawn(move || act(&place)).join().ok().context("the thread panicked")?
            }
            Reach::Memfd => self.execute(tell),
        }
    }

    /// Becomes [`program`].
    fn execute(&self, tell: &OwnedFd) -> Result<()> {
        let Place { mount, top, watched, plain, .. } = &self.host;
        let number = tell.as_raw_fd().to_string();
        let words = [Path::new("payload"), PROGRAM.as_ref(), number.as_ref(), self.operation.name.as_ref()];
        let arguments = words.into_iter().chain([mount, top, watched, plain].map(PathBuf::as_path));
        let arguments: Vec<CString> = arguments
            .map(|word| CString::new(word.as_os_str().as_encoded_bytes()))
            .collect::<Result<_, _>>()?;
        exec_descriptor(&self.scene.program, &arguments)
    }
}

fn tell(to: &OwnedFd, result: Result<()>) {
    // Where nobody listens, nothing said is what is heard.
    let _ = rustix::io::write(to, Verdict::of(result).to_line().as_bytes());
}

/// The program in the memfd: one operation, told on the descriptor that the arguments name.
pub fn program(arguments: &[OsString]) -> ! {
    let done = || -> Result<()> {
        let [number, name, places @ ..] = arguments else { bail!("too few arguments") };
        let number: i32 = number.to_str().context("no number")?.parse()?;
        // SAFETY: the process that became this one left it open for this.
        let to = unsafe { OwnedFd::from_raw_fd(number) };
        let [mount, top, watched, plain] = places else { bail!("no place") };
        let place = Place {
            mount: mount.into(),
            stat_has_device: false,
            layers: false,
            top: top.into(),
            watched: watched.into(),
            plain: plain.into(),
        };
        let operations = operations::all()?;
        let operation = operations.iter().find(|operation| *name == *operation.name);
        tell(&to, operation.context("no such operation").and_then(|operation| (operation.act)(&place)));
        Ok(())
    };
    std::process::exit(i32::from(done().is_err()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says_is_heard() {
        let refused = std::io::Error::from_raw_os_error(libc::EXDEV);
        for (result, expected) in [
            (Ok(()), "done"),
            (
                Err(Error::from(refused).context("rename")),
                "refused 18 rename: Invalid cross-device link (os error 18)",
            ),
            (Err(Error::from(rustix::io::Errno::PERM)), "refused 1 Operation not permitted (os error 1)"),
            (Err(Lacking("none".into()).into()), "lacking none"),
            (Err(Error::msg("no such thing")), "failed no such thing"),
        ] {
            let verdict = Verdict::of(result);
            assert_eq!(verdict.to_line(), expected);
            assert_eq!(Verdict::from_line(expected), verdict);
        }
        assert_eq!(Verdict::from_line(""), Verdict::Failed("the process said \"\"".into()));
    }
}
