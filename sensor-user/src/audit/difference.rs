//! What is different between two surveys of one machine.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::path::lossy;
use crate::proof::inventory::{Entry, Kind};
use crate::proof::package::Verdict;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It is not what it was.
    Changed,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What became of it.
    pub change: Change,
    /// What sort of thing.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Where.
    pub path: String,
    /// What is different, in sentences; of what is new, whose it is and what it runs.
    pub what: Vec<String>,
}

/// Compares two lists of entries. That a file was touched and says what it said is no difference.
pub fn differences(before: &[Entry], after: &[Entry]) -> Vec<Difference> {
    let by_key = |entries: &'_ [Entry]| -> BTreeMap<(Vec<u8>, Kind), usize> {
        entries.iter().enumerate().map(|(at, entry)| ((entry.path.clone(), entry.kind), at)).collect()
    };
    let (old, new) = (by_key(before), by_key(after));
    let of = |change, entry: &Entry, what| Difference {
        change,
        kind: entry.kind,
        name: entry.name.clone(),
        path: lossy(&entry.path).into_owned(),
        what,
    };
    let mut found = Vec::new();
    for (key, at) in &new {
        let entry = &after[*at];
        match old.get(key).map(|at| &before[*at]) {
            None => found.push(of(Change::Added, entry, described(entry))),
            Some(known) => {
                let what = changes(known, entry);
                if !what.is_empty() {
                    found.push(of(Change::Changed, entry, what));
                }
            }
        }
    }
    let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
    found.extend(gone.map(|(_, at)| of(Change::Removed, &before[*at], Vec::new())));
    found.sort_by(|a, b| (&a.path, a.kind).cmp(&(&b.path, b.kind)));
    found
}

fn described(entry: &Entry) -> Vec<String> {
    let mut what = vec![verdict(&entry.proof)];
    what.extend(entry.target.as_ref().map(|target| format!("it leads to {}", lossy(target))));
    what.extend(
        entry
            .programs
            .iter()
            .map(|program| format!("it runs {}: {}", lossy(&program.path), verdict(&program.proof))),
    );
    what
}

fn changes(before: &Entry, after: &Entry) -> Vec<String> {
    let mut what = Vec::new();
    let target = |entry: &Entry| {
        entry.target.as_ref().map_or_else(|| "no link".to_owned(), |target| lossy(target).into_owned())
    };
    if before.target != after.target {
        what.push(format!("it leads to {} instead of {}", target(after), target(before)));
    } else if before.sha256 != after.sha256 {
        what.push(match (&before.sha256, &after.sha256) {
            (Some(_), Some(_)) => "it says something else".to_owned(),
            (None, _) => "what it said could not be read then".to_owned(),
            (_, None) => "what it says cannot be read now".to_owned(),
        });
    }
    let numbers = [
        ("owner", before.uid, after.uid, false),
        ("group", before.gid, after.gid, false),
        ("mode", before.mode & 0o7777, after.mode & 0o7777, true),
    ];
    for (name, then, now, octal) in numbers {
        if then != now {
            what.push(if octal {
                format!("{name} {now:04o} instead of {then:04o}")
            } else {
                format!("{name} {now} instead of {then}")
            });
        }
    }
    if before.proof != after.proof {
        what.push(format!("{}; before: {}", verdict(&after.proof), verdict(&before.proof)));
    }
    for program in &after.programs {
        let path = lossy(&program.path);
        match before.programs.iter().find(|known| known.path == program.path) {
            None => what.push(format!("it runs {path}: {}", verdict(&program.proof))),
            Some(known) if known.sha256 != program.sha256 => {
                what.push(format!("{path}, which it runs, is another: {}", verdict(&program.proof)));
            }
            Some(_) => {}
        }
    }
    let gone =
        before.programs.iter().filter(|program| !after.programs.iter().any(|own| own.path == program.path));
    what.extend(gone.map(|program| format!("it does not run {} any more", lossy(&program.path))));
    what
}

/// A verdict as a sentence.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Proved { package } => format!("it is of {} {}", package.name, package.version),
        Verdict::Modified { package, config: true } => {
            format!("a configuration file of {} {} that was changed", package.name, package.version)
        }
        Verdict::Modified { package, config: false } => {
            format!("it is not what {} {} brought", package.name, package.version)
        }
        Verdict::Claimed { package } => {
            format!("it is of {} {}, which does not say what must be in it", package.name, package.version)
        }
        Verdict::Unowned => "no package owns it".to_owned(),
        Verdict::Unknown { reason } => format!("whose it is cannot be said: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::inventory::Program;

    fn entry(path: &str, sha256: &str) -> Entry {
        Entry {
            kind: Kind::Unit,
            user: None,
            name: path.rsplit('/').next().unwrap().to_owned(),
            path: path.as_bytes().to_vec(),
            target: None,
            sha256: Some(sha256.to_owned()),
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            modified_ns: 1,
            proof: Verdict::Unowned,
            programs: vec![Program {
                path: b"/opt/x".to_vec(),
                sha256: Some("1".to_owned()),
                proof: Verdict::Unowned,
            }],
        }
    }

    fn told(before: &[Entry], after: &[Entry]) -> Vec<String> {
        let line = |one: &Difference| format!("{:?} {}: {}", one.change, one.path, one.what.join("; "));
        differences(before, after).iter().map(line).collect()
    }

    #[test]
    fn what_was_only_touched_is_the_same() {
        let before = [entry("/a", "1"), entry("/b", "1")];
        let after = [entry("/b", "1"), Entry { modified_ns: 9, ..entry("/a", "1") }];
        assert_eq!(told(&before, &after), [""; 0]);
    }

    #[test]
    fn each_difference_is_told_in_words() {
        let mut changed = entry("/b", "2");
        (changed.uid, changed.mode) = (1000, 0o100_666);
        changed.programs[0].sha256 = Some("2".to_owned());
        let before =
            [entry("/a", "1"), entry("/b", "1"), Entry { target: Some(b"x".to_vec()), ..entry("/c", "1") }];
        let after = [changed, Entry { target: Some(b"y".to_vec()), ..entry("/c", "2") }, entry("/d", "1")];
        assert_eq!(
            told(&before, &after),
            [
                "Removed /a: ",
                "Changed /b: it says something else; owner 1000 instead of 0; mode 0666 instead of 0644; /opt/x, which it runs, is another: no package owns it",
                "Changed /c: it leads to y instead of x",
                "Added /d: no package owns it; it runs /opt/x: no package owns it",
            ]
        );
    }
}
