# What every machine does all day: nothing of it is worth an alert.
# shellcheck shell=bash

step quiet.query
for unit in cron.service systemd-logind.service dbus.socket svcsensor.service; do
    systemctl --no-pager status "$unit"
    systemctl --no-pager cat "$unit"
    systemctl show "$unit"
    systemctl is-enabled "$unit"
done >/dev/null 2>&1
systemctl --no-pager list-unit-files >/dev/null
systemd-analyze verify cron.service >/dev/null 2>&1
cat /etc/systemd/system/*.service /lib/systemd/system/*.service >/dev/null

step quiet.backup
tar -cf - /etc /usr/lib/systemd /lib/systemd/system 2>/dev/null | wc -c >"$state/backup.size"
# Unpacked elsewhere: the same names, but nothing that systemd reads.
mkdir -p /var/tmp/restore
tar -C / -cf - etc/systemd usr/lib/systemd/system | tar -C /var/tmp/restore -xf -
fact backup.bytes "$(cat "$state/backup.size")"

step quiet.reload
check reload.first systemctl daemon-reload
check reload.again systemctl daemon-reload

step quiet.restart
check restart.cron systemctl restart cron.service
systemd-run --quiet --scope true
systemd-tmpfiles --create --clean >/dev/null 2>&1

step quiet.session
login_alice <<'LOGIN'
id >/run/e2e/alice.id
cat /proc/self/loginuid >/run/e2e/alice.loginuid
systemctl --user --no-pager status >/dev/null
systemctl --user daemon-reload
loginctl --no-pager list-sessions >/dev/null
LOGIN
fact alice.loginuid "$(cat /run/e2e/alice.loginuid)"
su - alice -c true
loginctl --no-pager list-sessions >/dev/null

step quiet.docker-start
check docker.import docker import /srv/busybox.tar box
check docker.info docker info

step quiet.docker
check docker.run docker run --rm box true
check docker.ps docker ps --all
check docker.own-unit docker run --rm box sh -c \
    'mkdir -p /etc/systemd/system && echo "[Service]" >/etc/systemd/system/own.service && cat /etc/systemd/system/own.service'
mkdir -p /srv/data
check docker.volume docker run --rm -v /srv/data:/data box sh -c 'mkdir -p /data/etc/systemd/system && echo x >/data/etc/systemd/system/x.service'

step quiet.podman
check podman.import podman import --quiet /srv/busybox.tar box
check podman.run podman run --rm box true
check podman.own-unit podman run --rm box sh -c \
    'mkdir -p /etc/systemd/system && echo "[Service]" >/etc/systemd/system/own.service'
check podman.ps podman ps --all
sleep 1
