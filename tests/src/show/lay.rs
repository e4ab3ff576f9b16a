//! Unit files by chance, in groups of few names that meet in aliases, masks, drop-ins and dependencies. A group's names
//! begin alike, so that many groups lie in one manager's directories and none touches a unit of the guest's own.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where files are laid.
pub struct Places {
    /// How groups' names begin.
    prefix: &'static str,
    groups: u64,
    /// Of the load path, the most important first.
    directories: &'static [&'static str],
    /// Drop-ins for all units of a type.
    type_level: &'static [(&'static str, &'static str)],
}

/// Of the system's manager.
pub const SYSTEM: Places = Places {
    prefix: "s",
    groups: 16,
    directories: &[
        "/etc/systemd/system.control",
        "/run/systemd/system.control",
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
    ],
    type_level: &[
        ("/usr/lib/systemd/system/service.d/50-level.conf", "[Service]\nEnvironment=LEVEL=vendor\n"),
        ("/etc/systemd/system/service.d/50-level.conf", "[Service]\nEnvironment=\"LEVEL=of type\" %p=no\n"),
        ("/run/systemd/system/timer.d/a.conf", "[Timer]\nPersistent=on\n"),
    ],
};

/// Of alice's.
pub const USER: Places = Places {
    prefix: "u",
    groups: 12,
    directories: &[
        "/home/alice/.config/systemd/user.control",
        "/run/user/1000/systemd/user.control",
        "/home/alice/.config/systemd/user",
        "/etc/xdg/systemd/user",
        "/etc/systemd/user",
        "/run/user/1000/systemd/user",
        "/run/systemd/user",
        "/home/alice/.local/share/systemd/user",
        "/home/alice/.local/share/flatpak/exports/share/systemd/user",
        "/var/lib/flatpak/exports/share/systemd/user",
        "/usr/local/share/systemd/user",
        "/usr/share/systemd/user",
        "/usr/local/lib/systemd/user",
        "/usr/lib/systemd/user",
    ],
    type_level: &[(
        "/home/alice/.config/systemd/user/service.d/l.conf",
        "[Service]\nEnvironment=LEVEL=own\n",
    )],
};

/// Where linked units lie.
const OUTSIDE: &str = "/opt/linked-units";

/// The same numbers in every run (Marsaglia, "Xorshift RNGs", 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

const UNITS: [&str; 13] = [
    "a.service",
    "a-b.service",
    "a-b-c.service",
    "t@.service",
    "t@x.service",
    "a-t@.service",
    "a-t@x-y.service",
    "u@.service",
    "g.target",
    "a.timer",
    "a.path",
    "a.socket",
    "l.service",
];

/// What drop-in directories belong to; the group's name and "-" stand before each.
const BASES: [&str; 11] = [
    ".service",
    ".timer",
    "a-.service",
    "a-b-.service",
    "t@.service",
    "t@x.service",
    "a-@.service",
    "a-t@x-y.service",
    "a-b.service",
    "a.service",
    "a.socket",
];

/// Nothing but what `systemctl show` says in a line, and what is the same in every guest.
const LINES: [&str; 56] = [
    "[Service]",
    "[Service]",
    "[Service]",
    "[Unit]",
    "[Install]",
    "[X-Other]",
    "# comment \\",
    "; comment",
    "garbage",
    "=x",
    "ExecStart=",
    "ExecStart=/bin/echo one 'two three' \"four\\x20five\" %n",
    "ExecStart=-@/bin/sh zero %N %p %i %I %j",
    "ExecStart=/bin/a ; /bin/b x",
    "ExecStart=/bin/a \\\n# between\n  continued \\\n\n",
    "ExecStart=:!!/bin/x $A ${B} $$ %%",
    "ExecStart=!/bin/keep",
    "ExecStart=bin/relative",
    "ExecStartPre=-bin/relative",
    "ExecStart=name x",
    "ExecCondition=/bin/test -e %t/x",
    "ExecStartPre=+/bin/%p/%i",
    "ExecStartPre=/bin//y/./z",
    "ExecStartPost=/bin/x \\; ';' ;y",
    "ExecReload=/bin/kill -HUP $MAINPID",
    "ExecStop=/bin/%h/%t/%S/%C/%L/%E/%T/%V/%U",
    "ExecStopPost=/bin/stop \\x41\\101\\u00e9",
    "Type=oneshot",
    "Type=notify",
    "Type=bogus",
    "RemainAfterExit=yes",
    "Restart=always",
    "Restart=on-failure",
    "Restart=no",
    "User=one",
    "User=",
    "Group = two ",
    "SupplementaryGroups=a b",
    "SupplementaryGroups=",
    "DynamicUser=maybe",
    "Environment=A=1 \"B=2 3\" 'C=x' bad 1D=2",
    "Environment=A=%n \"Q=a\\\"b\"",
    "Environment=",
    "EnvironmentFile=-/etc/default/%p",
    "EnvironmentFile=/etc/one",
    "EnvironmentFile=",
    "PassEnvironment=X Y",
    "UnsetEnvironment=Z",
    "WorkingDirectory=-/srv/%i",
    "WorkingDirectory=~",
    "Wants=w1.service w2.target %p.target",
    "Requires=r.service",
    "OnFailure=f@%n.service",
    "Upholds=up.service\rConflicts=c.service",
    "BindsTo=b.service",
    "PartOf=p.target",
];

