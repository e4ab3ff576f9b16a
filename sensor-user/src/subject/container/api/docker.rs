//! The Docker Engine API: requests that change something.

use super::{Call, EngineRequest, Verb, restart_policy};
use crate::subject::container::service::{Access, ContainerService};
use crate::subject::json::Json;

pub(super) fn read(call: &Call<'_>) -> EngineRequest {
    match (call.method, call.words) {
        ("POST", ["containers", "create"]) => {
            let (body, whole) = call.json();
            let volumes = body.each("HostConfig").flat_map(volumes).collect();
            EngineRequest { volumes, ..EngineRequest::of(Verb::Create, container(call, &body), whole) }
        }
        ("POST", ["containers", name, "update"]) => {
            let (body, whole) = call.json();
            let mut service = ContainerService {
                verb: "update".to_owned(),
                image: Some((*name).to_owned()),
                ..ContainerService::default()
            };
            service.restart_policy = policy(&body);
            EngineRequest {
                target: Some((*name).to_owned()),
                ..EngineRequest::of(Verb::Update, service, whole)
            }
        }
        ("POST", ["containers", name, "exec"]) => EngineRequest::on(Verb::Exec, Some(name)),
        ("PUT", ["containers", name, "archive"]) => EngineRequest::on(Verb::Copy, Some(name)),
        ("DELETE", ["containers", name])
        | (
            "POST",
            ["containers", name, "start" | "restart" | "stop" | "kill" | "pause" | "unpause" | "rename"],
        ) => EngineRequest::on(Verb::Control, Some(name)),
        ("POST", ["volumes", "create"]) => {
            let (body, whole) = call.json();
            volume(&body, whole)
        }
        ("POST", ["services", "create"]) => {
            let (body, whole) = call.json();
            EngineRequest::of(Verb::Service, swarm_service(&body, "create"), whole)
        }
        ("POST", ["services", _, "update"]) => {
            let (body, whole) = call.json();
            EngineRequest::of(Verb::Service, swarm_service(&body, "update"), whole)
        }
        ("POST", ["swarm", "init"]) => EngineRequest::new(Verb::SwarmInit),
        ("POST", ["swarm", "join"]) => {
            let (body, whole) = call.json();
            let managers: Vec<&str> = body.texts("RemoteAddrs").take(4).collect();
            let target = Some(managers.join(", ")).filter(|text| !text.is_empty());
            EngineRequest { target, incomplete: !whole, ..EngineRequest::new(Verb::SwarmJoin) }
        }
        ("POST", ["plugins", "pull"]) => {
            EngineRequest { target: call.parameter("remote"), ..EngineRequest::new(Verb::Plugin) }
        }
        ("POST", ["plugins", "create"]) => {
            EngineRequest { target: call.parameter("name"), ..EngineRequest::new(Verb::Plugin) }
        }
        ("POST", ["plugins", name @ .., "enable" | "upgrade" | "set"]) => {
            EngineRequest { target: Some(name.join("/")), ..EngineRequest::new(Verb::Plugin) }
        }
        ("POST", ["build" | "commit" | "images", ..]) | ("DELETE", ["images", ..]) => {
            EngineRequest::new(Verb::Image)
        }
        _ => EngineRequest::new(Verb::Other),
    }
}

/// The policy in a `RestartPolicy` of `at`.
fn policy(at: &Json) -> String {
    at.each("RestartPolicy").last().map_or_else(String::new, |policy| {
        restart_policy(policy.text("Name").unwrap_or_default(), policy.number("MaximumRetryCount"))
    })
}

/// The body of `POST /containers/create` (`ContainerConfig` with a `HostConfig`).
fn container(call: &Call<'_>, body: &Json) -> ContainerService {
    let mut service = ContainerService {
        verb: "create".to_owned(),
        name: call.parameter("name").filter(|name| !name.is_empty()),
        image: body.text("Image").map(str::to_owned),
        user: body.text("User").map(str::to_owned),
        ..ContainerService::default()
    };
    for name in ["Entrypoint", "Cmd"] {
        body.texts(name).for_each(|argument| service.argument(argument));
    }
    for host in body.each("HostConfig") {
        let restart = policy(host);
        if host.get("RestartPolicy").is_some() {
            service.restart_policy = restart;
        }
        host_config(host, &mut service.access);
    }
    service
}

