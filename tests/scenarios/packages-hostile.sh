# What only looks like known software, each as the host's list has it (xtask/src/test/e2e/packages.txt).
# shellcheck shell=bash

# package NAME: a tree with a control file.
package() {
    rm -rf "$work/tree/$1"
    mkdir -p "$work/tree/$1/DEBIAN"
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: e2e <e2e@localhost>\nDescription: a test\n' "$1" \
        >"$work/tree/$1/DEBIAN/control"
}

# script PACKAGE NAME: a maintainer script out of standard input.
script() {
    { echo '#!/bin/sh'; cat; } >"$work/tree/$1/DEBIAN/$2"
    chmod 755 "$work/tree/$1/DEBIAN/$2"
}

# sums PACKAGE: md5sums of what it holds.
sums() { (cd "$work/tree/$1" && find . -type f -not -path './DEBIAN/*' -printf '%P\0' | xargs -0 -r md5sum >DEBIAN/md5sums); }

step prepare.hostile
mkdir -p /opt/suite
printf '#!/bin/sh\nprintf "[Service]\\nExecStart=/opt/suite/agent\\n" >/etc/systemd/system/planted-$1.service\n' >/opt/suite/plant
chmod 755 /opt/suite/plant
unit='[Service]\nExecStart=/usr/bin/true\n'
package e2e-tmp
put "$work/tree/e2e-tmp/usr/lib/systemd/system/e2e-tmp.service" '[Service]\nExecStart=/tmp/agent\n'
package e2e-foreign
put "$work/tree/e2e-foreign/usr/lib/systemd/system/e2e-foreign.service" '[Service]\nExecStart=/opt/suite/plant x\n'
package e2e-plant
echo '/opt/suite/plant script' | script e2e-plant postinst
package e2e-trigger
echo 'interest-noawait /usr/share/e2e' >"$work/tree/e2e-trigger/DEBIAN/triggers"
echo '[ "$1" != triggered ] || /opt/suite/plant trigger' | script e2e-trigger postinst
package e2e-activate
put "$work/tree/e2e-activate/usr/share/e2e/x" x
package e2e-copy
put "$work/tree/e2e-copy/usr/lib/systemd/system/e2e-copy.service" "$unit"
package e2e-admindir
put "$work/tree/e2e-admindir/usr/lib/systemd/system/e2e-admindir.service" "$unit"
package e2e-hook
for name in tmp foreign plant trigger activate copy admindir hook; do
    sums "e2e-$name"
    build "e2e-$name" "$work/hostile"
done
cp /usr/bin/dpkg /tmp/dpkg
cp -r /var/lib/dpkg /tmp/admindir
sleep 2

step hostile.tmp
check hostile.tmp dpkg --install "$work/hostile/e2e-tmp_1_all.deb"
step hostile.foreign
check hostile.foreign dpkg --install "$work/hostile/e2e-foreign_1_all.deb"
step hostile.script
check hostile.script dpkg --install "$work/hostile/e2e-plant_1_all.deb"
step hostile.trigger
check hostile.trigger.interested dpkg --install "$work/hostile/e2e-trigger_1_all.deb"
check hostile.trigger dpkg --install "$work/hostile/e2e-activate_1_all.deb"
step hostile.pre-invoke
check hostile.pre-invoke dpkg --pre-invoke='/opt/suite/plant pre-invoke' --install "$work/hostile/e2e-hook_1_all.deb"
step hostile.apt-hook
echo 'DPkg::Pre-Invoke { "/opt/suite/plant apt-hook"; };' >/etc/apt/apt.conf.d/99e2e
check hostile.apt-hook apt purge e2e-hook
rm /etc/apt/apt.conf.d/99e2e
step hostile.copy
check hostile.copy /tmp/dpkg --admindir=/tmp/admindir --install "$work/hostile/e2e-copy_1_all.deb"
step hostile.admindir
check hostile.admindir dpkg --admindir=/tmp/admindir --install "$work/hostile/e2e-admindir_1_all.deb"
step hostile.edited
printf "$unit" >"$work/forged"
echo "$(md5sum <"$work/forged" | cut -d' ' -f1)  etc/systemd/system/forged.service" >>/var/lib/dpkg/info/e2e-tmp.md5sums
echo /etc/systemd/system/forged.service >>/var/lib/dpkg/info/e2e-tmp.list
sleep 1
check hostile.edited dpkg --pre-invoke="cp $work/forged /etc/systemd/system/forged.service" --configure --pending
sleep 3
