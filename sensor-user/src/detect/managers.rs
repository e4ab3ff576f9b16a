//! Package managers at work: which processes they are, by the identity of their files, and what was done for them.
//!
//! A name makes a process a candidate and no more. The package database must say that the file which runs is its
//! package manager's own, and that must have been compared while it ran: the kernel lets nobody write to a file that is
//! executed (execve(2), `ETXTBSY`), so what was compared is what ran. Of a process that had ended by then, the same file
//! with the same change time must have been compared before it began.

use std::collections::BTreeMap;

use super::detector::Detector;
use super::finding::Who;
use super::memory::Recent;
use crate::event::content::Want;
use crate::event::path::lossy;
use crate::event::proof::{Object, Proof, Proofs};
use crate::lineage::Lineage;
use crate::lineage::actor::Requester;
use crate::lineage::image::{Image, base_name};
use crate::lineage::table::{ENDED, Handle};
use crate::proof::package::{Manager, Package, Verdict, database_of};

/// Processes of package managers that are remembered.
const PROCESSES_MAX: usize = 2048;
/// Files that were compared.
const FILES_MAX: usize = 64;
/// Characters of a command line that are told.
const COMMAND_MAX: usize = 256;

/// A program that puts packages on a machine, or keeps their books.
struct Program {
    /// Its path: where its package has it, /usr merged.
    path: &'static str,
    /// Its package's possible names.
    packages: &'static [&'static str],
}

/// Those that write themselves what they install. apt, aptitude and `PackageKit` have dpkg do it.
const PROGRAMS: &[Program] = &[
    Program { path: "/usr/bin/dpkg", packages: &["dpkg"] },
    Program { path: "/usr/bin/dpkg-divert", packages: &["dpkg"] },
    Program { path: "/usr/bin/dpkg-statoverride", packages: &["dpkg"] },
    Program { path: "/usr/bin/dpkg-trigger", packages: &["dpkg"] },
    Program { path: "/usr/bin/update-alternatives", packages: &["dpkg", "alternatives", "chkconfig"] },
    Program { path: "/usr/sbin/update-alternatives", packages: &["alternatives", "chkconfig"] },
    Program { path: "/usr/bin/rpm", packages: &["rpm"] },
    Program { path: "/usr/bin/dnf5", packages: &["dnf5"] },
    Program { path: "/usr/bin/microdnf", packages: &["microdnf"] },
    Program { path: "/usr/bin/zypper", packages: &["zypper"] },
    Program { path: "/usr/libexec/packagekitd", packages: &["PackageKit"] },
    Program { path: "/sbin/apk", packages: &["apk-tools"] },
    Program { path: "/usr/sbin/apk", packages: &["apk-tools"] },
    Program { path: "/usr/bin/pacman", packages: &["pacman"] },
];

/// The program that a name may be.
fn named(path: &[u8]) -> Option<&'static Program> {
    let name = base_name(path);
    PROGRAMS.iter().find(|program| base_name(program.path.as_bytes()) == name)
}

/// The paths of package managers, to be compared at start.
pub fn paths() -> impl Iterator<Item = Vec<u8>> {
    PROGRAMS.iter().map(|program| program.path.as_bytes().to_vec())
}

/// What a finding was done for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The nearest process that may be a package manager: id and start.
    pub process: (u32, u64),
    /// The uppermost one, whose end is that of the transaction.
    pub top: (u32, u64),
    /// It acted itself; else something that it started, such as a maintainer script.
    pub direct: bool,
    /// The uppermost one's command line, or its beginning.
    pub command: String,
    /// The maintainer script that acted.
    pub script: Option<Vec<u8>>,
}

/// Whether a process is the package manager that it seems to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody has compared it yet.
    Unknown,
    /// By its file.
    Proved(Package),
    /// No; and why.
    Refused(String),
}

/// How a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Of [`Transaction::process`].
    pub identity: Identity,
    /// Nothing more is to come of it.
    pub ended: bool,
}

/// What runs in a process.
#[derive(Clone, Debug)]
struct Running {
    path: Vec<u8>,
    device: u32,
    inode: u64,
    /// Its path is the host's.
    native: bool,
    since: u64,
    identity: Identity,
}

/// A file that was compared, and found to be a package manager's own.
#[derive(Clone, Copy, Debug)]
struct Vouched {
    changed_ns: i64,
    at: u64,
}

/// The package managers.
#[derive(Debug)]
pub(super) struct Managers {
    /// Databases that something else has edited, and who.
    distrusted: BTreeMap<Manager, String>,
    processes: Recent<(u32, u64), Running>,
    files: Recent<(u32, u64), Vouched>,
}

impl Default for Managers {
    fn default() -> Self {
        Self {
            distrusted: BTreeMap::new(),
            processes: Recent::new(PROCESSES_MAX),
            files: Recent::new(FILES_MAX),
        }
    }
}

