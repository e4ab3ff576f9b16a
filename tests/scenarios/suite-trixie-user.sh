# A user's Quadlet, without becoming root.
# shellcheck shell=bash

step trixie.user-quadlet
mkdir -p ~/.config/containers/systemd
printf '[Container]\nImage=localhost/box\nExec=sleep 1000000\n[Install]\nWantedBy=default.target\n' \
    >~/.config/containers/systemd/trixie-user.container
systemctl --user daemon-reload
step trixie.user-runtime-quadlet
mkdir -p "$XDG_RUNTIME_DIR/containers/systemd"
printf '[Container]\nImage=localhost/box\n' >"$XDG_RUNTIME_DIR/containers/systemd/trixie-runtime.container"
