//! The command lines of docker, podman and nerdctl, as far as they make a container come back by itself.
//!
//! The grammar is that of spf13/pflag, which all three use: `--name value`, `--name=value`, `-n value`, `-nvalue`,
//! `-n=value`, booleans without a value, short booleans joined (`-dit`), and `--` to end the options. Before the verb
//! stand the engine's global options; after `run` and `create` the options end at the image.
//!
//! A boolean that is not listed here is taken for an option with a value. It then swallows the image, and the
//! container's first argument is called the image; a restart policy before it is found all the same.

use super::service::ContainerService;
use crate::event::path::lossy;

/// Global options without a value (docker(1), podman(1), nerdctl's docs/command-reference.md).
const GLOBAL_SWITCHES: [&str; 12] = [
    "debug",
    "D",
    "tls",
    "tlsverify",
    "remote",
    "r",
    "syslog",
    "transient-store",
    "noout",
    "debug-full",
    "insecure-registry",
    "experimental",
];

/// Global options with a value, of all three.
const GLOBAL_OPTIONS: [&str; 42] = [
    "config",
    "context",
    "c",
    "host",
    "H",
    "log-level",
    "l",
    "tlscacert",
    "tlscert",
    "tlskey",
    "connection",
    "url",
    "identity",
    "root",
    "runroot",
    "runtime",
    "runtime-flag",
    "storage-driver",
    "storage-opt",
    "cgroup-manager",
    "conmon",
    "events-backend",
    "hooks-dir",
    "imagestore",
    "module",
    "network-cmd-path",
    "network-config-dir",
    "out",
    "ssh",
    "tmpdir",
    "volumepath",
    "address",
    "a",
    "namespace",
    "n",
    "snapshotter",
    "storage",
    "cni-path",
    "cni-netconfpath",
    "data-root",
    "hosts-dir",
    "bridge-ip",
];

/// Options of `run`, `create` and `update` without a value (docker-run(1), podman-run(1)).
const SWITCHES: [&str; 27] = [
    "detach",
    "d",
    "interactive",
    "i",
    "tty",
    "t",
    "publish-all",
    "P",
    "quiet",
    "q",
    "rm",
    "rmi",
    "init",
    "privileged",
    "read-only",
    "read-only-tmpfs",
    "sig-proxy",
    "no-healthcheck",
    "disable-content-trust",
    "oom-kill-disable",
    "env-host",
    "http-proxy",
    "no-hosts",
    "no-hostname",
    "replace",
    "rootfs",
    "use-api-socket",
];

/// Further ones with names that the others have not.
const MORE_SWITCHES: [&str; 5] = ["passwd", "tls-verify", "unsetenv-all", "infra", "share-parent"];

/// Most arguments that are looked at: as many as [`sensor_common::limits::ARGS_MAX`] can hold.
const ARGUMENTS_MAX: usize = sensor_common::limits::ARGS_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Run,
    Create,
    Update,
    PodCreate,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Create => "create",
            Self::Update => "update",
            Self::PodCreate => "pod create",
        }
    }

    /// Whether options may follow what is no option.
    fn interspersed(self) -> bool {
        matches!(self, Self::Update | Self::PodCreate)
    }
}

/// Reads the command line of a container engine. `None` where it neither sets a policy by which a container comes back
/// by itself nor gives it a part of the host, or is none of `run`, `create`, `update`, `pod create`.
///
/// `truncated` tells that arguments are missing at the end; then the image may be among them. `strict` is for a
/// program that is not known to be an engine: before the verb only what an engine knows may stand.
pub fn parse<'a>(
    args: impl Iterator<Item = &'a [u8]>,
    truncated: bool,
    strict: bool,
) -> Option<ContainerService> {
    let service = command(args, truncated, strict)?;
    // Of a program that is not known, only a policy proves what language it speaks.
    let matters = service.comes_back() || !strict && service.access.grant().is_some();
    matters.then_some(service)
}

/// As [`parse`], whatever the container is given.
pub fn command<'a>(
    args: impl Iterator<Item = &'a [u8]>,
    truncated: bool,
    strict: bool,
) -> Option<ContainerService> {
    let mut args = Arguments { rest: args.take(ARGUMENTS_MAX).collect(), next: 1 };
    let verb = args.verb(strict)?;
    let mut service = ContainerService { verb: verb.name().to_owned(), ..ContainerService::default() };
    let mut entry_point: Option<String> = None;
    while let Some(item) = args.item(is_switch) {
        match item {
            Item::Option { name, value } if name == "entrypoint" => {
                entry_point = Some(lossy(value).into_owned());
            }
            Item::Option { name, value } => option(&mut service, &name, value),
            Item::Switch { name, on } => switch(&mut service, &name, on),
            Item::Positional(value) => {
                service.image.get_or_insert_with(|| lossy(value).into_owned());
                if !verb.interspersed() {
                    args.remaining().for_each(|argument| service.argument(lossy(argument)));
                    break;
                }
            }
        }
    }
    if let Some(program) = entry_point {
        service.command.insert(0, program);
    }
    let image_needed = verb != Verb::PodCreate && !truncated;
    if image_needed && service.image.is_none() {
        return None;
    }
    Some(service)
}

