//! Where an engine listens and keeps its containers, by its command line and dockerd's configuration file (dockerd(8),
//! "Daemon configuration file").

use serde_json::Value;

use crate::detect::agents::absolute;
use crate::detect::detector::Detector;
use crate::detect::finding::{Finding, Who};
use crate::detect::rules;
use crate::event::content::{Expected, FileContent, Want};
use crate::event::path::lossy;
use crate::event::user::WatchClass;
use crate::lineage::Lineage;
use crate::lineage::table::Handle;
use crate::subject::service::Scope;

/// What an engine's command line says of its listeners.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listeners {
    /// Paths of unix sockets.
    sockets: Vec<String>,
    /// Addresses on the network, as given.
    network: Vec<String>,
    /// Clients must show a certificate.
    verified: bool,
    /// dockerd's configuration file.
    config: Option<String>,
    /// Where dockerd keeps its containers.
    data_root: Option<String>,
}

/// A dockerd whose configuration file is being read.
#[derive(Debug)]
pub(super) struct Configured {
    who: Option<Who>,
    /// By its command line clients must show a certificate.
    verified: bool,
}

/// dockerd's configuration file where no option names another.
const CONFIG: &str = "/etc/docker/daemon.json";

/// Listeners of one command line that are looked at.
const LISTENERS_MAX: usize = 16;

impl Detector {
    /// An engine's daemon runs, be it after an exec or found at start: sockets that it listens on are watched, and one
    /// that anyone may reach is a finding.
    pub(in crate::detect) fn engine_executed(
        &mut self,
        now: u64,
        handle: Handle,
        who: Option<Who>,
        lineage: &Lineage,
    ) -> Option<Finding> {
        let image = &lineage.image(handle)?;
        let tool = self.tools.recognise(image)?.tool();
        let arguments: Vec<&[u8]> = image.arguments().collect();
        let mut listeners = listeners(tool.name, &arguments)?;
        let docker = tool.name == "dockerd";
        // It executes itself again for what it does in a container.
        let again = || lineage.line(handle).nth(1).is_some_and(|parent| self.is_engine(lineage, parent));
        let foreign = lineage.entry(handle).is_some_and(|entry| lineage.is_foreign(entry.mnt_ns));
        if docker && !foreign && !again() {
            let config = absolute(image.cwd, listeners.config.as_deref().unwrap_or(CONFIG).as_bytes());
            self.want(Want::File { path: config.clone(), expected: Expected::Anything });
            self.engines.configured.insert(config, Configured { who, verified: listeners.verified });
            if let Some(root) = listeners.data_root.take() {
                self.follow_data_root(&absolute(image.cwd, root.as_bytes()));
            }
        }
        self.engine_listens(now, if docker { "docker" } else { tool.name }, listeners, who)
    }

    /// The configuration file of a dockerd that runs was read.
    pub(in crate::detect) fn engine_configured(
        &mut self,
        now: u64,
        content: &FileContent,
    ) -> Option<Finding> {
        let Configured { who, verified } = self.engines.configured.remove(&content.path)?;
        // dockerd refuses what is no JSON, and names that it does not know in just this spelling.
        let said: Value = serde_json::from_slice(&content.found.regular()?.content).ok()?;
        if let Some(root) = said["data-root"].as_str() {
            self.follow_data_root(root.as_bytes());
        }
        let mut listeners =
            Listeners { verified: verified || said["tlsverify"] == true, ..Listeners::default() };
        for address in said["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            listeners.add(address);
        }
        // One found at the start was told when it began.
        let mut finding = self.engine_listens(now, "docker", listeners, who).filter(|_| who.is_some())?;
        finding.reason(0, format!("as {} says", lossy(&content.path)));
        Some(finding)
    }

    fn follow_data_root(&mut self, root: &[u8]) {
        let root = root.strip_suffix(b"/").unwrap_or(root);
        self.follow_configured(&[root, b"/containers"].concat(), WatchClass::EngineState);
    }

    fn engine_listens(
        &mut self,
        now: u64,
        engine: &'static str,
        listeners: Listeners,
        who: Option<Who>,
    ) -> Option<Finding> {
        for socket in listeners.sockets {
            let known = self.watches.classed().any(|(watch, _)| watch.path == socket);
            if !known {
                self.engines.sockets.insert(socket.clone(), engine);
                self.followed.add(socket.as_bytes(), WatchClass::EngineSocket, Scope::System);
            }
        }
        if listeners.network.is_empty() || listeners.verified {
            return None;
        }
        let addresses = listeners.network.join(", ");
        let subject = format!("{engine} take requests from the network on {addresses}");
        let mut finding = Finding::new(&rules::ENGINE_EXPOSED, now, "process_exec", subject).by(who);
        finding.event_type = "start";
        if listeners.network.iter().all(|address| is_loopback(address)) {
            finding.reason(-20, "only this machine itself reaches it");
        }
        Some(finding)
    }
}

