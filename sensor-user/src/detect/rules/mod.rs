//! The rules. An id never changes its meaning; a rule that is given up leaves its id unused.
//!
//! Names and numbers of techniques are those of ATT&CK v18.1.

mod adjacent;
mod baseline;
mod container;
mod engine;
mod systemd;
pub(super) mod techniques;

pub use self::adjacent::*;
pub use self::baseline::*;
pub use self::container::*;
pub use self::engine::*;
pub use self::systemd::*;
pub use self::techniques::of_signal;
use super::rule::{Rule, Severity};

const PACKAGES: &str = "Installing, upgrading or removing a package that brings a service.";
const CONFIGURATION: &str = "Configuration management that deploys a service.";

/// The sensor missed something.
pub static RECORDS_LOST: Rule = Rule {
    id: "sensor.records.lost",
    name: "The sensor lost records",
    severity: Severity::Low,
    techniques: &[],
    description: "Records were produced faster than they were read. Lost process records leave gaps in the ancestry \
        of later alerts; lost records of watched files may have been findings: compare the unit directories with what \
        they should hold.",
    false_positives: &["A burst of processes, a large build for instance."],
};

/// Every rule.
pub static RULES: [&Rule; 84] = [
    &UNIT_WRITTEN,
    &UNIT_ENABLED,
    &UNIT_LINKED,
    &UNIT_MASKED,
    &UNIT_REMOVED,
    &UNIT_ATTRIBUTES,
    &UNIT_TRANSIENT,
    &DROPIN_WRITTEN,
    &GENERATOR_WRITTEN,
    &ENVIRONMENT_GENERATOR_WRITTEN,
    &INIT_SCRIPT_WRITTEN,
    &RUNLEVEL_LINK_SET,
    &RC_LOCAL_WRITTEN,
    &DIRECTORY_MOUNTED_OVER,
    &DIRECTORY_REPLACED,
    &DIRECTORY_FILE_WRITTEN,
    &MANAGER_CONFIG_WRITTEN,
    &PRESET_WRITTEN,
    &TMPFILES_WRITTEN,
    &ENVIRONMENT_WRITTEN,
    &ENVIRONMENT_FILE_WRITTEN,
    &LOADER_PRELOAD_WRITTEN,
    &SLEEP_HOOK_WRITTEN,
    &PORTABLE_IMAGE_WRITTEN,
    &EXTENSION_IMAGE_WRITTEN,
    &NSPAWN_WRITTEN,
    &LINGER_ENABLED,
    &DBUS_ACTIVATION_WRITTEN,
    &UDEV_RULE_WRITTEN,
    &POLKIT_RULE_WRITTEN,
    &AUTOSTART_WRITTEN,
    &MOUNTS_TABLE_WRITTEN,
    &BOOT_CONFIG_WRITTEN,
    &CREDENTIAL_WRITTEN,
    &INITRAMFS_WRITTEN,
    &INIT_SERVICE_WRITTEN,
    &INIT_SUPERVISED_WRITTEN,
    &SUPERSERVER_WRITTEN,
    &PACKAGE_HOOK_WRITTEN,
    &MAINTAINER_SCRIPT_WRITTEN,
    &PACKAGE_DATABASE_EDITED,
    &EVENT_HOOK_WRITTEN,
    &SCHEDULE_JOB_WRITTEN,
    &KERNEL_MODULES_CONFIGURED,
    &STARTUP_ENTRY_REMOVED,
    &STARTUP_ENTRY_ATTRIBUTES,
    &STARTUP_ENTRY_MASKED,
    &RESTART_POLICY_SET,
    &HOST_ACCESS_GRANTED,
    &SWARM_SERVICE_CREATED,
    &SWARM_CHANGED,
    &ENGINE_PLUGIN_ADDED,
    &ENGINE_REQUEST_FROM_CONTAINER,
    &ENGINE_REQUEST_UNREAD,
    &ENGINE_EXPOSED,
    &CONTAINER_STATE_EDITED,
    &CONTAINER_UNBOOKED,
    &QUADLET_WRITTEN,
    &STATIC_POD_WRITTEN,
    &MANIFEST_WRITTEN,
    &KUBELET_CONFIG_WRITTEN,
    &ENGINE_CONFIG_WRITTEN,
    &RUNTIME_HOOK_WRITTEN,
    &RUNTIME_PLUGIN_WRITTEN,
    &RUNTIME_REPLACED,
    &MACHINE_CONFIG_WRITTEN,
    &KUBELET_STARTED,
    &MANIFEST_APPLIED,
    &PROGRAM_WRITTEN,
    &PROGRAM_REMOVED,
    &REQUEST_FROM_CONTAINER,
    &MANAGER_ENVIRONMENT_SET,
    &UNIT_MOUNTED_INTO,
    &SERVICE_UNEXPLAINED,
    &UNIT_CHANGED_UNSEEN,
    &RECORDS_LOST,
    &BASELINE_BEGUN,
    &BASELINE_COMPARED,
    &BASELINE_ADDED,
    &BASELINE_CHANGED,
    &BASELINE_REMOVED,
    &BASELINE_TAMPERED,
    &BASELINE_LOST,
    &SENSOR_STATE_WRITTEN,
];

/// The rule of an id.
pub fn by_id(id: &str) -> Option<&'static Rule> {
    RULES.into_iter().find(|rule| rule.id == id)
}

/// Position in [`RULES`].
pub fn index(rule: &Rule) -> Option<usize> {
    RULES.iter().position(|known| known.id == rule.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_complete() {
        for (at, rule) in RULES.iter().enumerate() {
            assert_eq!(index(rule), Some(at), "{} twice", rule.id);
            assert_eq!(by_id(rule.id).map(|found| found.name), Some(rule.name));
            let slug = |byte: u8| byte.is_ascii_lowercase() || byte == b'.' || byte == b'-';
            assert!(rule.id.bytes().all(slug) && rule.id.matches('.').count() >= 1, "{}", rule.id);
            assert!(rule.description.len() > 80 && !rule.description.contains("  "), "{}", rule.id);
            assert!(!rule.false_positives.is_empty(), "{}", rule.id);
            for technique in rule.techniques {
                assert_eq!(technique.id.contains('.'), technique.subtechnique.is_some(), "{}", technique.id);
                assert!(!technique.tactics.is_empty());
            }
        }
        assert_eq!(by_id("no.such.rule").map(|rule| rule.id), None);
    }
}