/// Takes up options of `run` that stand somewhere else, without verb and image: `PodmanArgs=` of a Quadlet.
pub fn options<'a>(args: impl Iterator<Item = &'a [u8]>, service: &mut ContainerService) {
    let mut args = Arguments { rest: args.take(ARGUMENTS_MAX).collect(), next: 0 };
    while let Some(item) = args.item(is_switch) {
        match item {
            Item::Option { name, value } => option(service, &name, value),
            Item::Switch { name, on } => switch(service, &name, on),
            Item::Positional(_) => {}
        }
    }
}

fn option(service: &mut ContainerService, name: &str, value: &[u8]) {
    match name {
        // The last one counts, and one that is no policy is none.
        "restart" => {
            let policy = lossy(value).into_owned();
            service.restart_policy =
                Some(policy).filter(|policy| ContainerService::is_restart_policy(policy)).unwrap_or_default();
        }
        "user" | "u" => service.user = Some(lossy(value).into_owned()),
        "entrypoint" => service.command.insert(0, lossy(value).into_owned()),
        "name" => service.name = Some(lossy(value).into_owned()),
        _ => service.access.option(name, value),
    }
}

fn switch(service: &mut ContainerService, name: &str, on: bool) {
    if name == "privileged" {
        service.access.privileged(on);
    }
}

fn is_switch(name: &str) -> bool {
    SWITCHES.contains(&name) || MORE_SWITCHES.contains(&name)
}

fn is_global_switch(name: &str) -> bool {
    GLOBAL_SWITCHES.contains(&name)
}

enum Item<'a> {
    Option { name: String, value: &'a [u8] },
    Switch { name: String, on: bool },
    Positional(&'a [u8]),
}

struct Arguments<'a> {
    rest: Vec<&'a [u8]>,
    next: usize,
}

impl<'a> Arguments<'a> {
    fn take(&mut self) -> Option<&'a [u8]> {
        let arg = *self.rest.get(self.next)?;
        self.next += 1;
        Some(arg)
    }

    fn remaining(&self) -> impl Iterator<Item = &'a [u8]> {
        self.rest.iter().skip(self.next).copied()
    }

    /// The verb, past the global options.
    fn verb(&mut self, strict: bool) -> Option<Verb> {
        match self.word(strict)? {
            b"run" => Some(Verb::Run),
            b"create" => Some(Verb::Create),
            b"update" => Some(Verb::Update),
            b"container" => match self.word(strict)? {
                b"run" => Some(Verb::Run),
                b"create" => Some(Verb::Create),
                b"update" => Some(Verb::Update),
                _ => None,
            },
            b"pod" => (self.word(strict)? == b"create").then_some(Verb::PodCreate),
            _ => None,
        }
    }

    fn word(&mut self, strict: bool) -> Option<&'a [u8]> {
        loop {
            match self.item(is_global_switch)? {
                Item::Positional(word) => return Some(word),
                Item::Option { name, .. } if strict && !GLOBAL_OPTIONS.contains(&name.as_str()) => {
                    return None;
                }
                Item::Option { .. } | Item::Switch { .. } => {}
            }
        }
    }

    /// The next option or word. Of a group of short switches nothing is asked, so it comes as one without a name.
    fn item(&mut self, is_switch: impl Fn(&str) -> bool) -> Option<Item<'a>> {
        let arg = self.take()?;
        if arg == b"--" {
            // Everything behind is positional; the first word is all that is asked for.
            return self.take().map(Item::Positional);
        }
        if let Some(long) = arg.strip_prefix(b"--") {
            return Some(self.long(long, is_switch));
        }
        match arg.strip_prefix(b"-") {
            Some(short) if !short.is_empty() => Some(self.short(short, is_switch)),
            _ => Some(Item::Positional(arg)),
        }
    }

    fn long(&mut self, long: &'a [u8], is_switch: impl Fn(&str) -> bool) -> Item<'a> {
        let (name, value) = match long.iter().position(|byte| *byte == b'=') {
            Some(at) => (&long[..at], Some(&long[at + 1..])),
            None => (long, None),
        };
        let name = lossy(name).into_owned();
        if is_switch(&name) {
            return Item::Switch { name, on: value.is_none_or(is_true) };
        }
        let value = value.or_else(|| self.take()).unwrap_or_default();
        Item::Option { name, value }
    }

    fn short(&mut self, group: &'a [u8], is_switch: impl Fn(&str) -> bool) -> Item<'a> {
        let mut rest = group;
        while let Some((letter, after)) = rest.split_first() {
            let name = char::from(*letter).to_string();
            let value = after.strip_prefix(b"=");
            if !is_switch(&name) {
                let value = match after {
                    [] => self.take().unwrap_or_default(),
                    attached => value.unwrap_or(attached),
                };
                return Item::Option { name, value };
            }
            if let Some(value) = value {
                return Item::Switch { name, on: is_true(value) };
            }
            rest = after;
        }
        Item::Switch { name: String::new(), on: true }
    }
}

/// `strconv.ParseBool` of Go.
fn is_true(value: &[u8]) -> bool {
    matches!(value, b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True")
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
