//! What raises or lowers a finding's score, on the subject's side.

use sensor_common::record::kind;
use sensor_common::watch;

use super::case::{Case, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use crate::detect::detector::Detector;
use crate::detect::finding::Finding;
use crate::detect::rule::Severity;
use crate::detect::rules;
use crate::detect::score;
use crate::event::path::lossy;
use crate::event::user::WatchClass;
use crate::lineage::{Lineage, cgroup};
use crate::subject::adjacent::Kind;
use crate::subject::place::{Place, resolve_target};
use crate::subject::service::{Scope, UnitPart};

/// Directories in which anyone may put files.
const ANYONES: [&[u8]; 6] =
    [b"/tmp/", b"/var/tmp/", b"/dev/shm/", b"/run/lock/", b"/run/shm/", b"/var/lock/"];

/// Credentials that are more than a secret, by how their names begin (systemd.system-credentials(7)).
const MAKING: [&[u8]; 6] = [
    b"systemd.extra-unit.",
    b"systemd.unit-dropin.",
    b"tmpfiles.extra",
    b"fstab.extra",
    b"udev.rules.",
    b"udev.conf.",
];

impl Case<'_> {
    /// What raises or lowers the score, on the subject's side.
    pub(super) fn weigh(&self, finding: &mut Finding, lineage: &Lineage) {
        let record = &self.event.record;
        let mode = self.mode();
        if self.part.type_level && self.part.part == UnitPart::DependencyLink {
            finding.reason(15, "every unit of a type pulls it in");
        } else if self.part.type_level {
            finding.reason(15, format!("it applies to every {}", lossy(self.part.name)));
        }
        if self.is_executable_part() && self.becomes_executable() {
            finding.reason(0, "it was made executable");
        }
        let program = self.part.part == UnitPart::Other && mode & S_IFMT == S_IFREG && mode & 0o111 != 0;
        if program && finding.rule.id == rules::DIRECTORY_FILE_WRITTEN.id {
            finding.reason(20, "it is a program");
        }
        // What is being created shows the mode that was asked for; a filesystem with ACLs applies the umask after the
        // hook. The open or the change that follows shows what it has become.
        let settled = !matches!(record.header.kind, kind::FILE_CREATE | kind::FILE_MKDIR | kind::FILE_MKNOD);
        if settled && mode & S_IFMT != S_IFLNK && mode & 0o002 != 0 {
            finding.reason(10, "everyone may write to it");
        }
        if mode & S_IFMT == S_IFDIR || (self.part.directory && self.part.part != UnitPart::Directory) {
            finding.reason(0, "a directory, with whatever it holds");
        }
        if !self.target.is_empty() {
            let target = resolve_target(self.path, self.target);
            if ANYONES.iter().any(|directory| target.starts_with(directory)) {
                finding.reason(15, "it leads to where anyone may put files");
            } else if target.starts_with(b"/home/") || target.starts_with(b"/proc/") {
                finding.reason(10, "it leads to a user's or a process's own files");
            }
        }
        if record.header.kind == kind::FILE_RENAME && ANYONES.iter().any(|at| self.other.starts_with(at)) {
            finding.reason(5, "it was moved from where anyone may put files");
        }
        let in_force_for_all = self.part.scope == Scope::System && mode != 0 && mode & S_IFMT != S_IFLNK;
        let exists = !matches!(record.header.kind, kind::FILE_CREATE | kind::FILE_UNLINK);
        if in_force_for_all && exists && record.object.inode != 0 && record.object.uid != 0 {
            finding.reason(5, format!("it belongs to user {}", describe_user(lineage, record.object.uid)));
        }
        if matches!(self.place, Place::ByAnotherName { .. })
            || record.matched == watch::FILE && !self.other.is_empty()
        {
            finding.reason(10, "it was reached under another name (a hard link)");
        }
        if let Some(kind) = self.adjacent_kind() {
            self.weigh_adjacent(kind, finding, lineage);
        }
        // A manager writes there for SetUnitProperties alone, which takes limits and weights but no command
        // (org.freedesktop.systemd1(5)).
        let property = self.part.part == UnitPart::DropIn && contains(self.path, b".control/");
        if property && self.who.is_some_and(|who| Detector::is_manager(lineage, who.handle)) {
            if self.path.starts_with(b"/run/") {
                finding.reason(-40, "set-property made it, until the next boot");
            } else {
                finding.reason(-15, "set-property made it");
            }
        }
        if self.class == WatchClass::GeneratorOutput {
            finding
                .reason(-20, "the next daemon-reload removes it: the directory holds what generators make");
        }
    }
}

