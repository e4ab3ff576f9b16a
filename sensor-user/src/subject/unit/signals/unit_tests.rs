use proptest::prelude::*;

use super::super::super::effective::tests::unit;
use super::*;

fn slugs(files: &[(&str, &str)], name: &str) -> Vec<&'static str> {
    let known = [&b"auditd.service"[..], b"a.service", b"a@.service"].into_iter().collect();
    signals(&unit(files, name), &known).iter().map(|signal| signal.slug).collect()
}

const AUDITD: (&str, &str) =
    ("/usr/lib/systemd/system/auditd.service", "[Service]\nExecStart=/sbin/auditd\n");

#[test]
fn guards_are_watched() {
    assert_eq!(slugs(&[AUDITD], "auditd.service"), [""; 0]);
    let with = |path, text| slugs(&[AUDITD, (path, text)], "auditd.service");
    assert_eq!(with("/etc/systemd/system/auditd.service", "-> /dev/null"), ["guard.masked"]);
    let drop_in = "/etc/systemd/system/auditd.service.d/x.conf";
    assert_eq!(with(drop_in, "[Service]\nExecStart=\n"), ["guard.broken"]);
    assert_eq!(with(drop_in, "[Service]\nExecStart=\nExecStart=/bin/true\n"), ["guard.overridden"]);
    assert_eq!(with(drop_in, "[Unit]\nConditionPathExists=/no\n"), ["guard.hampered"]);
    let other =
        ("/etc/systemd/system/a.service", "[Unit]\nConflicts=auditd.service\n[Service]\nExecStart=/bin/a\n");
    assert_eq!(slugs(&[other], "a.service"), ["guard.conflicts"]);
}

#[test]
fn commands_are_seen_with_their_variables() {
    let service = |text: &str| {
        slugs(&[("/etc/systemd/system/a.service", &format!("[Service]\n{text}\n"))], "a.service")
    };
    assert_eq!(service("ExecStart=/usr/bin/a"), [""; 0]);
    assert_eq!(service("Environment=P=/tmp/x\nExecStart=/bin/bash ${P}"), ["command.script-place"]);
    assert_eq!(service("Environment=LD_PRELOAD=/tmp/x.so\nExecStart=/bin/a"), ["environment.loads"]);
    assert_eq!(service("EnvironmentFile=-/dev/shm/e\nExecStart=/bin/a"), ["environment.file-place"]);
    assert_eq!(service("StandardInput=socket\nExecStart=-/bin/sh"), ["command.socket-shell"]);
    assert_eq!(service("StandardInputText=id\nExecStart=/bin/sh"), ["command.fed"]);
    assert_eq!(service("User=nobody\nExecStart=+/bin/a"), ["command.as-root"]);
    assert_eq!(service("Restart=always\nExecStart=/bin/a"), ["trigger.restart-always"]);
    assert_eq!(service("BindPaths=/tmp/sshd:/usr/sbin/sshd\nExecStart=/bin/a"), ["space.bind-over"]);
    assert_eq!(service("RootImage=/var/tmp/x.raw\nExecStart=/bin/a"), ["space.image-place"]);
    // An instance may be the payload.
    let template = ("/usr/lib/systemd/system/a@.service", "[Service]\nExecStart=/bin/sh %f\n");
    assert_eq!(slugs(&[template], "a@tmp-x.service"), ["command.script-place"]);
}

#[test]
fn files_mounts_and_triggers() {
    let linked = [
        ("/etc/systemd/system/a.service", "-> /dev/shm/a.service"),
        ("/dev/shm/a.service", "[Service]\nExecStart=/bin/a\n"),
    ];
    assert_eq!(slugs(&linked, "a.service"), ["unit.linked"]);
    let vendor = ("/usr/lib/systemd/system/a.service", "[Service]\nExecStart=/bin/a\n");
    let kind = ("/run/systemd/system/service.d/x.conf", "[Service]\nNice=1\n");
    assert_eq!(slugs(&[vendor, kind], "a.service"), ["unit.type-level"]);
    let wants = ("/etc/systemd/system/target.wants/a.service", "-> ../a.service");
    assert_eq!(slugs(&[vendor, wants], "a.service"), ["trigger.type-level"]);
    let mount = |what: &str| {
        let text = format!("[Mount]\nWhat={what}\nWhere=/usr/sbin\nOptions=bind\n");
        slugs(&[("/etc/systemd/system/usr-sbin.mount", &text)], "usr-sbin.mount")
    };
    assert_eq!(mount("/opt/x"), ["space.mount-over"]);
    assert_eq!(mount("/dev/sda2"), [""; 0]);
    let timer =
        |text: &str| slugs(&[("/etc/systemd/system/x.timer", &format!("[Timer]\n{text}\n"))], "x.timer");
    assert_eq!(timer("OnCalendar=daily\nOnUnitActiveSec=1h"), [""; 0]);
    assert_eq!(timer("OnUnitActiveSec=60"), ["trigger.frequent"]);
    assert_eq!(timer("OnCalendar=*:*:0/30"), ["trigger.frequent"]);
}

#[test]
fn the_managers_environment() {
    let of =
        |text: &str| of_manager(&Digest::new(text.as_bytes())).iter().map(|s| s.weight).collect::<Vec<_>>();
    assert_eq!(of("[Manager]\nDefaultEnvironment=A=1 LD_LIBRARY_PATH=/opt/x\n"), [Weight::Strong]);
    assert_eq!(of("[Manager]\nManagerEnvironment=\"SYSTEMD_UNIT_PATH=/tmp/u:\"\n"), [Weight::Strong]);
    assert_eq!(of("[Manager]\nDefaultEnvironment=LANG=C\n[Service]\nEnvironment=LD_PRELOAD=/x\n"), []);
}

proptest! {
    #[test]
    fn any_unit_is_judged(text in "((ExecStart|Environment|BindPaths|RootImage|User|EnvironmentFile|StandardInput)=[ -~]{0,30}\n){0,8}") {
        let found = slugs(&[("/etc/systemd/system/a.service", &format!("[Service]\n{text}"))], "a.service");
        prop_assert!(found.len() <= SIGNALS_MAX);
    }
}
