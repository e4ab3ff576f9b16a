# An image for docker and podman each; dockerd starts with the first request.
# shellcheck shell=bash

step quiet.images
check docker.import docker import /srv/busybox.tar box
check podman.import podman import --quiet /srv/busybox.tar box