/// `HostConfig`, as options.
fn host_config(host: &Json, access: &mut Access) {
    for (field, option) in [
        ("PidMode", "pid"),
        ("NetworkMode", "network"),
        ("IpcMode", "ipc"),
        ("UTSMode", "uts"),
        ("UsernsMode", "userns"),
        ("CgroupnsMode", "cgroupns"),
    ] {
        if let Some(mode) = host.text(field) {
            access.option(option, mode.as_bytes());
        }
    }
    for (field, option) in [
        ("CapAdd", "cap-add"),
        ("Binds", "v"),
        ("SecurityOpt", "security-opt"),
        ("DeviceCgroupRules", "device-cgroup-rule"),
    ] {
        host.texts(field).for_each(|value| access.option(option, value.as_bytes()));
    }
    for device in host.items("Devices").filter_map(|device| device.text("PathOnHost")) {
        access.option("device", device.as_bytes());
    }
    host.items("Mounts").for_each(|one| mount(one, access));
    if let Some(on) = host.bool("Privileged") {
        access.privileged(on);
    }
}

/// A `Mount`: a bind, or a volume of the local driver that is one.
fn mount(mount: &Json, access: &mut Access) {
    let target = mount.text("Target").unwrap_or_default();
    let source = match mount.text("Type") {
        Some("bind") => mount.text("Source").map(str::to_owned),
        Some("volume") => mount
            .each("VolumeOptions")
            .flat_map(|options| options.each("DriverConfig"))
            .find_map(|driver| bound(driver.get("Options")?)),
        _ => None,
    };
    if let Some(source) = source {
        access.option("mount", format!("type=bind,source={source},target={target}").as_bytes());
    }
}

/// What a volume with these options of the local driver binds (docker-volume-create(1): the options of mount(8)).
fn bound(options: &Json) -> Option<String> {
    let device = options.text("device")?;
    let binds = options.text("o").is_some_and(|o| o.split(',').any(|word| matches!(word, "bind" | "rbind")));
    let plain = options.text("type").is_none_or(|kind| kind == "none");
    (binds || plain && device.starts_with('/')).then(|| device.to_owned())
}

/// Names of the volumes in a `HostConfig`.
fn volumes(host: &Json) -> impl Iterator<Item = String> + '_ {
    let binds = host.texts("Binds").filter_map(|bind| bind.split(':').next());
    let of_type = |mount: &&Json| mount.text("Type") == Some("volume");
    let mounts = host.items("Mounts").filter(of_type).filter_map(|mount| mount.text("Source"));
    binds.chain(mounts).filter(|name| !name.starts_with('/')).map(str::to_owned)
}

/// `POST /volumes/create`, libpod's too.
pub(super) fn volume(body: &Json, whole: bool) -> EngineRequest {
    let mut service = ContainerService {
        verb: "create volume".to_owned(),
        name: body.text("Name").map(str::to_owned),
        ..ContainerService::default()
    };
    let mut target = None;
    for options in ["DriverOpts", "Options"].into_iter().flat_map(|name| body.each(name)) {
        if let Some(device) = bound(options) {
            service.access.option("v", device.as_bytes());
            target = Some(device);
        } else if let Some(device) = options.text("device") {
            // A block device with a filesystem on it.
            service.access.option("device", device.as_bytes());
        }
    }
    EngineRequest { target, ..EngineRequest::of(Verb::Volume, service, whole) }
}

/// A `ServiceSpec` of a swarm.
fn swarm_service(body: &Json, verb: &str) -> ContainerService {
    let mut service = ContainerService {
        verb: verb.to_owned(),
        name: body.text("Name").map(str::to_owned),
        restart_policy: "any".to_owned(),
        ..ContainerService::default()
    };
    for task in body.each("TaskTemplate") {
        // Without a condition the swarm starts it again whatever it ended with.
        for condition in task.each("RestartPolicy").filter_map(|policy| policy.text("Condition")) {
            service.restart_policy = if condition == "none" { String::new() } else { condition.to_owned() };
        }
        for network in task.items("Networks").filter_map(|network| network.text("Target")) {
            service.access.option("network", network.as_bytes());
        }
        for container in task.each("ContainerSpec") {
            service.image = container.text("Image").map(str::to_owned).or(service.image);
            service.user = container.text("User").map(str::to_owned).or(service.user);
            for name in ["Command", "Args"] {
                container.texts(name).for_each(|argument| service.argument(argument));
            }
            container.items("Mounts").for_each(|one| mount(one, &mut service.access));
            for name in ["CapabilityAdd", "CapAdd"] {
                container.texts(name).for_each(|value| service.access.option("cap-add", value.as_bytes()));
            }
            for privileges in container.each("Privileges") {
                let seccomp = privileges.each("Seccomp").any(|one| one.text("Mode") == Some("unconfined"));
                if seccomp {
                    service.access.option("security-opt", b"seccomp=unconfined");
                }
                if privileges.each("AppArmor").any(|one| one.text("Mode") == Some("disabled")) {
                    service.access.option("security-opt", b"apparmor=unconfined");
                }
            }
        }
    }
    service
}
