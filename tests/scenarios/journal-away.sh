# journald is gone for a while: the sensor goes on, and what it had to say comes afterwards.
# shellcheck shell=bash

step journal-away
pid=$(sensor MainPID)
sockets="systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket"
# shellcheck disable=SC2086
systemctl stop $sockets systemd-journald.service
fact journald "$(systemctl is-active systemd-journald.service)"
for number in 1 2 3; do
    bash -c "echo '[Service]' >/etc/systemd/system/unheard-$number.service"
    # Makes the sensor say something of its own where its standard error leads nowhere.
    systemctl kill --signal=HUP svcsensor.service
    sleep 1
done
# shellcheck disable=SC2086
systemctl start $sockets systemd-journald.service
eventually 15 told /etc/systemd/system/unheard-3.service
for number in 1 2 3; do
    told "/etc/systemd/system/unheard-$number.service" || entries MESSAGE_ID=e4e1c789d16346f18e9658e7db7dc02d | grep -q .
    verdict "journal-away.alert-$number" $? "neither the alert nor a loss is in the journal"
done
[ "$(sensor MainPID)" = "$pid" ] && [ "$(sensor ActiveState)" = active ]
verdict journal-away.running $? "process $pid became $(sensor MainPID), $(sensor ActiveState), $(sensor Result)"
