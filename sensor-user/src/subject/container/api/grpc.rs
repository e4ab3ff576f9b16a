//! containerd's and the kubelet's runtime interface over gRPC: containers as protobuf messages.
//!
//! - containerd's services (github.com/containerd/containerd, api/services/containers/v1/containers.proto): the container is
//!   an OCI specification (github.com/opencontainers/runtime-spec, config.md) in JSON.
//! - CRI (github.com/kubernetes/cri-api, pkg/apis/runtime/v1/api.proto): containerd and CRI-O offer it.

use super::{EngineRequest, Verb};
use crate::event::path::lossy;
use crate::subject::container::service::{Access, ContainerService};
use crate::subject::json::{self, Json};

/// Label by which containerd's restart monitor starts a container again (containerd, core/runtime/restart/restart.go);
/// nerdctl's `--restart` sets it.
const RESTART_LABEL: &str = "containerd.io/restart.policy";
/// Capabilities that containers have without asking (containerd, pkg/oci/spec.go, `defaultUnixCaps`).
const USUAL: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];
/// `NODE` of CRI's `NamespaceMode`.
const NODE: u64 = 2;

/// Reads a call; `path` is `[service, method]`, `body` the message with gRPC's prefix of five bytes. `None` where it is no
/// such service's.
pub(super) fn read(service: &str, method: &str, body: &[u8]) -> Option<EngineRequest> {
    // The first byte tells of compression, which no engine's client uses.
    let (compressed, message) =
        (body.first().is_some_and(|byte| *byte != 0), body.get(5..).unwrap_or_default());
    let mut read = match (service, method) {
        ("containerd.services.containers.v1.Containers", "Create" | "Update") => {
            let verb = if method == "Create" { Verb::Create } else { Verb::Update };
            let (service, whole) = containerd(message, verb);
            EngineRequest { target: service.name.clone(), ..EngineRequest::of(verb, service, whole) }
        }
        ("containerd.services.containers.v1.Containers", "Delete") => EngineRequest::new(Verb::Control),
        ("containerd.services.tasks.v1.Tasks", "Create" | "Start" | "Exec" | "Kill" | "Delete") => {
            let verb = if method == "Exec" { Verb::Exec } else { Verb::Control };
            let id = fields(message).find_map(|(number, value)| value.bytes().filter(|_| number == 1));
            EngineRequest::on(verb, id.map(lossy).as_deref())
        }
        ("runtime.v1.RuntimeService" | "runtime.v1alpha2.RuntimeService", _) => match method {
            "CreateContainer" => EngineRequest::of(Verb::Create, cri_container(message), true),
            "RunPodSandbox" => EngineRequest::of(Verb::Create, cri_sandbox(message), true),
            "StartContainer" | "StopContainer" | "RemoveContainer" | "StopPodSandbox"
            | "RemovePodSandbox" => EngineRequest::new(Verb::Control),
            "ExecSync" | "Exec" => EngineRequest::new(Verb::Exec),
            _ => return None,
        },
        _ => return None,
    };
    read.incomplete |= compressed;
    Some(read)
}

/// A field's value (protobuf.dev/programming-guides/encoding).
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn bytes(&self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// Fields of a message in their order, up to a cut or to what is wrong. Of a value that is cut the beginning is given.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => Value::Bytes(take(&mut rest, 8)),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).unwrap_or(usize::MAX);
                Value::Bytes(take(&mut rest, length))
            }
            5 => Value::Bytes(take(&mut rest, 4)),
            _ => return None,
        };
        Some((key >> 3, value))
    })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (value, after) = rest.split_at(length.min(rest.len()));
    *rest = after;
    value
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The messages of field `number`.
fn each(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).filter_map(move |(own, value)| value.bytes().filter(|_| own == number))
}

/// The text of field `number`, where it is there and not empty.
fn text(message: &[u8], number: u64) -> Option<String> {
    each(message, number).last().filter(|text| !text.is_empty()).map(|text| lossy(text).into_owned())
}

fn number(message: &[u8], number: u64) -> u64 {
    let value =
        |(own, value)| if let (true, Value::Number(it)) = (own == number, value) { Some(it) } else { None };
    fields(message).filter_map(value).last().unwrap_or(0)
}

