//! What package managers do: proved quiet, and loud where it only looks so.

use super::*;
use crate::detect::rule::Severity;
use crate::incident::proving::Outcome;
use crate::proof::package::{Manager, Package, Verdict};

const DPKG: &str = "/usr/bin/dpkg";
const DPKG_INODE: u64 = 300;
const UNIT: &str = "/usr/lib/systemd/system/atd.service";

fn package(name: &str) -> Package {
    Package {
        manager: Manager::Dpkg,
        name: name.into(),
        version: "3.2.5-1".into(),
        architecture: "amd64".into(),
    }
}

fn proved(name: &str) -> Verdict {
    Verdict::Proved { package: package(name) }
}

impl Machine {
    pub(super) fn proof_of(&self, path: &[u8]) -> Proof {
        self.proofs.get(path).cloned().unwrap_or(Proof {
            path: path.into(),
            verdict: Verdict::Unowned,
            former: None,
            object: Some(Object {
                device: 8,
                inode: 4711,
                mode: 0o100_644,
                changed_ns: 1,
                sha256: Some("ab".repeat(32)),
            }),
            end: None,
        })
    }

    fn says(&mut self, path: &str, verdict: Verdict) -> &mut Proof {
        let proof = Proof { verdict, ..self.proof_of(path.as_bytes()) };
        self.proofs.insert(path.into(), proof);
        self.proofs.get_mut(path.as_bytes()).expect("it was put there")
    }

    /// dpkg, by its own file, started by the shell; its pid is 900.
    fn dpkg(&mut self) -> TaskContext {
        self.says(DPKG, proved("dpkg")).object =
            Some(Object { device: 8, inode: DPKG_INODE, mode: 0o100_755, changed_ns: 5, sha256: None });
        let task = self.fork(shell(), 900);
        self.exec(task, DPKG, DPKG_INODE, &["dpkg", "--install", "at.deb"]);
        task
    }

    /// As dpkg puts a unit in place.
    fn unpack(&mut self, task: TaskContext, name: &str) {
        self.rename(task, (VENDOR, &format!("{name}.dpkg-new")), (VENDOR, name));
    }

    /// A maintainer script of `at`, run by `parent`.
    fn postinst(&mut self, parent: TaskContext, pid: u32) -> TaskContext {
        let script = "/var/lib/dpkg/info/at.postinst";
        self.says(script, Verdict::Claimed { package: package("at") });
        let task = self.fork(parent, pid);
        self.exec_flagged(task, "/usr/bin/dash", script, 20, &["/bin/sh", script, "configure"], 0);
        task
    }

    fn wait(&mut self, ns: u64) {
        let end = self.now + ns;
        while self.pipeline.next_deadline().is_some_and(|due| due <= end) {
            let due = self.pipeline.next_deadline().expect("it is some");
            self.tick(due.saturating_sub(self.now));
        }
        self.now = end;
    }
}

fn outcome(alert: &Alert) -> Outcome {
    alert.proof.as_ref().expect("it was looked at").outcome
}

#[test]
fn what_dpkg_unpacks_is_information_once_the_database_has_it() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    machine.unpack(dpkg, "atd.service");
    machine.wait(SECOND);
    assert!(machine.alerts().is_empty(), "the database does not have it yet");
    machine.says(UNIT, proved("at"));
    machine.wait(10 * SECOND);
    let alert = machine.one();
    assert_eq!((alert.rule.id, alert.severity), ("systemd.unit.written", Severity::Info));
    let proof = alert.proof.as_ref().expect("it was looked at");
    assert_eq!(proof.outcome, Outcome::Proved);
    assert_eq!(proof.package, Some(package("at")));
    assert_eq!((proof.pid, proof.command.as_str()), (900, "dpkg --install at.deb"));
    assert!(reasons(&alert).contains("it is as package at 3.2.5-1 (amd64) has it"), "{}", reasons(&alert));
    assert_eq!(machine.pipeline.stats().proofs[Outcome::Proved as usize], 1);
}

