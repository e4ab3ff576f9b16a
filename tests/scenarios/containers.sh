# Containers that come back by themselves.
# shellcheck shell=bash

step container.docker
check docker.restart docker run -d --restart=always --name keeper box sleep 1000000
sleep 0.5

step container.renamed
cp /usr/bin/docker /tmp/kworker
check docker.renamed /tmp/kworker run -d --restart always --name hidden box sleep 1000000
sleep 0.5

step container.podman
check podman.restart podman run -d --restart=always --name keeper box sleep 1000000
sleep 0.5

step quiet.container-end
docker rm --force keeper hidden >/dev/null
podman rm --force --time 0 keeper >/dev/null
sleep 0.5
