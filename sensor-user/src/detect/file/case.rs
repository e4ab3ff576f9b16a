//! One record under examination, and the finding that it makes.

use sensor_common::record::kind;

use crate::detect::detector::truncation;
use crate::detect::finding::{Finding, Phase, Who};
use crate::detect::rule::{Rule, Technique};
use crate::detect::rules::techniques::{CONTAINER_SERVICE, SYSTEMD_TIMERS, UDEV_RULES};
use crate::event::decode::FileEvent;
use crate::event::path::lossy;
use crate::event::user::WatchClass;
use crate::subject::adjacent;
use crate::subject::name::unit_type;
use crate::subject::part::Part;
use crate::subject::place::Place;
use crate::subject::service::{File, Unit, UnitPart};

/// File types of inode(7).
pub(in crate::detect) const S_IFMT: u32 = 0o170_000;
pub(in crate::detect) const S_IFREG: u32 = 0o100_000;
pub(in crate::detect) const S_IFLNK: u32 = 0o120_000;
pub(super) const S_IFDIR: u32 = 0o040_000;

/// `ATTR_MODE` (include/linux/fs.h).
const ATTR_MODE: u64 = 1;

/// One record under examination.
pub(in crate::detect) struct Case<'a> {
    pub(in crate::detect) event: &'a FileEvent<'a>,
    pub(in crate::detect) who: Option<Who>,
    /// The host's path of the name in question.
    pub(in crate::detect) path: &'a [u8],
    /// The other name of a rename or link; empty where there is none.
    pub(in crate::detect) other: &'a [u8],
    pub(in crate::detect) place: Place,
    /// A symlink's target as written; empty where there is none, or none is known.
    pub(in crate::detect) target: &'a [u8],
    pub(in crate::detect) part: Part<'a>,
    pub(in crate::detect) class: WatchClass,
}

impl Case<'_> {
    pub(super) fn finding(&self, rule: &'static Rule) -> Finding {
        let record = &self.event.record;
        let number = record.header.kind;
        let action = kind::name(number).unwrap_or("unknown");
        let subject = lossy(self.path).into_owned();
        let mut finding = Finding::new(rule, record.header.boottime_ns, action, subject).by(self.who);
        finding.event_type = match number {
            kind::FILE_CREATE
            | kind::FILE_RENAME
            | kind::FILE_LINK
            | kind::FILE_SYMLINK
            | kind::FILE_MKNOD => "creation",
            kind::FILE_UNLINK => "deletion",
            _ => "change",
        };
        finding.phase = match number {
            kind::FILE_CREATE
            | kind::FILE_OPEN_WRITE
            | kind::FILE_TRUNCATE
            | kind::FILE_ATTRIBUTE
            | kind::FILE_MMAP_WRITE => Phase::Held,
            kind::FILE_CLOSE_WRITE if self.part.provisional => Phase::Held,
            kind::FILE_CLOSE_WRITE => Phase::Closing,
            _ => Phase::Complete,
        };
        let other = (!self.other.is_empty()).then(|| lossy(self.other).into_owned());
        if number == kind::FILE_RENAME {
            finding.completes.clone_from(&other);
        }
        finding.file = Some(File {
            path: finding.subject.clone(),
            other_path: other,
            target: (!self.target.is_empty()).then(|| lossy(self.target).into_owned()),
            inode: record.object.inode,
            mode: self.mode(),
            uid: record.object.uid,
            size: record.object.size,
        });
        let linked = !self.target.is_empty() && self.part.part == UnitPart::Fragment;
        let part = if linked { UnitPart::Alias } else { self.part.part };
        finding.unit = Some(Unit::new(lossy(self.part.name), part, self.part.scope));
        finding.also = self.also();
        if let Some(reason) = truncation(record) {
            finding.reason(0, reason);
        }
        finding
    }

    /// Techniques that the subject adds to the rule's: of a timer, and of what a device starts.
    fn also(&self) -> &'static [Technique] {
        match self.part.part {
            UnitPart::DependencyLink if self.is_wanted_by_device() => &[UDEV_RULES],
            UnitPart::Fragment | UnitPart::Alias | UnitPart::DropIn | UnitPart::DependencyLink
                if matches!(unit_type(self.part.name), Some(b"timer")) || self.part.name == b"timer" =>
            {
                if is_of_engine(self.part.name) {
                    &[SYSTEMD_TIMERS, CONTAINER_SERVICE]
                } else {
                    &[SYSTEMD_TIMERS]
                }
            }
            UnitPart::Fragment | UnitPart::Alias | UnitPart::DropIn | UnitPart::DependencyLink
                if is_of_engine(self.part.name) =>
            {
                &[CONTAINER_SERVICE]
            }
            _ => &[],
        }
    }

    /// Whether the path is, or lies in, a directory of what a device's appearance starts (systemd.device(5)).
    fn is_wanted_by_device(&self) -> bool {
        let names = self.path.rsplit(|byte| *byte == b'/').take(2);
        let bases = [&b".device.wants"[..], b".device.requires", b".device.upholds"];
        names.into_iter().any(|name| bases.iter().any(|end| name.ends_with(end)))
    }

    /// Mode after the operation; 0 where unknown.
    pub(super) fn mode(&self) -> u32 {
        let record = &self.event.record;
        let given = record.argument as u32 & 0o7777;
        match record.header.kind {
            kind::FILE_CREATE => S_IFREG | given,
            kind::FILE_SYMLINK => S_IFLNK | 0o777,
            kind::FILE_ATTRIBUTE if record.argument >> 32 & ATTR_MODE != 0 => {
                record.object.mode & S_IFMT | given
            }
            _ => record.object.mode,
        }
    }

    /// The row of what lies beside units: what it is, rather than what the directory is called that is watched.
    pub(super) fn adjacent_kind(&self) -> Option<&'static adjacent::Kind> {
        let watched = adjacent::of(self.class)?;
        Some(adjacent::of_part(self.part.part).unwrap_or(watched))
    }

    pub(super) fn is_executable_part(&self) -> bool {
        matches!(
            self.part.part,
            UnitPart::Generator | UnitPart::EnvironmentGenerator | UnitPart::InitScript | UnitPart::RcLocal
        ) || adjacent::of_part(self.part.part).is_some_and(|kind| kind.programs)
    }

    /// Whether an attribute change lets a program run that did not before.
    pub(super) fn becomes_executable(&self) -> bool {
        let record = &self.event.record;
        let (old, new) = (record.object.mode, self.mode());
        record.header.kind == kind::FILE_ATTRIBUTE
            && record.argument >> 32 & ATTR_MODE != 0
            && new & 0o111 != 0
            // A backend that looks after the change sees the same mode twice.
            && (old & 0o111 == 0 || old & 0o7777 == new & 0o7777)
    }
}

/// Whether a unit is an engine's or node agent's own: what is added to it changes every container (docker.service),
/// what enables it brings containers back (podman-restart.service, podman-kube@.service, podman-auto-update.timer).
fn is_of_engine(unit: &[u8]) -> bool {
    const UNITS: [&[u8]; 14] = [
        b"docker",
        b"containerd",
        b"podman",
        b"podman-restart",
        b"podman-auto-update",
        b"podman-kube",
        b"crio",
        b"kubelet",
        b"k3s",
        b"k3s-agent",
        b"rke2-server",
        b"rke2-agent",
        b"lxc",
        b"buildkit",
    ];
    let stem = unit.iter().position(|byte| b"@.".contains(byte)).map_or(unit, |end| &unit[..end]);
    UNITS.contains(&stem)
}