#[test]
fn what_the_database_never_has_is_told_at_the_transactions_end() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    machine.unpack(dpkg, "evil.service");
    machine.wait(30 * SECOND);
    assert!(machine.alerts().is_empty());
    machine.exit(dpkg);
    machine.wait(SECOND);
    let alert = machine.one();
    assert_eq!((outcome(&alert), alert.severity), (Outcome::Unproved, Severity::Critical));
    assert!(
        reasons(&alert).contains("+10 dpkg 3.2.5-1 had it made, and it is of no package"),
        "{}",
        reasons(&alert)
    );
}

#[test]
fn a_deadline_passes_without_an_answer() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    machine.answers = false;
    machine.rename(dpkg, (VENDOR, "x.service.dpkg-new"), (VENDOR, "x.service"));
    machine.wait(119 * SECOND);
    assert!(machine.alerts().is_empty());
    machine.wait(2 * SECOND);
    let alert = machine.one();
    assert_eq!((outcome(&alert), alert.severity), (Outcome::Overdue, Severity::High));
}

#[test]
fn a_copied_dpkg_proves_nothing_and_is_told_at_once() {
    let mut machine = Machine::new();
    machine.says(UNIT, proved("at"));
    let copy = machine.fork(shell(), 901);
    machine.exec(copy, "/tmp/dpkg", 4711, &["dpkg", "--install", "at.deb"]);
    machine.unpack(copy, "atd.service");
    machine.wait(300 * MS);
    let alert = machine.one();
    assert_eq!((outcome(&alert), alert.severity), (Outcome::Imitated, Severity::Critical));
    assert!(reasons(&alert).contains("/tmp/dpkg is of no package"), "{}", reasons(&alert));
}

#[test]
fn another_file_under_dpkgs_name_is_no_dpkg() {
    let mut machine = Machine::new();
    machine.dpkg();
    machine.says(UNIT, proved("at"));
    // A bind mount over /usr/bin/dpkg: the path is right, the file is not.
    let other = machine.fork(shell(), 901);
    machine.exec(other, DPKG, 666, &["dpkg", "--install", "at.deb"]);
    machine.unpack(other, "atd.service");
    machine.wait(300 * MS);
    assert_eq!(outcome(&machine.one()), Outcome::Imitated);
}

#[test]
fn a_program_that_had_ended_is_proved_only_by_what_was_known_before() {
    for known in [true, false] {
        let mut machine = Machine::new();
        machine.says(UNIT, proved("at"));
        if known {
            let earlier = machine.dpkg();
            machine.exit(earlier);
        } else {
            machine.says(DPKG, proved("dpkg")).object =
                Some(Object { device: 8, inode: DPKG_INODE, mode: 0o100_755, changed_ns: 5, sha256: None });
        }
        machine.answers = false;
        let dpkg = machine.fork(shell(), 902);
        machine.exec(dpkg, DPKG, DPKG_INODE, &["dpkg", "--install", "at.deb"]);
        machine.unpack(dpkg, "atd.service");
        machine.exit(dpkg);
        machine.answers = true;
        machine.tick(MS);
        machine.wait(SECOND);
        let expected = if known { Outcome::Proved } else { Outcome::Imitated };
        assert_eq!(outcome(&machine.one()), expected, "known {known}");
    }
}

#[test]
fn what_a_maintainer_script_plants_names_package_and_script_at_once() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    let script = machine.postinst(dpkg, 910);
    machine.write(script, SYSTEM, "evil.service");
    machine.wait(300 * MS);
    let alert = machine.one();
    assert_eq!((outcome(&alert), alert.rule.id), (Outcome::Unproved, "systemd.unit.written"));
    let proof = alert.proof.as_ref().expect("it was looked at");
    assert_eq!(proof.script.as_deref(), Some("/var/lib/dpkg/info/at.postinst"));
    assert_eq!(proof.script_package, Some(package("at")));
    let why = "maintainer script /var/lib/dpkg/info/at.postinst of at 3.2.5-1 made it, run by dpkg 3.2.5-1, and it is of no package";
    assert!(reasons(&alert).contains(why), "{}", reasons(&alert));
}

