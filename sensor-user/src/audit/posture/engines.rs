//! How container engines are set up: registries that are not verified (M1033, Limit Software Installation; M1045, Code
//! Signing), and what bounds containers (M1028, Operating System Configuration; M1054, Software Configuration).

use serde_json::Value;

use super::{Check, read, read_all};
use crate::detect::rule::Severity;
use crate::proof::inventory::survey::Survey;
use crate::source::content::Root;
use crate::subject::service::Scope;
use crate::subject::unit::effective::State;

const DAEMON: &str = "/etc/docker/daemon.json";

pub(super) fn check(root: &Root, survey: &Survey, found: &mut Vec<Check>) {
    let text = read(root, DAEMON);
    let daemon: Value = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null);
    registries(root, &daemon, found);
    accepts_anything(root, found);
    // An engine that is not there needs no options.
    let unit = survey.units.iter().find(|unit| {
        unit.name == b"docker.service" && unit.scope == Scope::System && unit.state == State::Loaded
    });
    let Some(unit) = unit else { return };
    let arguments: Vec<String> = unit
        .commands
        .iter()
        .flat_map(|run| &run.command.argv)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let told = |option: &str| {
        let long = format!("--{option}");
        arguments
            .iter()
            .any(|word| *word == long || word.strip_prefix(&long).is_some_and(|rest| rest.starts_with('=')))
    };
    let mut missing = Vec::new();
    if daemon["userns-remap"].as_str().is_none_or(str::is_empty) && !told("userns-remap") {
        missing.push("userns-remap: root in a container is root of the host".to_owned());
    }
    if daemon["no-new-privileges"] != Value::Bool(true) && !told("no-new-privileges") {
        missing.push("no-new-privileges: setuid programs in containers give privileges".to_owned());
    }
    found.push(Check {
        id: "posture.engine.hardening",
        mitigations: &["M1028", "M1054"],
        severity: Severity::Info,
        title: "docker.service runs containers without".to_owned(),
        evidence: missing,
        advice: "Set them in /etc/docker/daemon.json, or use a rootless engine (dockerd(8)).",
    });
    let hosts = daemon["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let given = arguments.iter().filter_map(|word| word.split('=').next_back()).map(str::to_owned);
    let open: Vec<String> = hosts.chain(given).filter(|host| host.starts_with("tcp://")).collect();
    let verified = daemon["tlsverify"] == Value::Bool(true) || told("tlsverify");
    found.push(Check {
        id: "posture.engine.exposed",
        mitigations: &["M1028", "M1054"],
        severity: Severity::High,
        title: "docker obeys whoever connects over the network".to_owned(),
        evidence: if verified { Vec::new() } else { open },
        advice: "Listen on a Unix socket alone, or set tlsverify with a CA of its own (dockerd(8)).",
    });
}

fn registries(root: &Root, daemon: &Value, found: &mut Vec<Check>) {
    let mut evidence = Vec::new();
    for host in daemon["insecure-registries"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        evidence.push(format!("{DAEMON}: {host}"));
    }
    // containers-registries.conf(5)
    let mut files = read_all(root, "/etc/containers/registries.conf.d", ".conf");
    files.extend(
        read(root, "/etc/containers/registries.conf")
            .map(|text| ("/etc/containers/registries.conf".to_owned(), text)),
    );
    for (path, text) in files {
        let Ok(settings) = toml::from_str::<Value>(&text) else { continue };
        for registry in settings["registry"].as_array().into_iter().flatten() {
            let mirrors = registry["mirror"].as_array().into_iter().flatten();
            for one in std::iter::once(registry).chain(mirrors) {
                if one["insecure"] == Value::Bool(true) {
                    let name = one["location"].as_str().or(one["prefix"].as_str()).unwrap_or("a registry");
                    evidence.push(format!("{path}: {name}"));
                }
            }
        }
        // Version 1 of the format.
        for host in settings["registries"]["insecure"]["registries"].as_array().into_iter().flatten() {
            evidence.extend(host.as_str().map(|host| format!("{path}: {host}")));
        }
    }
    // containerd's hosts.toml (docs/hosts.md)
    for name in root.names(b"/etc/containerd/certs.d", 4096).unwrap_or_default() {
        let path = format!("/etc/containerd/certs.d/{}/hosts.toml", String::from_utf8_lossy(&name));
        let settings =
            read(root, &path).and_then(|text| toml::from_str::<Value>(&text).ok()).unwrap_or(Value::Null);
        let hosts = settings["host"].as_object().into_iter().flatten();
        let skipped = hosts.filter(|(_, host)| host["skip_verify"] == Value::Bool(true));
        evidence.extend(skipped.map(|(host, _)| format!("{path}: {host}")));
    }
    found.push(Check {
        id: "posture.registry.insecure",
        mitigations: &["M1033", "M1045"],
        severity: Severity::Medium,
        title: "images are taken from registries whose identity is not verified".to_owned(),
        evidence,
        advice: "Give the registry a certificate, and remove the exception.",
    });
}

fn accepts_anything(root: &Root, found: &mut Vec<Check>) {
    const POLICY: &str = "/etc/containers/policy.json";
    let policy: Value =
        read(root, POLICY).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null);
    let default = policy["default"].as_array().into_iter().flatten();
    let anything = default.filter(|rule| rule["type"] == "insecureAcceptAnything");
    found.push(Check {
        id: "posture.registry.unsigned",
        mitigations: &["M1033", "M1045"],
        // So it comes from every distribution.
        severity: Severity::Info,
        title: "images are taken without a signature".to_owned(),
        evidence: anything.map(|_| format!("{POLICY}: the default is insecureAcceptAnything")).collect(),
        advice: "Require signatures of the registries in use (containers-policy.json(5)).",
    });
}
