//! Container agents that run: what their command lines lead to is watched and read, and what is asked of them by files is a
//! finding once the files are known.

use super::client::RECENT_CLIENT;
use super::containers::tell_manifest;
use super::detector::Detector;
use super::file::{Awaiting, Reads};
use super::finding::{Finding, Who};
use super::rules;
use super::score::Reason;
use crate::event::content::{Expected, FileContent, Want};
use crate::event::decode::ExecEvent;
use crate::event::path::lossy;
use crate::event::user::WatchClass;
use crate::lineage::Lineage;
use crate::lineage::actor::{Container, Requester};
use crate::lineage::cgroup;
use crate::lineage::image::{Image, base_name};
use crate::lineage::table::Handle;
use crate::subject::adjacent::containers::{is_runtime, is_runtime_name};
use crate::subject::container::access::Grant;
use crate::subject::container::asked::{self, Distribution, Kubelet};
use crate::subject::container::manifest::Manifest;
use crate::subject::container::settings::static_pod_path;
use crate::subject::place::resolve_target;
use crate::subject::tools::{Family, Tool};

/// Where files come and go: what runs from there is not what an engine is made of.
const FLEETING: [&str; 5] = ["/tmp/", "/var/tmp/", "/dev/shm/", "/proc/", "/home/"];

/// Programs that have a kubelet within: k3s, rke2, `MicroK8s`' daemon.
const KUBELETS: [&[u8]; 3] = [b"k3s", b"rke2", b"kubelite"];

/// Processes above a client that are remembered with a container.
const ASKERS_LINE: usize = 8;

impl Detector {
    /// A program that makes containers, or a kubelet, runs on the host: its file, and what it goes by, are watched from now
    /// on.
    pub(super) fn agent_runs(&mut self, image: &Image<'_>, foreign: bool) {
        let within = KUBELETS.contains(&image.exe_name());
        if foreign || !within && !is_runtime_name(image.exe_name()) {
            return;
        }
        if let Ok(exe) = std::str::from_utf8(image.exe) {
            if is_runtime(exe) && !FLEETING.iter().any(|directory| exe.starts_with(directory)) {
                self.follow_configured(image.exe, WatchClass::RuntimeProgram);
            }
        }
        let kubelet = if asked::is_kubelet(image.exe) {
            asked::kubelet(image.arguments())
        } else if within {
            self.distribution_runs(image)
        } else {
            return;
        };
        let Some(Kubelet { config, config_directory, static_pods, .. }) = kubelet else { return };
        if let Some(path) = config {
            self.follow_kubelet_config(absolute(image.cwd, &path));
        }
        for (path, class) in
            [(config_directory, WatchClass::KubeletConfig), (static_pods, WatchClass::StaticPod)]
        {
            if let Some(path) = path {
                self.follow_configured(&absolute(image.cwd, &path), class);
            }
        }
    }

    /// A Kubernetes in one program: where it keeps what a kubelet goes by, and the arguments of its kubelet.
    fn distribution_runs(&mut self, image: &Image<'_>) -> Option<Kubelet> {
        let Distribution { kubelet, data, arguments } = asked::distribution(image.arguments());
        if let Some(data) = data {
            let data = absolute(image.cwd, &data);
            for (below, class) in [
                (&b"/agent/pod-manifests"[..], WatchClass::StaticPod),
                (b"/server/manifests", WatchClass::ClusterManifest),
            ] {
                self.follow_configured(&[&data, below].concat(), class);
            }
        }
        if let Some(path) = arguments {
            self.follow_kubelet_config(absolute(image.cwd, &path));
        }
        kubelet
    }

    /// Has a kubelet's configuration read now, and watched.
    fn follow_kubelet_config(&mut self, path: Vec<u8>) {
        self.want(Want::File { path: path.clone(), expected: Expected::Anything });
        self.follow_configured(&path, WatchClass::KubeletConfig);
        self.kubelet_configs.insert(path, ());
    }

    /// A kubelet's configuration was read: its directory of static pods is watched.
    pub(super) fn kubelet_configured(&mut self, content: &FileContent, written: bool) {
        let Some(file) = content.found.regular() else { return };
        if written || self.kubelet_configs.get(&content.path).is_some() {
            if let Some(path) = static_pod_path(&file.content) {
                self.follow_configured(path.as_bytes(), WatchClass::StaticPod);
            }
        }
    }

    /// A control group was made: where it is a container's, whoever asks the engine just now asked for it.
    pub fn group_asked_for(&mut self, now: u64, path: &[u8], lineage: &mut Lineage) {
        let Some(container) = cgroup::container(path) else { return };
        if self.container_askers.get(&container.id).is_some() {
            return;
        }
        if let Some(mut asker) = self.asker(Some(&container), now, lineage) {
            asker.ancestors_truncated |= asker.processes.len() > ASKERS_LINE;
            asker.processes.truncate(ASKERS_LINE);
            self.container_askers.insert(container.id, asker);
        }
    }

    /// Who probably asked the engine for what a process does: for the container that it runs in, or for what the engine
    /// itself does on request (`docker cp`).
    pub(super) fn asked_of_engine(&self, now: u64, who: &Who, lineage: &mut Lineage) -> Option<Requester> {
        let group = lineage.cgroups().path(who.task.cgroup_id).unwrap_or_default();
        if let Some(container) = cgroup::container(group) {
            return self.container_askers.get(&container.id).cloned();
        }
        if !lineage.line(who.handle).any(|at| self.is_engine(lineage, at)) {
            return None;
        }
        self.asker(None, now, lineage)
    }

