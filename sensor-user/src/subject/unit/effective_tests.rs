use proptest::prelude::*;

use super::super::load::LoadPath;
use super::super::store::UnitFiles;
use super::*;

/// A store of files given as `(path, content)`; a content `-> target` makes a link.
pub(in crate::subject::unit) fn store(files: &[(&str, &str)]) -> UnitFiles {
    let mut store = UnitFiles::new(1 << 22);
    for (path, content) in files {
        match content.strip_prefix("-> ") {
            Some(target) => store.insert_link(path.as_bytes(), target.as_bytes()).unwrap(),
            None => store.insert_file(path.as_bytes(), content.as_bytes()).unwrap(),
        }
    }
    store
}

pub(in crate::subject::unit) fn unit(files: &[(&str, &str)], name: &str) -> Effective {
    let (store, load) = (store(files), LoadPath::system());
    effective(&View::new(&store, &load), name.as_bytes()).unwrap()
}

/// Settings and commands as `file:line Key=value`, by their order.
fn say(unit: &Effective) -> Vec<String> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let commands = unit.commands.iter().map(|run| {
        let Origin { file, line } = run.origin;
        format!("{file}:{line} {}={}", run.key.name(), lossy(&run.command.argv.join(&b' ')))
    });
    let settings = unit.settings.iter().map(|setting| {
        let Origin { file, line } = setting.origin;
        format!("{file}:{line} {}={}", setting.key.name(), lossy(&setting.text))
    });
    commands.chain(settings).collect()
}

#[test]
fn drop_ins_add_replace_and_clear() {
    let unit = unit(
        &[
            (
                "/usr/lib/systemd/system/a.service",
                "[Unit]\nWants=b.service\nConditionPathExists=/x\n[Service]\nType=notify\nExecStart=/bin/a\n\
                 ExecStartPre=/bin/p\nUser=nobody\nEnvironment=A=1 'B=2 3' C\nRestart=no\n[Install]\nWantedBy=multi-user.target\n",
            ),
            (
                "/etc/systemd/system/a.service.d/10.conf",
                "[Unit]\nWants=\nWants=c.service\nConditionUser=root\nConditionPathExists=\n[Service]\nExecStart=\n\
                 ExecStart=/tmp/x %n\nUser=\nEnvironment=A=9\nRestart=bogus\nType=\n",
            ),
            (
                "/etc/systemd/system/service.d/20.conf",
                "[Service]\nExecStartPost=/bin/q\n[Socket]\nExecStartPre=/no\n",
            ),
        ],
        "a.service",
    );
    assert_eq!(
        say(&unit),
        [
            "0:7 ExecStartPre=/bin/p",
            "1:8 ExecStart=/tmp/x a.service",
            "2:2 ExecStartPost=/bin/q",
            "0:2 Wants=b.service",
            "0:5 Type=notify",
            "0:9 Environment=B=2 3",
            "0:10 Restart=no",
            "0:12 WantedBy=multi-user.target",
            "1:3 Wants=c.service",
            "1:10 Environment=A=9",
        ]
    );
    assert_eq!((unit.state, unit.user(), unit.problems.len()), (State::Loaded, None, 3));
    assert_eq!(unit.file(Origin { file: 2, line: 2 }), Some(&b"/etc/systemd/system/service.d/20.conf"[..]));
}

#[test]
fn a_refused_unit_file_ends_there_and_a_drop_in_too() {
    let refused = unit(
        &[
            ("/etc/systemd/system/a.service", "[Service]\nExecStart=/bin/a\nExecStart=bin/x\nUser=b\n"),
            ("/etc/systemd/system/a.service.d/x.conf", "[Service]\nUser=c\n"),
        ],
        "a.service",
    );
    assert_eq!((say(&refused), refused.state), (vec!["0:2 ExecStart=/bin/a".into()], State::Refused));
    let loaded = unit(
        &[
            ("/etc/systemd/system/a.service", "[Service]\nExecStart=/bin/a\nExecStartPre=-bin/x\n"),
            (
                "/etc/systemd/system/a.service.d/1.conf",
                "[Service]\nUser=c\nExecStart='\nGroup=%x\nNoNewPrivileges=on\n",
            ),
            ("/etc/systemd/system/a.service.d/2.conf", "[Service]\nDynamicUser=1\n[oops\nDynamicUser=0\n"),
        ],
        "a.service",
    );
    assert_eq!(say(&loaded), ["0:2 ExecStart=/bin/a", "1:2 User=c", "2:2 DynamicUser=yes"]);
    assert_eq!((loaded.state, loaded.problems.len()), (State::Loaded, 3));
    let text = |key| loaded.text(key).map(String::from_utf8_lossy);
    assert_eq!(text(Key::Group), None);
}

