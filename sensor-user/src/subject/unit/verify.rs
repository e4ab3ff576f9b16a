//! Why the service manager refuses a unit although each of its files is sound: what its type asks for is missing, or two
//! settings exclude each other.

use super::effective::Effective;
use super::exec::simplify;
use super::key::Key;
use super::name::{Name, Type, unescape_path};

/// Why, if so. Whether an address or a time is one is not asked.
pub(super) fn refusal(unit: &Effective) -> Option<&'static str> {
    match unit.kind {
        Type::Service => service(unit),
        Type::Socket => socket(unit),
        Type::Timer => timer(unit),
        Type::Path => path(unit),
        Type::Mount => mount(unit),
        Type::Automount => misplaced(unit, Key::Where).then_some("Where= does not fit the unit's name"),
        Type::Swap => misplaced(unit, Key::What).then_some("What= does not fit the unit's name"),
        Type::Device | Type::Target | Type::Slice | Type::Scope => None,
    }
}

/// `service_verify`, src/core/service.c.
fn service(unit: &Effective) -> Option<&'static str> {
    let count = |key| unit.commands.iter().filter(|run| run.key == key).count();
    let starts = count(Key::ExecStart);
    let bus = unit.last(Key::BusName).is_some();
    let kind = unit.text(Key::Type).unwrap_or(match starts {
        _ if bus => b"dbus",
        0 => b"oneshot",
        _ => b"simple",
    });
    let ends = unit.text(Key::SuccessAction).is_some_and(|action| action != b"none");
    if starts == 0 && count(Key::ExecStop) == 0 && !ends {
        return Some("there is neither ExecStart= nor ExecStop= nor SuccessAction=");
    }
    if kind != b"oneshot" && starts != 1 {
        return Some("only Type=oneshot may have no ExecStart=, or several");
    }
    if starts == 0 && !unit.is_on(Key::RemainAfterExit) && !ends {
        return Some("only RemainAfterExit=yes may have no ExecStart=");
    }
    let restarts = matches!(unit.text(Key::Restart), Some(b"always" | b"on-success"));
    if kind == b"oneshot" && restarts {
        return Some("Type=oneshot cannot restart always or on success");
    }
    (kind == b"dbus" && !bus).then_some("Type=dbus needs BusName=")
}

/// `socket_verify`, src/core/socket.c.
fn socket(unit: &Effective) -> Option<&'static str> {
    let mut listens =
        unit.settings.iter().filter(|setting| setting.key.list() == Key::ListenStream).peekable();
    if listens.peek().is_none() {
        return Some("there is no Listen*=");
    }
    if !unit.is_on(Key::Accept) {
        return None;
    }
    if !listens.all(|setting| matches!(setting.key, Key::ListenStream | Key::ListenSequentialPacket)) {
        return Some("Accept=yes is for streams and sequential packets alone");
    }
    unit.last(Key::Service).is_some().then_some("Accept=yes does not go with Service=")
}

/// `timer_verify`, src/core/timer.c.
fn timer(unit: &Effective) -> Option<&'static str> {
    let elapses = unit.settings.iter().any(|setting| setting.key.list() == Key::OnCalendar);
    let changes = unit.is_on(Key::OnClockChange) || unit.is_on(Key::OnTimezoneChange);
    (!elapses && !changes).then_some("there is no time at which it elapses")
}

/// `path_verify`, src/core/path.c; paths that are not absolute are passed over (`config_parse_path_spec`).
fn path(unit: &Effective) -> Option<&'static str> {
    let absolute = |text: &[u8]| matches!(text.first(), Some(b'/' | b'%'));
    let mut specs = unit.settings.iter().filter(|setting| setting.key.list() == Key::PathExists);
    (!specs.any(|setting| absolute(&setting.text))).then_some("there is no path that it looks at")
}

/// `mount_verify`, src/core/mount.c.
fn mount(unit: &Effective) -> Option<&'static str> {
    if misplaced(unit, Key::Where) {
        return Some("Where= does not fit the unit's name");
    }
    (unit.fragment && unit.last(Key::What).is_none()).then_some("there is no What=")
}

/// Whether a path is another than the unit's name says.
fn misplaced(unit: &Effective, key: Key) -> bool {
    let named = || unescape_path(Name::parse(&unit.name)?.prefix);
    // `What=` may be `UUID=...` and the like.
    let path = unit.text(key).filter(|path| path.starts_with(b"/")).map(simplify);
    path.is_some_and(|path| named().is_none_or(|named| simplify(&named) != path))
}

#[cfg(test)]
mod tests {
    use super::super::effective::{State, effective};
    use super::super::load::{LoadPath, View};
    use super::super::store::UnitFiles;

    /// Each is what `systemd-analyze verify` of systemd 252 says.
    #[test]
    fn what_a_type_asks_for() {
        for (name, text, expected) in [
            ("a.socket", "[Socket]\nService=a.service", State::Refused),
            ("a.socket", "[Socket]\nListenStream=/run/x\nListenStream=", State::Refused),
            ("a.socket", "[Socket]\nListenFIFO=/run/x\nAccept=yes", State::Refused),
            ("a.socket", "[Socket]\nListenStream=/run/x\nAccept=yes\nService=a.service", State::Refused),
            ("a.socket", "[Socket]\nListenStream=/run/x\nListenDatagram=/run/y\nAccept=yes", State::Refused),
            ("a.socket", "[Socket]\nListenSequentialPacket=/run/x\nAccept=yes", State::Loaded),
            ("a.socket", "[Socket]\nListenStream=/run/x\nAccept=maybe\nService=a.service", State::Loaded),
            ("a.timer", "[Timer]\nUnit=a.service", State::Refused),
            ("a.timer", "[Timer]\nOnClockChange=maybe", State::Refused),
            ("a.timer", "[Timer]\nOnClockChange=yes", State::Loaded),
            ("a.timer", "[Timer]\nOnBootSec=1", State::Loaded),
            ("a.path", "[Path]\nUnit=a.service", State::Refused),
            ("a.path", "[Path]\nPathExists=relative", State::Refused),
            ("a.path", "[Path]\nPathExists=relative\nPathChanged=%t/x", State::Loaded),
            ("x.mount", "[Mount]\nWhat=/dev/x\nWhere=/y", State::Refused),
            ("y.mount", "[Mount]\nWhere=/y", State::Refused),
            ("z-a.mount", "[Mount]\nWhat=/dev/x\nWhere=/z//a/", State::Loaded),
            ("z.mount", "[Mount]\nWhat=/dev/x", State::Loaded),
            ("x.automount", "[Automount]\nWhere=/y", State::Refused),
            ("x.automount", "[Automount]\nWhere=/x", State::Loaded),
            ("x.swap", "[Swap]\nWhat=/dev/y", State::Refused),
            ("dev-y.swap", "[Swap]\nWhat=/dev/y", State::Loaded),
            ("a.service", "[Service]\nExecStart=/bin/true\nDynamicUser=maybe", State::Refused),
            ("a.service", "[Service]\nExecStart=/bin/true\nNoNewPrivileges=maybe", State::Loaded),
        ] {
            let mut store = UnitFiles::new(1 << 16);
            store.insert_file(format!("/etc/systemd/system/{name}").as_bytes(), text.as_bytes()).unwrap();
            let load = LoadPath::system();
            let unit = effective(&View::new(&store, &load), name.as_bytes()).unwrap();
            assert_eq!(unit.state, expected, "{name}: {text}");
        }
    }
}
