# An engine's own restart, with containers that come back by themselves.
# shellcheck shell=bash

step restart.prepare
# every FIRST: each second container.
every() {
    local number
    for ((number = $1; number <= $(cat restarted); number += 2)); do
        docker run --detach --restart always --network none --name "restart-$number" box sleep 1000000 >/dev/null
    done
}
every 1 &
lanes=$!
every 2
wait "$lanes"
# All of them: by their own processes, as docker's books may be behind.
running() { [ "$(pgrep --full --count --exact 'sleep 1000000')" = "$(cat restarted)" ]; }
check restart.all-run eventually 60 running
sleep 5

step quiet.engine-restart
started=$(date +%s)
check restart.restarted systemctl restart docker.service
check restart.all-came-back eventually 240 running
fact restart.seconds $(($(date +%s) - started))
sleep 5

step restart.end
fact restart.rss "$(awk '/^VmRSS/ { print $2 }' "/proc/$(sensor MainPID)/status")"
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null
