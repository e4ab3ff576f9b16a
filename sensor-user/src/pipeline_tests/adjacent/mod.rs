//! What has programs run beside units: each place of the default list, each road, and what stays quiet.

mod table;

use std::collections::BTreeSet;

use self::table::{ROWS, SENTENCES};
use super::*;
use crate::detect::quiet::Quiet;
use crate::detect::rule::Severity;
use crate::detect::rules;
use crate::subject::adjacent::kinds;

/// The directory on the way to everything, `/`.
const ROOT: u32 = 99;

/// With every default watch, of one user.
fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.user(kind::WATCH, &Watch { watch: ROOT, path: "/".into(), class: None, owner: None });
    let list = crate::config::Watch::default();
    for (number, path) in (100..).zip(list.effective()) {
        let owner = path.is_in_home().then_some(1000);
        let place = path.path.replacen('~', "/home/alice", 1).replace('*', "1000");
        machine.user(kind::WATCH, &Watch { watch: number, path: place, class: Some(path.class), owner });
    }
    machine.alerts();
    machine
}

impl Machine {
    /// One record on a path, found by way of `/`.
    fn at(&mut self, kind: u16, task: TaskContext, path: &str) {
        let record =
            self.record(kind, task).path(ROOT, sensor_common::watch::PENDING, below_root(path)).build();
        self.feed(record);
    }

    fn link_at(&mut self, path: &str, target: &str) {
        let record = FileRecordBuilder::new(kind::FILE_SYMLINK, self.now, shell())
            .path(ROOT, sensor_common::watch::PENDING, below_root(path))
            .extra(target.as_bytes());
        self.feed(record.build());
    }
}

fn below_root(path: &str) -> &[u8] {
    path.trim_start_matches('/').as_bytes()
}

fn techniques(alert: &Alert) -> Vec<&'static str> {
    alert.techniques().map(|technique| technique.id).collect()
}

#[test]
fn every_row_that_is_claimed_is_told_at_its_place_in_the_default_list() {
    let mut machine = machine();
    for (row, path, rule) in ROWS {
        machine.tick(11 * SECOND);
        machine.at(kind::FILE_CLOSE_WRITE, shell(), path);
        let told: Vec<(&str, String)> = machine
            .alerts()
            .iter()
            .map(|alert| (alert.rule.id, alert.file.as_ref().expect("a file").path.clone()))
            .collect();
        assert_eq!(told, [(*rule, (*path).to_owned())], "{row}");
    }
    // Nothing in the table is dead, but for what is not watched by default.
    let told: BTreeSet<&str> = ROWS.iter().map(|(.., rule)| *rule).collect();
    for kind in kinds().filter(|kind| !kind.paths.is_empty()) {
        let rule = rules::of_part(kind.part).expect("a rule");
        assert!(told.contains(rule.id), "{} has no row", rule.id);
    }
}

#[test]
fn each_kind_has_its_severity_techniques_and_sentence() {
    for (path, severity, ids, what) in SENTENCES {
        let mut machine = machine();
        machine.at(kind::FILE_CLOSE_WRITE, shell(), path);
        let alert = machine.one();
        assert_eq!(alert.summary, format!("bash (pid 812, root, login alice) wrote {what}"));
        assert_eq!(alert.severity, *severity, "{path}: {}", reasons(&alert));
        assert_eq!(techniques(&alert), *ids, "{path}");
    }
}

