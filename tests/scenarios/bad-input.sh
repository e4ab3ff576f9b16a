# Where the sensor cannot run it says why; where only a part fails, the rest goes on.
# shellcheck shell=bash

step bad-input
run="svcsensor run --metrics-address none"
echo 'outptu = ["jsonl"]' >"$state/bad.toml"
exits bad.config 2 'bad.toml:1: outptu.*did you mean `output`' svcsensor run --config "$state/bad.toml"
# shellcheck disable=SC2086
exits bad.privilege 3 'CAP_BPF.*root' setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all $run
mkdir -p "$state/empty"
# shellcheck disable=SC2086
exits bad.btf 3 '/sys/kernel/btf/vmlinux' unshare --mount sh -c "mount --bind $state/empty /sys/kernel/btf && exec $run"
# shellcheck disable=SC2086
exits bad.recording-exists 4 'is it there already' $run --record "$recording"

mkdir -p "$state/small"
mount -t tmpfs -o size=64k small "$state/small"
NO_COLOR=1 $run --output jsonl --record "$state/small/full.svcrec" >"$state/small.jsonl" 2>"$state/small.err" &
sensor=$!
eventually 20 grep -q ' watching ' "$state/small.err"
for number in 1 2 3; do
    # Enough records to fill the recording, and one that matters.
    for _ in $(seq 200); do /bin/true; done
    bash -c "echo '[Service]' >/etc/systemd/system/full-$number.service"
    sleep 0.5
done
eventually 10 grep -q full-3.service "$state/small.jsonl"
verdict bad.disk-full.alerts $? "$(wc -l <"$state/small.jsonl") alerts; $(brief "$(cat "$state/small.err")")"
[ "$(grep -c 'the recording ends here' "$state/small.err")" = 1 ]
verdict bad.disk-full.said-once $? "$(brief "$(cat "$state/small.err")")"
kill -TERM "$sensor"
wait "$sensor"
verdict bad.disk-full.exit $? "status $?: $(brief "$(cat "$state/small.err")")"
umount "$state/small"
