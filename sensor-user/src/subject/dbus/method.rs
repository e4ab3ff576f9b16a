//! From method calls to requests. Sources: org.freedesktop.systemd1(5), org.freedesktop.portable1(5),
//! org.freedesktop.machine1(5), org.freedesktop.login1(5), and the D-Bus specification's "Message Bus Messages".

use super::request::{ManagerRequest, NAMES_MAX, Property, VALUE_MAX, Verb};
use super::value::Value;
use super::wire::Call;

/// `UNIT_FILE_RUNTIME` and `PORTABLE_RUNTIME` of the flags that newer methods take
/// (src/shared/install.h, src/portable/portable.h).
const FLAG_RUNTIME: u64 = 1;

/// Where an argument is what.
#[derive(Clone, Copy)]
enum Means {
    /// A unit's name or path.
    Unit,
    /// An array of them.
    Units,
    /// Whether it is until the next boot.
    Runtime,
    /// Flags, of which the lowest bit says so.
    Flags,
    /// `a(sv)`.
    Properties,
    /// `a(sa(sv))`: further transient units.
    MoreUnits,
    /// `NAME=value`s, or names.
    Environment,
    /// `a{ss}`.
    Dictionary,
    /// A string under a name of ours.
    Named(&'static str),
    /// Nothing of interest.
    Nothing,
}

use Means::{Dictionary, Environment, Flags, MoreUnits, Named, Nothing, Properties, Runtime, Unit, Units};

/// The request that a call is; `None` where it is not about units, or only asks.
pub fn request(call: &Call<'_>) -> Option<ManagerRequest> {
    let (verb, means, object_is_unit) = meaning(call)?;
    let (arguments, complete) = call.arguments();
    let mut request = ManagerRequest {
        verb,
        interface: short(call.interface),
        method: short(call.member),
        destination: short(call.destination),
        object: short(call.path),
        serial: call.serial,
        units: Vec::new(),
        runtime: None,
        properties: Vec::new(),
        environment: Vec::new(),
        incomplete: !complete,
    };
    if object_is_unit {
        request.units.extend(call.path.rsplit('/').next().map(|name| short(&unescaped(name))));
    }
    for (argument, means) in arguments.iter().zip(means) {
        request.take_up(argument, *means);
    }
    if request.verb == Verb::Start && arguments.iter().any(|argument| argument.text() == Some("stop")) {
        let of_type = usize::from(!object_is_unit);
        if call.member.starts_with("Enqueue") && arguments.get(of_type).and_then(Value::text) == Some("stop")
        {
            request.verb = Verb::Stop;
        }
    }
    Some(request)
}

type Meaning = (Verb, &'static [Means], bool);

fn meaning(call: &Call<'_>) -> Option<Meaning> {
    let member = call.member;
    let interface = match call.interface {
        // The object decides; a manager's own has the manager's methods.
        "" if call.path == "/org/freedesktop/systemd1" => "org.freedesktop.systemd1.Manager",
        "" if call.path.starts_with("/org/freedesktop/systemd1/unit/") => "org.freedesktop.systemd1.Unit",
        "" if call.path == "/org/freedesktop/portable1" => "org.freedesktop.portable1.Manager",
        "" if call.path == "/org/freedesktop/machine1" => "org.freedesktop.machine1.Manager",
        "" if call.path == "/org/freedesktop/login1" => "org.freedesktop.login1.Manager",
        "" => return None,
        interface => interface,
    };
    if let Some(of) = interface.strip_prefix("org.freedesktop.systemd1.") {
        return if of == "Manager" { manager(member) } else { of_unit(member) };
    }
    if interface.starts_with("org.freedesktop.portable1.") {
        return portable(member, interface.ends_with(".Image"));
    }
    if interface.starts_with("org.freedesktop.machine1.") || interface.starts_with("org.freedesktop.import1.")
    {
        return (!only_asks(member)).then_some((Verb::Machine, MACHINE, false));
    }
    match (interface, member) {
        ("org.freedesktop.login1.Manager", "SetUserLinger") => {
            Some((Verb::SetLinger, &[Named("UID"), Named("Linger")], false))
        }
        ("org.freedesktop.DBus", "UpdateActivationEnvironment") => {
            Some((Verb::SetEnvironment, &[Dictionary], false))
        }
        _ => None,
    }
}

/// `OpenMachineShell`, the method of machined that runs a command: machine, user, path, arguments, environment.
const MACHINE: &[Means] = &[Unit, Named("User"), Named("Path"), Named("Arguments"), Environment];

fn manager(member: &str) -> Option<Meaning> {
    const UNIT: &[Means] = &[Unit];
    const FILES: &[Means] = &[Units, Runtime];
    const FILES_FLAGS: &[Means] = &[Units, Flags];
    let (verb, means): (Verb, &'static [Means]) = match member {
        "StartUnit"
        | "StartUnitWithFlags"
        | "ReloadUnit"
        | "RestartUnit"
        | "TryRestartUnit"
        | "ReloadOrRestartUnit"
        | "ReloadOrTryRestartUnit"
        | "ThawUnit" => (Verb::Start, UNIT),
        "StartUnitReplace" => (Verb::Start, &[Unit, Unit]),
        "EnqueueUnitJob" => (Verb::Start, &[Unit, Named("JobType")]),
        "StopUnit" | "KillUnit" | "KillUnitSubgroup" | "QueueSignalUnit" | "FreezeUnit" | "CleanUnit" => {
            (Verb::Stop, UNIT)
        }
        "EnableUnitFiles" | "ReenableUnitFiles" => (Verb::Enable, FILES),
        "EnableUnitFilesWithFlags" => (Verb::Enable, FILES_FLAGS),
        "DisableUnitFiles" => (Verb::Disable, FILES),
        "DisableUnitFilesWithFlags" | "DisableUnitFilesWithFlagsAndInstallInfo" => {
            (Verb::Disable, FILES_FLAGS)
        }
        "LinkUnitFiles" => (Verb::Link, FILES),
        "PresetUnitFiles" => (Verb::Preset, FILES),
        "PresetUnitFilesWithMode" => (Verb::Preset, &[Units, Named("Mode"), Runtime]),
        "PresetAllUnitFiles" => (Verb::Preset, &[Named("Mode"), Runtime]),
        "MaskUnitFiles" => (Verb::Mask, FILES),
        "UnmaskUnitFiles" => (Verb::Unmask, FILES),
        "RevertUnitFiles" => (Verb::Revert, &[Units]),
        "SetDefaultTarget" => (Verb::SetDefaultTarget, UNIT),
        "AddDependencyUnitFiles" => (Verb::AddDependency, &[Units, Unit, Named("Type"), Runtime]),
        "StartTransientUnit" => (Verb::StartTransient, &[Unit, Nothing, Properties, MoreUnits]),
        "SetUnitProperties" => (Verb::SetProperties, &[Unit, Runtime, Properties]),
        "BindMountUnit" | "MountImageUnit" => (Verb::Mount, &[Unit, Named("Source"), Named("Destination")]),
        "AttachProcessesToUnit" => (Verb::Attach, &[Unit, Named("Subgroup"), Named("PIDs")]),
        "SetEnvironment" | "UnsetEnvironment" => (Verb::SetEnvironment, &[Environment]),
        "UnsetAndSetEnvironment" => (Verb::SetEnvironment, &[Environment, Environment]),
        "Reload" => (Verb::Reload, &[]),
        "Reexecute" => (Verb::Reexecute, &[]),
        "SwitchRoot" | "SoftReboot" => (Verb::SwitchRoot, &[Named("Root"), Named("Init")]),
        "Exit" | "Reboot" | "PowerOff" | "Halt" | "KExec" => (Verb::SwitchRoot, &[]),
        other if only_asks(other) => return None,
        // What a later release brings.
        _ => (Verb::Other, UNIT),
    };
    Some((verb, means, false))
}

/// Methods of a unit's own object: `Unit`, `Service`, `Scope`, `Slice`...
fn of_unit(member: &str) -> Option<Meaning> {
    let (verb, means): (Verb, &'static [Means]) = match member {
        "Start" | "Reload" | "Restart" | "TryRestart" | "ReloadOrRestart" | "ReloadOrTryRestart" | "Thaw" => {
            (Verb::Start, &[])
        }
        "EnqueueJob" => (Verb::Start, &[Named("JobType")]),
        "Stop" | "Kill" | "KillSubgroup" | "QueueSignal" | "Freeze" | "Clean" | "Abandon" | "Cancel" => {
            (Verb::Stop, &[])
        }
        "SetProperties" => (Verb::SetProperties, &[Runtime, Properties]),
        "BindMount" | "MountImage" => (Verb::Mount, &[Named("Source"), Named("Destination")]),
        "AttachProcesses" => (Verb::Attach, &[Named("Subgroup"), Named("PIDs")]),
        other if only_asks(other) => return None,
        _ => (Verb::Other, &[]),
    };
    Some((verb, means, true))
}

/// Methods of portabled; an image's own object has them without the image's name.
fn portable(member: &str, of_image: bool) -> Option<Meaning> {
    const EXTENDED: &[Means] =
        &[Unit, Named("Extensions"), Named("Matches"), Named("Profile"), Named("CopyMode"), Flags];
    const PLAIN: &[Means] = &[Unit, Named("Matches"), Named("Profile"), Runtime, Named("CopyMode")];
    let (verb, means) = match member {
        "AttachImage" | "ReattachImage" | "Attach" | "Reattach" => (Verb::AttachImage, PLAIN),
        "AttachImageWithExtensions"
        | "ReattachImageWithExtensions"
        | "AttachWithExtensions"
        | "ReattachWithExtensions" => (Verb::AttachImage, EXTENDED),
        "DetachImage" | "Detach" => (Verb::DetachImage, &[Unit, Runtime] as &[Means]),
        "DetachImageWithExtensions" | "DetachWithExtensions" => {
            (Verb::DetachImage, &[Unit, Named("Extensions"), Flags] as &[Means])
        }
        _ => return None,
    };
    Some((verb, if of_image { &means[1..] } else { means }, of_image))
}

/// Whether a method, by its name, leaves everything as it is.
fn only_asks(member: &str) -> bool {
    const PREFIXES: [&str; 15] = [
        "Get",
        "List",
        "Lookup",
        "Load",
        "Dump",
        "Subscribe",
        "Unsubscribe",
        "Ref",
        "Unref",
        "ResetFailed",
        "ClearJobs",
        "CancelJob",
        "SetExitCode",
        "Map",
        "Introspect",
    ];
    PREFIXES.iter().any(|prefix| member.starts_with(prefix))
}

impl ManagerRequest {
    fn take_up(&mut self, argument: &Value<'_>, means: Means) {
        match means {
            Unit => self.add_units(argument.text().into_iter()),
            Units => self.add_units(argument.texts()),
            Runtime => self.runtime = argument.bool(),
            Flags => self.runtime = argument.unsigned().map(|flags| flags & FLAG_RUNTIME != 0),
            Properties => self.add_properties("", argument),
            MoreUnits => {
                for unit in argument.list() {
                    let [name, properties] = unit.list() else { continue };
                    let Some(name) = name.text() else { continue };
                    self.add_units([name].into_iter());
                    self.add_properties(&format!("{}:", short(name)), properties);
                }
            }
            Environment => {
                for variable in argument.texts() {
                    self.add_variable(short(variable));
                }
            }
            Dictionary => {
                for entry in argument.list() {
                    if let [Value::Text(name), Value::Text(value)] = entry.list() {
                        self.add_variable(format!("{}={}", short(name), short(value)));
                    }
                }
            }
            Named(name) => {
                let value = in_a_line(argument);
                if !value.is_empty() {
                    self.add_property(name.to_owned(), value);
                }
            }
            Nothing => {}
        }
    }

    fn add_units<'a>(&mut self, units: impl Iterator<Item = &'a str>) {
        for unit in units {
            if self.units.len() >= NAMES_MAX {
                self.incomplete = true;
                return;
            }
            self.units.push(short(unit));
        }
    }

    fn add_properties(&mut self, prefix: &str, properties: &Value<'_>) {
        for property in properties.list() {
            if let [Value::Text(name), value] = property.list() {
                let value = if name.starts_with("Exec") { commands(value) } else { in_a_line(value) };
                self.add_property(format!("{prefix}{}", short(name)), value);
            }
        }
    }

    fn add_property(&mut self, name: String, value: String) {
        if self.properties.len() >= NAMES_MAX {
            self.incomplete = true;
            return;
        }
        self.properties.push(Property { name, value });
    }

    fn add_variable(&mut self, variable: String) {
        if self.environment.len() >= NAMES_MAX {
            self.incomplete = true;
            return;
        }
        self.environment.push(variable);
    }
}

/// Commands (`a(sasb)` of `ExecStart`, `a(sasas)` of `ExecStartEx`: path, arguments, how it is taken) as in a unit file,
/// one after the other; the path goes before the arguments where it is not the first of them.
fn commands(value: &Value<'_>) -> String {
    let mut line = String::new();
    for command in value.list() {
        let [Value::Text(path), arguments, ..] = command.list() else { continue };
        if !line.is_empty() {
            line.push_str(" ; ");
        }
        if arguments.texts().next() != Some(path) {
            line.push('@');
            line.push_str(path);
            line.push(' ');
        }
        for (index, argument) in arguments.texts().enumerate() {
            if index > 0 {
                line.push(' ');
            }
            line.push_str(argument);
        }
        if line.len() > VALUE_MAX {
            break;
        }
    }
    short(&line)
}

/// A value in one line: elements with spaces between, what lies deeper in parentheses.
fn in_a_line(value: &Value<'_>) -> String {
    let mut line = String::new();
    write_value(value, 0, &mut line);
    short(&line)
}

fn write_value(value: &Value<'_>, depth: u32, line: &mut String) {
    if line.len() > VALUE_MAX {
        return;
    }
    match value {
        Value::Text(text) => line.push_str(text),
        Value::Bytes(bytes) => line.push_str(&String::from_utf8_lossy(bytes)),
        Value::Bool(value) => line.push_str(if *value { "yes" } else { "no" }),
        Value::Unsigned(value) => line.push_str(&value.to_string()),
        Value::Signed(value) => line.push_str(&value.to_string()),
        Value::Double(bits) => line.push_str(&f64::from_bits(*bits).to_string()),
        Value::List(values) => {
            if depth > 0 {
                line.push('(');
            }
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    line.push(' ');
                }
                write_value(value, depth + 1, line);
            }
            if depth > 0 {
                line.push(')');
            }
        }
    }
}

/// At most [`VALUE_MAX`] bytes of a text.
fn short(text: &str) -> String {
    let mut end = text.len().min(VALUE_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A unit's name out of its object's path: `_2e` for ".", and so on (`sd_bus_path_encode(3)`).
fn unescaped(label: &str) -> String {
    let mut bytes = Vec::with_capacity(label.len());
    let mut rest = label.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex {
            Some(escaped) if byte == b'_' => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
