//! Where a program or file lies.

use super::{Signal, Weight, told};

/// Directories where everybody may write.
const WRITABLE: [&str; 8] =
    ["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/user", "/run/lock", "/var/lock", "/var/crash"];

/// Hidden directories of a home in which programs ordinarily lie.
const HIDDEN_USUAL: [&[u8]; 8] =
    [b".local", b".config", b".cargo", b".nvm", b".pyenv", b".rbenv", b".npm-global", b".dotnet"];

/// Trusted directories: what lies here is run by others.
const TRUSTED: [&str; 10] =
    ["/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/root", "/var/spool/cron", "/run/systemd"];

/// Whether `path` is `directory` or lies below it.
pub fn is_below(path: &[u8], directory: &str) -> bool {
    path.strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Whether everybody may write there.
pub fn is_writable(path: &[u8]) -> bool {
    WRITABLE.iter().any(|directory| is_below(path, directory))
}

/// Whether others run what lies there.
pub fn is_trusted(path: &[u8]) -> bool {
    TRUSTED.iter().any(|directory| is_below(path, directory))
}

/// Whether a path is another process's or a descriptor: what it leads to lies nowhere.
fn is_descriptor(path: &[u8]) -> bool {
    let mut parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    match parts.next() {
        Some(b"proc") => parts.any(|part| matches!(part, b"fd" | b"exe" | b"map_files")),
        Some(b"dev") => parts.next() == Some(b"fd"),
        _ => path.windows(6).any(|part| part == b"memfd:"),
    }
}

/// What there is to say about where a path lies; `in_home` where homes are usual (a user's own units).
pub fn signals(path: &[u8], in_home: bool) -> Vec<Signal> {
    let mut found = Vec::new();
    let shown = || told(path);
    if is_descriptor(path) {
        found.push(Signal::new(
            "path.descriptor",
            Weight::Strong,
            format!("{} is a descriptor, not a file on disk", shown()),
        ));
    }
    if is_writable(path) {
        found.push(Signal::new(
            "path.world-writable",
            Weight::Strong,
            format!("{} lies where everybody may write", shown()),
        ));
    }
    let home = is_below(path, "/home") || is_below(path, "/root");
    if home && !in_home {
        found.push(Signal::new("path.home", Weight::Weak, format!("{} lies in a home directory", shown())));
    }
    let hidden = path.split(|byte| *byte == b'/').enumerate().find(|(at, part)| {
        let usual = *at <= 3 && home && HIDDEN_USUAL.contains(part);
        part.len() > 1 && part[0] == b'.' && !matches!(*part, b"..") && !usual
    });
    if hidden.is_some() {
        found.push(Signal::new("path.hidden", Weight::Strong, format!("{} is hidden", shown())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slugs(path: &str, in_home: bool) -> Vec<&'static str> {
        signals(path.as_bytes(), in_home).iter().map(|signal| signal.slug).collect()
    }

    #[test]
    fn places() {
        for (path, expected) in [
            ("/usr/bin/x", &[][..]),
            ("/tmp/x", &["path.world-writable"]),
            ("/tmpfoo/x", &[]),
            ("/dev/shm/.x", &["path.world-writable", "path.hidden"]),
            ("/home/u/x", &["path.home"]),
            ("/home/u/.local/bin/x", &["path.home"]),
            ("/home/u/.x/y", &["path.home", "path.hidden"]),
            ("/usr/lib/.../x", &["path.hidden"]),
            ("/proc/self/fd/3", &["path.descriptor"]),
            ("/dev/fd/3", &["path.descriptor"]),
            ("/proc/123/exe", &["path.descriptor"]),
            ("/usr/../usr/bin/x", &[]),
        ] {
            assert_eq!(slugs(path, false), expected, "{path}");
        }
        assert_eq!(slugs("/home/u/bin/x", true), [""; 0]);
    }
}
