//! Findings in executions: containers that are told to come back, or are given the host.

use sensor_common::record::flags;

use super::containers::weigh;
use super::detector::{Detector, same_command};
use super::engine::passing;
use super::finding::{Finding, Phase, Who};
use super::rules;
use crate::event::decode::ExecEvent;
use crate::lineage::Lineage;
use crate::lineage::table::Handle;
use crate::subject::container::cli;
use crate::subject::tools::{Family, Recognised};

impl Detector {
    /// An execution; `handle` is the process, already known to run it.
    pub fn exec(&mut self, exec: &ExecEvent<'_>, handle: Handle, lineage: &Lineage) -> Option<Finding> {
        self.executed(exec.record.header.boottime_ns, handle, lineage);
        let image = lineage.image(handle)?;
        let recognised = self.tools.recognise(&image);
        if let Some(recognised) = recognised {
            self.asked_by_manifest(exec, handle, recognised.tool(), lineage);
        }
        if let Some(finding) = self.kubelet_started(exec, handle, lineage) {
            return Some(finding);
        }
        let who = Who { handle, task: exec.record.task };
        let known = match recognised.map(Recognised::tool) {
            Some(tool) if matches!(tool.family, Family::ContainerDaemon | Family::ContainerEngine) => {
                let exposed =
                    self.engine_executed(exec.record.header.boottime_ns, handle, Some(who), lineage);
                if exposed.is_some() || tool.family == Family::ContainerDaemon {
                    return exposed;
                }
                Some(tool)
            }
            // sudo, a shell or systemd-run with an engine's arguments: the engine's own execution follows.
            Some(_) => return None,
            // Cheap and exact: no option may be abbreviated.
            None if !contains(image.args, b"--restart") => return None,
            None => None,
        };
        let truncated = image.flags & flags::ARGS_TRUNCATED != 0;
        let mut service = cli::parse(image.arguments(), truncated && known.is_some(), known.is_none())?;

        // podman executes itself again to enter its user namespace: the first of such a line is the process.
        let mut process = handle;
        for at in lineage.line(handle).skip(1) {
            if lineage.image(at).is_none_or(|above| !same_command(&image, &above)) {
                break;
            }
            process = at;
        }
        let subject = format!(
            "{} {} {}",
            service.verb,
            service.name.as_deref().or(service.image.as_deref()).unwrap_or_default(),
            service.restart_policy
        );
        let argv0 = crate::lineage::image::base_name(image.arguments().next().unwrap_or_default());
        service.engine = match known {
            Some(tool) => tool.name.to_owned(),
            None => crate::event::path::lossy(argv0).into_owned(),
        };
        let rule =
            if service.comes_back() { &rules::RESTART_POLICY_SET } else { &rules::HOST_ACCESS_GRANTED };
        let mut finding =
            Finding::new(rule, exec.record.header.boottime_ns, "process_exec", subject).by(Some(who));
        finding.event_type = if service.verb == "update" { "change" } else { "creation" };
        if let Some(entry) = lineage.entry(process) {
            finding.process = (entry.tgid, entry.start_ns);
        }
        weigh(&service, &mut finding);
        if !service.comes_back() {
            passing(&mut finding);
        }
        match recognised {
            Some(Recognised::ByIdentity(tool)) if image.exe_name() != tool.name.as_bytes() => {
                finding.reason(15, format!("{} under another name", tool.name));
            }
            Some(_) => {}
            None => finding.reason(-10, "recognised by its arguments alone: the program is no known engine"),
        }
        if truncated {
            finding.reason(0, "the arguments were too long to be recorded whole");
        }
        // podman and nerdctl do it themselves; of the others the request follows, which knows more.
        let remote = !matches!(known.map(|tool| tool.name), Some("podman" | "nerdctl"));
        finding.phase = if remote { Phase::Held } else { Phase::Complete };
        self.engine_asked(exec.record.header.boottime_ns, &service);
        finding.container_service = Some(service);
        self.engines.told(&finding, process, known.is_none());
        Some(finding)
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
