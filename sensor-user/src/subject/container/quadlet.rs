//! Quadlets: containers written as units, out of which podman's generator makes services (podman-systemd.unit(5), podman
//! 4.4 to 5.7; pkg/systemd/quadlet/quadlet.go).
//!
//! A text is read by itself: a drop-in's says what it adds; behind its source's it says what that comes to. The syntax is systemd's
//! ([`super::super::unit::syntax`]); Quadlet's own reader differs in what it refuses, and then makes no service at all.
//! `[Unit]`, `[Service]` and `[Install]` go into the service as they are: `ExecStartPre=` runs on the host.

use super::cli;
use super::service::{ContainerService, Source};
use crate::event::path::lossy;
use crate::subject::unit::syntax::{Item, Reader, strip};
use crate::subject::unit::words::{Rules, lenient_word};

/// Words of one value that are looked at.
const WORDS_MAX: usize = 512;
/// Assignments of the kind's own section that are kept.
const KEYS_MAX: usize = 1024;

/// Keys of which all values count.
const LISTS: [&str; 7] =
    ["Volume", "Mount", "AddCapability", "AddDevice", "Network", "PodmanArgs", "GlobalArgs"];

/// Values that are told of one list.
const LISTED_MAX: usize = 16;

/// What a source makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// `.container`
    #[default]
    Container,
    /// `.pod`
    Pod,
    /// `.kube`
    Kube,
    /// `.volume`
    Volume,
    /// `.network`
    Network,
    /// `.image`
    Image,
    /// `.build`
    Build,
    /// `.artifact`
    Artifact,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Container,
        Self::Pod,
        Self::Kube,
        Self::Volume,
        Self::Network,
        Self::Image,
        Self::Build,
        Self::Artifact,
    ];

    /// Its section, which in lower case is the suffix without the dot, and what is added to the service's name.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Container => ("Container", ""),
            Self::Pod => ("Pod", "-pod"),
            Self::Kube => ("Kube", ""),
            Self::Volume => ("Volume", "-volume"),
            Self::Network => ("Network", "-network"),
            Self::Image => ("Image", "-image"),
            Self::Build => ("Build", "-build"),
            Self::Artifact => ("Artifact", "-artifact"),
        }
    }

    /// The kind, and the name before its suffix; of `container`, which stands for all containers, no name.
    fn of(name: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|kind| {
            let before = name.strip_suffix(&kind.names().0.to_ascii_lowercase())?;
            Some((kind, if before.is_empty() { "" } else { before.strip_suffix('.')? }))
        })
    }
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quadlet {
    /// What it makes.
    pub kind: Kind,
    /// The service that it becomes, or adds to; `None` for drop-ins of many.
    pub unit: Option<String>,
    /// The container, as far as the file says it.
    pub container: ContainerService,
    /// Units that start it, or that cannot do without it: `default.target` at boot.
    pub wanted_by: Vec<String>,
    /// The manifest of a `.kube`, as written.
    pub manifest: Option<Vec<u8>>,
    /// Programs that run on the host, not in the container: `ExecStartPre=` and its like, as argument lists.
    pub on_host: Vec<Vec<Vec<u8>>>,
    /// Why the end of the file was not read.
    pub fault: Option<String>,
}

/// Reads the file of a source or drop-in; `name` is the source's (`web.container`, of a drop-in for all `container`).
pub fn read(name: &str, text: &[u8]) -> Option<Quadlet> {
    let (kind, stem) = Kind::of(name)?;
    let (section_of_kind, added) = kind.names();
    let mut quadlet = Quadlet {
        kind,
        unit: (!stem.is_empty() && !stem.ends_with('-')).then(|| service_name(stem, added)),
        container: ContainerService {
            source: Source::Quadlet,
            engine: "podman".to_owned(),
            verb: verb(kind).to_owned(),
            ..ContainerService::default()
        },
        ..Quadlet::default()
    };
    let (mut section, mut given) = (Vec::new(), Vec::<(String, Vec<u8>)>::new());
    for line in Reader::new(text) {
        let (key, value) = match line {
            Err(fault) => {
                quadlet.fault = Some(fault.to_string());
                break;
            }
            Ok(line) => match line.item {
                Item::Section(name) => {
                    section = name.into_owned();
                    continue;
                }
                Item::Assignment { key, value } => (lossy(&key).into_owned(), value),
            },
        };
        let value = strip(&value);
        let text = lossy(value).into_owned();
        match &section[..] {
            b"Service" => quadlet.service(&key, value, &text),
            b"Install" if matches!(&*key, "WantedBy" | "RequiredBy" | "UpheldBy" | "Alias") => {
                for unit in text.split_whitespace() {
                    listed(&mut quadlet.wanted_by, unit);
                }
            }
            own if own == section_of_kind.as_bytes() => {
                // An empty value takes back what a list holds (`LookupAll`); of other keys the last one counts (`Lookup`).
                if value.is_empty() || !LISTS.contains(&&*key) {
                    given.retain(|(known, _)| *known != key);
                }
                if given.len() < KEYS_MAX {
                    given.push((key, value.to_vec()));
                }
            }
            _ => {}
        }
    }
    let (mut group, mut exec, mut entry_point) = (None, Vec::new(), None);
    let (mut device, mut bind) = (None, false);
    for (key, value) in given.iter().filter(|(_, value)| !value.is_empty()) {
        let text = lossy(value).into_owned();
        match &**key {
            "Exec" => exec = words(value),
            "Entrypoint" => entry_point = Some(text),
            "Group" => group = Some(text),
            "ServiceName" => quadlet.unit = Some(format!("{text}.service")),
            // `podman volume create --opt type=none --opt o=bind --opt device=/`
            "Device" if kind == Kind::Volume => device = Some(text),
            "Options" if kind == Kind::Volume => {
                bind = text.split(',').any(|option| option.ends_with("bind"));
            }
            "Yaml" => quadlet.manifest = Some(value.clone()),
            _ => quadlet.key(key, value, &text),
        }
    }
    if kind == Kind::Pod {
        // Whatever stands in the file (`ConvertPod`).
        "on-failure".clone_into(&mut quadlet.container.restart_policy);
    }
    if let Some(device) = device.filter(|_| bind) {
        quadlet.container.access.option("v", device.as_bytes());
    }
    if let (Some(user), Some(group)) = (&mut quadlet.container.user, group) {
        *user = format!("{user}:{group}");
    }
    for argument in entry_point.into_iter().chain(exec.iter().map(|word| lossy(word).into_owned())) {
        quadlet.container.argument(argument);
    }
    Some(quadlet)
}

