# Enabling and arming, generators, the manager's configuration and requests to it (docs/CATALOG.md, A4 to A7). Run as root
# out of alice's login.
# shellcheck shell=bash

etc=/etc/systemd/system
manager=(org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager)
script='#!/bin/sh\nexit 0\n'
for name in reenable runtime preset wants requires masked shm offline dep bus-preset; do put $etc/cat-$name.service; done
put /dev/shm/cat-link.service
for name in socket bus; do put /opt/suite/cat-private-$name.service; done

step catalog.A4.1
systemctl reenable cat-reenable.service
systemctl enable --runtime cat-runtime.service
put /etc/systemd/system-preset/10-cat.preset 'enable cat-preset.service\nenable cat-bus-preset.service\n'
systemctl preset cat-preset.service
systemctl add-wants multi-user.target cat-wants.service
systemctl add-requires multi-user.target cat-requires.service
ln -s /dev/null $etc/cat-was-masked.service
systemctl unmask cat-was-masked.service
step catalog.A4.2
mkdir -p $etc/cron.service.requires $etc/cron.service.upholds
ln -s ../cat-masked.service $etc/cron.service.requires/cat-masked.service
ln -s ../cat-masked.service $etc/cron.service.upholds/cat-masked.service
step catalog.A4.3
mkdir -p /mnt/cat
unshare --mount sh -c 'mount --bind / /mnt/cat; systemctl --root=/mnt/cat enable cat-offline.service; chroot /mnt/cat systemctl enable cat-shm.service'
step catalog.A4.4
systemctl link /dev/shm/cat-link.service
exec 9</opt/suite/agent
ln -s /proc/$$/fd/9 $etc/cat-descriptor.service
exec 9<&-
step catalog.A4.5
for root in /etc /run /usr/local/lib /usr/lib; do
    for kind in system user initrd; do put $root/systemd/$kind-preset/50-cat.preset 'disable cat-none.service\n'; done
done
step catalog.A4.6
systemctl mask auditd.service
put $etc/falco.service ''
put $etc/systemd-journald.service.d/cat.conf '[Service]\nExecStart=\n'
rm -r $etc/systemd-journald.service.d
step catalog.A4.7
systemctl enable debug-shell.service
systemctl enable podman-restart.service
systemctl disable debug-shell.service podman-restart.service
unexplained() { entries SVCSENSOR_RULE=systemd.service.unexplained | grep -q .; }
# The manager goes on knowing a unit whose file is gone, where another one names it.
put $etc/cat-gone.service '[Service]\nExecStart=/bin/sleep 1000\n'
put $etc/cron.service.d/cat-gone.conf '[Unit]\nWants=cat-gone.service\n'
systemctl daemon-reload
rm $etc/cat-gone.service
step catalog.A4.9
systemctl start cat-gone.service
eventually 20 unexplained
systemctl stop cat-gone.service
step catalog.A4.10
systemctl set-environment CAT=1
systemctl unset-environment CAT
# Refused for want of a namespace of cron's own, but asked.
systemctl bind cron.service /opt/suite /mnt
systemctl mount-image cron.service /opt/suite/root.raw /mnt

# A file that is not executable yet is run by nobody; with its mode it is told.
step catalog.A5
for root in /run /etc /usr/local/lib /usr/lib; do
    for kind in system user; do
        for name in generators environment-generators; do
            put $root/systemd/$kind-$name/cat "$script"
            chmod +x $root/systemd/$kind-$name/cat
        done
    done
done
step catalog.A5-end
rm {/run,/etc,/usr/local/lib,/usr/lib}/systemd/{system,user}-{,environment-}generators/cat
step catalog.A5.8
ln -s /dev/null /etc/systemd/system-generators/systemd-debug-generator
step catalog.A5.9
printf '# cat\n' >>/etc/fstab
printf '# cat\n' >>/etc/crypttab
put /etc/xdg/autostart/cat.desktop '[Desktop Entry]\nType=Application\nExec=/opt/suite/agent\n'

