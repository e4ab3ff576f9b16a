//! Reading files once: digests for the inventory and for the package databases' claims, and the beginning of the text.

use std::collections::HashMap;

use rustix::fs::FileType;
use sha2::Digest as _;

use super::{Content, Digests, Problem, Prove};
use crate::event::content::ELF;
use crate::event::path::lossy;
use crate::proof::hex;
use crate::proof::inventory::Program;
use crate::proof::package::Verdict;
use crate::source::content::{Object, Root};
use crate::subject::unit::signals::Signal;
use crate::subject::unit::signals::command::of_script;

/// Bytes of a file at most: a container engine in one program has a fifth of that.
pub const FILE_MAX: u64 = 512 << 20;
/// Bytes of all files at most.
pub const BYTES_MAX: u64 = 16 << 30;
/// Bytes of a text that are looked at. systemd reads a megabyte of a unit (`LONG_LINE_MAX`, src/basic/fileio.h).
pub const TEXT_MAX: usize = 1 << 20;
/// How often a file is read that changes while it is.
const TRIES: usize = 3;
/// Problems that are kept; the rest is counted.
const PROBLEMS_MAX: usize = 1000;

/// A regular file that was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    /// `None` where it could not be read to its end.
    pub digests: Option<Digests>,
    /// Its beginning, unless it is a binary.
    pub text: Vec<u8>,
    /// Why there are no digests.
    pub wrong: Option<String>,
}

/// A program that was read.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    pub program: Program,
    /// Without links.
    pub end: Vec<u8>,
    pub uid: u32,
    pub mode: u32,
    /// What it says, if it is a script.
    pub signals: Vec<Signal>,
}

/// Reads, and asks whose a file is.
pub(super) struct Reader<'a> {
    pub root: &'a Root,
    packages: &'a mut dyn Prove,
    programs: HashMap<Vec<u8>, Ran>,
    /// Files that are entries, by their paths without links: engines are large, and run by units as well.
    files: HashMap<Vec<u8>, (Option<String>, Verdict, Vec<Signal>)>,
    /// Bytes that may still be read.
    left: u64,
    pub problems: Vec<Problem>,
    pub untold: usize,
}

impl<'a> Reader<'a> {
    pub fn new(root: &'a Root, packages: &'a mut dyn Prove) -> Self {
        let (problems, programs, files) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { root, packages, programs, files, left: BYTES_MAX, problems, untold: 0 }
    }

