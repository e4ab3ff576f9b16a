//! The settings that say what runs, as whom, when, and in which environment: their sections, and how one assignment
//! adds to, replaces or clears what stood before (src/core/load-fragment-gperf.gperf.in, src/core/load-fragment.c,
//! src/shared/install.c; systemd 257).

use super::name::Type;

/// A section of a unit file, or of system.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the sections")]
pub enum Section {
    Unit,
    Install,
    Service,
    Socket,
    Timer,
    Path,
    Mount,
    Automount,
    Swap,
    Manager,
}

impl Section {
    /// The section of this name, where it holds a setting that is kept.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"Unit" => Self::Unit,
            b"Install" => Self::Install,
            b"Service" => Self::Service,
            b"Socket" => Self::Socket,
            b"Timer" => Self::Timer,
            b"Path" => Self::Path,
            b"Mount" => Self::Mount,
            b"Automount" => Self::Automount,
            b"Swap" => Self::Swap,
            b"Manager" => Self::Manager,
            _ => return None,
        })
    }

    /// Whether units of this type have it; in others it is passed over.
    pub fn is_of(self, kind: Type) -> bool {
        match self {
            Self::Unit | Self::Install => true,
            Self::Service => kind == Type::Service,
            Self::Socket => kind == Type::Socket,
            Self::Timer => kind == Type::Timer,
            Self::Path => kind == Type::Path,
            Self::Mount => kind == Type::Mount,
            Self::Automount => kind == Type::Automount,
            Self::Swap => kind == Type::Swap,
            Self::Manager => false,
        }
    }
}

/// How assignments combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The last one counts, an empty one clears it.
    Last,
    /// The last one that is one of these counts; others, empty ones as well, are passed over.
    Choice(&'static [&'static str]),
    /// As `Choice`, of the words for yes and no.
    Switch,
    /// The first one counts.
    First,
    /// Each adds one; an empty one clears all of the same [`Key::list`].
    Line,
    /// Each adds its words; an empty one clears all of the same [`Key::list`].
    Words,
    /// Names of units, which nothing clears.
    Units,
    /// Names of units in \[Install\]; an empty one clears them.
    Install,
    /// Commands; an empty one clears them.
    Commands,
    /// Variables, by name; an empty one clears all.
    Variables,
}

macro_rules! keys {
    ($($sections:tt { $($key:ident $kind:expr),* $(,)? })*) => {
        /// A setting. Its name is that of the variant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the names are systemd's; see systemd.directives(7)")]
        pub enum Key { $($($key),*),* }

        const TABLE: &[(Key, &str, &[Section], Kind)] = &[
            $($((Key::$key, stringify!($key), &$sections, $kind)),*),*
        ];
    };
}

use Kind::{Choice, Commands, First, Install, Last, Line, Switch, Units, Variables, Words};
use Section as S;

keys! {
    [S::Unit] {
        Description Last, SourcePath Last, Requires Units, Requisite Units, Wants Units, BindsTo Units, Upholds Units,
        Conflicts Units, OnSuccess Units, OnFailure Units, PartOf Units, PropagatesStopTo Units,
        StopPropagatedFrom Units, JoinsNamespaceOf Units, RequiresMountsFor Words, DefaultDependencies Switch,
        Condition Line, Assert Line, SuccessAction Last, RefuseManualStop Switch,
    }
    // FailureAction= stood in [Service] once, and still may.
    [S::Unit, S::Service] { FailureAction Last }
    [S::Install] {
        WantedBy Install, RequiredBy Install, UpheldBy Install, Alias Install, Also Units, DefaultInstance Last,
    }
    [S::Service] {
        Type Choice(&["simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle"]),
        ExecCondition Commands, ExecStart Commands, ExecReload Commands, ExecStop Commands,
        Restart Choice(&[
            "no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always",
        ]),
        RestartSec Last, RemainAfterExit Switch, PermissionsStartOnly Switch, RootDirectoryStartOnly Switch,
        BusName Last, PIDFile Last, Sockets Units, OpenFile Line,
    }
    [S::Service, S::Socket] { ExecStartPre Commands, ExecStartPost Commands, ExecStopPost Commands }
    [S::Socket] {
        ExecStopPre Commands, ListenStream Line, ListenDatagram Line, ListenSequentialPacket Line, ListenFIFO Line,
        ListenNetlink Line, ListenSpecial Line, ListenMessageQueue Line, ListenUSBFunction Line, Accept Switch,
        Service Last, SocketUser Last, SocketGroup Last, SocketMode Last, BindToDevice Last, FileDescriptorName Last,
    }
    [S::Timer] {
        OnCalendar Line, OnActiveSec Line, OnBootSec Line, OnStartupSec Line, OnUnitActiveSec Line,
        OnUnitInactiveSec Line, OnClockChange Switch, OnTimezoneChange Switch, Persistent Switch,
    }
    [S::Path] {
        PathExists Line, PathExistsGlob Line, PathChanged Line, PathModified Line, DirectoryNotEmpty Line,
        MakeDirectory Switch,
    }
    [S::Timer, S::Path] { Unit First }
    [S::Mount, S::Swap] { What Last, Options Last }
    [S::Mount, S::Automount] { Where Last }
    [S::Mount] { MountType Last }
    [S::Service, S::Socket, S::Mount, S::Swap] {
        User Last, Group Last, SupplementaryGroups Words, DynamicUser Switch, Environment Variables,
        EnvironmentFile Line, PassEnvironment Words, UnsetEnvironment Words, WorkingDirectory Last,
        RootDirectory Last, RootImage Last, ExtensionImages Line, ExtensionDirectories Words, MountImages Line,
        BindPaths Words, BindReadOnlyPaths Words, TemporaryFileSystem Words, InaccessiblePaths Words,
        AmbientCapabilities Line, CapabilityBoundingSet Line, NoNewPrivileges Switch, ProtectSystem Last,
        ProtectHome Last, PrivateTmp Last, StandardInput Last, StandardOutput Last, StandardError Last,
        StandardInputText Line, StandardInputData Line, PAMName Last, TTYPath Last, ExecSearchPath Last,
        LoadCredential Line, SetCredential Line, ImportCredential Line, NetworkNamespacePath Last,
    }
    [S::Manager] { DefaultEnvironment Variables, ManagerEnvironment Variables }
}

