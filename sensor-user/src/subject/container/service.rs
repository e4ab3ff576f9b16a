//! What a container is to be, whoever says so: a command line, the engine's API, the engine's own books, a Quadlet, a manifest.

use super::access::{Grant, HostAccess, host_access};

/// Arguments of a container's command that are kept.
const COMMAND_MAX: usize = 64;
/// Options that are kept; beyond them only the most that they give counts.
const ACCESS_MAX: usize = 32;

/// Where it is said what a container is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The command line of an engine's tool.
    #[default]
    CommandLine,
    /// A request to the engine's API.
    Api,
    /// The engine's own files.
    State,
    /// The bundle given to an OCI runtime.
    Bundle,
    /// A Quadlet (podman-systemd.unit(5)).
    Quadlet,
    /// A Kubernetes or compose manifest.
    Manifest,
}

/// A container, as far as it is said. What is not said is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerService {
    /// Who says so.
    pub source: Source,
    /// `docker`, `podman`, `nerdctl`, `kubelet`...
    pub engine: String,
    /// What is done to it: `run`, `create`, `update`...
    pub verb: String,
    /// `always`, `unless-stopped`, `on-failure:3`, in the engine's words. Empty where it does not come back by itself.
    pub restart_policy: String,
    /// The engine's id.
    pub id: Option<String>,
    /// The image, or the container for `update`.
    pub image: Option<String>,
    /// The name that it was given.
    pub name: Option<String>,
    /// What runs in it, entry point first; the image's own where empty.
    pub command: Vec<String>,
    /// As whom, in the engine's words.
    pub user: Option<String>,
    /// What it is given of the host.
    pub access: Access,
}

/// What a container is given of its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    options: Vec<HostAccess>,
    grant: Option<Grant>,
}

impl Access {
    /// Takes up an option, named and written as docker-run(1) has it without dashes; one that gives nothing is passed over.
    pub fn option(&mut self, name: &str, value: &[u8]) {
        let Some(access) = host_access(name, value) else { return };
        self.grant = self.grant.max(Some(access.grant));
        if self.options.len() < ACCESS_MAX && !self.options.contains(&access) {
            self.options.push(access);
        }
    }

    /// Takes up whether the container is privileged: the last word counts.
    pub fn privileged(&mut self, on: bool) {
        self.options.retain(|other| other.option != "--privileged");
        self.grant = self.options.iter().map(|access| access.grant).max();
        if on {
            self.option("privileged", b"");
        }
    }

    /// The most that any option gives.
    #[must_use]
    pub fn grant(&self) -> Option<Grant> {
        self.grant
    }

    /// The options, as on a command line.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        self.options.iter().map(|access| access.option.as_str())
    }
}

impl ContainerService {
    /// Takes up an argument of what runs in it.
    pub fn argument(&mut self, argument: impl Into<String>) {
        if self.command.len() < COMMAND_MAX {
            self.command.push(argument.into());
        }
    }

    /// Whether it comes back by itself.
    #[must_use]
    pub fn comes_back(&self) -> bool {
        !self.restart_policy.is_empty()
    }

    /// Whether an engine that is given this policy starts the container again (docker-run(1), podman-run(1), "--restart").
    #[must_use]
    pub fn is_restart_policy(policy: &str) -> bool {
        match policy.split_once(':') {
            None => matches!(policy, "always" | "unless-stopped" | "on-failure"),
            // podman takes the number with `always` as well, docker refuses it.
            Some((kind, retries)) => {
                matches!(kind, "on-failure" | "always") && retries.parse::<u32>().is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_privileges_counts_and_the_rest_stays() {
        let mut access = Access::default();
        access.option("network", b"host");
        access.privileged(true);
        assert_eq!(access.grant(), Some(Grant::Full));
        access.privileged(false);
        assert_eq!(access.grant(), Some(Grant::Partial));
        assert_eq!(access.options().collect::<Vec<_>>(), ["--network=host"]);
    }

    #[test]
    fn of_too_many_options_the_worst_still_counts() {
        let mut access = Access::default();
        for number in 0..100 {
            access.option("device", format!("/dev/dri/{number}").as_bytes());
        }
        access.option("v", b"/:/host");
        assert_eq!((access.options().count(), access.grant()), (ACCESS_MAX, Some(Grant::Full)));
    }
}
