//! Command lines that name a file in which containers are described: `podman kube play`, `docker compose up`,
//! `kubectl apply`; and kubelet's own.

use crate::lineage::image::base_name;

/// Files of one command line.
const FILES_MAX: usize = 8;

/// Compose's own choice (compose-spec.io, "Compose file"), the first that is there.
const COMPOSE_FILES: [&[u8]; 4] =
    [b"compose.yaml", b"compose.yml", b"docker-compose.yaml", b"docker-compose.yml"];

/// A command that applies manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `podman`, `docker`, `kubectl`...
    pub engine: String,
    /// `kube play`, `compose up`, `apply`.
    pub verb: &'static str,
    /// The files, as written.
    pub files: Vec<Vec<u8>>,
}

/// Options with a value that may stand before the verb, of all these tools: what follows one is no verb.
const WITH_VALUE: [&[u8]; 28] = [
    b"-f",
    b"--file",
    b"-p",
    b"--project-name",
    b"--project-directory",
    b"--profile",
    b"--env-file",
    b"-H",
    b"--host",
    b"-c",
    b"--context",
    b"--connection",
    b"--url",
    b"--log-level",
    b"--root",
    b"--runroot",
    b"--storage-driver",
    b"-n",
    b"--namespace",
    b"--kubeconfig",
    b"-s",
    b"--server",
    b"--token",
    b"--as",
    b"--user",
    b"--cluster",
    b"--network",
    b"--configmap",
];

/// What a command line asks for by files. Kubernetes' kustomizations and helm's charts are not followed.
pub fn asked<'a>(tool: &str, args: impl Iterator<Item = &'a [u8]>) -> Option<Asked> {
    let mut words: Vec<&[u8]> = Vec::new();
    let mut files: Vec<Vec<u8>> = Vec::new();
    let mut args = args.skip(1);
    while let Some(arg) = args.next() {
        let attached =
            arg.strip_prefix(b"--file=").or_else(|| arg.strip_prefix(b"--filename=")).or_else(|| {
                arg.strip_prefix(b"-f=").or_else(|| arg.strip_prefix(b"-f")).filter(|rest| !rest.is_empty())
            });
        if let Some(file) = attached {
            files.push(file.to_vec());
        } else if matches!(arg, b"-f" | b"--file" | b"--filename") {
            files.extend(args.next().map(<[u8]>::to_vec));
        } else if WITH_VALUE.contains(&arg) {
            args.next();
        } else if !arg.starts_with(b"-") || arg == b"-" {
            words.push(arg);
        }
        if words.len() + files.len() > 64 {
            break;
        }
    }
    let verb = match (tool, &words[..]) {
        ("podman" | "podman-remote", [b"kube", b"play", rest @ ..] | [b"play", b"kube", rest @ ..]) => {
            files.extend(rest.iter().map(|file| file.to_vec()));
            "kube play"
        }
        ("docker" | "podman" | "nerdctl", [b"compose", b"up" | b"create" | b"start", ..])
        | ("docker-compose" | "podman-compose", [b"up" | b"create" | b"start", ..]) => {
            if files.is_empty() {
                files.extend(COMPOSE_FILES.map(<[u8]>::to_vec));
            }
            "compose up"
        }
        (
            "kubectl" | "k3s" | "oc" | "microk8s",
            [b"apply" | b"create" | b"replace", ..] | [b"kubectl", b"apply" | b"create", ..],
        ) => "apply",
        _ => return None,
    };
    // What is piped in, or fetched, is no file of the machine.
    files.retain(|file| file != b"-" && !file.is_empty() && !file.windows(3).any(|part| part == b"://"));
    files.truncate(FILES_MAX);
    Some(Asked { engine: tool.to_owned(), verb, files }).filter(|asked| !asked.files.is_empty())
}

/// What kubelet is told on its command line (kubelet(1)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubelet {
    /// `--config`
    pub config: Option<Vec<u8>>,
    /// `--config-dir`
    pub config_directory: Option<Vec<u8>>,
    /// `--pod-manifest-path`
    pub static_pods: Option<Vec<u8>>,
    /// `--manifest-url`
    pub manifest_url: Option<Vec<u8>>,
    /// `--kubeconfig` or `--bootstrap-kubeconfig`
    pub kubeconfig: Option<Vec<u8>>,
    /// `--root-dir`
    pub root_directory: Option<Vec<u8>>,
}

/// Reads kubelet's command line; `None` where it only tells about itself.
pub fn kubelet<'a>(args: impl Iterator<Item = &'a [u8]>) -> Option<Kubelet> {
    let mut kubelet = Kubelet::default();
    let mut args = args.skip(1).peekable();
    while let Some(arg) = args.next() {
        if matches!(arg, b"--version" | b"--help" | b"-h" | b"--version=true" | b"--version=raw") {
            return None;
        }
        let Some(option) = arg.strip_prefix(b"--").or_else(|| arg.strip_prefix(b"-")) else { continue };
        let at = option.iter().position(|byte| *byte == b'=');
        let name = &option[..at.unwrap_or(option.len())];
        let place = match name {
            b"config" => &mut kubelet.config,
            b"config-dir" => &mut kubelet.config_directory,
            b"pod-manifest-path" => &mut kubelet.static_pods,
            b"manifest-url" => &mut kubelet.manifest_url,
            b"kubeconfig" | b"bootstrap-kubeconfig" => &mut kubelet.kubeconfig,
            b"root-dir" => &mut kubelet.root_directory,
            _ => continue,
        };
        let value = at.map(|at| option[at + 1..].to_vec()).or_else(|| args.next().map(<[u8]>::to_vec));
        *place = value.filter(|value| !value.is_empty());
    }
    Some(kubelet)
}

