//! What is odd about what a file says, by what it is for: the same signals as when it is written.

use crate::event::content::ELF;
use crate::event::path::lossy;
use crate::subject::container::access::Grant;
use crate::subject::container::manifest::Manifest;
use crate::subject::container::quadlet;
use crate::subject::container::service::ContainerService;
use crate::subject::container::settings;
use crate::subject::service::UnitPart;
use crate::subject::unit::signals::command::{self, of_script};
use crate::subject::unit::signals::unit::{of_manager, of_udev};
use crate::subject::unit::signals::{Signal, Weight};
use crate::subject::unit::store::Digest;

/// What there is to say of the file of `part` at `path`. Units are put together from all their files first.
pub(super) fn signals(part: UnitPart, path: &[u8], name: &[u8], text: &[u8]) -> Vec<Signal> {
    match part {
        UnitPart::Fragment | UnitPart::DropIn | UnitPart::DependencyLink | UnitPart::Alias => Vec::new(),
        UnitPart::ManagerConfig => of_manager(&Digest::new(text)),
        UnitPart::UdevRules => of_udev(text),
        UnitPart::Quadlet => of_quadlet(name, text),
        UnitPart::StaticPod | UnitPart::ClusterManifest => {
            Manifest::read(text).worst().map(of_container).unwrap_or_default()
        }
        UnitPart::EngineConfig | UnitPart::KubeletConfig | UnitPart::RuntimeHook => {
            settings::signals(path, text, part == UnitPart::RuntimeHook)
        }
        UnitPart::Superserver => of_superserver(text),
        _ if text.starts_with(ELF) => Vec::new(),
        _ => of_script(text),
    }
}

/// What runs for a connection: `server =` of xinetd.conf(5), `spawn` and `twist` of `hosts_options(5)`, and whatever scripts
/// show.
fn of_superserver(text: &[u8]) -> Vec<Signal> {
    let shown = lossy(text);
    let lines = shown.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let runs = |line: &&str| {
        let server = line.split_once('=').is_some_and(|(key, _)| key.trim() == "server");
        let words: Vec<&str> = line.split([' ', ':', '\t']).collect();
        // inetd(8): service, type of socket, protocol, wait, user, program.
        let inetd = words.len() > 5 && matches!(words[1], "stream" | "dgram" | "seqpacket" | "raw" | "rdm");
        server || inetd || words.iter().any(|word| matches!(*word, "spawn" | "twist"))
    };
    let mut found = of_script(text);
    if let Some(line) = lines.into_iter().find(runs) {
        let why =
            format!("it runs a program for a connection: {}", line.chars().take(120).collect::<String>());
        found.push(Signal { slug: "superserver.runs", weight: Weight::Strong, why, origin: None });
    }
    found
}

fn of_quadlet(name: &[u8], text: &[u8]) -> Vec<Signal> {
    let Some(quadlet) = quadlet::read(&lossy(name), text) else { return Vec::new() };
    let on_host =
        quadlet.on_host.iter().filter_map(|argv| Some(command::signals(argv.first()?, argv, false)));
    let mut found: Vec<Signal> = on_host.flatten().collect();
    found.extend(of_container(&quadlet.container));
    found
}

/// What a container is given of its host, and what is odd about what runs in it.
pub(super) fn of_container(service: &ContainerService) -> Vec<Signal> {
    let given = service.access.options().collect::<Vec<_>>().join(" ");
    let (weight, why) = match service.access.grant() {
        Some(Grant::Full) => {
            (Some(Weight::Strong), format!("the container can take over its host ({given})"))
        }
        Some(Grant::Partial) => {
            (Some(Weight::Weak), format!("the container is given a part of its host ({given})"))
        }
        None => (None, String::new()),
    };
    let access = weight.map(|weight| Signal { slug: "container.host-access", weight, why, origin: None });
    let argv: Vec<Vec<u8>> = service.command.iter().map(|word| word.clone().into_bytes()).collect();
    let of_command = argv.first().map(|program| command::signals(program, &argv, true)).unwrap_or_default();
    // Paths are the container's own: what lies in its /tmp says little.
    let of_command = of_command
        .into_iter()
        .filter(|signal| signal.weight > Weight::Note && signal.slug.starts_with("command."));
    access.into_iter().chain(of_command).collect()
}
