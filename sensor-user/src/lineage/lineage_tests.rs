use sensor_common::record::{ContainerRecord, FileIdentity};

use super::table::TICK_NS;
use super::*;
use crate::event::decode::{Event, decode};
use crate::event::encode::{ExecParts, encode_exec, encode_exit, encode_fork};

fn task(tgid: u32, parent: u32) -> TaskContext {
    let start = |tgid: u32| u64::from(tgid) * TICK_NS + u64::from(tgid);
    TaskContext {
        tgid,
        tid: tgid,
        start_boottime_ns: start(tgid),
        parent_tgid: parent,
        parent_start_boottime_ns: start(parent),
        loginuid: 1000,
        session_id: 3,
        mnt_ns: 10,
        pid_ns: 11,
        cgroup_id: 77,
        ..TaskContext::default()
    }
}

fn exec(lineage: &mut Lineage, now: u64, task: TaskContext, exe: &[u8], args: &[&[u8]]) -> Handle {
    let parts = ExecParts {
        task,
        exe: FileIdentity { inode: 5, device: 6, ..FileIdentity::default() },
        filename: exe,
        exe_path: exe,
        cwd: b"/root",
        args,
        flags: 0,
    };
    let bytes = encode_exec(now, &parts);
    let Event::Exec(event) = decode(&bytes).expect("decodes") else { panic!("no exec") };
    lineage.exec(&event).expect("a process")
}

fn fork(lineage: &mut Lineage, parent: TaskContext, child: &TaskContext) {
    let bytes = encode_fork(1, parent, child.tgid, child.start_boottime_ns);
    let Event::Fork(event) = decode(&bytes).expect("decodes") else { panic!("no fork") };
    lineage.fork(&event);
}

fn exit(lineage: &mut Lineage, now: u64, task: &TaskContext) {
    let bytes = encode_exit(now, task.tgid, task.start_boottime_ns, 0);
    let Event::Exit(event) = decode(&bytes).expect("decodes") else { panic!("no exit") };
    lineage.exit(&event);
}

fn snapshot(tgid: u32, parent: u32, exe: &str) -> ProcessSnapshot {
    ProcessSnapshot {
        tgid,
        start_boottime_ns: u64::from(tgid) * TICK_NS,
        parent_tgid: parent,
        parent_start_boottime_ns: Some(u64::from(parent) * TICK_NS),
        exe: exe.into(),
        args: vec![exe.into(), "arg".into()],
        comm: "a-name-longer-than-fifteen".into(),
        mnt_ns: 10,
        ..ProcessSnapshot::default()
    }
}

#[test]
fn ancestry_is_that_of_the_fork() {
    let mut lineage = Lineage::new(Limits::default());
    lineage.set_users(BTreeMap::from([(0, "root".into()), (1000, "alice".into())]));
    lineage.set_cgroup(77, b"/user.slice/user-1000.slice/session-3.scope");
    lineage.snapshot(&snapshot(2, 1, "/bin/bash"));
    lineage.snapshot(&snapshot(1, 0, "/usr/lib/systemd/systemd"));
    fork(&mut lineage, task(2, 1), &task(3, 2));
    fork(&mut lineage, task(3, 2), &task(4, 3));
    exit(&mut lineage, 9, &task(3, 2));
    // The kernel has handed it to PID 1 by now.
    let orphan = TaskContext { parent_tgid: 1, ..task(4, 1) };
    let handle = exec(&mut lineage, 10, orphan, b"/usr/bin/tee", &[b"tee", b"", b"x"]);
    let actor = lineage.actor(handle, &orphan);
    assert_eq!(actor.process.executable, "/usr/bin/tee");
    assert_eq!(actor.process.args, ["tee", "", "x"]);
    assert_eq!(actor.process.working_directory, "/root");
    let pids: Vec<u32> = actor.ancestors.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [3, 2, 1]);
    assert_eq!(actor.ancestors[0].executable, "/bin/bash", "a fork runs what its parent runs");
    assert_eq!(actor.ancestors[2].name, "a-name-longer-t");
    assert!(!actor.ancestors_truncated);
    assert_eq!(actor.login_user, Some(User { id: 1000, name: Some("alice".into()) }));
    assert_eq!(actor.process.user.name.as_deref(), Some("root"));
    assert_eq!(actor.unit.as_deref(), Some("session-3.scope"));
    assert_eq!(actor.session, Some(3));
}

use super::actor::User;

