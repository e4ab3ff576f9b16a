//! What engines' configuration files and hooks say that has other programs run, opens an engine to others, or takes
//! images from elsewhere.
//!
//! The files have a dozen grammars of keys in three syntaxes (JSON, TOML, YAML). What counts are a few keys whose names say
//! by themselves what they do, wherever they stand: dockerd(8), docker's config.json, containerd-config.toml(5), crio.conf(5),
//! containers.conf(5), containers-storage.conf(5), containers-registries.conf(5), oci-hooks(5), CDI's SPEC.md, kubelet's
//! `KubeletConfiguration` (v1beta1).

use serde_json::Value;

use super::access::{Grant, host_access};
use super::yaml::{as_text, documents};
use crate::subject::unit::signals::{Signal, Weight, command};

/// Signals of one file.
const SIGNALS_MAX: usize = 24;
/// Values of a file that are looked at.
const VALUES_MAX: usize = 20_000;

/// What a key's value means.
#[derive(Clone, Copy)]
enum Meaning {
    /// A program, or several, that is run as root. Where packages put programs it is only noted.
    Program,
    /// A directory out of which programs, or what names programs, are taken.
    Programs,
    /// Addresses; those of the network count.
    Listen,
    /// Said with any value but an empty one.
    Said(Weight),
    /// Said by this value.
    Is(&'static str, Weight),
    /// As an option of `run`, in every container.
    Option(&'static str),
}

/// Keys in lower case, without `-` and `_`; what they are told as; the sentence.
const KEYS: &[(&str, &str, Meaning, &str)] = &[
    ("hosts", "engine.listens", Meaning::Listen, "the engine's API listens on the network"),
    (
        "tcpaddress",
        "engine.listens",
        Meaning::Said(Weight::Strong),
        "the engine's API listens on the network",
    ),
    ("binaryname", "engine.runtime", Meaning::Program, "containers are made by"),
    ("runtimepath", "engine.runtime", Meaning::Program, "containers are made by"),
    ("monitorpath", "engine.monitor", Meaning::Program, "containers are supervised by"),
    ("conmon", "engine.monitor", Meaning::Program, "containers are supervised by"),
    ("conmonpath", "engine.monitor", Meaning::Program, "containers are supervised by"),
    ("initpath", "engine.init", Meaning::Program, "in containers init is"),
    ("initbinary", "engine.init", Meaning::Program, "in containers init is"),
    ("pinnspath", "engine.runtime", Meaning::Program, "namespaces are made by"),
    ("networkcmdpath", "engine.network", Meaning::Program, "networks are made by"),
    ("helperbinariesdir", "engine.programs", Meaning::Programs, "helpers are taken out of"),
    ("plugindirs", "engine.programs", Meaning::Programs, "plugins are taken out of"),
    ("cniplugindirs", "engine.programs", Meaning::Programs, "CNI plugins are taken out of"),
    ("bindir", "engine.programs", Meaning::Programs, "CNI plugins are taken out of"),
    ("pluginpath", "engine.programs", Meaning::Programs, "plugins are taken out of"),
    ("clipluginsextradirs", "engine.programs", Meaning::Programs, "docker's plugins are taken out of"),
    ("hooksdir", "engine.hooks", Meaning::Programs, "OCI hooks are taken out of"),
    ("cdispecdirs", "engine.hooks", Meaning::Programs, "CDI devices are taken out of"),
    ("defaultruntime", "engine.runtime", Meaning::Said(Weight::Note), "the default runtime is"),
    (
        "credsstore",
        "engine.credentials",
        Meaning::Said(Weight::Note),
        "passwords are kept by docker-credential-",
    ),
    (
        "insecureregistries",
        "engine.insecure-registry",
        Meaning::Said(Weight::Weak),
        "images are taken unverified from",
    ),
    (
        "insecureskipverify",
        "engine.insecure-registry",
        Meaning::Is("true", Weight::Weak),
        "certificates of registries are not verified",
    ),
    (
        "skipverify",
        "engine.insecure-registry",
        Meaning::Is("true", Weight::Weak),
        "certificates of registries are not verified",
    ),
    ("insecure", "engine.insecure-registry", Meaning::Is("true", Weight::Weak), "a registry is not verified"),
    ("registrymirrors", "engine.registry", Meaning::Said(Weight::Weak), "images are taken from the mirror"),
    ("dataroot", "engine.data", Meaning::Said(Weight::Weak), "containers and images lie in"),
    ("graphroot", "engine.data", Meaning::Said(Weight::Note), "containers and images lie in"),
    ("additionalimagestores", "engine.data", Meaning::Said(Weight::Weak), "images lie in, too:"),
    (
        "authorizationplugins",
        "engine.authorization",
        Meaning::Said(Weight::Note),
        "who may do what is decided by",
    ),
    (
        "seccompprofile",
        "engine.confinement",
        Meaning::Is("unconfined", Weight::Strong),
        "system calls of containers are not filtered",
    ),
    (
        "nopivotroot",
        "engine.confinement",
        Meaning::Is("true", Weight::Strong),
        "containers do not leave the host's root",
    ),
    ("privileged", "engine.confinement", Meaning::Is("true", Weight::Strong), "containers are privileged"),
    ("volumes", "engine.every-container", Meaning::Option("v"), "in every container"),
    ("devices", "engine.every-container", Meaning::Option("device"), "in every container"),
    ("defaultcapabilities", "engine.every-container", Meaning::Option("cap-add"), "in every container"),
    ("pidns", "engine.every-container", Meaning::Option("pid"), "in every container"),
    ("netns", "engine.every-container", Meaning::Option("network"), "in every container"),
    ("ipcns", "engine.every-container", Meaning::Option("ipc"), "in every container"),
    ("staticpodpath", "kubelet.static-pods", Meaning::Said(Weight::Note), "static pods are taken out of"),
    ("staticpodurl", "kubelet.static-pods", Meaning::Said(Weight::Strong), "static pods are fetched from"),
    ("manifesturl", "kubelet.static-pods", Meaning::Said(Weight::Strong), "static pods are fetched from"),
    ("readonlyport", "kubelet.open", Meaning::Said(Weight::Weak), "kubelet answers everybody on port"),
    (
        "mode",
        "kubelet.open",
        Meaning::Is("AlwaysAllow", Weight::Strong),
        "kubelet's API asks nobody for authority",
    ),
    (
        "anonymousauth",
        "kubelet.open",
        Meaning::Is("true", Weight::Strong),
        "kubelet's API is open to everybody",
    ),
    ("volumeplugindir", "engine.programs", Meaning::Programs, "FlexVolume drivers are taken out of"),
    (
        "imagecredentialproviderbindir",
        "engine.programs",
        Meaning::Programs,
        "credential providers are taken out of",
    ),
];

/// What there is to say of a file at `path`. `hook` tells that it names what runs beside containers: then every `path` in
/// it is a program.
pub fn signals(path: &[u8], text: &[u8], hook: bool) -> Vec<Signal> {
    let mut found = Found { signals: Vec::new(), left: VALUES_MAX, hook };
    let begins = text.trim_ascii_start().first();
    let toml = || toml::from_str::<Value>(std::str::from_utf8(text).ok()?).ok();
    if begins == Some(&b'{') {
        let (read, fault) = documents(text);
        for document in &read {
            found.look("", document, "");
        }
        found.refused(fault.is_some(), "JSON");
    } else if path.ends_with(b".yaml") || path.ends_with(b".yml") {
        let (read, fault) = documents(text);
        for document in &read {
            found.look("", document, "");
        }
        found.refused(fault.is_some(), "YAML");
    } else if let Some(value) = toml().filter(|_| path.ends_with(b".toml") || path.ends_with(b".conf")) {
        found.look("", &value, "");
    } else {
        found.flags(text);
    }
    found.signals
}

/// The directory of static pods that a kubelet's configuration names: its own (`staticPodPath`), that of k3s and rke2
/// (`kubelet-arg`), or a file of arguments (kubeadm-flags.env, `MicroK8s`' args).
pub fn static_pod_path(text: &[u8]) -> Option<String> {
    const OPTION: &str = "pod-manifest-path";
    let (read, _) = documents(text);
    let named = read.iter().find_map(|document| document["staticPodPath"].as_str().map(str::to_owned));
    let absolute = |path: &str| path.starts_with('/').then(|| path.to_owned());
    if let Some(path) = named {
        return absolute(&path);
    }
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).take(VALUES_MAX);
    lines.filter_map(|line| line.split_once(OPTION)).find_map(|(_, rest)| {
        let separators = |c: char| c.is_whitespace() || "=\"',]".contains(c);
        absolute(rest.split(separators).find(|word| !word.is_empty())?)
    })
}

struct Found {
    signals: Vec<Signal>,
    left: usize,
    hook: bool,
}

impl Found {
    /// Looks at `value`, which stands under `key` in `outer`. Both readers bound the depth.
    fn look(&mut self, key: &str, value: &Value, outer: &str) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.judge(key, value, outer);
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.look("", item, key)),
            Value::Object(entries) => {
                entries.iter().for_each(|(name, value)| self.look(&plain(name), value, key));
            }
            _ => {}
        }
    }

    fn judge(&mut self, key: &str, value: &Value, outer: &str) {
        if key == "path" && self.hook {
            return self.program("engine.hook", "it has this run on the host:", &as_text(value));
        }
        // docker's `runtimes.NAME.path`, containers.conf's `runtimes.NAME = [paths]`, `stream_processors.NAME.path`.
        if key == "path" && !outer.is_empty() && value.is_string() {
            return self.program("engine.runtime", "containers are made by, or with,", &as_text(value));
        }
        if outer == "runtimes" && value.is_array() {
            return self
                .each(value, |found, path| found.program("engine.runtime", "containers are made by", path));
        }
        if key == "enabled" && outer == "anonymous" && as_text(value) == "true" {
            return self.add("kubelet.open", Weight::Strong, "kubelet's API is open to everybody");
        }
        let Some((_, slug, meaning, why)) = KEYS.iter().find(|(name, ..)| *name == key) else { return };
        match meaning {
            Meaning::Program => self.each(value, |found, path| found.program(slug, why, path)),
            Meaning::Programs => self.each(value, |found, path| {
                let weight = if is_packages(path) { Weight::Note } else { Weight::Strong };
                found.add(slug, weight, &format!("{why} {path}"));
            }),
            Meaning::Listen => self.each(value, |found, address| {
                if address.starts_with("tcp:") || address.starts_with("http") {
                    found.add(slug, Weight::Strong, &format!("{why}: {address}"));
                }
            }),
            Meaning::Said(weight) => self.each(value, |found, said| {
                if !matches!(said, "" | "0" | "false") {
                    found.add(slug, *weight, &format!("{why} {said}"));
                }
            }),
            Meaning::Is(wanted, weight) => {
                if as_text(value).eq_ignore_ascii_case(wanted) {
                    self.add(slug, *weight, why);
                }
            }
            Meaning::Option(option) => self.each(value, |found, said| {
                if let Some(access) = host_access(option, said.as_bytes()) {
                    let weight = if access.grant == Grant::Full { Weight::Strong } else { Weight::Note };
                    found.add(slug, weight, &format!("{why}: {}", access.option));
                }
            }),
        }
    }

    /// What a file of arguments says: /etc/default/docker, `MicroK8s`' args, kubeadm-flags.env.
    fn flags(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')).take(VALUES_MAX) {
            let mut words = line.split(|c: char| c.is_whitespace() || "\"'".contains(c)).peekable();
            while let Some(word) = words.next() {
                // In `OPTIONS="--host=x"` the option stands behind the quote, in `OPTIONS=--host=x` behind the `=`.
                let option = word.find("--").map(|at| &word[at + 2..]).or_else(|| word.strip_prefix('-'));
                let Some(option) = option else {
                    if word.contains("tcp://") {
                        self.judge("hosts", &Value::String(word.to_owned()), "");
                    }
                    continue;
                };
                let (name, value) = match option.split_once('=') {
                    Some((name, value)) => (name, value),
                    None => (option, words.peek().copied().unwrap_or_default()),
                };
                let name = match name {
                    "H" | "host" => "hosts",
                    "pod-manifest-path" => "staticpodpath",
                    "authorization-mode" => "mode",
                    "insecure-registry" => "insecureregistries",
                    other => other,
                };
                self.judge(&plain(name), &Value::String(value.to_owned()), "");
            }
        }
    }

    fn each(&mut self, value: &Value, mut take: impl FnMut(&mut Self, &str)) {
        match value {
            Value::Array(items) => {
                for item in items.iter().take(SIGNALS_MAX) {
                    take(self, &as_text(item));
                }
            }
            Value::Object(_) | Value::Null => {}
            one => take(self, &as_text(one)),
        }
    }

    fn program(&mut self, slug: &'static str, why: &str, path: &str) {
        if path.is_empty() {
            return;
        }
        let weight = if is_packages(path) || !path.contains('/') { Weight::Note } else { Weight::Strong };
        self.add(slug, weight, &format!("{why} {path}"));
        for signal in command::signals(path.as_bytes(), &[path.as_bytes().to_vec()], false) {
            if signal.weight > Weight::Weak {
                self.signals.push(signal);
            }
        }
    }

    fn refused(&mut self, refused: bool, syntax: &str) {
        if refused {
            self.add("engine.not-read", Weight::Note, &format!("not all of it could be read as {syntax}"));
        }
    }

    fn add(&mut self, slug: &'static str, weight: Weight, why: &str) {
        let known = self.signals.iter().any(|known| known.why == why);
        if !known && self.signals.len() < SIGNALS_MAX {
            self.signals.push(Signal { slug, weight, why: why.chars().take(300).collect(), origin: None });
        }
    }
}

