//! What the inventory tells, and what is done to the sensor's own files.

use super::techniques::{DISABLE_TOOLS, SYSTEM_PROCESS};
use super::{CONFIGURATION, PACKAGES};
use crate::detect::rule::{Rule, Severity};

/// There was no inventory.
pub static BASELINE_BEGUN: Rule = Rule {
    id: "baseline.begun",
    name: "The baseline was taken",
    severity: Severity::Info,
    techniques: &[],
    description: "There was no inventory of what starts by itself, so what is there now is taken as it is, on trust: \
        what was planted before is part of it. Look through what no package explains: `svcsensor scan`.",
    false_positives: &["Always told at the first start, and after the inventory was lost."],
};

/// A time in which nobody watched.
pub static BASELINE_COMPARED: Rule = Rule {
    id: "baseline.compared",
    name: "The machine was not watched for a while",
    severity: Severity::Info,
    techniques: &[],
    description: "Between two moments the sensor did not run, or records were lost. What starts by itself was compared \
        with the inventory afterwards, and each difference is an alert of its own. What came and went within that time \
        is not known.",
    false_positives: &["Every start after the first; an update of the sensor; a reboot."],
};

/// Something new.
pub static BASELINE_ADDED: Rule = Rule {
    id: "baseline.added-unseen",
    name: "Something that starts by itself appeared while nobody watched",
    severity: Severity::Medium,
    techniques: &[SYSTEM_PROCESS],
    description: "A unit, drop-in, link, generator, script or container that starts by itself is there, and was not when \
        the sensor last looked: it was made while the sensor did not run, or records of it were lost. Who made it is not \
        known. Look at the file, at its times, and at the journal of that time.",
    false_positives: &[
        PACKAGES,
        CONFIGURATION,
        "A disk that was mounted elsewhere, or restored from a backup.",
    ],
};

/// Something else.
pub static BASELINE_CHANGED: Rule = Rule {
    id: "baseline.changed-unseen",
    name: "Something that starts by itself changed while nobody watched",
    severity: Severity::Medium,
    techniques: &[SYSTEM_PROCESS],
    description: "Content, target, mode or owner of something that starts by itself, or a program that it runs, is not \
        what the inventory has: it was changed while the sensor did not run, or records of it were lost. `svcsensor \
        inventory show NAME` tells what it was.",
    false_positives: &[
        PACKAGES,
        CONFIGURATION,
        "A disk that was mounted elsewhere, or restored from a backup.",
    ],
};

/// Something gone.
pub static BASELINE_REMOVED: Rule = Rule {
    id: "baseline.removed-unseen",
    name: "Something that starts by itself was removed while nobody watched",
    severity: Severity::Low,
    techniques: &[SYSTEM_PROCESS],
    description: "Something that the inventory has is gone: it was removed while the sensor did not run, or records of it \
        were lost. `svcsensor inventory show NAME` tells what it was.",
    false_positives: &[PACKAGES, CONFIGURATION, "A container that was removed."],
};

/// The inventory was edited.
pub static BASELINE_TAMPERED: Rule = Rule {
    id: "baseline.tampered",
    name: "The sensor's inventory was edited",
    severity: Severity::High,
    techniques: &[DISABLE_TOOLS],
    description: "The inventory is not as the sensor left it, or another process wrote to it while the sensor ran. Who \
        edits it can hide what was planted while nobody watched: take what starts by itself as unknown, and look through \
        it (`svcsensor scan`). The journal has the inventory's seal of each earlier day.",
    false_positives: &[
        "An administrator who wrote to it with sqlite3.",
        "A backup of /var that was put back.",
    ],
};

/// There is no inventory.
pub static BASELINE_LOST: Rule = Rule {
    id: "baseline.lost",
    name: "The sensor's inventory cannot be used",
    severity: Severity::Medium,
    techniques: &[DISABLE_TOOLS],
    description: "The inventory was damaged and has been set aside, or cannot be read or written: a full disk, a \
        read-only filesystem, somebody's lock. What changes while the sensor does not run is then not noticed.",
    false_positives: &["A full disk.", "A machine whose /var is read-only: set `inventory.directory`."],
};

/// The sensor's own files.
pub static SENSOR_STATE_WRITTEN: Rule = Rule {
    id: "sensor.state.written",
    name: "The sensor's own files were written",
    severity: Severity::Medium,
    techniques: &[DISABLE_TOOLS],
    description: "Something other than the running sensor wrote to its configuration, its approvals or its inventory: \
        what it watches, what it stays quiet about, or what it takes as known may be another from now on. Look at the \
        file, and at who wrote it. An approval made with `svcsensor approve` is told so as well, with who made it.",
    false_positives: &["An administrator who configures the sensor.", CONFIGURATION, "`svcsensor approve`."],
};
