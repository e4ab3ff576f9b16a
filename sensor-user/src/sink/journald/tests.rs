use std::fs;
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

use super::entry::tests::parse;
use super::*;
use crate::incident::alert::Alert;
use crate::sink::{Sinks, sample};
use crate::test_support::skip;

fn numbered(number: usize) -> Alert {
    Alert { summary: format!("number {number}"), ..sample::unit_written() }
}

fn write(sink: &mut Journald, alert: &Alert) {
    sink.write(&Rendered::new(alert)).unwrap();
}

fn message(bytes: &[u8]) -> String {
    parse(bytes).into_iter().find(|(name, _)| name == "MESSAGE").unwrap().1
}

fn receive(receiver: &UnixDatagram) -> Option<String> {
    let mut buffer = vec![0; 1 << 20];
    let length = receiver.recv(&mut buffer).ok()?;
    Some(message(&buffer[..length]))
}

/// A receiver that does not wait, and the sink that sends to it.
fn pair(bounds: QueueBounds) -> (tempfile::TempDir, UnixDatagram, Journald) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let receiver = UnixDatagram::bind(&path).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let sink = Journald::new(&path, bounds).unwrap();
    (directory, receiver, sink)
}

fn much_later() -> Instant {
    Instant::now() + 2 * LONGEST_WAIT
}

#[test]
fn an_entry_arrives_at_once() {
    let (_directory, receiver, mut sink) = pair(QueueBounds::default());
    write(&mut sink, &numbered(1));
    assert_eq!(receive(&receiver).as_deref(), Some("number 1"));
    assert_eq!(sink.status().counts, Counts { written: 1, ..Counts::default() });
    assert_eq!(sink.status().queue, Some(Queue::default()));
    assert_eq!(sink.retry(much_later()), None);
}

#[test]
fn a_large_entry_comes_as_a_sealed_memfd() {
    let (_directory, receiver, mut sink) = pair(QueueBounds::default());
    let mut alert = numbered(1);
    alert.actor.process.args = vec!["x".repeat(1 << 20)];
    let rendered = Rendered::new(&alert);
    sink.write(&rendered).unwrap();
    assert_eq!((sink.status().counts.written, sink.errors), (1, 0));

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let datagram = recvmsg(&receiver, &mut [], &mut control, RecvFlags::empty()).unwrap();
    assert_eq!(datagram.bytes, 0);
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    let memfd = descriptors.pop().unwrap();
    let seals = rustix::fs::fcntl_get_seals(&memfd).unwrap();
    assert!(seals.contains(
        rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW
    ));
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memfd));
    let mut bytes = Vec::new();
    fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    let fields = parse(&bytes);
    assert_eq!(fields.last().unwrap(), &("SVCSENSOR_JSON".to_owned(), rendered.json));
}

#[test]
fn a_blocked_journald_gets_everything_in_order_later() {
    let (_directory, receiver, mut sink) = pair(QueueBounds { entries: 1024, bytes: 64 << 20 });
    // The kernel lets a few datagrams wait (net.unix.max_dgram_qlen); we send more than any such bound.
    let sent = 1000;
    let begin = Instant::now();
    for number in 0..sent {
        write(&mut sink, &numbered(number));
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "sending waited");
    assert!(sink.status().pending > 0, "nothing was held back");
    assert_eq!(sink.status().counts.written as usize + sink.status().pending, sent);

    let mut next = 0;
    while next < sent {
        match receive(&receiver) {
            Some(message) => {
                assert_eq!(message, format!("number {next}"));
                next += 1;
            }
            None => assert!(sink.retry(much_later()).is_some() || sink.status().pending == 0),
        }
    }
    assert_eq!(sink.status().counts, Counts { written: sent as u64, ..Counts::default() });
    assert_eq!((sink.status().pending, sink.status().queue), (0, Some(Queue::default())));
}

