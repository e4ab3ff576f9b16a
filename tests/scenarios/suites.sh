# The public suites, written anew after their descriptions (Atomic Red Team, PANIX), and the ways around a watcher of
# paths and names. What each must tell is data of the host's (xtask/src/test/e2e/suites.rs).
# shellcheck shell=bash

mkdir -p /opt/suite
cp /bin/true /opt/suite/agent
# Beside units, what comes with its directory in the first milliseconds is found, not seen.
mkdir -p /usr/local/etc/rc.d
: >"$state/suites.out"
chmod 0666 "$state/suites.out"
login_alice 450 <<'LOGIN'
exec >>/run/e2e/suites.out 2>&1
cd /svcsensor/e2e
. ./lib.sh
. ./suite-user.sh
sudo bash -c 'cd /svcsensor/e2e; for part in lib suite-atomic suite-panix suite-ways suite-engine; do . ./$part.sh; done'
LOGIN
cat "$state/suites.out"

# Containers are not children of whoever asks for them, so no login is needed.
for part in suite-containers; do
    # shellcheck source=/dev/null
    . "./$part.sh"
done
step suites-end
sleep 1
