//! A case: what is there, what is done, and the records that must come of it.

use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// One operation and its records.
///
/// Names are relative to the case's own directory below the watched one; with a colon before them, to that below the
/// unwatched one. Every case is run a second time with both of them unwatched, and must then leave no record.
pub struct Case {
    /// Name in the results.
    pub name: &'static str,
    /// What is there before the sensor starts: files (their content is "old"), and directories ("d/").
    pub before: Vec<String>,
    /// What is done, in a process of its own.
    pub act: fn(&Place) -> Result<()>,
    /// The records, as [`super::text::Text`] writes them.
    pub want: Vec<String>,
    /// Whom the records must name.
    pub who: Who,
    /// Why it cannot be tried here.
    pub skip: Option<String>,
}

/// Whom records must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The process that acted.
    Actor,
    /// Anyone: the kernel does it in a thread of its own.
    Anyone,
}

/// A case without files that are there before.
pub fn case(name: &'static str, act: fn(&Place) -> Result<()>, want: &[&str]) -> Case {
    case_with(name, &[], act, want)
}

/// A case with files that are there before.
pub fn case_with(name: &'static str, before: &[&str], act: fn(&Place) -> Result<()>, want: &[&str]) -> Case {
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    Case { name, before: owned(before), act, want: owned(want), who: Who::Actor, skip: None }
}

/// Where one run of a case works.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where the filesystem is mounted.
    pub mount: PathBuf,
    /// Whether stat(2) gives the device that the kernel's superblock has: btrfs and overlayfs give another.
    pub stat_has_device: bool,
    /// Whether it is a filesystem of layers, whose own work on them gives further records: copying a file up, and the
    /// same operation once more below.
    pub layers: bool,
    /// The watched directory (in the control run an unwatched one).
    pub top: PathBuf,
    /// The case's directory below the watched one.
    pub watched: PathBuf,
    /// The case's directory below the unwatched one.
    pub plain: PathBuf,
}

impl Place {
    /// The place of a case on the filesystem mounted at `mount`; in the control run nothing of it is watched.
    pub fn new(mount: &str, case: &str, control: bool) -> Self {
        let stat_has_device = !["/btrfs", "/overlay"].contains(&mount);
        let mount = PathBuf::from(mount);
        let top = mount.join(if control { "control" } else { "watched" });
        let plain =
            mount.join("plain").join(if control { format!("{case}-control") } else { case.to_owned() });
        let layers = mount.ends_with("overlay");
        Self { watched: top.join(case), top, plain, mount, stat_has_device, layers }
    }

    /// The path of a name: below the watched directory, or with a colon below the unwatched one.
    pub fn at(&self, name: &str) -> PathBuf {
        match name.strip_prefix(':') {
            Some(name) => self.plain.join(name),
            None => self.watched.join(name),
        }
    }

    /// The same for a system call.
    pub fn c(&self, name: &str) -> CString {
        c_path(&self.at(name))
    }

    /// A directory by a name that may be longer than a path may be: each is opened from the one above.
    ///
    /// # Errors
    /// Where one is missing.
    pub fn directory(&self, name: &str) -> Result<OwnedFd> {
        self.walk(name, false)
    }

    /// The same place where the filesystem is reached at another path.
    pub fn reached_at(&self, mount: impl Into<PathBuf>) -> Self {
        let mount = mount.into();
        let moved = |path: &Path| {
            path.strip_prefix(&self.mount).map_or_else(|_| path.into(), |rest| mount.join(rest))
        };
        let (top, watched, plain) = (moved(&self.top), moved(&self.watched), moved(&self.plain));
        Self { mount, top, watched, plain, ..self.clone() }
    }

    fn walk(&self, name: &str, make: bool) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut here =
            rustix::fs::open(self.at(if name.starts_with(':') { ":" } else { "" }), flags, Mode::empty())?;
        for part in name.trim_start_matches(':').split('/').filter(|part| !part.is_empty()) {
            if make {
                match rustix::fs::mkdirat(&here, part, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error).with_context(|| format!("cannot make {part}")),
                }
            }
            here = rustix::fs::openat(&here, part, flags, Mode::empty())
                .with_context(|| format!("no {part}"))?;
        }
        Ok(here)
    }

    /// Makes the directories and what is there before.
    ///
    /// # Errors
    /// Where one cannot be made.
    pub fn prepare(&self, before: &[String]) -> Result<()> {
        for directory in [&self.watched, &self.plain] {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        for name in before {
            if name.ends_with('/') {
                self.walk(name, true)?;
            } else {
                let path = self.at(name);
                fs::write(&path, "old").with_context(|| format!("cannot make {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// A path for a system call.
pub fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).expect("a path without NUL")
}

/// The result of a system call that returns -1 for an error.
///
/// # Errors
/// That error.
pub fn call(what: &str, result: impl Into<i64>) -> Result<i64> {
    let result = result.into();
    let error = std::io::Error::last_os_error();
    if result < 0 { Err(error).with_context(|| what.to_owned()) } else { Ok(result) }
}

/// A process that does something for a test.
pub struct Child {
    /// Its process id.
    pub pid: i32,
    complaint: OwnedFd,
}

impl Child {
    /// Forks; the child does `act` and ends.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn start(act: impl FnOnce() -> Result<()>) -> Result<Self> {
        let (read, write) = rustix::pipe::pipe()?;
        // SAFETY: the guest has one thread wherever it forks.
        let pid = unsafe { libc::fork() };
        ensure!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            drop(read);
            let result = act();
            if let Err(error) = &result {
                let _ = fs::File::from(write).write_all(format!("{error:#}").as_bytes());
            }
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { libc::_exit(i32::from(result.is_err())) };
        }
        Ok(Self { pid, complaint: read })
    }

    /// Whether it has ended; it can still be waited for.
    ///
    /// # Errors
    /// Where there is no such child.
    pub fn has_ended(&self) -> Result<bool> {
        // SAFETY: a siginfo is plain data, for which zeroes are a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: asks about a child of ours; the structure is a local.
        call("waitid", unsafe {
            libc::waitid(libc::P_PID, self.pid.cast_unsigned(), &raw mut info, options)
        })?;
        // SAFETY: the kernel has filled it, or left the zeroes.
        Ok(unsafe { info.si_pid() } == self.pid)
    }

    /// Waits for it to end.
    ///
    /// # Errors
    /// What the child complained of, or how it died.
    pub fn wait(self) -> Result<()> {
        let mut status = 0;
        // SAFETY: waits for a child of ours; the status is a local.
        call("waitpid", unsafe { libc::waitpid(self.pid, &raw mut status, 0) })?;
        if status == 0 {
            return Ok(());
        }
        let mut complaint = String::new();
        fs::File::from(self.complaint).read_to_string(&mut complaint)?;
        bail!("the operation failed (status {status:#x}): {complaint}")
    }
}

/// A descriptor out of a system call.
///
/// # Errors
/// The call's error.
pub fn descriptor(what: &str, result: impl Into<i64>) -> Result<OwnedFd> {
    let number = call(what, result)? as i32;
    // SAFETY: the kernel has just given the number to us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
