use proptest::prelude::*;
use sensor_common::record::{FileIdentity, flags};
use sensor_common::watch;

use super::*;
use crate::event::encode::{
    ExecParts, FileRecordBuilder, encode_cgroup, encode_exec, encode_exit, encode_fork, encode_namespace,
    encode_send, encode_sent, encode_tick, encode_user,
};

fn task() -> TaskContext {
    TaskContext { tgid: 812, tid: 813, start_boottime_ns: 5, uid: 1000, ..TaskContext::default() }
}

fn rename() -> Vec<u8> {
    FileRecordBuilder::new(kind::FILE_RENAME, 7, task())
        .path(3, watch::SUBTREE, b"x.service.d/evil.conf")
        .other(watch::NONE, 0, b"/tmp/evil.conf")
        .extra(b"something")
        .object(FileIdentity { inode: 99, device: 1, ..FileIdentity::default() })
        .argument(2)
        .build()
}

fn exec() -> Vec<u8> {
    encode_exec(
        9,
        &ExecParts {
            task: task(),
            filename: b"docker",
            exe_path: b"/usr/bin/docker",
            cwd: b"/root",
            args: &[b"docker", b"run", b"", b"x\xff"],
            ..ExecParts::default()
        },
    )
}

fn sender() -> IpcRecord {
    IpcRecord { task: task(), connection: 4711, watch: 9, socket_type: 1, ..IpcRecord::default() }
}

fn samples() -> Vec<Vec<u8>> {
    vec![
        rename(),
        exec(),
        encode_fork(1, task(), 900, 10),
        encode_exit(2, 900, 10, 256),
        encode_cgroup(3, task(), 77, b"/system.slice/docker-aa.scope"),
        encode_namespace(4, task(), 0x0002_0000),
        encode_tick(5).to_vec(),
        encode_send(&sender(), b"l\x01\0\x01"),
        encode_sent(&sender(), -11),
        encode_user(kind::WATCH, 6, &Watch { watch: 1, path: "/etc".into(), class: None, owner: None })
            .expect("JSON"),
    ]
}

#[test]
fn a_rename_comes_back() {
    let bytes = rename();
    let Event::File(event) = decode(&bytes).expect("decodes") else { panic!("no file event") };
    assert_eq!(event.record.header.kind, kind::FILE_RENAME);
    assert_eq!(event.record.header.boottime_ns, 7);
    assert_eq!(event.record.header.length as usize, bytes.len());
    assert_eq!((event.record.watch, event.record.other_watch), (3, watch::NONE));
    assert_eq!(event.record.object.inode, 99);
    assert_eq!(event.record.argument, 2);
    assert_eq!(event.path.to_path("/etc/systemd/system"), "/etc/systemd/system/x.service.d/evil.conf");
    assert_eq!(event.other.to_path(""), "/tmp/evil.conf");
    assert_eq!(event.extra, b"something");
}

#[test]
fn an_exec_comes_back() {
    let bytes = exec();
    let Event::Exec(event) = decode(&bytes).expect("decodes") else { panic!("no exec event") };
    assert_eq!(event.filename, b"docker");
    assert_eq!(event.exe_path.to_path(""), "/usr/bin/docker");
    assert_eq!(event.cwd.to_path(""), "/root");
    assert_eq!(event.args, b"docker\0run\0\0x\xff\0");
    assert_eq!(event.record.argc, 4);
}

#[test]
fn a_send_comes_back() {
    let bytes = encode_send(&sender(), b"BEGIN\r\n");
    let Event::Ipc(event) = decode(&bytes).expect("decodes") else { panic!("no send") };
    assert_eq!(event.data, b"BEGIN\r\n");
    assert_eq!((event.record.total, event.record.connection, event.record.watch), (7, 4711, 9));
    let long = encode_send(&sender(), &vec![b'x'; 20_000]);
    let Event::Ipc(event) = decode(&long).expect("decodes") else { panic!("no send") };
    assert_eq!((event.data.len(), event.record.total), (16_384, 20_000));
    assert_ne!(event.record.header.flags & flags::DATA_TRUNCATED, 0);
    let failed = encode_sent(&sender(), -11);
    let Event::Ipc(event) = decode(&failed).expect("decodes") else { panic!("no result") };
    assert_eq!((event.record.header.kind, event.record.result), (kind::IPC_SENT, -11));
}

