#!/bin/bash
# The end-to-end test inside a Debian guest: does, one after another, what the sensor must tell and what it must not,
# and hands everything to the host, which judges (xtask/src/test/e2e).
set -u
cd /svcsensor/e2e || exit 1
. ./lib.sh
mkdir -p "$state"
# Alice leaves marks there, too.
chmod 1777 "$state"

# The host chooses them (xtask/src/test/e2e).
for part in $(cat parts); do
    started=$(date +%s.%N)
    # shellcheck source=/dev/null
    . "./$part.sh"
    fact "seconds.$part" "$(date +%s.%N | awk -v s="$started" '{ printf "%.1f", $1 - s }')"
done

step end
sed 's/^/alert /' "$live"
entries | sed 's/^/entry /'
gzip -c "$recording" | base64 --wrap=16000 | sed 's/^/recording /'
echo complete