fn identity_of(lineage: &Lineage, handle: Handle) -> Option<(u32, u64)> {
    lineage.entry(handle).map(|entry| (entry.tgid, entry.start_ns))
}

impl Detector {
    /// A process runs something else from `now` on, or was found to run it (0): if that may be a package manager, it is
    /// compared at once.
    pub fn manager_executed(&mut self, now: u64, handle: Handle, lineage: &Lineage) {
        let Some(key) = identity_of(lineage, handle) else { return };
        self.managers.processes.remove(&key);
        let Some(image) = lineage.image(handle) else { return };
        if named(image.exe).is_none() || image.inode == 0 {
            return;
        }
        let running = Running {
            path: image.exe.to_vec(),
            device: image.device,
            inode: image.inode,
            native: lineage.entry(handle).is_some_and(|entry| !lineage.is_foreign(entry.mnt_ns)),
            since: now,
            identity: Identity::Unknown,
        };
        self.managers.processes.insert(key, running);
        self.want(Want::Proof { id: 0, paths: vec![image.exe.to_vec()] });
    }

    /// What was compared, told at `now`.
    pub fn proved(&mut self, now: u64, proofs: &Proofs, lineage: &Lineage) {
        for proof in &proofs.proofs {
            let Some(program) = named(&proof.path) else { continue };
            let before = proof
                .object
                .as_ref()
                .and_then(|object| self.managers.files.get(&(object.device, object.inode)).copied());
            let waiting: Vec<(u32, u64)> = self
                .managers
                .processes
                .keys_where(|running| running.path == proof.path && running.identity == Identity::Unknown);
            for key in waiting {
                let ended = lineage
                    .find(key)
                    .and_then(|at| lineage.entry(at))
                    .is_none_or(|entry| entry.has(ENDED) && entry.end_ns < now);
                if let Some(running) = self.managers.processes.get_mut(&key) {
                    running.identity = running.compare(proof, program, before, ended);
                }
            }
            self.managers.vouch(now, proof, program);
        }
    }

    /// Whose transaction an action is part of, as far as names tell.
    pub fn transaction(
        &self,
        who: Option<&Who>,
        requester: Option<&Requester>,
        lineage: &Lineage,
    ) -> Option<Transaction> {
        let own = who.and_then(|who| self.transaction_of(who.handle, lineage));
        own.or_else(|| {
            // Only a request that was read says for whom a service manager acts.
            let client = requester.filter(|client| client.confidence == "request")?.processes.first()?;
            let handle = lineage.find((client.pid, client.start_boottime_ns))?;
            Some(Transaction { direct: false, ..self.transaction_of(handle, lineage)? })
        })
    }

    fn transaction_of(&self, actor: Handle, lineage: &Lineage) -> Option<Transaction> {
        let mut found: Option<Transaction> = None;
        let mut script = None;
        for at in lineage.line(actor) {
            let Some(image) = lineage.image(at) else { continue };
            if script.is_none() && found.is_none() {
                script = script_of(&image);
            }
            if named(image.exe).is_none() {
                continue;
            }
            // A fork that has not executed anything yet is its parent's.
            let Some(key) = identity_of(lineage, at).filter(|key| self.managers.processes.get(key).is_some())
            else {
                continue;
            };
            let direct = lineage.image(actor).is_some_and(|own| own == image);
            let first = found.get_or_insert_with(|| Transaction {
                process: key,
                direct,
                script: script.take(),
                ..Transaction::default()
            });
            first.top = key;
            first.command = command(&image);
        }
        found
    }

    /// How a transaction stands now.
    pub fn standing(&self, transaction: &Transaction, lineage: &Lineage) -> Standing {
        let identity = |key| {
            let running = self.managers.processes.get(key);
            running.map_or_else(
                || Identity::Refused("too many package managers have run since".to_owned()),
                |running| running.identity.clone(),
            )
        };
        let has_ended = |key: &(u32, u64)| {
            lineage.find(*key).and_then(|at| lineage.entry(at)).is_none_or(|entry| entry.has(ENDED))
        };
        let top_counts = !matches!(identity(&transaction.top), Identity::Refused(_));
        Standing {
            identity: identity(&transaction.process),
            ended: has_ended(&transaction.process) && (!top_counts || has_ended(&transaction.top)),
        }
    }

    /// Package databases that prove nothing, and why.
    pub fn distrusted(&self) -> &BTreeMap<Manager, String> {
        &self.managers.distrusted
    }

    /// From now on a package database proves nothing.
    pub fn distrust(&mut self, path: &str, why: String) {
        if let Some(manager) = database_of(path.as_bytes()) {
            self.managers.distrusted.entry(manager).or_insert(why);
        }
    }

    /// Whether the process is itself a package manager, by its file.
    pub(super) fn is_packagers(&self, who: Option<Who>, lineage: &Lineage) -> bool {
        let Some(who) =
            who.filter(|who| lineage.image(who.handle).is_some_and(|own| named(own.exe).is_some()))
        else {
            return false;
        };
        self.transaction_of(who.handle, lineage).is_some_and(|own| {
            own.direct && matches!(self.standing(&own, lineage).identity, Identity::Proved(_))
        })
    }
}

