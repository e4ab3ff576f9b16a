//! What has programs run beside units: other inits, and configuration that leads to services.

use super::baseline::SENSOR_STATE_WRITTEN;
use super::container::{
    ENGINE_CONFIG_WRITTEN, KUBELET_CONFIG_WRITTEN, MACHINE_CONFIG_WRITTEN, MANIFEST_WRITTEN, QUADLET_WRITTEN,
    RUNTIME_HOOK_WRITTEN, RUNTIME_PLUGIN_WRITTEN, RUNTIME_REPLACED, STATIC_POD_WRITTEN,
};
use super::techniques::{
    ABUSE_ELEVATION, AT, CLEAR_PERSISTENCE, CONTAINER_SERVICE, CRON, DISABLE_TOOLS, DYNAMIC_LINKER,
    EVENT_TRIGGERED, INITIALIZATION_SCRIPTS, INSTALLER_PACKAGES, KERNEL_MODULES, MASQUERADING, PERMISSIONS,
    PRE_OS_BOOT, STORED_DATA_MANIPULATION, SYSTEM_PROCESS, SYSTEMD_SERVICE, UDEV_RULES, XDG_AUTOSTART,
};
use super::{CONFIGURATION, PACKAGES};
use crate::detect::rule::{Rule, Severity};
use crate::subject::service::UnitPart;

/// The rule of a part that has a row in `subject::adjacent`: of its being written.
pub fn of_part(part: UnitPart) -> Option<&'static Rule> {
    Some(match part {
        UnitPart::ManagerConfig => &MANAGER_CONFIG_WRITTEN,
        UnitPart::Preset => &PRESET_WRITTEN,
        UnitPart::Tmpfiles => &TMPFILES_WRITTEN,
        UnitPart::Environment => &ENVIRONMENT_WRITTEN,
        UnitPart::ServiceEnvironment => &ENVIRONMENT_FILE_WRITTEN,
        UnitPart::LoaderPreload => &LOADER_PRELOAD_WRITTEN,
        UnitPart::SleepHook => &SLEEP_HOOK_WRITTEN,
        UnitPart::PortableImage => &PORTABLE_IMAGE_WRITTEN,
        UnitPart::ExtensionImage => &EXTENSION_IMAGE_WRITTEN,
        UnitPart::Nspawn => &NSPAWN_WRITTEN,
        UnitPart::Linger => &LINGER_ENABLED,
        UnitPart::DbusActivation => &DBUS_ACTIVATION_WRITTEN,
        UnitPart::UdevRules => &UDEV_RULE_WRITTEN,
        UnitPart::PolkitRules => &POLKIT_RULE_WRITTEN,
        UnitPart::Autostart => &AUTOSTART_WRITTEN,
        UnitPart::MountsTable => &MOUNTS_TABLE_WRITTEN,
        UnitPart::BootConfig => &BOOT_CONFIG_WRITTEN,
        UnitPart::Credential => &CREDENTIAL_WRITTEN,
        UnitPart::Initramfs => &INITRAMFS_WRITTEN,
        UnitPart::InitSystem => &INIT_SERVICE_WRITTEN,
        UnitPart::Supervision => &INIT_SUPERVISED_WRITTEN,
        UnitPart::Superserver => &SUPERSERVER_WRITTEN,
        UnitPart::PackageHook => &PACKAGE_HOOK_WRITTEN,
        UnitPart::MaintainerScript => &MAINTAINER_SCRIPT_WRITTEN,
        UnitPart::SensorState => &SENSOR_STATE_WRITTEN,
        UnitPart::PackageDatabase => &PACKAGE_DATABASE_EDITED,
        UnitPart::EventHook => &EVENT_HOOK_WRITTEN,
        UnitPart::Schedule => &SCHEDULE_JOB_WRITTEN,
        UnitPart::KernelModules => &KERNEL_MODULES_CONFIGURED,
        UnitPart::EngineState => &super::CONTAINER_STATE_EDITED,
        UnitPart::Quadlet => &QUADLET_WRITTEN,
        UnitPart::StaticPod => &STATIC_POD_WRITTEN,
        UnitPart::ClusterManifest => &MANIFEST_WRITTEN,
        UnitPart::KubeletConfig => &KUBELET_CONFIG_WRITTEN,
        UnitPart::EngineConfig => &ENGINE_CONFIG_WRITTEN,
        UnitPart::RuntimeHook => &RUNTIME_HOOK_WRITTEN,
        UnitPart::RuntimePlugin => &RUNTIME_PLUGIN_WRITTEN,
        UnitPart::RuntimeProgram => &RUNTIME_REPLACED,
        UnitPart::MachineConfig => &MACHINE_CONFIG_WRITTEN,
        _ => return None,
    })
}

