//! Units, drop-ins, generators and scripts of the service manager.

use super::techniques::{
    COMPROMISED_BINARY, DISABLE_TOOLS, DYNAMIC_LINKER, ESCAPE_TO_HOST, FILE_DELETION, INITIALIZATION_SCRIPTS,
    RC_SCRIPTS, SYSTEMCTL, SYSTEMD_SERVICE,
};
use super::{CONFIGURATION, PACKAGES};
use crate::detect::rule::{Rule, Severity};

/// A unit's own file.
pub static UNIT_WRITTEN: Rule = Rule {
    id: "systemd.unit.written",
    name: "A systemd unit was written",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "A unit file was created, changed, or moved or linked into a directory from which systemd loads \
        units. Whatever its type, a unit can make the service manager run a program, at boot, at a time, or when a \
        file or socket is touched. Look at what it runs (`systemctl cat UNIT`), and at who wrote it. To undo: \
        `systemctl disable --now UNIT`, remove the file, `systemctl daemon-reload`.",
    false_positives: &[PACKAGES, CONFIGURATION, "An administrator's `systemctl edit --full`."],
};

/// A link that starts a unit with another, or by another name.
pub static UNIT_ENABLED: Rule = Rule {
    id: "systemd.unit.enabled",
    name: "A systemd unit was enabled",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "A link in a .wants, .requires or .upholds directory, or an alias of a unit, was made: the unit is \
        started with the one that the directory belongs to, often at boot. `systemctl enable` has PID 1 make the \
        link, so the actor is PID 1; who probably asked is named beside it. To undo: `systemctl disable UNIT`.",
    false_positives: &[PACKAGES, CONFIGURATION, "An administrator who enables a service."],
};

/// A unit's name that leads out of the unit directories.
pub static UNIT_LINKED: Rule = Rule {
    id: "systemd.unit.linked",
    name: "A systemd unit was linked from elsewhere",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "A unit's name in a unit directory is a symlink to a file outside of them (`systemctl link`): what \
        the unit does is decided there from now on. Look at the target and at who may write to it.",
    false_positives: &["Software that keeps its units beside itself, below /opt for instance."],
};

/// A unit that can no longer be started.
pub static UNIT_MASKED: Rule = Rule {
    id: "systemd.unit.masked",
    name: "A systemd unit was masked",
    severity: Severity::Medium,
    techniques: &[DISABLE_TOOLS, SYSTEMD_SERVICE],
    description: "A unit, drop-in or generator was linked to /dev/null: the service manager passes it over from now \
        on. Done to a security tool it disarms the tool. To undo: `systemctl unmask UNIT`.",
    false_positives: &["An administrator who switches a service off for good.", PACKAGES],
};

/// Something in force was taken away.
pub static UNIT_REMOVED: Rule = Rule {
    id: "systemd.unit.removed",
    name: "A systemd unit or a part of one was removed",
    severity: Severity::Low,
    techniques: &[SYSTEMD_SERVICE],
    description: "A unit, drop-in, dependency link, generator or script was deleted or moved away. It disables a \
        service, or wipes the trace of one that runs already.",
    false_positives: &[PACKAGES, "An administrator who disables a service."],
};

