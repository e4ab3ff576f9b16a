//! Rows, and names in and out of force.

use proptest::prelude::*;

use super::*;

const PARENT: &str = "/etc/x";

fn say(class: WatchClass, relative: &str) -> String {
    let kind = of(class).expect("a row");
    match kind.meaning(kind.scope(PARENT, None), relative.as_bytes()) {
        Meaning::Part(part) => {
            let provisional = if part.provisional { " provisional" } else { "" };
            format!("{}{provisional}", String::from_utf8_lossy(part.name))
        }
        Meaning::Temporary => "temporary".into(),
        Meaning::Nothing => "nothing".into(),
    }
}

#[test]
fn each_class_and_part_has_one_row() {
    for (at, kind) in kinds().enumerate() {
        let same = |other: &Kind| other.class == kind.class || other.part == kind.part;
        assert_eq!(kinds().position(same), Some(at), "{:?} twice", kind.class);
        for path in kind.paths {
            let name = last(path);
            assert!(name != "*" || kind.files.is_empty(), "{path}: a file or not?");
        }
        for file in kind.files {
            assert!(
                kind.paths.iter().any(|path| path.ends_with(&format!("/{file}"))),
                "{file} is not in the list"
            );
        }
        for user in kind.users {
            assert!(kind.paths.iter().any(|path| last(path) == *user), "{user} is not in the list");
        }
    }
}

#[test]
fn names_in_force_and_not() {
    use WatchClass as Class;
    for (class, relative, expected) in [
        (Class::Tmpfiles, "evil.conf", "evil.conf"),
        (Class::Tmpfiles, ".evil.conf", "temporary"),
        (Class::Tmpfiles, "evil.conf~", "temporary"),
        (Class::Tmpfiles, "evil.conf.dpkg-new", "temporary"),
        (Class::Tmpfiles, "evil", "nothing"),
        (Class::Tmpfiles, "sub/evil.conf", "nothing"),
        (Class::Preset, "10-evil.preset", "10-evil.preset"),
        (Class::Preset, "10-evil.conf", "nothing"),
        (Class::UdevRules, "99-evil.rules", "99-evil.rules"),
        (Class::UdevRules, "README", "nothing"),
        (Class::PolkitRules, "50-local.d/x.pkla", "x.pkla"),
        (Class::SleepHook, "evil", "evil"),
        (Class::SleepHook, "sedAbCdEf", "sedAbCdEf provisional"),
        (Class::SleepHook, "sub/evil", "nothing"),
        (Class::Supervision, "evil", "evil"),
        (Class::Supervision, "evil/run", "evil"),
        (Class::Supervision, "evil/log/run", "evil"),
        (Class::Supervision, "evil/env/LD_PRELOAD", "evil"),
        (Class::Supervision, "source/evil/type", "evil"),
        (Class::Supervision, "evil/supervise/status", "nothing"),
        (Class::Supervision, "evil/supervise/control", "nothing"),
        (Class::Supervision, "evil/log/main/current", "nothing"),
        (Class::ExtensionImage, "evil.raw", "evil.raw"),
        (Class::ExtensionImage, "evil/usr/lib/extension-release.d/extension-release.evil", "evil"),
        (Class::ExtensionImage, "evil/usr/lib/systemd/system/evil.service", "evil"),
        (Class::ExtensionImage, "evil/usr/share/doc/x", "nothing"),
        (Class::ExtensionImage, "evil.raw.v/evil_2.raw", "evil.raw.v"),
        (Class::ExtensionImage, "evil.v/evil_2/usr/lib/os-release", "evil.v"),
        (Class::ExtensionImage, "evil/usr/lib/x.v/y", "nothing"),
        (Class::BootConfig, "entries/evil.conf", "evil.conf"),
        (
            Class::BootConfig,
            "credentials/systemd.extra-unit.evil.service.cred",
            "systemd.extra-unit.evil.service.cred",
        ),
        (Class::BootConfig, "random-seed", "nothing"),
        (Class::Initramfs, "scripts/init-bottom/evil", "evil"),
        (Class::InitSystem, "default/evil", "evil"),
        (Class::DbusActivation, "org.evil.service", "org.evil.service"),
        (Class::Schedule, "root", "root"),
        (Class::Schedule, "tmp.AbCdEf", "tmp.AbCdEf provisional"),
        (Class::Quadlet, "evil.container", "evil.container"),
        (Class::Quadlet, ".evil.container", ".evil.container"),
        (Class::Quadlet, "sub/evil.pod", "evil.pod"),
        (Class::Quadlet, "web.container.d/10-evil.conf", "web.container"),
        (Class::Quadlet, "container.d/10-evil.conf", "container"),
        (Class::Quadlet, "web.container.d", "web.container"),
        (Class::Quadlet, "web.container.d/10-evil.txt", "nothing"),
        (Class::Quadlet, "evil.conf", "nothing"),
        (Class::Quadlet, "evil.container~", "temporary"),
        (Class::Quadlet, "evil.yaml", "nothing"),
        (Class::StaticPod, "evil.yaml", "evil.yaml"),
        (Class::StaticPod, "kube-apiserver.yaml.bak", "kube-apiserver.yaml.bak"),
        (Class::StaticPod, "evil", "evil"),
        (Class::StaticPod, ".evil.yaml", "temporary"),
        (Class::StaticPod, "sub/evil.yaml", "nothing"),
        (Class::ClusterManifest, "sub/evil.yaml", "evil.yaml"),
        (Class::ClusterManifest, "evil.skip", "nothing"),
        (Class::RuntimeProgram, "containerd-shim-evil-v2", "containerd-shim-evil-v2"),
        (Class::RuntimeProgram, "docker-credential-evil", "docker-credential-evil"),
        (Class::RuntimeProgram, "runc", "runc"),
        (Class::RuntimeProgram, "evil", "nothing"),
        (Class::RuntimeProgram, "runc.dpkg-new", "temporary"),
        (Class::EngineConfig, "certs.d/h/hosts.toml", "hosts.toml"),
        (Class::EngineConfig, "key.pem", "nothing"),
        (Class::EngineConfig, "key.json", "nothing"),
        (Class::EngineConfig, "contexts/meta/x/meta.json", "nothing"),
        (Class::EngineConfig, "networks/x.json", "nothing"),
        (Class::EngineConfig, "systemd/web.container", "web.container"),
        (Class::EngineConfig, "systemd", "systemd"),
        (Class::EngineConfig, "systemd/README", "nothing"),
        (Class::EngineConfig, "oci/hooks.d/x.json", "x.json"),
        (Class::EngineConfig, "cli-plugins/docker-x", "docker-x"),
        (Class::RuntimeHook, "evil.conflist", "evil.conflist"),
        (Class::MaintainerScript, "bash.postinst", "bash.postinst"),
        (Class::MaintainerScript, "bash.list", "nothing"),
    ] {
        assert_eq!(say(class, relative), expected, "{class:?} {relative}");
    }
}

