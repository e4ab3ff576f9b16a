//! Containers that come back by themselves, as their engines' own files have them, and where engines and node agents
//! are told to look.

use std::collections::BTreeSet;

use rustix::fs::FileType;

use super::read::{Reader, sha256, shown};
use super::walk::{Found, entry, expand, passed};
use super::{Kind, Place, text};
use crate::event::user::WatchClass;
use crate::proof::package::Verdict;
use crate::subject::container::asked::{is_kubelet, kubelet};
use crate::subject::container::books::{Book, Booked, is_id};
use crate::subject::container::service::{ContainerService, Source};
use crate::subject::container::settings::static_pod_path;
use crate::subject::service::UnitPart;
use crate::subject::unit::effective::Effective;

/// Bytes of a container's file. docker's have some KiB.
const BOOK_MAX: usize = 1 << 20;
/// Bytes of containers/storage's list of containers.
const STORAGE_MAX: usize = 32 << 20;
/// Containers of one engine.
const CONTAINERS_MAX: usize = 16_384;
/// Why no database can tell.
const NOBODYS: &str = "containers are made by engines, not by packages";

/// docker's own state, snap's as well, and rootless (dockerd(8), `--data-root`).
const DOCKER: [&str; 3] =
    ["/var/lib/docker", "/var/snap/docker/common/var-lib-docker", "/home/*/.local/share/docker"];
/// containers/storage's `graphroot` (storage.conf(5)).
const STORAGE: [&str; 3] = [
    "/var/lib/containers/storage",
    "/root/.local/share/containers/storage",
    "/home/*/.local/share/containers/storage",
];

/// What files tell engines and agents to look at.
#[derive(Default)]
pub(super) struct Asked {
    pub places: Vec<Place>,
    docker: BTreeSet<String>,
}

/// What the settings that were found name.
pub(super) fn also(reader: &mut Reader<'_>, found: &Found) -> Asked {
    let mut asked = Asked::default();
    asked.docker.extend(DOCKER.map(str::to_owned));
    for (path, text) in &found.settings {
        if path.ends_with(b"/daemon.json") {
            match serde_json::from_slice::<serde_json::Value>(text) {
                Ok(settings) => {
                    let named = ["data-root", "graph"].iter().filter_map(|key| settings[*key].as_str());
                    asked.docker.extend(named.filter(|path| path.starts_with('/')).map(str::to_owned));
                }
                Err(error) => reader.problem(path, format!("not valid JSON: {error}")),
            }
        }
        asked.places.extend(static_pod_path(text).map(static_pods));
    }
    asked
}

fn static_pods(path: String) -> Place {
    Place { path, class: WatchClass::StaticPod, owner: None }
}

/// Where the kubelets that units start look for static pods.
pub(super) fn static_pods_of(units: &[Effective]) -> Vec<Place> {
    let kubelets = units.iter().flat_map(|unit| &unit.commands).filter(|run| is_kubelet(&run.command.path));
    let told = kubelets.filter_map(|run| kubelet(run.command.argv.iter().map(Vec::as_slice))?.static_pods);
    told.filter_map(|path| String::from_utf8(path).ok())
        .filter(|path| path.starts_with('/'))
        .map(static_pods)
        .collect()
}

/// Looks at what engines keep.
pub(super) fn look(reader: &mut Reader<'_>, asked: &Asked, found: &mut Found) {
    for root in &asked.docker {
        for root in expand(reader, root) {
            docker(reader, &root, found);
        }
    }
    for root in STORAGE {
        for root in expand(reader, root) {
            storage(reader, &root);
        }
    }
}

fn docker(reader: &mut Reader<'_>, root: &[u8], found: &mut Found) {
    let directory = [root, b"/containers"].concat();
    let names = match reader.root.object(&directory, true).and_then(|object| object.names(CONTAINERS_MAX)) {
        Ok(names) => names,
        Err(error) => return passed(reader, &directory, error),
    };
    if names.truncated {
        reader.problem(&directory, format!("only {CONTAINERS_MAX} of its entries were looked at"));
    }
    for (name, kind) in names.names {
        let Some(id) = std::str::from_utf8(&name).ok().filter(|id| is_id(id)) else { continue };
        if matches!(kind, FileType::Directory | FileType::Unknown) {
            container(reader, &directory, id, found);
        }
    }
}

fn container(reader: &mut Reader<'_>, directory: &[u8], id: &str, found: &mut Found) {
    let mut booked = Booked::default();
    let at = |name: &str| [directory, b"/", id.as_bytes(), b"/", name.as_bytes()].concat();
    let files = [("config.v2.json", Book::DockerConfig), ("hostconfig.json", Book::DockerHostConfig)];
    for (name, book) in files {
        let path = at(name);
        let Some(text) = reader.peek(&path, BOOK_MAX) else { continue };
        if !booked.read(book, id, &text) {
            reader.problem(&path, format!("it does not describe container {id}"));
        }
    }
    let service = booked.service(Source::State);
    if !service.comes_back() {
        return;
    }
    let path = at("hostconfig.json");
    let Ok(object) = reader.root.object(&path, false) else { return };
    let name = service.name.clone().unwrap_or_else(|| id.to_owned());
    let proof = Verdict::Unknown { reason: NOBODYS.to_owned() };
    let mut entry = entry(Kind::Container, None, &path, name.as_bytes(), &object, proof);
    let digest = booked.identity.digest.as_deref().unwrap_or_default();
    entry.sha256 = Some(sha256(description(&service, digest).as_bytes()));
    found.remark(Kind::Container, &path, text::of_container(&service));
    found.add(reader, UnitPart::EngineState, entry);
}

/// What an engine keeps of a container changes whenever it starts; what decides what it is does not.
fn description(service: &ContainerService, digest: &str) -> String {
    let options: Vec<&str> = service.access.options().collect();
    serde_json::json!([
        service.name,
        service.image,
        digest,
        service.user,
        service.command,
        service.restart_policy,
        options,
    ])
    .to_string()
}

/// podman keeps restart policies in its database alone, which is not read: that is said, where there are containers.
fn storage(reader: &mut Reader<'_>, root: &[u8]) {
    let list = [root, b"/overlay-containers/containers.json"].concat();
    let Some(text) = reader.peek(&list, STORAGE_MAX) else { return };
    let Ok(containers) = serde_json::from_slice::<Vec<serde_json::Value>>(&text) else {
        return reader.problem(&list, "not a list of containers");
    };
    if !containers.is_empty() {
        let what = format!(
            "whether its {} containers come back by themselves is not known: podman has that in its database alone ({}/libpod)",
            containers.len(),
            shown(root)
        );
        reader.problem(&list, what);
    }
}