/// Mode or owner, not content.
pub static UNIT_ATTRIBUTES: Rule = Rule {
    id: "systemd.unit.attributes-changed",
    name: "Mode or owner of a systemd unit was changed",
    severity: Severity::Low,
    techniques: &[SYSTEMD_SERVICE],
    description: "Mode or owner of a unit, of a part of one, or of a unit directory was changed, its content was \
        not. It counts for more where others may write to it afterwards.",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// A unit without a file of its own.
pub static UNIT_TRANSIENT: Rule = Rule {
    id: "systemd.unit.transient",
    name: "A transient systemd unit was made",
    severity: Severity::Medium,
    techniques: &[SYSTEMD_SERVICE, SYSTEMCTL],
    description: "The service manager was asked to run something as a unit that lasts until the next boot at most \
        (`systemd-run`, or StartTransientUnit over D-Bus). The program's parent is then the service manager, not \
        whoever asked; who probably did is named beside it.",
    false_positives: &[
        "Desktops start applications so.",
        "podman's health checks.",
        "Scripts that use systemd-run.",
    ],
};

/// A drop-in.
pub static DROPIN_WRITTEN: Rule = Rule {
    id: "systemd.dropin.written",
    name: "A systemd drop-in was written",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "A drop-in was created or changed: it adds to or replaces settings of a unit, whose own file stays \
        as the package made it. One in `service.d` applies to every service. `systemctl cat UNIT` shows it in force. \
        To undo: `systemctl revert UNIT`, or remove the file and `systemctl daemon-reload`.",
    false_positives: &[PACKAGES, CONFIGURATION, "An administrator's `systemctl edit` or `set-property`."],
};

/// A generator.
pub static GENERATOR_WRITTEN: Rule = Rule {
    id: "systemd.generator.written",
    name: "A systemd generator was written",
    severity: Severity::Critical,
    techniques: &[SYSTEMD_SERVICE],
    description: "A program was put where the service manager runs every program, as root for the system's own, at \
        boot and at every daemon-reload (systemd.generator(7)), which each installation of a package brings about. \
        It needs no enabling. To undo: remove the file; whatever it generated goes with the next daemon-reload.",
    false_positives: &[
        "Installing a package that brings a generator: few do (systemd, podman, snapd, cloud-init).",
    ],
};

/// An environment generator.
pub static ENVIRONMENT_GENERATOR_WRITTEN: Rule = Rule {
    id: "systemd.environment-generator.written",
    name: "A systemd environment generator was written",
    severity: Severity::Critical,
    techniques: &[SYSTEMD_SERVICE],
    description: "A program was put where the service manager runs every program to learn its environment \
        (systemd.environment-generator(7)): it runs with the manager's rights, and what it prints reaches every \
        service started later.",
    false_positives: &["Installing a package that brings an environment generator: very few do."],
};

/// A System V script.
pub static INIT_SCRIPT_WRITTEN: Rule = Rule {
    id: "systemd.init-script.written",
    name: "A System V init script was written",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE, INITIALIZATION_SCRIPTS],
    description: "A script in /etc/init.d was created or changed: systemd makes a service of each executable one \
        (systemd-sysv-generator(8)).",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// A link that starts a System V script.
pub static RUNLEVEL_LINK_SET: Rule = Rule {
    id: "systemd.runlevel-link.set",
    name: "A System V script was enabled in a runlevel",
    severity: Severity::Medium,
    techniques: &[INITIALIZATION_SCRIPTS, SYSTEMD_SERVICE],
    description: "A link in /etc/rc?.d was made: the script that it names is started or stopped in that runlevel.",
    false_positives: &[PACKAGES, "update-rc.d, insserv or chkconfig at an administrator's hands."],
};

/// rc.local.
pub static RC_LOCAL_WRITTEN: Rule = Rule {
    id: "systemd.rc-local.written",
    name: "rc.local was written",
    severity: Severity::Medium,
    techniques: &[RC_SCRIPTS, SYSTEMD_SERVICE],
    description: "/etc/rc.local was created or changed. Where it is executable, systemd runs it as root at the end \
        of the boot (systemd-rc-local-generator(8)).",
    false_positives: &[CONFIGURATION, "An administrator's own start-up commands."],
};

/// Another filesystem where units come from.
pub static DIRECTORY_MOUNTED_OVER: Rule = Rule {
    id: "systemd.unit-directory.mounted-over",
    name: "Something was mounted over systemd's unit files",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "In the host's own mount namespace something was mounted on a unit directory, on a unit, or on a \
        directory above them: the service manager reads its units from there from now on. `findmnt` shows it. Mounts \
        in the private namespaces of services and containers change nothing for the manager and are not reported.",
    false_positives: &["systemd-sysext and systemd-confext.", "Mounting /usr or /etc late in the boot."],
};

/// A whole directory was exchanged.
pub static DIRECTORY_REPLACED: Rule = Rule {
    id: "systemd.unit-directory.replaced",
    name: "A unit directory was replaced",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "A unit directory, or one above it, was renamed, or a rename or a symlink put something else in its \
        place: all its units change at once.",
    false_positives: &["Image-based updates of the operating system."],
};

/// No unit, but where units are.
pub static DIRECTORY_FILE_WRITTEN: Rule = Rule {
    id: "systemd.unit-directory.file-written",
    name: "A file that is no unit was written among units",
    severity: Severity::Medium,
    techniques: &[SYSTEMD_SERVICE],
    description: "A file whose name systemd does not load was put into a unit directory: a program for a unit to \
        run is sometimes hidden there.",
    false_positives: &["README files and the like that a package brings."],
};

/// A container that commands the host's service manager.
pub static REQUEST_FROM_CONTAINER: Rule = Rule {
    id: "systemd.request.from-container",
    name: "A container asked the host's service manager to act",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE, ESCAPE_TO_HOST],
    description: "A process in a container sent a request to PID 1, over the manager's own socket or the system bus: \
        the socket was mounted into the container, or it shares the host's directories. Whatever PID 1 does for it, it \
        does as root on the host. Look at the container's mounts, and at what was asked for.",
    false_positives: &["Containers that administer their host (Cockpit, node agents)."],
};