#[test]
fn long_strings_are_cut_and_marked() {
    let long = vec![b'a'; 5000];
    let bytes = encode_exec(1, &ExecParts { args: &[&long], ..ExecParts::default() });
    let Event::Exec(event) = decode(&bytes).expect("decodes") else { panic!("no exec event") };
    assert_eq!(event.args.len(), sensor_common::limits::ARGS_MAX);
    assert_ne!(event.record.header.flags & flags::ARGS_TRUNCATED, 0);
    assert_eq!(event.record.args_total, 5001);

    let deep = b"directory/".repeat(1000);
    let bytes = FileRecordBuilder::new(kind::FILE_CREATE, 0, task()).path(1, watch::SUBTREE, &deep).build();
    let Event::File(event) = decode(&bytes).expect("decodes") else { panic!("no file event") };
    assert_ne!(event.record.header.flags & flags::PATH_TRUNCATED, 0);
    assert_eq!(event.path.leaf(), Some(&b"directory"[..]));
}

#[test]
fn every_truncation_is_an_error() {
    for record in samples() {
        for length in 0..record.len() {
            assert!(decode(&record[..length]).is_err(), "{length} of {} bytes", record.len());
        }
    }
}

#[test]
fn what_follows_a_record_is_ignored() {
    for mut record in samples() {
        let kind = decode(&record).expect("decodes").header().kind;
        record.extend_from_slice(&[0xff; 40]);
        assert_eq!(decode(&record).expect("decodes").header().kind, kind);
    }
}

#[test]
fn any_alignment_will_do() {
    for record in samples() {
        for shift in 0..8 {
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&record);
            assert!(decode(&shifted[shift..]).is_ok());
        }
    }
}

fn set_u32(record: &mut [u8], at: usize, value: u32) {
    record[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

#[test]
fn each_error_names_its_cause() {
    assert_eq!(decode(&[0; 15]).unwrap_err(), DecodeError::NoHeader { have: 15 });

    let mut unknown = rename();
    unknown[..2].copy_from_slice(&63u16.to_ne_bytes());
    assert_eq!(decode(&unknown).unwrap_err(), DecodeError::UnknownKind { kind: 63 });

    let mut short = rename();
    set_u32(&mut short, 4, 100);
    let error = decode(&short).unwrap_err();
    assert_eq!(error, DecodeError::TooShort { kind: kind::FILE_RENAME, length: 100, need: 192 });
    assert_eq!(error.to_string(), "file_rename record of 100 bytes: its fixed part alone has 192");

    let mut long = rename();
    set_u32(&mut long, 4, u32::MAX);
    assert!(matches!(decode(&long), Err(DecodeError::TooLong { .. })));

    // A header that ends before itself.
    let mut none = encode_tick(1).to_vec();
    set_u32(&mut none, 4, 3);
    assert!(matches!(decode(&none), Err(DecodeError::TooShort { need: 16, .. })));

    let garbled = encode_user(kind::HOST, 0, &42).expect("JSON");
    assert!(matches!(decode(&garbled), Err(DecodeError::Json { kind: kind::HOST, .. })));
}

#[test]
fn a_span_into_the_fixed_part_is_refused() {
    let mut record = rename();
    let at = std::mem::offset_of!(FileRecord, path);
    record[at..at + 2].copy_from_slice(&8u16.to_ne_bytes());
    assert!(matches!(decode(&record), Err(DecodeError::Span { field: "path", offset: 8, .. })));
    record[at..at + 2].copy_from_slice(&u16::MAX.to_ne_bytes());
    assert!(matches!(decode(&record), Err(DecodeError::Span { field: "path", .. })));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn garbled_records_never_panic(
        which in 0..10usize,
        edits in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..12),
    ) {
        let mut record = samples().swap_remove(which);
        for (at, value) in edits {
            let length = record.len();
            record[usize::from(at) % length] = value;
        }
        if let Ok(event) = decode(&record) {
            // A record that decodes can be looked at whole.
            let _ = format!("{event:?}");
            if let Event::File(file) = event {
                let _ = file.path.to_path("/");
            }
        }
    }

    #[test]
    fn encode_then_decode_is_the_identity(
        kind in kind::FILE_CREATE..=kind::UMOUNT,
        boottime_ns in any::<u64>(),
        watch in any::<u32>(),
        argument in any::<u64>(),
        names in proptest::collection::vec("[^/\0]{1,20}", 1..6),
        extra in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let path = names.join("/");
        let bytes = FileRecordBuilder::new(kind, boottime_ns, task())
            .path(watch, watch::SUBTREE, path.as_bytes())
            .extra(&extra)
            .argument(argument)
            .build();
        let Event::File(event) = decode(&bytes).expect("decodes") else { panic!("no file event") };
        prop_assert_eq!(event.record.header.kind, kind);
        prop_assert_eq!(event.record.header.boottime_ns, boottime_ns);
        prop_assert_eq!(event.record.watch, watch);
        prop_assert_eq!(event.record.argument, argument);
        prop_assert_eq!(event.record.task, task());
        prop_assert_eq!(event.path.to_path(""), format!("/{path}"));
        prop_assert_eq!(event.extra, &extra[..]);
    }
}