impl Case<'_> {
    /// What services and packages do as a matter of course weighs little: of what is not a unit there is much, and
    /// packages are not told from others yet.
    fn weigh_adjacent(&self, kind: &Kind, finding: &mut Finding, lineage: &Lineage) {
        let service = self.service(lineage);
        let base = score::base(finding.rule.severity);
        let low = score::base(Severity::Low);
        // No update brings a credential, which can be a whole unit (systemd.system-credentials(7)).
        let credential = self.path.ends_with(b".cred");
        let own = kind.class == WatchClass::PackageDatabase;
        if !own && kind.is_of_packages(self.path) && base > low && !credential {
            finding.reason(low - base, "packages keep such files here as a matter of course");
        }
        if self.path.starts_with(b"/run/") && !self.path.starts_with(b"/run/user/") {
            finding.reason(-20, "it is gone with the next boot");
            if let Some(service) = service.as_ref().filter(|_| base > low + 20) {
                finding.reason(-20, format!("{service} wrote it, and nobody had logged in for it"));
            }
        }
        if kind.class == WatchClass::Linger && service.as_deref() == Some("systemd-logind.service") {
            finding.reason(-20, "made by systemd-logind, which was asked to");
        }
        if kind.class == WatchClass::Credential {
            let name = &self.path[self.path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1)..];
            if MAKING.iter().any(|begin| name.starts_with(begin)) {
                finding.reason(20, "systemd makes units, files or rules of a credential of this name");
            }
        }
        let staged = self.other.starts_with(b"/var/lib/dpkg/tmp.ci/");
        if kind.class == WatchClass::MaintainerScript && staged {
            finding.reason(-20, "moved out of dpkg's staging directory, as dpkg does it");
        }
        if kind.class == WatchClass::RuntimeProgram && self.is_package_managers_rename() {
            finding.reason(low - base, "renamed as package managers rename what they have unpacked");
        }
        if kind.class == WatchClass::RuntimeHook && self.path.starts_with(b"/etc/cni/") {
            finding.reason(-20, "a CNI network runs plugins that are there already");
        }
        if kind.class == WatchClass::RuntimeHook && self.path.starts_with(b"/var/lib/kubelet/") {
            finding.reason(-40, "device and CSI plugins register so whenever they start");
        }
        if kind.class == WatchClass::EngineConfig && self.path.ends_with(b"/.docker/config.json") {
            finding.reason(-20, "docker login writes it");
        }
        if let Some(service) = service.filter(|service| is_agents_own(kind.class, self.path, service)) {
            finding.reason(-40, format!("{service} wrote it, whose own directory it is"));
        }
    }

    /// `NAME.dpkg-new` to `NAME` (dpkg's src/main/archives.c), `NAME;5f3a91c2` to `NAME` (rpm's lib/fsm.c).
    fn is_package_managers_rename(&self) -> bool {
        let Some(added) = self.other.strip_prefix(self.path) else { return false };
        added == b".dpkg-new"
            || added
                .strip_prefix(b";")
                .is_some_and(|id| id.len() == 8 && id.iter().all(u8::is_ascii_hexdigit))
    }

    /// The system service that acts, by the control group that PID 1 has put it into; `None` where somebody had
    /// logged in for it, or where it runs in a container.
    fn service(&self, lineage: &Lineage) -> Option<String> {
        let task = &self.who?.task;
        let path = lineage.cgroups().path(task.cgroup_id)?;
        let own = path.starts_with(b"/system.slice/") && cgroup::container(path).is_none();
        let unit = cgroup::unit(path).filter(|unit| unit.ends_with(".service"))?;
        (own && task.loginuid == u32::MAX).then_some(unit)
    }
}

/// What node agents write at every start: k3s, rke2 and k0s their components.
fn is_agents_own(class: WatchClass, path: &[u8], service: &str) -> bool {
    let service = service.trim_end_matches(".service");
    match class {
        WatchClass::ClusterManifest | WatchClass::StaticPod => {
            let agents = ["k3s", "rke2-server", "rke2-agent", "k0scontroller"];
            path.starts_with(b"/var/lib/") && agents.contains(&service)
        }
        _ => false,
    }
}

fn contains(path: &[u8], wanted: &[u8]) -> bool {
    path.windows(wanted.len()).any(|window| window == wanted)
}

fn describe_user(lineage: &Lineage, uid: u32) -> String {
    lineage.user_name(uid).map_or_else(|| uid.to_string(), |name| format!("{name} ({uid})"))
}
