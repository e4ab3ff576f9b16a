# What Debian 13 has and 12 has not: Quadlet, run0, capsules, units out of credentials, versioned directories.
# shellcheck shell=bash

mkdir -p /opt/suite
cp /bin/true /opt/suite/agent
: >"$state/trixie.out"
chmod 0666 "$state/trixie.out"
login_alice 240 <<'LOGIN'
exec >>/run/e2e/trixie.out 2>&1
cd /svcsensor/e2e
. ./lib.sh
. ./suite-trixie-user.sh
sudo bash -c 'cd /svcsensor/e2e; for part in lib suite-trixie; do . ./$part.sh; done'
LOGIN
cat "$state/trixie.out"
step trixie-end
sleep 1
