//! The stream of records: whatever enters the pipeline passes here, and is recorded here.

use std::fs::File;
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context;
use sensor_common::mute::Mute;
use sensor_common::record::kind;
use serde::Serialize;

use crate::config::Config;
use crate::detect::follow::Follow;
use crate::event::content::Want;
use crate::event::encode::{encode_tick, encode_user};
use crate::event::user::{Host, ToolIdentity, Tools};
use crate::incident::alert::Alert;
use crate::lineage;
use crate::pipeline::{Limits, Pipeline};
use crate::source::recording::{RecordingError, Writer};
use crate::source::snapshot::{self, User, boottime_ns};
use crate::subject::tools::{DIRECTORIES, TOOLS};

/// Alerts that wait before they leave: each may hold sixty-four ancestors with their arguments.
const ALERTS_WAITING: usize = 64;

/// The pipeline, and the recording of what it is fed.
pub struct Stream {
    pipeline: Pipeline,
    recording: Option<Recording>,
    alerts: Vec<Alert>,
}

struct Recording {
    path: PathBuf,
    writer: Writer<BufWriter<File>>,
}

impl Stream {
    /// A fresh pipeline; with `record`, a new file beside it.
    ///
    /// # Errors
    /// Where the file cannot be made. One that exists is not overwritten.
    pub fn new(config: &Config, record: Option<PathBuf>) -> anyhow::Result<Self> {
        let lineage = lineage::Limits {
            processes: config.limits.process_table_entries as usize,
            ..lineage::Limits::default()
        };
        let recording = record.map(Recording::create).transpose()?;
        Ok(Self {
            pipeline: Pipeline::new(Limits { lineage, ..Limits::default() }),
            recording,
            alerts: Vec::new(),
        })
    }

    /// Takes up a record. What makes no sense is counted and passed over.
    pub fn take(&mut self, record: &[u8]) {
        if let Some(recording) = &mut self.recording {
            recording.record(record);
        }
        if let Err(error) = self.pipeline.feed(record, &mut self.alerts) {
            tracing::debug!("a record is passed over: {error}");
        }
    }

    /// Takes up a record of userspace's own.
    pub fn tell<T: Serialize>(&mut self, kind: u16, value: &T) {
        match encode_user(kind, boottime_ns(), value) {
            Ok(record) => self.take(&record),
            Err(error) => tracing::error!(kind = kind::name(kind), %error, "a record cannot be written"),
        }
    }

    /// Passes time on, if something waits for it.
    pub fn tick(&mut self) {
        let now = boottime_ns();
        if self.pipeline.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.take(&encode_tick(now));
        }
    }

    /// Brings out what is held back.
    pub fn drain(&mut self) {
        self.pipeline.drain(&mut self.alerts);
    }

    /// Files that are to be watched from now on.
    pub fn follows(&mut self) -> std::vec::Drain<'_, Follow> {
        self.pipeline.follows()
    }

    /// What the kernel need not show of connections.
    pub fn mutes(&mut self) -> std::collections::vec_deque::Drain<'_, (u64, Mute)> {
        self.pipeline.mutes()
    }

    /// Files that the pipeline wants to know the content of.
    pub fn wants(&mut self) -> std::vec::Drain<'_, Want> {
        self.pipeline.wants()
    }

    /// Whether there is room for further alerts, or these should leave first.
    pub fn room(&self) -> ControlFlow<()> {
        if self.alerts.len() < ALERTS_WAITING { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// The alerts since the last call.
    pub fn alerts(&mut self) -> std::vec::Drain<'_, Alert> {
        self.alerts.drain(..)
    }

    /// The pipeline's figures and bounds.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Writes out what the recording has in memory.
    pub fn flush(&mut self) {
        if let Some(recording) = &mut self.recording {
            let flushed = recording.writer.flush();
            recording.report(flushed);
        }
    }

    /// Tells the machine, its users, tools, control groups and processes.
    ///
    /// # Errors
    /// Where /proc cannot be listed.
    pub fn tell_what_is_there(&mut self, host: &Host, root: &str, users: &[User]) -> anyhow::Result<usize> {
        self.tell(kind::HOST, host);
        self.tell(kind::USERS, &snapshot::known(users));
        self.tell(kind::TOOLS, &tools(root));
        let groups = snapshot::cgroups();
        for group in &groups {
            self.tell(kind::CGROUP_SNAPSHOT, group);
        }
        snapshot::processes(&groups, |process| self.tell(kind::PROCESS_SNAPSHOT, &process))
            .context("cannot list the processes in /proc")
    }
}

impl Recording {
    fn create(path: PathBuf) -> anyhow::Result<Self> {
        let file = File::options().write(true).create_new(true).open(&path);
        let file = file.with_context(|| {
            format!("cannot make the recording {} (is it there already?)", path.display())
        })?;
        let writer = Writer::new(BufWriter::new(file))
            .with_context(|| format!("cannot write the recording {}", path.display()))?;
        Ok(Self { path, writer })
    }

    fn record(&mut self, record: &[u8]) {
        let recorded = self.writer.record(record);
        self.report(recorded);
    }

    /// Says once that a recording has ended; alerts go on.
    fn report(&self, result: Result<(), RecordingError>) {
        match result {
            Ok(()) | Err(RecordingError::Stopped) => {}
            Err(error) => {
                let full = if error.is_full() { " (the disk is full)" } else { "" };
                tracing::error!(recording = %self.path.display(), "{error}{full}; the recording ends here, alerts go on");
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.flush();
        if let Some(recording) = &self.recording {
            let (frames, unrecorded) = (recording.writer.frames(), recording.writer.unrecorded());
            tracing::info!(recording = %recording.path.display(), frames, unrecorded, "recording closed");
        }
    }
}

/// The known tools that are installed, by identity, so that a copy or a link of another name is recognised.
fn tools(root: &str) -> Tools {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    let mut tools = Vec::new();
    for tool in TOOLS {
        for directory in DIRECTORIES {
            let directory = std::path::Path::new(std::ffi::OsStr::from_bytes(directory));
            let path =
                PathBuf::from(root).join(directory.strip_prefix("/").unwrap_or(directory)).join(tool.name);
            let Ok(meta) = std::fs::metadata(path) else { continue };
            let identity = ToolIdentity {
                name: tool.name.to_owned(),
                device: snapshot::kernel_device(meta.dev()),
                inode: meta.ino(),
            };
            if meta.is_file() && !tools.contains(&identity) {
                tools.push(identity);
            }
        }
    }
    Tools { tools }
}
