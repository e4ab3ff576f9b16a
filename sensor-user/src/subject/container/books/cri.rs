//! What Kubernetes' runtimes write into a bundle's annotations, and what kubelet's paths tell.
//!
//! containerd: `pkg/cri/annotations/annotations.go` (`io.kubernetes.cri.*`); CRI-O: `pkg/annotations/annotations.go` of
//! github.com/containers (`io.kubernetes.cri-o.*`); labels that kubelet gives every container:
//! `pkg/kubelet/types/labels.go` (`io.kubernetes.pod.name` and others); nerdctl: `pkg/labels/labels.go`; image
//! annotations: opencontainers/image-spec, annotations.md; podman's are CRI-O's.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::json::{lenient, value};
use super::{Booked, digest, labels, text};
use crate::lineage::actor::ContainerIdentity;

/// Takes up annotations. What is known already stays.
pub fn annotations(all: &BTreeMap<String, String>, identity: &mut ContainerIdentity) {
    let first = |names: &[&str]| {
        names.iter().find_map(|name| all.get(*name).filter(|value| !value.is_empty())).cloned().and_then(text)
    };
    let sandbox = ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"]
        .iter()
        .any(|name| all.get(*name).is_some_and(|kind| kind == "sandbox"));
    let fill = |known: &mut Option<String>, found: Option<String>| {
        if known.is_none() {
            *known = found;
        }
    };
    let name = first(&[
        "io.kubernetes.cri.container-name",
        "io.kubernetes.container.name",
        "io.kubernetes.cri-o.KubeName",
        "nerdctl/name",
    ]);
    // A pod's sandbox has no name of its own.
    fill(&mut identity.name, if sandbox { Some("POD".to_owned()) } else { name });
    fill(
        &mut identity.image,
        first(&[
            "io.kubernetes.cri.image-name",
            "io.kubernetes.cri-o.ImageName",
            "io.kubernetes.cri-o.UserRequestedImage",
            "org.opencontainers.image.ref.name",
        ]),
    );
    let image_id = first(&["io.kubernetes.cri-o.ImageRef", "io.kubernetes.cri-o.Image"]);
    let of_name = || identity.image.as_deref().filter(|image| image.contains("@sha256:")).and_then(digest);
    let found = image_id.as_deref().and_then(digest).or_else(of_name);
    fill(&mut identity.digest, found);
    fill(&mut identity.pod, first(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]));
    fill(
        &mut identity.namespace,
        first(&[
            "io.kubernetes.cri.sandbox-namespace",
            "io.kubernetes.pod.namespace",
            "io.kubernetes.cri-o.Namespace",
        ]),
    );
    fill(&mut identity.pod_uid, first(&["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"]));
    if let Some(text) = all.get("io.kubernetes.cri-o.Labels") {
        labels(value::<BTreeMap<String, String>>(text), identity);
    }
}

/// What kubelet's labels say, for engines that keep labels (dockershim and cri-dockerd).
pub fn kubernetes_labels(labels: &BTreeMap<String, String>, identity: &mut ContainerIdentity) {
    let of = |name: &str| labels.get(name).cloned().and_then(text);
    let Some(pod) = of("io.kubernetes.pod.name") else { return };
    identity.pod = Some(pod);
    identity.namespace = of("io.kubernetes.pod.namespace").or(identity.namespace.take());
    identity.pod_uid = of("io.kubernetes.pod.uid").or(identity.pod_uid.take());
    identity.name = of("io.kubernetes.container.name").or(identity.name.take());
}

/// A pod out of the name that CRI-O gives its sandbox: `k8s_POD_NAMESPACE_UID_ATTEMPT` (`server/naming.go`); of
/// containers/storage's other users a plain name.
pub fn pod_of_name(name: &str, identity: &mut ContainerIdentity) {
    let mut parts = name.strip_prefix("k8s_").unwrap_or(name).split('_');
    let (pod, namespace, uid) = (parts.next(), parts.next(), parts.next());
    identity.pod = identity.pod.take().or_else(|| pod.and_then(text));
    identity.namespace = identity.namespace.take().or_else(|| namespace.and_then(text));
    identity.pod_uid = identity.pod_uid.take().or_else(|| uid.and_then(text));
}

/// The pod that a path of kubelet's belongs to: `ROOT-DIR/pods/UID/...` (kubelet's `--root-dir`, "/var/lib/kubelet").
pub fn pod_of_path(path: &str, identity: &mut ContainerIdentity) {
    let Some((_, rest)) = path.split_once("/kubelet/pods/") else { return };
    let uid = rest.split('/').next().unwrap_or_default();
    let is_uid = uid.len() == 36 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if identity.pod_uid.is_none() && is_uid {
        identity.pod_uid = text(uid);
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    #[serde(deserialize_with = "lenient")]
    sub: String,
}

/// Takes up a service account's token: a JSON Web Token (RFC 7519) whose subject is
/// `system:serviceaccount:NAMESPACE:NAME` (kubernetes.io, "Managing Service Accounts"). Only the claims are looked at;
/// the reader leaves the signature out, so that no recording holds what could be used.
pub fn token(content: &[u8], booked: &mut Booked) {
    let Some(claims) = content.split(|byte| *byte == b'.').nth(1).and_then(base64url) else { return };
    let Ok(claims) = String::from_utf8(claims) else { return };
    let claims: Claims = value(&claims);
    let Some((namespace, name)) =
        claims.sub.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'))
    else {
        return;
    };
    let identity = &mut booked.identity;
    identity.service_account = text(name);
    identity.namespace = identity.namespace.take().or_else(|| text(namespace));
}

/// RFC 4648, section 5, without padding.
fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}