/// `CreateContainerRequest` and `UpdateContainerRequest`: a `Container` is field 1.
fn containerd(message: &[u8], verb: Verb) -> (ContainerService, bool) {
    let mut service = ContainerService {
        verb: if verb == Verb::Create { "create" } else { "update" }.to_owned(),
        ..ContainerService::default()
    };
    let mut whole = true;
    for container in each(message, 1) {
        service.name = text(container, 1);
        service.id.clone_from(&service.name);
        service.image = text(container, 3);
        for label in each(container, 2) {
            if text(label, 1).as_deref() == Some(RESTART_LABEL) {
                let policy = text(label, 2).unwrap_or_default();
                service.restart_policy = if policy == "no" { String::new() } else { policy };
            }
        }
        // `Any` with the specification.
        for spec in each(container, 5).flat_map(|any| each(any, 2)) {
            let (spec, read) = json::read(spec);
            whole &= read;
            specification(&spec, &mut service);
        }
    }
    (service, whole)
}

/// What an OCI specification gives of the host.
fn specification(spec: &Json, service: &mut ContainerService) {
    let access = &mut service.access;
    let mut arguments = Vec::new();
    for process in spec.each("process") {
        arguments.extend(process.texts("args").map(str::to_owned));
        for capabilities in process.each("capabilities") {
            for capability in capabilities.texts("bounding").filter(|name| !USUAL.contains(name)) {
                access.option("cap-add", capability.as_bytes());
            }
        }
    }
    for mount in spec.items("mounts") {
        let bind =
            mount.text("type") == Some("bind") || mount.texts("options").any(|one| one.ends_with("bind"));
        let (source, target) =
            (mount.text("source").unwrap_or_default(), mount.text("destination").unwrap_or_default());
        // The engine's own files for the container.
        let own = matches!(target, "/etc/resolv.conf" | "/etc/hosts" | "/etc/hostname" | "/dev/shm");
        if bind && !own {
            access.option("mount", format!("type=bind,source={source},target={target}").as_bytes());
        }
    }
    for linux in spec.each("linux") {
        let has = |kind: &str| linux.items("namespaces").any(|one| one.text("type") == Some(kind));
        // A specification that was cut before them says nothing of them.
        if linux.items("namespaces").next().is_some() {
            for (kind, option) in [("pid", "pid"), ("network", "network"), ("ipc", "ipc"), ("uts", "uts")] {
                if !has(kind) {
                    access.option(option, b"host");
                }
            }
        }
        for device in linux.items("devices").filter_map(|device| device.text("path")) {
            access.option("device", device.as_bytes());
        }
    }
    for argument in arguments {
        service.argument(argument);
    }
}

/// `CreateContainerRequest` of CRI: a `ContainerConfig` is field 2.
fn cri_container(message: &[u8]) -> ContainerService {
    let mut service = ContainerService { verb: "create".to_owned(), ..ContainerService::default() };
    for config in each(message, 2) {
        service.name = each(config, 1).find_map(|metadata| text(metadata, 1));
        service.image = each(config, 2).find_map(|image| text(image, 1));
        for argument in each(config, 3).chain(each(config, 4)) {
            service.argument(lossy(argument));
        }
        for mount in each(config, 7) {
            let (target, source) = (text(mount, 1).unwrap_or_default(), text(mount, 2).unwrap_or_default());
            service.access.option("mount", format!("type=bind,source={source},target={target}").as_bytes());
        }
        for device in each(config, 8).filter_map(|device| text(device, 2)) {
            service.access.option("device", device.as_bytes());
        }
        for security in each(config, 15).flat_map(|linux| each(linux, 2)) {
            for capability in each(security, 1).flat_map(|capabilities| each(capabilities, 1)) {
                service.access.option("cap-add", capability);
            }
            each(security, 3).for_each(|options| namespaces(options, &mut service.access));
            if number(security, 2) != 0 {
                service.access.privileged(true);
            }
        }
    }
    service
}

/// `RunPodSandboxRequest`: a `PodSandboxConfig` is field 1.
fn cri_sandbox(message: &[u8]) -> ContainerService {
    let mut service = ContainerService { verb: "pod create".to_owned(), ..ContainerService::default() };
    for config in each(message, 1) {
        service.name = each(config, 1).find_map(|metadata| text(metadata, 1));
        for security in each(config, 8).flat_map(|linux| each(linux, 2)) {
            each(security, 1).for_each(|options| namespaces(options, &mut service.access));
            if number(security, 6) != 0 {
                service.access.privileged(true);
            }
        }
    }
    service
}

