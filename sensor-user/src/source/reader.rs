//! Threads that read what the pipeline wants to know: a filesystem that does not answer (a dead server, a user's own
//! FUSE) holds one of them up, not the sensor.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::content::Root;
use crate::event::content::{Answer, Want};

/// Wants that wait at most; more are refused and counted.
const QUEUE_MAX: usize = 1024;
/// Answers that wait at most for the pipeline: at most so many times 1 MiB in memory, that of a survey.
const ANSWERS_MAX: usize = 32;
/// When to look again at what has not happened yet.
const RETRY: Duration = Duration::from_millis(4);
/// How long to go on so; then it is read as it is. Less than a finding is held (`incident::HOLD_NS`).
const PATIENCE: Duration = Duration::from_millis(150);
/// A thread that is on one file for so long is held up.
const STUCK: Duration = Duration::from_secs(1);
/// Threads at most.
const THREADS_MAX: usize = 4;

/// The threads and what they are to do.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    answers: mpsc::Receiver<Answer>,
    sender: mpsc::Sender<Answer>,
}

#[derive(Debug)]
struct Shared {
    root: Root,
    work: Mutex<Work>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    fresh: VecDeque<Job>,
    /// In the order in which they are due.
    again: VecDeque<Job>,
    /// Wants in either queue.
    waiting: HashSet<Want>,
    /// Since when each thread is on its file.
    busy: Vec<Option<Instant>>,
    refused: u64,
    ended: bool,
}

#[derive(Debug)]
struct Job {
    want: Want,
    since: Instant,
    due: Instant,
}

impl Shared {
    /// Nothing panics while it holds the lock; were it so, what is in there is still whole.
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that is due; waits for it. `None` at the end.
    fn next(&self, thread: usize) -> Option<Job> {
        let mut work = self.work();
        work.busy[thread] = None;
        loop {
            if work.ended {
                return None;
            }
            let now = Instant::now();
            let again = work.again.front().is_some_and(|job| job.due <= now);
            let job = if again { work.again.pop_front() } else { work.fresh.pop_front() };
            if let Some(job) = job {
                work.waiting.remove(&job.want);
                work.busy[thread] = Some(now);
                return Some(job);
            }
            let wait = work.again.front().map_or(Duration::from_secs(3600), |job| job.due - now);
            work = self.arrived.wait_timeout(work, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn put_back(&self, job: Job) {
        let mut work = self.work();
        if work.waiting.insert(job.want.clone()) {
            work.again.push_back(Job { due: Instant::now() + RETRY, ..job });
        }
    }
}

impl Reader {
    /// Reads below `root`, with one thread; others start where it is held up.
    pub fn new(root: Root) -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let work = Mutex::new(Work { busy: vec![None], ..Work::default() });
        let reader =
            Self { shared: Arc::new(Shared { root, work, arrived: Condvar::new() }), answers, sender };
        reader.start(0);
        reader
    }

    /// PID 1's root directory.
    pub fn root(&self) -> &Root {
        &self.shared.root
    }

    /// Has something read. What waits already is not read twice.
    pub fn ask(&mut self, want: Want) {
        let now = Instant::now();
        let mut work = self.shared.work();
        if work.waiting.len() >= QUEUE_MAX {
            work.refused += 1;
            return;
        }
        if work.waiting.insert(want.clone()) {
            work.fresh.push_back(Job { want, since: now, due: now });
        }
        let stuck = |since: &Option<Instant>| since.is_some_and(|since| now.duration_since(since) > STUCK);
        let all_stuck = work.busy.iter().all(stuck);
        if all_stuck && work.busy.len() < THREADS_MAX {
            let thread = work.busy.len();
            work.busy.push(None);
            drop(work);
            self.start(thread);
        } else {
            drop(work);
        }
        self.shared.arrived.notify_one();
    }

    fn start(&self, thread: usize) {
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        let run = move || {
            while let Some(job) = shared.next(thread) {
                let at_once = job.since.elapsed() >= PATIENCE;
                match shared.root.answer(&job.want, at_once) {
                    Some(answer) => {
                        // Waiting for the pipeline is not being held up by a file.
                        shared.work().busy[thread] = None;
                        if sender.blocking_send(answer).is_err() {
                            return;
                        }
                    }
                    None => shared.put_back(job),
                }
            }
        };
        // Two pages of stack would do; the smallest that the system takes is asked for.
        let started =
            std::thread::Builder::new().name("svcsensor-read".into()).stack_size(64 << 10).spawn(run);
        if let Err(error) = started {
            tracing::error!(%error, "cannot start a thread that reads files: what units say is not looked at");
        }
    }

    /// The next answer; waits for it.
    pub async fn answer(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }

    /// The next answer, if there is one.
    pub fn try_answer(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    /// Wants that found no room.
    pub fn refused(&self) -> u64 {
        self.shared.work().refused
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.work().ended = true;
        self.shared.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::content::{Expected, Found};

    fn reader() -> (tempfile::TempDir, Reader) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path().to_str().unwrap()).unwrap();
        (directory, Reader::new(root))
    }

    fn want(path: &str, expected: Expected) -> Want {
        Want::File { path: path.into(), expected }
    }

    #[tokio::test]
    async fn what_comes_a_little_later_is_waited_for() {
        let (directory, mut reader) = reader();
        reader.ask(want("/late", Expected::Present));
        reader.ask(want("/late", Expected::Present));
        reader.ask(want("/never", Expected::Anything));
        let first = reader.answer().await.unwrap().files.remove(0);
        assert_eq!((first.path.as_slice(), first.found), (&b"/never"[..], Found::Absent));
        std::fs::write(directory.path().join("late"), "x").unwrap();
        let second = reader.answer().await.unwrap().files.remove(0);
        assert_eq!(second.found.regular().unwrap().content, b"x");
        assert!(reader.try_answer().is_none(), "the same want is answered once");
    }

    #[tokio::test]
    async fn what_never_comes_is_read_as_it_is() {
        let (_directory, mut reader) = reader();
        let asked = Instant::now();
        reader.ask(want("/never", Expected::Inode(7)));
        assert_eq!(reader.answer().await.unwrap().files[0].found, Found::Absent);
        assert!(asked.elapsed() >= PATIENCE);
    }

    #[tokio::test]
    async fn a_flood_is_bounded_and_counted() {
        let (_directory, mut reader) = reader();
        // Nothing is answered before `answer` is called for the 33rd time, so the queue fills.
        for number in 0..2 * QUEUE_MAX {
            reader.ask(want(&format!("/{number}"), Expected::Anything));
        }
        let mut answered = 0;
        while tokio::time::timeout(Duration::from_millis(500), reader.answer()).await.is_ok() {
            answered += 1;
        }
        assert_eq!(answered + reader.refused(), 2 * QUEUE_MAX as u64);
        assert!(reader.refused() > 0);
    }
}
