use proptest::prelude::*;

use super::*;
use crate::subject::container::access::Grant;

const WEB: &str = "4e05565f7c8ea1afa56c80273c8c4cbf2929cdbd73c23d2d20150657de4d1811";
const PODMAN_WEB: &str = "b22fd00201d0a08061807b091aeaf264744e1ca5d44e2d884b4d2576c5ceb547";
const OTHER: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

macro_rules! fixture {
    ($name:literal) => {
        &include_bytes!(concat!("../../../../tests/fixtures/engines/", $name))[..]
    };
}

fn read(id: &str, files: &[(Book, &[u8])]) -> Booked {
    let mut booked = Booked::default();
    for (book, content) in files {
        booked.read(*book, id, content);
    }
    booked
}

fn access(booked: &Booked) -> (Option<Grant>, Vec<&str>) {
    (booked.service.access.grant(), booked.service.access.options().collect())
}

#[test]
fn docker_says_everything() {
    let booked = read(
        WEB,
        &[
            (Book::DockerConfig, fixture!("docker-web-config.v2.json")),
            (Book::DockerHostConfig, fixture!("docker-web-hostconfig.json")),
            (Book::Bundle, fixture!("docker-web-bundle.json")),
        ],
    );
    assert!(booked.found);
    let identity = &booked.identity;
    assert_eq!(identity.name.as_deref(), Some("web"));
    assert_eq!(identity.image.as_deref(), Some("registry.example/team/box:1.2"));
    let digest = "sha256:6dca80291b63da6cfbb94e8343b449903f979fd47e2dece84240dab43ebb2583";
    assert_eq!(identity.digest.as_deref(), Some(digest));
    assert_eq!(identity.labels, [("com.example.tier".to_owned(), "front".to_owned())]);
    let service = booked.service(Source::State);
    assert_eq!((service.engine.as_str(), service.restart_policy.as_str()), ("docker", "unless-stopped"));
    assert_eq!((service.name.as_deref(), service.id.as_deref()), (Some("web"), Some(WEB)));
    assert_eq!(service.command, ["sleep", "100000"]);
    assert_eq!(service.user.as_deref(), Some("1000:1000"));
    let (grant, options) = access(&booked);
    assert_eq!(grant, Some(Grant::Full));
    let all = ["-v /etc:/hostetc:ro", "--cap-add=SYS_ADMIN", "--pid=host", "--security-opt=label=disable"];
    assert_eq!(options, all);
    let directory = format!("/var/lib/docker/containers/{WEB}");
    assert_eq!(booked.docker_directory.as_deref(), Some(directory.as_bytes()));
}

#[test]
fn a_bundle_alone_says_what_is_given_of_the_host() {
    let web = read(WEB, &[(Book::Bundle, fixture!("docker-web-bundle.json"))]);
    let (grant, options) = access(&web);
    assert_eq!(options, ["--cap-add=SYS_ADMIN", "-v /etc:/hostetc:ro", "--pid=host"]);
    assert_eq!(grant, Some(Grant::Full));
    let privileged = read(OTHER, &[(Book::Bundle, fixture!("docker-privileged-bundle.json"))]);
    let (grant, options) = access(&privileged);
    assert_eq!((grant, options), (Some(Grant::Full), vec!["--privileged", "--network=host"]));
    for plain in [fixture!("docker-plain-bundle.json"), fixture!("podman-plain-bundle.json")] {
        assert_eq!(access(&read(OTHER, &[(Book::Bundle, plain)])), (None, vec![]));
    }
    let podman = read(OTHER, &[(Book::Bundle, fixture!("podman-privileged-bundle.json"))]);
    assert_eq!(access(&podman), (Some(Grant::Full), vec!["--privileged", "--pid=host"]));
    let by_hand = read("x", &[(Book::Bundle, fixture!("runc-spec.json"))]);
    assert_eq!(access(&by_hand), (Some(Grant::Partial), vec!["--security-opt=seccomp=unconfined"]));
    assert_eq!(
        (by_hand.service.command, by_hand.service.user),
        (vec!["sh".to_owned()], Some("0:0".to_owned()))
    );
}

#[test]
fn containers_without_anything_of_the_host_have_no_policy() {
    let plain = read(OTHER, &[(Book::DockerHostConfig, fixture!("docker-plain-hostconfig.json"))]);
    assert_eq!((access(&plain), plain.service.comes_back()), ((None, vec![]), false));
    let privileged = read(OTHER, &[(Book::DockerHostConfig, fixture!("docker-privileged-hostconfig.json"))]);
    assert_eq!(access(&privileged).0, Some(Grant::Full));
    assert!(
        access(&privileged).1.contains(&"--privileged") && access(&privileged).1.contains(&"--network=host")
    );
}

