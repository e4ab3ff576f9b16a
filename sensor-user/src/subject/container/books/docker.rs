//! docker's `config.v2.json` and `hostconfig.json`, below `DATA-ROOT/containers/ID` (moby: `container/container.go`,
//! `toDisk`; the types are `container.Container`, `api/types/container.Config` and `HostConfig`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::json::{Texts, lenient, members, value};
use super::{Booked, digest, is_id, labels, option, text};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    #[serde(rename = "Image", deserialize_with = "lenient")]
    image: String,
    #[serde(rename = "User", deserialize_with = "lenient")]
    user: String,
    #[serde(rename = "Labels", deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
}

/// Takes up `config.v2.json`. It must be that of `id`.
pub fn config(json: &[u8], id: &str, booked: &mut Booked) -> bool {
    let mut own = None;
    let mut command = (String::new(), Texts::default());
    let mut described = Config::default();
    let (mut image_id, mut name) = (String::new(), String::new());
    members(json, &mut |member, text| match member {
        "ID" => own = Some(value::<String>(text)),
        "Path" => command.0 = value(text),
        "Args" => command.1 = value(text),
        "Config" => described = value(text),
        "Image" => image_id = value(text),
        "Name" => name = value(text),
        _ => {}
    });
    if own.as_deref() != Some(id) || !is_id(id) {
        return false;
    }
    let Booked { service, identity, .. } = booked;
    "docker".clone_into(&mut service.engine);
    identity.name = text(name.trim_start_matches('/')).or(identity.name.take());
    identity.image = text(described.image).or(identity.image.take());
    identity.digest = digest(&image_id).or(identity.digest.take());
    service.user = text(described.user);
    service.command.clear();
    if !command.0.is_empty() {
        service.argument(command.0);
        command.1.0.into_iter().for_each(|argument| service.argument(argument));
    }
    super::cri::kubernetes_labels(&described.labels, identity);
    labels(described.labels, identity);
    true
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RestartPolicy {
    #[serde(rename = "Name", deserialize_with = "lenient")]
    name: String,
    #[serde(rename = "MaximumRetryCount", deserialize_with = "lenient")]
    retries: u32,
}

impl RestartPolicy {
    /// As on a command line; empty for none.
    fn word(&self) -> String {
        match (self.name.as_str(), self.retries) {
            ("" | "no", _) => String::new(),
            ("on-failure", retries) if retries > 0 => format!("on-failure:{retries}"),
            (name, _) => text(name).unwrap_or_default(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Mount {
    #[serde(rename = "Type", deserialize_with = "lenient")]
    kind: String,
    #[serde(rename = "Source", deserialize_with = "lenient")]
    source: String,
    #[serde(rename = "Target", deserialize_with = "lenient")]
    target: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Device {
    #[serde(rename = "PathOnHost", deserialize_with = "lenient")]
    host: String,
}

/// Takes up `hostconfig.json`.
pub fn host_config(json: &[u8], booked: &mut Booked) -> bool {
    let service = &mut booked.service;
    // It says all that there is to say of these, and more exactly than a bundle does.
    service.access = super::super::service::Access::default();
    let mut policy = None;
    members(json, &mut |member, text| {
        let mut all = |name: &str| {
            for one in value::<Texts>(text).0 {
                option(service, name, &one);
            }
        };
        match member {
            "RestartPolicy" => policy = Some(value::<RestartPolicy>(text)),
            "Privileged" => service.access.privileged(value(text)),
            "Binds" => all("v"),
            "CapAdd" => all("cap-add"),
            "SecurityOpt" => all("security-opt"),
            "DeviceCgroupRules" => all("device-cgroup-rule"),
            "PidMode" => option(service, "pid", &value::<String>(text)),
            "NetworkMode" => option(service, "network", &value::<String>(text)),
            "IpcMode" => option(service, "ipc", &value::<String>(text)),
            "UTSMode" => option(service, "uts", &value::<String>(text)),
            "UsernsMode" => option(service, "userns", &value::<String>(text)),
            "CgroupnsMode" => option(service, "cgroupns", &value::<String>(text)),
            "Mounts" => {
                for Mount { kind, source, target } in value::<Vec<Mount>>(text) {
                    option(service, "mount", &format!("type={kind},source={source},target={target}"));
                }
            }
            "Devices" => {
                for device in value::<Vec<Device>>(text) {
                    option(service, "device", &device.host);
                }
            }
            _ => {}
        }
    });
    // Every version writes one (`HostConfig.RestartPolicy` has no `omitempty`).
    let Some(policy) = policy else { return false };
    service.restart_policy = policy.word();
    true
}
