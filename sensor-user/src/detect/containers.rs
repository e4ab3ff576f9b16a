//! What a container is given, and what runs in it, as parts of a score.

use super::finding::Finding;
use super::units::points;
use crate::subject::container::access::Grant;
use crate::subject::container::service::ContainerService;
use crate::subject::unit::signals::{Weight, command};

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
