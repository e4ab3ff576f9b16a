use proptest::prelude::*;

use super::*;
use crate::subject::container::access::Grant;

fn one(text: &str) -> ContainerService {
    let manifest = Manifest::read(text.as_bytes());
    assert_eq!((manifest.fault, manifest.containers.len()), (None, 1), "{text}");
    manifest.containers.into_iter().next().expect("one")
}

fn options(service: &ContainerService) -> Vec<&str> {
    service.access.options().collect()
}

#[test]
fn a_static_pod_with_the_host() {
    let pod = one("
apiVersion: v1
kind: Pod
metadata: {name: node-agent, namespace: kube-system}
spec:
  hostPID: true
  hostNetwork: true
  nodeName: node-1
  serviceAccountName: clusterrole-aggregation-controller
  containers:
  - name: agent
    image: alpine:3
    command: [/bin/sh, -c]
    args: ['chroot /host sh -c id']
    securityContext:
      privileged: yes
      runAsUser: 0
      capabilities: {add: [SYS_ADMIN]}
    volumeMounts:
    - {name: root, mountPath: /host}
    - {name: cfg, mountPath: /etc/localtime, readOnly: true}
    - {name: data, mountPath: /data}
  volumes:
  - {name: root, hostPath: {path: /}}
  - {name: cfg, hostPath: {path: /etc/localtime}}
  - {name: data, emptyDir: {}}
");
    assert_eq!((&*pod.engine, &*pod.verb, &*pod.restart_policy), ("kubelet", "pod", "Always"));
    assert_eq!(pod.name.as_deref(), Some("node-agent/agent"));
    assert_eq!((pod.image.as_deref(), pod.user.as_deref()), (Some("alpine:3"), Some("0")));
    assert_eq!(pod.command, ["/bin/sh", "-c", "chroot /host sh -c id"]);
    assert_eq!(pod.access.grant(), Some(Grant::Full));
    assert_eq!(
        options(&pod),
        [
            "--pid=host",
            "--network=host",
            "--privileged",
            "--cap-add=SYS_ADMIN",
            "-v /:/host",
            "-v /etc/localtime:/etc/localtime:ro"
        ]
    );
}

#[test]
fn what_is_said_of_a_pod() {
    let manifest = Manifest::read(
        b"kind: DaemonSet\nmetadata: {name: x, namespace: kube-system}\nspec: {template: {spec: {\
          nodeSelector: {a: b}, serviceAccountName: admin, containers: [{name: c, image: i}]}}}\n",
    );
    assert_eq!(manifest.objects, ["DaemonSet kube-system/x"]);
    assert_eq!(
        manifest.notes,
        [
            "DaemonSet kube-system/x runs on every node",
            "it is pinned to nodes by their labels",
            "it has the rights of service account admin"
        ]
    );
}

#[test]
fn every_kind_with_a_template() {
    for (kind, path, policy) in [
        ("Pod", "spec: {POD}", "Always"),
        ("Deployment", "spec: {template: {spec: {POD}}}", "Always"),
        ("ReplicaSet", "spec: {template: {spec: {POD}}}", "Always"),
        ("StatefulSet", "spec: {template: {spec: {POD}}}", "Always"),
        ("DaemonSet", "spec: {template: {spec: {POD}}}", "Always"),
        ("Job", "spec: {template: {spec: {restartPolicy: OnFailure, POD}}}", "OnFailure"),
        ("Job", "spec: {template: {spec: {restartPolicy: Never, POD}}}", ""),
        (
            "CronJob",
            "spec: {schedule: '* * * * *', jobTemplate: {spec: {template: {spec: {POD}}}}}",
            "schedule * * * * *",
        ),
    ] {
        let pod = "containers: [{name: c, image: i}]";
        let text = format!("kind: {kind}\nmetadata: {{name: x}}\n{}\n", path.replace("POD", pod));
        let service = one(&text);
        assert_eq!((&*service.verb, &*service.restart_policy), (&*kind.to_lowercase(), policy), "{text}");
        let list = format!(
            "kind: List\nitems:\n- {{kind: {kind}, metadata: {{name: x}}, {}}}\n",
            path.replace("POD", pod)
        );
        assert_eq!(one(&list), service);
    }
}

#[test]
fn init_containers_and_several_documents_and_json() {
    let manifest = Manifest::read(
        b"kind: Pod\nspec: {initContainers: [{name: a, image: i, securityContext: {privileged: true}}], containers: [{name: b}]}\n\
          ---\n{\"kind\": \"Pod\", \"spec\": {\"containers\": [{\"name\": \"c\"}]}}\n---\nkind: ConfigMap\n",
    );
    let names: Vec<_> = manifest.containers.iter().map(|one| one.name.clone().unwrap_or_default()).collect();
    assert_eq!(names, ["b", "a", "c"]);
    assert_eq!(manifest.worst().expect("one").name.as_deref(), Some("a"));
    assert_eq!(manifest.objects.len(), 3);
}

#[test]
fn compose_files() {
    let web = one("
services:
  web:
    image: evil
    restart: always
    privileged: true
    pid: host
    network_mode: host
    ipc: host
    cap_add: [ALL]
    devices: ['/dev/sda:/dev/x']
    security_opt: ['apparmor:unconfined']
    entrypoint: sh -c
    command: ['id']
    user: '0'
    volumes:
    - /:/host
    - {type: bind, source: /etc, target: /x}
    - units:/u
    - data:/data
volumes:
  units: {driver: local, driver_opts: {type: none, o: bind, device: /etc/systemd/system}}
  data: {}
");
    assert_eq!((&*web.engine, &*web.restart_policy, web.name.as_deref()), ("compose", "always", Some("web")));
    assert_eq!((web.command.join(" "), web.user.as_deref()), ("sh -c id".into(), Some("0")));
    assert_eq!(
        options(&web),
        [
            "--privileged",
            "--pid=host",
            "--network=host",
            "--ipc=host",
            "--cap-add=ALL",
            "--device=/dev/sda:/dev/x",
            "--security-opt=apparmor:unconfined",
            "-v /:/host",
            "-v /etc",
            "-v /etc/systemd/system:/u"
        ]
    );
}

#[test]
fn restart_of_compose() {
    for (said, policy) in [
        ("restart: 'no'", ""),
        ("restart: no", ""),
        ("image: x", ""),
        ("restart: unless-stopped", "unless-stopped"),
        ("restart: on-failure:3", "on-failure:3"),
        ("deploy: {restart_policy: {condition: any}}", "any"),
        ("deploy: {restart_policy: {condition: none}}", ""),
    ] {
        assert_eq!(one(&format!("services:\n  a: {{{said}}}\n")).restart_policy, policy, "{said}");
    }
}

#[test]
fn everyday_pods_are_given_nothing() {
    let pod = one(
        "kind: Pod\nspec: {containers: [{name: c, image: nginx, securityContext: {privileged: false}, \
                   volumeMounts: [{name: v, mountPath: /etc}]}], volumes: [{name: v, configMap: {name: x}}]}\n",
    );
    assert_eq!(pod.access.grant(), None);
}

#[test]
fn lists_without_end_end() {
    let mut text = "kind: Pod".to_owned();
    for _ in 0..10 {
        text = format!("kind: List, items: [{{{text}}}]");
    }
    let manifest = Manifest::read(format!("{{{text}}}").as_bytes());
    assert_eq!(manifest.objects.len(), 0);
    let many = format!("kind: Pod\nspec: {{containers: [{}]}}\n", "{name: c}, ".repeat(1000));
    assert_eq!(Manifest::read(many.as_bytes()).containers.len(), CONTAINERS_MAX);
}

proptest! {
    #[test]
    fn no_shape_panics(
        text in "((kind|spec|template|containers|volumes|services|items|restart|metadata|name|hostPath|command): ?\
                  (Pod|List|DaemonSet|\\{|\\[|\\}|\\]|x|true|\n  |\n- |\n|, ){1,3}){0,14}"
    ) {
        let _any_answer = Manifest::read(text.as_bytes());
    }
}