#[test]
fn states() {
    let files = [
        ("/usr/lib/systemd/system/a.service", "[Service]\nExecStart=/bin/a\n"),
        ("/etc/systemd/system/a.service", "-> /dev/null"),
        ("/etc/systemd/system/b.service", ""),
        ("/etc/systemd/system/c.service", "-> /opt/c.service"),
        ("/etc/systemd/system/d.service", "-> /opt/d.service"),
        ("/opt/d.service", "[Service]\nExecStart=/bin/d\n"),
        ("/etc/systemd/system/e.service.d/x.conf", "[Service]\nExecStart=/bin/e\n"),
        ("/etc/systemd/system/f.slice.d/x.conf", "[Unit]\nWants=x.service\n"),
        ("/etc/systemd/system/g.service", "-> gone.service"),
        ("/etc/systemd/system/h.service", "-> i.service"),
        ("/etc/systemd/system/i.service", "-> h.service"),
    ];
    for (name, expected) in [
        ("a.service", State::Masked),
        ("b.service", State::Masked),
        ("c.service", State::Unread),
        ("d.service", State::Loaded),
        ("e.service", State::Missing),
        ("f.slice", State::Loaded),
        ("g.service", State::Missing),
        ("h.service", State::Missing),
    ] {
        assert_eq!(unit(&files, name).state, expected, "{name}");
    }
    assert_eq!(unit(&files, "d.service").linked.as_deref(), Some(&b"/opt/d.service"[..]));
    assert_eq!(unit(&files, "c.service").problems[0].unread.as_deref(), Some(&b"/opt/c.service"[..]));
    assert_eq!(unit(&files, "e.service").commands.len(), 1, "what a drop-in says is told all the same");
}

#[test]
fn who_pulls_whom() {
    let files = [
        ("/usr/lib/systemd/system/a@.service", "[Service]\nExecStart=/bin/a %i\n"),
        ("/etc/systemd/system/multi-user.target.wants/a@x.service", "-> /usr/lib/systemd/system/a@.service"),
        ("/usr/lib/systemd/system/basic.target.requires/a@x.service", "-> ../a@.service"),
        ("/etc/systemd/system/basic.target.requires/a@x.service", "-> /dev/null"),
        ("/etc/systemd/system/target.wants/a@x.service", "-> nowhere"),
        ("/etc/systemd/system/b.service.upholds/a@x.service", "a file"),
        ("/etc/systemd/system/b.service.wants", "-> /opt/wants"),
        ("/opt/wants/a@x.service", "-> x"),
        ("/usr/lib/systemd/system/b.service", "[Service]\nExecStart=/bin/b\n"),
    ];
    let say = |pulls: &[Pull]| -> Vec<String> {
        pulls.iter().map(|p| format!("{:?} {}", p.how, String::from_utf8_lossy(&p.unit))).collect()
    };
    let pulled = unit(&files, "a@x.service");
    assert_eq!(say(&pulled.pulled_in_by), ["Wants b.service", "Wants multi-user.target", "Wants target"]);
    assert_eq!(pulled.commands[0].command.argv[1], b"x");
    assert_eq!(say(&unit(&files, "b.service").pulls), ["Wants a@x.service"]);
    assert_eq!(say(&unit(&files, "multi-user.target").pulls), ["Wants a@x.service"]);
}

#[test]
fn timers_paths_and_sockets_clear_as_one() {
    let timer = unit(
        &[(
            "/etc/systemd/system/a.timer",
            "[Timer]\nOnBootSec=1\nOnCalendar=\nOnCalendar=daily\nUnit=x.service\nUnit=y.service\n",
        )],
        "a.timer",
    );
    assert_eq!(say(&timer), ["0:4 OnCalendar=daily", "0:5 Unit=x.service"]);
    let socket = unit(
        &[(
            "/etc/systemd/system/a.socket",
            "[Socket]\nListenStream=1\nListenFIFO=/x\nListenDatagram=\nListenStream=2\nAccept=YES\n",
        )],
        "a.socket",
    );
    assert_eq!(say(&socket), ["0:5 ListenStream=2", "0:6 Accept=yes"]);
    assert!(socket.is_on(Key::Accept));
}

#[test]
fn ten_thousand_drop_ins_are_bounded() {
    let mut store = UnitFiles::new(64 << 20);
    store.insert_file(b"/etc/systemd/system/a.service", b"[Service]\nExecStart=/bin/a\n").unwrap();
    for at in 0..10_000 {
        let path = format!("/etc/systemd/system/a.service.d/{at:05}.conf");
        store.insert_file(path.as_bytes(), "[Service]\nExecStartPre=/bin/x\n".repeat(3).as_bytes()).unwrap();
    }
    let load = LoadPath::system();
    let unit = effective(&View::new(&store, &load), b"a.service").unwrap();
    assert_eq!((unit.files.len(), unit.commands.len()), (10_001, SETTINGS_MAX));
    assert!(!unit.problems.is_empty() && unit.problems.len() <= SETTINGS_MAX);
}

proptest! {
    /// Whatever the files say, what is in force comes from a line of one of them.
    #[test]
    fn any_files_make_a_unit(
        fragment in "(\\[(Service|Unit|Install|Socket)\\]\n|(ExecStart|User|Wants|Environment|Type|WantedBy|ConditionUser|EnvironmentFile)=[ -~]{0,12}\n|[ -~]{0,9}\n){0,12}",
        drop_in in "(\\[(Service|Unit)\\]\n|(ExecStart|User|Environment|Restart)=[%$'\"A-z/=]{0,9}\n){0,8}",
    ) {
        let unit = unit(
            &[("/etc/systemd/system/a.service", &fragment), ("/run/systemd/system/a.service.d/x.conf", &drop_in)],
            "a.service",
        );
        for origin in unit.settings.iter().map(|s| s.origin).chain(unit.commands.iter().map(|run| run.origin)) {
            let text = if origin.file == 0 { &fragment } else { &drop_in };
            prop_assert!(origin.line >= 1 && origin.line as usize <= text.lines().count());
        }
        prop_assert_eq!(unit.state == State::Masked, fragment.is_empty());
    }
}
