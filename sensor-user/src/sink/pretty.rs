//! Alerts for people at a terminal.

use std::fmt::{self, Display, Write as _};
use std::io::{IsTerminal, Write};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::text::{command_line, prefix, printable};
use super::{Counts, Rendered, Sink, SinkError, Status, ecs};
use crate::detect::rule::Severity;
use crate::incident::alert::Alert;
use crate::lineage::actor::{Container, Process, User};
use crate::subject::adjacent;

/// Bytes of a command line that are shown; the other sinks have all of it.
const COMMAND_LINE_MAX: usize = 400;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Writes to anything, and flushes after each alert. All strings of others are made printable first.
#[derive(Debug)]
pub struct Pretty<W> {
    writer: W,
    colour: bool,
    counts: Counts,
}

impl<W: Write> Pretty<W> {
    /// Writes to `writer`, with colours or without.
    pub fn new(writer: W, colour: bool) -> Self {
        Self { writer, colour, counts: Counts::default() }
    }
}

/// Whether a stream wants colours: it is a terminal, and neither `NO_COLOR` (<https://no-color.org>), nor
/// `CLICOLOR=0`, nor `TERM=dumb` is against it.
pub fn wants_colour(stream: &(impl IsTerminal + anstream::stream::RawStream)) -> bool {
    anstream::AutoStream::choice(stream) != ColorChoice::Never
}

impl<W: Write> Sink for Pretty<W> {
    fn name(&self) -> &'static str {
        "pretty"
    }

    fn write(&mut self, alert: &Rendered<'_>) -> Result<(), SinkError> {
        let text = render(alert.alert, self.colour);
        let result = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush());
        match result {
            Ok(()) => self.counts.written += 1,
            Err(_) => self.counts.failed += 1,
        }
        result.map_err(|error| SinkError::of("pretty", error))
    }

    fn status(&self) -> Status {
        Status { counts: self.counts, ..Status::default() }
    }
}

/// An alert as several lines, the last one empty.
#[must_use]
pub fn render(alert: &Alert, colour: bool) -> String {
    let mut page = Page { text: String::with_capacity(1024), colour };
    page.alert(alert).expect("a string takes whatever is written to it");
    page.text
}

