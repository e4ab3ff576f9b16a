//! What a command line does that services seldom do (ATT&CK T1059, T1105, T1027, T1140).
//!
//! Shell text is not parsed: it is looked at word by word, with the marks between words. So a shell's own quoting can
//! hide a word (`cu''rl`); that it is inline text at all is a signal of its own.

use super::super::words::{Rules, words};
use super::place;
use super::{Signal, Weight, told};
use crate::subject::container::access::{Grant, host_access};

/// Most bytes of a command that are looked at.
const LOOKED_AT_MAX: usize = 64 * 1024;

/// Most lines of a script that are looked at.
const SCRIPT_LINES_MAX: usize = 2000;

/// A letter with which an interpreter takes a program from its arguments.
const INTERPRETERS: [(&str, &str); 21] = [
    ("sh", "c"),
    ("bash", "c"),
    ("dash", "c"),
    ("ash", "c"),
    ("zsh", "c"),
    ("ksh", "c"),
    ("mksh", "c"),
    ("fish", "c"),
    ("csh", "c"),
    ("tcsh", "c"),
    ("rbash", "c"),
    ("pwsh", "c"),
    ("python", "c"),
    ("pypy", "c"),
    ("perl", "eE"),
    ("ruby", "e"),
    ("node", "ep"),
    ("nodejs", "ep"),
    ("php", "r"),
    ("lua", "e"),
    ("tclsh", ""),
];

/// Programs that fetch.
const DOWNLOADERS: [&str; 9] =
    ["curl", "wget", "aria2c", "lwp-download", "lwp-request", "tftp", "ftpget", "axel", "http"];

/// Container engines.
const ENGINES: [&str; 4] = ["docker", "podman", "nerdctl", "ctr"];

/// The last part of a path.
fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The interpreter that a program is, whatever its version (`python3.11`).
fn interpreter(program: &[u8]) -> Option<(&'static str, &'static str)> {
    let name = String::from_utf8_lossy(base(program)).into_owned();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    INTERPRETERS.iter().find(|(known, _)| *known == name).copied()
}

/// Whether a program is a shell or another interpreter.
pub fn is_interpreter(program: &[u8]) -> bool {
    interpreter(program).is_some()
}

/// The program text among the arguments of an interpreter, which may stand behind `env`, `busybox` and the like.
fn inline<'a>(argv: &[&'a [u8]]) -> Option<(&'static str, &'a [u8])> {
    for (at, word) in argv.iter().enumerate() {
        let Some((name, letters)) = interpreter(word) else { continue };
        for (offset, option) in argv[at + 1..].iter().enumerate() {
            let Some(letters_given) = option.strip_prefix(b"-").filter(|rest| !rest.is_empty()) else {
                break;
            };
            let long = matches!(letters_given, b"-eval" | b"-print" | b"-command" | b"-Command" | b"Command");
            let short = letters_given[0] != b'-'
                && letters_given.iter().any(|byte| letters.as_bytes().contains(byte));
            if !long && !short {
                continue;
            }
            // `perl -e'...'` has the text in the option itself.
            let text = argv.get(at + 2 + offset).copied().unwrap_or(letters_given);
            return Some((name, text));
        }
    }
    None
}

/// What there is to say of a command; `in_home` as for [`place::signals`].
pub fn signals(path: &[u8], argv: &[Vec<u8>], in_home: bool) -> Vec<Signal> {
    let mut found = place::signals(path, in_home);
    let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    argv0(path, &argv, &mut found);
    let script = argv.iter().skip(1).take(16).filter(|argument| argument.starts_with(b"/"));
    for argument in script {
        // Of an argument only the worst counts: services are given sockets in /run/user and files in homes.
        let worst = place::signals(argument, true).into_iter().max_by_key(|signal| signal.weight);
        let runs = is_interpreter(path) || is_loader(path);
        found.extend(worst.filter(|_| runs).map(|signal| Signal { slug: "command.script-place", ..signal }));
    }
    if is_loader(path) && argv.iter().skip(1).any(|argument| argument.starts_with(b"/")) {
        found.push(Signal::new(
            "command.loader",
            Weight::Strong,
            "a program is run by the dynamic loader, so that it needs no execute bit and hides its name",
        ));
    }
    if let Some((name, text)) = inline(&argv) {
        found.push(Signal::new(
            "command.inline",
            Weight::Weak,
            format!("{name} is given its program on the command line: {}", told(text)),
        ));
    }
    let mut joined = argv.join(&b' ');
    joined.truncate(LOOKED_AT_MAX);
    text(&joined, &mut found);
    tools(&joined, &mut found);
    engine(&argv, &mut found);
    found
}

