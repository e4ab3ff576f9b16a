//! What clients ask of container engines: from HTTP requests on an engine's socket to what is to run.
//!
//! - `docker`: the Docker Engine API (docs.docker.com/reference/api/engine), which podman offers too.
//! - `podman`: podman's own (libpod; docs.podman.io, "Reference").
//! - `grpc`: containerd's, and Kubernetes' runtime interface.
//! - `lxd`: LXD's and Incus's (linuxcontainers.org/incus/docs/main/rest-api).

mod docker;
mod grpc;
mod lxd;
mod podman;

use std::borrow::Cow;
use std::fmt;

use super::service::ContainerService;
use crate::subject::http::Request;
use crate::subject::json::{self, Json};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Makes containers, or pods of them.
    Create,
    /// Changes a container.
    Update,
    /// Starts, restarts, stops, ends or removes what is there.
    Control,
    /// Runs another program in a container.
    Exec,
    /// Puts files into a container, or takes some out.
    Copy,
    /// Makes a volume.
    Volume,
    /// Makes or changes a service of a swarm.
    Service,
    /// Makes the machine a swarm's manager.
    SwarmInit,
    /// Lets a swarm's managers decide what runs on this machine.
    SwarmJoin,
    /// Installs or enables a plugin of the engine's.
    Plugin,
    /// Builds, loads, pulls or removes images.
    Image,
    /// Something else that is no mere question.
    Other,
}

/// A request to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineRequest {
    /// What it does.
    pub verb: Verb,
    /// The container, service, plugin or address that it names; of a volume what it binds.
    pub target: Option<String>,
    /// Volumes that the container is given, by name.
    pub volumes: Vec<String>,
    /// What is to run, as far as the request says; of a manifest each container.
    pub services: Vec<ContainerService>,
    /// Method and path as sent, for people.
    pub line: String,
    /// Not all of it was seen or understood: more can be in it.
    pub incomplete: bool,
}

/// Longest request line for people.
const LINE_MAX: usize = 200;
/// Containers of one request.
const SERVICES_MAX: usize = 32;

/// Reads a request to the engine called `engine`. `None` where it only asks for a state.
#[must_use]
pub fn read(engine: &str, request: &Request) -> Option<EngineRequest> {
    if matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
        return None;
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path = decoded(without_host(path), false);
    let mut words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    let mut line: String = format!("{} /{}", request.method, words.join("/"));
    if let Some((at, _)) = line.char_indices().nth(LINE_MAX) {
        line.truncate(at);
        line.push('…');
    }
    if words.first().is_some_and(|word| is_version(word)) {
        words.remove(0);
    }
    if let [service, method] = words[..] {
        if service.contains(".v1") {
            let read = grpc::read(service, method, &request.body)?;
            return Some(finished(read, engine, line, request));
        }
    }
    let call = Call { method: &request.method, words: &words, query, body: &request.body };
    let read = match words.first() {
        Some(&"libpod") => podman::read(&call),
        Some(&"1.0") => lxd::read(&call),
        _ => docker::read(&call),
    };
    Some(finished(read, engine, line, request))
}

/// With what is the same for all engines.
fn finished(mut read: EngineRequest, engine: &str, line: String, request: &Request) -> EngineRequest {
    read.services.truncate(SERVICES_MAX);
    read.volumes.truncate(SERVICES_MAX);
    for service in &mut read.services {
        engine.clone_into(&mut service.engine);
        service.source = super::service::Source::Api;
    }
    read.line = line;
    read.incomplete |= request.cut;
    read
}

/// A request taken apart.
struct Call<'a> {
    method: &'a str,
    /// Of the path, without the version.
    words: &'a [&'a str],
    query: &'a str,
    body: &'a [u8],
}

impl Call<'_> {
    /// A parameter of the query.
    fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find_map(|(own, value)| (decoded(own, true) == name).then(|| decoded(value, true).into_owned()))
    }

    fn json(&self) -> (Json, bool) {
        json::read(self.body)
    }
}

impl EngineRequest {
    fn new(verb: Verb) -> Self {
        Self {
            verb,
            target: None,
            volumes: Vec::new(),
            services: Vec::new(),
            line: String::new(),
            incomplete: false,
        }
    }

    fn on(verb: Verb, target: Option<&str>) -> Self {
        Self { target: target.map(str::to_owned), ..Self::new(verb) }
    }

    fn of(verb: Verb, service: ContainerService, whole: bool) -> Self {
        Self { services: vec![service], incomplete: !whole, ..Self::new(verb) }
    }

    /// Whether the request names this container, by name or by the beginning of its id.
    #[must_use]
    pub fn names(&self, container: &str) -> bool {
        let fits = |name: &str| {
            let short = name.len() >= 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            name == container || short && container.starts_with(name)
        };
        self.target.as_deref().is_some_and(fits)
            || self.services.iter().any(|service| {
                service.name.as_deref().is_some_and(fits) || service.id.as_deref().is_some_and(fits)
            })
    }
}

/// A clause: `to create container web of nginx (POST /v1.41/containers/create)`.
impl fmt::Display for EngineRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verb {
            Verb::Create => "to create a container",
            Verb::Update => "to change a container",
            Verb::Control => "to start, stop or remove a container",
            Verb::Exec => "to run a program in a container",
            Verb::Copy => "to copy files into a container",
            Verb::Volume => "to create a volume",
            Verb::Service => "to run a service in the swarm",
            Verb::SwarmInit => "to become a swarm's manager",
            Verb::SwarmJoin => "to join a swarm",
            Verb::Plugin => "to run a plugin of the engine",
            Verb::Image => "to make or remove an image",
            Verb::Other => "to do something",
        })?;
        let name = self.target.as_deref().or_else(|| self.services.first()?.name.as_deref());
        if let Some(name) = name {
            write!(f, " {name}")?;
        }
        if let Some(image) = self.services.first().and_then(|service| service.image.as_deref()) {
            write!(f, " of {image}")?;
        }
        write!(f, " ({}", self.line)?;
        f.write_str(if self.incomplete { ", of which only a part was seen)" } else { ")" })
    }
}

/// `/x` of `http://host/x`, which Go's server takes as well.
fn without_host(target: &str) -> &str {
    let Some((scheme, rest)) = target.split_once("://") else { return target };
    if scheme.contains('/') {
        return target;
    }
    rest.find('/').map_or("", |at| &rest[at..])
}

/// `v1.41`, `v4.0.0`.
fn is_version(word: &str) -> bool {
    word.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|letter: char| letter.is_ascii_digit())
            && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

/// Percent-encoding undone (RFC 3986); in a query `+` is a space.
fn decoded(text: &str, query: bool) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                rest = &after[2..];
                continue;
            }
            (b'+', ..) if query => bytes.push(b' '),
            _ => bytes.push(*byte),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// `always`, `on-failure:3`; empty where a container with it does not come back.
fn restart_policy(name: &str, retries: Option<f64>) -> String {
    let policy = match retries.filter(|retries| name == "on-failure" && *retries >= 1.0) {
        Some(retries) => format!("{name}:{retries:.0}"),
        None => name.to_owned(),
    };
    if ContainerService::is_restart_policy(&policy) { policy } else { String::new() }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod recorded_tests;