#[test]
fn every_road_to_a_kind_is_told() {
    type Road = fn(&mut Machine);
    let roads: [(&str, &str, Road); 9] = [
        ("systemd.tmpfiles.written", "moved into place tmpfiles.d entry", |m| {
            let root = sensor_common::watch::PENDING;
            let record = m
                .record(kind::FILE_RENAME, shell())
                .path(ROOT, root, b"etc/tmpfiles.d/x.conf")
                .other(NONE, 0, b"/tmp/x")
                .build();
            m.feed(record);
        }),
        ("udev.rule.written", "linked udev rules", |m| {
            m.link_at("/etc/udev/rules.d/x.rules", "/opt/x.rules");
        }),
        ("init.supervised-service.written", "linked supervised service evil", |m| {
            m.link_at("/etc/service/evil", "/etc/sv/evil");
        }),
        ("startup.entry.masked", "masked udev rules", |m| {
            m.link_at("/etc/udev/rules.d/x.rules", "/dev/null");
        }),
        ("startup.entry.removed", "removed udev rules", |m| {
            m.at(kind::FILE_UNLINK, shell(), "/etc/udev/rules.d/x.rules");
        }),
        ("systemd.tmpfiles.written", "linked directory tmpfiles.d in /etc", |m| {
            m.link_at("/etc/tmpfiles.d", "/opt/tmpfiles.d");
        }),
        ("environment.file.written", "mounted something on", |m| {
            m.at(kind::MOUNT, shell(), "/etc/environment");
        }),
        ("systemd.sleep-hook.written", "made executable sleep or shutdown hook", |m| {
            let record = m
                .record(kind::FILE_ATTRIBUTE, shell())
                .path(ROOT, sensor_common::watch::PENDING, b"etc/systemd/system-sleep/x")
                .argument(1 << 32 | 0o755)
                .build();
            m.feed(record);
        }),
        ("startup.entry.attributes-changed", "changed mode or owner of tmpfiles.d entry", |m| {
            let record = m
                .record(kind::FILE_ATTRIBUTE, shell())
                .path(ROOT, sensor_common::watch::PENDING, b"etc/tmpfiles.d/x.conf")
                .argument(1 << 32 | 0o600)
                .build();
            m.feed(record);
        }),
    ];
    for (at, (rule, deed, road)) in roads.into_iter().enumerate() {
        let mut machine = machine();
        road(&mut machine);
        machine.tick(SECOND);
        let alert = machine.one();
        assert_eq!(alert.rule.id, rule, "road {at}");
        assert!(alert.summary.contains(deed), "{}", alert.summary);
    }
}

#[test]
fn content_outweighs_attributes_here_too() {
    let mut machine = machine();
    let chmod = machine
        .record(kind::FILE_ATTRIBUTE, shell())
        .path(ROOT, sensor_common::watch::PENDING, b"etc/tmpfiles.d/x.conf")
        .argument(1 << 32 | 0o644);
    machine.feed(chmod.build());
    machine.at(kind::FILE_OPEN_WRITE, shell(), "/etc/tmpfiles.d/x.conf");
    machine.at(kind::FILE_CLOSE_WRITE, shell(), "/etc/tmpfiles.d/x.conf");
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.score), ("systemd.tmpfiles.written", 70), "{}", reasons(&alert));
}

