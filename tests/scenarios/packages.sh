# Packages installed, upgraded, reinstalled, removed and purged, by apt out of archives in files: known software, told by
# its content. Every unit that a step has changed is named to the host, which looks for its proof.
# shellcheck shell=bash

export DEBIAN_FRONTEND=noninteractive
work=/var/tmp/packages
mkdir -p "$work"
archive() {
    for name in "$@"; do echo "deb [trusted=yes] file:/srv/packages/$name ./"; done >/etc/apt/sources.list
    apt-get update >/dev/null
}

apt() { apt-get --yes --quiet --no-install-recommends "$@"; }

# owned STEP PACKAGE...: their units, as the step has left them.
owned() {
    local step=$1
    shift
    for package in "$@"; do
        dpkg-query --listfiles "$package" | grep -E '^(/usr)?/lib/systemd/system/[^/]*\.[a-z]*$' | while read -r unit; do
            [ -f "$unit" ] && [ ! -L "$unit" ] && fact "unit.$step.${unit##*/}" "$package $(dpkg-query -W -f '${Version}' "$package")"
        done
    done
}

# repack PACKAGE VERSION: what is installed, as a package of another version. Units say which.
repack() {
    local name=$1 version=$2 tree=$work/tree/$1 file info
    rm -rf "$tree"
    mkdir -p "$tree/DEBIAN"
    # /bin and its like are links here, and directories to packages.
    dpkg-query --listfiles "$name" | sed 's,^/,,' | while read -r file; do
        [[ $file == */* ]] && { [ -e "/$file" ] || [ -L "/$file" ]; } && echo "$file"
    done >"$work/files"
    tar -C / --no-recursion -cf - -T "$work/files" 2>/dev/null | tar -C "$tree" -xf -
    dpkg-query --status "$name" | awk -v version="$version" '
        /^[A-Za-z]/ { skip = /^(Status|Conffiles|Config-Version):/ }
        /^Version:/ { print "Version: " version; next }
        # Of packages of one source all are new.
        /^(Pre-)?Depends:/ { gsub(/\(= /, "(>= ") }
        !skip' >"$tree/DEBIAN/control"
    for file in /var/lib/dpkg/info/"$name".* /var/lib/dpkg/info/"$name":amd64.*; do
        info=${file##*.}
        case $info in preinst | postinst | prerm | postrm | conffiles | md5sums | triggers | templates | config | shlibs)
            [ -f "$file" ] && cp -a "$file" "$tree/DEBIAN/$info" ;;
        esac
    done
    find "$tree" -path '*/lib/systemd/system/*' -type f -not -path '*/DEBIAN/*' | while read -r file; do
        echo "# $version" >>"$file"
        file=${file#"$tree"/}
        sed -i "s,^[0-9a-f]*  $file\$,$(md5sum <"$tree/$file" | cut -d' ' -f1)  $file," "$tree/DEBIAN/md5sums"
    done
}

# build PACKAGE INTO
build() { mkdir -p "$2" && dpkg-deb -Znone --build "$work/tree/$1" "$2" >/dev/null; }

step prepare.packages
archive old new
older=$(sed -n 's/^Version: //p' /srv/packages/old/Packages)

step packages.install
check packages.install apt install "memcached=$older" at acpid
owned packages.install memcached at acpid
step packages.upgrade
check packages.upgrade apt install memcached
owned packages.upgrade memcached
step packages.reinstall
check packages.reinstall dpkg --install /srv/packages/new/at_*.deb
owned packages.reinstall at

step prepare.many
many=
for package in cron openssh-server dbus rsync nftables e2fsprogs util-linux logrotate at memcached procps sudo kmod iproute2 \
    iptables uidmap curl conmon catatonit slirp4netns fuse-overlayfs openssh-client openssh-sftp-server mount \
    bsdutils adduser hostname debianutils diffutils findutils sensible-utils ucf runit-helper \
    cron-daemon-common dbus-bin dbus-daemon dbus-user-session dbus-system-bus-common dbus-session-bus-common \
    libpam-systemd media-types busybox-static init-system-helpers netbase ncurses-base ncurses-bin libpam-runtime; do
    version=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null) || continue
    [ -n "$version" ] || continue
    repack "$package" "$version+e2e1"
    build "$package" "$work/many" && many="$many $package"
done
# shellcheck disable=SC2086
set -- $many
fact packages.many $#
step packages.many
check packages.many apt -o Dpkg::Options::=--force-confold install "$work"/many/*.deb
sleep 1
owned packages.many "$@"

step prepare.conffile
repack at "$(dpkg-query -W -f '${Version}' at)+1"
echo '# as the package has it' >>"$work/tree/at/etc/init.d/atd"
build at "$work/one"
repack at "$(dpkg-query -W -f '${Version}' at)+2"
echo '# as the next package has it' >>"$work/tree/at/etc/init.d/atd"
build at "$work/two"
echo '# as the administrator has it' >>/etc/init.d/atd
sleep 2
step packages.conffile-kept
check packages.conffile-kept dpkg --force-confold --install "$work"/one/at_*.deb
step packages.conffile-replaced
check packages.conffile-replaced dpkg --force-confnew --install "$work"/two/at_*.deb
owned packages.conffile-replaced at

step packages.divert
unit=$(readlink -f /lib/systemd/system)/atd.service
check packages.divert dpkg-divert --local --rename --add "$unit"
check packages.undivert dpkg-divert --local --rename --remove "$unit"
step packages.alternatives
check packages.alternatives update-alternatives --install /usr/bin/e2e-editor e2e-editor /usr/bin/vim.tiny 10
check packages.no-alternatives update-alternatives --remove e2e-editor /usr/bin/vim.tiny
step packages.remove
check packages.remove apt remove acpid
step packages.purge
check packages.purge apt purge memcached at acpid
sleep 3
fact proof.cpu-ticks "$(for task in /proc/"$(sensor MainPID)"/task/*; do
    [ "$(cat "$task/comm")" = svcsensor-proof ] && awk '{ print $14 + $15 }' "$task/stat"
done)"