    /// Notes what could not be looked at.
    pub fn problem(&mut self, path: &[u8], what: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { path: path.to_vec(), what: what.into() });
        } else {
            self.untold += 1;
        }
    }

    /// What package databases say of a link.
    pub fn prove_link(&mut self, path: &[u8], target: &[u8]) -> Verdict {
        self.packages.prove(path, &Content::Link(target))
    }

    /// What they say of a file that was read.
    pub fn prove(&mut self, path: &[u8], read: &Text) -> Verdict {
        match (&read.digests, &read.wrong) {
            (Some(digests), _) => self.packages.prove(path, &Content::File(digests)),
            (None, Some(why)) => Verdict::Unknown { reason: why.clone() },
            (None, None) => Verdict::Unknown { reason: "it was not read".to_owned() },
        }
    }

    /// Reads a regular file to its end.
    pub fn text(&mut self, path: &[u8], object: &Object) -> Text {
        let read = self.try_text(object);
        if let Some(why) = &read.wrong {
            self.problem(path, why.clone());
        }
        read
    }

    fn try_text(&mut self, object: &Object) -> Text {
        let wrong = |why: String| Text { wrong: Some(why), ..Text::default() };
        let size = u64::try_from(object.stat.st_size).unwrap_or(u64::MAX);
        if size > FILE_MAX {
            return wrong(format!(
                "not read: {} MiB, more than the {} that are read of a file",
                size >> 20,
                FILE_MAX >> 20
            ));
        }
        for _ in 0..TRIES {
            let mut hashes = Hashes::default();
            let mut text = Vec::new();
            let mut binary = false;
            let done = object.read(FILE_MAX.min(self.left), |bytes| {
                binary |= text.is_empty() && bytes.starts_with(ELF);
                let room = TEXT_MAX - text.len();
                if !binary {
                    text.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                hashes.take(bytes);
            });
            match done {
                Err(error) => return wrong(format!("cannot be read: {error}")),
                Ok(done) => {
                    self.left = self.left.saturating_sub(done.bytes);
                    if done.truncated {
                        return wrong("not read to its end: the bound of what is read is reached".to_owned());
                    }
                    if !done.unstable {
                        return Text { digests: Some(hashes.finish()), text, wrong: None };
                    }
                }
            }
        }
        wrong("it changes whenever it is read".to_owned())
    }

    /// Keeps what is known of an entry, for whoever runs it.
    pub fn remember(&mut self, path: &[u8], read: &Text, proof: &Verdict) {
        let sha256 = read.digests.as_ref().map(|digests| digests.sha256.clone());
        self.files.insert(path.to_vec(), (sha256, proof.clone(), script(read)));
    }

    /// A program that something runs, wherever links lead.
    pub fn program(&mut self, path: &[u8]) -> Ran {
        if let Some(known) = self.programs.get(path) {
            return known.clone();
        }
        let ran = self.look_up(path);
        self.programs.insert(path.to_vec(), ran.clone());
        ran
    }

    fn look_up(&mut self, path: &[u8]) -> Ran {
        let none = |proof: Verdict| Ran {
            program: Program { path: path.to_vec(), sha256: None, proof },
            end: path.to_vec(),
            uid: 0,
            mode: 0,
            signals: Vec::new(),
        };
        let object = match self.root.object(path, true) {
            Ok(object) => object,
            // Much that units name is not installed.
            Err(error) => return none(Verdict::Unknown { reason: absent(error) }),
        };
        let end = self.root.canonical(&object).unwrap_or_else(|| path.to_vec());
        if object.file_type() != FileType::RegularFile {
            return none(Verdict::Unknown { reason: "it is no regular file".to_owned() });
        }
        let (uid, mode) = (object.stat.st_uid, object.stat.st_mode);
        if let Some((sha256, proof, signals)) = self.files.get(&end).cloned() {
            let program = Program { path: path.to_vec(), sha256, proof };
            return Ran { program, end, uid, mode, signals };
        }
        let read = self.text(&end, &object);
        let proof = self.prove(&end, &read);
        let signals = script(&read);
        let program =
            Program { path: path.to_vec(), sha256: read.digests.map(|digests| digests.sha256), proof };
        Ran { program, end, uid, mode, signals }
    }

    /// The beginning of a file that is read for what it says, not for what it is.
    pub fn peek(&mut self, path: &[u8], most: usize) -> Option<Vec<u8>> {
        let object = match self.root.object(path, true) {
            Ok(object) if object.file_type() == FileType::RegularFile => object,
            Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return None,
            Err(error) => {
                self.problem(path, format!("cannot be read: {error}"));
                return None;
            }
        };
        let mut text = Vec::new();
        match object.read(most as u64, |bytes| text.extend_from_slice(bytes)) {
            Ok(done) => {
                if done.truncated {
                    self.problem(path, format!("only its first {} KiB were read", most >> 10));
                }
                Some(text)
            }
            Err(error) => {
                self.problem(path, format!("cannot be read: {error}"));
                None
            }
        }
    }
}

/// What a script says.
fn script(read: &Text) -> Vec<Signal> {
    if read.text.starts_with(b"#!") { of_script(&read.text) } else { Vec::new() }
}

fn absent(error: rustix::io::Errno) -> String {
    match error {
        rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => super::ABSENT.to_owned(),
        other => format!("cannot be looked at: {other}"),
    }
}

/// The digests of one pass over a file.
#[derive(Default)]
struct Hashes {
    md5: md5::Md5,
    sha256: sha2::Sha256,
}

impl Hashes {
    fn take(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sha256.update(bytes);
    }

    fn finish(self) -> Digests {
        Digests { md5: hex(&self.md5.finalize()), sha256: hex(&self.sha256.finalize()) }
    }
}

/// The SHA-256 of bytes at hand.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

/// A path as a problem names it.
pub(super) fn shown(path: &[u8]) -> String {
    lossy(path).into_owned()
}