/// The managers' own configuration.
pub static MANAGER_CONFIG_WRITTEN: Rule = Rule {
    id: "systemd.manager-config.written",
    name: "The configuration of a service manager was written",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE, DYNAMIC_LINKER],
    description: "system.conf, user.conf or a drop-in of theirs was changed. DefaultEnvironment= and \
        ManagerEnvironment= reach every service (LD_PRELOAD), or tell the manager to look for units \
        elsewhere (SYSTEMD_UNIT_PATH); it takes effect with the next daemon-reexec or boot. Look at the \
        file and at `systemctl show-environment`. To undo: restore the file, `systemctl daemon-reexec`.",
    false_positives: &[CONFIGURATION, "An administrator's own limits and timeouts."],
};

/// A preset.
pub static PRESET_WRITTEN: Rule = Rule {
    id: "systemd.preset.written",
    name: "A systemd preset was written",
    severity: Severity::Medium,
    techniques: &[SYSTEMD_SERVICE],
    description: "Presets say which units are enabled when a package brings them, at the first boot, and by \
        `systemctl preset-all` (systemd.preset(5)): a line `enable UNIT` starts a unit that nobody enabled \
        by hand. To undo: remove the file, `systemctl disable UNIT`.",
    false_positives: &[CONFIGURATION, "Building an image of the operating system."],
};

