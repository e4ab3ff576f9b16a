//! The programs that units run: whose they are, what scripts among them say, and whether they are still there.

use super::detector::Detector;
use super::finding::Finding;
use super::follow::is_packaged;
use super::memory::Recent;
use super::units::tell;
use crate::event::content::FileContent;
use crate::event::path::lossy;
use crate::lineage::Lineage;
use crate::lineage::table::{ENDED, Handle};
use crate::subject::service::{Scope, UnitPart};
use crate::subject::unit::effective::Effective;
use crate::subject::unit::signals::command::{is_interpreter, of_script};
use crate::subject::unit::signals::{Signal, Weight};

/// Programs that services were seen to run.
const RUNNING_MAX: usize = 1024;

/// Programs of a unit whose origin counts for its proof.
const PROVED_MAX: usize = 16;

/// Programs by path, with the service that runs them.
pub(super) type Running = Recent<Vec<u8>, (String, Handle)>;

pub(super) fn running() -> Running {
    Recent::new(RUNNING_MAX)
}

/// The programs of a unit, and the scripts that they are given, that lie outside of the packages' directories.
pub(super) fn of_unit(unit: &Effective) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for run in &unit.commands {
        // Of other programs an argument may be anything, a log for instance.
        let mut arguments = run.command.argv.iter().skip(1);
        let script = is_interpreter(&run.command.path)
            .then(|| arguments.find(|argument| argument.starts_with(b"/")))
            .flatten();
        for path in std::iter::once(&run.command.path).chain(script) {
            if is_plain(path) && !found.contains(path) {
                found.push(path.clone());
            }
        }
    }
    found
}

/// All of them, packaged or not.
pub(super) fn all_of(unit: &Effective) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for run in &unit.commands {
        let path = &run.command.path;
        if path.starts_with(b"/") && !found.contains(path) && found.len() < PROVED_MAX {
            found.push(path.clone());
        }
    }
    found.extend(
        of_unit(unit).into_iter().filter(|path| !unit.commands.iter().any(|run| run.command.path == *path)),
    );
    found.truncate(PROVED_MAX);
    found
}

/// Whether a path is a file's on disk, and not a package's.
fn is_plain(path: &[u8]) -> bool {
    let made_up = path.starts_with(b"/proc/") || path.starts_with(b"/dev/") || path.starts_with(b"/sys/");
    let plain = path.starts_with(b"/") && !path.windows(2).any(|pair| pair == b"..");
    plain && !made_up && !is_packaged(path)
}

/// What was read of a program.
#[derive(Debug)]
pub(super) struct Program {
    path: Vec<u8>,
    uid: u32,
    mode: u32,
    signals: Vec<Signal>,
}

impl Program {
    /// Of a file that is one of `programs`.
    pub(super) fn new(content: &FileContent, programs: &[Vec<u8>]) -> Option<Self> {
        let file = content.found.regular().filter(|_| programs.contains(&content.path))?;
        // Of a binary there is nothing to read.
        let signals = if file.is_binary() { Vec::new() } else { of_script(&file.content) };
        Some(Self { path: content.path.clone(), uid: file.uid, mode: file.mode, signals })
    }
}

/// Says what is suspicious about the programs of a unit.
pub(super) fn weigh(finding: &mut Finding, unit: &Effective, programs: Vec<Program>) {
    let privileged = unit.scope == Scope::System
        && unit.user().is_none_or(|user| matches!(user, b"root" | b"0"))
        || unit.commands.iter().any(|run| run.command.flags.privileged);
    for program in programs {
        let path = lossy(&program.path).into_owned();
        let mut found = Vec::new();
        if privileged && program.uid != 0 {
            let why = format!("{path} belongs to user {}, who may change what runs as root", program.uid);
            found.push(Signal { slug: "program.owner", weight: Weight::Strong, why, origin: None });
        }
        if program.mode & 0o002 != 0 {
            let why = format!("everyone may write to {path}");
            found.push(Signal { slug: "program.writable", weight: Weight::Strong, why, origin: None });
        }
        let said = program.signals.into_iter();
        found.extend(said.map(|signal| Signal { why: format!("{path}: {}", signal.why), ..signal }));
        tell(finding, found);
    }
}

impl Detector {
    /// Remembers what a service runs, and has it watched where it lies outside of the packages' directories.
    pub fn note_running(&mut self, handle: Handle, lineage: &Lineage) {
        let Some(service) = self.started(handle, lineage) else { return };
        let Some(image) = lineage.image(handle) else { return };
        for path in [image.exe, image.filename] {
            if !is_plain(path) {
                continue;
            }
            self.running.remove(path);
            self.running.insert(path.to_vec(), (service.unit.clone(), handle));
            // Anybody may have any number of services of their own.
            if service.manager.scope == Scope::System {
                self.follow_program(path, Scope::System);
            }
        }
    }

    /// A program goes: does a service run from it?
    pub(super) fn weigh_removed(
        &self,
        finding: &mut Finding,
        part: UnitPart,
        path: &[u8],
        lineage: &Lineage,
    ) {
        if part != UnitPart::Program {
            return;
        }
        let Some((unit, handle)) = self.running.get(path) else { return };
        if let Some(entry) = lineage.entry(*handle).filter(|entry| !entry.has(ENDED)) {
            let why = format!("{unit} (pid {}) still runs it, and nobody finds it any more", entry.tgid);
            finding.reason(20, why);
        }
    }
}
