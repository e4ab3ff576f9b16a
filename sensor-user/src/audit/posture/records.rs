//! Whether what happened can be read afterwards (M1047, Audit).

use super::{Check, lines, read, read_all};
use crate::detect::rule::Severity;
use crate::source::content::Root;

/// Directories of units that should be watched.
const DIRECTORIES: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];

pub(super) fn check(root: &Root, found: &mut Vec<Check>) {
    let mut rules = read_all(root, "/etc/audit/rules.d", ".rules");
    rules
        .extend(read(root, "/etc/audit/audit.rules").map(|text| ("/etc/audit/audit.rules".to_owned(), text)));
    let watched: Vec<String> = rules.iter().flat_map(|(_, text)| lines(text).filter_map(watch)).collect();
    let covered = |directory: &str| {
        let names = [directory.to_owned(), directory.replacen("/usr/lib", "/lib", 1)];
        names.iter().any(|name| {
            watched.iter().any(|watch| {
                let watch = watch.trim_end_matches('/');
                name == watch || name.strip_prefix(watch).is_some_and(|rest| rest.starts_with('/'))
            })
        })
    };
    let installed =
        ["/usr/sbin/auditd", "/sbin/auditd"].iter().any(|path| root.stat(path.as_bytes()).is_ok());
    let evidence = match (installed, rules.is_empty()) {
        (false, true) => vec!["auditd is not installed".to_owned()],
        _ => DIRECTORIES
            .iter()
            .filter(|directory| !covered(directory))
            .map(|directory| format!("no rule watches {directory}"))
            .collect(),
    };
    found.push(Check {
        id: "posture.audit.units",
        mitigations: &["M1047"],
        severity: Severity::Info,
        title: "the kernel's audit log does not have changes of units".to_owned(),
        evidence,
        advice: "Run svcsensor, or add rules like `-w /etc/systemd/system -p wa` (auditctl(8)).",
    });
    found.push(Check {
        id: "posture.audit.journal",
        mitigations: &["M1047"],
        severity: Severity::Info,
        title: "the journal does not outlive a reboot".to_owned(),
        evidence: journal(root).into_iter().collect(),
        advice: "Set Storage=persistent in journald.conf(5), or forward to another machine.",
    });
}

/// What a line of audit rules watches (auditctl(8)).
fn watch(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    while let Some(word) = words.next() {
        if word == "-w" {
            return words.next().map(str::to_owned);
        }
        if word == "-F" {
            let field = words.next()?;
            if let Some(path) = field.strip_prefix("dir=").or_else(|| field.strip_prefix("path=")) {
                return Some(path.to_owned());
            }
        }
    }
    None
}

/// Why the journal is lost at a reboot; `None` where it is kept, or there is no journald.
fn journal(root: &Root) -> Option<String> {
    root.stat(b"/usr/lib/systemd/systemd-journald").ok()?;
    let mut storage = "auto".to_owned();
    let mut said_by = "journald's default".to_owned();
    // The main file first, then the drop-ins in the order of their names, whichever directory they are in; one in /etc
    // hides one of the same name (systemd's conf_files_list).
    let mut files = Vec::new();
    for path in ["/usr/lib/systemd/journald.conf", "/run/systemd/journald.conf", "/etc/systemd/journald.conf"]
    {
        files.extend(read(root, path).map(|text| (path.to_owned(), text)));
    }
    let mut drop_ins = std::collections::BTreeMap::new();
    for directory in ["/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd"] {
        for (path, text) in read_all(root, &format!("{directory}/journald.conf.d"), ".conf") {
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            drop_ins.insert(name, (path, text));
        }
    }
    for (path, text) in files.into_iter().chain(drop_ins.into_values()) {
        for line in lines(&text) {
            if let Some(("Storage", value)) =
                line.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
            {
                storage = value.to_ascii_lowercase();
                said_by.clone_from(&path);
            }
        }
    }
    let directory = root.stat(b"/var/log/journal").is_ok();
    match storage.as_str() {
        "persistent" => None,
        "auto" if directory => None,
        "auto" => Some("Storage=auto, and there is no /var/log/journal".to_owned()),
        other => Some(format!("{said_by}: Storage={other}")),
    }
}
