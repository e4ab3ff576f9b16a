# As root out of alice's login.
# shellcheck shell=bash

step trixie.unit
printf '[Service]\nExecStart=/opt/suite/agent\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/trixie-unit.service
step trixie.enable
systemctl enable trixie-unit.service
step trixie.run0
run0 --unit=trixie-run0 /opt/suite/agent
step trixie.upholds
mkdir -p /etc/systemd/system/multi-user.target.upholds
ln -s ../trixie-unit.service /etc/systemd/system/multi-user.target.upholds/trixie-unit.service
# What lies below any one name is watched from the moment at which that name was seen.
mkdir -p /var/lib/capsules/trixie/.config/systemd/user
sleep 0.5
step trixie.capsule
printf '[Service]\nExecStart=/opt/suite/agent\n' >/var/lib/capsules/trixie/.config/systemd/user/trixie-capsule.service

step trixie.quadlet
mkdir -p /etc/containers/systemd
cat >/etc/containers/systemd/trixie-web.container <<'QUADLET'
[Container]
Image=localhost/box
Exec=sleep 1000000
Volume=/:/host
PodmanArgs=--privileged
[Service]
Restart=always
[Install]
WantedBy=multi-user.target
QUADLET
step trixie.quadlet-reload
systemctl daemon-reload
step trixie.quadlet-start
systemctl start trixie-web.service
step trixie.quadlet-drop-in
mkdir -p /etc/containers/systemd/trixie-web.container.d
printf '[Container]\nAddCapability=ALL\n' >/etc/containers/systemd/trixie-web.container.d/10-more.conf
step trixie.quadlet-run
mkdir -p /run/containers/systemd
printf '[Container]\nImage=localhost/box\n' >/run/containers/systemd/trixie-run.container
step trixie.quadlet-kube
printf '[Kube]\nYaml=/opt/suite/pod.yaml\n' >/etc/containers/systemd/trixie-pod.kube
step trixie.quadlet-users
mkdir -p /etc/containers/systemd/users/1000
printf '[Container]\nImage=localhost/box\n' >/etc/containers/systemd/users/1000/trixie-users.container
step trixie.quadlet-stop
systemctl stop trixie-web.service
