//! What files say: those that are there when their directory is first watched, and those that the pipeline asks for.

use std::sync::Arc;

use anyhow::Context;
use sensor_common::record::kind;

use super::stream::Stream;
use crate::detect::managers;
use crate::event::content::{Answer, FileContent, Found, Surveyed, Want};
use crate::event::proof::Proofs;
use crate::event::user::WatchClass;
use crate::probe::watches::Changes;
use crate::proof::package::Packages;
use crate::proof::prover::Prover;
use crate::source::content::{Root, walk};
use crate::source::reader::Reader;
use crate::subject::container::books::Book;

/// Files whose content is told at start, and their bytes, at most. Debian with everything has some 1,500 units of
/// 1.5 MB.
const BASELINE_FILES: usize = 8192;
const BASELINE_BYTES: usize = 8 << 20;

/// The reading of files.
pub struct Contents {
    reader: Reader,
    prover: Prover,
    files: usize,
    bytes: usize,
}

impl Contents {
    /// Reads below `root`, PID 1's.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn new(path: &str) -> anyhow::Result<Self> {
        let root = Root::open(path).with_context(|| format!("cannot open {path}"))?;
        // Of its own, since it is another thread's.
        let own = Root::open(path).with_context(|| format!("cannot open {path}"))?;
        let mut prover = Prover::new(move || Packages::open(Arc::new(own)))
            .context("cannot start the thread that asks package databases")?;
        // What is known before anything happens proves programs that end before they can be compared.
        prover.ask(0, managers::paths().collect());
        Ok(Self { reader: Reader::new(root), prover, files: 0, bytes: 0 })
    }

    /// Tells where configured directories lie that are reached by links: units are known by their directories' own names.
    pub fn tell_links(changes: &Changes, stream: &mut Stream) {
        for (path, real) in &changes.links {
            let end = Box::new(Found::Directory { names: Vec::new(), truncated: false });
            let target = real.clone().into_bytes();
            let found = if path == real { Found::Absent } else { Found::Symlink { target, end } };
            let path = path.clone().into_bytes();
            stream.tell(kind::FILE_CONTENT, &FileContent { path, baseline: true, survey: None, found });
        }
    }

    /// Tells what the directories hold that are watched from now on. What appeared with its directory under the
    /// sensor's eyes is no part of it: it is a finding.
    pub fn tell_baseline(&mut self, changes: &Changes, stream: &mut Stream) {
        let full = |files: usize, bytes: usize| files >= BASELINE_FILES || bytes >= BASELINE_BYTES;
        for watch in &changes.watches {
            let appeared = changes.found.iter().any(|found| found.watch == watch.watch);
            let engines = watch.class == Some(WatchClass::EngineState);
            if appeared || !engines && !watch.class.is_some_and(is_told) {
                continue;
            }
            // Beside them lie logs and databases.
            let wanted = |name: &[u8]| {
                !engines || matches!(Book::of(name), Some(Book::DockerConfig | Book::DockerHostConfig))
            };
            walk(self.reader.root(), watch.path.as_bytes(), wanted, |content| {
                self.files += 1;
                self.bytes += content.found.regular().map_or(0, |regular| regular.content.len());
                stream.tell(kind::FILE_CONTENT, &content);
                !full(self.files, self.bytes)
            });
            if full(self.files, self.bytes) {
                tracing::warn!(
                    files = self.files,
                    bytes = self.bytes,
                    "more units than are read at start: of those left out a change is told without what was before"
                );
                return;
            }
        }
    }

    /// Hands the pipeline's wants to the readers, and their answers to the pipeline.
    pub fn exchange(&mut self, stream: &mut Stream) {
        loop {
            for want in stream.wants() {
                match want {
                    Want::Proof { id, paths } => self.prover.ask(id, paths),
                    other => self.reader.ask(other),
                }
            }
            let (answer, proofs) = (self.reader.try_answer(), self.prover.try_answer());
            if answer.is_none() && proofs.is_none() {
                return;
            }
            answer.iter().for_each(|answer| tell(answer, stream));
            proofs.iter().for_each(|proofs| stream.tell(kind::PROOF, proofs));
        }
    }

    /// The next answer; waits for it.
    pub async fn answer(&mut self) -> Answered {
        tokio::select! {
            Some(answer) = self.reader.answer() => Answered::Read(answer),
            Some(proofs) = self.prover.answer() => Answered::Proved(proofs),
            else => std::future::pending().await,
        }
    }

    /// Wants that found no room.
    pub fn refused(&self) -> u64 {
        self.reader.refused() + self.prover.refused()
    }
}

/// What one of the threads has to say.
pub enum Answered {
    /// The content of files.
    Read(Answer),
    /// What package databases say.
    Proved(Proofs),
}

impl Answered {
    /// Tells it.
    pub fn tell(&self, stream: &mut Stream) {
        match self {
            Self::Read(answer) => tell(answer, stream),
            Self::Proved(proofs) => stream.tell(kind::PROOF, proofs),
        }
    }
}

/// Tells what was read.
fn tell(answer: &Answer, stream: &mut Stream) {
    for content in &answer.files {
        stream.tell(kind::FILE_CONTENT, content);
    }
    if let Some(id) = answer.survey {
        stream.tell(kind::SURVEYED, &Surveyed { id });
    }
}

fn is_told(class: WatchClass) -> bool {
    matches!(
        class,
        WatchClass::SystemUnit
            | WatchClass::UserUnit
            | WatchClass::GeneratorOutput
            | WatchClass::TransientUnit
            // Units take variables from there.
            | WatchClass::ServiceEnvironment
    )
}