/// `NamespaceOption`.
fn namespaces(options: &[u8], access: &mut Access) {
    for (field, option) in [(1, "network"), (2, "pid"), (3, "ipc")] {
        if number(options, field) == NODE {
            access.option(option, b"host");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u64, value: &[u8]) -> Vec<u8> {
        let mut out = vec![(number << 3 | 2) as u8];
        let mut length = value.len();
        while length > 0x7f {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(value);
        out
    }

    fn grpc(message: &[u8]) -> Vec<u8> {
        let mut out = vec![0];
        out.extend_from_slice(&(message.len() as u32).to_be_bytes());
        out.extend_from_slice(message);
        out
    }

    #[test]
    fn a_container_of_containerds() {
        let spec = br#"{"process":{"args":["sh","-c","id"],"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_ADMIN"]}},
            "mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/host","type":"bind",
            "source":"/","options":["rbind","rw"]}],"linux":{"namespaces":[{"type":"mount"},{"type":"pid"},
            {"type":"ipc"},{"type":"uts"}]}}"#;
        let any =
            [field(1, b"types.containerd.io/opencontainers/runtime-spec/1/Spec"), field(2, spec)].concat();
        let label = [field(1, RESTART_LABEL.as_bytes()), field(2, b"always")].concat();
        let container =
            [field(1, b"keeper"), field(2, &label), field(3, b"box:latest"), field(5, &any)].concat();
        let body = grpc(&field(1, &container));
        let request = read("containerd.services.containers.v1.Containers", "Create", &body).unwrap();
        assert_eq!((request.verb, request.incomplete), (Verb::Create, false));
        let service = &request.services[0];
        assert_eq!((service.name.as_deref(), service.restart_policy.as_str()), (Some("keeper"), "always"));
        assert_eq!(service.command, ["sh", "-c", "id"]);
        assert_eq!(
            service.access.options().collect::<Vec<_>>(),
            ["--cap-add=CAP_SYS_ADMIN", "--mount=type=bind,source=/,target=/host", "--network=host"]
        );
        let cut = read("containerd.services.containers.v1.Containers", "Create", &body[..body.len() - 60]);
        assert!(cut.unwrap().incomplete);
    }

    #[test]
    fn a_container_of_kubernetes() {
        let mount = [field(1, b"/host"), field(2, b"/etc")].concat();
        let security = [vec![2 << 3, 1], field(3, &[1 << 3, 2, 2 << 3, 2])].concat();
        let config = [
            field(1, &field(1, b"main")),
            field(2, &field(1, b"box")),
            field(3, b"sh"),
            field(7, &mount),
            field(15, &field(2, &security)),
        ]
        .concat();
        let body = grpc(&[field(1, b"sandbox"), field(2, &config)].concat());
        let request = read("runtime.v1.RuntimeService", "CreateContainer", &body).unwrap();
        let service = &request.services[0];
        assert_eq!((service.name.as_deref(), service.image.as_deref()), (Some("main"), Some("box")));
        assert_eq!(
            service.access.options().collect::<Vec<_>>(),
            ["--mount=type=bind,source=/etc,target=/host", "--network=host", "--pid=host", "--privileged"]
        );
        assert_eq!(read("runtime.v1.RuntimeService", "ListContainers", &grpc(b"")), None);
    }

    proptest! {
        #[test]
        fn any_message_is_borne(body in proptest::collection::vec(any::<u8>(), 0..200), numbers in proptest::collection::vec(1_u64..16, 0..6)) {
            let nested = numbers.iter().fold(body.clone(), |inner, number| field(*number, &inner));
            for (service, method) in [
                ("containerd.services.containers.v1.Containers", "Create"),
                ("containerd.services.tasks.v1.Tasks", "Exec"),
                ("runtime.v1.RuntimeService", "CreateContainer"),
                ("runtime.v1.RuntimeService", "RunPodSandbox"),
            ] {
                let _either = (read(service, method, &body), read(service, method, &grpc(&nested)));
            }
        }
    }
}
