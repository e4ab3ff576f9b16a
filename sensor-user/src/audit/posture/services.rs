//! Services as root without need, and without what would bound them (M1026, Privileged Account Management; M1028,
//! Operating System Configuration), and programs of no package (M1033, Limit Software Installation; M1045, Code Signing).

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::detect::rule::Severity;
use crate::event::path::lossy;
use crate::proof::inventory::Entry;
use crate::proof::inventory::survey::Survey;
use crate::proof::package::Verdict;
use crate::subject::service::Scope;
use crate::subject::unit::effective::{Effective, State};
use crate::subject::unit::key::Key;
use crate::subject::unit::name::Type;

pub(super) fn check(survey: &Survey, found: &mut Vec<Check>) {
    let entries: BTreeMap<&[u8], &Entry> =
        survey.entries.iter().map(|entry| (&entry.path[..], entry)).collect();
    let proof = |path: &[u8]| entries.get(path).map(|entry| &entry.proof);
    let services = || {
        survey.units.iter().filter(|unit| {
            unit.kind == Type::Service && unit.scope == Scope::System && unit.state == State::Loaded
        })
    };
    let mut unbounded = Vec::new();
    for unit in services().filter(|unit| is_root(unit) && !unit.commands.is_empty()) {
        // What a package brings is its maintainers' business.
        let own = unit.files.first().and_then(|path| {
            let end = unit.linked.as_ref().unwrap_or(path);
            proof(end)
        });
        let administrators = matches!(own, Some(Verdict::Unowned | Verdict::Modified { .. }));
        if administrators && !is_bounded(unit) && !unit.files[0].starts_with(b"/run/") {
            unbounded.push(lossy(&unit.name).into_owned());
        }
    }
    found.push(Check {
        id: "posture.services.unbounded-root",
        mitigations: &["M1026", "M1028"],
        severity: Severity::Low,
        title: "services of no package run as root with nothing that bounds them".to_owned(),
        evidence: unbounded,
        advice: "Set User= or DynamicUser=, NoNewPrivileges=, ProtectSystem=, CapabilityBoundingSet= (systemd.exec(5)).",
    });
    let roots: BTreeSet<Vec<u8>> =
        services().filter(|unit| is_root(unit) && !is_bounded(unit)).map(|unit| unit.name.clone()).collect();
    let listening = survey.units.iter().filter(|unit| {
        unit.kind == Type::Socket
            && unit.scope == Scope::System
            && unit.state == State::Loaded
            && !unit.pulled_in_by.is_empty()
    });
    let listening = listening.filter_map(|unit| {
        let address =
            unit.all(Key::ListenStream).map(|setting| lossy(&setting.text)).find(|text| is_network(text))?;
        let service = service_of(unit);
        roots
            .contains(&service)
            .then(|| format!("{} listens on {address} for {}", lossy(&unit.name), lossy(&service)))
    });
    found.push(Check {
        id: "posture.services.listening-root",
        mitigations: &["M1026"],
        severity: Severity::Info,
        title: "sockets that are enabled take connections from the network for services as root with nothing that bounds them".to_owned(),
        evidence: listening.collect(),
        advice: "Have the service run as a user of its own, or listen on 127.0.0.1.",
    });
    let mut programs = BTreeMap::new();
    for entry in survey.entries.iter().filter(|entry| entry.user.is_none()) {
        for program in entry.programs.iter().filter(|program| program.sha256.is_some()) {
            if program.proof == Verdict::Unowned {
                programs.entry(&program.path).or_insert(&entry.name);
            }
        }
    }
    found.push(Check {
        id: "posture.programs.unpackaged",
        mitigations: &["M1033", "M1045"],
        severity: Severity::Info,
        title: "programs of no package are run by the system".to_owned(),
        evidence: programs.iter().map(|(path, name)| format!("{} (by {name})", lossy(path))).collect(),
        advice: "Install them as packages from a signed repository, so that their content can be proved.",
    });
}

/// Whether it runs as root: nothing else is set.
fn is_root(unit: &Effective) -> bool {
    unit.user().is_none_or(|user| matches!(user, b"root" | b"0"))
}

/// Whether any of the settings is there that bound what root in a service can do (systemd.exec(5)).
fn is_bounded(unit: &Effective) -> bool {
    let protects =
        unit.text(Key::ProtectSystem).is_some_and(|value| !matches!(value, b"no" | b"false" | b"off" | b"0"));
    unit.is_on(Key::NoNewPrivileges) || protects || unit.text(Key::CapabilityBoundingSet).is_some()
}

/// Whether an address of `ListenStream=` is one of the network: neither a path, nor abstract, nor of this machine alone
/// (systemd.socket(5)).
fn is_network(address: &str) -> bool {
    let local = ["/", "@", "vsock:", "127.", "[::1]", "%"].iter().any(|start| address.starts_with(start));
    !local && address.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok())
}

fn service_of(socket: &Effective) -> Vec<u8> {
    if let Some(named) = socket.text(Key::Service) {
        return named.to_vec();
    }
    let stem = socket.name.strip_suffix(b".socket").unwrap_or(&socket.name);
    let template: &[u8] = if socket.is_on(Key::Accept) { b"@.service" } else { b".service" };
    [stem, template].concat()
}
