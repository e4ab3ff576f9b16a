# The same change by other hands: editors, languages, moves, links, the service manager. As root out of alice's login.
# shellcheck shell=bash

etc=/etc/systemd/system
unit() { printf '[Service]\nExecStart=/opt/suite/agent %s\n[Install]\nWantedBy=multi-user.target\n' "$1"; }

for name in sed vim ex python perl truncate; do unit before >$etc/way-$name.service; done
unit outside >/opt/suite/way-symlink.service
unit outside >/opt/suite/way-bus.service
unit outside >/tmp/way-link.service
unit inside >$etc/way-wanted.service
unit environment | sed '/ExecStart/a EnvironmentFile=-/opt/suite/way.env' >$etc/way-environment.service
cp /bin/sleep /opt/suite/way-gone
printf '[Service]\nExecStart=/opt/suite/way-gone 600\n' >$etc/way-gone.service

step way.sed
sed -i 's/before/after/' $etc/way-sed.service
step way.vim
vim.tiny -N -u NONE -es -c '%s/before/after/' -c wq $etc/way-vim.service
step way.ex
printf '%s\n' '%s/before/after/' x | vim.tiny -u NONE -n -e -s $etc/way-ex.service
step way.python
python3 -c "f = open('$etc/way-python.service', 'r+'); f.seek(0, 2); f.write('ExecStartPost=/opt/suite/agent\n')"
step way.perl
perl -pi -e 's/before/after/' $etc/way-perl.service
step way.truncate
truncate -s 0 $etc/way-truncate.service
step way.move
unit moved >/tmp/way-move.tmp
mv /tmp/way-move.tmp $etc/way-move.service
step way.copy-rename
cp /opt/suite/way-symlink.service $etc/.way-copy.tmp
mv $etc/.way-copy.tmp $etc/way-copy.service
step way.install
install -m 644 /opt/suite/way-symlink.service $etc/way-install.service
step way.symlink
ln -s /opt/suite/way-symlink.service $etc/way-symlink.service
step way.wants-by-hand
mkdir -p $etc/multi-user.target.wants
ln -s ../way-wanted.service $etc/multi-user.target.wants/way-wanted.service
step way.editor
printf '#!/bin/sh\nprintf "[Service]\\nExecStartPost=/opt/suite/agent\\n" >"$1"\n' >/opt/suite/editor
chmod +x /opt/suite/editor
# It wants a terminal.
SYSTEMD_EDITOR=/opt/suite/editor script --quiet --command "systemctl edit cron.service" /dev/null </dev/null
step way.systemctl-link
systemctl link /tmp/way-link.service
step way.set-property
systemctl set-property cron.service CPUWeight=90
manager="org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager"
step way.bus-link
# shellcheck disable=SC2086
busctl call $manager LinkUnitFiles asbb 1 /opt/suite/way-bus.service false false
step way.bus-enable
# shellcheck disable=SC2086
busctl call $manager EnableUnitFiles asbb 1 way-wanted.service false true
step way.bus-enable-other
# shellcheck disable=SC2086
busctl call $manager EnableUnitFiles asbb 1 way-install.service false false
step way.offline
SYSTEMD_OFFLINE=1 systemctl --root=/ enable way-copy.service
step way.chroot
chroot /proc/1/root sh -c "printf '[Service]\nExecStart=/opt/suite/agent\n' >$etc/way-chroot.service"
step way.nsenter
nsenter --target 1 --mount sh -c "printf '[Service]\nExecStart=/opt/suite/agent\n' >$etc/way-nsenter.service"
step way.alias
mkdir -p /tmp/way-alias
unshare --mount sh -c "mount --bind $etc /tmp/way-alias; printf '[Service]\nExecStart=/opt/suite/agent\n' >/tmp/way-alias/way-alias.service"
step way.environment
cp /etc/default/cron /tmp/way-default-cron
printf 'LD_PRELOAD=/tmp/way.so\n' >>/etc/default/cron
step way.environment-elsewhere
printf 'LD_PRELOAD=/tmp/way.so\n' >/opt/suite/way.env
step way.deleted
systemctl daemon-reload
systemctl start way-gone.service
sleep 1
rm /opt/suite/way-gone
step way.end
systemctl stop way-gone.service
cp /tmp/way-default-cron /etc/default/cron
systemctl revert cron.service >/dev/null 2>&1
systemctl daemon-reload
