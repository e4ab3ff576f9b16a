# Units of users written by root, images and mounts, other inits, and what lies beside services (docs/CATALOG.md, A8 to
# A11). Run as root out of alice's login.
# shellcheck shell=bash

etc=/etc/systemd/system
script='#!/bin/sh\nexit 0\n'

step catalog.A8.5
for directory in /etc /run /usr/local/lib /usr/lib /usr/local/share /usr/share; do
    put $directory/systemd/user/cat-every.service
done
step catalog.A8.6
for home in /srv/cat /var/lib/cat /opt/cat /export/home/cat; do put $home/.config/systemd/user/cat.service; done
step catalog.A8.8
: >/var/lib/systemd/linger/cat
step catalog.A8.8-asked
loginctl enable-linger alice
step catalog.A8.9
put /root/.config/systemd/user/cat.service

step catalog.A9.1
put /var/lib/extensions/cat.raw raw
for directory in /etc /run /var/lib /usr/local/lib /usr/lib; do
    put $directory/extensions/cat-$RANDOM/README
    put $directory/extensions/cat-tree/usr/lib/systemd/system/cat-extension.service
done
step catalog.A9.2
for directory in /run /var/lib /usr/local/lib /usr/lib; do put $directory/confexts/cat.raw raw; done

# A portable service: portabled copies its unit where units are attached.
image=/opt/suite/portable/cat-portable
put $image/etc/os-release 'ID=cat\nVERSION_ID=1\nPORTABLE_PREFIXES=cat-portable\n'
put $image/usr/lib/systemd/system/cat-portable.service '[Service]\nExecStart=/bin/true\n'
mkdir -p $image/{proc,sys,dev,run,tmp,var/tmp,usr/bin}
: >$image/etc/resolv.conf
: >$image/etc/machine-id
step catalog.A9.3
portablectl attach --runtime $image
put /var/lib/portables/cat.raw raw
put /etc/systemd/portable/profile/cat/service.conf '[Service]\nUser=root\n'

step catalog.A9.4
mkdir -p /opt/suite/upper /opt/suite/work /etc/systemd/system.attached /usr/local/lib/systemd/system
mount -t tmpfs none /etc/systemd/system.attached
mount --bind /opt/suite/cat.conf $etc/cat-service.service
mount -t overlay -o lowerdir=/usr/local/lib/systemd/system,upperdir=/opt/suite/upper,workdir=/opt/suite/work none \
    /usr/local/lib/systemd/system
step catalog.A9.4-end
umount /etc/systemd/system.attached $etc/cat-service.service /usr/local/lib/systemd/system
step catalog.A9.5
put /etc/systemd/nspawn/cat.nspawn '[Exec]\nBoot=no\n'
put /run/systemd/nspawn/cat.nspawn '[Exec]\nBoot=no\n'
systemctl enable systemd-nspawn@cat.service
step catalog.A9.6
put $etc/cron.service.d/cat-root.conf '[Service]\nRootImage=/opt/suite/root.raw\nExtensionDirectories=/opt/suite/x\nBindPaths=/opt/suite:/usr/sbin\n'
rm $etc/cron.service.d/cat-root.conf
step catalog.A9.7
put /etc/initramfs-tools/scripts/init-bottom/cat "$script"
put /etc/dracut.conf.d/cat.conf 'add_drivers+=" cat "\n'
put /usr/lib/dracut/modules.d/90cat/module-setup.sh "$script"

step catalog.A10.2
ln -s ../init.d/cron /etc/rc2.d/S99cat
step catalog.A10.3
for file in /etc/rc.d/rc.local /etc/boot.local /etc/rc.local.d/cat.sh; do
    put $file "$script"
    chmod +x $file
done
step catalog.A10.4
put /etc/init/cat.conf 'exec true\n'
put /usr/share/upstart/sessions/cat.conf 'exec true\n'
step catalog.A10.5
mkdir -p /etc/runlevels/default
ln -s /etc/init.d/cron /etc/runlevels/default/cat
put /etc/conf.d/cat 'x=1\n'
put /etc/local.d/cat.start "$script"
step catalog.A10.6
put /etc/sv/cat/run "$script"
mkdir -p /etc/service /etc/runit/runsvdir/default
ln -s /etc/sv/cat /etc/service/cat
ln -s /etc/sv/cat /var/service/cat
ln -s /etc/sv/cat /etc/runit/runsvdir/default/cat
put /etc/s6-rc/source/cat/run "$script"
put /run/service/cat/run "$script"
put /service/cat/run "$script"
put /etc/dinit.d/cat 'command = /bin/true\n'
put /etc/finit.d/cat.conf 'service /bin/true\n'
put /etc/inittab '# cat\n'
put /etc/supervisor/conf.d/cat.conf '[program:cat]\ncommand=true\n'
put /etc/monit/conf-enabled/cat 'check process cat matching cat\n'
put /etc/circus/circus.ini '[watcher:cat]\ncmd=true\n'
step catalog.A10.7
put /etc/xinetd.d/cat 'service cat\n'
put /etc/inetd.conf '# cat\n'
printf '# cat\n' >>/etc/hosts.allow

step catalog.A11.1
put /usr/share/dbus-1/system-services/org.cat.service '[D-BUS Service]\nName=org.cat\nExec=/bin/true\n'
put /usr/local/share/dbus-1/system-services/org.cat2.service '[D-BUS Service]\nName=org.cat2\nExec=/bin/true\n'
put /etc/dbus-1/system.d/org.cat.conf '<busconfig/>\n'
put /usr/share/dbus-1/session.d/org.cat.conf '<busconfig/>\n'
step catalog.A11.2
for root in /etc /run /usr/lib /usr/local/lib; do put $root/udev/rules.d/99-cat.rules 'KERNEL=="cat", RUN+="/bin/true"\n'; done
step catalog.A11.3
for hook in /etc/NetworkManager/dispatcher.d/pre-up.d/cat /usr/lib/NetworkManager/dispatcher.d/cat /etc/networkd-dispatcher/up.d/cat \
    /etc/network/if-up.d/cat /etc/dhcp/dhclient-exit-hooks.d/cat /etc/ppp/ip-up.d/cat; do
    put $hook "$script"
    chmod +x $hook
done
step catalog.A11.4
put /etc/apt/apt.conf.d/99cat '// cat\n'
put /etc/dpkg/dpkg.cfg.d/cat '# cat\n'
put /etc/pacman.d/hooks/cat.hook '[Action]\nExec=/bin/true\n'
step catalog.A11.5
put /etc/cron.d/cat '# cat\n'
put /var/spool/cron/crontabs/root '# cat\n'
printf '# cat\n' >>/etc/crontab
put /var/spool/cron/atjobs/a0000101b0a5c6 "$script"
step catalog.A11.7
for root in /etc /run /usr/local/lib /usr/lib; do put $root/modules-load.d/cat.conf '# cat\n'; done
put /etc/binfmt.d/cat.conf '# cat\n'
put /etc/modprobe.d/cat.conf '# cat\n'
printf '# cat\n' >>/etc/ld.so.preload
rm /etc/ld.so.preload
step catalog.A11.8
put /etc/polkit-1/rules.d/10-cat.rules '// cat\n'
put /usr/share/polkit-1/actions/org.cat.policy '<policyconfig/>\n'
step catalog.A11.10
put /etc/needrestart/hook.d/cat "$script"

# What follows has drop-ins of its own for cron.
rm -rf $etc/cron.service.{d,requires,upholds}
systemctl daemon-reload
