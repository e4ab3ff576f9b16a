//! The service manager's own view of unit files, without a running one: `systemd-analyze verify` loads units as PID 1
//! does and, at log level debug, dumps them (`unit_dump`, src/core/unit-serialize.c).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// A loaded unit, as far as it is compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unit {
    pub name: String,
    pub aliases: BTreeSet<String>,
    /// The unit file first, where there is one.
    pub files: Vec<String>,
    /// `ExecStart` and so on: the commands' arguments.
    pub commands: BTreeMap<String, Vec<Vec<String>>>,
    /// `User`, `Group`, `Type`, `Restart`.
    pub single: BTreeMap<String, String>,
    pub environment: BTreeSet<String>,
    /// `Wants x.service` and so on, where a file asked for it.
    pub dependencies: BTreeSet<String>,
}

/// What the service manager says of a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Loaded(Unit),
    Masked,
    NotFound,
    Refused,
}

/// Why there is nothing to compare with, if so.
pub fn missing() -> Option<String> {
    match Command::new("systemd-analyze").arg("--version").output() {
        Ok(out) if out.status.success() => None,
        Ok(out) => Some(format!("systemd-analyze: {}", out.status)),
        Err(error) => Some(format!("systemd-analyze: {error}")),
    }
}

/// Whether a unit is of a type; types are told by small letters only.
pub fn is_of_type(name: &str, kind: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, suffix)| suffix == kind)
}

/// The version of systemd.
pub fn version() -> u32 {
    let out = Command::new("systemd-analyze").arg("--version").output().unwrap().stdout;
    let digits: String =
        String::from_utf8_lossy(&out).chars().filter(|c| !c.is_alphabetic()).take(8).collect();
    digits.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a version")
}

pub const DEPENDENCIES: [&str; 5] = ["Requires", "Wants", "Upholds", "OnFailure", "Conflicts"];
pub const SINGLE: [&str; 4] = ["User", "Group", "Type", "Restart"];

/// Asks for a name, with these directories as load path.
pub fn ask(directories: &[String], name: &str) -> Verdict {
    let out = Command::new("systemd-analyze")
        .args(["verify", "--man=no", name])
        .current_dir(Path::new("/"))
        .env("SYSTEMD_UNIT_PATH", directories.join(":"))
        .env("SYSTEMD_LOG_LEVEL", "debug")
        .env("SYSTEMD_LOG_TARGET", "console")
        .env("HOME", "/root")
        // Newer releases draw arrows otherwise.
        .env("LC_ALL", "C")
        .env("SYSTEMD_UTF8", "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let dump = String::from_utf8_lossy(&out.stdout).into_owned();
    if dump.contains("-> Unit ") {
        return Verdict::Loaded(parse(&dump));
    }
    // `bus_unit_validate_load_state`, src/core/dbus-unit.c.
    let says = |text: &str| said.lines().any(|line| line.starts_with("Unit ") && line.contains(text));
    if says(" is masked") {
        Verdict::Masked
    } else if says(" not found") {
        Verdict::NotFound
    } else if says("bad unit file setting") || says("failed to load properly") {
        Verdict::Refused
    } else {
        panic!("{name}: {}\n{said}", out.status)
    }
}

fn parse(dump: &str) -> Unit {
    let mut unit = Unit::default();
    let mut list = None;
    for line in dump.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("-> Unit ") {
            name.trim_end_matches(':').clone_into(&mut unit.name);
        } else if let Some(key) = line.strip_prefix("-> ") {
            list = Some(key.trim_end_matches(':').to_owned());
        } else if let Some((key, value)) = line.split_once(": ") {
            match key {
                "Command Line" => {
                    let list = list.clone().expect("a list's head");
                    unit.commands.entry(list).or_default().push(unquote(value));
                }
                "Alias" => drop(unit.aliases.insert(value.to_owned())),
                "Fragment Path" => unit.files.insert(0, value.to_owned()),
                "DropIn Path" => unit.files.push(value.to_owned()),
                "Environment" => drop(unit.environment.insert(value.to_owned())),
                key if SINGLE.contains(&key) => {
                    unit.single.insert(key.to_owned(), value.to_owned());
                }
                key if DEPENDENCIES.contains(&key) && value.contains("origin-file") => {
                    let (name, origins) = value.split_once(" (").expect("the origins");
                    // The slice is a setting of its own.
                    if !origins.contains("slice-property") && !is_of_type(name, "slice") {
                        unit.dependencies.insert(format!("{key} {name}"));
                    }
                }
                _ => {}
            }
        }
    }
    unit
}

/// Undoes `quote_command_line`: words with blanks or marks stand in `"`, four marks behind a backslash.
fn unquote(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    let mut marks = line.chars();
    while let Some(mark) = marks.next() {
        let word = words.last_mut().expect("never empty");
        match mark {
            '"' => quoted = !quoted,
            '\\' if quoted => word.extend(marks.next()),
            ' ' if !quoted => words.push(String::new()),
            other => word.push(other),
        }
    }
    words
}
