# Containers that end at once, each writing a unit of the host: who it was must be known of each.
# shellcheck shell=bash

step short-lived
short_started=$(date +%s)
fact short.rss.before "$(awk '/^VmRSS/ { print $2 }' "/proc/$(sensor MainPID)/status")"
# short ENGINE NUMBER IMAGE: a container, and what the host is to look for.
short() {
    local unit=/etc/systemd/system/short-$2.service
    "$1" run --rm --cidfile "$state/short-$2" --name "short-$2" --network none --volume /etc/systemd/system:/u box \
        sh -c "echo '[Service]' >/u/short-$2.service" >/dev/null &&
        echo "container $unit $(cat "$state/short-$2") short-$2 $3"
}
# lane ENGINE IMAGE FIRST: every second number.
lane() {
    local number
    for ((number = $3; number <= $(cat containers); number += 2)); do short "$1" "$number" "$2"; done
}
lane docker box 1 >"$state/docker.lane" 2>&1 &
lanes=$!
lane podman localhost/box 2 >"$state/podman.lane" 2>&1
wait "$lanes"
cat "$state/docker.lane" "$state/podman.lane"
fact short.seconds $(($(date +%s) - short_started))
sleep 2
fact short.rss.after "$(awk '/^VmRSS/ { print $2 }' "/proc/$(sensor MainPID)/status")"
curl --silent "$address/metrics" | grep -E '^svcsensor_table_(entries|bytes|evictions_total)' |
    sed 's/[{"}]/./g; s/^/fact /'
