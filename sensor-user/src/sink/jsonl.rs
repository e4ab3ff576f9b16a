//! One ECS document a line.

use std::io::{self, Write};

use super::{Counts, Rendered, Sink, SinkError, Status};

/// Writes to anything, and flushes after each line.
///
/// A reader that does not read makes the write wait, as with any Unix tool: the sensor's own queues then fill, and
/// what is lost there is counted there.
#[derive(Debug)]
pub struct Jsonl<W> {
    writer: W,
    counts: Counts,
    /// A part of a line stands at the end of the output.
    torn: bool,
}

impl<W: Write> Jsonl<W> {
    /// Writes to `writer`.
    pub fn new(writer: W) -> Self {
        Self { writer, counts: Counts::default(), torn: false }
    }

    fn line(&mut self, json: &str) -> io::Result<()> {
        if self.torn {
            // The full disk or the signal that tore the line must not cost the next document too.
            self.writer.write_all(b"\n")?;
            self.torn = false;
        }
        let line = [json.as_bytes(), b"\n"].concat();
        let mut written = 0;
        while written < line.len() {
            match self.writer.write(&line[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.torn = written < line.len();
        }
        self.writer.flush()
    }
}

impl<W: Write> Sink for Jsonl<W> {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn write(&mut self, alert: &Rendered<'_>) -> Result<(), SinkError> {
        let result = self.line(&alert.json);
        match result {
            Ok(()) => self.counts.written += 1,
            Err(_) => self.counts.failed += 1,
        }
        result.map_err(|error| SinkError::of("jsonl", error))
    }

    fn status(&self) -> Status {
        Status { counts: self.counts, ..Status::default() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::sink::sample;

    #[test]
    fn each_alert_is_one_line() {
        let mut out = Vec::new();
        let mut sink = Jsonl::new(&mut out);
        for alert in [sample::unit_written(), sample::hostile(), sample::container_started()] {
            sink.write(&Rendered::new(&alert)).unwrap();
        }
        assert_eq!(sink.status().counts, Counts { written: 3, ..Counts::default() });
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with('\n'));
        let documents: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(documents.len(), 3);
        assert_eq!(documents[1]["svcsensor"]["severity"], "critical");
        assert_eq!(documents[2]["rule"]["id"], "container.restart-policy.set");
    }

    /// Takes `room` bytes, then has none until `room` is set again.
    struct Disk {
        content: Vec<u8>,
        room: usize,
    }

    impl Write for &mut Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(self.room);
            self.content.extend_from_slice(&bytes[..count]);
            self.room -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next() {
        let alert = sample::bare();
        let rendered = Rendered::new(&alert);
        let mut disk = Disk { content: Vec::new(), room: 100 };
        let mut sink = Jsonl::new(&mut disk);
        assert!(matches!(sink.write(&rendered), Err(SinkError::Write { sink: "jsonl", .. })));
        assert!(sink.write(&rendered).is_err());
        sink.writer.room = 1 << 20;
        sink.write(&rendered).unwrap();
        assert_eq!(sink.status().counts, Counts { written: 1, failed: 2, dropped: 0 });
        let text = String::from_utf8(disk.content).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0].len()), (2, 100));
        assert_eq!(lines[1], rendered.json);
    }

    #[test]
    fn a_pipe_without_a_reader_is_closed() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let alert = sample::bare();
        let error = Jsonl::new(writer).write(&Rendered::new(&alert)).unwrap_err();
        assert!(matches!(error, SinkError::Closed { sink: "jsonl" }), "{error}");
    }
}
