//! The techniques that rules name. Names and numbers are those of ATT&CK v18.1.

use crate::detect::rule::Technique;

const PERSISTENCE_AND_ESCALATION: &[(&str, &str)] =
    &[("TA0003", "Persistence"), ("TA0004", "Privilege Escalation")];

pub(in crate::detect) const SYSTEMD_SERVICE: Technique = Technique {
    id: "T1543.002",
    technique: "Create or Modify System Process",
    subtechnique: Some("Systemd Service"),
    tactics: PERSISTENCE_AND_ESCALATION,
};

pub(in crate::detect) const CONTAINER_SERVICE: Technique = Technique {
    id: "T1543.005",
    technique: "Create or Modify System Process",
    subtechnique: Some("Container Service"),
    tactics: PERSISTENCE_AND_ESCALATION,
};

pub(in crate::detect) const INITIALIZATION_SCRIPTS: Technique = Technique {
    id: "T1037",
    technique: "Boot or Logon Initialization Scripts",
    subtechnique: None,
    tactics: PERSISTENCE_AND_ESCALATION,
};

pub(in crate::detect) const RC_SCRIPTS: Technique = Technique {
    id: "T1037.004",
    technique: "Boot or Logon Initialization Scripts",
    subtechnique: Some("RC Scripts"),
    tactics: PERSISTENCE_AND_ESCALATION,
};

pub(in crate::detect) const SYSTEMCTL: Technique = Technique {
    id: "T1569.003",
    technique: "System Services",
    subtechnique: Some("Systemctl"),
    tactics: &[("TA0002", "Execution")],
};

pub(in crate::detect) const DISABLE_TOOLS: Technique = Technique {
    id: "T1562.001",
    technique: "Impair Defenses",
    subtechnique: Some("Disable or Modify Tools"),
    tactics: &[("TA0005", "Defense Evasion")],
};

const MASQUERADED_SERVICE: Technique = Technique {
    id: "T1036.004",
    technique: "Masquerading",
    subtechnique: Some("Masquerade Task or Service"),
    tactics: EVASION,
};

/// The technique that a signal of `subject::unit::signals` tells of, by the first word of its slug.
pub fn of_signal(slug: &str) -> Option<&'static Technique> {
    match slug.split('.').next()? {
        "name" => Some(&MASQUERADED_SERVICE),
        "guard" => Some(&DISABLE_TOOLS),
        "environment" if slug == "environment.loads" => Some(&DYNAMIC_LINKER),
        "manager" => Some(&DYNAMIC_LINKER),
        _ => None,
    }
}

const PERSISTENCE_ESCALATION_EVASION: &[(&str, &str)] =
    &[("TA0003", "Persistence"), ("TA0004", "Privilege Escalation"), ("TA0005", "Defense Evasion")];

const EVASION: &[(&str, &str)] = &[("TA0005", "Defense Evasion")];

const SCHEDULED: &[(&str, &str)] =
    &[("TA0002", "Execution"), ("TA0003", "Persistence"), ("TA0004", "Privilege Escalation")];

pub(in crate::detect) const SYSTEM_PROCESS: Technique = Technique {
    id: "T1543",
    technique: "Create or Modify System Process",
    subtechnique: None,
    tactics: PERSISTENCE_AND_ESCALATION,
};

pub(in crate::detect) const CRON: Technique = Technique {
    id: "T1053.003",
    technique: "Scheduled Task/Job",
    subtechnique: Some("Cron"),
    tactics: SCHEDULED,
};

pub(in crate::detect) const AT: Technique = Technique {
    id: "T1053.002",
    technique: "Scheduled Task/Job",
    subtechnique: Some("At"),
    tactics: SCHEDULED,
};

pub(in crate::detect) const SYSTEMD_TIMERS: Technique = Technique {
    id: "T1053.006",
    technique: "Scheduled Task/Job",
    subtechnique: Some("Systemd Timers"),
    tactics: SCHEDULED,
};

pub(in crate::detect) const EVENT_TRIGGERED: Technique = Technique {
    id: "T1546",
    technique: "Event Triggered Execution",
    subtechnique: None,
    tactics: PERSISTENCE_AND_ESCALATION,
};