/// Where packages put programs, and units and hooks of theirs.
fn is_packages(path: &str) -> bool {
    const PACKAGES: [&str; 10] = [
        "/usr/bin/",
        "/usr/sbin/",
        "/usr/lib/",
        "/usr/libexec/",
        "/usr/share/",
        "/bin/",
        "/sbin/",
        "/opt/cni/bin",
        "/opt/containerd/bin",
        "/etc/containers/oci/hooks.d",
    ];
    !path.contains("..") && PACKAGES.iter().any(|directory| path.starts_with(directory))
}

/// A key as [`KEYS`] has it.
fn plain(key: &str) -> String {
    key.chars().filter(|c| !"-_".contains(*c)).flat_map(char::to_lowercase).take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(path: &str, text: &str, hook: bool) -> Vec<(&'static str, Weight, String)> {
        let all = signals(path.as_bytes(), text.as_bytes(), hook);
        all.into_iter().map(|signal| (signal.slug, signal.weight, signal.why)).collect()
    }

    fn slugs(path: &str, text: &str) -> Vec<(&'static str, Weight)> {
        told(path, text, false).into_iter().map(|(slug, weight, _)| (slug, weight)).collect()
    }

    #[test]
    fn dockers_configuration() {
        assert_eq!(
            told(
                "/etc/docker/daemon.json",
                r#"{"hosts": ["unix:///run/docker.sock", "tcp://0.0.0.0:2375"], "default-runtime": "evil",
                   "runtimes": {"evil": {"path": "/opt/evil"}}, "insecure-registries": ["h:5000"], "data-root": "/mnt/d"}"#,
                false
            ),
            [
                ("engine.data", Weight::Weak, "containers and images lie in /mnt/d".to_owned()),
                ("engine.runtime", Weight::Note, "the default runtime is evil".to_owned()),
                (
                    "engine.listens",
                    Weight::Strong,
                    "the engine's API listens on the network: tcp://0.0.0.0:2375".to_owned()
                ),
                (
                    "engine.insecure-registry",
                    Weight::Weak,
                    "images are taken unverified from h:5000".to_owned()
                ),
                ("engine.runtime", Weight::Strong, "containers are made by, or with, /opt/evil".to_owned()),
            ]
        );
        assert_eq!(
            slugs("/etc/docker/daemon.json", r#"{"log-driver": "journald", "live-restore": true}"#),
            []
        );
        assert_eq!(
            slugs(
                "/etc/default/docker",
                "# DOCKER_OPTS=\"-H tcp://x\"\nDOCKER_OPTS=\"-H tcp://0.0.0.0:2375\"\n"
            ),
            [("engine.listens", Weight::Strong)]
        );
    }

    #[test]
    fn configuration_in_toml() {
        assert_eq!(
            slugs(
                "/etc/containerd/config.toml",
                "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n\
                 BinaryName = \"/tmp/runc\"\n[grpc]\ntcp_address = \"0.0.0.0:7777\"\n\
                 [stream_processors.x]\npath = \"/usr/bin/ctd-decoder\"\n"
            )
            .iter()
            .map(|(slug, weight)| format!("{slug} {weight:?}"))
            .collect::<Vec<_>>(),
            [
                "engine.listens Strong",
                "engine.runtime Strong",
                "path.world-writable Strong",
                "engine.runtime Note",
            ]
        );
        assert_eq!(
            slugs(
                "/etc/containers/containers.conf",
                "[containers]\nvolumes = [\"/:/host\"]\npidns = \"host\"\n[engine]\nhooks_dir = [\"/opt/h\"]\n\
                 conmon_path = [\"/usr/bin/conmon\"]\n[engine.runtimes]\nrunc = [\"/opt/runc\"]\n"
            ),
            [
                ("engine.every-container", Weight::Strong),
                ("engine.every-container", Weight::Strong),
                ("engine.monitor", Weight::Note),
                ("engine.hooks", Weight::Strong),
                ("engine.runtime", Weight::Strong),
            ]
        );
    }

    #[test]
    fn kubelets_configuration() {
        let text = "kind: KubeletConfiguration\nstaticPodPath: /tmp/pods\nstaticPodURL: http://x\n\
                    authentication: {anonymous: {enabled: true}}\nauthorization: {mode: AlwaysAllow}\nreadOnlyPort: 0\n";
        assert_eq!(static_pod_path(text.as_bytes()).as_deref(), Some("/tmp/pods"));
        let mut found = slugs("/var/lib/kubelet/config.yaml", text);
        found.sort_unstable();
        assert_eq!(
            found,
            [
                ("kubelet.open", Weight::Strong),
                ("kubelet.open", Weight::Strong),
                ("kubelet.static-pods", Weight::Note),
                ("kubelet.static-pods", Weight::Strong),
            ]
        );
        for text in [
            "KUBELET_KUBEADM_ARGS=\"--v=2 --pod-manifest-path=/p --x\"\n",
            "# --pod-manifest-path=/q\n--pod-manifest-path /p\n",
            "kubelet-arg: [\"v=2\", \"pod-manifest-path=/p\"]\n",
        ] {
            assert_eq!(static_pod_path(text.as_bytes()).as_deref(), Some("/p"), "{text}");
        }
        assert_eq!(static_pod_path(b"--pod-manifest-path=\n"), None);
        assert_eq!(
            slugs(
                "/var/lib/kubelet/kubeadm-flags.env",
                "KUBELET_KUBEADM_ARGS=\"--manifest-url=http://x --v=2\"\n"
            ),
            [("kubelet.static-pods", Weight::Strong)]
        );
    }

    #[test]
    fn hooks_name_programs() {
        let hook = r#"{"version": "1.0.0", "hook": {"path": "/tmp/evil", "args": ["evil"]}, "when": {"always": true}}"#;
        let found = told("/etc/containers/oci/hooks.d/x.json", hook, true);
        assert_eq!(
            found[0],
            ("engine.hook", Weight::Strong, "it has this run on the host: /tmp/evil".to_owned())
        );
        assert_eq!(found[1].0, "path.world-writable");
        let device = "cdiVersion: 0.6.0\nkind: x/y\ncontainerEdits:\n  hooks:\n  - {hookName: createRuntime, path: /opt/x}\n";
        assert_eq!(told("/etc/cdi/x.yaml", device, true)[0].0, "engine.hook");
    }

    proptest! {
        #[test]
        fn no_text_panics(
            path in proptest::sample::select(vec!["/a.json", "/a.toml", "/a.yaml", "/a.conf", "/a"]),
            text in "(hosts|path|runtimes|runtime_path|volumes|-H|--|=|:|,|\\[|\\]|\\{|\\}|\"|tcp://x|/tmp/a|\n| ){0,40}",
            hook: bool,
        ) {
            prop_assert!(signals(path.as_bytes(), text.as_bytes(), hook).len() <= 2 * SIGNALS_MAX);
        }
    }
}