/// Earlier names (load-fragment-gperf.gperf.in).
const FORMER: [(&[u8], Key); 2] =
    [(b"BindTo", Key::BindsTo), (b"InaccessibleDirectories", Key::InaccessiblePaths)];

/// The words for yes and no (`parse_boolean`, src/basic/parse-util.c), without regard to case.
pub fn parse_switch(value: &[u8]) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
    match () {
        () if is(&["1", "yes", "y", "true", "t", "on"]) => Some(true),
        () if is(&["0", "no", "n", "false", "f", "off"]) => Some(false),
        () => None,
    }
}

impl Key {
    /// The setting of this name in a section, where it is one that is kept. Of `ConditionX` and `AssertX` there is one
    /// key for all; the rest of the name is given with it.
    pub fn find(section: Section, name: &[u8]) -> Option<(Self, &[u8])> {
        if section == Section::Unit {
            for (prefix, key) in [(&b"Condition"[..], Self::Condition), (b"Assert", Self::Assert)] {
                if let Some(rest) = name.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
                    return Some((key, rest));
                }
            }
        }
        let former = || FORMER.iter().find(|(former, _)| *former == name).map(|(_, key)| *key);
        let named = |key: &&(Self, &str, &[Section], Kind)| key.0.name().as_bytes() == name;
        let key = match (section, name) {
            // A word that two sections use for different things.
            (Section::Mount, b"Type") => Self::MountType,
            (Section::Mount, b"MountType") | (Section::Unit, b"Condition" | b"Assert") => return None,
            _ => TABLE
                .iter()
                .filter(|(_, _, sections, _)| sections.contains(&section))
                .find(named)
                .map(|entry| entry.0)
                .or_else(former)?,
        };
        TABLE[key as usize].2.contains(&section).then_some((key, &[]))
    }

    /// The setting's name in a unit file (`Condition`, `Assert` without what follows).
    pub fn name(self) -> &'static str {
        if self == Self::MountType { "Type" } else { TABLE[self as usize].1 }
    }

    /// How assignments combine.
    pub fn kind(self) -> Kind {
        TABLE[self as usize].3
    }

    /// The list that an empty assignment clears: timers, paths and sockets have one for all their settings.
    #[must_use]
    pub fn list(self) -> Self {
        match self {
            Self::OnActiveSec
            | Self::OnBootSec
            | Self::OnStartupSec
            | Self::OnUnitActiveSec
            | Self::OnUnitInactiveSec => Self::OnCalendar,
            Self::PathExistsGlob | Self::PathChanged | Self::PathModified | Self::DirectoryNotEmpty => {
                Self::PathExists
            }
            Self::ListenDatagram
            | Self::ListenSequentialPacket
            | Self::ListenFIFO
            | Self::ListenNetlink
            | Self::ListenSpecial
            | Self::ListenMessageQueue
            | Self::ListenUSBFunction => Self::ListenStream,
            Self::BindReadOnlyPaths => Self::BindPaths,
            // Text and data are one input (`config_parse_exec_input_text`, `config_parse_exec_input_data`).
            Self::StandardInputData => Self::StandardInputText,
            other => other,
        }
    }

    /// Whether it is a list of commands.
    pub fn is_command(self) -> bool {
        self.kind() == Commands
    }

    /// All settings.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|entry| entry.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_keys_order_and_found_by_name() {
        for (at, (key, _, sections, _)) in TABLE.iter().enumerate() {
            assert_eq!(*key as usize, at);
            for section in *sections {
                if !matches!(key, Key::Condition | Key::Assert) {
                    assert_eq!(Key::find(*section, key.name().as_bytes()), Some((*key, &b""[..])), "{key:?}");
                }
            }
        }
        assert!(Key::all().count() < 256, "a key is kept in one byte");
    }

    #[test]
    fn sections_tell_settings_apart() {
        let find = |section, name: &'static str| Key::find(section, name.as_bytes());
        assert_eq!(find(S::Unit, "ConditionPathExists"), Some((Key::Condition, &b"PathExists"[..])));
        assert_eq!(find(S::Service, "Type"), Some((Key::Type, &b""[..])));
        assert_eq!(find(S::Mount, "Type"), Some((Key::MountType, &b""[..])));
        assert_eq!(find(S::Unit, "BindTo"), Some((Key::BindsTo, &b""[..])));
        assert_eq!(find(S::Service, "FailureAction"), Some((Key::FailureAction, &b""[..])));
        for (section, name) in [
            (S::Unit, "ExecStart"),
            (S::Timer, "ExecStart"),
            (S::Unit, "Condition"),
            (S::Service, "execstart"),
            (S::Service, "BindTo"),
            (S::Mount, "MountType"),
            (S::Socket, "ExecStart"),
        ] {
            assert_eq!(find(section, name), None, "{name}");
        }
    }

    #[test]
    fn yes_and_no() {
        assert_eq!(parse_switch(b"YES"), Some(true));
        assert_eq!(parse_switch(b"off"), Some(false));
        assert_eq!((parse_switch(b""), parse_switch(b"2")), (None, None));
    }
}