#[test]
fn names_that_are_not_in_force_say_nothing() {
    let mut machine = machine();
    for path in [
        "/etc/tmpfiles.d/README",
        "/etc/tmpfiles.d/.x.conf",
        "/etc/tmpfiles.d/x.conf.dpkg-new",
        "/etc/tmpfiles.d/sub/x.conf",
        "/etc/systemd/system-preset/x.conf",
        "/etc/systemd/system.conf.d/x",
        "/etc/udev/rules.d/x.rules~",
        "/etc/udev/rules.d/README",
        "/usr/lib/udev/rules.d/x",
        "/etc/polkit-1/rules.d/x.js",
        "/home/alice/.config/autostart/x.sh",
        "/var/lib/extensions/x/usr/share/doc/x",
        "/boot/loader/random-seed",
        "/boot/grub/grubenv",
        "/etc/sv/x/supervise/status",
        "/etc/sv/x/log/main/current",
        "/run/service/x/event/y",
        "/etc/modprobe.d/x",
        "/etc/systemd/logind.conf",
        "/var/lib/systemd/random-seed",
        "/etc/kubernetes/manifests/.x.yaml.swp",
        "/etc/kubernetes/manifests/sub/x.yaml",
        "/etc/containers/systemd/README",
        "/etc/containers/systemd/x.container.swp",
        "/etc/docker/key.pem",
        "/etc/kubernetes/pki/ca.crt",
        "/var/lib/kubelet/pods/x/etc-hosts",
        "/var/lib/lxc/1000/rootfs/etc/passwd",
        "/run/containers/storage/x/config.json",
        "/usr/local/bin/x",
        "/usr/bin/x",
        "/home/alice/.docker/buildx/activity/x",
        "/home/alice/.docker/contexts/meta/x/meta.json",
        "/etc/docker/key.json",
        "/etc/containers/networks/x.json",
    ] {
        machine.at(kind::FILE_CLOSE_WRITE, shell(), path);
        machine.at(kind::FILE_UNLINK, shell(), path);
    }
    machine.tick(SECOND);
    let said: Vec<String> = machine.alerts().into_iter().map(|alert| alert.summary).collect();
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn what_packages_keep_weighs_little() {
    for path in [
        "/usr/lib/tmpfiles.d/x.conf",
        "/usr/lib/systemd/system-preset/x.preset",
        "/usr/lib/systemd/system.conf.d/x.conf",
        "/usr/lib/systemd/system-sleep/x",
        "/usr/lib/udev/rules.d/x.rules",
        "/usr/lib/environment.d/x.conf",
        "/usr/share/dbus-1/system-services/x.service",
        "/etc/dbus-1/system.d/x.conf",
        "/usr/share/polkit-1/actions/x.policy",
        "/usr/share/initramfs-tools/hooks/x",
        "/etc/xdg/autostart/x.desktop",
        "/etc/default/x",
        "/etc/apt/apt.conf.d/x",
        "/etc/cron.daily/x",
        "/etc/network/if-up.d/x",
        "/etc/kernel/postinst.d/x",
        "/boot/grub/grub.cfg",
        "/boot/loader/entries/x.conf",
        "/etc/modprobe.d/x.conf",
    ] {
        let mut machine = machine();
        machine.at(kind::FILE_CLOSE_WRITE, shell(), path);
        let alert = machine.one();
        assert_eq!(alert.severity, Severity::Low, "{path}: {}", reasons(&alert));
    }
}

#[test]
fn a_credential_is_no_packages_and_a_rule_that_wants_a_unit_is_as_bad_as_its_link() {
    let mut machine = machine();
    machine.at(kind::FILE_CLOSE_WRITE, shell(), "/boot/loader/credentials/systemd.extra-unit.x.service.cred");
    assert_eq!(machine.one().severity, Severity::High);

    let rules = "/etc/udev/rules.d/x.rules";
    for (text, severity) in [
        ("# SYSTEMD_WANTS\n", Severity::Medium),
        ("TAG+=\"systemd\", ENV{SYSTEMD_WANTS}=\"x.service\"\n", Severity::High),
    ] {
        machine.tick(11 * SECOND);
        machine.files.insert(rules.into(), text_file(text));
        machine.at(kind::FILE_CLOSE_WRITE, shell(), rules);
        let alert = machine.one();
        assert_eq!((alert.rule.id, alert.severity), ("udev.rule.written", severity), "{}", reasons(&alert));
    }
}

#[test]
fn services_at_run_time_and_logind_weigh_little_and_a_hand_does_not() {
    let mut machine = machine();
    for (id, path) in
        [(80, "/system.slice/kmod-static-nodes.service"), (81, "/system.slice/systemd-logind.service")]
    {
        machine.user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id, path: path.into() });
    }
    let service = |cgroup_id| TaskContext { cgroup_id, loginuid: u32::MAX, ..task(400, PID1) };
    machine.at(kind::FILE_CLOSE_WRITE, service(80), "/run/tmpfiles.d/static-nodes.conf");
    let alert = machine.one();
    assert_eq!(alert.severity, Severity::Low, "{}", reasons(&alert));
    machine.at(kind::FILE_CLOSE_WRITE, service(81), "/var/lib/systemd/linger/alice");
    let alert = machine.one();
    assert_eq!(alert.severity, Severity::Low, "{}", reasons(&alert));

    machine.at(kind::FILE_CLOSE_WRITE, shell(), "/run/tmpfiles.d/evil.conf");
    assert_eq!(machine.one().severity, Severity::Medium);
    machine.at(kind::FILE_CLOSE_WRITE, service(80), "/var/lib/systemd/linger/bob");
    assert_eq!(machine.one().severity, Severity::Medium);
    // Somebody who logged in, inside the same control group.
    let guest = TaskContext { cgroup_id: 80, ..task(401, PID1) };
    machine.at(kind::FILE_CLOSE_WRITE, guest, "/run/tmpfiles.d/evil2.conf");
    assert_eq!(machine.one().severity, Severity::Medium);
}

#[test]
fn a_generators_udev_rules_are_quiet_and_anyone_elses_are_not() {
    let mut machine = machine();
    let generator = |machine: &mut Machine, parent, pid| {
        let helper = machine.fork(parent, pid);
        machine.exec(helper, "/usr/lib/systemd/system-generators/netplan", 70, &["netplan"]);
        helper
    };
    let started = generator(&mut machine, init(), 1000);
    machine.at(kind::FILE_CLOSE_WRITE, started, "/run/udev/rules.d/99-netplan.rules");
    assert!(machine.alerts().is_empty());
    assert_eq!(machine.pipeline.stats().quiet[Quiet::GeneratorOutput as usize], 1);
    machine.at(kind::FILE_CLOSE_WRITE, started, "/etc/udev/rules.d/99-netplan.rules");
    assert_eq!(machine.rules(), ["udev.rule.written"]);
    let by_hand = generator(&mut machine, shell(), 1001);
    machine.at(kind::FILE_CLOSE_WRITE, by_hand, "/run/udev/rules.d/99-evil.rules");
    assert_eq!(machine.rules(), ["udev.rule.written"]);
}