#[test]
fn an_unknown_process_is_incomplete_with_its_parent() {
    let mut lineage = Lineage::new(Limits::default());
    let handle = lineage.observe(&task(50, 40)).expect("a process");
    let actor = lineage.actor(handle, &task(50, 40));
    assert!(actor.process.incomplete);
    assert_eq!(actor.ancestors.len(), 1);
    assert_eq!((actor.ancestors[0].pid, actor.ancestors[0].incomplete), (40, true));
    assert!(lineage.observe(&TaskContext::default()).is_none(), "the idle task");

    // What is learned later completes it.
    exec(&mut lineage, 3, task(50, 40), b"/bin/sh", &[b"sh"]);
    lineage.snapshot(&snapshot(40, 1, "/sbin/agetty"));
    let actor = lineage.actor(handle, &task(50, 40));
    assert!(!actor.process.incomplete);
    assert_eq!(actor.ancestors[0].executable, "/sbin/agetty");
    assert_eq!(actor.ancestors[1].pid, 1);
}

#[test]
fn a_late_snapshot_does_not_undo_an_exec() {
    let mut lineage = Lineage::new(Limits::default());
    let handle = exec(&mut lineage, 3, task(50, 40), b"/bin/new", &[b"new"]);
    lineage.snapshot(&snapshot(50, 40, "/bin/old"));
    assert_eq!(lineage.process(handle).executable, "/bin/new");
    assert_eq!(lineage.process(handle).start_boottime_ns, task(50, 40).start_boottime_ns);
}

#[test]
fn kernel_threads_and_memfds_are_told() {
    let mut lineage = Lineage::new(Limits::default());
    let thread = lineage.observe(&TaskContext { task_flags: PF_KTHREAD, ..task(9, 2) }).expect("a task");
    assert!(!lineage.process(thread).incomplete);
    assert!(lineage.process(thread).executable.is_empty());

    let gone = ProcessSnapshot { exe_deleted: true, ..snapshot(20, 1, "/opt/x") };
    lineage.snapshot(&gone);
    let memfd = ProcessSnapshot { exe_deleted: true, ..snapshot(21, 1, "/memfd:x") };
    lineage.snapshot(&memfd);
    let of = |tgid| lineage.process(lineage.table().find(tgid, u64::from(tgid) * TICK_NS).expect("held"));
    assert_eq!((of(20).deleted, of(20).memfd), (true, false));
    assert_eq!((of(21).deleted, of(21).memfd), (false, true));
}

#[test]
fn foreign_namespaces_need_a_known_own_one() {
    let mut lineage = Lineage::new(Limits::default());
    assert!(!lineage.is_foreign(99));
    lineage.snapshot(&snapshot(1, 0, "/sbin/init"));
    assert!(lineage.is_foreign(99) && !lineage.is_foreign(10) && !lineage.is_foreign(0));
}

#[test]
fn deep_ancestry_is_cut_and_says_so() {
    let mut lineage = Lineage::new(Limits::default());
    for tgid in 2..100 {
        fork(&mut lineage, task(tgid, tgid - 1), &task(tgid + 1, tgid));
    }
    let handle = lineage.observe(&task(100, 99)).expect("a process");
    let actor = lineage.actor(handle, &task(100, 99));
    assert_eq!(actor.ancestors.len(), 64);
    assert!(actor.ancestors_truncated);
}

#[test]
fn bytes_stay_bounded_whatever_is_executed() {
    let limits = Limits { processes: 500, ended: 50, image_bytes: 64 << 10, ..Limits::default() };
    let mut lineage = Lineage::new(limits);
    let long = vec![b'x'; 3000];
    for tgid in 2..3000u32 {
        fork(&mut lineage, task(1, 0), &task(tgid, 1));
        let number = tgid.to_string().into_bytes();
        exec(&mut lineage, 5, task(tgid, 1), b"/bin/a", &[&number, &long]);
        if tgid % 2 == 0 {
            exit(&mut lineage, 6, &task(tgid, 1));
        }
        assert!(lineage.images().bytes() <= 64 << 10);
        assert!(lineage.table().len() <= 550);
    }
    assert!(lineage.images().cut() > 0);
}

#[test]
fn a_namespace_record_changes_only_what_is_known() {
    let mut lineage = Lineage::new(Limits::default());
    let record = ContainerRecord { task: task(5, 4), ..ContainerRecord::default() };
    lineage.update_known(&record.task);
    assert!(lineage.table().is_empty());
}