#[test]
fn a_missing_journald_is_waited_for_and_losses_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut sink = Journald::new(&path, QueueBounds { entries: 3, bytes: 1 << 20 }).unwrap();
    sink.notice(&Notice::Started { backend: "lsm" });
    for number in 0..5 {
        write(&mut sink, &numbered(number));
    }
    assert_eq!((sink.status().pending, sink.status().counts.dropped, sink.errors), (3, 2, 0));
    assert!(sink.retry(Instant::now()).is_some());

    let receiver = UnixDatagram::bind(&path).unwrap();
    receiver.set_nonblocking(true).unwrap();
    assert_eq!(sink.retry(much_later()), None);
    let messages: Vec<String> = std::iter::from_fn(|| receive(&receiver)).collect();
    let lost = "3 entries of svcsensor were lost while journald took none";
    assert_eq!(messages, [lost, "number 2", "number 3", "number 4"]);
    assert_eq!(sink.status().counts, Counts { written: 3, failed: 0, dropped: 2 });

    // A restarted journald has a new socket at the same place.
    drop(receiver);
    write(&mut sink, &numbered(5));
    assert_eq!(sink.status().pending, 1);
    fs::remove_file(&path).unwrap();
    let receiver = UnixDatagram::bind(&path).unwrap();
    sink.retry(much_later());
    assert_eq!(receive(&receiver).as_deref(), Some("number 5"));
}

#[test]
fn the_queue_is_bounded_in_bytes_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink =
        Journald::new(&directory.path().join("none"), QueueBounds { entries: 1024, bytes: 100_000 }).unwrap();
    for number in 0..100 {
        write(&mut sink, &numbered(number));
        assert!(sink.queued_bytes <= 100_000);
    }
    assert_eq!(sink.status().pending as u64 + sink.status().counts.dropped, 100);
    let mut huge = numbered(0);
    huge.actor.process.args = vec!["x".repeat(200_000)];
    write(&mut sink, &huge);
    assert_eq!((sink.queue.len(), sink.queued_bytes, sink.status().counts.dropped), (0, 0, 101));
}

#[test]
fn waits_grow_to_their_bound() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = Journald::new(&directory.path().join("none"), QueueBounds::default()).unwrap();
    write(&mut sink, &numbered(1));
    let mut now = Instant::now() + LONGEST_WAIT;
    let mut waits = Vec::new();
    for _ in 0..15 {
        let next = sink.retry(now).unwrap();
        waits.push(next - now);
        now = next;
    }
    assert!(waits.is_sorted());
    assert_eq!(waits.last(), Some(&LONGEST_WAIT));
}

#[test]
fn draining_ends_at_its_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let sink = Journald::new(&directory.path().join("none"), QueueBounds::default()).unwrap();
    let mut sinks = Sinks::default();
    sinks.add(Box::new(sink));
    sinks.write(&numbered(1)).unwrap();
    let begin = Instant::now();
    assert_eq!(sinks.drain(begin + Duration::from_millis(50)), 1);
    assert!((50..2000).contains(&begin.elapsed().as_millis()));
}

#[test]
fn every_message_id_has_catalog_text_that_systemd_accepts() {
    let directory = tempfile::tempdir().unwrap();
    let catalogs = directory.path().join("usr/lib/systemd/catalog");
    fs::create_dir_all(&catalogs).unwrap();
    fs::write(catalogs.join("svcsensor.catalog"), CATALOG).unwrap();
    let journalctl = |arguments: &[&str]| {
        Command::new("journalctl").arg("--root").arg(directory.path()).args(arguments).output()
    };
    // systemd 252 wants the directory of the binary catalog to be there.
    fs::create_dir_all(directory.path().join("var/lib/systemd/catalog")).unwrap();
    let update = match journalctl(&["--update-catalog"]) {
        Ok(update) => update,
        Err(error) => return skip("catalog", &format!("journalctl: {error}")),
    };
    assert!(update.status.success() && update.stderr.is_empty(), "{update:?}");
    let list = String::from_utf8(journalctl(&["--list-catalog"]).unwrap().stdout).unwrap();
    let ids = [SERVICE_ALERT, CONTAINER_ALERT, ALERTS_LOST, RECORDS_LOST, STARTED];
    assert_eq!(list.lines().count(), ids.len(), "{list}");
    for id in ids {
        assert!(list.lines().any(|line| line.starts_with(id)), "{id} is not in {list}");
    }
    for (at, _) in CATALOG.match_indices("@SVCSENSOR_") {
        let name = CATALOG[at + 1..].split('@').next().unwrap();
        assert!(include_str!("entry.rs").contains(&format!("\"{name}\"")), "no entry has a field {name}");
    }
}