    /// Whoever asks an engine just now, for this container where it is known: by their request, else by having run an
    /// engine's command; an engine that asks another one where nobody else does.
    fn asker(&self, container: Option<&Container>, now: u64, lineage: &mut Lineage) -> Option<Requester> {
        if let Some(client) = self.engines.requester(container, now, false) {
            return Some(client);
        }
        let podmans =
            container.and_then(|container| container.runtime.as_deref()).map(|name| name == "podman");
        let fits = |image: &Image<'_>| {
            let tool = self.tools.recognise(image).map(|found| found.tool().name);
            podmans.is_none_or(|podmans| tool.is_some_and(|name| name.starts_with("podman")) == podmans)
        };
        let client = self.engine_clients.of_engine(lineage, now, fits);
        client
            .and_then(|client| lineage.requester(client, RECENT_CLIENT))
            .or_else(|| self.engines.requester(container, now, true))
    }

    /// A kubelet that is no service's.
    pub(super) fn kubelet_started(
        &self,
        exec: &ExecEvent<'_>,
        handle: Handle,
        lineage: &Lineage,
    ) -> Option<Finding> {
        let image = lineage.image(handle)?;
        if !asked::is_kubelet(image.exe) && base_name(image.arguments().next()?) != b"kubelet" {
            return None;
        }
        let kubelet = asked::kubelet(image.arguments())?;
        let task = &exec.record.task;
        let group = lineage.cgroups().path(task.cgroup_id).unwrap_or_default();
        let service = cgroup::unit(group).is_some_and(|unit| unit.ends_with(".service"));
        if service && task.loginuid == u32::MAX && cgroup::container(group).is_none() {
            return None;
        }
        // rke2 and its like bring a kubelet of their own.
        if lineage.line(handle).nth(1).is_some_and(|parent| self.is_engine(lineage, parent)) {
            return None;
        }
        let subject = lossy(image.exe).into_owned();
        let mut finding =
            Finding::new(&rules::KUBELET_STARTED, exec.record.header.boottime_ns, "process_exec", subject)
                .by(Some(Who { handle, task: *task }));
        finding.event_type = "start";
        if kubelet.kubeconfig.is_none() {
            finding.reason(10, "it has no kubeconfig: it runs static pods, and no cluster knows of it");
        }
        if let Some(path) = &kubelet.static_pods {
            finding.reason(5, format!("it takes static pods out of {}", lossy(path)));
        }
        if let Some(url) = &kubelet.manifest_url {
            finding.reason(15, format!("it fetches static pods from {}", lossy(url)));
        }
        if let Some(path) = kubelet.root_directory.filter(|path| path != b"/var/lib/kubelet") {
            finding.reason(10, format!("it keeps its own books in {}", lossy(&path)));
        }
        Some(finding)
    }

    /// A command that applies manifests: what it is about the files say, so nothing is told before they are read.
    pub(super) fn asked_by_manifest(
        &mut self,
        exec: &ExecEvent<'_>,
        handle: Handle,
        tool: &Tool,
        lineage: &Lineage,
    ) {
        let foreign = lineage.entry(handle).is_some_and(|entry| lineage.is_foreign(entry.mnt_ns));
        if foreign || !matches!(tool.family, Family::ContainerEngine | Family::ContainerTool) {
            return;
        }
        let Some(image) = lineage.image(handle) else { return };
        let Some(asked) = asked::asked(tool.name, image.arguments()) else { return };
        for file in asked.files {
            let path = absolute(image.cwd, &file);
            let subject = format!("{} {} {}", asked.engine, asked.verb, lossy(&path));
            let time = exec.record.header.boottime_ns;
            let mut finding = Finding::new(&rules::MANIFEST_APPLIED, time, "process_exec", subject)
                .by(Some(Who { handle, task: exec.record.task }));
            finding.event_type = "creation";
            self.want(Want::File { path: path.clone(), expected: Expected::Anything });
            self.await_as(
                &path,
                Awaiting::of_manifest(
                    finding,
                    Reads::Asked { engine: asked.engine.clone(), verb: asked.verb },
                ),
            );
        }
    }
}

/// What a manifest that was asked for by a command comes to; `None` where nothing in it comes back by itself and nothing is
/// given the host.
pub(super) fn applied(
    mut finding: Finding,
    engine: &str,
    verb: &str,
    content: &FileContent,
) -> Option<Finding> {
    let file = content.found.regular()?;
    let manifest = Manifest::read(&file.content);
    let matters = |service: &crate::subject::container::service::ContainerService| {
        service.comes_back() || service.access.grant() == Some(Grant::Full)
    };
    if !manifest.containers.iter().any(matters) {
        return None;
    }
    finding.reasons.push(Reason { points: 0, text: format!("described in {}", lossy(&content.path)) });
    tell_manifest(&mut finding, &manifest);
    if let Some(service) = &mut finding.container_service {
        engine.clone_into(&mut service.engine);
        verb.clone_into(&mut service.verb);
    }
    // What a cluster is asked for is its own business, unless the host is given away.
    if verb == "apply" && manifest.worst().and_then(|worst| worst.access.grant()) != Some(Grant::Full) {
        finding.reason(-20, "asked of a cluster, which decides who may");
    }
    Some(finding)
}

/// A path of a command line from its directory.
pub(super) fn absolute(directory: &[u8], path: &[u8]) -> Vec<u8> {
    resolve_target(&[directory, b"/x"].concat(), path)
}