/// What makes a unit of a type that can be loaded.
fn beginning(unit: &str, chance: &mut Chance) -> &'static str {
    match unit.rsplit('.').next() {
        Some("timer") => {
            chance.of(&["[Timer]\nOnCalendar=daily\n", "[Timer]\nOnBootSec=1h\nPersistent=yes\n"])
        }
        Some("path") => {
            chance.of(&["[Path]\nPathExists=/tmp/%p\n", "[Path]\nPathChanged=/srv//%N/\nPathModified=%t/m\n"])
        }
        Some("socket") => chance.of(&[
            "[Socket]\nListenStream=%t/%N\nExecStartPre=-/bin/mkdir -p %t/d\n",
            "[Socket]\nListenFIFO=/run/fifo-%p\nListenStream=80\nExecStopPost=/bin/rm\n",
        ]),
        Some("target") => "[Unit]\nDescription=Goal %n\n",
        _ => chance.of(&[
            "[Service]\nType=oneshot\nExecStart=/bin/base\n",
            "[Service]\nExecStart=/bin/base\n",
            "\u{feff}[Service]\r\nExecStart=/bin/base\r\n",
        ]),
    }
}

fn content(chance: &mut Chance, beginning: &str) -> String {
    if chance.below(14) == 0 {
        return String::new();
    }
    let mut text = beginning.to_owned();
    for _ in 0..chance.below(9) {
        let line = chance.of(&LINES);
        // What ends a unit is rare, or nothing else would be compared.
        if line == "ExecStart=bin/relative" && chance.below(8) != 0 {
            continue;
        }
        text += line;
        text += chance.of(&["\n", "\n", "\n", "\r\n", "\n\n"]);
    }
    text
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// A link where nothing is yet.
fn link(target: impl AsRef<Path>, path: &Path) -> io::Result<()> {
    if exists(path) { Ok(()) } else { symlink(target, path) }
}

/// Lays the files; gives the names to ask for.
pub fn lay(places: &Places) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (path, text) in places.type_level {
        let path = Path::new(path);
        fs::create_dir_all(path.parent().context("a file lies in a directory")?)?;
        fs::write(path, text)?;
    }
    for number in 0..places.groups {
        let group = format!("{}{number}-", places.prefix);
        let mut chance = Chance((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        lay_group(places, &group, &mut chance).with_context(|| format!("group {group}"))?;
        names.extend(
            [
                "a.service",
                "a-b.service",
                "a-b-c.service",
                "t@x.service",
                "t@q.service",
                "a-t@x-y.service",
                "u@q.service",
            ]
            .iter()
            .chain(&["g.target", "l.service", "none.service", "none.slice"])
            .map(|name| format!("{group}{name}")),
        );
    }
    Ok(names)
}

fn lay_group(places: &Places, group: &str, chance: &mut Chance) -> Result<()> {
    let directory = |chance: &mut Chance| -> Result<PathBuf> {
        let path = PathBuf::from(chance.of(places.directories));
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    for _ in 0..18 {
        let unit = chance.of(&UNITS);
        let path = directory(chance)?.join(format!("{group}{unit}"));
        match chance.below(9) {
            0 => link("/dev/null", &path)?,
            1 | 2 => {
                let other = format!("{group}{}", chance.of(&UNITS));
                let far = directory(chance)?.join(&other);
                link(if chance.below(2) == 0 { PathBuf::from(other) } else { far }, &path)?;
            }
            3 => {
                let outside =
                    Path::new(OUTSIDE).join(format!("{group}{}", chance.of(&["x.service", "y", unit])));
                fs::create_dir_all(OUTSIDE)?;
                fs::write(&outside, content(chance, beginning(unit, &mut Chance(7))))?;
                link(outside, &path)?;
            }
            _ if !exists(&path) => {
                let beginning = beginning(unit, chance);
                fs::write(&path, content(chance, beginning))?;
            }
            _ => {}
        }
    }
    for _ in 0..10 {
        let base = chance.of(&BASES);
        let path = directory(chance)?.join(format!("{group}{base}.d"));
        fs::create_dir_all(&path)?;
        let name = chance.of(&["10-a.conf", "20-b.conf", "30-c.conf", ".hidden.conf", "readme", "x.conf~"]);
        // One file name in directories of two aliases is a matter of chance for the service manager itself.
        let path = path.join(format!("{}{name}", base.replace(['@', '.'], "_")));
        let unit = if chance.below(6) == 0 { "/dev/null" } else { "" };
        if !unit.is_empty() {
            link(unit, &path)?;
        } else if !exists(&path) {
            fs::write(&path, content(chance, chance_section(base)))?;
        }
    }
    for _ in 0..6 {
        let base =
            chance.of(&["a.service", "a-b.service", "t@.service", "g.target", ".service", "a-.service"]);
        let suffix = chance.of(&["wants", "requires"]);
        let path = directory(chance)?.join(format!("{group}{base}.{suffix}"));
        fs::create_dir_all(&path)?;
        let name =
            chance.of(&["l1.service", "l2.target", "t@z.service", "a.service", ".hid.service", "not-a-unit"]);
        let target = chance.of(&["/dev/null", "/nowhere/l1.service", "../a.service", "/nowhere"]);
        link(
            target,
            &path.join(if name.starts_with('.') { name.to_owned() } else { format!("{group}{name}") }),
        )?;
    }
    // Enabled for a unit that runs.
    if chance.below(2) == 0 {
        let path = directory(chance)?.join("basic.target.wants");
        fs::create_dir_all(&path)?;
        link(format!("../{group}a.service"), &path.join(format!("{group}a.service")))?;
    }
    Ok(())
}

fn chance_section(base: &str) -> &'static str {
    match base.rsplit('.').next() {
        Some("timer") => "[Timer]\nOnUnitActiveSec=5\n",
        Some("socket") => "[Socket]\nListenDatagram=/run/%p\n",
        _ => "[Service]\n",
    }
}
