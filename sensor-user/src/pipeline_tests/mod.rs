//! Records in, alerts out, told as a machine's life.

mod adjacent;
mod agents;
mod baseline;
mod books;
mod containers;
mod effects;
mod engine;
mod environment;
mod node;
mod programs;
mod proofs;
mod quiet;
mod references;
mod requests;
mod stream;
mod units;
mod user_effects;

use std::collections::BTreeMap;

use sensor_common::record::{FileIdentity, TaskContext, kind};
use sensor_common::watch::{NONE, SUBTREE};

use super::*;
use crate::event::content::{Expected, FileContent, Found, Regular, Surveyed};
use crate::event::encode::{
    ExecParts, FileRecordBuilder, encode_exec, encode_exit, encode_fork, encode_tick, encode_user,
};
use crate::event::proof::{End, Object, Proof, Proofs};
use crate::event::user::{CgroupSnapshot, Host, ProcessSnapshot, Users, Watch, WatchClass};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
const OFFSET_NS: i64 = 1_700_000_000_000_000_000;
const INIT_MNT: u32 = 4_026_531_841;

const SYSTEM: u32 = 1;
const USER: u32 = 2;
const GENERATORS: u32 = 3;
const OUTPUT: u32 = 4;
const TRANSIENT: u32 = 5;
const ETC_SYSTEMD: u32 = 6;
const INIT_D: u32 = 7;
const RC_D: u32 = 8;
const RUN_USER: u32 = 9;
const VENDOR: u32 = 10;
const PRIVATE: u32 = 11;
const BUS: u32 = 12;
const USER_PRIVATE: u32 = 13;

/// A machine with PID 1, a shell of alice's as root, and the usual watches.
struct Machine {
    pipeline: Pipeline,
    now: u64,
    out: Vec<Alert>,
    records: Vec<Vec<u8>>,
    /// What is where; a wanted file that is not in here is empty.
    files: BTreeMap<Vec<u8>, Found>,
    /// Whether wanted files are read.
    answers: bool,
    /// What package databases say; of other paths nothing.
    proofs: BTreeMap<Vec<u8>, Proof>,
    /// Questions to package databases that were put.
    asked: Vec<Vec<Vec<u8>>>,
}

fn task(tgid: u32, parent: u32) -> TaskContext {
    let start = |tgid: u32| u64::from(tgid) * 10 * MS;
    let mut comm = [0; 16];
    let name: &[u8] = match tgid {
        1 => b"systemd",
        812 => b"bash",
        _ => b"other",
    };
    comm[..name.len()].copy_from_slice(name);
    TaskContext {
        tgid,
        tid: tgid,
        start_boottime_ns: start(tgid),
        parent_tgid: parent,
        parent_start_boottime_ns: start(parent),
        loginuid: if tgid == 1 { u32::MAX } else { 1000 },
        session_id: 3,
        mnt_ns: INIT_MNT,
        pid_ns: 5,
        cgroup_id: 77,
        comm,
        ..TaskContext::default()
    }
}

const PID1: u32 = 1;
const SHELL: u32 = 812;

fn shell() -> TaskContext {
    task(SHELL, PID1)
}

