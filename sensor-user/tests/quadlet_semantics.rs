//! What a Quadlet comes to, against podman's own generator: the container that we read out of a source is the one that the
//! command line describes which `quadlet -dryrun` makes of it.
//!
//! `SVCSENSOR_QUADLET` names a folder with `quadlet`, and the loader and C library that it was built for (`ld.so`, `lib`);
//! `cargo xtask test --only units` fetches them. Without it the comparison is skipped, and said so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use sensor_user::subject::container::quadlet::{self, Quadlet};
use sensor_user::subject::container::service::ContainerService;
use sensor_user::subject::container::{asked, cli};
use sensor_user::subject::unit::words::{Rules, words};

/// Sources that are compared.
const SOURCES: usize = 600;

/// Lines of `[Container]`; each is taken or left.
const CONTAINER: [&str; 34] = [
    "Exec=sleep 1000",
    "Exec=sh -c \"id > /x; echo 'a b'\"",
    "Exec=-c \"\\x41 \\101\"",
    "Entrypoint=/bin/sh",
    "ContainerName=named",
    "User=0",
    "User=1000\nGroup=1000",
    "Volume=/:/host",
    "Volume=/etc/systemd/system:/units:ro",
    "Volume=data:/data",
    "Volume=/srv:/srv",
    "Mount=type=bind,source=/etc,target=/x",
    "Mount=type=tmpfs,destination=/t",
    "AddCapability=CAP_SYS_ADMIN",
    "AddCapability=NET_ADMIN SYS_PTRACE",
    "DropCapability=ALL",
    "AddDevice=/dev/sda",
    "AddDevice=/dev/dri:/dev/x",
    "Network=host",
    "Network=none",
    "SecurityLabelDisable=true",
    "SecurityLabelDisable=no",
    "SeccompProfile=unconfined",
    "Unmask=ALL",
    "UserNS=host",
    "PodmanArgs=--privileged",
    "PodmanArgs=--privileged=false",
    "PodmanArgs=--pid=host --ipc host",
    "PodmanArgs=-v /run/podman/podman.sock:/s \\\n  --uts=host",
    "Environment=\"A=b c\" D=e",
    "RunInit=yes",
    "ReadOnly=true",
    "PublishPort=80:80",
    "NoNewPrivileges=true",
];

/// Lines of `[Pod]`.
const POD: [&str; 5] =
    ["Network=host", "Volume=/:/host", "PodmanArgs=--uts=host", "PublishPort=8080:80", "UserNS=host"];

/// Numbers that are the same in each run (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.next().is_multiple_of(number)
    }

    fn some<'a>(&mut self, lines: &[&'a str]) -> Vec<&'a str> {
        let rarity = 2 + self.next() % 8;
        lines.iter().copied().filter(|_| self.one_in(rarity)).collect()
    }
}

/// Name and text of each source.
fn sources() -> BTreeMap<String, String> {
    let mut numbers = Numbers(4711);
    let mut sources = BTreeMap::new();
    for at in 0..SOURCES {
        let template = if numbers.one_in(6) { "@" } else { "" };
        let (suffix, section, lines) = match numbers.next() % 6 {
            0 => ("pod", "Pod", numbers.some(&POD)),
            1 => ("kube", "Kube", vec!["Yaml=/srv/pod.yaml"]),
            _ => ("container", "Container", numbers.some(&CONTAINER)),
        };
        let mut text = format!("# {at}\n[{section}]\n");
        if suffix == "container" {
            text.push_str("Image=registry.example/app:1\n");
        }
        for line in lines {
            let _infallible = writeln!(text, "{line}");
        }
        if numbers.one_in(4) && template.is_empty() {
            let _infallible = writeln!(text, "ServiceName=own{at}");
        }
        text.push_str("[Service]\nRestart=always\n[Install]\nWantedBy=default.target\n");
        sources.insert(format!("s{at}{template}.{suffix}"), text);
    }
    sources
}

/// What podman's generator makes of a directory: the text of each service.
fn generated(tools: &Path, directory: &Path) -> BTreeMap<String, String> {
    let output = Command::new(tools.join("ld.so"))
        .arg("--library-path")
        .arg(tools.join("lib"))
        .arg(tools.join("quadlet"))
        .arg("-dryrun")
        .env("QUADLET_UNIT_DIRS", directory)
        .output()
        .expect("quadlet starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut services: BTreeMap<String, String> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        match line.strip_prefix("---").and_then(|rest| rest.strip_suffix("---")) {
            Some(begun) => begun.clone_into(&mut name),
            None => services.entry(name.clone()).or_default().extend([line, "\n"]),
        }
    }
    services
}

/// The command of a service that makes the container or pod.
fn command(service: &str, kind: quadlet::Kind) -> Vec<Vec<u8>> {
    let key = if kind == quadlet::Kind::Pod { "ExecStartPre=" } else { "ExecStart=" };
    let mut made = service.lines().filter_map(|line| line.strip_prefix(key));
    let line = made.next_back().unwrap_or_else(|| panic!("no {key} in {service}"));
    words(line.as_bytes(), Rules::COMMAND, 4096).0
}

/// What of a container is compared. podman writes capabilities in lower case, and `label:disable`.
fn compared(service: &ContainerService) -> (Option<String>, Option<String>, Vec<String>, BTreeSet<String>) {
    let options = service.access.options().map(|option| option.to_lowercase().replace("label:", "label="));
    (service.image.clone(), service.user.clone(), service.command.clone(), options.collect())
}

#[test]
fn a_quadlet_is_read_as_podman_reads_it() {
    let Some(tools) = std::env::var_os("SVCSENSOR_QUADLET") else {
        println!("skipped: SVCSENSOR_QUADLET names no podman to compare with");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let sources = sources();
    for (name, text) in &sources {
        std::fs::write(directory.path().join(name), text).expect("written");
    }
    let services = generated(Path::new(&tools), directory.path());
    let mut equal = 0;
    for (name, text) in &sources {
        let own: Quadlet = quadlet::read(name, text.as_bytes()).expect("a Quadlet");
        let unit = own.unit.clone().expect("a service");
        let Some(service) = services.get(&unit) else {
            panic!(
                "podman makes no {unit} of {name}, but {:?}:\n{text}",
                services.keys().collect::<Vec<_>>()
            );
        };
        let args = command(service, own.kind);
        let args = || args.iter().map(Vec::as_slice);
        if own.kind == quadlet::Kind::Kube {
            let asked = asked::asked("podman", args()).expect("kube play");
            assert_eq!(Some(&asked.files[0]), own.manifest.as_ref(), "{name}:\n{text}\n{service}");
        } else {
            let theirs = cli::command(args(), false, false).expect("a command of podman's");
            assert_eq!(compared(&own.container), compared(&theirs), "{name}:\n{text}\n{service}");
            assert_eq!(own.container.verb, theirs.verb, "{name}");
        }
        let restart = service.lines().filter_map(|line| line.strip_prefix("Restart=")).next_back();
        assert_eq!(restart, Some(&*own.container.restart_policy), "{name}:\n{text}\n{service}");
        equal += 1;
    }
    println!("{equal} Quadlets read as podman reads them");
}
