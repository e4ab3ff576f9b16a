# What the catalog has of users' own units, by a user without privilege (docs/CATALOG.md, A7.5 and A8).
# shellcheck shell=bash

units=~/.config/systemd/user
run=/run/user/1000/systemd

step catalog.A6.2-user
put ~/.config/systemd/user.conf '[Manager]\nDefaultEnvironment=CAT=1\n'
step catalog.A6.4-user
put ~/.config/environment.d/cat.conf 'CAT=1\n'
step catalog.A6.8-user
put ~/.config/user-tmpfiles.d/cat.conf 'f+ %h/cat 0644 - - - x\n'
step catalog.A5.9-user
put ~/.config/autostart/cat.desktop '[Desktop Entry]\nType=Application\nName=cat\nExec=/opt/suite/agent\n'

# The user's manager by messages of one's own.
put ~/cat-private.service
put ~/cat-bus.service
step catalog.A7.5
python3 "$state/call.py" $run/private LinkUnitFiles ~/cat-private.service
python3 "$state/call.py" /run/user/1000/bus LinkUnitFiles ~/cat-bus.service

step catalog.A8.1
put "$units/cat.timer" '[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n'
systemctl --user enable cat.timer
step catalog.A8.2
put ~/.local/share/systemd/user/cat.service
step catalog.A8.3
put ~/.config/systemd/user.control/cat.service
step catalog.A8.4
put $run/user/cat.service
put $run/transient/cat.service
put $run/user.control/cat.service
put $run/generator/cat.service
step catalog.A8.7
put "$units/cat-template@.service"
put "$units/dbus.service.d/cat.conf" '[Unit]\nDocumentation=man:cat(1)\n'
mkdir -p "$units/default.target.wants"
ln -s ../cat-template@.service "$units/default.target.wants/cat-template@x.service"
step catalog.A10-user
put ~/.config/upstart/cat.conf 'exec true\n'
mkdir -p ~/.config/rc/runlevels/default
ln -s /etc/user/init.d/cat ~/.config/rc/runlevels/default/cat
put ~/.pm2/dump.pm2 '[]\n'
step catalog.A11-user
put ~/.local/share/dbus-1/services/org.cat.service '[D-BUS Service]\nName=org.cat\nExec=/opt/suite/agent\n'