#[test]
fn podman_is_known_by_the_list_and_the_bundle() {
    let booked = read(
        PODMAN_WEB,
        &[
            (Book::Storage, fixture!("podman-containers.json")),
            (Book::Bundle, fixture!("podman-web-bundle.json")),
        ],
    );
    let identity = &booked.identity;
    assert_eq!(identity.name.as_deref(), Some("pweb"));
    assert_eq!(identity.image.as_deref(), Some("localhost/box:latest"));
    let digest = "sha256:080b9359aee874cde4d1969f45575379ad9ee91f19b95d7d8b53990362b23f8d";
    assert_eq!(identity.digest.as_deref(), Some(digest));
    assert_eq!(booked.service.engine, "podman");
    assert_eq!(access(&booked), (Some(Grant::Full), vec!["-v /etc:/hostetc"]));
    assert!(!read(OTHER, &[(Book::Storage, fixture!("podman-containers.json"))]).found);
}

#[test]
fn conmon_is_told_id_bundle_and_name() {
    let bundle = format!("/var/lib/containers/storage/overlay-containers/{PODMAN_WEB}/userdata");
    let line = format!(
        "/usr/bin/conmon --api-version 1 -c {PODMAN_WEB} -u {PODMAN_WEB} -r /usr/bin/crun -b {bundle} -p x -n pweb -s -c other"
    );
    let monitor = podman::conmon(line.split(' ').map(str::as_bytes)).expect("a monitor");
    assert_eq!((monitor.id, monitor.bundle, monitor.name), (PODMAN_WEB, bundle.as_bytes(), Some("pweb")));
    for other in ["conmon --version", "conmon -c short -b /x", "conmon -c", ""] {
        assert_eq!(podman::conmon(other.split(' ').map(str::as_bytes)), None, "{other}");
    }
}

#[test]
fn kubernetes_is_known_by_annotations_and_paths() {
    let mut booked = read(OTHER, &[(Book::Bundle, fixture!("containerd-pod-bundle.json"))]);
    let uid = "5f2c9f0e-3f7e-4d3a-9d7a-6b1f6a4c0d11";
    assert_eq!(
        booked.identity,
        ContainerIdentity {
            name: Some("nginx".to_owned()),
            image: Some("docker.io/library/nginx:1.25".to_owned()),
            pod: Some("web-7d4b9c".to_owned()),
            namespace: Some("shop".to_owned()),
            pod_uid: Some(uid.to_owned()),
            ..ContainerIdentity::default()
        }
    );
    assert_eq!(access(&booked), (Some(Grant::Full), vec!["-v /etc/systemd/system:/host/systemd"]));
    let token =
        format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~projected/kube-api-access-x7k2p/token");
    assert_eq!(booked.token.as_deref(), Some(token.as_bytes()));
    // {"iss":"x","sub":"system:serviceaccount:shop:web-sa"}
    booked.read(
        Book::Token,
        OTHER,
        b"h.eyJpc3MiOiJ4Iiwic3ViIjoic3lzdGVtOnNlcnZpY2VhY2NvdW50OnNob3A6d2ViLXNhIn0",
    );
    assert_eq!(booked.identity.service_account.as_deref(), Some("web-sa"));

    let booked = read(OTHER, &[(Book::Bundle, fixture!("crio-pod-bundle.json"))]);
    let identity = &booked.identity;
    assert_eq!((identity.name.as_deref(), identity.pod.as_deref()), (Some("agent"), Some("agent-x2x4p")));
    assert_eq!(identity.image.as_deref(), Some("registry.k8s.io/agent:v2"));
    assert_eq!(identity.namespace.as_deref(), Some("kube-system"));
    assert!(identity.digest.as_deref().is_some_and(|digest| digest.starts_with("sha256:4bb7")));
    assert!(identity.labels.contains(&("tier".to_owned(), "node".to_owned())));
    let crio = ["-v /run/crio/crio.sock:/var/run/docker.sock", "--network=host"];
    assert_eq!(access(&booked), (Some(Grant::Full), crio.to_vec()));
}