#[test]
fn mounts_on_the_way_are_quiet_and_a_directory_on_the_way_that_is_exchanged_is_not() {
    let mut machine = machine();
    for path in ["/boot", "/boot/efi", "/var", "/var/spool", "/srv"] {
        machine.at(kind::MOUNT, init(), path);
    }
    assert!(machine.alerts().is_empty());
    machine.at(kind::MOUNT, init(), "/etc/systemd");
    assert_eq!(machine.rules(), ["systemd.unit-directory.mounted-over"], "units lie there too");
    machine.link_at("/etc/udev", "/opt/udev");
    assert_eq!(machine.rules(), ["udev.rule.written"]);
    machine.link_at("/etc/systemd", "/opt/systemd");
    assert_eq!(machine.rules(), ["systemd.unit-directory.replaced"]);
}

#[test]
fn timers_and_devices_carry_their_techniques_beside_the_services() {
    for (path, ids) in [
        ("/etc/systemd/system/x.timer", &["T1543.002", "T1053.006"][..]),
        ("/etc/systemd/system/x.timer.d/a.conf", &["T1543.002", "T1053.006"]),
        ("/etc/systemd/system/timer.d/a.conf", &["T1543.002", "T1053.006"]),
        ("/home/alice/.config/systemd/user/x.timer", &["T1543.002", "T1053.006"]),
        ("/etc/systemd/system/timers.target.wants/x.timer", &["T1543.002", "T1053.006"]),
        ("/etc/systemd/system/dev-sda.device.wants/x.service", &["T1543.002", "T1546.017"]),
        ("/etc/systemd/system/x.service", &["T1543.002"]),
        ("/etc/systemd/system/timers.target", &["T1543.002"]),
    ] {
        let mut machine = machine();
        machine.at(kind::FILE_CLOSE_WRITE, shell(), path);
        assert_eq!(techniques(&machine.one()), ids, "{path}");
    }
}

#[test]
fn a_runtime_that_a_package_manager_renames_weighs_little_and_any_other_does_not() {
    for (from, severity) in [
        ("/usr/bin/runc.dpkg-new", Severity::Low),
        ("/usr/bin/runc;5f3a91c2", Severity::Low),
        ("/usr/bin/crun.dpkg-new", Severity::High),
        ("/tmp/runc", Severity::High),
    ] {
        let mut machine = machine();
        let root = sensor_common::watch::PENDING;
        let record = machine
            .record(kind::FILE_RENAME, shell())
            .path(ROOT, root, b"usr/bin/runc")
            .other(ROOT, root, below_root(from))
            .build();
        machine.feed(record);
        let alerts = machine.alerts();
        let alert =
            alerts.iter().find(|alert| alert.rule.id == "container.runtime.replaced").expect("an alert");
        assert_eq!(
            alert.severity >= Severity::High,
            severity == Severity::High,
            "{from}: {}",
            reasons(alert)
        );
    }
}

#[test]
fn node_agents_write_their_own_directories() {
    let mut machine = machine();
    for (id, unit) in [(80, "k3s"), (81, "kubelet")] {
        let path = format!("/system.slice/{unit}.service");
        machine.user(kind::CGROUP_SNAPSHOT, &CgroupSnapshot { id, path });
    }
    let service = |cgroup_id| TaskContext { cgroup_id, loginuid: u32::MAX, ..task(400, PID1) };
    for (cgroup, path, severity) in [
        (80, "/var/lib/rancher/k3s/server/manifests/coredns.yaml", Severity::Low),
        (81, "/var/lib/kubelet/device-plugins/kubelet.sock", Severity::Low),
        (81, "/var/lib/rancher/k3s/server/manifests/evil.yaml", Severity::High),
        (80, "/etc/kubernetes/manifests/evil.yaml", Severity::High),
    ] {
        machine.at(kind::FILE_CLOSE_WRITE, service(cgroup), path);
        let alert = machine.one();
        assert_eq!(alert.severity, severity, "{path}: {}", reasons(&alert));
    }
}

#[test]
fn dpkgs_own_scripts_are_for_the_record_where_they_are_watched() {
    let mut machine = machine();
    let info = "/var/lib/dpkg/info";
    let watch =
        Watch { watch: 98, path: info.into(), class: Some(WatchClass::MaintainerScript), owner: None };
    machine.user(kind::WATCH, &watch);
    machine.rename(shell(), (NONE, "/var/lib/dpkg/tmp.ci/postinst"), (98, "x.postinst"));
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("package.maintainer-script.written", Severity::Info));
    machine.write(shell(), 98, "y.postinst");
    assert_eq!(machine.one().severity, Severity::Low);
    machine.write(shell(), 98, "y.list");
    assert!(machine.alerts().is_empty());
}