step catalog.A6.1
printf '#\n' >>/etc/systemd/system.conf
for root in /etc /run /usr/local/lib /usr/lib; do
    put $root/systemd/system.conf.d/cat.conf '[Manager]\nDefaultEnvironment=CAT=1\n'
done
step catalog.A6.2
printf '#\n' >>/etc/systemd/user.conf
for root in /etc /run /usr/local/lib /usr/lib; do put $root/systemd/user.conf.d/cat.conf '[Manager]\n'; done
step catalog.A6.3
systemctl set-environment LD_PRELOAD=/tmp/cat.so
systemctl unset-environment LD_PRELOAD
step catalog.A6.4
for root in /etc /run /usr/lib; do put $root/environment.d/cat.conf 'CAT=1\n'; done
printf '# cat\n' >>/etc/environment
printf '# cat\n' >>/etc/security/pam_env.conf
step catalog.A6.5
put /etc/default/cat 'OPTIONS=\n'
put /etc/sysconfig/cat 'OPTIONS=\n'
cp /bin/true /opt/suite/cat-program
put $etc/cat-program.service '[Service]\nExecStart=/opt/suite/cat-program\n'
# Watched once the unit is read.
replaced() {
    cp /bin/false /opt/suite/cat-program
    sleep 1
    told /opt/suite/cat-program
}
step catalog.A6.6
eventually 20 replaced
step catalog.A6.7
put /etc/default/grub 'GRUB_CMDLINE_LINUX="init=/opt/suite/agent"\n'
put /etc/kernel/cmdline 'root=/dev/vda init=/opt/suite/agent\n'
put /etc/kernel/cmdline.d/cat.conf 'systemd.run=/opt/suite/agent\n'
put /boot/grub/grub.cfg 'linux /vmlinuz init=/opt/suite/agent\n'
put /boot/loader/entries/cat.conf 'options init=/opt/suite/agent\n'
step catalog.A6.8
for root in /etc /run /usr/local/lib /usr/lib; do
    put $root/tmpfiles.d/cat.conf 'f+ /run/systemd/system/cat-tmp.service 0644 - - - [Service]\n'
done
step catalog.A6.8-run
systemd-tmpfiles --create cat.conf
step catalog.A6.9
for hook in /usr/lib/systemd/system-sleep/cat /usr/lib/systemd/system-shutdown/cat /etc/systemd/system-sleep/cat \
    /etc/kernel/install.d/99-cat.install /etc/kernel/postinst.d/cat; do
    put $hook "$script"
    chmod +x $hook
done
rm -f {/usr/lib,/etc}/systemd/system-{sleep,shutdown}/cat

step catalog.A7.1
busctl call "${manager[@]}" AddDependencyUnitFiles asssbb 1 cat-dep.service multi-user.target Wants false false
busctl call "${manager[@]}" PresetUnitFiles asbb 1 cat-bus-preset.service false false
busctl call "${manager[@]}" MaskUnitFiles asbb 1 cat-mask.service false false
dbus-send --system --print-reply --dest=org.freedesktop.systemd1 /org/freedesktop/systemd1 \
    org.freedesktop.systemd1.Manager.SetDefaultTarget string:multi-user.target boolean:true
step catalog.A7.2
systemd-run --unit=cat-path --path-property=PathExists=/tmp/cat-now /bin/true
systemd-run --unit=cat-listen --socket-property=ListenStream=/run/cat.sock /bin/true
step catalog.A7.3
python3 "$state/call.py" /run/systemd/private LinkUnitFiles /opt/suite/cat-private-socket.service
step catalog.A7.4
python3 "$state/call.py" /run/dbus/system_bus_socket LinkUnitFiles /opt/suite/cat-private-bus.service
step catalog.A7.6
systemd-run --machine=alice@.host --user --unit=cat-machine /bin/true
step catalog.A7.7
put /etc/polkit-1/rules.d/00-cat.rules 'polkit.addRule(function() { return polkit.Result.YES; });\n'
put /usr/local/share/polkit-1/rules.d/00-cat.rules 'polkit.addRule(function() { return polkit.Result.YES; });\n'
