# What a login's shell does in the scenario `unit.shell`. The write is a builtin's, so the process is this shell.
printf '[Service]\nExecStart=/bin/sleep 1000000\n[Install]\nWantedBy=multi-user.target\n' \
    >/etc/systemd/system/telemetry.service
date +%s%N >/run/e2e/written.ns
echo $$ >/run/e2e/writer.pid
systemctl enable --now telemetry.service
