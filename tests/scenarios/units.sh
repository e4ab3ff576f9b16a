# A unit written, enabled and started by the shell of a user who logged in.
# shellcheck shell=bash

step unit.shell
login_alice <<'LOGIN'
sudo bash /svcsensor/e2e/backdoor.sh
LOGIN
fact writer.pid "$(cat "$state/writer.pid")"
fact written.ns "$(cat "$state/written.ns")"
check unit.runs systemctl is-active telemetry.service
check unit.enabled systemctl is-enabled telemetry.service
eventually 10 told /etc/systemd/system/telemetry.service

step unit.root-shell
bash -c 'echo "[Timer]" >/etc/systemd/system/nightly.timer; date +%s%N >/run/e2e/timer.ns; echo $$ >/run/e2e/timer.pid'
fact timer.pid "$(cat "$state/timer.pid")"
fact timer.ns "$(cat "$state/timer.ns")"
eventually 10 told /etc/systemd/system/nightly.timer
sleep 1
