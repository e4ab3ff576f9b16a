//! What a container is given, and what runs in it, as parts of a score.

use super::finding::Finding;
use super::units::{points, tell};
use crate::event::path::lossy;
use crate::subject::container::access::Grant;
use crate::subject::container::manifest::Manifest;
use crate::subject::container::quadlet::{self, Quadlet};
use crate::subject::container::service::ContainerService;
use crate::subject::container::settings;
use crate::subject::service::UnitPart;
use crate::subject::unit::signals::{Weight, command};

/// Objects of a manifest that an alert names.
const OBJECTS_TOLD: usize = 6;

/// What came of a file's content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Weighed {
    /// It is no engine's or node agent's.
    Other,
    /// It was told.
    Told,
    /// It was told, and leads to this manifest, as written.
    LeadsTo(Vec<u8>),
}

/// Tells what a file of an engine or node agent says, if `part` is such a thing.
pub(super) fn weigh_file(finding: &mut Finding, part: UnitPart, content: &[u8]) -> Weighed {
    match part {
        UnitPart::Quadlet => {
            let name = finding.unit.as_ref().map(|unit| unit.name.clone()).unwrap_or_default();
            let leads_to = quadlet::read(&name, content).and_then(|quadlet| tell_quadlet(finding, quadlet));
            return leads_to.map_or(Weighed::Told, Weighed::LeadsTo);
        }
        UnitPart::StaticPod | UnitPart::ClusterManifest => {
            tell_manifest(finding, &Manifest::read(content));
        }
        UnitPart::EngineConfig | UnitPart::KubeletConfig | UnitPart::RuntimeHook => {
            let path = finding.subject.clone().into_bytes();
            tell(finding, settings::signals(&path, content, part == UnitPart::RuntimeHook));
        }
        UnitPart::MachineConfig => tell_machine(finding, content),
        _ => return Weighed::Other,
    }
    Weighed::Told
}

/// Tells what a Quadlet says; gives the manifest that it leads to, as written.
pub(super) fn tell_quadlet(finding: &mut Finding, quadlet: Quadlet) -> Option<Vec<u8>> {
    if let Some(unit) = &quadlet.unit {
        finding.reason(0, format!("podman's generator makes {unit} of it"));
    }
    if !quadlet.wanted_by.is_empty() {
        finding.reason(0, format!("it starts by itself, with {}", quadlet.wanted_by.join(" ")));
    }
    for command in &quadlet.on_host {
        let line: Vec<_> = command.iter().map(|word| lossy(word)).collect();
        finding.reason(5, format!("it runs on the host: {}", line.join(" ")));
        let program = command.first().map(Vec::as_slice).unwrap_or_default();
        tell(finding, command::signals(program, command, false));
    }
    if let Some(fault) = &quadlet.fault {
        finding.reason(0, format!("not all of it was read: {fault}"));
    }
    weigh(&quadlet.container, finding);
    let said = quadlet.container.image.is_some()
        || !quadlet.container.command.is_empty()
        || quadlet.container.access.grant().is_some();
    finding.container_service = Some(quadlet.container).filter(|_| said);
    quadlet.manifest
}

/// Tells what a manifest says, by the container that is given most.
pub(super) fn tell_manifest(finding: &mut Finding, manifest: &Manifest) {
    if !manifest.objects.is_empty() {
        let named =
            manifest.objects.iter().take(OBJECTS_TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = manifest.objects.len().saturating_sub(OBJECTS_TOLD);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        finding.reason(0, format!("it describes {named}{more}"));
    }
    for note in &manifest.notes {
        finding.reason(0, note.as_str());
    }
    if let Some(fault) = &manifest.fault {
        finding.reason(0, format!("not all of it was read: {fault}"));
    }
    if let Some(worst) = manifest.worst() {
        weigh(worst, finding);
        finding.container_service = Some(worst.clone());
        let others = manifest.containers.len() - 1;
        if others > 0 {
            finding.reason(0, format!("of {} containers the one that is given most is told", others + 1));
        }
    }
}

/// lxc.container.conf(5); a definition of libvirt's has no such lines.
fn tell_machine(finding: &mut Finding, content: &[u8]) {
    const LINES_MAX: usize = 4096;
    let text = lossy(content);
    for line in text.lines().take(LINES_MAX) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "lxc.start.auto" if value == "1" => finding.reason(0, "the container starts at boot"),
            // systemd-nspawn's and lxc's own templates drop capabilities; keeping all is another matter.
            "lxc.rootfs.path" if matches!(value, "/" | "dir:/") => {
                finding.reason(25, "the host's root is the container's");
            }
            "lxc.mount.entry" if value.starts_with("/ ") => {
                finding.reason(25, "the container can take over its host: the host's root is mounted in it");
            }
            _ if key.starts_with("lxc.hook.") && key != "lxc.hook.version" => {
                // Those of a network namespace or the container's own run inside; these before or beside it.
                finding.reason(15, format!("{key} runs on the host: {value}"));
                let words: Vec<Vec<u8>> =
                    value.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
                if let Some(program) = words.first() {
                    tell(finding, command::signals(program, &words, false));
                }
            }
            _ => {}
        }
        if finding.reasons.len() > 24 {
            return;
        }
    }
}

/// Adds to `finding` what raises its score in a container, whoever says what it is to be.
pub(super) fn weigh(service: &ContainerService, finding: &mut Finding) {
    match service.access.grant() {
        Some(Grant::Full) => finding.reason(25, "the container can take over its host"),
        Some(Grant::Partial) => finding.reason(5, "the container is given a part of its host"),
        None => {}
    }
    let arguments: Vec<Vec<u8>> =
        service.command.iter().map(|argument| argument.clone().into_bytes()).collect();
    let Some(program) = arguments.first() else { return };
    for signal in command::signals(program, &arguments, true) {
        // Paths are the container's own: what lies in its /tmp says little.
        if signal.weight > Weight::Note && signal.slug.starts_with("command.") {
            finding.reason(points(signal.weight), signal.why);
        }
    }
}
