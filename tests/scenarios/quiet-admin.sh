# What administrators and timers do all day beside the service manager.
# shellcheck shell=bash

# Its scripts are run by root, so that one is an alert.
step prepare
mkdir -p /var/log/suite
seq 20000 >/var/log/suite/suite.log
printf '/var/log/suite/*.log {\n rotate 2\n compress\n create\n postrotate\n systemctl kill --signal=HUP --kill-who=main cron.service\n endscript\n}\n' \
    >/etc/logrotate.d/suite
step quiet.logrotate
check logrotate.run logrotate --force /etc/logrotate.d/suite
check logrotate.unit systemctl start logrotate.service
journalctl --rotate --vacuum-size=100M >/dev/null 2>&1

step quiet.reload-storm
for _ in 1 2 3 4 5 6 7 8 9 10; do systemctl daemon-reload; done
check storm.reexec systemctl daemon-reexec

step quiet.sessions
for _ in 1 2 3; do su -l alice -c true; done
ssh-keygen -q -t ed25519 -N '' -f "$state/key"
install -d -o alice -g alice -m 700 /home/alice/.ssh
install -o alice -g alice -m 600 "$state/key.pub" /home/alice/.ssh/authorized_keys
check ssh.start systemctl start ssh.service
check ssh.login ssh -i "$state/key" -o StrictHostKeyChecking=no -o BatchMode=yes alice@127.0.0.1 'systemctl --user is-system-running; true'
loginctl --no-pager list-sessions >/dev/null
loginctl --no-pager user-status alice >/dev/null 2>&1
check ssh.stop systemctl stop ssh.service

step quiet.editors
mkdir -p /etc/suite
printf 'colour = blue\n' >/etc/suite/suite.conf
vim.tiny -N -u NONE -es -c '%s/blue/red/' -c wq /etc/suite/suite.conf
sed -i 's/red/green/' /etc/suite/suite.conf
perl -pi -e 's/green/blue/' /etc/suite/suite.conf
VISUAL=true crontab -l >/dev/null 2>&1
printf '127.0.1.1 suite\n' >>/etc/hosts

step quiet.backup-tools
check backup.rsync rsync --archive /etc/ /var/tmp/rsync/
cp --archive /etc /var/tmp/copy
check backup.restore tar -C /etc -cf /var/tmp/etc.tar systemd
rsync --archive --delete /etc/ /var/tmp/rsync/

step quiet.image-build
mkdir -p /srv/build/etc/systemd /srv/build/usr/lib/systemd
cp --archive /etc/systemd/system /srv/build/etc/systemd/
cp --archive /usr/lib/systemd/system /srv/build/usr/lib/systemd/
printf '[Service]\nExecStart=/bin/true\n' >/srv/build/etc/systemd/system/image.service
sed -i 's/true/false/' /srv/build/etc/systemd/system/image.service
ln -s ../image.service /srv/build/etc/systemd/system/multi-user.target.wants/image.service
check image.enable systemctl --root=/srv/build enable image.service
printf '#!/bin/sh\n' >/srv/build/etc/rc.local

step quiet.chroot
mkdir -p /srv/build/bin
cp /bin/busybox /srv/build/bin/sh
check chroot.write chroot /srv/build /bin/sh -c 'echo "[Service]" >/etc/systemd/system/inside.service'
check chroot.private unshare --mount sh -c \
    'mount -t tmpfs none /etc/systemd/system && echo "[Service]" >/etc/systemd/system/private.service'

step quiet.units
for unit in cron.service dbus.service systemd-journald.service getty.target; do
    systemctl --no-pager status "$unit"
    systemctl --no-pager cat "$unit"
    systemctl show "$unit"
done >/dev/null 2>&1
systemctl --no-pager list-units >/dev/null
systemctl --no-pager list-timers >/dev/null
systemctl --no-pager list-dependencies >/dev/null
check units.restart systemctl restart cron.service systemd-logind.service
check units.set-property systemctl set-property --runtime cron.service CPUWeight=50
systemd-analyze blame >/dev/null 2>&1
systemctl reset-failed

step quiet.engines
check engines.own docker run --rm box sh -c 'mkdir -p /etc/systemd/system /etc/init.d && echo "[Service]" >/etc/systemd/system/own.service && echo x >/etc/rc.local'
check engines.volume docker run --rm --volume units:/etc/systemd/system box sh -c 'echo "[Service]" >/etc/systemd/system/own.service'
printf 'FROM box\nRUN mkdir -p /etc/systemd/system && echo "[Service]" >/etc/systemd/system/own.service\n' >"$state/Dockerfile"
check engines.build docker build --quiet --tag built - <"$state/Dockerfile"
check engines.run docker run --detach --name suite built sleep 1000
check engines.exec docker exec suite true
docker logs suite >/dev/null 2>&1
docker ps >/dev/null
check engines.restart docker restart --time 0 suite
check engines.remove docker rm --force suite
sleep 1