#[test]
fn a_link_is_proved_by_what_it_leads_to() {
    let link = "/etc/systemd/system/multi-user.target.wants/atd.service";
    for (end, expected) in [(proved("at"), Outcome::Proved), (Verdict::Unowned, Outcome::Unproved)] {
        let mut machine = Machine::new();
        let dpkg = machine.dpkg();
        let script = machine.postinst(dpkg, 910);
        machine.says(link, Verdict::Unowned).end =
            Some(End { path: UNIT.into(), verdict: end, mode: 0o100_644 });
        machine.symlink(script, SYSTEM, "multi-user.target.wants/atd.service", UNIT);
        machine.wait(SECOND);
        assert_eq!(outcome(&machine.one()), expected);
    }
}

#[test]
fn what_dpkg_removes_was_the_packages() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    let proof = machine.says(UNIT, Verdict::Unowned);
    (proof.former, proof.object) = (Some(package("at")), None);
    machine.file(kind::FILE_UNLINK, dpkg, VENDOR, "atd.service");
    machine.wait(SECOND);
    let alert = machine.one();
    assert_eq!((outcome(&alert), alert.severity), (Outcome::Proved, Severity::Info));
    assert!(reasons(&alert).contains("it was package at 3.2.5-1 (amd64)'s"), "{}", reasons(&alert));
}

#[test]
fn no_package_excuses_a_unit_that_runs_from_tmp() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    machine.says(UNIT, proved("at"));
    machine.files.insert(UNIT.into(), text_file("[Service]\nExecStart=/tmp/.x/agent\n"));
    machine.unpack(dpkg, "atd.service");
    machine.wait(SECOND);
    let alert = machine.one();
    assert_eq!((outcome(&alert), alert.severity), (Outcome::Doubted, Severity::Critical));
}

#[test]
fn a_packages_unit_that_runs_what_no_package_has_is_raised() {
    for (verdict, expected) in [
        (Verdict::Unowned, Outcome::Doubted),
        (Verdict::Modified { package: package("at"), config: false }, Outcome::Doubted),
        (proved("other"), Outcome::Proved),
    ] {
        let mut machine = Machine::new();
        let dpkg = machine.dpkg();
        machine.says(UNIT, proved("at"));
        machine.says("/usr/sbin/atd", verdict);
        machine.files.insert(UNIT.into(), text_file("[Service]\nExecStart=/usr/sbin/atd -f\n"));
        machine.unpack(dpkg, "atd.service");
        machine.wait(SECOND);
        // A program may be of a package whose turn is still to come.
        assert_eq!(machine.out.is_empty(), expected == Outcome::Doubted);
        machine.exit(dpkg);
        machine.wait(SECOND);
        assert_eq!(outcome(&machine.one()), expected);
    }
}

#[test]
fn configuration_that_is_not_written_down_yet_waits_for_the_end() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    let script = machine.postinst(dpkg, 910);
    let link = "/etc/rc2.d/S01atd";
    let config = Verdict::Modified { package: package("at"), config: true };
    machine.says(link, Verdict::Unowned).end =
        Some(End { path: "/etc/init.d/atd".into(), verdict: config, mode: 0o100_644 });
    machine.symlink(script, RC_D, "S01atd", "../init.d/atd");
    machine.wait(SECOND);
    assert!(machine.alerts().is_empty());
    machine.says(link, Verdict::Unowned).end =
        Some(End { path: "/etc/init.d/atd".into(), verdict: proved("at"), mode: 0o100_644 });
    machine.exit(dpkg);
    machine.wait(SECOND);
    assert_eq!(outcome(&machine.one()), Outcome::Proved);
}