#[test]
fn what_is_cut_or_another_containers_says_what_it_can() {
    let config = fixture!("docker-web-config.v2.json");
    assert!(!read(OTHER, &[(Book::DockerConfig, config)]).found, "another's file");
    let cut = config.windows(16).position(|at| at == b"\"NetworkSettings").expect("it has one");
    let booked = read(WEB, &[(Book::DockerConfig, &config[..cut])]);
    assert_eq!(booked.identity.image.as_deref(), Some("registry.example/team/box:1.2"));
    assert_eq!((booked.identity.name, booked.found), (None, true));
    for nothing in [&b""[..], b"{", b"null", b"[]", b"\0\0\0", b"{\"ID\":7}", b"{\"ociVersion\""] {
        for book in [Book::DockerConfig, Book::DockerHostConfig, Book::Bundle, Book::Storage, Book::Token] {
            assert!(!read(WEB, &[(book, nothing)]).found, "{book:?} {nothing:?}");
        }
    }
}

#[test]
fn texts_and_labels_are_bounded() {
    let labels: Vec<String> = (0..500).map(|at| format!("\"l{at}\":\"{}\"", "ü".repeat(600))).collect();
    let json = format!(
        r#"{{"ID":"{WEB}","Name":"/{}","Config":{{"Labels":{{{}}}}}}}"#,
        "n".repeat(5000),
        labels.join(",")
    );
    let booked = read(WEB, &[(Book::DockerConfig, json.as_bytes())]);
    assert_eq!(booked.identity.name.as_deref().map(str::len), Some(IDENTITY_TEXT_MAX));
    assert_eq!(booked.identity.labels.len(), LABELS_MAX);
    assert!(booked.identity.heap_bytes() < 64 << 10, "{}", booked.identity.heap_bytes());
}

#[test]
fn a_changed_container_is_told_by_what_is_new() {
    let before = read(WEB, &[(Book::DockerHostConfig, fixture!("docker-plain-hostconfig.json"))]);
    let text = String::from_utf8_lossy(fixture!("docker-plain-hostconfig.json"))
        .replace(r#""Name":"no""#, r#""Name":"always""#)
        .replace(r#""Binds":null"#, r#""Binds":["/:/host"]"#)
        .replace(r#""Privileged":false"#, r#""Privileged":true"#);
    let after = read(WEB, &[(Book::DockerHostConfig, text.as_bytes())]);
    assert_eq!(
        changes(&before.service, &after.service),
        ["restart policy always instead of no", "-v /:/host is new", "--privileged is new"]
    );
    assert!(changes(&after.service, &after.service).is_empty());
    let back = changes(&after.service, &before.service);
    assert!(back.contains(&"--privileged is gone".to_owned()), "{back:?}");
}

#[test]
fn candidates_fit_the_engine() {
    let text = |paths: Vec<Vec<u8>>| paths.iter().map(|path| shown(path)).collect::<Vec<_>>().join("\n");
    let docker = text(candidates(WEB, Some("docker"), None));
    assert!(docker.contains(&format!("/var/lib/docker/containers/{WEB}/hostconfig.json")));
    assert!(!docker.contains("k8s.io") && !docker.contains("overlay-containers"), "{docker}");
    let bundle = format!("/home/ada/.local/share/containers/storage/overlay-containers/{WEB}/userdata");
    let rootless = text(candidates(WEB, Some("podman"), Some(bundle.as_bytes())));
    assert!(
        rootless.contains("/home/ada/.local/share/containers/storage/overlay-containers/containers.json")
    );
    assert!(rootless.ends_with(&format!("{bundle}/config.json\n/home/ada/.local/share/containers/storage/overlay-containers/containers.json")), "{rootless}");
    assert!(candidates(WEB, None, None).len() < 20);
    for path in candidates(WEB, None, Some(b"/srv/bundle")) {
        assert!(Book::of(&path).is_some(), "{}", shown(&path));
    }
}

proptest! {
    #[test]
    fn no_file_panics(
        content in proptest::collection::vec(any::<u8>(), 0..300),
        which in 0..6_usize,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let fixtures = [
            fixture!("docker-web-config.v2.json"),
            fixture!("docker-web-hostconfig.json"),
            fixture!("podman-containers.json"),
            fixture!("crio-pod-bundle.json"),
            fixture!("containerd-pod-bundle.json"),
            fixture!("runc-spec.json"),
        ];
        let mut damaged = fixtures[which].to_vec();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let cut = &fixtures[which][..at];
        for book in [Book::DockerConfig, Book::DockerHostConfig, Book::Bundle, Book::Storage, Book::Token] {
            for content in [&content, &damaged, &cut.to_vec()] {
                let booked = read(WEB, &[(book, content)]);
                prop_assert!(booked.identity.heap_bytes() < 64 << 10);
                prop_assert!(booked.service.access.options().count() <= 32);
            }
        }
    }
}