/// Bytes of a container's labels that a page shows.
const LABELS_SHOWN: usize = 400;

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn alert(&mut self, alert: &Alert) -> fmt::Result {
        let severity = self.styled(severity_style(alert.severity), &alert.severity.name().to_uppercase());
        let sentence = self.styled(BOLD, &printable(&alert.summary));
        writeln!(self.text, "{severity} {sentence}")?;

        let host = printable(&alert.host.hostname);
        let backend = printable(&alert.host.backend);
        self.line("when", format_args!("{} on {host} ({backend})", ecs::timestamp(alert.time_us)))?;
        self.subject(alert)?;
        if alert.actor.process.is_known() {
            self.processes(alert)?;
            self.people(alert)?;
        }
        if let Some(container) = &alert.actor.container {
            let runtime = container.runtime.as_deref().unwrap_or("unknown runtime");
            self.line("container", format_args!("{} ({})", printable(&container.id), printable(runtime)))?;
            self.identity(container)?;
        }
        for (number, technique) in alert.techniques().enumerate() {
            let name = technique.subtechnique.unwrap_or(technique.technique);
            let reference = self.styled(DIM, &ecs::technique_reference(technique.id));
            let title = if number == 0 { "technique" } else { "" };
            self.line(title, format_args!("{} {name}  {reference}", technique.id))?;
        }
        let repeats = match alert.collapsed {
            0 => String::new(),
            more => format!(", {more} repeats"),
        };
        self.line("rule", format_args!("{} (score {}){repeats}", alert.rule.id, alert.score))?;
        for reason in &alert.reasons {
            self.line("", format_args!("{:+} {}", reason.points, printable(&reason.text)))?;
        }
        writeln!(self.text)
    }

    fn identity(&mut self, container: &Container) -> fmt::Result {
        let Some(identity) = &container.identity else { return Ok(()) };
        for (what, value) in [
            ("name", &identity.name),
            ("image", &identity.image),
            ("digest", &identity.digest),
            ("pod", &identity.pod),
            ("namespace", &identity.namespace),
            ("service account", &identity.service_account),
        ] {
            if let Some(value) = value {
                self.line("", format_args!("{what} {}", printable(value)))?;
            }
        }
        let labels: Vec<String> =
            identity.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if labels.is_empty() {
            return Ok(());
        }
        self.line("", format_args!("labels {}", printable(prefix(&labels.join(" "), LABELS_SHOWN))))
    }

    fn subject(&mut self, alert: &Alert) -> fmt::Result {
        if let Some(file) = &alert.file {
            let mut facts = Vec::new();
            if file.mode != 0 {
                facts.push(format!("mode {:04o}", file.mode & 0o7777));
                facts.push(format!("{} bytes", file.size));
            }
            if file.inode != 0 {
                facts.push(format!("inode {}", file.inode));
            }
            let facts = self.styled(DIM, &facts.join(", "));
            let path = self.styled(BOLD, &printable(&file.path));
            self.line("file", format_args!("{path}  {facts}"))?;
            if let Some(target) = &file.target {
                self.line("", format_args!("-> {}", printable(target)))?;
            }
            if let Some(other) = &file.other_path {
                self.line("", format_args!("from {}", printable(other)))?;
            }
        }
        if let Some(unit) = &alert.unit {
            let (part, scope) = (name_of(&unit.part), name_of(&unit.scope));
            match adjacent::of_part(unit.part) {
                Some(_) => self.line("entry", format_args!("{} ({part}, {scope})", printable(&unit.name)))?,
                None => {
                    self.line("unit", format_args!("{} ({part}, {scope} manager)", printable(&unit.name)))?;
                }
            }
            for change in &unit.changes {
                self.line("", format_args!("{}", printable(change)))?;
            }
        }
        if let Some(service) = &alert.container_service {
            let image = service.image.as_deref().or(service.name.as_deref()).unwrap_or("");
            let mut words = vec![&*service.engine, &*service.verb, image];
            words.retain(|word| !word.is_empty());
            let asked = printable(&words.join(" ")).into_owned();
            if service.comes_back() {
                let policy = printable(&service.restart_policy);
                self.line("service", format_args!("{asked}, restart {policy}"))?;
            } else {
                self.line("service", format_args!("{asked}"))?;
            }
            let access: Vec<String> = service.access.options().map(str::to_owned).collect();
            for (what, words) in [("host access", &access), ("command", &service.command)] {
                if !words.is_empty() {
                    self.line("", format_args!("{what}: {}", printable(&command_line(words))))?;
                }
            }
        }
        Ok(())
    }

    fn processes(&mut self, alert: &Alert) -> fmt::Result {
        let actor = &alert.actor;
        self.tree("processes", &actor.process, &actor.ancestors, actor.ancestors_truncated)?;
        let requester = actor.on_behalf_of.as_ref();
        if let Some((requester, (client, ancestors))) =
            requester.and_then(|requester| Some((requester, requester.processes.split_first()?)))
        {
            self.tree("asked by", client, ancestors, requester.ancestors_truncated)?;
            let confidence = self.styled(DIM, requester.confidence);
            let login = requester.login_user.as_ref().map_or_else(|| "nobody".to_owned(), person);
            match &requester.request {
                Some(request) => {
                    self.line(
                        "",
                        format_args!("{} ({confidence}), logged in as {login}", printable(request)),
                    )?;
                }
                None => self.line("", format_args!("probably ({confidence}), logged in as {login}"))?,
            }
        }
        Ok(())
    }

    /// From PID 1 down to a process.
    fn tree(
        &mut self,
        title: &str,
        process: &Process,
        ancestors: &[Process],
        truncated: bool,
    ) -> fmt::Result {
        let mut title = title;
        if truncated {
            self.line(title, format_args!("... (further ancestors are not known)"))?;
            title = "";
        }
        for (depth, ancestor) in ancestors.iter().rev().enumerate() {
            let branch = self.styled(DIM, &branch(depth));
            self.line(title, format_args!("{branch}{}", describe(ancestor)))?;
            title = "";
        }
        let branch = self.styled(DIM, &branch(ancestors.len()));
        let process = self.styled(BOLD, &describe(process));
        self.line(title, format_args!("{branch}{process}"))
    }

    fn people(&mut self, alert: &Alert) -> fmt::Result {
        let process = &alert.actor.process;
        let mut text = person(&process.user);
        if process.euid != process.user.id {
            let _ = write!(text, " acting as uid {}", process.euid);
        }
        match &alert.actor.login_user {
            Some(login) => {
                let _ = write!(text, ", logged in as {}", person(login));
            }
            None => text.push_str(", nobody logged in"),
        }
        if let Some(session) = alert.actor.session {
            let _ = write!(text, ", session {session}");
        }
        if let Some(unit) = &alert.actor.unit {
            let _ = write!(text, ", in {}", printable(unit));
        }
        self.line("user", format_args!("{text}"))
    }

    fn line(&mut self, title: &str, content: fmt::Arguments<'_>) -> fmt::Result {
        let title = self.styled(DIM, &format!("{title:<9}"));
        writeln!(self.text, "  {title} {content}")
    }

    fn styled(&self, style: Style, text: &str) -> impl Display + use<> {
        if self.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn branch(depth: usize) -> String {
    if depth == 0 { String::new() } else { format!("{:1$}└─ ", "", (depth - 1) * 3) }
}

/// Pid and command line; the executable too where the command line does not begin with it.
fn describe(process: &Process) -> String {
    let line = command_line(&process.args);
    let shown = prefix(&line, COMMAND_LINE_MAX);
    let mut text = format!("{} ", process.pid);
    text.push_str(&printable(if shown.is_empty() { &process.name } else { shown }));
    if shown.len() < line.len() || process.args_truncated {
        text.push_str(" ...");
    }
    if !process.executable.is_empty() && process.args.first() != Some(&process.executable) {
        let _ = write!(text, "  [{}]", printable(&process.executable));
    }
    for (mark, name) in
        [(process.memfd, "memfd"), (process.deleted, "deleted"), (process.incomplete, "already gone")]
    {
        if mark {
            let _ = write!(text, " ({name})");
        }
    }
    text
}

/// The name by which documents have a value.
fn name_of(value: &impl Serialize) -> String {
    let name = serde_json::to_value(value).unwrap_or_default();
    name.as_str().unwrap_or_default().to_owned()
}

fn person(user: &User) -> String {
    match &user.name {
        Some(name) => format!("{} ({})", printable(name), user.id),
        None => format!("uid {}", user.id),
    }
}

fn severity_style(severity: Severity) -> Style {
    match severity {
        Severity::Info => AnsiColor::Cyan.on_default(),
        Severity::Low => AnsiColor::Green.on_default().bold(),
        Severity::Medium => AnsiColor::Yellow.on_default().bold(),
        Severity::High => AnsiColor::Red.on_default().bold(),
        Severity::Critical => AnsiColor::BrightWhite.on(AnsiColor::Red).bold(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;

    #[test]
    fn a_page_tells_the_story() {
        let text = render(&sample::unit_written(), false);
        assert_eq!(
            text,
            "\
HIGH sh (pid 4242, ada) created the unit evil.service in /etc/systemd/system
  when      2026-11-30T12:34:56.000007Z on web1 (lsm)
  file      /etc/systemd/system/evil.service  mode 0644, 123 bytes, inode 4711
  unit      evil.service (fragment, system manager)
            it runs /tmp/x
  processes 1 /sbin/init  [/usr/lib/systemd/systemd]
            └─ 900 'sshd: ada [priv]'  [/usr/sbin/sshd]
               └─ 4100 -bash  [/usr/bin/bash]
                  └─ 4200 sudo sh  [/usr/bin/sudo]
                     └─ 4242 sh -c 'echo '\\''[Service]'\\'' > evil.service'  [/usr/bin/dash]
  user      ada (1000) acting as uid 0, logged in as ada (1000), session 3, in session-3.scope
  technique T1543.002 Systemd Service  https://attack.mitre.org/techniques/T1543/002/
  rule      systemd.unit.written (score 73)
            +60 a unit of the system manager was created
            +13 by a shell of a login session

"
        );
    }

    #[test]
    fn a_container_service_is_told() {
        let text = render(&sample::container_started(), false);
        assert!(text.contains("\n  service   docker run evil:latest, restart always\n"), "{text}");
        assert!(text.contains("\n            host access: --privileged\n"), "{text}");
        assert!(text.contains("(docker)\n"), "{text}");
        assert!(text.contains("\n  asked by  70 bash -i  [/usr/bin/bash]\n"), "{text}");
        assert!(text.contains("probably (recent-client), logged in as ada (1000)\n"), "{text}");
        assert!(text.contains("(score 50), 4 repeats\n"), "{text}");
    }

    #[test]
    fn no_string_of_others_reaches_the_terminal_raw() {
        for colour in [false, true] {
            let text = render(&sample::hostile(), colour);
            // Our own colours are SGR sequences: ESC [ ... m. Take them out, and nothing may be left.
            let own = anstream::adapter::strip_str(&text).to_string();
            let plain = render(&sample::hostile(), false);
            assert_eq!(own, plain);
            assert_eq!(printable(&plain.replace('\n', "")), plain.replace('\n', ""));
            let lines = |alert: &Alert| render(alert, false).lines().count();
            // Three lines more than the same alert without tricks: target, other path, truncated ancestors; five of
            // its container; and one less: of the unit nothing was read.
            assert_eq!(plain.lines().count(), lines(&sample::unit_written()) + 3 + 5 - 1);
            assert!(plain.lines().all(|line| line.len() < 1000), "{plain}");
        }
    }

    #[test]
    fn colours_are_only_where_asked_for() {
        assert!(!render(&sample::unit_written(), false).contains('\x1b'));
        assert!(render(&sample::unit_written(), true).starts_with("\x1b[1m\x1b[31mHIGH\x1b[0m "));
        let file = tempfile::tempfile().unwrap();
        assert!(!wants_colour(&file), "a file wants no colours");
    }

    #[test]
    fn what_is_written_is_counted() {
        let alert = sample::bare();
        let mut sink = Pretty::new(Vec::new(), false);
        sink.write(&Rendered::new(&alert)).unwrap();
        assert_eq!(sink.status().counts.written, 1);
        assert!(String::from_utf8(sink.writer).unwrap().contains("5  (already gone)"));
    }

    #[test]
    fn nobody_is_no_process() {
        let text = render(&sample::nobody(), false);
        assert!(!text.contains("processes ") && !text.contains("\n  user "), "{text}");
    }
}
