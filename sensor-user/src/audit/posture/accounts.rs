//! Who may have an engine make containers, and so be root (M1018, User Account Management; M1026, Privileged Account
//! Management).

use super::{Check, lines, read};
use crate::detect::rule::Severity;
use crate::event::path::lossy;
use crate::proof::inventory::survey::Survey;
use crate::source::content::Root;
use crate::subject::service::Scope;
use crate::subject::unit::key::Key;

/// Groups whose members an engine obeys: docker's (docs.docker.com, "Linux post-installation steps": "root-level
/// privileges"), LXD's and Incus' (linuxcontainers.org, "can ... get full root access"), and libvirt's system instance
/// (polkit's org.libvirt.unix.manage).
const GROUPS: [(&str, &str); 5] = [
    ("docker", "dockerd"),
    ("lxd", "LXD"),
    ("incus-admin", "Incus"),
    ("libvirt", "libvirt"),
    ("podman", "a socket of podman's"),
];

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: &'a str,
}

pub(super) fn check(root: &Root, survey: &Survey, found: &mut Vec<Check>) {
    let passwd = read(root, "/etc/passwd").unwrap_or_default();
    let group = read(root, "/etc/group").unwrap_or_default();
    let accounts: Vec<Account<'_>> = lines(&passwd)
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            Some(Account { name, uid: fields.nth(1)?.parse().ok()?, gid: fields.next()? })
        })
        .collect();
    // Units may give a socket to any group.
    let sockets: Vec<(String, String)> = survey
        .units
        .iter()
        .filter(|unit| {
            unit.scope == Scope::System && matches!(&unit.name[..], b"docker.socket" | b"podman.socket")
        })
        .filter_map(|unit| {
            let group = lossy(unit.text(Key::SocketGroup)?).into_owned();
            Some((group, lossy(&unit.name).into_owned()))
        })
        .collect();
    let mut evidence = Vec::new();
    for line in lines(&group) {
        let mut fields = line.split(':');
        let (Some(name), Some(gid), members) = (fields.next(), fields.nth(1), fields.next()) else {
            continue;
        };
        let known = GROUPS.iter().find(|(group, _)| *group == name).map(|(_, engine)| (*engine).to_owned());
        let by_unit =
            sockets.iter().find(|(group, _)| group == name).map(|(_, unit)| format!("the socket of {unit}"));
        let Some(what) = known.or(by_unit).filter(|_| name != "root") else { continue };
        let listed =
            members.unwrap_or_default().split(',').map(str::trim).filter(|member| !member.is_empty());
        let primary = accounts.iter().filter(|account| account.gid == gid).map(|account| account.name);
        for member in listed.chain(primary) {
            let root = accounts.iter().any(|account| account.name == member && account.uid == 0);
            if !root {
                evidence.push(format!("{member} is in group {name}, which {what} obeys"));
            }
        }
    }
    found.push(Check {
        id: "posture.accounts.engine-group",
        mitigations: &["M1018", "M1026"],
        severity: Severity::Medium,
        title: "users who are as good as root, for an engine makes any container for them".to_owned(),
        evidence,
        advice: "Take them out of the group (gpasswd -d USER GROUP), or have them use a rootless engine.",
    });
    let others: Vec<String> = accounts
        .iter()
        .filter(|account| account.uid == 0 && account.name != "root")
        .map(|account| format!("{} has user id 0", account.name))
        .collect();
    found.push(Check {
        id: "posture.accounts.second-root",
        mitigations: &["M1026"],
        severity: Severity::High,
        title: "accounts beside root with root's id".to_owned(),
        evidence: others,
        advice: "Give them ids of their own, and sudo rules for what they need.",
    });
}