impl Quadlet {
    /// A key of the kind's own section.
    fn key(&mut self, key: &str, value: &[u8], text: &str) {
        let container = &mut self.container;
        let access = &mut container.access;
        let on = matches!(&*text.to_ascii_lowercase(), "1" | "yes" | "true" | "on");
        let given = || Some(text.to_owned()).filter(|text| !text.is_empty());
        match key {
            "Image" | "ImageTag" => container.image = given(),
            "Rootfs" => container.image = Some(format!("the directory {text}")),
            "ContainerName" | "PodName" | "VolumeName" | "NetworkName" => container.name = given(),
            "User" => container.user = given(),
            "Volume" => access.option("v", unslashed(value)),
            "Mount" => access.option("mount", value),
            "Network" => access.option("network", value),
            "UserNS" => access.option("userns", value),
            "AddCapability" => {
                for capability in words(value) {
                    access.option("cap-add", &capability);
                }
            }
            "AddDevice" => {
                for device in words(value) {
                    access.option("device", device.strip_prefix(b"-").unwrap_or(&device));
                }
            }
            "SecurityLabelDisable" if on => access.option("security-opt", b"label=disable"),
            "SeccompProfile" => access.option("security-opt", format!("seccomp={text}").as_bytes()),
            "AppArmor" => access.option("security-opt", format!("apparmor={text}").as_bytes()),
            "Unmask" => access.option("security-opt", format!("unmask={text}").as_bytes()),
            // Before the verb, but of what counts here podman takes nothing there.
            "PodmanArgs" => {
                let words = words(value);
                cli::options(words.iter().map(Vec::as_slice), container);
            }
            _ => {}
        }
    }

    /// A key of what goes into the service as it is.
    fn service(&mut self, key: &str, value: &[u8], text: &str) {
        match key {
            "Restart" => {
                self.container.restart_policy =
                    if matches!(text, "" | "no") { String::new() } else { text.to_owned() };
            }
            "ExecStartPre" | "ExecStartPost" | "ExecReload" | "ExecStop" | "ExecStopPost"
            | "ExecCondition" | "ExecStart" => {
                let mut command = words(value);
                if let Some(program) = command.first_mut() {
                    let prefixes = program.iter().take_while(|byte| b"-@:+!|".contains(byte)).count();
                    program.drain(..prefixes);
                    if self.on_host.len() < LISTED_MAX && !program.is_empty() {
                        self.on_host.push(command);
                    }
                }
            }
            _ => {}
        }
    }
}

/// `podman VERB` in the service.
fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Container => "run",
        Kind::Pod => "pod create",
        Kind::Kube => "kube play",
        Kind::Volume => "volume create",
        Kind::Network => "network create",
        Kind::Image => "image pull",
        Kind::Build => "build",
        Kind::Artifact => "artifact pull",
    }
}

/// `web` becomes `web-pod.service`, a template `web@` `web@-pod.service`: what is added stands last (`GetUnitServiceName`).
fn service_name(stem: &str, added: &str) -> String {
    format!("{stem}{added}.service")
}

/// Podman joins what follows to the source's directory: only an absolute path is one of the host's for certain.
fn unslashed(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"-").unwrap_or(value)
}

fn words(value: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut found) = (value, Vec::new());
    while let (true, Ok(Some(word))) = (found.len() < WORDS_MAX, lenient_word(&mut rest, Rules::COMMAND)) {
        found.push(word);
    }
    found
}

fn listed(list: &mut Vec<String>, text: &str) {
    if list.len() < LISTED_MAX && !list.iter().any(|known| known == text) {
        list.push(text.to_owned());
    }
}

#[cfg(test)]
#[path = "quadlet_tests.rs"]
mod tests;