fn init() -> TaskContext {
    task(PID1, 0)
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self {
            pipeline: Pipeline::new(Limits::default()),
            now: 100 * SECOND,
            out: Vec::new(),
            records: Vec::new(),
            files: BTreeMap::new(),
            answers: true,
            proofs: BTreeMap::new(),
            asked: Vec::new(),
        };
        machine.user(
            kind::HOST,
            &Host {
                hostname: "host".into(),
                machine_id: "m".into(),
                boot_id: "b".into(),
                kernel_release: "6.1".into(),
                realtime_offset_ns: OFFSET_NS,
                backend: "lsm".into(),
                init_mnt_ns: INIT_MNT,
                init_pid_ns: 5,
            },
        );
        let names = [(0, "root".into()), (1000, "alice".into())].into();
        let homes = [(0, "/root".into()), (1000, "/home/alice".into())].into();
        machine.user(kind::USERS, &Users { names, homes });
        machine.user(
            kind::CGROUP_SNAPSHOT,
            &CgroupSnapshot { id: 77, path: "/user.slice/user-1000.slice/session-3.scope".into() },
        );
        machine.snapshot(PID1, 0, "/usr/lib/systemd/systemd", 100);
        machine.snapshot(SHELL, PID1, "/usr/bin/bash", 101);
        for (watch, path, class) in [
            (SYSTEM, "/etc/systemd/system", Some(WatchClass::SystemUnit)),
            (USER, "/home/alice/.config/systemd/user", Some(WatchClass::UserUnit)),
            (GENERATORS, "/etc/systemd/system-generators", Some(WatchClass::SystemGenerator)),
            (OUTPUT, "/run/systemd/generator", Some(WatchClass::GeneratorOutput)),
            (TRANSIENT, "/run/systemd/transient", Some(WatchClass::TransientUnit)),
            (ETC_SYSTEMD, "/etc/systemd", None),
            (INIT_D, "/etc/init.d", Some(WatchClass::InitScript)),
            (RC_D, "/etc/rc2.d", Some(WatchClass::RunlevelLink)),
            (RUN_USER, "/home", None),
            (VENDOR, "/usr/lib/systemd/system", Some(WatchClass::SystemUnit)),
            (PRIVATE, "/run/systemd/private", Some(WatchClass::ManagerSocket)),
            (BUS, "/run/dbus/system_bus_socket", Some(WatchClass::BusSocket)),
            (USER_PRIVATE, "/run/user/1000/systemd/private", Some(WatchClass::ManagerSocket)),
        ] {
            machine.user(kind::WATCH, &Watch { watch, path: path.into(), class, owner: None });
        }
        machine
    }

    fn feed(&mut self, record: Vec<u8>) {
        self.pipeline.feed(&record, &mut self.out).expect("a good record");
        self.records.push(record);
        self.now += MS;
        if self.answers {
            let wants: Vec<Want> = self.pipeline.wants().collect();
            for want in wants {
                self.answer(want);
            }
        }
    }

    /// Tells what is at a wanted path, as the daemon would.
    fn answer(&mut self, want: Want) {
        match want {
            Want::File { path, expected } => {
                let gone = matches!(expected, Expected::Gone(_));
                let there = if gone { Found::Absent } else { Found::Regular(Regular::default()) };
                let found = self.files.get(&path).cloned().unwrap_or(there);
                self.content(&path, None, found);
            }
            Want::Survey { id, paths } => {
                for path in paths {
                    let below = [&path[..], b"/"].concat();
                    let files = self.files.clone();
                    for (path, found) in files.iter().filter(|(at, _)| **at == path || at.starts_with(&below))
                    {
                        self.content(path, Some(id), found.clone());
                    }
                }
                self.user(kind::SURVEYED, &Surveyed { id });
            }
            Want::Proof { id, paths } => {
                self.asked.push(paths.clone());
                let proofs = paths.iter().map(|path| self.proof_of(path)).collect();
                self.user(kind::PROOF, &Proofs { id, proofs });
            }
        }
    }

    fn content(&mut self, path: &[u8], survey: Option<u64>, found: Found) {
        self.user(kind::FILE_CONTENT, &FileContent { path: path.into(), baseline: false, survey, found });
    }

    /// What was there before the sensor was.
    fn baseline(&mut self, path: &str, text: &str) {
        let found = text_file(text);
        self.files.insert(path.into(), found.clone());
        self.user(
            kind::FILE_CONTENT,
            &FileContent { path: path.into(), baseline: true, survey: None, found },
        );
    }

    fn user<T: serde::Serialize>(&mut self, kind: u16, value: &T) {
        let record = encode_user(kind, self.now, value).expect("JSON");
        self.feed(record);
    }

    fn tick(&mut self, after: u64) {
        self.now += after;
        self.feed(encode_tick(self.now).to_vec());
    }

    fn snapshot(&mut self, tgid: u32, parent: u32, exe: &str, inode: u64) {
        self.user(
            kind::PROCESS_SNAPSHOT,
            &ProcessSnapshot {
                tgid,
                start_boottime_ns: u64::from(tgid) * 10 * MS,
                parent_tgid: parent,
                parent_start_boottime_ns: (parent != 0).then(|| u64::from(parent) * 10 * MS),
                exe: exe.into(),
                exe_device: 8,
                exe_inode: inode,
                args: vec![exe.into()],
                mnt_ns: INIT_MNT,
                loginuid: if tgid == 1 { u32::MAX } else { 1000 },
                comm: exe.rsplit('/').next().unwrap_or_default().into(),
                ..ProcessSnapshot::default()
            },
        );
    }

    fn fork(&mut self, parent: TaskContext, child: u32) -> TaskContext {
        let child = task(child, parent.tgid);
        self.feed(encode_fork(self.now, parent, child.tgid, child.start_boottime_ns));
        child
    }

    fn exec(&mut self, task: TaskContext, exe: &str, inode: u64, args: &[&str]) {
        self.exec_flagged(task, exe, exe, inode, args, 0);
    }

    fn exec_flagged(
        &mut self,
        mut task: TaskContext,
        exe: &str,
        filename: &str,
        inode: u64,
        args: &[&str],
        flags: u16,
    ) {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        task.comm = [0; 16];
        let name = exe.rsplit('/').next().unwrap_or_default();
        let length = name.len().min(15);
        task.comm[..length].copy_from_slice(&name.as_bytes()[..length]);
        let parts = ExecParts {
            task,
            exe: FileIdentity { device: 8, inode, ..FileIdentity::default() },
            filename: filename.as_bytes(),
            exe_path: exe.as_bytes(),
            cwd: b"/root",
            args: &args,
            flags,
        };
        self.feed(encode_exec(self.now, &parts));
    }

    fn exit(&mut self, task: TaskContext) {
        self.feed(encode_exit(self.now, task.tgid, task.start_boottime_ns, 0));
    }

    fn record(&self, kind: u16, task: TaskContext) -> FileRecordBuilder {
        FileRecordBuilder::new(kind, self.now, task).object(FileIdentity {
            inode: 4711,
            device: 8,
            mode: 0o100_644,
            ..FileIdentity::default()
        })
    }

    fn file(&mut self, kind: u16, task: TaskContext, watch: u32, path: &str) {
        let record = self.record(kind, task).path(watch, SUBTREE, path.as_bytes()).build();
        self.feed(record);
    }

    /// `echo > path`.
    fn write(&mut self, task: TaskContext, watch: u32, path: &str) {
        let create = FileRecordBuilder::new(kind::FILE_CREATE, self.now, task).argument(0o100_644).path(
            watch,
            SUBTREE,
            path.as_bytes(),
        );
        self.feed(create.build());
        self.file(kind::FILE_OPEN_WRITE, task, watch, path);
        self.file(kind::FILE_CLOSE_WRITE, task, watch, path);
    }

    fn symlink(&mut self, task: TaskContext, watch: u32, path: &str, target: &str) {
        let record = FileRecordBuilder::new(kind::FILE_SYMLINK, self.now, task)
            .path(watch, SUBTREE, path.as_bytes())
            .extra(target.as_bytes());
        self.feed(record.build());
    }

    /// From `old` to `new`; `NONE` is a place that is not watched.
    fn rename(&mut self, task: TaskContext, (from, old): (u32, &str), (to, new): (u32, &str)) {
        let matched = |watch| if watch == NONE { 0 } else { SUBTREE };
        let record = self
            .record(kind::FILE_RENAME, task)
            .path(to, matched(to), new.as_bytes())
            .other(from, matched(from), old.as_bytes())
            .build();
        self.feed(record);
    }

    fn alerts(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.out)
    }

    /// Rule ids of what was told since the last time.
    fn rules(&mut self) -> Vec<&'static str> {
        self.alerts().iter().map(|alert| alert.rule.id).collect()
    }

    fn one(&mut self) -> Alert {
        let mut alerts = self.alerts();
        assert_eq!(alerts.len(), 1, "{:#?}", alerts.iter().map(|alert| &alert.summary).collect::<Vec<_>>());
        alerts.remove(0)
    }
}

fn text_file(text: &str) -> Found {
    Found::Regular(Regular {
        inode: 4711,
        mode: 0o100_644,
        size: text.len() as u64,
        content: text.into(),
        ..Regular::default()
    })
}

fn reasons(alert: &Alert) -> String {
    let line = |reason: &crate::detect::score::Reason| format!("{:+} {}", reason.points, reason.text);
    alert.reasons.iter().map(line).collect::<Vec<_>>().join("\n")
}