/// What there is to say of a script, or of a file whose lines hold commands (tmpfiles.d, udev rules, cron): line by line,
/// comments left out, each signal once.
pub fn of_script(script: &[u8]) -> Vec<Signal> {
    let mut found: Vec<Signal> = Vec::new();
    let script = &script[..script.len().min(LOOKED_AT_MAX)];
    for line in script.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).take(SCRIPT_LINES_MAX) {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let mut of_line = Vec::new();
        text(line, &mut of_line);
        tools(line, &mut of_line);
        for signal in of_line {
            if !found.iter().any(|known| known.slug == signal.slug) {
                found.push(signal);
            }
        }
    }
    found
}

fn is_loader(path: &[u8]) -> bool {
    let name = base(path);
    name.starts_with(b"ld-linux") || name.starts_with(b"ld-musl") || name == b"ld.so"
}

/// A name that is not the program's own.
fn argv0(path: &[u8], argv: &[&[u8]], found: &mut Vec<Signal>) {
    let Some(shown) = argv.first() else { return };
    if shown.starts_with(b"[") {
        found.push(Signal::new(
            "command.kernel-name",
            Weight::Strong,
            format!("it calls itself {}, as threads of the kernel are shown", told(shown)),
        ));
    } else if base(shown).trim_ascii_start().strip_prefix(b"-").unwrap_or(base(shown)) != base(path) {
        found.push(Signal::new(
            "command.other-name",
            Weight::Weak,
            format!("{} calls itself {}", told(path), told(shown)),
        ));
    }
}

/// The words between blanks and a shell's marks.
fn shell_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || ";|&()<>`$\"'{}=,".contains(c)).filter(|word| !word.is_empty())
}

/// The programs of the commands of shell text: the first words behind its marks.
fn commands(text: &str) -> impl Iterator<Item = (char, &str)> {
    let marks = |c: char| ";|&(`\n".contains(c);
    let starts = std::iter::once((' ', 0))
        .chain(text.char_indices().filter(move |(_, c)| marks(*c)).map(|(at, c)| (c, at + 1)));
    starts.filter_map(|(mark, at)| {
        let wrappers =
            ["sudo", "env", "nohup", "exec", "setsid", "command", "busybox", "time", "-", "-n", "-E"];
        let mut words = text[at..].split_whitespace().map(|word| word.trim_matches(|c| "\"'".contains(c)));
        let first = words.find(|word| !wrappers.contains(&base_text(word)) && !word.contains('='))?;
        Some((mark, first))
    })
}