#[test]
fn nobody_else_waits() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    machine.unpack(dpkg, "atd.service");
    machine.write(shell(), SYSTEM, "evil.service");
    let alert = machine.one();
    assert_eq!((alert.actor.process.pid, alert.proof.is_none()), (SHELL, true));
}

#[test]
fn questions_about_many_files_are_put_together() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    for number in 0..150 {
        machine.unpack(dpkg, &format!("u{number}.service"));
    }
    machine.asked.clear();
    machine.wait(60 * MS);
    machine.wait(SECOND);
    let most = machine.asked.iter().map(Vec::len).max();
    assert!(most <= Some(crate::event::proof::PATHS_MAX) && most > Some(40), "{most:?}");
    machine.exit(dpkg);
    machine.wait(10 * SECOND);
    assert_eq!(machine.alerts().len(), 150);
    assert_eq!(machine.pipeline.next_deadline(), None);
}

#[test]
fn a_flood_is_bounded_and_nothing_of_it_is_dropped() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    for number in 0..6000 {
        machine.unpack(dpkg, &format!("u{number}.service"));
    }
    let early = machine.alerts().len();
    assert!(early > 0, "what finds no room is told at once");
    machine.pipeline.drain(&mut machine.out);
    assert_eq!(early + machine.alerts().len(), 6000);
}

const DATABASE: u32 = 97;

/// A machine on which dpkg's database is watched.
fn with_database() -> Machine {
    let mut machine = Machine::new();
    let class = Some(WatchClass::PackageDatabase);
    machine.user(kind::WATCH, &Watch { watch: DATABASE, path: "/var/lib/dpkg".into(), class, owner: None });
    machine
}

#[test]
fn dpkg_writes_its_own_database_unsaid() {
    let mut machine = with_database();
    let dpkg = machine.dpkg();
    machine.rename(dpkg, (DATABASE, "tmp.ci/md5sums"), (DATABASE, "info/at.md5sums"));
    machine.rename(dpkg, (DATABASE, "status-new"), (DATABASE, "status"));
    machine.file(kind::FILE_UNLINK, dpkg, DATABASE, "info/at.list");
    machine.wait(20 * SECOND);
    assert!(machine.rules().is_empty());
    let quiet = machine.pipeline.stats().quiet;
    assert_eq!(quiet[crate::detect::quiet::Quiet::PackageDatabase as usize], 3);
}

#[test]
fn dpkg_is_not_told_before_it_could_be_compared() {
    let mut machine = with_database();
    machine.answers = false;
    let dpkg = machine.dpkg();
    machine.rename(dpkg, (DATABASE, "tmp.ci/md5sums"), (DATABASE, "info/at.md5sums"));
    machine.answers = true;
    machine.tick(MS);
    machine.wait(20 * SECOND);
    assert!(machine.rules().is_empty());
    machine.says(UNIT, proved("at"));
    machine.unpack(dpkg, "atd.service");
    machine.wait(SECOND);
    assert_eq!(outcome(&machine.one()), Outcome::Proved, "and its database is trusted");
}

#[test]
fn an_edited_database_proves_nothing_any_more() {
    let mut machine = with_database();
    machine.write(shell(), DATABASE, "info/at.md5sums");
    machine.wait(300 * MS);
    let edited = machine.one();
    assert_eq!((edited.rule.id, edited.severity), ("package.database.edited", Severity::High));
    let dpkg = machine.dpkg();
    machine.says(UNIT, proved("at"));
    machine.unpack(dpkg, "atd.service");
    machine.wait(SECOND);
    let alert = machine.one();
    assert_eq!(outcome(&alert), Outcome::Unproved);
    assert!(
        reasons(&alert).contains("the package database proves nothing any more: bash (pid 812) edited it"),
        "{}",
        reasons(&alert)
    );
}