#[test]
fn single_files_scopes_and_packages() {
    use WatchClass as Class;
    for (class, path, single) in [
        (Class::Environment, "/etc/environment", true),
        (Class::Environment, "/etc/environment.d", false),
        (Class::ManagerConfig, "/etc/systemd/system.conf", true),
        (Class::ManagerConfig, "/etc/systemd/system.conf.d", false),
        (Class::RcLocal, "/etc/rc.d/rc.local", true),
        (Class::RcLocal, "/etc/rc.local.d", false),
        (Class::SystemUnit, "/etc/systemd/system", false),
        (Class::EngineConfig, "/etc/docker", false),
        (Class::EngineConfig, "/etc/default/docker", true),
        (Class::EngineConfig, "/home/a/.docker", false),
        (Class::RuntimeProgram, "/usr/bin/runc", true),
        (Class::RuntimeProgram, "/usr/libexec/podman", false),
        (Class::RuntimeProgram, "/usr/local/bin", false),
        (Class::MachineConfig, "/var/lib/lxc/x/config", true),
        (Class::MachineConfig, "/etc/lxc", false),
    ] {
        assert_eq!(is_file(class, path), single, "{path}");
    }
    let config = of(Class::ManagerConfig).expect("a row");
    assert_eq!(config.scope("/etc/systemd/user.conf", None), Scope::User);
    assert_eq!(config.scope("/etc/systemd/system.conf", None), Scope::System);
    assert_eq!(config.scope("/home/a/.config/systemd/x", Some(1000)), Scope::User);
    assert!(config.is_of_packages(b"/usr/lib/systemd/system.conf.d/x.conf"));
    assert!(!config.is_of_packages(b"/usr/local/lib/systemd/system.conf.d/x.conf"));
    assert!(of(Class::DbusActivation).expect("a row").is_of_packages(b"/etc/dbus-1/system.d/x.conf"));
}

proptest! {
    #[test]
    fn no_path_panics_and_a_name_is_part_of_it(relative in proptest::collection::vec(any::<u8>(), 1..80)) {
        for kind in kinds() {
            if let Meaning::Part(part) = kind.meaning(Scope::System, &relative) {
                prop_assert!(relative.windows(part.name.len().max(1)).any(|window| window == part.name)
                    || part.name.is_empty());
            }
        }
    }
}
