//! What container engines keep, and containers that none of them keeps.

use super::CONFIGURATION;
use super::techniques::{CONTAINER_SERVICE, DEPLOY_CONTAINER};
use crate::detect::rule::{Rule, Severity};

/// An engine's own files, by another hand.
pub static CONTAINER_STATE_EDITED: Rule = Rule {
    id: "container.state.edited",
    name: "A container engine's own files were edited",
    severity: Severity::High,
    techniques: &[CONTAINER_SERVICE],
    description: "A file in which a container engine keeps what it knows of its containers (docker's hostconfig.json and \
        config.v2.json, containers/storage's containers.json, the databases of podman and containerd) was written by \
        another program than the engine. When the engine starts next, the container is what the file says: with \
        another restart policy, the host's directories, all privileges. Neither a command line nor the engine's API \
        shows it. What differs is told where the file is text. Look at `docker inspect ID`. To undo: restore the file \
        while the engine is stopped, or remove the container.",
    false_positives: &["Restoring an engine's directory from a backup.", CONFIGURATION],
};

/// A container that no engine knows.
pub static CONTAINER_UNBOOKED: Rule = Rule {
    id: "container.unbooked.started",
    name: "A container was started that no engine knows",
    severity: Severity::Medium,
    techniques: &[DEPLOY_CONTAINER, CONTAINER_SERVICE],
    description: "A program runs as a container does, and no engine has it in its books: a runtime (runc, crun) was \
        called by hand on a bundle, a control group is named like an engine's container, or root gave a program mount \
        and pid namespaces of its own. `docker ps` and `podman ps` do not show such a container. Not told: what is \
        started in a user namespace, inside a container, by a service manager, by an engine, or by bwrap, flatpak, \
        snap-confine, firejail, systemd-nspawn and LXC. Look at the process and at the bundle's config.json. To undo: \
        `runc delete --force ID`, or end the process.",
    false_positives: &["Working on a container runtime.", "Building packages or images in `unshare`."],
};
