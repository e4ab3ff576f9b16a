//! A request to a service manager, or to a service that changes units on request.

use std::fmt::{self, Write as _};

/// What a method does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Starts units that are there (also restarts and reloads them).
    Start,
    /// Stops units, or sends them signals.
    Stop,
    /// Enables: links in `*.wants` and the like.
    Enable,
    /// Disables: takes such links away.
    Disable,
    /// Links a unit file from elsewhere.
    Link,
    /// Enables or disables as presets say; all units where none is named.
    Preset,
    /// Masks: a link to /dev/null.
    Mask,
    /// Unmasks.
    Unmask,
    /// Removes what the administrator changed.
    Revert,
    /// Makes default.target a link to another.
    SetDefaultTarget,
    /// Adds `*.wants` or `*.requires` links to a target.
    AddDependency,
    /// Makes a unit that is in no file, and starts it.
    StartTransient,
    /// Changes properties of a unit: drop-ins in system.control.
    SetProperties,
    /// Mounts into a running unit.
    Mount,
    /// Puts processes into a unit.
    Attach,
    /// Changes the environment that units get.
    SetEnvironment,
    /// Reads all units again (and runs all generators).
    Reload,
    /// Executes the manager again.
    Reexecute,
    /// Hands the system to another init, halts or restarts it.
    SwitchRoot,
    /// Attaches a portable service's units (portabled).
    AttachImage,
    /// Detaches them.
    DetachImage,
    /// Lets a user's manager run without a session (logind).
    SetLinger,
    /// Starts or changes a machine or image, or opens a shell in one or on the host (machined).
    Machine,
    /// A method of the manager that can change units in a way that is not known here.
    Other,
}

impl Verb {
    /// For people, before the names of units.
    const fn phrase(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Link => "link",
            Self::Preset => "apply presets to",
            Self::Mask => "mask",
            Self::Unmask => "unmask",
            Self::Revert => "revert",
            Self::SetDefaultTarget => "boot by default into",
            Self::AddDependency => "add dependencies on",
            Self::StartTransient => "create and start the transient unit",
            Self::SetProperties => "change properties of",
            Self::Mount => "mount into",
            Self::Attach => "put processes into",
            Self::SetEnvironment => "change the environment of units",
            Self::Reload => "reload all units",
            Self::Reexecute => "execute itself again",
            Self::SwitchRoot => "hand over the system",
            Self::AttachImage => "attach the portable service",
            Self::DetachImage => "detach the portable service",
            Self::SetLinger => "let a user's manager run without a session",
            Self::Machine => "act on a machine",
            Self::Other => "carry out a method",
        }
    }

    /// Whether the manager writes, or may write, below its unit directories for it.
    #[must_use]
    pub const fn changes_files(self) -> bool {
        matches!(
            self,
            Self::Enable
                | Self::Disable
                | Self::Link
                | Self::Preset
                | Self::Mask
                | Self::Unmask
                | Self::Revert
                | Self::SetDefaultTarget
                | Self::AddDependency
                | Self::StartTransient
                | Self::SetProperties
                | Self::AttachImage
                | Self::DetachImage
                | Self::Other
        )
    }

    /// Whether processes start for it, or may.
    #[must_use]
    pub const fn starts_processes(self) -> bool {
        matches!(
            self,
            Self::Start
                | Self::StartTransient
                | Self::Reload
                | Self::Reexecute
                | Self::AttachImage
                | Self::Machine
                | Self::Other
        )
    }
}

/// A setting that a request carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Property {
    /// As in a unit file, or nearly (`ExecStart`, `User`, `Environment`).
    pub name: String,
    /// Its value in one line, cut at [`VALUE_MAX`] bytes.
    pub value: String,
}

/// Bytes of one value that are kept.
pub const VALUE_MAX: usize = 4096;
/// Units, properties or variables of one request that are kept.
pub const NAMES_MAX: usize = 256;

/// What a client asked of a service manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerRequest {
    /// What it does.
    pub verb: Verb,
    /// The interface as sent, empty where it was left out.
    pub interface: String,
    /// The method as sent.
    pub method: String,
    /// To whom on the bus, a well-known or unique name; empty on a manager's own socket.
    pub destination: String,
    /// The object as sent.
    pub object: String,
    /// The sender's number of the message on its connection: the same request twice has the same.
    pub serial: u32,
    /// Units by name or path, images, machines or users, as sent.
    pub units: Vec<String>,
    /// Only until the next boot; `None` where the method makes no difference.
    pub runtime: Option<bool>,
    /// Settings of transient units and of property changes; of transient units beside it theirs too, with their
    /// name before.
    pub properties: Vec<Property>,
    /// `NAME=value` or, to unset it, `NAME`.
    pub environment: Vec<String>,
    /// Not all of it was seen or understood: more units or properties can be in it.
    pub incomplete: bool,
}

impl ManagerRequest {
    /// Whether the request names this unit: as such, by its file's path, or as an instance of a template that it
    /// names. True of no unit where none is named ([`Verb::Preset`] and [`Verb::Reload`] concern all).
    #[must_use]
    pub fn names(&self, unit: &str) -> bool {
        let template = unit.split_once('@').and_then(|(prefix, rest)| {
            let (_, suffix) = rest.rsplit_once('.')?;
            Some(format!("{prefix}@.{suffix}"))
        });
        self.units.iter().any(|named| {
            let named = named.rsplit('/').next().unwrap_or(named);
            // systemctl adds the suffix; other clients may leave it to the manager.
            named == unit
                || unit.strip_suffix(".service") == Some(named)
                || template.as_deref() == Some(named)
                || is_template_of(named, unit)
        })
    }

    /// A property's value.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|property| property.name == name).map(|property| property.value.as_str())
    }
}

/// Whether `named` is an instance of the template `unit`: enabling an instance links its template.
fn is_template_of(named: &str, unit: &str) -> bool {
    let Some((prefix, rest)) = named.split_once('@') else { return false };
    let Some((_, suffix)) = rest.rsplit_once('.') else { return false };
    unit.strip_prefix(prefix).and_then(|rest| rest.strip_prefix("@.")) == Some(suffix)
}

/// A sentence: `to enable evil.service (EnableUnitFiles)`.
impl fmt::Display for ManagerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        write!(f, "to {}", self.verb.phrase())?;
        for (index, unit) in self.units.iter().take(SHOWN).enumerate() {
            write!(f, "{}{}", if index == 0 { " " } else { ", " }, plain(unit))?;
        }
        if self.units.len() > SHOWN {
            write!(f, " and {} more", self.units.len() - SHOWN)?;
        }
        let shown = self.properties.iter().map(|one| format!("{}={}", one.name, one.value));
        for (index, setting) in shown.chain(self.environment.iter().cloned()).take(SHOWN).enumerate() {
            write!(f, "{}{}", if index == 0 { ", with " } else { ", " }, plain(&setting))?;
        }
        f.write_str(" (")?;
        f.write_str(&plain(&self.method))?;
        if self.runtime == Some(true) {
            f.write_str(", until the next boot")?;
        }
        if self.incomplete {
            f.write_str(", of which only a part was seen")?;
        }
        f.write_char(')')
    }
}

/// Text of a stranger's, for people: no control characters, and not without end.
fn plain(text: &str) -> String {
    const MOST: usize = 200;
    let mut plain: String =
        text.chars().take(MOST).map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect();
    if text.chars().nth(MOST).is_some() {
        plain.push('…');
    }
    plain
}
