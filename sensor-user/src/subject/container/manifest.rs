//! Manifests: what Kubernetes' objects and compose files say of containers.
//!
//! Of Kubernetes: every object with a pod, or the template of one (Pod, `DaemonSet`, Deployment, `ReplicaSet`,
//! `StatefulSet`, Job, `CronJob`, and Lists of them), by the fields of the API's reference, core/v1 `PodSpec`. Of compose:
//! the services of the Compose Specification. Which of the two a document is, its keys tell.

use serde_json::Value;

use super::service::{ContainerService, Source};
use super::yaml::{self, Fault, as_text};

/// Containers of a file that are looked at.
pub const CONTAINERS_MAX: usize = 64;
/// Objects of a file, those in Lists included.
const OBJECTS_MAX: usize = 256;
/// Lists inside of Lists.
const LISTS_MAX: usize = 4;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its containers, [`CONTAINERS_MAX`] at most.
    pub containers: Vec<ContainerService>,
    /// What else there is to say of it: a sentence each.
    pub notes: Vec<String>,
    /// Names of its objects: `DaemonSet kube-system/x`.
    pub objects: Vec<String>,
    /// Why not all of it was read.
    pub fault: Option<Fault>,
}

impl Manifest {
    /// Reads a file.
    pub fn read(text: &[u8]) -> Self {
        let (documents, fault) = yaml::documents(text);
        let mut manifest = Self { fault, ..Self::default() };
        for document in &documents {
            if document.get("services").is_some_and(Value::is_object) && document.get("kind").is_none() {
                manifest.compose(document);
            } else {
                manifest.object(document, 0);
            }
        }
        manifest
    }

    /// The container that is given most of the host; the first of equals.
    pub fn worst(&self) -> Option<&ContainerService> {
        self.containers.iter().reduce(
            |worst, other| {
                if other.access.grant() > worst.access.grant() { other } else { worst }
            },
        )
    }

