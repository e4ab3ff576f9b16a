//! `container.*` and `orchestrator.*`: the container that a process runs in, and its pod.

use std::collections::BTreeMap;

use serde::Serialize;

#[cfg(test)]
use schemars::JsonSchema;

use crate::lineage::actor;

/// `container.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Container<'a> {
    /// 64 hexadecimal digits.
    pub id: &'a str,
    /// `docker`, `podman`, `containerd`, `cri-o`; of one started by hand the runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<&'a str>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image<'a>>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<&'a str, &'a str>,
}

/// `container.image.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Image<'a> {
    /// Its name without the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// Its tag.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    pub tag: Vec<&'a str>,
    /// Its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<ImageHash<'a>>,
}

/// `container.image.hash.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ImageHash<'a> {
    /// `sha256:...`: digest, or the engine's id of the image.
    pub all: [&'a str; 1],
}

/// `orchestrator.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Orchestrator<'a> {
    /// `kubernetes` where there is a namespace; podman's pods have none.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The pod's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'a str>,
    /// The pod.
    pub resource: Resource<'a>,
}

/// `orchestrator.resource.*`
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Resource<'a> {
    /// Always `pod`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// Its uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
}

pub(super) fn container(container: &actor::Container) -> Container<'_> {
    let identity = container.identity.as_deref();
    Container {
        id: &container.id,
        runtime: container.runtime.as_deref(),
        name: identity.and_then(|identity| identity.name.as_deref()),
        image: identity.and_then(image),
        labels: identity
            .map(|identity| identity.labels.iter().map(|(key, value)| (&**key, &**value)).collect())
            .unwrap_or_default(),
    }
}

/// An image's reference is `NAME[:TAG][@DIGEST]`; a colon before a slash belongs to the registry's port
/// (distribution/reference).
pub(super) fn image(identity: &actor::ContainerIdentity) -> Option<Image<'_>> {
    let reference = identity.image.as_deref().map(|image| image.split('@').next().unwrap_or(image));
    let (name, tag) = match reference.and_then(|reference| reference.rsplit_once(':')) {
        Some((name, tag)) if !tag.contains('/') => (Some(name), Some(tag)),
        _ => (reference, None),
    };
    let hash = identity.digest.as_deref().map(|digest| ImageHash { all: [digest] });
    (name.is_some() || hash.is_some()).then_some(Image {
        name: name.filter(|name| !name.is_empty()),
        tag: tag.into_iter().collect(),
        hash,
    })
}

pub(super) fn orchestrator(container: &actor::Container) -> Option<Orchestrator<'_>> {
    let identity = container.identity.as_deref()?;
    let (name, id) = (identity.pod.as_deref(), identity.pod_uid.as_deref());
    (name.is_some() || id.is_some()).then(|| Orchestrator {
        kind: identity.namespace.is_some().then_some("kubernetes"),
        namespace: identity.namespace.as_deref(),
        resource: Resource { kind: "pod", name, id },
    })
}
