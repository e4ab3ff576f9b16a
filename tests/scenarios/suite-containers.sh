# Units of the host, written out of containers.
# shellcheck shell=bash

unit='printf "[Service]\nExecStart=/opt/suite/agent\n"'

step way.docker-bind
docker run --rm --privileged --name way-bind --volume /etc:/mnt box sh -c "$unit >/mnt/systemd/system/way-docker-bind.service"
step way.docker-nsenter
docker run --rm --privileged --name way-nsenter --pid host box sh -c "nsenter -t 1 -m sh -c '$unit >/etc/systemd/system/way-docker-nsenter.service'"
step way.docker-root
docker run --rm --privileged --name way-root --pid host box sh -c "$unit >/proc/1/root/etc/systemd/system/way-docker-root.service"
step way.docker-cp
printf '[Service]\nExecStart=/opt/suite/agent\n' >/opt/suite/way-cp.service
docker run --detach --name way-cp --volume /etc:/mnt box sleep 1000 >/dev/null
docker cp --quiet /opt/suite/way-cp.service way-cp:/mnt/systemd/system/way-docker-cp.service 2>/dev/null ||
    docker cp /opt/suite/way-cp.service way-cp:/mnt/systemd/system/way-docker-cp.service
step way.docker-exec
docker exec way-cp sh -c "$unit >/mnt/systemd/system/way-docker-exec.service"
docker rm --force way-cp >/dev/null
step way.podman-bind
podman run --rm --name way-podman --volume /etc:/mnt box sh -c "$unit >/mnt/systemd/system/way-podman-bind.service"

# The host's manager, asked from inside.
printf '[Service]\nExecStart=/opt/suite/agent\n' >/opt/suite/cat-from-bus.service
step catalog.A7.8
docker run --rm --volume /:/host --name cat-bus box chroot /host busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
    org.freedesktop.systemd1.Manager LinkUnitFiles asbb 1 /opt/suite/cat-from-bus.service false false
