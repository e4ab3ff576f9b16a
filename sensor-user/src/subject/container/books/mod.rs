//! What engines' own files say that a container is: docker's, podman's, the bundle that an OCI runtime is given, and
//! what Kubernetes' runtimes write beside it.
//!
//! A [`Booked`] is put together out of as many of these files as there are. Each reader takes what it knows and passes
//! over the rest: a file may be cut at its end, and anyone who may write to it may write anything.
//!
//! Not read: libpod's database (`bolt_state.db`, `db.sql`), which is no text. A podman container's restart policy and
//! labels are there alone, so they are not known from podman's files.

pub mod cri;
pub mod docker;
mod json;
pub mod oci;
pub mod podman;

use super::service::{ContainerService, Source};
use crate::event::path::lossy;
use crate::lineage::actor::{ContainerIdentity, IDENTITY_TEXT_MAX, LABELS_MAX};

/// A container as files describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Booked {
    /// What it is to be.
    pub service: ContainerService,
    /// What it is called.
    pub identity: ContainerIdentity,
    /// At least one file was one of this container's.
    pub found: bool,
    /// docker's directory of it (`DATA-ROOT/containers/ID`), where the bundle leads there.
    pub docker_directory: Option<Vec<u8>>,
    /// The token of the pod's service account, on the host.
    pub token: Option<Vec<u8>>,
}

/// Which file of an engine's a path is, by its name and its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Book {
    /// docker's `config.v2.json`.
    DockerConfig,
    /// docker's `hostconfig.json`.
    DockerHostConfig,
    /// A bundle's `config.json`.
    Bundle,
    /// `containers.json` and `volatile-containers.json` of containers/storage.
    Storage,
    /// A service account's token, without its signature ([`cri::token`]).
    Token,
}

impl Book {
    /// The file that `path` names.
    #[must_use]
    pub fn of(path: &[u8]) -> Option<Self> {
        Some(match path.rsplit(|byte| *byte == b'/').next()? {
            b"config.v2.json" => Self::DockerConfig,
            b"hostconfig.json" => Self::DockerHostConfig,
            b"config.json" => Self::Bundle,
            b"containers.json" | b"volatile-containers.json" => Self::Storage,
            b"token" => Self::Token,
            _ => return None,
        })
    }
}

/// The id that a path of docker's names: that of the file's directory.
#[must_use]
pub fn id_of(path: &[u8]) -> Option<&str> {
    let name = path.rsplit(|byte| *byte == b'/').nth(1)?;
    std::str::from_utf8(name).ok().filter(|name| is_id(name))
}

/// Whether it is an engine's id: 64 hexadecimal digits.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Booked {
    /// Takes up what a file says of container `id`. Whether it said anything.
    pub fn read(&mut self, book: Book, id: &str, content: &[u8]) -> bool {
        let found = match book {
            Book::DockerConfig => docker::config(content, id, self),
            Book::DockerHostConfig => docker::host_config(content, self),
            Book::Bundle => oci::bundle(content, self),
            Book::Storage => podman::storage(content, id, self),
            Book::Token => {
                cri::token(content, self);
                false
            }
        };
        if found {
            self.found = true;
            self.service.id.get_or_insert_with(|| id.to_owned());
        }
        found
    }

    /// The service, with what the identity says.
    #[must_use]
    pub fn service(&self, source: Source) -> ContainerService {
        let mut service = self.service.clone();
        service.source = source;
        service.name = service.name.or_else(|| self.identity.name.clone());
        service.image = service.image.or_else(|| self.identity.image.clone());
        service
    }
}

