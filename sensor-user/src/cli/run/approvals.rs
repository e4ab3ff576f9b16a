//! Approvals and exceptions enter the stream: at the start, and whenever their files are others.

use std::path::Path;
use std::time::{Duration, Instant};

use sensor_common::record::kind;

use super::stream::Stream;
use crate::config::Config;
use crate::event::approval::Approvals as Told;
use crate::proof::approval::{APPROVALS, Keys, load_directory, load_signed};

/// How often it is looked whether their directories are others.
const LOOK: Duration = Duration::from_secs(5);

/// Approvals that are told in one record: some 700 bytes each.
const TOLD_MAX: usize = 1024;

/// What was told last.
#[derive(Default)]
pub struct Approvals {
    looked: Option<Instant>,
    /// When the two directories were changed: by a file that came, went, or was replaced.
    changed: [Option<(i64, i64)>; 2],
    told: Option<Told>,
    problems: Vec<String>,
}

impl Approvals {
    /// Tells what is approved, if that is another than before.
    pub fn refresh(&mut self, config: &Config, stream: &mut Stream) {
        let now = Instant::now();
        if self.looked.is_some_and(|at| now.duration_since(at) < LOOK) {
            return;
        }
        let first = self.looked.replace(now).is_none();
        let state = &config.inventory.directory;
        let changed = [changed(&state.join(APPROVALS)), changed(&config.approvals.directory)];
        if !first && changed == self.changed {
            return;
        }
        self.changed = changed;
        let mut approvals: Vec<_> =
            config.exception.iter().filter_map(|exception| exception.approval().ok()).collect();
        let mut problems = Vec::new();
        // The configuration was checked.
        let keys = Keys::parse(&config.approvals.keys).unwrap_or_default();
        for loaded in [load_directory(state), load_signed(&config.approvals.directory, &keys)] {
            approvals.extend(loaded.approvals);
            problems.extend(loaded.problems);
        }
        if approvals.len() > TOLD_MAX {
            problems.push(format!("of {} approvals only {TOLD_MAX} count", approvals.len()));
            approvals.truncate(TOLD_MAX);
        }
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::warn!("{problem}");
        }
        self.problems = problems;
        let told = Told { approvals };
        let nothing = self.told.is_none() && told.approvals.is_empty();
        if !nothing && self.told.as_ref() != Some(&told) {
            tracing::info!(approvals = told.approvals.len(), "approvals and exceptions read");
            stream.tell(kind::APPROVALS, &told);
            self.told = Some(told);
        }
    }
}

fn changed(directory: &Path) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(directory).ok()?;
    Some((meta.ctime(), meta.ctime_nsec()))
}
