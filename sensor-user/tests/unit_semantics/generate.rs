//! Unit files by chance: few names, so that they meet in aliases, masks, drop-ins and dependencies.

use std::fs;
use std::path::Path;

use super::{DIRECTORIES, oracle};

/// A generator of numbers, the same in every run (Marsaglia, "Xorshift RNGs", 2003).
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

const UNITS: [&str; 12] = [
    "a.service",
    "a-b.service",
    "a-b-c.service",
    "t@.service",
    "t@x.service",
    "a-t@.service",
    "a-t@x-y.service",
    "u@.service",
    "g.target",
    "a.target",
    "a.timer",
    "a.slice",
];

const BASES: [&str; 10] = [
    "service",
    "target",
    "a-.service",
    "a-b-.service",
    "t@.service",
    "a-@.service",
    "a-@x-y.service",
    "a-t@x-y.service",
    "a-b.service",
    "a.service",
];

const LINES: [&str; 51] = [
    "[Service]",
    "[Service]",
    "[Unit]",
    "[Install]",
    "[X-Other]",
    "[ Service ]",
    "# comment \\",
    "; comment",
    "",
    "garbage",
    "=x",
    "ExecStart=",
    "ExecStart=/bin/echo one 'two three' \"four\\x20five\" %n",
    "ExecStart=-@/bin/sh zero %N %p %i %I %j",
    "ExecStart=/bin/a ; /bin/b x",
    "ExecStart=/bin/a \\\n# between\n  continued \\\n\n",
    "ExecStart=:!!/bin/x $A ${B} $$ %%",
    "ExecStart=/bin/sh -c \"a 'b'; c\"",
    "ExecStart=bin/relative",
    "ExecStartPre=-bin/relative",
    "ExecStart=name x",
    "ExecStart=/bin/x 'open",
    "ExecStart='open",
    "ExecStartPre=+/bin/%p/%i",
    "ExecStartPre=/bin//y/./z",
    "ExecStartPost=/bin/x \\; ';' ;y",
    "ExecStartPre=/bin/x \\q\\d \\u00e9 \\101",
    "ExecStopPost=/bin/%Z",
    "ExecStop=/bin/%h/%t/%S/%C/%L/%E/%T/%V/%u/%U",
    "Type=oneshot",
    "Type=simple",
    "Type=bogus",
    "Restart=always",
    "Restart=no",
    "User=one",
    "User=",
    "User=a:b",
    "Group = two ",
    "Environment=A=1 \"B=2 3\" 'C=x' bad 1D=2",
    "Environment=A=%n",
    "Environment=",
    "Wants=w1.service w2.target %p.target",
    "Requires=r.service",
    "OnFailure=f@%n.service",
    "Upholds=up.service\rConflicts=c.service",
    "Description=a\0ExecStartPre=/bin/nul",
    "X-A=\u{fdd0}",
    "\u{feff}ExecStartPre=/bin/bom",
    "# comment\rExecStartPre=/bin/cr",
    "ExecStartPre=/bin/x \\",
    "[broken",
];

fn content(chance: &mut Chance, whole: bool) -> String {
    let mut text = String::new();
    if chance.below(12) == 0 {
        return text;
    }
    if whole {
        text += chance.of(&[
            "[Service]\nType=oneshot\nExecStart=/bin/base\n",
            "[Service]\nExecStart=/bin/base\n",
            "\u{feff}[Service]\r\nExecStart=/bin/base\r\n",
        ]);
    }
    for _ in 0..chance.below(9) {
        let line = chance.of(&LINES);
        // What ends a file is rare, or nothing else would be compared.
        if matches!(
            line,
            "[broken"
                | "X-A=\u{fdd0}"
                | "User=a:b"
                | "ExecStart=bin/relative"
                | "ExecStart=/bin/x 'open"
                | "ExecStopPost=/bin/%Z"
        ) && chance.below(8) != 0
        {
            continue;
        }
        text += line;
        text += chance.of(&["\n", "\n", "\n", "\r\n", "\r", "\n\n"]);
    }
    text
}

fn lay_link(path: &Path, target: &str) {
    let _ = std::os::unix::fs::symlink(target, path);
}

/// Lays files below `root`; gives the names to ask for.
pub fn lay(root: &Path, seed: u64) -> Vec<String> {
    // `.upholds` came with UpheldBy=.
    let suffixes: &[&str] =
        if oracle::version() < 254 { &["wants", "requires"] } else { &["wants", "requires", "upholds"] };
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for directory in DIRECTORIES {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for _ in 0..24 {
        let directory = root.join(chance.of(&DIRECTORIES));
        let name = chance.of(&UNITS);
        let path = directory.join(name);
        match chance.below(8) {
            0 => lay_link(&path, "/dev/null"),
            1 | 2 => {
                let target = chance.of(&UNITS);
                let other = root.join(chance.of(&DIRECTORIES)).join(target);
                let target = if chance.below(2) == 0 { target } else { other.to_str().unwrap() };
                lay_link(&path, target);
            }
            3 => {
                fs::create_dir_all(root.join("opt")).unwrap();
                fs::write(root.join("opt/linked"), content(&mut chance, true)).unwrap();
                lay_link(&path, root.join("opt/linked").to_str().unwrap());
            }
            _ if !path.is_symlink() => fs::write(&path, content(&mut chance, true)).unwrap(),
            _ => {}
        }
    }
    for _ in 0..8 {
        let base = chance.of(&BASES);
        let directory = root.join(chance.of(&DIRECTORIES)).join(format!("{base}.d"));
        fs::create_dir_all(&directory).unwrap();
        let name = chance.of(&["10-a.conf", "20-b.conf", "30-c.conf", ".hidden.conf", "readme"]);
        // One file name in directories of two aliases is a matter of chance for the service manager itself.
        let path = directory.join(format!("{}{name}", base.replace(['@', '.'], "_")));
        match chance.below(6) {
            0 => lay_link(&path, "/dev/null"),
            _ if !path.is_symlink() => fs::write(&path, content(&mut chance, false)).unwrap(),
            _ => {}
        }
        if chance.below(3) == 0 {
            let same = root.join(chance.of(&DIRECTORIES)).join(format!("{base}.d"));
            fs::create_dir_all(&same).unwrap();
            let _ = fs::copy(root.join("etc/hostname"), &same);
            if !same.join(path.file_name().unwrap()).is_symlink() {
                fs::write(same.join(path.file_name().unwrap()), content(&mut chance, false)).unwrap();
            }
        }
    }
    for _ in 0..6 {
        let base =
            chance.of(&["a.service", "a-b.service", "t@.service", "g.target", "service", "a-.service"]);
        let suffix = chance.of(suffixes);
        let directory = root.join(chance.of(&DIRECTORIES)).join(format!("{base}.{suffix}"));
        fs::create_dir_all(&directory).unwrap();
        let name = chance.of(&["l1.service", "l2.target", "t@z.service", ".hid.service", "not-a-unit"]);
        let target = chance.of(&["/dev/null", "/nowhere/l1.service", "../a.service"]);
        lay_link(&directory.join(name), target);
    }
    let names = [
        "a.service",
        "a-b.service",
        "a-b-c.service",
        "t@x.service",
        "t@q.service",
        "a-t@x-y.service",
        "u@q.service",
        "g.target",
    ];
    names.map(str::to_owned).into()
}