/// A text of an identity, bounded; `None` where there is nothing.
fn text(text: impl Into<String>) -> Option<String> {
    let mut text = text.into();
    if text.len() > IDENTITY_TEXT_MAX {
        let end = (0..=IDENTITY_TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.shrink_to_fit();
    }
    (!text.is_empty()).then_some(text)
}

/// Notes labels, the first so many by their keys.
fn labels(labels: impl IntoIterator<Item = (String, String)>, identity: &mut ContainerIdentity) {
    for (key, value) in labels {
        if identity.labels.len() >= LABELS_MAX {
            return;
        }
        let Some(key) = text(key) else { continue };
        if !identity.labels.iter().any(|(known, _)| *known == key) {
            identity.labels.push((key, text(value).unwrap_or_default()));
        }
    }
}

/// `sha256:...` as engines write it, or the digest that an image's name ends in.
fn digest(value: &str) -> Option<String> {
    let digest = value.rsplit('@').next().unwrap_or(value);
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    is_id(hex).then(|| format!("sha256:{hex}"))
}

/// Where the daemon finds what is known of `id`, whose control group or runtime may tell the engine. `bundle` is the
/// directory that a runtime was given.
///
/// docker: `daemon/config` (`data-root`), snap's package; containerd: its `state` directory (`/run/containerd`, k3s and
/// microk8s have their own), `io.containerd.runtime.v2.task/NAMESPACE/ID`; containers/storage: `graphroot` and `runroot`
/// of storage.conf(5), which podman and CRI-O share.
#[must_use]
pub fn candidates(id: &str, engine: Option<&str>, bundle: Option<&[u8]>) -> Vec<Vec<u8>> {
    const DOCKER: [&str; 2] = ["/var/lib/docker", "/var/snap/docker/common/var-lib-docker"];
    const TASKS: [&str; 6] = [
        "/run/containerd/io.containerd.runtime.v2.task/moby",
        "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
        "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
        "/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io",
        "/run/containerd/io.containerd.runtime.v2.task/default",
    ];
    const STORAGE: [&str; 2] =
        ["/var/lib/containers/storage/overlay-containers", "/run/containers/storage/overlay-containers"];
    let mut paths: Vec<Vec<u8>> = Vec::new();
    let mut add = |path: String| paths.push(path.into_bytes());
    if matches!(engine, None | Some("docker")) {
        for root in DOCKER {
            add(format!("{root}/containers/{id}/config.v2.json"));
            add(format!("{root}/containers/{id}/hostconfig.json"));
        }
    }
    if matches!(engine, None | Some("docker" | "containerd")) {
        let docker = engine == Some("docker");
        for tasks in TASKS.iter().filter(|tasks| !docker || tasks.ends_with("/moby")) {
            add(format!("{tasks}/{id}/config.json"));
        }
    }
    if matches!(engine, None | Some("podman" | "cri-o")) {
        for storage in STORAGE {
            add(format!("{storage}/{id}/userdata/config.json"));
        }
        add(format!("{}/containers.json", STORAGE[0]));
        add(format!("{}/volatile-containers.json", STORAGE[1]));
    }
    if let Some(bundle) = bundle {
        let bundle = bundle.strip_suffix(b"/").unwrap_or(bundle);
        let own = [bundle, b"/config.json"].concat();
        // A bundle of containers/storage in another root, or in a home.
        let below = format!("/{id}/userdata");
        let storage = bundle.strip_suffix(below.as_bytes()).map(|root| [root, b"/containers.json"].concat());
        for path in [Some(own), storage].into_iter().flatten() {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths
}

/// Two descriptions of one container compared: what the later one has that the earlier had not, a sentence each.
#[must_use]
pub fn changes(before: &ContainerService, after: &ContainerService) -> Vec<String> {
    let mut changes = Vec::new();
    let word = |policy: &str| if policy.is_empty() { "no".to_owned() } else { policy.to_owned() };
    if before.restart_policy != after.restart_policy {
        changes.push(format!(
            "restart policy {} instead of {}",
            word(&after.restart_policy),
            word(&before.restart_policy)
        ));
    }
    for option in after.access.options() {
        if !before.access.options().any(|known| known == option) {
            changes.push(format!("{option} is new"));
        }
    }
    for option in before.access.options() {
        if !after.access.options().any(|known| known == option) {
            changes.push(format!("{option} is gone"));
        }
    }
    let pairs = [
        ("image", &before.image, &after.image),
        ("user", &before.user, &after.user),
        ("name", &before.name, &after.name),
    ];
    for (what, before, after) in pairs {
        if before != after {
            let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
            changes.push(format!("{what} {} instead of {}", of(after), of(before)));
        }
    }
    if before.command != after.command {
        changes.push(format!("it runs {}", after.command.join(" ")));
    }
    changes
}

/// A host path out of a file: only absolute ones, which lead to the host's files.
fn host_path(path: &str) -> Option<&str> {
    path.starts_with('/').then_some(path)
}

/// What an option is written like, from bytes that may be none.
fn option(service: &mut ContainerService, name: &str, value: &str) {
    service.access.option(name, value.as_bytes());
}

/// A path as an alert shows it.
#[must_use]
pub fn shown(path: &[u8]) -> String {
    lossy(path).into_owned()
}

#[cfg(test)]
mod tests;