/// A journald of our own, in a mount namespace with its own /run; ended when dropped.
struct OwnJournald {
    child: Child,
    run: String,
}

impl OwnJournald {
    fn start() -> Result<Self, String> {
        const SCRIPT: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journald.conf.d && \
            printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=\\nForwardToSyslog=no\\n' \
            > /run/systemd/journald.conf.d/test.conf && mkdir -p /run/systemd/journal && exec \"$0\"";
        let program = ["/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .ok_or("systemd-journald is not installed")?;
        if !rustix::process::geteuid().is_root() {
            return Err("a mount namespace of our own takes root".to_owned());
        }
        if !fs::read_to_string("/etc/machine-id").is_ok_and(|id| id.trim().len() == 32) {
            return Err("/etc/machine-id has no machine id, without which journald keeps nothing".to_owned());
        }
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", SCRIPT, program])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        // Both exec, so the child is journald in the end, and /proc leads into its mount namespace.
        let run = format!("/proc/{}/root/run", child.id());
        let mut journald = Self { child, run };
        // Until the mount is done, that path leads to the machine's own /run; the configuration is only in ours.
        let ours = ["systemd/journald.conf.d/test.conf", "systemd/journal/socket"];
        let deadline = Instant::now() + Duration::from_secs(20);
        while !ours.iter().all(|path| Path::new(&journald.run).join(path).exists()) {
            if let Ok(Some(status)) = journald.child.try_wait() {
                return Err(format!("a mount namespace with journald ended at once: {status}"));
            }
            if Instant::now() > deadline {
                return Err("journald made no socket within 20 s".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(journald)
    }

    fn entries(&self) -> Vec<Value> {
        let output = Command::new("journalctl")
            .args(["-q", "-o", "json", "-a", "-D", &format!("{}/log/journal", self.run), "-t", "svcsensor"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for OwnJournald {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_journald_takes_alerts_and_journalctl_gives_them_back() {
    let journald = match OwnJournald::start() {
        Ok(journald) => journald,
        Err(reason) => return skip("a real journald", &reason),
    };
    let socket = format!("{}/systemd/journal/socket", journald.run);
    let mut sink = Journald::new(Path::new(&socket), QueueBounds::default()).unwrap();
    let mut large = sample::hostile();
    large.actor.process.args = vec!["x".repeat(300_000)];
    write(&mut sink, &sample::unit_written());
    write(&mut sink, &large);
    sink.notice(&Notice::Started { backend: "fentry" });

    let deadline = Instant::now() + Duration::from_secs(20);
    let mut entries = Vec::new();
    while entries.len() < 3 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
        sink.retry(much_later());
        entries = journald.entries();
    }
    assert_eq!(entries.len(), 3, "{sink:?}");
    assert_eq!(sink.status().counts, Counts { written: 2, ..Counts::default() });

    let alert = &entries[0];
    assert_eq!(alert["MESSAGE_ID"], SERVICE_ALERT);
    assert!(alert["SVCSENSOR_ANCESTORS"].as_str().unwrap().ends_with("\n1 /sbin/init"));
    assert_eq!(alert["OBJECT_SYSTEMD_UNIT"], "evil.service");
    assert_eq!(alert["_UID"], "0");
    let json: Value = serde_json::from_str(alert["SVCSENSOR_JSON"].as_str().unwrap()).unwrap();
    assert_eq!(json["file"]["path"], "/etc/systemd/system/evil.service");

    let json: Value = serde_json::from_str(entries[1]["SVCSENSOR_JSON"].as_str().unwrap()).unwrap();
    assert_eq!(json["process"]["args"][0].as_str().unwrap().len(), 300_000);
    assert_eq!(entries[1]["PRIORITY"], "2");
    assert_eq!(entries[2]["SVCSENSOR_BACKEND"], "fentry");
}
