use proptest::prelude::*;

use super::*;

fn ask(engine: &str, method: &str, target: &str, body: &str) -> EngineRequest {
    let request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        body: body.as_bytes().to_vec(),
        cut: false,
    };
    read(engine, &request).expect("a request")
}

fn service(request: &EngineRequest) -> (&ContainerService, Vec<&str>) {
    let service = &request.services[0];
    (service, service.access.options().collect())
}

/// As docker 20.10's client sends `docker run -d --restart=on-failure:3 ...`, shortened.
const CREATE: &str = r#"{"Hostname":"","User":"0:0","AttachStdin":false,"Env":["A=b"],"Cmd":["sh","-c","id"],
    "Image":"box","Entrypoint":["/bin/busybox"],"Labels":{},"HostConfig":{"Binds":["/:/host","data:/d"],
    "NetworkMode":"host","RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"CapAdd":["SYS_ADMIN"],
    "PidMode":"host","IpcMode":"","UTSMode":"","UsernsMode":"","CgroupnsMode":"","Privileged":true,
    "Devices":[{"PathOnHost":"/dev/sda","PathInContainer":"/dev/x","CgroupPermissions":"rwm"}],
    "SecurityOpt":["seccomp=unconfined"],"Mounts":[{"Type":"bind","Source":"/etc","Target":"/m"},
    {"Type":"volume","Source":"v","Target":"/v","VolumeOptions":{"DriverConfig":{"Name":"local",
    "Options":{"type":"none","o":"bind","device":"/root"}}}}]},"NetworkingConfig":{"EndpointsConfig":{}}}"#;

#[test]
fn docker_containers_are_read_whole() {
    let request = ask("docker", "POST", "/v1.41/containers/create?platform=&name=web%2dx", CREATE);
    assert_eq!((request.verb, request.incomplete), (Verb::Create, false));
    let (service, access) = service(&request);
    assert_eq!((service.engine.as_str(), service.verb.as_str()), ("docker", "create"));
    assert_eq!(service.name.as_deref(), Some("web-x"));
    assert_eq!(service.image.as_deref(), Some("box"));
    assert_eq!(service.restart_policy, "on-failure:3");
    assert_eq!(service.command, ["/bin/busybox", "sh", "-c", "id"]);
    assert_eq!(service.user.as_deref(), Some("0:0"));
    assert_eq!(
        access,
        [
            "--pid=host",
            "--network=host",
            "--cap-add=SYS_ADMIN",
            "-v /:/host",
            "--security-opt=seccomp=unconfined",
            "--device=/dev/sda",
            "--mount=type=bind,source=/etc,target=/m",
            "--mount=type=bind,source=/root,target=/v",
            "--privileged",
        ]
    );
    assert_eq!(request.to_string(), "to create a container web-x of box (POST /v1.41/containers/create)");
}

