# The end of the service, and its recording.
# shellcheck shell=bash

step ending
fact rss.end "$(awk '/^VmRSS/ { print $2 }' "/proc/$(sensor MainPID)/status")"
fact rss.peak "$(awk '/^VmHWM/ { print $2 }' "/proc/$(sensor MainPID)/status")"
fact restarts "$(sensor NRestarts)"
check stop systemctl stop svcsensor.service
[ "$(sensor Result)" = success ] && [ "$(sensor ExecMainStatus)" = 0 ]
verdict stop.status $? "$(sensor Result), status $(sensor ExecMainStatus)"

# A plain user without any privilege reads what root recorded.
unprivileged="setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all"
cp "$recording" "$state/whole.svcrec"
chmod 0644 "$state/whole.svcrec"
# shellcheck disable=SC2086
$unprivileged svcsensor replay --output jsonl "$state/whole.svcrec" >"$state/replay.jsonl" 2>"$state/replay.err"
verdict replay.status $? "$(brief "$(cat "$state/replay.err")")"
difference=$(cmp "$live" "$state/replay.jsonl" 2>&1)
verdict replay.same-bytes $? "$difference; $(wc -l <"$live") lines live, $(wc -l <"$state/replay.jsonl") replayed"
fact recording.bytes "$(stat -c %s "$recording")"
fact recording.alerts "$(wc -l <"$live")"
svcsensor replay --output pretty "$state/whole.svcrec" | head -n 2000 | sed 's/^/pretty /'

size=$(stat -c %s "$recording")
head -c $((size - size / 20)) "$recording" >"$state/cut.svcrec"
svcsensor replay --output jsonl "$state/cut.svcrec" >"$state/cut.jsonl" 2>"$state/cut.err"
status=$?
[ "$status" = 4 ] && grep -q 'cut.svcrec' "$state/cut.err"
verdict bad.recording-cut $? "status $status: $(brief "$(cat "$state/cut.err")")"
[ -s "$state/cut.jsonl" ] && cmp -s <(head -n 1 "$live") <(head -n 1 "$state/cut.jsonl")
verdict bad.recording-cut.alerts $? "$(wc -l <"$state/cut.jsonl") alerts up to the cut, the first is another"
head -c 100000 /dev/zero >"$state/zero.svcrec"
exits bad.recording-zero 4 'zero.svcrec' svcsensor replay "$state/zero.svcrec"
exits bad.recording-none 4 'none.svcrec' svcsensor replay "$state/none.svcrec"