    fn object(&mut self, object: &Value, lists: usize) {
        let kind = as_text(&object["kind"]);
        if let (Some(items), true) = (object["items"].as_array(), kind.ends_with("List")) {
            for item in items.iter().take(OBJECTS_MAX).filter(|_| lists < LISTS_MAX) {
                self.object(item, lists + 1);
            }
            return;
        }
        if kind.is_empty() || self.objects.len() == OBJECTS_MAX {
            return;
        }
        let metadata = &object["metadata"];
        let (name, namespace) = (as_text(&metadata["name"]), as_text(&metadata["namespace"]));
        let full =
            [&*namespace, &*name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        self.objects.push(format!("{kind} {full}"));
        let spec = &object["spec"];
        let pod = match &*kind {
            "Pod" => spec,
            "CronJob" => &spec["jobTemplate"]["spec"]["template"]["spec"],
            _ => &spec["template"]["spec"],
        };
        if !pod.is_object() {
            return;
        }
        let policy = match &*kind {
            "CronJob" => format!("schedule {}", as_text(&spec["schedule"])),
            _ => match &*as_text(&pod["restartPolicy"]) {
                "Never" => String::new(),
                "" => "Always".to_owned(),
                other => other.to_owned(),
            },
        };
        if kind == "DaemonSet" {
            self.note(format!("DaemonSet {full} runs on every node"));
        }
        self.pod(pod, &kind, &name, &policy);
    }

    fn pod(&mut self, pod: &Value, kind: &str, name: &str, policy: &str) {
        let on = |value: &Value| value == &Value::Bool(true);
        if let Some(node) = pod["nodeName"].as_str() {
            self.note(format!("it is pinned to node {node}, past the scheduler"));
        }
        if pod["nodeSelector"].as_object().is_some_and(|labels| !labels.is_empty()) {
            self.note("it is pinned to nodes by their labels".to_owned());
        }
        let account = as_text(&pod["serviceAccountName"]);
        if !account.is_empty() && account != "default" {
            self.note(format!("it has the rights of service account {account}"));
        }
        let volumes: Vec<(&str, &str)> = list(&pod["volumes"])
            .filter_map(|volume| Some((volume["name"].as_str()?, volume["hostPath"]["path"].as_str()?)))
            .collect();
        for group in ["containers", "initContainers", "ephemeralContainers"] {
            for container in list(&pod[group]) {
                let mut service = ContainerService {
                    source: Source::Manifest,
                    engine: "kubelet".to_owned(),
                    verb: kind.to_ascii_lowercase(),
                    restart_policy: policy.to_owned(),
                    name: Some(named(name, &as_text(&container["name"]))),
                    image: container["image"].as_str().map(str::to_owned),
                    ..ContainerService::default()
                };
                for key in ["command", "args"] {
                    list(&container[key]).for_each(|argument| service.argument(as_text(argument)));
                }
                let access = &mut service.access;
                for (key, option) in [("hostPID", "pid"), ("hostNetwork", "network"), ("hostIPC", "ipc")] {
                    if on(&pod[key]) {
                        access.option(option, b"host");
                    }
                }
                let own = &container["securityContext"];
                access.privileged(on(&own["privileged"]));
                for capability in list(&own["capabilities"]["add"]) {
                    access.option("cap-add", as_text(capability).as_bytes());
                }
                for context in [own, &pod["securityContext"]] {
                    for (key, what) in [("seccompProfile", "seccomp"), ("appArmorProfile", "apparmor")] {
                        if context[key]["type"] == "Unconfined" {
                            access.option("security-opt", format!("{what}=unconfined").as_bytes());
                        }
                    }
                }
                if own["procMount"] == "Unmasked" {
                    access.option("security-opt", b"unmask=ALL");
                }
                for mount in list(&container["volumeMounts"]) {
                    let volume = volumes.iter().find(|(name, _)| mount["name"] == **name);
                    if let Some((_, host)) = volume {
                        let read_only = if on(&mount["readOnly"]) { ":ro" } else { "" };
                        let target = as_text(&mount["mountPath"]);
                        access.option("v", format!("{host}:{target}{read_only}").as_bytes());
                    }
                }
                let user = [&own["runAsUser"], &pod["securityContext"]["runAsUser"]];
                service.user = user.into_iter().map(as_text).find(|user| !user.is_empty());
                self.add(service);
            }
        }
    }

    fn compose(&mut self, document: &Value) {
        let project = as_text(&document["name"]);
        for (name, own) in document["services"].as_object().into_iter().flatten() {
            self.objects.push(format!("service {name}"));
            let mut service = ContainerService {
                source: Source::Manifest,
                engine: "compose".to_owned(),
                verb: "up".to_owned(),
                restart_policy: restart(own),
                name: Some(match &*as_text(&own["container_name"]) {
                    "" => named(&project, name),
                    given => given.to_owned(),
                }),
                image: own["image"].as_str().map(str::to_owned),
                user: Some(as_text(&own["user"])).filter(|user| !user.is_empty()),
                ..ContainerService::default()
            };
            for key in ["entrypoint", "command"] {
                match &own[key] {
                    Value::Array(all) => all.iter().for_each(|argument| service.argument(as_text(argument))),
                    Value::String(line) => {
                        line.split_whitespace().for_each(|argument| service.argument(argument));
                    }
                    _ => {}
                }
            }
            let access = &mut service.access;
            access.privileged(own["privileged"] == Value::Bool(true));
            for (key, option) in [
                ("pid", "pid"),
                ("network_mode", "network"),
                ("ipc", "ipc"),
                ("uts", "uts"),
                ("userns_mode", "userns"),
                ("cgroup", "cgroupns"),
            ] {
                access.option(option, as_text(&own[key]).as_bytes());
            }
            for (key, option) in
                [("cap_add", "cap-add"), ("devices", "device"), ("security_opt", "security-opt")]
            {
                for value in list(&own[key]) {
                    let text = if value.is_object() { as_text(&value["source"]) } else { as_text(value) };
                    access.option(option, text.as_bytes());
                }
            }
            for volume in list(&own["volumes"]) {
                let source = if volume.is_object() { as_text(&volume["source"]) } else { as_text(volume) };
                // A named volume may be a bind mount by another name.
                let (name, rest) = source.split_once(':').unwrap_or((&source, ""));
                let device = as_text(&document["volumes"][name]["driver_opts"]["device"]);
                let source = if device.is_empty() { source } else { format!("{device}:{rest}") };
                access.option("v", source.as_bytes());
            }
            self.add(service);
        }
    }

    fn add(&mut self, service: ContainerService) {
        if self.containers.len() < CONTAINERS_MAX {
            self.containers.push(service);
        }
    }

    fn note(&mut self, note: String) {
        const NOTES_MAX: usize = 8;
        if self.notes.len() < NOTES_MAX && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// `restart:`, or what it is called for swarm.
fn restart(service: &Value) -> String {
    let own = as_text(&service["restart"]);
    let deployed = as_text(&service["deploy"]["restart_policy"]["condition"]);
    match (&*own, &*deployed) {
        // `restart: no` without quotes is false.
        ("" | "no" | "false", "" | "none") => String::new(),
        ("" | "no" | "false", _) => deployed,
        _ => own,
    }
}

fn named(outer: &str, inner: &str) -> String {
    [outer, inner].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
