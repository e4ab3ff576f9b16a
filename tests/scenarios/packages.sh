# Packages installed, upgraded, reinstalled, removed and purged, by apt out of archives in files.
# shellcheck shell=bash

export DEBIAN_FRONTEND=noninteractive
archive() {
    for name in "$@"; do echo "deb [trusted=yes] file:/srv/packages/$name ./"; done >/etc/apt/sources.list
    apt-get update >/dev/null
}

apt() { apt-get --yes --quiet --no-install-recommends "$@"; }

step packages.install
archive old new
older=$(sed -n 's/^Version: //p' /srv/packages/old/Packages)
check packages.install apt install "memcached=$older" at acpid
step packages.upgrade
check packages.upgrade apt install memcached
step packages.reinstall
check packages.reinstall dpkg --install /srv/packages/new/at_*.deb
step packages.remove
check packages.remove apt remove acpid
step packages.purge
check packages.purge apt purge memcached at acpid
sleep 1
