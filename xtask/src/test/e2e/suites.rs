//! What the scenario `suites` must tell: one row for each thing that it does (`tests/scenarios/suite-*.sh`).

use serde_json::Value;

use super::judge::{line, rule};
use super::transcript::{Transcript, Verdict, text};

/// Who must be told of.
#[derive(Clone, Copy, Debug)]
enum From {
    /// The process, or whoever asked the service manager, descends from alice's login.
    Login,
    /// It runs in a container.
    Container,
    /// Done by a generator, on a reload that nobody in particular asked for.
    Generator,
}

/// A step, and the alert that it must bring.
struct Item {
    step: &'static str,
    rule: &'static str,
    /// The catalog's severity; more is welcome.
    least: &'static str,
    /// As the host sees it.
    file: &'static str,
    technique: &'static str,
    from: From,
}

/// From least to worst, as alerts spell them.
const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

/// Judges each item.
pub fn judge(told: &Transcript, verdicts: &mut Vec<Verdict>) {
    for item in items() {
        let name = format!("{}.{}", item.step, item.rule);
        verdicts.push(Verdict::new(name, item.evidence(told)));
    }
}

impl Item {
    fn evidence(&self, told: &Transcript) -> Option<String> {
        let Some(step) = told.steps.iter().find(|step| step.name == self.step) else {
            return Some("the guest never did it".to_owned());
        };
        let alerts: Vec<&Value> = told.during(step).collect();
        let others = || alerts.iter().map(|alert| line(alert)).collect::<Vec<_>>().join("; ");
        let mut fitting = alerts
            .iter()
            .filter(|alert| rule(alert) == self.rule && text(alert, "/file/path") == self.file)
            .peekable();
        if fitting.peek().is_none() {
            return Some(format!("no {} about {}, but {}", self.rule, self.file, others()));
        }
        let faults: Vec<String> = fitting.map(|alert| self.fault(alert)).collect::<Option<_>>()?;
        Some(format!("{}: {}", faults.join("; "), others()))
    }

    /// What an alert of the right rule and file lacks.
    fn fault(&self, alert: &Value) -> Option<String> {
        let severity = text(alert, "/svcsensor/severity");
        let rank = |name: &str| SEVERITIES.iter().position(|known| *known == name);
        if rank(severity) < rank(self.least) {
            return Some(format!("{severity}, less than {}", self.least));
        }
        if !techniques(alert).contains(&self.technique) {
            return Some(format!("techniques {:?}, not {}", techniques(alert), self.technique));
        }
        let mut chain = chain(alert);
        let known = match self.from {
            From::Login => {
                let shell = chain.iter().position(|command| command == "-bash");
                let login = chain.iter().position(|command| command.starts_with("/bin/login -f alice"));
                shell.is_some() && shell < login
            }
            From::Container => !text(alert, "/container/id").is_empty(),
            From::Generator => chain.pop().is_some_and(|last| last.starts_with("/sbin/init")),
        };
        (!known).then(|| format!("not of {:?}: {chain:?}", self.from))
    }
}