pub(in crate::detect) const INSTALLER_PACKAGES: Technique = Technique {
    id: "T1546.016",
    technique: "Event Triggered Execution",
    subtechnique: Some("Installer Packages"),
    tactics: PERSISTENCE_AND_ESCALATION,
};

pub(in crate::detect) const STORED_DATA_MANIPULATION: Technique = Technique {
    id: "T1565.001",
    technique: "Data Manipulation",
    subtechnique: Some("Stored Data Manipulation"),
    tactics: &[("TA0040", "Impact")],
};

pub(in crate::detect) const MASQUERADING: Technique =
    Technique { id: "T1036", technique: "Masquerading", subtechnique: None, tactics: EVASION };

pub(in crate::detect) const UDEV_RULES: Technique = Technique {
    id: "T1546.017",
    technique: "Event Triggered Execution",
    subtechnique: Some("Udev Rules"),
    tactics: PERSISTENCE_AND_ESCALATION,
};

pub(in crate::detect) const KERNEL_MODULES: Technique = Technique {
    id: "T1547.006",
    technique: "Boot or Logon Autostart Execution",
    subtechnique: Some("Kernel Modules and Extensions"),
    tactics: PERSISTENCE_AND_ESCALATION,
};

pub(in crate::detect) const XDG_AUTOSTART: Technique = Technique {
    id: "T1547.013",
    technique: "Boot or Logon Autostart Execution",
    subtechnique: Some("XDG Autostart Entries"),
    tactics: PERSISTENCE_AND_ESCALATION,
};

pub(in crate::detect) const ABUSE_ELEVATION: Technique = Technique {
    id: "T1548",
    technique: "Abuse Elevation Control Mechanism",
    subtechnique: None,
    tactics: &[("TA0004", "Privilege Escalation"), ("TA0005", "Defense Evasion")],
};

pub(in crate::detect) const PRE_OS_BOOT: Technique = Technique {
    id: "T1542",
    technique: "Pre-OS Boot",
    subtechnique: None,
    tactics: &[("TA0005", "Defense Evasion"), ("TA0003", "Persistence")],
};

pub(in crate::detect) const COMPROMISED_BINARY: Technique = Technique {
    id: "T1554",
    technique: "Compromise Host Software Binary",
    subtechnique: None,
    tactics: &[("TA0003", "Persistence")],
};

pub(in crate::detect) const ESCAPE_TO_HOST: Technique = Technique {
    id: "T1611",
    technique: "Escape to Host",
    subtechnique: None,
    tactics: &[("TA0004", "Privilege Escalation")],
};

pub(in crate::detect) const DYNAMIC_LINKER: Technique = Technique {
    id: "T1574.006",
    technique: "Hijack Execution Flow",
    subtechnique: Some("Dynamic Linker Hijacking"),
    tactics: PERSISTENCE_ESCALATION_EVASION,
};

pub(in crate::detect) const CLEAR_PERSISTENCE: Technique = Technique {
    id: "T1070.009",
    technique: "Indicator Removal",
    subtechnique: Some("Clear Persistence"),
    tactics: EVASION,
};

pub(in crate::detect) const FILE_DELETION: Technique = Technique {
    id: "T1070.004",
    technique: "Indicator Removal",
    subtechnique: Some("File Deletion"),
    tactics: EVASION,
};

pub(in crate::detect) const PERMISSIONS: Technique = Technique {
    id: "T1222.002",
    technique: "File and Directory Permissions Modification",
    subtechnique: Some("Linux and Mac File and Directory Permissions Modification"),
    tactics: EVASION,
};

pub(in crate::detect) const DEPLOY_CONTAINER: Technique = Technique {
    id: "T1610",
    technique: "Deploy Container",
    subtechnique: None,
    tactics: &[("TA0005", "Defense Evasion"), ("TA0002", "Execution")],
};

pub(in crate::detect) const EXTERNAL_REMOTE_SERVICES: Technique = Technique {
    id: "T1133",
    technique: "External Remote Services",
    subtechnique: None,
    tactics: &[("TA0001", "Initial Access"), ("TA0003", "Persistence")],
};
