# What container engines are asked for, keep and run.
# shellcheck shell=bash

mkdir -p /opt/suite
cp /bin/true /opt/suite/agent
: >"$state/engines.out"
chmod 0666 "$state/engines.out"
login_alice 300 <<'LOGIN'
exec >>/run/e2e/engines.out 2>&1
cd /svcsensor/e2e
. ./lib.sh
sudo bash -c 'cd /svcsensor/e2e; for part in lib suite-engine; do . ./$part.sh; done'
LOGIN
cat "$state/engines.out"

# Containers are not children of whoever asks for them, so no login is needed.
for part in suite-containers suite-books; do
    # shellcheck source=/dev/null
    . "./$part.sh"
done
step engines-end
sleep 1
