//! Asking a service manager (systemctl(1)).

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use super::run;

/// What is asked for. A setting's property has mostly its own name.
const PROPERTIES: [&str; 61] = [
    "Id",
    "Names",
    "LoadState",
    "ActiveState",
    "FragmentPath",
    "DropInPaths",
    "SourcePath",
    "Description",
    "ExecConditionEx",
    "ExecStartPreEx",
    "ExecStartEx",
    "ExecStartPostEx",
    "ExecReloadEx",
    "ExecStopEx",
    "ExecStopPostEx",
    "ExecStartPre",
    "ExecStartPost",
    "ExecStopPre",
    "ExecStopPost",
    "Type",
    "Restart",
    "RemainAfterExit",
    "BusName",
    "PIDFile",
    "User",
    "Group",
    "SupplementaryGroups",
    "DynamicUser",
    "Environment",
    "EnvironmentFiles",
    "PassEnvironment",
    "UnsetEnvironment",
    "WorkingDirectory",
    "RootDirectory",
    "PAMName",
    "TTYPath",
    "NoNewPrivileges",
    "StandardInput",
    "Requires",
    "Requisite",
    "Wants",
    "BindsTo",
    "Upholds",
    "OnFailure",
    "OnSuccess",
    "PartOf",
    "Conflicts",
    "WantedBy",
    "RequiredBy",
    "UpheldBy",
    "Triggers",
    "Listen",
    "Accept",
    "Unit",
    "Paths",
    "TimersMonotonic",
    "TimersCalendar",
    "Persistent",
    "Where",
    "SuccessAction",
    "FailureAction",
];

/// Properties of a unit, each with its lines.
pub type Shown = BTreeMap<String, Vec<String>>;

/// A running manager.
pub struct Manager {
    /// The user whose it is, and the home directory; the system's without.
    user: Option<(u32, String)>,
}

impl Manager {
    /// The system's.
    pub fn system() -> Self {
        Self { user: None }
    }

    /// A user's.
    pub fn of_user(uid: u32, home: &str) -> Self {
        Self { user: Some((uid, home.to_owned())) }
    }

    fn systemctl(&self) -> Command {
        let mut command = Command::new("systemctl");
        command.env("LC_ALL", "C").env("SYSTEMD_COLORS", "0").args(["--no-pager"]);
        if let Some((uid, home)) = &self.user {
            command.env("XDG_RUNTIME_DIR", format!("/run/user/{uid}")).env("HOME", home).arg("--user");
            command.uid(*uid).gid(*uid).current_dir("/");
        }
        command
    }

    /// Has it read its units again, without a word about what is wrong in them: every load would say it again.
    pub fn reload(&self) -> Result<()> {
        run(self.systemctl().args(["log-level", "err"]))?;
        run(self.systemctl().arg("daemon-reload")).map(drop)
    }

    /// Its number, of `252.39-1~deb12u1`.
    pub fn version(&self) -> Result<u32> {
        let said = run(self.systemctl().args(["show", "--value", "--property=Version"]))?;
        let digits = said.trim().split(|mark: char| !mark.is_ascii_digit()).next().unwrap_or_default();
        digits.parse().with_context(|| format!("systemd's version is {said:?}"))
    }

    /// Where it looks for units.
    pub fn unit_path(&self) -> Result<Vec<String>> {
        let said = run(self.systemctl().args(["show", "--value", "--property=UnitPath"]))?;
        Ok(said.split_whitespace().map(str::to_owned).collect())
    }

    /// What it makes of these units, in their order.
    pub fn show(&self, names: &[String]) -> Result<Vec<Shown>> {
        let properties = format!("--property={}", PROPERTIES.join(","));
        // After `--`, as a slice may begin with "-".
        let said = run(self.systemctl().args(["show", &properties, "--"]).args(names))?;
        Ok(said.trim_end_matches('\n').split("\n\n").map(parse).collect())
    }

    /// Their files as `systemctl cat` writes them one after another.
    pub fn cat<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<String> {
        run(self.systemctl().args(["cat", "--"]).args(names))
    }
}

/// `Property=value` a line. A value may have lines of its own.
fn parse(block: &str) -> Shown {
    let mut shown = Shown::new();
    let mut last: Option<&str> = None;
    for line in block.lines() {
        if let Some((name, value)) = line.split_once('=').filter(|(name, _)| PROPERTIES.contains(name)) {
            shown.entry(name.to_owned()).or_default().push(value.to_owned());
            last = Some(name);
        } else if let Some(value) = last.and_then(|name| shown.get_mut(name)?.last_mut()) {
            value.push('\n');
            value.push_str(line);
        }
    }
    shown
}

/// The words of a property with many values: those with blanks or marks stand in `"`, some marks behind a backslash
/// (`shell_maybe_quote`, src/basic/escape.c).
pub fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut any) = (String::new(), false, false);
    let mut marks = value.chars();
    while let Some(mark) = marks.next() {
        match mark {
            '"' => (quoted, any) = (!quoted, true),
            '\\' if quoted => word.extend(marks.next()),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            other => word.push(other),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_and_long_values() {
        assert_eq!(words(r#"A=1 "B=2 3" "a\\x20b" """#), ["A=1", "B=2 3", r"a\x20b", ""]);
        assert!(words("").is_empty());
        let shown =
            parse("Id=a.service\nEnvironmentFiles=/a\nEnvironmentFiles=/b\nDescription=one\ntwo=2\nUser=");
        assert_eq!(shown["EnvironmentFiles"], ["/a", "/b"]);
        assert_eq!(shown["Description"], ["one\ntwo=2"]);
        assert_eq!(shown["User"], [""]);
    }
}