/// The ids of techniques and sub-techniques.
fn techniques(alert: &Value) -> Vec<&str> {
    ["/threat/technique/id", "/threat/technique/subtechnique/id"]
        .into_iter()
        .filter_map(|pointer| alert.pointer(pointer)?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Command lines from the actor, or from whoever asked it, up to PID 1.
fn chain(alert: &Value) -> Vec<String> {
    let command = |process: &Value| text(process, "/command_line").to_owned();
    let all = |pointer: &str| {
        let processes = alert.pointer(pointer).and_then(Value::as_array);
        processes.into_iter().flatten().map(command).collect::<Vec<_>>()
    };
    let asked = all("/svcsensor/on_behalf_of/processes");
    if asked.is_empty() {
        let own = vec![text(alert, "/process/command_line").to_owned()];
        [own, all("/svcsensor/ancestors")].concat()
    } else {
        asked
    }
}

const SERVICE: &str = "T1543.002";
const TIMER: &str = "T1053.006";
const SYSTEMCTL: &str = "T1569.003";
const RC: &str = "T1037.004";

fn items() -> Vec<Item> {
    let item =
        |step, rule, least, file, technique| Item { step, rule, least, file, technique, from: From::Login };
    let container = |step, file| Item {
        from: From::Container,
        ..item(step, "systemd.unit.written", "high", file, SERVICE)
    };
    let way = |step, rule, file| item(step, rule, "high", file, SERVICE);
    macro_rules! etc {
        ($name:literal) => {
            concat!("/etc/systemd/system/", $name)
        };
    }
    const WRITTEN: &str = "systemd.unit.written";
    const ENABLED: &str = "systemd.unit.enabled";
    const LINKED: &str = "systemd.unit.linked";
    const TRANSIENT: &str = "systemd.unit.transient";
    const DROP_IN: &str = "systemd.dropin.written";
    const SCRIPT: &str = "systemd.init-script.written";
    const RUNLEVEL: &str = "systemd.runlevel-link.set";
    const GENERATOR: &str = "systemd.generator.written";
    const RC_LOCAL: &str = "systemd.rc-local.written";
    vec![
        // The user's own manager.
        item(
            "suite.user-timer",
            TRANSIENT,
            "medium",
            "/run/user/1000/systemd/transient/suite-user-timer.timer",
            TIMER,
        ),
        item(
            "suite.user-timer",
            TRANSIENT,
            "medium",
            "/run/user/1000/systemd/transient/suite-user-timer.service",
            SYSTEMCTL,
        ),
        item(
            "suite.user-service",
            WRITTEN,
            "high",
            "/home/alice/.config/systemd/user/suite-user.service",
            SERVICE,
        ),
        item(
            "suite.user-enable",
            ENABLED,
            "high",
            "/home/alice/.config/systemd/user/default.target.wants/suite-user.service",
            SERVICE,
        ),
        item("suite.user-sudo-tee", WRITTEN, "high", etc!("suite-tee.service"), SERVICE),
        // Atomic Red Team.
        item("suite.atomic-unit", WRITTEN, "high", etc!("suite-atomic.service"), SERVICE),
        item(
            "suite.atomic-enable",
            ENABLED,
            "high",
            etc!("default.target.wants/suite-atomic.service"),
            SERVICE,
        ),
        item("suite.atomic-modify", WRITTEN, "high", etc!("suite-atomic.service"), SERVICE),
        item("suite.atomic-append", WRITTEN, "high", etc!("suite-atomic.service"), SERVICE),
        item("suite.atomic-drop-in", DROP_IN, "high", etc!("suite-atomic.service.d/override.conf"), SERVICE),
        item("suite.atomic-init-script", SCRIPT, "high", "/etc/init.d/suite-atomic", SERVICE),
        item("suite.atomic-init-executable", SCRIPT, "high", "/etc/init.d/suite-atomic", SERVICE),
        item("suite.atomic-init-enable", RUNLEVEL, "medium", "/etc/rc3.d/S01suite-atomic", SERVICE),
        item("suite.atomic-bsd", "init.service.written", "low", "/usr/local/etc/rc.d/suite-atomic", SERVICE),
        item("suite.atomic-timer-service", WRITTEN, "high", etc!("suite-timer.service"), SERVICE),
        item("suite.atomic-timer", WRITTEN, "high", etc!("suite-timer.timer"), TIMER),
        item(
            "suite.atomic-timer-enable",
            ENABLED,
            "high",
            etc!("timers.target.wants/suite-timer.timer"),
            TIMER,
        ),
        item(
            "suite.atomic-transient-calendar",
            TRANSIENT,
            "medium",
            "/run/systemd/transient/suite-calendar.timer",
            TIMER,
        ),
        item(
            "suite.atomic-transient-calendar",
            TRANSIENT,
            "medium",
            "/run/systemd/transient/suite-calendar.service",
            SYSTEMCTL,
        ),
        item(
            "suite.atomic-transient-boot",
            TRANSIENT,
            "medium",
            "/run/systemd/transient/suite-boot.timer",
            TIMER,
        ),
        item("suite.atomic-systemctl", WRITTEN, "high", etc!("suite-run.service"), SERVICE),
        item(
            "suite.atomic-systemd-run",
            TRANSIENT,
            "medium",
            "/run/systemd/transient/suite-transient.service",
            SYSTEMCTL,
        ),
        item("suite.atomic-rc-local", RC_LOCAL, "medium", "/etc/rc.local", RC),
        item("suite.atomic-rc-local-executable", RC_LOCAL, "medium", "/etc/rc.local", RC),
        item("suite.atomic-rc-common", RC_LOCAL, "medium", "/etc/rc.common", RC),
        // PANIX.
        item(
            "suite.panix-service",
            WRITTEN,
            "high",
            "/usr/local/lib/systemd/system/dbus-org.freedesktop.suite.service",
            SERVICE,
        ),
        item(
            "suite.panix-timer",
            WRITTEN,
            "high",
            "/usr/local/lib/systemd/system/dbus-org.freedesktop.suite.timer",
            TIMER,
        ),
        item(
            "suite.panix-enable",
            ENABLED,
            "high",
            etc!("timers.target.wants/dbus-org.freedesktop.suite.timer"),
            TIMER,
        ),
        item(
            "suite.panix-generator",
            GENERATOR,
            "critical",
            "/usr/lib/systemd/system-generators/suite-makecon",
            SERVICE,
        ),
        item(
            "suite.panix-generator-executable",
            GENERATOR,
            "critical",
            "/usr/lib/systemd/system-generators/suite-makecon",
            SERVICE,
        ),
        Item {
            from: From::Generator,
            ..item(
                "suite.panix-generated",
                WRITTEN,
                "high",
                "/run/systemd/system/suite-makecon.service",
                SERVICE,
            )
        },
        Item {
            from: From::Generator,
            ..item(
                "suite.panix-generated",
                ENABLED,
                "high",
                "/run/systemd/system/multi-user.target.wants/suite-makecon.service",
                SERVICE,
            )
        },
        item("suite.panix-init", SCRIPT, "high", "/etc/init.d/suite-procps", "T1037"),
        item("suite.panix-init-enable", RUNLEVEL, "medium", "/etc/rc3.d/S01suite-procps", "T1037"),
        item("suite.panix-rc-local", RC_LOCAL, "medium", "/etc/rc.local", RC),
        // By other hands.
        way("way.sed", WRITTEN, etc!("way-sed.service")),
        way("way.vim", WRITTEN, etc!("way-vim.service")),
        way("way.ex", WRITTEN, etc!("way-ex.service")),
        way("way.python", WRITTEN, etc!("way-python.service")),
        way("way.perl", WRITTEN, etc!("way-perl.service")),
        way("way.truncate", WRITTEN, etc!("way-truncate.service")),
        way("way.move", WRITTEN, etc!("way-move.service")),
        way("way.copy-rename", WRITTEN, etc!("way-copy.service")),
        way("way.install", WRITTEN, etc!("way-install.service")),
        way("way.symlink", LINKED, etc!("way-symlink.service")),
        way("way.wants-by-hand", ENABLED, etc!("multi-user.target.wants/way-wanted.service")),
        way("way.editor", DROP_IN, etc!("cron.service.d/override.conf")),
        way("way.systemctl-link", LINKED, etc!("way-link.service")),
        way("way.set-property", DROP_IN, "/etc/systemd/system.control/cron.service.d/50-CPUWeight.conf"),
        way("way.bus-link", LINKED, etc!("way-bus.service")),
        way("way.bus-enable-other", ENABLED, etc!("multi-user.target.wants/way-install.service")),
        way("way.offline", ENABLED, etc!("multi-user.target.wants/way-copy.service")),
        way("way.chroot", WRITTEN, etc!("way-chroot.service")),
        way("way.nsenter", WRITTEN, etc!("way-nsenter.service")),
        way("way.alias", WRITTEN, etc!("way-alias.service")),
        // Out of containers.
        container("way.docker-bind", etc!("way-docker-bind.service")),
        container("way.docker-nsenter", etc!("way-docker-nsenter.service")),
        container("way.docker-root", etc!("way-docker-root.service")),
        container("way.docker-cp", etc!("way-docker-cp.service")),
        container("way.docker-exec", etc!("way-docker-exec.service")),
        container("way.podman-bind", etc!("way-podman-bind.service")),
    ]
}
