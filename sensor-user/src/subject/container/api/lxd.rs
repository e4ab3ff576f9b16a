//! The API of LXD and Incus: instances that start with the machine, or are given the host.

use super::{Call, EngineRequest, Verb};
use crate::subject::container::service::ContainerService;
use crate::subject::json::Json;

pub(super) fn read(call: &Call<'_>) -> EngineRequest {
    match (call.method, call.words.get(1..).unwrap_or_default()) {
        ("POST", ["instances" | "containers" | "virtual-machines" | "profiles"]) => {
            let (body, whole) = call.json();
            let mut service = instance(&body);
            service.name = body.text("name").map(str::to_owned);
            EngineRequest::of(Verb::Create, service, whole)
        }
        ("PUT" | "PATCH", ["instances" | "containers" | "virtual-machines" | "profiles", name]) => {
            let (body, whole) = call.json();
            let mut service = instance(&body);
            "update".clone_into(&mut service.verb);
            service.name = Some((*name).to_owned());
            EngineRequest {
                target: Some((*name).to_owned()),
                ..EngineRequest::of(Verb::Update, service, whole)
            }
        }
        ("POST", [_, name, "exec"]) => EngineRequest::on(Verb::Exec, Some(name)),
        ("POST", [_, name, "files"]) => EngineRequest::on(Verb::Copy, Some(name)),
        ("PUT", [_, name, "state"]) | ("DELETE", [_, name]) => EngineRequest::on(Verb::Control, Some(name)),
        ("POST", ["images", ..]) => EngineRequest::new(Verb::Image),
        _ => EngineRequest::new(Verb::Other),
    }
}

/// `config` and `devices` of an instance or profile.
fn instance(body: &Json) -> ContainerService {
    let mut service = ContainerService { verb: "create".to_owned(), ..ContainerService::default() };
    for source in body.each("source") {
        service.image = source.text("alias").or_else(|| source.text("fingerprint")).map(str::to_owned);
    }
    let on = |text: &str| matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on");
    for (key, value) in body.each("config").flat_map(Json::fields) {
        let Some(value) = value.as_text() else { continue };
        match key {
            "boot.autostart" if on(value) => "boot.autostart".clone_into(&mut service.restart_policy),
            "security.privileged" => service.access.privileged(on(value)),
            // Lines of lxc.container.conf(5): hooks that run on the host, mounts, no confinement.
            "raw.lxc" if !value.is_empty() => service.access.option("security-opt", b"raw.lxc=unconfined"),
            _ => {}
        }
    }
    for (_, device) in body.each("devices").flat_map(Json::fields) {
        let Some(source) = device.text("source") else { continue };
        match device.text("type") {
            Some("disk") if source.starts_with("/dev/") => service.access.option("device", source.as_bytes()),
            Some("disk") => service.access.option("v", source.as_bytes()),
            Some("unix-block" | "unix-char") => service.access.option("device", source.as_bytes()),
            _ => {}
        }
    }
    service
}
