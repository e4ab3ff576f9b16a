//! Rules of what is asked of container engines.

use super::CONFIGURATION;
use super::techniques::{CONTAINER_SERVICE, DEPLOY_CONTAINER, ESCAPE_TO_HOST, EXTERNAL_REMOTE_SERVICES};
use crate::detect::rule::{Rule, Severity};

const AGENTS: &str = "Monitoring, backup and build agents that are given the host on purpose.";

/// A container that comes back.
pub static RESTART_POLICY_SET: Rule = Rule {
    id: "container.restart-policy.set",
    name: "A container was told to come back by itself",
    severity: Severity::Medium,
    techniques: &[CONTAINER_SERVICE],
    description: "A container engine was asked for a container with a restart policy: the engine starts it again \
        after its end and after a boot, as a service manager would. It counts for more where the container is given the \
        host. Look at image and command (`docker inspect NAME`). To undo: `docker update --restart=no NAME`, \
        `docker rm -f NAME`.",
    false_positives: &["Small servers often run their services so.", CONFIGURATION],
};

/// A container that is given the host.
pub static HOST_ACCESS_GRANTED: Rule = Rule {
    id: "container.host-access.granted",
    name: "A container was given a part of its host",
    severity: Severity::Medium,
    techniques: &[DEPLOY_CONTAINER, ESCAPE_TO_HOST],
    description: "A container engine was asked for a container, or a volume, with an option that reaches out of the \
        container: privileges, the host's directories, devices or namespaces, an engine's socket. Some of them give whoever \
        is in the container the whole machine. Look at the options, the image and who asked. To undo: `docker rm -f NAME`.",
    false_positives: &[AGENTS, CONFIGURATION],
};

/// A service of a swarm.
pub static SWARM_SERVICE_CREATED: Rule = Rule {
    id: "container.swarm-service.created",
    name: "A service was given to a swarm",
    severity: Severity::High,
    techniques: &[CONTAINER_SERVICE, DEPLOY_CONTAINER],
    description: "docker was asked to run a service in its swarm, or to change one: the swarm's managers keep it running, \
        on all machines if its mode is global. Look at image and command (`docker service inspect NAME`). To undo: \
        `docker service rm NAME`.",
    false_positives: &["Deployments to machines that run a swarm.", CONFIGURATION],
};

/// A machine becomes part of a swarm.
pub static SWARM_CHANGED: Rule = Rule {
    id: "container.swarm.changed",
    name: "The machine was made part of a swarm",
    severity: Severity::Medium,
    techniques: &[CONTAINER_SERVICE],
    description: "docker was asked to begin a swarm, or to join one: from then on the swarm's managers decide which \
        containers run here, as root of this machine if they like. Look at the address of the manager (`docker info`). To \
        undo: `docker swarm leave --force`.",
    false_positives: &["The machine is meant to be part of a swarm."],
};

/// A plugin of an engine.
pub static ENGINE_PLUGIN_ADDED: Rule = Rule {
    id: "container.engine.plugin-added",
    name: "A plugin of a container engine was installed or enabled",
    severity: Severity::Medium,
    techniques: &[CONTAINER_SERVICE],
    description: "docker was asked to install or enable a plugin: a program that the engine runs with the privileges that \
        the plugin asks for, now and whenever the engine starts. Look at `docker plugin inspect NAME`. To undo: \
        `docker plugin rm -f NAME`.",
    false_positives: &["Drivers for volumes, networks and logs.", CONFIGURATION],
};

/// An engine obeys a container.
pub static ENGINE_REQUEST_FROM_CONTAINER: Rule = Rule {
    id: "container.engine.request-from-container",
    name: "A container asked an engine of the host to do something",
    severity: Severity::Medium,
    techniques: &[ESCAPE_TO_HOST, DEPLOY_CONTAINER],
    description: "A process in a container sent a request to the socket of a container engine of the host: whoever may do \
        that may start a container that is given the whole machine. Look at which container was given the socket, and at what \
        was asked for. To undo: remove what it made, and start it without the socket.",
    false_positives: &[
        "Tools that manage containers out of a container: Portainer, Watchtower, build agents.",
        "An engine in a container of its own, with the host's socket.",
    ],
};

/// A request that could not be read.
pub static ENGINE_REQUEST_UNREAD: Rule = Rule {
    id: "container.engine.request-unread",
    name: "A request to a container engine was too long to be read whole",
    severity: Severity::Low,
    techniques: &[DEPLOY_CONTAINER],
    description: "A container engine was asked for a container, and what was seen of the request says neither that it comes \
        back by itself nor that it is given the host; the rest may. A request can be blown up for that. Look at the container \
        (`docker inspect NAME`).",
    false_positives: &["Containers with very many labels or variables.", "A machine under heavy load."],
};

/// An engine that listens on the network.
pub static ENGINE_EXPOSED: Rule = Rule {
    id: "container.engine.exposed",
    name: "A container engine takes requests from the network",
    severity: Severity::High,
    techniques: &[CONTAINER_SERVICE, EXTERNAL_REMOTE_SERVICES],
    description: "A container engine was started so that it takes requests over TCP without asking for a client's \
        certificate: whoever reaches the port is root of this machine, and what they ask for is not seen by this sensor. Look at \
        where the option comes from (the unit, its drop-ins, /etc/default/docker) and who may reach the port. To undo: remove \
        it, or use --tlsverify.",
    false_positives: &["Development machines, with the port open on the machine itself only."],
};