/// Variables for every service.
pub static MANAGER_ENVIRONMENT_SET: Rule = Rule {
    id: "systemd.environment.set",
    name: "The environment of a service manager was changed",
    severity: Severity::Low,
    techniques: &[DYNAMIC_LINKER, SYSTEMD_SERVICE],
    description: "A client set variables in a service manager (`systemctl set-environment`, SetEnvironment over D-Bus): \
        no file changes, and every service that is started later inherits them. `systemctl show-environment` shows \
        them, `systemctl unset-environment NAME` removes one.",
    false_positives: &["Graphical sessions import their variables into the user's manager."],
};

/// Other files in a service's view.
pub static UNIT_MOUNTED_INTO: Rule = Rule {
    id: "systemd.unit.mounted-into",
    name: "Something was mounted into a running service",
    severity: Severity::Medium,
    techniques: &[SYSTEMD_SERVICE],
    description: "A client had the service manager mount a directory or an image into the view of a running service \
        (`systemctl bind`, `systemctl mount-image`): the service then reads, or runs, other files than the host shows.",
    false_positives: &["An administrator who gives a service access to a directory."],
};

/// What a service runs.
pub static PROGRAM_WRITTEN: Rule = Rule {
    id: "systemd.program.written",
    name: "A program that a service runs was written",
    severity: Severity::Medium,
    techniques: &[SYSTEMD_SERVICE, COMPROMISED_BINARY],
    description: "A program or script outside of the packages' directories, which a unit that changed under the \
        sensor's eyes runs, was written or replaced: the service runs something else from its next start on. Look at \
        what it is now, and at who wrote it.",
    false_positives: &["A service that is being developed or deployed.", CONFIGURATION],
};

/// A service's program is gone.
pub static PROGRAM_REMOVED: Rule = Rule {
    id: "systemd.program.removed",
    name: "A program that a service runs was removed",
    severity: Severity::Low,
    techniques: &[FILE_DELETION, SYSTEMD_SERVICE],
    description: "A program or script outside of the packages' directories that a service runs was deleted or moved \
        away. It counts for more while the service still runs: what runs is then in no directory, where nobody \
        finds it. A copy can be had while it runs (`cp /proc/PID/exe FILE`).",
    false_positives: &["A service that is being developed, deployed or taken away.", CONFIGURATION],
};

/// A service that is in no file.
pub static SERVICE_UNEXPLAINED: Rule = Rule {
    id: "systemd.service.unexplained",
    name: "A service runs that no unit file explains",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "The service manager started a program in the control group of a service of which there is no unit \
        file where the manager looks for one: the file was removed while the manager still knew it, or was never \
        seen. Look at what runs (`systemctl status UNIT`, `systemctl show -p FragmentPath UNIT`).",
    false_positives: &["A package that was removed while its service went on, and was started again."],
};

/// A unit that changed behind the sensor's back.
pub static UNIT_CHANGED_UNSEEN: Rule = Rule {
    id: "systemd.unit.changed-unseen",
    name: "A service started from a file that nobody was seen writing",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "When a service began, a file of its unit was not what the sensor knew, and no write to it had been \
        seen: it was written past the filesystem (a raw write to the disk, a second mount of it), by another machine, \
        or records were lost. Compare the file with its package's (`dpkg -V`), and look at who can write to the disk.",
    false_positives: &["A network filesystem that another machine changes.", "Records lost under load."],
};
