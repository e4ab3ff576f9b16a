# Every unit directory, type of unit, trigger and drop-in of the system manager (docs/CATALOG.md, A1 to A3). Run as root
# out of alice's login. A step is a row; what belongs to a row of the public suites is not repeated.
# shellcheck shell=bash

etc=/etc/systemd/system
vendor=/usr/lib/systemd/system
# Does nothing to a unit to which it is added.
harmless='[Unit]\nDocumentation=man:cat(1)\n'

step catalog.A1.1
put /etc/systemd/system.control/cat.service
put /etc/systemd/system.control/cron.service.d/cat.conf "$harmless"
step catalog.A1.2
put /run/systemd/system.control/cat.service
put /run/systemd/system.control/cron.service.d/cat.conf "$harmless"
step catalog.A1.3
put /run/systemd/transient/cat.service
step catalog.A1.4
for output in generator.early generator generator.late; do put /run/systemd/$output/cat.service; done
step catalog.A1.6
put /etc/systemd/system.attached/cat.service
put /run/systemd/system.attached/cat.service
step catalog.A1.7
put /run/systemd/system/cat.service
step catalog.A1.9
put $vendor/cat-vendor.service
put /lib/systemd/system/cat-lib.service
step catalog.A1.10
put /etc/systemd/system.conf.d/cat-path.conf '[Manager]\nManagerEnvironment=SYSTEMD_UNIT_PATH=/opt/suite/units:\n'
put /etc/default/grub.d/cat-path.cfg 'GRUB_CMDLINE_LINUX="systemd.setenv=SYSTEMD_UNIT_PATH=/opt/suite/units:"\n'
eventually 30 told /etc/systemd/system.conf.d/cat-path.conf
rm /etc/systemd/system.conf.d/cat-path.conf
# Capsules are there before their units; what comes with a directory that nobody awaits is found, and then it is watched.
for root in /run/capsules/cat /var/lib/capsules/cat/.config; do put $root/systemd/user/cat-early.service; done
for root in /run/capsules/cat /var/lib/capsules/cat/.config; do eventually 30 told $root/systemd/user/cat-early.service; done
step catalog.A1.11
put /run/capsules/cat/systemd/user/cat.service
put /var/lib/capsules/cat/.config/systemd/user/cat.service
step catalog.A1.12
put /efi/loader/credentials/systemd.extra-unit.cat.service.cred 'sealed\n'
put /boot/loader/credentials/systemd.unit-dropin.cron.service.cred 'sealed\n'

step catalog.A2.1
put $etc/cat-service.service '[Service]\nUser=root\nEnvironment=LD_PRELOAD=/tmp/cat.so\nRootImage=/opt/suite/root.raw\n
ExecCondition=-/bin/true\nExecStartPre=+/bin/true\nExecStart=@/opt/suite/agent cron\nExecStopPost=!/bin/true\n'
step catalog.A2.2
put $etc/cat-alone.timer '[Timer]\nOnBootSec=1h\nUnit=cron.service\n'
step catalog.A2.3
put $etc/cat-accept.socket '[Socket]\nListenStream=127.0.0.1:9\nAccept=yes\n'
put $etc/cat-accept@.service
put $etc/cat-fifo.socket '[Socket]\nListenFIFO=/run/cat\n'
step catalog.A2.4
put $etc/cat.path '[Path]\nPathExists=/tmp/cat-now\nUnit=cron.service\n'
step catalog.A2.5
put $etc/mnt-cat.mount '[Mount]\nWhat=/opt/suite\nWhere=/mnt/cat\nOptions=bind\n'
put $etc/mnt-cat.automount '[Automount]\nWhere=/mnt/cat\n'
step catalog.A2.6
put $etc/swap-cat.swap '[Unit]\nWants=cron.service\n[Swap]\nWhat=/swap/cat\n'
put $etc/cat.slice '[Unit]\nOnFailure=cron.service\n'
put $etc/dev-cat.device '[Unit]\nWants=cron.service\n'
put $etc/cat.scope '[Unit]\nWants=cron.service\n'
step catalog.A2.7
put $etc/cat.target '[Unit]\nWants=cron.service\nUpholds=cron.service\n'
systemctl set-default graphical.target
step catalog.A2.8
put $etc/cat-template@.service '[Service]\nExecStart=/bin/sh -c "%I"\n'
mkdir -p $etc/multi-user.target.wants $etc/getty.target.wants
ln -s ../cat-template@.service "$etc/multi-user.target.wants/cat-template@id.service"
ln -s $vendor/getty@.service $etc/getty.target.wants/getty@cat.service
step catalog.A2.9
put $etc/cron.service.d/cat-failure.conf '[Unit]\nOnFailure=cat.service\nOnSuccess=cat.service\n'
put $etc/cat-also.service
put $etc/cat-names.service '[Service]\nExecStart=/opt/suite/agent\n[Install]\nAlias=cat-alias.service\nAlso=cat-also.service\n'
systemctl enable cat-names.service
step catalog.A2.10
mkdir -p $etc/dev-ttyS0.device.wants
ln -s ../cat-also.service $etc/dev-ttyS0.device.wants/cat-also.service
put /etc/udev/rules.d/99-cat-wants.rules 'KERNEL=="cat", TAG+="systemd", ENV{SYSTEMD_WANTS}="cat.service"\n'
step catalog.A2.11
ln -s $vendor/cron.service $etc/dbus-org.freedesktop.cat.service
step catalog.A2.12
cp /bin/true $vendor/cat-agent
install -m 755 /bin/true $etc/cat-installed
printf '#!/bin/sh\n' >$etc/cat-script
chmod +x $etc/cat-script
step catalog.A2.13
put $etc/systemd-journal.service
put $etc/cron-.service
put $etc/ѕsh.service

step catalog.A3.1
put $etc/cron.service.d/cat.conf '[Service]\nExecStartPost=/opt/suite/agent\n'
step catalog.A3.2
for type in service timer socket mount slice; do put $etc/$type.d/cat.conf "$harmless"; done
rm -r $etc/{service,timer,socket,mount,slice}.d
step catalog.A3.3
put $etc/cat-.service.d/cat.conf "$harmless"
step catalog.A3.4
put $etc/getty@.service.d/cat.conf "$harmless"
put $etc/getty@cat.service.d/cat.conf "$harmless"
step catalog.A3.5
put $etc/dbus-org.freedesktop.login1.service.d/cat.conf "$harmless"
step catalog.A3.6
for directory in /run/systemd/system $vendor /usr/local/lib/systemd/system /etc/systemd/system.attached /run/systemd/transient; do
    put $directory/cron.service.d/cat.conf "$harmless"
done
step catalog.A3.7
put /opt/suite/linked.d/early.conf "$harmless"
put /opt/suite/cat.conf "$harmless"
put /opt/suite/whole.d/cat.conf "$harmless"
ln -s /opt/suite/linked.d $etc/rsync.service.d
ln -s /opt/suite/cat.conf $etc/cron.service.d/cat-link.conf
mv /opt/suite/whole.d $etc/logrotate.service.d
eventually 30 told /opt/suite/linked.d/early.conf
step catalog.A3.7-later
put /opt/suite/linked.d/late.conf "$harmless"
step catalog.A3.8
for unit in user@.service user-.slice user-1000.slice user@1000.service; do put $etc/$unit.d/cat.conf "$harmless"; done
