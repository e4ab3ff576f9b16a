//! Names: what systemd takes for a unit, what it passes over, and what programs use for files that are not finished.

/// Unit types (systemd.unit(5)).
pub const UNIT_TYPES: [&[u8]; 11] = [
    b"service",
    b"socket",
    b"device",
    b"mount",
    b"automount",
    b"swap",
    b"target",
    b"path",
    b"timer",
    b"slice",
    b"scope",
];

/// Longest unit name in bytes, its suffix included (systemd.unit(5)).
pub const UNIT_NAME_MAX: usize = 255;

/// Whether `name` is one that systemd loads a unit by: a prefix of letters, digits and `:-_.\`, for a template or an
/// instance an `@` and possibly more of these, and a type (systemd.unit(5); `unit_name_is_valid`,
/// src/basic/unit-name.c).
pub fn is_unit(name: &[u8]) -> bool {
    unit_type(name).is_some()
}

/// The type of a valid unit name, without its dot.
pub fn unit_type(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    let (prefix, kind) = (&name[..dot], &name[dot + 1..]);
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(byte);
    let named = !prefix.is_empty() && prefix[0] != b'@' && prefix.iter().all(valid);
    (named && name.len() <= UNIT_NAME_MAX && UNIT_TYPES.contains(&kind)).then_some(kind)
}

/// Whether `name` is a drop-in directory's, its `.d` taken off: of a unit, or of all units of a type.
pub fn is_drop_in_base(name: &[u8]) -> bool {
    is_unit(name) || is_type(name)
}

/// Whether `name` is a unit type.
pub fn is_type(name: &[u8]) -> bool {
    UNIT_TYPES.contains(&name)
}

/// Suffixes that packaging tools give to files which are not in force, and that systemd therefore passes over.
const BACKUP_SUFFIXES: [&[u8]; 17] = [
    b"rpmnew",
    b"rpmsave",
    b"rpmorig",
    b"dpkg-old",
    b"dpkg-new",
    b"dpkg-tmp",
    b"dpkg-dist",
    b"dpkg-bak",
    b"dpkg-backup",
    b"dpkg-remove",
    b"ucf-new",
    b"ucf-old",
    b"ucf-dist",
    b"swp",
    b"bak",
    b"old",
    b"new",
];

/// Whether systemd passes over `name` where it reads a directory of generators or scripts
/// (`hidden_or_backup_file`, src/basic/path-util.c).
pub fn is_hidden_or_backup(name: &[u8]) -> bool {
    if name.starts_with(b".") || name.ends_with(b"~") {
        return true;
    }
    if [&b"lost+found"[..], b"aquota.user", b"aquota.group"].contains(&name) {
        return true;
    }
    after_last(name, b'.').is_some_and(|(_, suffix)| BACKUP_SUFFIXES.contains(&suffix))
}

/// Whether `name` looks like one that a program gives to a file until it is finished and renamed, or to a lock or a
/// backup: of editors, sed, coreutils, package managers, rsync, mktemp, and systemd itself.
///
/// It says nothing about whether the file is in force: ask that first. What is finished under such a name is seen
/// when it is renamed, or linked, to one that counts.
pub fn is_temporary(name: &[u8]) -> bool {
    if is_hidden_or_backup(name) || (name.starts_with(b"#") && name.ends_with(b"#")) {
        return true;
    }
    // dpkg-divert --rename tries whether it may (src/divert/main.c).
    if name.ends_with(b".dpkg-divert.tmp") {
        return true;
    }
    // vim tests whether it may create a file by 4913, then 5036 and so on.
    if name.len() >= 4 && name.iter().all(u8::is_ascii_digit) {
        return true;
    }
    // GNU sed -i; coreutils' ln -sf; tempfile modules.
    let prefixes: [&[u8]; 3] = [b"sed", b"Cu", b"tmp"];
    if prefixes.iter().any(|prefix| name.strip_prefix(*prefix).is_some_and(|rest| is_random(rest, 6..=8))) {
        return true;
    }
    // mktemp's own template; crontab(1) uses it.
    if name.strip_prefix(b"tmp.").is_some_and(|rest| is_random(rest, 6..=10)) {
        return true;
    }
    // rpm: the final name, ";" and the transaction's number.
    let transaction = |suffix: &[u8]| suffix.len() == 8 && suffix.iter().all(u8::is_ascii_hexdigit);
    if after_last(name, b';').is_some_and(|(_, suffix)| transaction(suffix)) {
        return true;
    }
    // mktemp NAME.XXXXXX, and the like.
    after_last(name, b'.').is_some_and(|(rest, suffix)| {
        is_random(suffix, 6..=10) && (is_unit(rest) || rest.ends_with(b".conf"))
    }) || is_swap(name)
}

/// vim's further swap files: `.swo`, `.swn` and so on.
fn is_swap(name: &[u8]) -> bool {
    after_last(name, b'.').is_some_and(|(_, suffix)| matches!(suffix, [b's', b'w', b'a'..=b'z']))
}

fn is_random(name: &[u8], lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        && !UNIT_TYPES.contains(&name)
}

fn after_last(name: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = name.iter().rposition(|byte| *byte == separator)?;
    Some((&name[..at], &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unit_names_are_systemds() {
        for name in [
            "a.service",
            "dbus-org.freedesktop.timesync1.service",
            "getty@.service",
            "getty@tty1.service",
            "a@b@c.service",
            "foo-.service",
            "-.mount",
            "dev-disk-by\\x2duuid.swap",
            ".hidden.service",
            "x.target",
            "x.automount",
        ] {
            assert!(is_unit(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "service",
            ".service",
            "@.service",
            "@x.service",
            "a.conf",
            "a.service.d",
            "a b.service",
            "ev\u{456}l.service",
            "a.service~",
            ".#a.service",
            "a/b.service",
            "a.services",
            "README",
        ] {
            assert!(!is_unit(name.as_bytes()), "{name}");
        }
        assert!(is_unit(&[&[b'a'; 247][..], b".service"].concat()));
        assert!(!is_unit(&[&[b'a'; 248][..], b".service"].concat()));
    }

    #[test]
    fn unfinished_files_are_known_by_name() {
        for name in [
            ".#override.conf1f2e3d4c",
            "a.service~",
            ".a.service.swp",
            "a.swo",
            "4913",
            "5036",
            "sedAb12Zz",
            "CuXyZ123",
            "a.service.dpkg-new",
            "a.service.dpkg-tmp",
            "a.service.distrib.dpkg-divert.tmp",
            "a.service;6543210f",
            "#a.service#",
            ".goutputstream-ABC123",
            ".a.service.Qw3rTy",
            "tmpab12cd34",
            "tmp.QwErTy",
            "a.service.AbCdEf",
            "x.conf.123456",
            "a.service.rpmnew",
            "gen.bak",
        ] {
            assert!(is_temporary(name.as_bytes()), "{name}");
        }
        for name in [
            "a.service",
            "10-override.conf",
            "evil",
            "sed",
            "Custom",
            "payload.sh",
            "README",
            "a;b",
            "4",
            "multi-user.target.wants",
            "x.conf.d",
            "a.service.service",
        ] {
            assert!(!is_temporary(name.as_bytes()), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_panics(name in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (is_unit(&name), is_temporary(&name), is_hidden_or_backup(&name));
        }
    }
}
