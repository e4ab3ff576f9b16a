//! podman's own API (libpod).

use super::{Call, EngineRequest, Verb, docker, restart_policy};
use crate::subject::container::service::{Access, ContainerService};
use crate::subject::json::Json;

pub(super) fn read(call: &Call<'_>) -> EngineRequest {
    match (call.method, call.words.get(1..).unwrap_or_default()) {
        ("POST", [what @ ("containers" | "pods"), "create"]) => {
            let (body, whole) = call.json();
            let mut service = container(&body);
            if *what == "pods" {
                "pod create".clone_into(&mut service.verb);
            }
            let named = |volume: &Json| volume.text("Name").map(str::to_owned);
            let volumes = body.items("volumes").filter_map(named).collect();
            EngineRequest { volumes, ..EngineRequest::of(Verb::Create, service, whole) }
        }
        ("POST", ["containers", name, "update"]) => {
            let policy = call.parameter("restartPolicy").unwrap_or_default();
            let retries = call.parameter("restartRetries").and_then(|retries| retries.parse().ok());
            let service = ContainerService {
                verb: "update".to_owned(),
                image: Some((*name).to_owned()),
                restart_policy: restart_policy(&policy, retries),
                ..ContainerService::default()
            };
            EngineRequest {
                target: Some((*name).to_owned()),
                ..EngineRequest::of(Verb::Update, service, true)
            }
        }
        ("POST", ["play", "kube"] | ["kube", "play" | "apply"]) => play(call.body),
        ("POST", ["volumes", "create"]) => {
            let (body, whole) = call.json();
            docker::volume(&body, whole)
        }
        (_, ["play", "kube"] | ["kube", "play"]) => EngineRequest::new(Verb::Control),
        ("POST" | "DELETE", ["pods", name, ..]) => EngineRequest::on(Verb::Control, Some(name)),
        // What is left is called as docker's.
        (_, words) => docker::read(&Call { words, ..*call }),
    }
}

/// A `SpecGenerator` (pkg/specgen/specgen.go) or `PodSpecGenerator` (podspecgen.go).
fn container(body: &Json) -> ContainerService {
    let mut service = ContainerService {
        verb: "create".to_owned(),
        name: body.text("name").map(str::to_owned),
        image: body.text("image").or_else(|| body.text("rootfs")).map(str::to_owned),
        user: body.text("user").map(str::to_owned),
        restart_policy: restart_policy(
            body.text("restart_policy").unwrap_or_default(),
            body.number("restart_tries"),
        ),
        ..ContainerService::default()
    };
    for name in ["entrypoint", "command"] {
        body.texts(name).for_each(|argument| service.argument(argument));
    }
    let access = &mut service.access;
    for (field, option) in [
        ("pidns", "pid"),
        ("netns", "network"),
        ("ipcns", "ipc"),
        ("utsns", "uts"),
        ("userns", "userns"),
        ("cgroupns", "cgroupns"),
    ] {
        for mode in body.each(field).filter_map(|namespace| namespace.text("nsmode")) {
            access.option(option, mode.as_bytes());
        }
    }
    body.texts("cap_add").for_each(|value| access.option("cap-add", value.as_bytes()));
    for field in ["devices", "host_device_list"] {
        for device in body.items(field).filter_map(|device| device.text("path")) {
            access.option("device", device.as_bytes());
        }
    }
    confinement(body, access);
    for mount in body.items("mounts") {
        let bind = matches!(mount.text("type"), Some("bind" | "rbind") | None);
        if let Some(source) = mount.text("source").filter(|source| bind || source.starts_with('/')) {
            let target = mount.text("destination").unwrap_or_default();
            access.option("mount", format!("type=bind,source={source},target={target}").as_bytes());
        }
    }
    if let Some(on) = body.bool("privileged") {
        access.privileged(on);
    }
    service
}

fn confinement(body: &Json, access: &mut Access) {
    for (field, option) in [("apparmor_profile", "apparmor"), ("seccomp_profile_path", "seccomp")] {
        if body.text(field) == Some("unconfined") {
            access.option("security-opt", format!("{option}=unconfined").as_bytes());
        }
    }
    if body.texts("selinux_opts").any(|option| option == "disable") {
        access.option("security-opt", b"label=disable");
    }
    if body.texts("unmask").any(|path| path == "ALL") {
        access.option("security-opt", b"unmask=ALL");
    }
}

/// A Kubernetes manifest. Only what is asked of podman is told here: its pods come back unless they say otherwise
/// (podman-kube-play(1)), and lines that give a part of the host count wherever they stand.
fn play(body: &[u8]) -> EngineRequest {
    let text = String::from_utf8_lossy(body);
    let mut service = ContainerService {
        verb: "play".to_owned(),
        restart_policy: "always".to_owned(),
        ..ContainerService::default()
    };
    let mut host_path = false;
    for line in text.lines().flat_map(|line| line.split([',', '{', '}'])) {
        let line = line.trim_start_matches([' ', '\t', '-', '[']);
        let Some((key, value)) = line.split_once(':') else { continue };
        let plain = |text: &str| text.trim().trim_matches(['"', '\'', ']']).to_owned();
        let (key, value) = (plain(key), plain(value.split(" #").next().unwrap_or_default()));
        match (key.as_str(), value.as_str()) {
            ("restartPolicy", "Never") => service.restart_policy.clear(),
            ("restartPolicy", "OnFailure") => "on-failure".clone_into(&mut service.restart_policy),
            ("image", image) if !image.is_empty() => {
                service.image.get_or_insert_with(|| image.to_owned());
            }
            ("name", name) if !name.is_empty() => {
                service.name.get_or_insert_with(|| name.to_owned());
            }
            ("privileged", "true") => service.access.privileged(true),
            ("hostPID", "true") => service.access.option("pid", b"host"),
            ("hostNetwork", "true") => service.access.option("network", b"host"),
            ("hostIPC", "true") => service.access.option("ipc", b"host"),
            ("path", path) if host_path => service.access.option("v", path.as_bytes()),
            _ => {}
        }
        host_path |= key == "hostPath";
    }
    EngineRequest::of(Verb::Create, service, true)
}