#[test]
fn spelling_does_not_help() {
    for target in [
        "/containers/create",
        "//v9.99/containers//create",
        "http://docker/v1.41/containers/create",
        "/%63ontainers%2Fcreate",
    ] {
        let request = ask("docker", "POST", target, r#"{"hostCONFIG":{"restartpolicy":{"NAME":"always"}}}"#);
        assert_eq!(service(&request).0.restart_policy, "always", "{target}");
    }
}

#[test]
fn ordinary_containers_ask_for_nothing() {
    let body = r#"{"Image":"box","HostConfig":{"NetworkMode":"default","RestartPolicy":{"Name":"no"},"AutoRemove":true}}"#;
    let request = ask("docker", "POST", "/containers/create", body);
    let (service, access) = service(&request);
    assert!(!service.comes_back() && access.is_empty());
    let get = Request { method: "GET".into(), target: "/containers/json".into(), ..Request::default() };
    assert_eq!(read("docker", &get), None);
}

#[test]
fn what_was_cut_is_used_as_far_as_it_goes() {
    let request = Request {
        method: "POST".into(),
        target: "/containers/create".into(),
        body: CREATE.as_bytes()[..CREATE.find("\"RestartPolicy").expect("one")].to_vec(),
        cut: true,
    };
    let request = read("docker", &request).expect("a request");
    assert!(request.incomplete);
    assert_eq!(service(&request).1[0], "--network=host");
}

#[test]
fn changes_of_a_container() {
    let request =
        ask("docker", "POST", "/containers/keeper/update", r#"{"RestartPolicy":{"Name":"unless-stopped"}}"#);
    assert_eq!((request.verb, request.target.as_deref()), (Verb::Update, Some("keeper")));
    assert_eq!(service(&request).0.restart_policy, "unless-stopped");
    let request = ask("podman", "POST", "/v5.4.0/libpod/containers/keeper/update?restartPolicy=always", "{}");
    assert_eq!(service(&request).0.restart_policy, "always");
    let id = "0123456789abcdef";
    let request = ask("docker", "PUT", "/containers/0123456789ab/archive?path=/x", "");
    assert!(request.verb == Verb::Copy && request.names(id) && !request.names("web"));
}

#[test]
fn volumes_that_are_the_host() {
    let body = r#"{"Name":"evil","Driver":"local","DriverOpts":{"type":"none","o":"bind","device":"/"}}"#;
    for target in ["/volumes/create", "/libpod/volumes/create"] {
        assert_eq!(service(&ask("docker", "POST", target, body)).1, ["-v /"]);
    }
    assert!(service(&ask("docker", "POST", "/volumes/create", r#"{"Name":"data"}"#)).1.is_empty());
}

#[test]
fn swarms() {
    let body = r#"{"Name":"agent","TaskTemplate":{"ContainerSpec":{"Image":"box","Command":["sh"],"Args":["-c","id"],
        "Mounts":[{"Type":"bind","Source":"/","Target":"/host"}]},"RestartPolicy":{"Condition":"any"}},"Mode":{"Global":{}}}"#;
    let request = ask("docker", "POST", "/v1.41/services/create", body);
    assert_eq!(request.verb, Verb::Service);
    let (service, access) = service(&request);
    assert_eq!((service.restart_policy.as_str(), service.command.len()), ("any", 3));
    assert_eq!(access, ["--mount=type=bind,source=/,target=/host"]);
    let request = ask("docker", "POST", "/swarm/join", r#"{"RemoteAddrs":["192.0.2.1:2377"]}"#);
    assert_eq!((request.verb, request.target.as_deref()), (Verb::SwarmJoin, Some("192.0.2.1:2377")));
    assert_eq!(ask("docker", "POST", "/swarm/init", "{}").verb, Verb::SwarmInit);
    let request = ask("docker", "POST", "/plugins/vieux/sshfs:latest/enable?timeout=0", "");
    assert_eq!((request.verb, request.target.as_deref()), (Verb::Plugin, Some("vieux/sshfs:latest")));
}

/// As podman 4.3's remote client sends it, shortened.
#[test]
fn podmans_own_api() {
    let body = r#"{"command":["sleep","1"],"name":"keeper","image":"box","restart_policy":"always","privileged":true,
        "pidns":{"nsmode":"host"},"netns":{"nsmode":"host"},"mounts":[{"destination":"/host","source":"/","type":"bind",
        "options":["rbind"]}],"cap_add":["ALL"],"devices":[{"path":"/dev/kvm"}],"seccomp_profile_path":"unconfined"}"#;
    let request = ask("podman", "POST", "/v4.3.1/libpod/containers/create", body);
    let (service, access) = service(&request);
    assert_eq!((service.name.as_deref(), service.restart_policy.as_str()), (Some("keeper"), "always"));
    assert_eq!(
        access,
        [
            "--pid=host",
            "--network=host",
            "--cap-add=ALL",
            "--device=/dev/kvm",
            "--security-opt=seccomp=unconfined",
            "--mount=type=bind,source=/,target=/host",
            "--privileged",
        ]
    );
    assert_eq!(ask("podman", "POST", "/libpod/containers/x/start", "").verb, Verb::Control);
}

#[test]
fn manifests_given_to_podman() {
    let body = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: keeper\nspec:\n  hostPID: true\n  containers:\n  - image: box\n    \
        securityContext:\n      privileged: true\n    volumeMounts: [{mountPath: /host, name: h}]\n  volumes:\n  - name: h\n    \
        hostPath:\n      path: /etc # the host's\n";
    let request = ask("podman", "POST", "/v4.3.1/libpod/play/kube?start=true", body);
    let (service, access) = service(&request);
    assert_eq!((service.verb.as_str(), service.restart_policy.as_str()), ("play", "always"));
    assert_eq!((service.name.as_deref(), service.image.as_deref()), (Some("keeper"), Some("box")));
    assert_eq!(access, ["--pid=host", "--privileged", "-v /etc"]);
    let json = r#"{"kind":"Pod","spec":{"restartPolicy":"Never","volumes":[{"hostPath":{"path":"/"}}]}}"#;
    let request = ask("podman", "POST", "/libpod/kube/play", json);
    assert_eq!(request.services[0].access.options().collect::<Vec<_>>(), ["-v /"]);
    assert!(!request.services[0].comes_back());
}

#[test]
fn instances_of_lxd() {
    let body = r#"{"name":"c1","source":{"type":"image","alias":"debian"},"config":{"boot.autostart":"true",
        "security.privileged":"true"},"devices":{"root":{"type":"disk","source":"/","path":"/mnt"}}}"#;
    let request = ask("lxd", "POST", "/1.0/instances?project=default", body);
    let (service, access) = service(&request);
    assert_eq!((service.name.as_deref(), service.restart_policy.as_str()), (Some("c1"), "boot.autostart"));
    assert_eq!(access, ["--privileged", "-v /"]);
}

proptest! {
    #[test]
    fn no_request_panics(
        target in "/?(v1\\.4/)?(libpod/|1\\.0/)?(containers|create|volumes|kube|play|%2|%ff|[?&=+é]|/){0,5}",
        body in "([\\[\\]{}\",:a]|\"HostConfig\":|\"config\":|image: |path: ){0,12}",
        cut in any::<bool>(),
    ) {
        let request = Request { method: "POST".into(), target, body: body.into_bytes(), cut };
        for engine in ["docker", "podman", "lxd"] {
            let told = read(engine, &request).expect("a request").to_string();
            prop_assert!(told.len() < 4096);
        }
    }
}
