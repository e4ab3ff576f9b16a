use proptest::prelude::*;

use super::*;
use crate::subject::container::access::Grant;

fn command(line: &str) -> Option<ContainerService> {
    parse(line.split(' ').filter(|arg| !arg.is_empty()).map(str::as_bytes), false, false)
}

fn found(line: &str) -> (String, String, Option<String>) {
    let service = command(line).unwrap_or_else(|| panic!("nothing in {line}"));
    (service.verb, service.restart_policy, service.image)
}

#[test]
fn every_spelling_of_a_policy_is_found() {
    for line in [
        "docker run --restart=always img",
        "docker run --restart always img",
        "docker run -d --restart always img sh -c true",
        "docker run -dit --restart=always --name x img",
        "docker -H tcp://h:2375 run --restart=always img",
        "docker --host=tcp://h:2375 --tlsverify -D run --restart=always img",
        "docker container run --restart=always img",
        "docker --context c container run -p 80:80 --restart=always img",
        "docker run -p80:80 -eA=B -v/:/h --restart=always img",
        "docker run -itv /:/h --restart=always img",
        "docker run --rm=false --restart=always img",
        "docker run --restart=no --restart=always img",
        "docker run -i -t -e --restart=no --restart=always -- img",
        "docker run -d=true --restart=always img --restart=no",
        "podman --remote run --restart=always img",
        "podman -r --url unix:///x run --replace --restart=always img",
        "podman --cgroup-manager cgroupfs --syslog run --tls-verify=false --restart always img",
        "nerdctl -n k8s.io --insecure-registry run -d --restart=always img",
    ] {
        assert_eq!(found(line), ("run".into(), "always".into(), Some("img".into())), "{line}");
    }
}

#[test]
fn policies_and_verbs() {
    for (line, verb, policy, image) in [
        ("docker create --restart unless-stopped img", "create", "unless-stopped", Some("img")),
        ("docker run --restart on-failure:3 img", "run", "on-failure:3", Some("img")),
        ("docker run --restart on-failure img", "run", "on-failure", Some("img")),
        ("docker update --restart=always c1 c2", "update", "always", Some("c1")),
        ("docker update c1 --restart=always", "update", "always", Some("c1")),
        ("docker container update --restart always c1", "update", "always", Some("c1")),
        ("podman pod create --restart always --name p", "pod create", "always", None),
    ] {
        assert_eq!(found(line), (verb.into(), policy.into(), image.map(Into::into)), "{line}");
    }
}

#[test]
fn what_sets_no_policy_is_nothing() {
    for line in [
        "docker",
        "docker run",
        "docker run img",
        "docker run --restart=no img",
        "docker run --restart= img",
        "docker run --restart=sometimes img",
        "docker run --restart=on-failure:x img",
        "docker run --restart=always",
        "docker run --restart=always --restart=no img",
        "docker run img --restart=always",
        "docker run -- img --restart=always",
        "docker run -e --restart=always img",
        "docker ps --restart=always img",
        "docker exec c run --restart=always img",
        "docker build --build-arg x=--restart=always .",
        "docker restart always",
        "sudo docker run --restart=always img",
        "docker container ls",
        "docker pod create --name x",
    ] {
        assert_eq!(command(line), None, "{line}");
    }
}

#[test]
fn an_unknown_program_must_speak_an_engines_language() {
    let strict = |line: &str| parse(line.split(' ').map(str::as_bytes), false, true).is_some();
    assert!(strict("x run -d --restart=always img"));
    assert!(strict("x -H tcp://h --debug container create --restart always img"));
    assert!(!strict("nsenter -t 1 -m run --restart=always img"));
    assert!(!strict("x --colour red run --restart=always img"));
    assert!(command("docker --colour red run --restart=always img").is_some());
}

#[test]
fn host_access_and_name() {
    let command = command(
        "docker run -d --name evil --privileged --pid=host --cap-add ALL -v /:/host --net host --restart=always img",
    )
    .expect("a policy");
    assert_eq!(command.name.as_deref(), Some("evil"));
    assert_eq!(command.access.grant(), Some(Grant::Full));
    assert_eq!(
        command.access.options().collect::<Vec<_>>(),
        ["--privileged", "--pid=host", "--cap-add=ALL", "-v /:/host", "--net=host"]
    );
}

#[test]
fn command_and_user() {
    let command = command("docker run -u 0:0 --restart=always --entrypoint sh img -c id").expect("a policy");
    assert_eq!((command.user.as_deref(), command.command.join(" ").as_str()), (Some("0:0"), "sh -c id"));
}

#[test]
fn privileged_can_be_taken_back() {
    let command =
        command("docker run --privileged --privileged=false --restart=always img").expect("a policy");
    assert_eq!(command.access.options().count(), 0);
    assert_eq!(command.access.grant(), None);
}

#[test]
fn a_cut_line_may_have_lost_its_image() {
    let args = || [&b"docker"[..], b"run", b"--restart=always"].into_iter();
    assert_eq!(parse(args(), false, false), None);
    assert_eq!(parse(args(), true, false).expect("a policy").image, None);
}

proptest! {
    #[test]
    fn no_arguments_panic(args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20)) {
        let _ = parse(args.iter().map(Vec::as_slice), false, false);
        let _ = parse(args.iter().map(Vec::as_slice), true, true);
    }

    #[test]
    fn the_policy_is_found_wherever_it_stands(
        mut options in proptest::sample::subsequence(
            vec!["-d", "-it", "--rm", "-p=80:80", "--name=x", "-v/a:/b", "--init", "--label=a=b", "-eX=Y"], 0..9),
        at in 0..10usize,
    ) {
        let at = at.min(options.len());
        options.insert(at, "--restart=unless-stopped");
        let line = format!("docker run {} img cmd", options.join(" "));
        let (_, policy, image) = found(&line);
        prop_assert_eq!(policy, "unless-stopped");
        prop_assert_eq!(image.as_deref(), Some("img"));
    }
}