/// An entry of tmpfiles.d.
pub static TMPFILES_WRITTEN: Rule = Rule {
    id: "systemd.tmpfiles.written",
    name: "A tmpfiles.d entry was written",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "systemd-tmpfiles makes files as tmpfiles.d(5) says, as root, at each boot and when packages are \
        installed: a line `f+`, `L+` or `C` writes a unit, a link that enables one, or anything else. Look \
        at what the lines make (`systemd-tmpfiles --cat-config`). To undo: remove the file and what it has \
        made.",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// Environment of sessions.
pub static ENVIRONMENT_WRITTEN: Rule = Rule {
    id: "environment.file.written",
    name: "The environment of sessions and user services was written",
    severity: Severity::Medium,
    techniques: &[DYNAMIC_LINKER, SYSTEMD_SERVICE],
    description: "environment.d(5), /etc/environment and pam_env(8) decide on the environment of logins and of \
        everything that user managers start: LD_PRELOAD, LD_AUDIT, PATH, BASH_ENV or PYTHONPATH in them \
        run other code. Look at the variables that were set. To undo: restore the file; sessions that are \
        open keep what they have.",
    false_positives: &[CONFIGURATION, "A user's or administrator's own settings: proxies, paths, languages."],
};

/// Environment of services.
pub static ENVIRONMENT_FILE_WRITTEN: Rule = Rule {
    id: "systemd.environment-file.written",
    name: "A file from which services take their environment was written",
    severity: Severity::Low,
    techniques: &[SYSTEMD_SERVICE, DYNAMIC_LINKER],
    description: "Units take variables from files in /etc/default, /etc/sysconfig or /etc/conf.d, or wherever they say \
        (EnvironmentFile=, systemd.exec(5)), and scripts read them as shell code: options of a daemon, LD_PRELOAD, \
        or commands. The changes name the units and what becomes of their commands, where they are known; else \
        `grep -r EnvironmentFile= /usr/lib/systemd /etc/systemd`. To undo: restore the file, restart the service.",
    false_positives: &[PACKAGES, CONFIGURATION, "An administrator who sets a service's options."],
};

/// The list of preloaded libraries.
pub static LOADER_PRELOAD_WRITTEN: Rule = Rule {
    id: "loader.preload.written",
    name: "/etc/ld.so.preload was written",
    severity: Severity::High,
    techniques: &[DYNAMIC_LINKER],
    description: "The dynamic linker loads the libraries that /etc/ld.so.preload names into every program that \
        starts, those of root and of services included (ld.so(8)). User-space rootkits live there. Look at \
        the libraries with statically linked tools. To undo: empty the file, and restart what is running.",
    false_positives: &["A few monitoring agents and profilers install themselves so."],
};

/// A program for suspend and shutdown.
pub static SLEEP_HOOK_WRITTEN: Rule = Rule {
    id: "systemd.sleep-hook.written",
    name: "A hook of suspend or shutdown was written",
    severity: Severity::Medium,
    techniques: &[INITIALIZATION_SCRIPTS, SYSTEMD_SERVICE],
    description: "systemd-sleep(8) runs every program in system-sleep, as root, before the machine sleeps and after \
        it wakes; systemd-shutdown(8) runs those in system-shutdown as the last thing of all. They need no \
        enabling. To undo: remove the file.",
    false_positives: &["Installing a package that brings a hook: few do (hdparm, tlp, nvidia drivers)."],
};

/// A portable service.
pub static PORTABLE_IMAGE_WRITTEN: Rule = Rule {
    id: "systemd.portable-image.written",
    name: "A portable service image was put in place",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "A file or directory from which portablectl(1) attaches units, or a profile that it adds to them, \
        was written. Attaching copies the image's units into system.attached, and they run with the rights \
        that the profile gives (`trusted` gives all). `portablectl list` shows what is there. To undo: \
        `portablectl detach IMAGE`, remove it.",
    false_positives: &["Deployment of services as portable images."],
};

/// A system or configuration extension.
pub static EXTENSION_IMAGE_WRITTEN: Rule = Rule {
    id: "systemd.extension-image.written",
    name: "A system extension was put in place",
    severity: Severity::High,
    techniques: &[SYSTEMD_SERVICE],
    description: "systemd-sysext(8) merges extensions over /usr and /opt, systemd-confext over /etc, at boot and at \
        `systemd-sysext refresh`: units, generators and programs in them are then in force though no unit \
        directory was written to. `systemd-sysext status` shows them. To undo: remove the image, \
        `systemd-sysext refresh`.",
    false_positives: &["Image-based operating systems (Flatcar, Fedora CoreOS) add software so."],
};

/// Settings of a container.
pub static NSPAWN_WRITTEN: Rule = Rule {
    id: "systemd.nspawn.written",
    name: "Settings of a systemd-nspawn container were written",
    severity: Severity::Medium,
    techniques: &[CONTAINER_SERVICE, SYSTEMD_SERVICE],
    description: "A .nspawn file says what a container that systemd-nspawn@.service starts may do: bind mounts of \
        the host, capabilities, its command (systemd.nspawn(5)); in these directories it may give any \
        right. Look at Bind=, Capability=, PrivateUsers=, Parameters=. To undo: remove the file, \
        `machinectl disable NAME`.",
    false_positives: &[CONFIGURATION, "machinectl import and tools that build on it."],
};

/// A user who lingers.
pub static LINGER_ENABLED: Rule = Rule {
    id: "systemd.linger.enabled",
    name: "A user was allowed to run services without a login",
    severity: Severity::Medium,
    techniques: &[SYSTEMD_SERVICE],
    description: "A file in /var/lib/systemd/linger has systemd start the user's manager at boot, with all units \
        enabled in it, and keep it after the last logout. logind makes it on request (`loginctl \
        enable-linger`), which lowers the score; by hand it is unusual. Look at `systemctl --user -M USER@ \
        list-unit-files --state=enabled`. To undo: `loginctl disable-linger USER`.",
    false_positives: &[
        "Rootless podman and docker ask for it.",
        "Desktops and build services that run without a login.",
    ],
};

/// A D-Bus service or policy.
pub static DBUS_ACTIVATION_WRITTEN: Rule = Rule {
    id: "dbus.activation.written",
    name: "A D-Bus service or policy was written",
    severity: Severity::Medium,
    techniques: &[EVENT_TRIGGERED, SYSTEMD_SERVICE],
    description: "A service file has D-Bus start a program, or a systemd unit (SystemdService=), as soon as somebody \
        calls its name: on the system bus as root. A policy in system.d says who may own and call names. \
        Look at Exec=, SystemdService=, User=, or the policy's allow lines. To undo: remove the file, \
        `busctl call org.freedesktop.DBus / org.freedesktop.DBus ReloadConfig`.",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// A udev rule.
pub static UDEV_RULE_WRITTEN: Rule = Rule {
    id: "udev.rule.written",
    name: "A udev rule was written",
    severity: Severity::Medium,
    techniques: &[UDEV_RULES],
    description: "udevd runs what RUN+=, PROGRAM= and IMPORT{program}= name, as root, when a device appears, at boot \
        for every device; SYSTEMD_WANTS= starts a unit (udev(7)). Look at these keys, and at what they \
        match. To undo: remove the file, `udevadm control --reload`.",
    false_positives: &[PACKAGES, CONFIGURATION, "snapd writes rules of its own."],
};

/// A rule of polkit.
pub static POLKIT_RULE_WRITTEN: Rule = Rule {
    id: "polkit.rule.written",
    name: "A polkit rule or action was written",
    severity: Severity::Medium,
    techniques: &[ABUSE_ELEVATION, SYSTEMD_SERVICE],
    description: "polkit decides who may have privileged services act: a rule that allows \
        org.freedesktop.systemd1.manage-unit-files or manage-units lets a user install services as root. \
        Rules are JavaScript and can run programs (polkit.spawn). Look at what is returned for whom. To \
        undo: remove the file; polkitd reloads by itself.",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// An entry of XDG autostart.
pub static AUTOSTART_WRITTEN: Rule = Rule {
    id: "xdg.autostart.written",
    name: "An autostart entry was written",
    severity: Severity::Medium,
    techniques: &[XDG_AUTOSTART, SYSTEMD_SERVICE],
    description: "Desktop sessions start what the .desktop files in autostart name; under systemd each becomes a \
        user service (systemd-xdg-autostart-generator(8)). Look at Exec= and at OnlyShowIn=. To undo: \
        remove the file.",
    false_positives: &[PACKAGES, "Applications that the user told to start with the session."],
};

/// A table of mounts.
pub static MOUNTS_TABLE_WRITTEN: Rule = Rule {
    id: "mounts.table.written",
    name: "fstab or crypttab was written",
    severity: Severity::Medium,
    techniques: &[SYSTEMD_SERVICE],
    description: "Generators make units of each line of fstab, crypttab, veritytab and integritytab at every \
        daemon-reload: a bind over a trusted path, a file system type whose helper mount.TYPE runs as \
        root, x-systemd.requires= that starts a unit, a keyscript. Look at the lines that are new. To \
        undo: restore the file, `systemctl daemon-reload`.",
    false_positives: &["Adding a disk, by hand or by an installer.", CONFIGURATION],
};

/// Boot configuration.
pub static BOOT_CONFIG_WRITTEN: Rule = Rule {
    id: "boot.config.written",
    name: "Boot configuration was written",
    severity: Severity::High,
    techniques: &[PRE_OS_BOOT, SYSTEMD_SERVICE],
    description: "The kernel command line or a boot entry was changed: init=, systemd.run=, systemd.wants=, \
        systemd.unit=, systemd.setenv= and systemd.set_credential= have the next boot run something else, \
        and a credential can bring a whole unit. What updates of the kernel generate below /boot weighs \
        less. Look at the options that are new; compare with /proc/cmdline. To undo: restore the file, \
        `update-grub` or `bootctl update`.",
    false_positives: &["Installing a kernel or a boot loader.", "An administrator's own kernel options."],
};

/// A credential.
pub static CREDENTIAL_WRITTEN: Rule = Rule {
    id: "systemd.credential.written",
    name: "A credential of services was written",
    severity: Severity::Medium,
    techniques: &[SYSTEMD_SERVICE],
    description: "Services import credentials by name (LoadCredential=, ImportCredential=), systemd's own tools among \
        them: tmpfiles.extra holds lines of tmpfiles.d, and of what PID 1 was started with systemd.extra-unit.NAME \
        is a unit, systemd.unit-dropin.NAME a drop-in, fstab.extra a table of mounts, all taken at the next \
        daemon-reload (systemd.system-credentials(7)). Look at what it says (`systemd-creds cat`, `systemd-creds \
        --system list`). To undo: remove the file.",
    false_positives: &["Setting up a service that takes its secrets from there.", CONFIGURATION],
};

/// A part of the initial RAM disk.
pub static INITRAMFS_WRITTEN: Rule = Rule {
    id: "initramfs.hook.written",
    name: "A part of the initial RAM disk was written",
    severity: Severity::High,
    techniques: &[PRE_OS_BOOT],
    description: "Hooks and scripts of initramfs-tools, modules of dracut, hooks of mkinitcpio: they run as root \
        when the image is built, or at boot before the root file system is there, which they can change. \
        Look at the script and rebuild the image from a known state (`update-initramfs -u`, `dracut -f`).",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// Another init's service.
pub static INIT_SERVICE_WRITTEN: Rule = Rule {
    id: "init.service.written",
    name: "A service of another init or process manager was written",
    severity: Severity::Medium,
    techniques: &[INITIALIZATION_SCRIPTS, SYSTEMD_SERVICE],
    description: "inittab, upstart, OpenRC, dinit, finit, FreeBSD-style rc.d, supervisord, monit or circus were told \
        of something to run and, mostly, to start again. It counts where that init or manager is in use. \
        Look at the command. To undo: restore the file and have the manager read it again (`telinit q`, \
        `rc-update del`, `supervisorctl update`).",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// A supervised service.
pub static INIT_SUPERVISED_WRITTEN: Rule = Rule {
    id: "init.supervised-service.written",
    name: "A service of runit, s6 or daemontools was written",
    severity: Severity::Medium,
    techniques: &[INITIALIZATION_SCRIPTS, SYSTEMD_SERVICE],
    description: "A service directory, a link to one, or its `run`, `finish`, `check`, `env` or `log/run` was \
        written: the supervisor starts `run` within seconds and again whenever it ends. To undo: `sv down \
        NAME`, remove the link and the directory.",
    false_positives: &[
        PACKAGES,
        CONFIGURATION,
        "Containers that use s6-overlay, where the directory is shared.",
    ],
};

/// A service of inetd or xinetd.
pub static SUPERSERVER_WRITTEN: Rule = Rule {
    id: "superserver.service.written",
    name: "A superserver was told of a service",
    severity: Severity::Low,
    techniques: &[SYSTEM_PROCESS, EVENT_TRIGGERED],
    description: "inetd and xinetd run a program for each connection to a port, often as root; hosts.allow and \
        hosts.deny can run one as well (`spawn`, `twist`). Look at server= or the last fields of the line. \
        To undo: restore the file, send SIGHUP to the superserver.",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// A hook of a package manager.
pub static PACKAGE_HOOK_WRITTEN: Rule = Rule {
    id: "package.hook.written",
    name: "A hook of a package manager was written",
    severity: Severity::Medium,
    techniques: &[INSTALLER_PACKAGES],
    description: "apt, dpkg, dnf, pacman, apk, kernel-install, the kernel packages, grub-mkconfig and needrestart \
        run the commands that these files name, as root, at each installation or update, unattended ones \
        included. Where packages keep such files too it weighs less. Look at Pre-Invoke, Post-Invoke, \
        pre-invoke=, Exec=, or the script. To undo: remove the file.",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// What proof rests on.
pub static PACKAGE_DATABASE_EDITED: Rule = Rule {
    id: "package.database.edited",
    name: "A package database was edited by something else than its package manager",
    severity: Severity::High,
    techniques: &[STORED_DATA_MANIPULATION, MASQUERADING],
    description: "The files in which dpkg, rpm, apk or pacman keep what belongs to which package were changed by a \
        process that is not the package manager itself, by its file's own proof. Whoever edits them makes a foreign \
        file look like a package's, or has a command run with the next upgrade (dpkg's scripts). From then on, until \
        the sensor is started again, this database proves nothing: what packages do is told as if there were none. \
        Look at who wrote it, and compare with the packages (`dpkg --verify` trusts the same files: download the \
        packages again). To undo: reinstall the packages that are concerned, restart the sensor.",
    false_positives: &[
        "A backup of /var/lib/dpkg that is restored, or a repair by hand.",
        "A package manager that was built on this machine, and is in no package.",
    ],
};

/// A script of a package.
pub static MAINTAINER_SCRIPT_WRITTEN: Rule = Rule {
    id: "package.maintainer-script.written",
    name: "A maintainer script of an installed package was written",
    severity: Severity::Low,
    techniques: &[INSTALLER_PACKAGES],
    description: "dpkg runs the scripts in /var/lib/dpkg/info as root when the package is upgraded or removed. dpkg \
        itself moves them there out of its staging directory, which lowers the score; anything else is \
        unusual. Compare with the package (`dpkg --verify`, `apt download`). To undo: reinstall the \
        package.",
    false_positives: &[PACKAGES],
};

/// A hook of the network.
pub static EVENT_HOOK_WRITTEN: Rule = Rule {
    id: "event.hook.written",
    name: "A hook of the network, or a handler of foreign programs, was written",
    severity: Severity::Medium,
    techniques: &[EVENT_TRIGGERED],
    description: "NetworkManager, networkd-dispatcher, ifupdown, DHCP clients and pppd run these programs as root \
        when an interface comes up, goes down or gets an address; binfmt.d(5) names an interpreter that \
        the kernel runs for a kind of executable. Where packages keep such files too it weighs less. To \
        undo: remove the file.",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// A job of cron or at.
pub static SCHEDULE_JOB_WRITTEN: Rule = Rule {
    id: "schedule.job.written",
    name: "A job of cron or at was written",
    severity: Severity::Medium,
    techniques: &[CRON, AT],
    description: "A crontab, a script in cron.hourly and the like, or a job of at(1) was written: the daemon runs it \
        at its time, as the user that the file belongs to or names. Where packages keep such files too it \
        weighs less. Look at the command (`crontab -l -u USER`, `at -c JOB`). To undo: `crontab -e -u \
        USER`, `atrm JOB`.",
    false_positives: &[PACKAGES, CONFIGURATION, "A user's own `crontab -e` or `at`."],
};

/// Modules to load.
pub static KERNEL_MODULES_CONFIGURED: Rule = Rule {
    id: "kernel.modules.configured",
    name: "Kernel modules to load were configured",
    severity: Severity::Low,
    techniques: &[KERNEL_MODULES],
    description: "modules-load.d(5) and /etc/modules name modules that are loaded at boot; modprobe.d(5) can have \
        modprobe run a command instead (`install`), as root. Look at the names, and for `install` and \
        `remove` lines. To undo: remove the file.",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// Taken away.
pub static STARTUP_ENTRY_REMOVED: Rule = Rule {
    id: "startup.entry.removed",
    name: "Something that has programs run was removed",
    severity: Severity::Low,
    techniques: &[CLEAR_PERSISTENCE],
    description: "Configuration that has programs run at boot, at a login, at a time or at an event (any of the \
        rules beside systemd's units) was deleted or moved away. It switches something off, or wipes the \
        trace of what runs already.",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// Mode or owner.
pub static STARTUP_ENTRY_ATTRIBUTES: Rule = Rule {
    id: "startup.entry.attributes-changed",
    name: "Mode or owner of something that has programs run was changed",
    severity: Severity::Low,
    techniques: &[PERMISSIONS],
    description: "Mode or owner of configuration that has programs run was changed, its content was not. It counts \
        for more where others may write to it afterwards.",
    false_positives: &[PACKAGES, CONFIGURATION],
};

/// Masked.
pub static STARTUP_ENTRY_MASKED: Rule = Rule {
    id: "startup.entry.masked",
    name: "Something that has programs run was masked",
    severity: Severity::Medium,
    techniques: &[DISABLE_TOOLS],
    description: "Configuration of the same name in a directory of less weight was switched off by a link to \
        /dev/null: a udev rule, a preset, a tmpfiles.d entry, an environment file. Done to what a security \
        tool needs it disarms the tool. To undo: remove the link.",
    false_positives: &["An administrator who switches something off for good.", PACKAGES],
};
