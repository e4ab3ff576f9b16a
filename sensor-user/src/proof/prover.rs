//! The thread that answers what the pipeline asks package databases.
//!
//! It has a thread of its own: hashing a program, or reading a database of thousands of packages, must hold up neither the
//! records nor the reading of units.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::package::{Package, Packages, Verdict};
use crate::event::proof::{End, Object, Proof, Proofs};
use crate::source::snapshot::kernel_device;

/// Questions that wait at most; more are refused and counted. The pipeline asks again by itself.
const QUESTIONS_MAX: usize = 256;
/// Answers that wait at most for the pipeline.
const ANSWERS_MAX: usize = 64;

/// What answers.
pub trait Databases {
    /// Whose paths these are by what was read last; what is not owned is left out.
    fn former(&mut self, path: &[u8]) -> Option<Package>;
    /// Reads again what has changed.
    fn refresh(&mut self);
    /// What is at a path, and what the databases say of it.
    fn look(&mut self, path: &[u8]) -> Proof;
}

impl Databases for Packages {
    fn former(&mut self, path: &[u8]) -> Option<Package> {
        self.claims(path).into_iter().next().map(|claim| claim.package)
    }

    fn refresh(&mut self) {
        let _changed = Self::refresh(self);
    }

    fn look(&mut self, path: &[u8]) -> Proof {
        let checked = self.check(path);
        let mut verdict = checked.proof(path);
        // dpkg's books have its scripts, but as nobody's files.
        if verdict == Verdict::Unowned {
            let script = self.script(path).and_then(|script| script.package);
            verdict = script.map_or(verdict, |package| Verdict::Claimed { package });
        }
        Proof {
            path: path.to_vec(),
            verdict,
            former: None,
            object: checked.object.map(|object| Object {
                device: kernel_device(object.device),
                inode: object.inode,
                mode: object.mode,
                changed_ns: object.changed_ns,
                sha256: object.sha256,
            }),
            end: checked.end.map(|end| End {
                path: end.path,
                mode: end.checked.object.as_ref().map_or(0, |object| object.mode),
                verdict: end.checked.verdict,
            }),
        }
    }
}

#[derive(Debug)]
struct Question {
    id: u64,
    paths: Vec<Vec<u8>>,
}

/// The thread.
#[derive(Debug)]
pub struct Prover {
    questions: Sender<Question>,
    answers: mpsc::Receiver<Proofs>,
    /// Questions that wait.
    waiting: Arc<Mutex<HashSet<(u64, Vec<Vec<u8>>)>>>,
    refused: u64,
}

impl Prover {
    /// Starts it; it opens the databases itself.
    ///
    /// # Errors
    /// Where the system has no thread to give.
    pub fn new<D: Databases>(open: impl FnOnce() -> D + Send + 'static) -> std::io::Result<Self> {
        let (questions, asked) = channel();
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let waiting = Arc::new(Mutex::new(HashSet::new()));
        let shared = Arc::clone(&waiting);
        std::thread::Builder::new()
            .name("svcsensor-proof".into())
            .spawn(move || work(open(), &asked, &sender, &shared))?;
        Ok(Self { questions, answers, waiting, refused: 0 })
    }

    /// Has paths compared. What waits already is not compared twice.
    pub fn ask(&mut self, id: u64, paths: Vec<Vec<u8>>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= QUESTIONS_MAX {
            self.refused += 1;
        } else if waiting.insert((id, paths.clone())) && self.questions.send(Question { id, paths }).is_err()
        {
            self.refused += 1;
        }
    }

    /// The next answer; waits for it.
    pub async fn answer(&mut self) -> Option<Proofs> {
        self.answers.recv().await
    }

    /// The next answer, if there is one.
    pub fn try_answer(&mut self) -> Option<Proofs> {
        self.answers.try_recv().ok()
    }

    /// Questions that found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

fn work(
    mut databases: impl Databases,
    asked: &Receiver<Question>,
    answers: &mpsc::Sender<Proofs>,
    waiting: &Mutex<HashSet<(u64, Vec<Vec<u8>>)>>,
) {
    while let Ok(first) = asked.recv() {
        let questions: Vec<Question> = std::iter::once(first).chain(asked.try_iter()).collect();
        // Of everything that is asked, before anything is read again: a package that is being removed is known by that.
        let former: Vec<Vec<_>> = questions
            .iter()
            .map(|question| question.paths.iter().map(|path| databases.former(path)).collect())
            .collect();
        databases.refresh();
        for (question, former) in questions.into_iter().zip(former) {
            let looked = |(path, former): (&Vec<u8>, _)| Proof { former, ..databases.look(path) };
            let proofs = question.paths.iter().zip(former).map(looked).collect();
            waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&(question.id, question.paths));
            if answers.blocking_send(Proofs { id: question.id, proofs }).is_err() {
                return;
            }
        }
    }
}