#[test]
fn what_a_maintainer_script_or_a_copy_of_dpkg_edits_is_told_as_well() {
    for copied in [true, false] {
        let mut machine = with_database();
        let task = if copied {
            let task = machine.fork(shell(), 901);
            machine.exec(task, "/tmp/dpkg", 4711, &["dpkg", "--install", "x.deb"]);
            task
        } else {
            let dpkg = machine.dpkg();
            machine.postinst(dpkg, 910)
        };
        machine.rename(task, (DATABASE, "status-new"), (DATABASE, "status"));
        machine.wait(300 * MS);
        assert_eq!(machine.rules(), ["package.database.edited"]);
    }
}

#[test]
fn a_package_that_is_removed_masks_its_own_unit_and_no_other() {
    let vendor = "/usr/lib/systemd/system/atd.service";
    for (owner, expected) in
        [(None, Outcome::Proved), (Some("at"), Outcome::Proved), (Some("cron"), Outcome::Unproved)]
    {
        let mut machine = Machine::new();
        let dpkg = machine.dpkg();
        let script = machine.postinst(dpkg, 910);
        machine.says("/etc/systemd/system/atd.service", Verdict::Unowned).end =
            Some(End { path: "/dev/null".into(), verdict: Verdict::Unowned, mode: 0o020_666 });
        match owner {
            Some(owner) => machine.says(vendor, proved(owner)),
            None => machine.says(vendor, Verdict::Unowned),
        }
        .object = None;
        machine.symlink(script, SYSTEM, "atd.service", "/dev/null");
        machine.wait(SECOND);
        let alert = machine.one();
        assert_eq!((alert.rule.id, outcome(&alert)), ("systemd.unit.masked", expected), "{owner:?}");
    }
}

#[test]
fn what_links_lead_to_is_not_proved_by_an_edited_database_either() {
    let mut machine = with_database();
    machine.write(shell(), DATABASE, "info/at.md5sums");
    machine.wait(300 * MS);
    machine.alerts();
    let dpkg = machine.dpkg();
    let script = machine.postinst(dpkg, 910);
    machine.says("/etc/rc2.d/S01atd", Verdict::Unowned).end =
        Some(End { path: "/etc/init.d/atd".into(), verdict: proved("at"), mode: 0o100_755 });
    machine.symlink(script, RC_D, "S01atd", "../init.d/atd");
    machine.wait(SECOND);
    assert_eq!(outcome(&machine.one()), Outcome::Unproved);
}

#[test]
fn a_mask_that_a_package_brings_is_its_own() {
    for (direct, expected) in [(true, Outcome::Proved), (false, Outcome::Unproved)] {
        let mut machine = Machine::new();
        let dpkg = machine.dpkg();
        let task = if direct { dpkg } else { machine.postinst(dpkg, 910) };
        machine
            .says("/usr/lib/systemd/system/sudo.service", Verdict::Claimed { package: package("sudo") })
            .end = Some(End { path: "/dev/null".into(), verdict: Verdict::Unowned, mode: 0o020_666 });
        machine.symlink(task, VENDOR, "sudo.service", "/dev/null");
        machine.wait(SECOND);
        machine.exit(dpkg);
        machine.wait(SECOND);
        assert_eq!(outcome(&machine.one()), expected);
    }
}

#[test]
fn nothing_is_proved_before_its_content_was_looked_at() {
    let mut machine = Machine::new();
    let dpkg = machine.dpkg();
    machine.says(UNIT, proved("at"));
    machine.answers = false;
    machine.unpack(dpkg, "atd.service");
    let wants: Vec<Want> = machine.pipeline.wants().collect();
    machine.tick(300 * MS);
    machine.answers = true;
    machine.wait(20 * SECOND);
    assert!(machine.alerts().is_empty(), "the reader has not come to it");
    machine.says("/opt/agent", Verdict::Unowned);
    machine.files.insert(UNIT.into(), text_file("[Service]\nExecStart=/opt/agent\n"));
    for want in wants {
        machine.answer(want);
    }
    machine.exit(dpkg);
    machine.wait(SECOND);
    let alert = machine.one();
    assert_eq!(outcome(&alert), Outcome::Doubted, "{}", reasons(&alert));
}
