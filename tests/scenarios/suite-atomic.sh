# Atomic Red Team, after its descriptions: T1543.002, T1053.006, T1569.003, T1037.004. Run as root out of alice's login.
# shellcheck shell=bash

etc=/etc/systemd/system

# T1543.002: a unit with a command at each point of its life, enabled and started.
step suite.atomic-unit
cat >$etc/suite-atomic.service <<'UNIT'
[Unit]
Description=Atomic service
[Service]
Type=simple
ExecStartPre=/bin/touch /tmp/suite-pre
ExecStart=/bin/touch /tmp/suite-start
ExecStartPost=/bin/touch /tmp/suite-post
ExecReload=/bin/touch /tmp/suite-reload
ExecStop=/bin/touch /tmp/suite-stop
ExecStopPost=/bin/touch /tmp/suite-stop-post
[Install]
WantedBy=default.target
UNIT
step suite.atomic-enable
systemctl daemon-reload
systemctl enable suite-atomic.service
systemctl start suite-atomic.service

# The same service changed in place, and by a drop-in.
step suite.atomic-modify
sed -i 's,^ExecStart=.*,ExecStart=/bin/touch /tmp/suite-modified,' $etc/suite-atomic.service
step suite.atomic-append
printf '[Service]\nExecStartPost=/bin/touch /tmp/suite-appended\n' >>$etc/suite-atomic.service
step suite.atomic-drop-in
mkdir -p $etc/suite-atomic.service.d
printf '[Service]\nExecStart=\nExecStart=/bin/touch /tmp/suite-drop-in\n' >$etc/suite-atomic.service.d/override.conf
systemctl daemon-reload
systemctl restart suite-atomic.service

# A System V script, and the directory that BSD has for them.
step suite.atomic-init-script
cat >/etc/init.d/suite-atomic <<'SCRIPT'
#!/bin/sh
### BEGIN INIT INFO
# Provides: suite-atomic
# Required-Start: $all
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop:
# Short-Description: atomic
### END INIT INFO
python3 -c "import os, base64; exec(base64.b64decode('b3Muc3lzdGVtKCd0cnVlJyk='))"
SCRIPT
step suite.atomic-init-executable
chmod +x /etc/init.d/suite-atomic
step suite.atomic-init-enable
update-rc.d suite-atomic defaults
/etc/init.d/suite-atomic start
step suite.atomic-bsd
cp /etc/init.d/suite-atomic /usr/local/etc/rc.d/suite-atomic
chmod 755 /usr/local/etc/rc.d/suite-atomic

# T1053.006: a timer with its service; transient ones.
step suite.atomic-timer-service
printf '[Service]\nExecStart=/bin/sh -c "id >/tmp/suite-timer"\n' >$etc/suite-timer.service
step suite.atomic-timer
printf '[Timer]\nOnBootSec=1min\nOnCalendar=*-*-* *:*:00\nPersistent=true\n[Install]\nWantedBy=timers.target\n' \
    >$etc/suite-timer.timer
step suite.atomic-timer-enable
systemctl daemon-reload
systemctl enable suite-timer.timer
step suite.atomic-transient-calendar
systemd-run --unit=suite-calendar --on-calendar='*:0/1' /bin/sh -c 'id >>/tmp/suite-calendar'
step suite.atomic-transient-boot
systemd-run --unit=suite-boot --on-boot=2h --timer-property=AccuracySec=1s /bin/sh -c 'id >>/tmp/suite-boot'

# T1569.003: a service made, started and stopped; a command as a service.
step suite.atomic-systemctl
cat >$etc/suite-run.service <<'UNIT'
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo cHdk | base64 -d | sh'
UNIT
systemctl daemon-reload
systemctl start suite-run.service
systemctl stop suite-run.service
step suite.atomic-systemd-run
systemd-run --unit=suite-transient /bin/sh -c 'id >/tmp/suite-transient'

# T1037.004.
step suite.atomic-rc-local
printf '#!/bin/bash\npython3 -c "import os, base64;exec(base64.b64decode(\"b3Muc3lzdGVtKCd0cnVlJyk=\"))"\nexit 0\n' >/etc/rc.local
step suite.atomic-rc-local-executable
chmod +x /etc/rc.local
step suite.atomic-rc-common
printf '#!/bin/bash\necho atomic >/tmp/suite-rc-common\n' >/etc/rc.common
chmod +x /etc/rc.common