impl Managers {
    fn vouch(&mut self, now: u64, proof: &Proof, program: &Program) {
        if let (Some(object), Ok(_)) = (&proof.object, owner(proof, program)) {
            let key = (object.device, object.inode);
            let since = self.files.get(&key).filter(|known| known.changed_ns == object.changed_ns);
            let at = since.map_or(now, |known| known.at);
            self.files.insert(key, Vouched { changed_ns: object.changed_ns, at });
        }
    }
}

impl Running {
    /// What a comparison of the path that it was started from says of it.
    fn compare(&self, proof: &Proof, program: &Program, before: Option<Vouched>, ended: bool) -> Identity {
        let path = lossy(&self.path);
        let Some(object) = &proof.object else {
            return Identity::Refused(format!("{path}, which runs, is not there"));
        };
        if !self.is(object) {
            return Identity::Refused(format!("{path} is another file than the one that runs"));
        }
        let package = match owner(proof, program) {
            Ok(package) => package,
            Err(why) => return Identity::Refused(why),
        };
        let unchanged =
            before.is_some_and(|known| known.changed_ns == object.changed_ns && known.at <= self.since);
        if ended && !unchanged {
            return Identity::Refused(format!("{path} had ended before it could be compared"));
        }
        Identity::Proved(package)
    }

    /// stat(2) and the kernel's records do not give the same device on btrfs and overlay.
    fn is(&self, object: &Object) -> bool {
        self.inode == object.inode && (self.device == object.device || self.native)
    }
}

/// The package manager's own package, if the file is its.
fn owner(proof: &Proof, program: &Program) -> Result<Package, String> {
    let path = lossy(&proof.path);
    match &proof.verdict {
        Verdict::Proved { package } if program.packages.contains(&package.name.as_str()) => {
            Ok(package.clone())
        }
        Verdict::Proved { package } => Err(format!("{path} is of package {}", package.name)),
        Verdict::Modified { package, .. } => {
            Err(format!("{path} is not what package {} says it is", package.name))
        }
        Verdict::Claimed { package } => {
            Err(format!("the database does not say what {path} of package {} must be", package.name))
        }
        Verdict::Unowned => Err(format!("{path} is of no package")),
        Verdict::Unknown { reason } => Err(format!("nobody can say what {path} is: {reason}")),
    }
}

fn command(image: &Image<'_>) -> String {
    let words: Vec<_> = image.arguments().map(lossy).collect();
    let line = words.join(" ");
    line.chars().take(COMMAND_MAX).collect()
}

/// The maintainer script that a process runs: the file itself, or an argument of the interpreter or of debconf's
/// frontend (dpkg's `maintscript_exec`, debconf(7)).
fn script_of(image: &Image<'_>) -> Option<Vec<u8>> {
    const ENDS: [&[u8]; 5] = [b".preinst", b".postinst", b".prerm", b".postrm", b".config"];
    let is_script = |path: &&[u8]| {
        let installed = path.strip_prefix(b"/var/lib/dpkg/info/");
        let staged = path.strip_prefix(b"/var/lib/dpkg/tmp.ci/");
        let rpm = path.strip_prefix(b"/var/tmp/rpm-tmp.");
        installed.is_some_and(|name| !name.contains(&b'/') && ENDS.iter().any(|end| name.ends_with(end)))
            || staged.is_some_and(|name| ENDS.iter().any(|end| end[1..] == *name))
            || rpm.is_some_and(|name| !name.contains(&b'/'))
    };
    std::iter::once(image.filename).chain(image.arguments()).find(is_script).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintainer_scripts_are_known_by_their_place() {
        let of = |filename: &str, args: &[&str]| {
            let args: Vec<u8> = args.iter().flat_map(|arg| [arg.as_bytes(), b"\0"].concat()).collect();
            let image = Image { filename: filename.as_bytes(), args: &args, ..Image::default() };
            script_of(&image).map(|path| String::from_utf8(path).expect("text"))
        };
        let script = "/var/lib/dpkg/info/at.postinst";
        assert_eq!(of(script, &["/bin/sh", script, "configure"]).as_deref(), Some(script));
        let frontend = "/usr/share/debconf/frontend";
        assert_eq!(of(frontend, &["perl", frontend, script, "configure"]).as_deref(), Some(script));
        assert_eq!(of("/var/lib/dpkg/tmp.ci/preinst", &[]).as_deref(), Some("/var/lib/dpkg/tmp.ci/preinst"));
        assert_eq!(of("/bin/sh", &["sh", "/var/lib/dpkg/info/../x/at.postinst"]), None);
        assert_eq!(of("/tmp/at.postinst", &["sh"]), None);
    }
}