fn base_text(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn text(bytes: &[u8], found: &mut Vec<Signal>) {
    let text = String::from_utf8_lossy(bytes);
    let lower = text.to_lowercase();
    let has = |part: &str| lower.contains(part);
    let word = |wanted: &[&str]| shell_words(&text).any(|word| wanted.contains(&base_text(word)));
    let piped = commands(&text).any(|(mark, first)| mark == '|' && is_interpreter(first.as_bytes()));
    let evaluates =
        has("eval ") || has("exec(") || has("eval(") || has("os.system") || has("subprocess") || has("<(");
    let fetches = word(&DOWNLOADERS) && (has("://") || has("://$"));
    let fetches_in_code = [
        "urlopen",
        "urlretrieve",
        "requests.get",
        "lwp::simple",
        "net::http",
        "http.get",
        "file_get_contents",
    ]
    .iter()
    .any(|call| has(call));
    if fetches || fetches_in_code {
        let substituted =
            has("$(curl") || has("$(wget") || has("`curl") || has("`wget") || has("<(curl") || has("<(wget");
        let then_run = fetches
            && (has("chmod")
                || commands(&text)
                    .skip(1)
                    .any(|(_, first)| first.starts_with("./") || place::is_writable(first.as_bytes())));
        if piped || substituted || then_run || (fetches_in_code && evaluates) {
            found.push(Signal::new(
                "command.download-and-run",
                Weight::Damning,
                "it fetches a program from the network and runs it",
            ));
        } else {
            found.push(Signal::new(
                "command.download",
                Weight::Weak,
                "it fetches something from the network",
            ));
        }
    }
    let decodes = [
        "base64 -d",
        "base64 --decode",
        "base64 -di",
        "base32 -d",
        "xxd -r",
        "openssl enc -d",
        "openssl base64 -d",
        "uudecode",
    ]
    .iter()
    .any(|call| has(call));
    let decodes_in_code = [
        "b64decode",
        "decode_base64",
        "unhexlify",
        "fromhex",
        "base64_decode",
        "unpack(\"m",
        "pack(\"h",
        "'base64')",
    ]
    .iter()
    .any(|call| has(call));
    if decodes || decodes_in_code {
        let runs = piped || evaluates || has("$(") || has("bash -c") || has("sh -c \"`");
        let (weight, why) = if runs {
            (Weight::Damning, "it decodes a program and runs it")
        } else {
            (Weight::Strong, "it decodes something that was hidden in it")
        };
        found.push(Signal::new("command.encoded", weight, why));
    } else if text.matches("\\x").count() >= 8 || is_blob(&text) {
        found.push(Signal::new("command.blob", Weight::Weak, "it holds a long encoded text"));
    }
    if reverse_shell(&text, &lower) {
        found.push(Signal::new("command.reverse-shell", Weight::Damning, "it ties a shell to the network"));
    }
}

/// A word that is as long, and of such letters, as encoded programs are.
fn is_blob(text: &str) -> bool {
    const LONG: usize = 120;
    let encoded = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    text.split(|c| !encoded(c))
        .any(|word| word.len() >= LONG && !word.contains("//") && word.matches('/').count() < 8)
}

fn reverse_shell(text: &str, lower: &str) -> bool {
    let has = |part: &str| lower.contains(part);
    let word = |wanted: &[&str]| shell_words(text).any(|word| wanted.contains(&base_text(word)));
    let shell = ["/bin/sh", "/bin/bash", "/bin/dash", "/bin/zsh", "bash -i", "sh -i", "cmd.exe"]
        .iter()
        .any(|part| has(part));
    let netcat = word(&["nc", "ncat", "netcat", "nc.traditional", "nc.openbsd"]);
    let runs = shell_words(text).any(|word| {
        matches!(word, "-e" | "-c" | "--exec" | "--sh-exec" | "--lua-exec")
            || (word.starts_with('-') && !word.starts_with("--") && word.ends_with('e'))
    });
    let code = has("socket")
        && (has("pty.spawn") || has("dup2") || has("subprocess") || has("exec") || has("popen"));
    has("/dev/tcp/")
        || has("/dev/udp/")
        || has("/inet/tcp/")
        || (netcat && (runs || word(&["mkfifo", "mknod"])))
        || ((word(&["mkfifo", "mknod"]) || has("<&"))
            && (has("s_client") || word(&["telnet"]))
            && (shell || has("| sh") || has("|sh")))
        || (word(&["socat"]) && (has("exec:") || has("system:")))
        || (code
            && (shell || has("/bin/") || has("cmd"))
            && (has("connect") || has("tcpsocket") || has("bind")))
        || (has("fsockopen") && (has("exec") || shell))
}

/// Tools whose use by a service is a step of its own.
fn tools(bytes: &[u8], found: &mut Vec<Signal>) {
    let text = String::from_utf8_lossy(bytes);
    let has = |part: &str| text.contains(part);
    let writes = has(">")
        || has("tee ")
        || has("cp ")
        || has("install ")
        || has("ln ")
        || has("mv ")
        || has("sed -i")
        || has("dd ");
    for (part, slug, why) in [
        ("authorized_keys", "command.keys", "it writes keys that open a session"),
        ("/etc/ld.so.preload", "command.preload", "it makes every program load a library"),
        ("/etc/sudoers", "command.sudoers", "it changes who may become root"),
        ("/etc/passwd", "command.accounts", "it writes accounts"),
        ("/etc/shadow", "command.accounts", "it writes accounts"),
        ("/etc/cron", "command.cron", "it writes a cron job"),
    ] {
        if has(part) && writes {
            found.push(Signal::new(slug, Weight::Strong, why));
        }
    }
    let unit_directory = has("/systemd/system") || has("/systemd/user") || has("/etc/init.d/");
    if unit_directory && writes {
        found.push(Signal::new("command.writes-units", Weight::Strong, "it writes units of its own"));
    }
    let setuid = ["chmod u+s", "chmod +s", "chmod 4", "chmod 04", "chmod 6"].iter().any(|call| has(call));
    if setuid || has("setcap ") {
        found.push(Signal::new("command.privileges", Weight::Strong, "it gives a program privileges"));
    }
    let guards = [
        "auditd",
        "journald",
        "rsyslog",
        "falco",
        "svcsensor",
        "apparmor",
        "iptables -F",
        "setenforce 0",
        "nft flush",
    ];
    let stops = [
        "systemctl stop",
        "systemctl mask",
        "systemctl disable",
        "pkill",
        "killall",
        "kill -9",
        "rm -",
        "iptables -F",
        "setenforce 0",
        "nft flush",
    ];
    if guards.iter().any(|guard| has(guard)) && stops.iter().any(|stop| has(stop)) {
        found.push(Signal::new("command.stops-guard", Weight::Strong, "it stops what watches the machine"));
    }
    if has("/var/log/") && (has("rm -") || has("shred") || has("truncate")) || has("history -c") {
        found.push(Signal::new("command.clears-traces", Weight::Weak, "it removes logs"));
    }
    let miner = ["xmrig", "stratum+tcp", "stratum+ssl", "minerd", "--donate-level", "cryptonight"];
    if miner.iter().any(|part| has(part)) {
        found.push(Signal::new("command.miner", Weight::Damning, "it mines a currency"));
    }
}

/// Container engines run by a service: the service is the container's restart policy.
fn engine(argv: &[&[u8]], found: &mut Vec<Signal>) {
    // Shell text is split, so that an engine in it is seen as well.
    let split: Vec<Vec<u8>> = match inline(argv) {
        Some((_, text)) => words(text, Rules::VARIABLE, 512).0,
        None => argv.iter().map(|argument| argument.to_vec()).collect(),
    };
    let is_engine = |word: &Vec<u8>| ENGINES.iter().any(|engine| engine.as_bytes() == base(word));
    let Some(at) = split.iter().position(is_engine) else { return };
    let arguments = &split[at..];
    if !arguments
        .iter()
        .any(|word| matches!(&word[..], b"run" | b"create" | b"start" | b"update" | b"play" | b"kube"))
    {
        return;
    }
    let name = String::from_utf8_lossy(base(&arguments[0])).into_owned();
    found.push(Signal::new("command.container", Weight::Note, format!("{name} runs a container for it")));
    let access = arguments.iter().enumerate().filter_map(|(index, word)| {
        let option = word.strip_prefix(b"--").or_else(|| word.strip_prefix(b"-"))?;
        let (option, value) = match option.iter().position(|byte| *byte == b'=') {
            Some(equals) => (&option[..equals], &option[equals + 1..]),
            None => (option, arguments.get(index + 1).map_or(&b""[..], Vec::as_slice)),
        };
        host_access(&String::from_utf8_lossy(option), value)
    });
    for access in access {
        let weight = if access.grant == Grant::Full { Weight::Strong } else { Weight::Weak };
        let why = format!("the container is given a part of the host: {}", told(access.option.as_bytes()));
        found.push(Signal::new("command.container-host", weight, why));
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