/// What k3s and rke2 hand their kubelet (`--kubelet-arg NAME=VALUE`), and where they keep their data (`--data-dir`); what
/// `MicroK8s`' kubelite reads its arguments from (`--kubelet-args-file`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The kubelet's own arguments.
    pub kubelet: Option<Kubelet>,
    /// Their directory.
    pub data: Option<Vec<u8>>,
    /// A file of arguments.
    pub arguments: Option<Vec<u8>>,
}

/// Reads the command line of k3s, rke2 or kubelite.
pub fn distribution<'a>(args: impl Iterator<Item = &'a [u8]>) -> Distribution {
    let (mut found, mut handed) = (Distribution::default(), vec![b"kubelet".to_vec()]);
    let mut args = args.skip(1);
    while let Some(arg) = args.next() {
        let at = arg.iter().position(|byte| *byte == b'=');
        let name = &arg[..at.unwrap_or(arg.len())];
        if !matches!(name, b"--kubelet-arg" | b"--data-dir" | b"-d" | b"--kubelet-args-file") {
            continue;
        }
        let Some(value) = at.map(|at| arg[at + 1..].to_vec()).or_else(|| args.next().map(<[u8]>::to_vec))
        else {
            break;
        };
        match name {
            b"--kubelet-arg" => handed.push([b"--", value.strip_prefix(b"--").unwrap_or(&value)].concat()),
            b"--kubelet-args-file" => found.arguments = Some(value),
            _ => found.data = Some(value),
        }
    }
    found.kubelet =
        kubelet(handed.iter().map(Vec::as_slice)).filter(|kubelet| *kubelet != Kubelet::default());
    found
}

/// Whether a program is a kubelet by its name.
pub fn is_kubelet(exe: &[u8]) -> bool {
    base_name(exe) == b"kubelet"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(line: &str) -> Option<(String, String)> {
        let tool = line.split(' ').next().unwrap_or_default();
        let asked = asked(tool, line.split(' ').map(str::as_bytes))?;
        let files: Vec<_> =
            asked.files.iter().map(|file| String::from_utf8_lossy(file).into_owned()).collect();
        Some((asked.verb.to_owned(), files.join(" ")))
    }

    #[test]
    fn commands_that_apply_files() {
        for (line, verb, files) in [
            ("podman kube play evil.yaml", "kube play", "evil.yaml"),
            (
                "podman --log-level debug play kube --network host /srv/evil.yaml",
                "kube play",
                "/srv/evil.yaml",
            ),
            ("docker compose -f a.yml -p x up -d", "compose up", "a.yml"),
            ("docker compose --file=a.yml -fb.yml up", "compose up", "a.yml b.yml"),
            (
                "docker-compose up -d web",
                "compose up",
                "compose.yaml compose.yml docker-compose.yaml docker-compose.yml",
            ),
            ("kubectl -n kube-system apply -f ds.yaml", "apply", "ds.yaml"),
            ("kubectl create --filename=ds.yaml", "apply", "ds.yaml"),
            ("k3s kubectl apply -f ds.yaml", "apply", "ds.yaml"),
        ] {
            assert_eq!(found(line), Some((verb.to_owned(), files.to_owned())), "{line}");
        }
        for line in [
            "podman kube down evil.yaml",
            "podman kube play -",
            "podman kube play https://x/y.yaml",
            "podman run x",
            "docker compose ps",
            "docker compose -f a.yml logs up",
            "kubectl get -f x",
            "kubectl apply -f -",
            "cat apply -f x",
        ] {
            assert_eq!(found(line), None, "{line}");
        }
    }

    #[test]
    fn kubelets_options() {
        let read = |line: &str| kubelet(line.split(' ').map(str::as_bytes));
        let own = read("kubelet --config=/a --pod-manifest-path /p --root-dir=/r --v=2 --manifest-url= ")
            .expect("a kubelet");
        assert_eq!(own.config.as_deref(), Some(&b"/a"[..]));
        assert_eq!(own.static_pods.as_deref(), Some(&b"/p"[..]));
        assert_eq!(own.root_directory.as_deref(), Some(&b"/r"[..]));
        assert_eq!((own.manifest_url, own.kubeconfig), (None, None));
        assert_eq!(read("kubelet --version"), None);
    }

    #[test]
    fn what_distributions_hand_their_kubelet() {
        let read = |line: &str| distribution(line.split(' ').map(str::as_bytes));
        let found =
            read("k3s server --data-dir=/srv/k3s --kubelet-arg pod-manifest-path=/p --kubelet-arg=v=2");
        assert_eq!(found.data.as_deref(), Some(&b"/srv/k3s"[..]));
        assert_eq!(found.kubelet.expect("arguments").static_pods.as_deref(), Some(&b"/p"[..]));
        let found = read("kubelite --kubelet-args-file=/a/kubelet --start-control-plane=true");
        assert_eq!((found.arguments.as_deref(), found.kubelet), (Some(&b"/a/kubelet"[..]), None));
        assert_eq!(read("k3s agent --kubelet-arg"), Distribution::default());
    }

    proptest! {
        #[test]
        fn no_arguments_panic(args in proptest::collection::vec(
            proptest::sample::select(vec!["-f", "--file=", "-f=", "up", "compose", "kube", "play", "--config", "--", "-", "x", ""]), 0..12)
        ) {
            for tool in ["podman", "docker", "kubectl", "docker-compose"] {
                let _any_answer = asked(tool, args.iter().map(|arg| arg.as_bytes()));
            }
            let _any_answer = kubelet(args.iter().map(|arg| arg.as_bytes()));
            let _any_answer = distribution(args.iter().map(|arg| arg.as_bytes()));
        }
    }
}
