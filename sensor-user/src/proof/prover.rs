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

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    waiting: Arc<Mutex<HashSet<Question>>>,
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
        let question = Question { id, paths };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.contains(&question) {
            return;
        }
        if waiting.len() >= QUESTIONS_MAX || self.questions.send(question.clone()).is_err() {
            self.refused += 1;
            return;
        }
        waiting.insert(question);
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
    waiting: &Mutex<HashSet<Question>>,
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
            waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&question);
            if answers.blocking_send(Proofs { id: question.id, proofs }).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::source::content::Root;

    /// Databases that count how often they were read, and own one path until then.
    struct Counted(u32);

    impl Databases for Counted {
        fn former(&mut self, path: &[u8]) -> Option<Package> {
            (self.0 == 0 && path == b"/a").then(|| Package {
                manager: crate::proof::package::Manager::Dpkg,
                name: "a".into(),
                version: "1".into(),
                architecture: String::new(),
            })
        }

        fn refresh(&mut self) {
            self.0 += 1;
        }

        fn look(&mut self, path: &[u8]) -> Proof {
            Proof { path: path.to_vec(), verdict: Verdict::Unowned, former: None, object: None, end: None }
        }
    }

    async fn answer(prover: &mut Prover) -> Proofs {
        tokio::time::timeout(Duration::from_secs(60), prover.answer()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn whose_a_path_was_is_asked_before_the_databases_are_read_again() {
        let mut prover = Prover::new(|| Counted(0)).unwrap();
        prover.ask(7, vec![b"/a".to_vec(), b"/b".to_vec()]);
        let first = answer(&mut prover).await;
        let former: Vec<bool> = first.proofs.iter().map(|proof| proof.former.is_some()).collect();
        assert_eq!((first.id, former), (7, vec![true, false]));
        prover.ask(8, vec![b"/a".to_vec()]);
        assert_eq!(answer(&mut prover).await.proofs[0].former, None);
    }

    #[tokio::test]
    async fn a_flood_is_bounded_and_counted() {
        let mut prover = Prover::new(|| Counted(0)).unwrap();
        let asked = 2 * (QUESTIONS_MAX + ANSWERS_MAX) as u64;
        for id in 1..=asked {
            prover.ask(id, vec![b"/a".to_vec()]);
        }
        let mut answered = 0;
        while tokio::time::timeout(Duration::from_secs(1), prover.answer()).await.is_ok() {
            answered += 1;
        }
        assert_eq!(answered + prover.refused(), asked);
        assert!(prover.refused() > 0);
    }

    #[tokio::test]
    async fn this_machines_dpkg_is_its_packages_own() {
        if !std::path::Path::new("/usr/bin/dpkg").exists() {
            crate::test_support::skip("proof of dpkg", "there is no dpkg here");
            return;
        }
        let root = Arc::new(Root::open("/").unwrap());
        let mut prover = Prover::new(move || Packages::open(root)).unwrap();
        prover.ask(1, vec![b"/usr/bin/dpkg".to_vec(), b"/var/lib/dpkg/info/dpkg.postinst".to_vec()]);
        let proofs = answer(&mut prover).await.proofs;
        assert!(
            matches!(&proofs[0].verdict, Verdict::Proved { package } if package.name == "dpkg"),
            "{:?}",
            proofs[0]
        );
        assert!(
            matches!(&proofs[1].verdict, Verdict::Claimed { package } if package.name == "dpkg"),
            "{:?}",
            proofs[1]
        );
    }
}
