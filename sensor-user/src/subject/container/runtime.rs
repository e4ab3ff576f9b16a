//! The command line of an OCI runtime: which bundle becomes which container.
//!
//! runc(8), crun(1), youki and runsc share the commands of runc: `RUNTIME [GLOBAL] create|run|restore [OPTION] ID`.

use std::borrow::Cow;

/// What a runtime is told to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// `run`, `create` or `restore`.
    pub verb: &'static str,
    /// The name or id that the container gets.
    pub id: &'a str,
    /// The directory of its `config.json`; relative to the working directory where it does not begin with "/".
    pub bundle: &'a [u8],
}

/// Options with a value, before and after the command. All others are switches.
const VALUED: [&[u8]; 24] = [
    b"--root",
    b"--log",
    b"--log-format",
    b"--log-level",
    b"--criu",
    b"--rootless",
    b"--cgroup-manager",
    b"--bundle",
    b"-b",
    b"--config",
    b"-f",
    b"--console-socket",
    b"--pid-file",
    b"--preserve-fds",
    b"--image-path",
    b"--work-path",
    b"--parent-path",
    b"--manage-cgroups-mode",
    b"--status-fd",
    b"--lsm-profile",
    b"--lsm-mount-context",
    b"--platform",
    b"--network",
    b"--debug-log",
];

/// Reads a command line; `None` where nothing is started.
pub fn parse<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Option<Start<'a>> {
    let mut arguments = arguments.skip(1);
    let mut verb = None;
    let mut bundle: &[u8] = b".";
    let mut id = None;
    while let Some(argument) = arguments.next() {
        if argument.starts_with(b"-") && argument.len() > 1 {
            let (name, value) = match argument.iter().position(|byte| *byte == b'=') {
                Some(at) => (&argument[..at], Some(&argument[at + 1..])),
                None => (argument, None),
            };
            let value = if value.is_none() && VALUED.contains(&name) { arguments.next() } else { value };
            if matches!(name, b"--bundle" | b"-b") {
                bundle = value?;
            }
            continue;
        }
        if verb.is_some() {
            id = std::str::from_utf8(argument).ok();
            break;
        }
        verb = Some(match argument {
            b"run" => "run",
            b"create" => "create",
            b"restore" => "restore",
            _ => return None,
        });
    }
    Some(Start { verb: verb?, id: id.filter(|id| !id.is_empty() && id.len() <= 1024)?, bundle })
}

impl Start<'_> {
    /// The bundle's path, out of the working directory where it is relative.
    #[must_use]
    pub fn bundle_in(&self, directory: &[u8]) -> Cow<'_, [u8]> {
        if self.bundle.starts_with(b"/") {
            return Cow::Borrowed(self.bundle);
        }
        let below = if self.bundle == b"." { &b""[..] } else { self.bundle };
        let mut path = directory.strip_suffix(b"/").unwrap_or(directory).to_vec();
        if !below.is_empty() {
            path.push(b'/');
            path.extend_from_slice(below);
        }
        Cow::Owned(path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start(line: &str) -> Option<(&'static str, String, String)> {
        let parsed = parse(line.split(' ').map(str::as_bytes))?;
        let bundle = String::from_utf8(parsed.bundle_in(b"/root/x").into_owned()).expect("text");
        Some((parsed.verb, parsed.id.to_owned(), bundle))
    }

    #[test]
    fn engines_and_hands_start_alike() {
        for (line, expected) in [
            (
                "runc --root /run/docker/runtime-runc/moby --log /x/log.json --log-format json --systemd-cgroup create --bundle /run/b --pid-file /run/b/init.pid abc",
                ("create", "abc", "/run/b"),
            ),
            (
                "/usr/bin/crun --systemd-cgroup create --bundle /var/b/userdata --pid-file x cdef",
                ("create", "cdef", "/var/b/userdata"),
            ),
            ("runc run evil", ("run", "evil", "/root/x")),
            ("runc run -d -b bundle evil", ("run", "evil", "/root/x/bundle")),
            ("runc --debug run --bundle=/srv/b --keep evil", ("run", "evil", "/srv/b")),
        ] {
            let (verb, id, bundle) = expected;
            assert_eq!(start(line), Some((verb, id.to_owned(), bundle.to_owned())), "{line}");
        }
        for other in [
            "runc",
            "runc init",
            "runc list",
            "runc --root run",
            "runc run",
            "runc run -b",
            "runc exec evil sh",
        ] {
            assert_eq!(start(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "(-b|run|create|--bundle=|--root|[a-z./ =-]){0,12}") {
            let _any = start(&line);
        }
    }
}
