# Files that are no units, or no end of one, where units belong.
# shellcheck shell=bash

units=/etc/systemd/system
pid=$(sensor MainPID)
memory() { awk -v field="$1:" '$1 == field { print $2 }' "/proc/$pid/status"; }

fact hostile.rss-before "$(memory VmRSS)"
step hostile.large
{
    printf '[Service]\nExecStart=/bin/true\n'
    yes 2>/dev/null 'Environment=A=0123456789012345678901234567890123456789012345678901234567890123456789' | head -c 10485760
} >$units/hostile-large.service
step hostile.line
{
    printf '[Service]\nExecStart=/bin/true '
    head -c 10485760 /dev/zero | tr '\0' x
} >$units/hostile-line.service
step hostile.nuls
{
    printf '[Service]\nExecStart=/bin/true\n'
    head -c 100000 /dev/zero
    printf '\nExecStart=/bin/false\n'
} >$units/hostile-nuls.service
step hostile.random
head -c 200000 /dev/urandom >$units/hostile-random.service
step hostile.fifo
mkfifo $units/hostile-fifo.service
step hostile.fifo-renamed
mkfifo /etc/hostile-fifo
mv /etc/hostile-fifo $units/hostile-renamed.service
step hostile.fifo-linked
mkfifo /etc/hostile-fifo
ln -s /etc/hostile-fifo $units/hostile-linked.service
step hostile.device
mknod $units/hostile-device.service c 1 5
step hostile.zeros
ln -s /dev/zero $units/hostile-zeros.service
step hostile.terminal
ln -s /dev/ttyS0 $units/hostile-terminal.service
step hostile.socket
python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('$units/hostile-socket.service')"
step hostile.loop
ln -s hostile-loop-b.service $units/hostile-loop-a.service
ln -s hostile-loop-a.service $units/hostile-loop-b.service
step hostile.long
mkdir -p "$units/$(printf 'x%.0s' $(seq 240)).service.d"
printf '[Service]\nUser=root\n' >"$units/$(printf 'x%.0s' $(seq 240)).service.d/$(printf 'y%.0s' $(seq 250)).conf"

step hostile.drop-ins
# The directory in one piece, then one more by itself.
mkdir /etc/hostile.d
python3 - <<'PYTHON'
for number in range(10000):
    with open(f"/etc/hostile.d/{number}.conf", "w") as file:
        file.write("[Service]\nEnvironment=N=%d\n" % number)
PYTHON
mv /etc/hostile.d $units/cron.service.d
printf '[Service]\nExecStartPost=/bin/true\n' >$units/cron.service.d/zz-last.conf
eventually 20 told $units/cron.service.d/zz-last.conf
step hostile.reload
check hostile.cron-restarts sh -c 'systemctl daemon-reload; systemctl restart cron.service'

# Many names of one unit.
step hostile.aliases
python3 - <<'PYTHON'
import os

for number in range(400):
    os.symlink("/lib/systemd/system/cron.service", f"/etc/systemd/system/hostile-alias-{number}.service")
PYTHON
eventually 20 told $units/hostile-alias-399.service

step hostile.rewritten
python3 - <<'PYTHON'
import os, time

path = "/etc/systemd/system/hostile-rewritten.service"
end = time.time() + 5
number = 0
while time.time() < end:
    with open(path, "w") as file:
        file.write("[Service]\nExecStart=/bin/true %d\n" % number * (1 + number % 500))
    if number % 7 == 0:
        os.unlink(path)
    number += 1
print("fact hostile.rewrites", number, flush=True)
PYTHON
fact hostile.rss-after "$(memory VmRSS)"
fact hostile.rss-peak "$(memory VmHWM)"
fact hostile.threads "$(memory Threads)"

# The sensor is as quick as before, so nothing holds it up.
step hostile.after
sleep 2
bash -c "printf '[Service]\nExecStart=/bin/true\n' >$units/hostile-after.service; date +%s%N >$state/after.ns"
fact hostile.after.ns "$(cat "$state/after.ns")"
eventually 10 told $units/hostile-after.service
[ "$(sensor MainPID)" = "$pid" ] && [ "$(sensor ActiveState)" = active ]
verdict hostile.running $? "process $pid became $(sensor MainPID), $(sensor ActiveState), $(sensor Result)"
for file in large line nuls random fifo renamed linked device zeros terminal socket loop-a loop-b alias-399 rewritten after; do
    told "$units/hostile-$file.service"
    verdict "hostile.told.$file" $? "no alert about hostile-$file.service"
done
told $units/cron.service.d || told $units/cron.service.d/zz-last.conf
verdict hostile.told.drop-ins $? "no alert about the drop-ins of cron.service"
# Left in place they would be in force for whatever comes after.
mv $units/cron.service.d /var/tmp/hostile.d
rm -rf $units/hostile-* $units/xxxx*
systemctl daemon-reload
step hostile.end
sleep 1