/// dockerd(8) (`-H`, `--host`), containerd(8) (`-a`, `--address`), crio(8) (`--listen`), and
/// podman-system-service(1).
fn listeners(tool: &str, arguments: &[&[u8]]) -> Option<Listeners> {
    let names: &[&str] = match tool {
        "dockerd" => &["-H", "--host"],
        "containerd" => &["-a", "--address"],
        "crio" => &["--listen"],
        "podman" => &[],
        _ => return None,
    };
    let mut found = Listeners::default();
    let mut rest = arguments.iter().skip(1).map(|argument| lossy(argument));
    let mut words = 0;
    while let Some(argument) = rest.next() {
        if tool == "podman" {
            // `podman [options] system service [options] [URI]`
            words += usize::from(matches!((words, argument.as_ref()), (0, "system") | (1, "service")));
            if words == 2 && argument.contains("://") {
                found.add(&argument);
            }
            continue;
        }
        if matches!(argument.as_ref(), "--tlsverify" | "--tlsverify=true" | "--tlsverify=1") {
            found.verified = true;
        }
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_ref(), None),
        };
        let attached = names.iter().find(|known| known.len() == 2 && argument.starts_with(**known));
        let value = if names.contains(&name) {
            value.or_else(|| rest.next().map(std::borrow::Cow::into_owned))
        } else {
            // -Hunix:///x
            attached.map(|known| argument[known.len()..].to_owned())
        };
        if let Some(value) = value {
            found.add(&value);
            continue;
        }
        // `-g` and `--graph` are what older versions call it.
        let place = match (tool, name) {
            ("dockerd", "--data-root" | "--graph" | "-g") => &mut found.data_root,
            ("dockerd", "--config-file") => &mut found.config,
            _ => continue,
        };
        *place = argument
            .split_once('=')
            .map(|(_, value)| value.to_owned())
            .or_else(|| rest.next().map(std::borrow::Cow::into_owned));
    }
    (words == 2 || tool != "podman").then_some(found)
}

impl Listeners {
    fn add(&mut self, address: &str) {
        let list = match address.split_once("://") {
            Some(("tcp" | "http" | "https", _)) => {
                if self.network.len() < LISTENERS_MAX {
                    self.network.push(address.to_owned());
                }
                return;
            }
            Some(("unix", path)) if path.starts_with('/') => path,
            None if address.starts_with('/') => address,
            // fd:// is what systemd hands over; its socket unit names the path.
            _ => return,
        };
        if self.sockets.len() < LISTENERS_MAX {
            self.sockets.push(list.to_owned());
        }
    }
}

fn is_loopback(address: &str) -> bool {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = host.strip_prefix('[').unwrap_or(host);
    host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("::1]")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(tool: &str, line: &str) -> Option<Listeners> {
        let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        listeners(tool, &arguments)
    }

    #[test]
    fn listeners_of_the_engines() {
        let found = of("dockerd", "dockerd -H fd:// --host=unix:///srv/d.sock -Htcp://0.0.0.0:2375").unwrap();
        assert_eq!(found.sockets, ["/srv/d.sock"]);
        assert_eq!(found.network, ["tcp://0.0.0.0:2375"]);
        assert!(!found.verified);
        assert!(of("dockerd", "dockerd -H tcp://:2376 --tlsverify").unwrap().verified);
        assert_eq!(of("containerd", "containerd --address /run/x.sock").unwrap().sockets, ["/run/x.sock"]);
        let found =
            of("podman", "podman --log-level info system service --time 0 tcp:0.0.0.0:1 unix:///tmp/p.sock");
        assert_eq!(found.unwrap().sockets, ["/tmp/p.sock"]);
        let found = of("dockerd", "dockerd --data-root /srv/d --config-file=/srv/d.json").unwrap();
        assert_eq!(
            (found.data_root.as_deref(), found.config.as_deref()),
            (Some("/srv/d"), Some("/srv/d.json"))
        );
        assert_eq!(of("podman", "podman run -e unix:///x img"), None);
        assert_eq!(of("docker", "docker -H tcp://h ps"), None);
    }

    #[test]
    fn loopback() {
        for (address, only_here) in [
            ("tcp://127.0.0.1:2375", true),
            ("tcp://localhost:2375", true),
            ("tcp://[::1]:2375", true),
            ("tcp://0.0.0.0:2375", false),
            ("tcp://:2375", false),
            ("tcp://[::]:2375", false),
        ] {
            assert_eq!(is_loopback(address), only_here, "{address}");
        }
    }

    proptest! {
        #[test]
        fn no_arguments_panic(arguments in proptest::collection::vec("(-H|--host|-Hé|=|tcp://|unix://|/|[a-zé]){0,4}", 0..8)) {
            let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
            for tool in ["dockerd", "containerd", "crio", "podman"] {
                let _any = listeners(tool, &arguments);
            }
        }
    }
}
