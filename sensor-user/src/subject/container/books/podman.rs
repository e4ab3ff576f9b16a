//! containers/storage's list of containers, which podman, buildah and CRI-O share: `overlay-containers/containers.json`,
//! and `volatile-containers.json` in the run root for those that end with the boot (containers/storage: `containers.go`,
//! type `Container`). The metadata is what libpod puts there (`libpod/storage.go`, `RuntimeContainerMetadata`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::json::{Texts, elements, lenient, value};
use super::{Booked, cri, digest, is_id, text};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    #[serde(deserialize_with = "lenient")]
    id: String,
    #[serde(deserialize_with = "lenient")]
    names: Texts,
    #[serde(deserialize_with = "lenient")]
    image: String,
    /// JSON in a text.
    #[serde(deserialize_with = "lenient")]
    metadata: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    #[serde(rename = "image-name", deserialize_with = "lenient")]
    image_name: String,
    #[serde(rename = "image-id", deserialize_with = "lenient")]
    image_id: String,
    #[serde(deserialize_with = "lenient")]
    name: String,
    /// CRI-O's (`internal/storage/runtime.go`, `RuntimeContainerMetadata`).
    #[serde(rename = "pod-name", deserialize_with = "lenient")]
    pod_name: String,
    #[serde(rename = "pod-id", deserialize_with = "lenient")]
    pod_id: String,
    #[serde(rename = "container-name", deserialize_with = "lenient")]
    container_name: String,
}

/// Takes up the row of `id`.
pub fn storage(json: &[u8], id: &str, booked: &mut Booked) -> bool {
    let mut found = None;
    elements(json, &mut |element| {
        if found.is_none() && is_id(id) && element.contains(id) {
            found = Some(value::<Container>(element)).filter(|container| container.id == id);
        }
    });
    let Some(container) = found else { return false };
    let metadata: Metadata = value(&container.metadata);
    let identity = &mut booked.identity;
    let given = text(metadata.container_name).or_else(|| text(metadata.name));
    let name = given.or_else(|| container.names.0.into_iter().next().and_then(text));
    identity.name = identity.name.take().or(name);
    identity.image = identity.image.take().or_else(|| text(metadata.image_name));
    let image_id = if container.image.is_empty() { metadata.image_id } else { container.image };
    identity.digest = identity.digest.take().or_else(|| digest(&image_id));
    if !metadata.pod_id.is_empty() && !metadata.pod_name.is_empty() {
        cri::pod_of_name(&metadata.pod_name, identity);
    }
    if booked.service.engine.is_empty() {
        "podman".clone_into(&mut booked.service.engine);
    }
    true
}

/// Names and bundle that conmon's command line has (conmon(8): `--cid`/`-c`, `--bundle`/`-b`, `--name`/`-n`). podman and
/// CRI-O both call it so.
#[must_use]
pub fn conmon<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Option<Monitor<'a>> {
    let mut options: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    let mut arguments = arguments.skip(1).peekable();
    while let Some(argument) = arguments.next() {
        let name: &[u8] = match argument {
            b"-c" | b"--cid" => b"c",
            b"-b" | b"--bundle" => b"b",
            b"-n" | b"--name" => b"n",
            _ => continue,
        };
        if let Some(value) = arguments.next() {
            options.entry(name).or_insert(value);
        }
    }
    let id = std::str::from_utf8(options.get(&b"c"[..])?).ok().filter(|id| is_id(id))?;
    let bundle = options.get(&b"b"[..]).copied()?;
    let name = options.get(&b"n"[..]).and_then(|name| std::str::from_utf8(name).ok());
    Some(Monitor { id, bundle, name })
}

/// What conmon was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Monitor<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Its bundle.
    pub bundle: &'a [u8],
    /// Its name.
    pub name: Option<&'a str>,
}
