# Containers by tools other than docker's and podman's own. Run as root out of alice's login.
# shellcheck shell=bash

mkdir -p /opt/clients/usr /var/lib/lxc/suite
tar -C /opt/clients -xf /srv/busybox.tar
printf '[Service]\n' >/opt/clients/unit

step clients.prepare
podman save --quiet --format oci-archive --output /tmp/clients-box.tar box
# containerd is dockerd's.
docker ps >/dev/null
ctr images import --index-name example/clients-box:1 /tmp/clients-box.tar
step clients.ctr
check clients.ctr-ran timeout 60 ctr run --rm --privileged --mount type=bind,src=/,dst=/mnt,options=rbind:rw example/clients-box:1 clients-ctr \
    sh -c 'echo "[Service]" >/mnt/etc/systemd/system/clients-ctr.service'
sleep 0.5

step clients.compose
mkdir -p /opt/clients/web
printf 'version: "2.4"\nservices: {web: {image: box, container_name: clients-compose, restart: always, network_mode: none, command: sleep 1000}}\n' \
    >/opt/clients/web/compose.yml
check clients.compose-ran timeout 60 docker-compose --file /opt/clients/web/compose.yml up --detach
sleep 0.5

step clients.buildah
buildah from --quiet --name clients-buildah localhost/box
check clients.buildah-ran timeout 60 buildah run --network none --volume /etc:/mnt clients-buildah \
    sh -c 'echo "[Service]" >/mnt/systemd/system/clients-buildah.service'
sleep 0.5

step clients.nspawn
check clients.nspawn-ran timeout 60 systemd-nspawn --quiet --register=no --directory /opt/clients --bind /etc:/mnt \
    /bin/cp /unit /mnt/systemd/system/clients-nspawn.service </dev/null
sleep 0.5

step clients.lxc
cat >/var/lib/lxc/suite/config <<'LXC'
lxc.uts.name = suite
lxc.rootfs.path = dir:/opt/clients
lxc.net.0.type = empty
lxc.start.auto = 1
lxc.mount.entry = /etc mnt none bind,create=dir 0 0
lxc.hook.pre-start = /opt/suite/agent
lxc.apparmor.profile = unconfined
lxc.init.cmd = /bin/cp /unit /mnt/systemd/system/clients-lxc.service
LXC
sleep 0.5
step clients.lxc-started
check clients.lxc-ran timeout 60 lxc-start --name suite --foreground </dev/null
sleep 0.5

step quiet.clients-end
docker rm --force clients-compose >/dev/null
buildah rm clients-buildah >/dev/null
rm -rf /var/lib/lxc/suite /tmp/clients-box.tar
sleep 0.5
