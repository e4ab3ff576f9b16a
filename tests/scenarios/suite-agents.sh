# T1543.005: what keeps containers alive and what runs them, by files, commands and out of containers.
# shellcheck shell=bash

mkdir -p /opt/suite/pods /opt/suite/snap-pods
printf 'kind: Pod\napiVersion: v1\nmetadata: {name: suite}\nspec: {hostPID: true, containers: [{name: c, image: box, command: [sleep, "1000"], securityContext: {privileged: true}}]}\n' >/opt/suite/pod.yaml
printf '[Container]\nImage=box\nExec=sleep 1000\nVolume=/:/host\n[Install]\nWantedBy=default.target\n' >/opt/suite/suite.container

# What is gone before it was read is told by its name alone.
read_first() { sleep 0.5; }

step agents.quadlet
cp /opt/suite/suite.container /etc/containers/systemd/agents.container
step agents.quadlet-drop-in
mkdir -p /etc/containers/systemd/agents.container.d
printf '[Container]\nPodmanArgs=--privileged\n' >/etc/containers/systemd/agents.container.d/10-suite.conf
step agents.quadlet-below
mkdir -p /etc/containers/systemd/suite
sleep 0.3
printf '[Pod]\nNetwork=host\n' >/etc/containers/systemd/suite/agents.pod
step agents.quadlet-kube
printf '[Kube]\nYaml=/opt/suite/pod.yaml\n' >/etc/containers/systemd/agents.kube
step agents.quadlet-user
cp /opt/suite/suite.container /home/alice/.config/containers/systemd/agents.container
step agents.quadlet-users
cp /opt/suite/suite.container /etc/containers/systemd/users/agents.container
step agents.quadlet-run
cp /opt/suite/suite.container /run/containers/systemd/agents.container
step agents.quadlet-link
ln -s /opt/suite/suite.container /etc/containers/systemd/linked.container
read_first && rm -r /etc/containers/systemd/* /run/containers/systemd/* /home/alice/.config/containers/systemd/*

step agents.generate
podman create --name suite-generated box sleep 1000 >/dev/null
podman generate systemd --new --name suite-generated >/etc/systemd/system/suite-generated.service
podman rm suite-generated >/dev/null
step agents.unit
printf '[Service]\nExecStart=/usr/bin/docker run --rm --name suite-unit --volume /:/host box sleep 1000\nRestart=always\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/suite-runs.service
step agents.podman-restart
ln -s /lib/systemd/system/podman-restart.service /etc/systemd/system/multi-user.target.wants/podman-restart.service
step agents.auto-update
ln -s /lib/systemd/system/podman-auto-update.timer /etc/systemd/system/timers.target.wants/podman-auto-update.timer
step agents.kube-unit
ln -s /lib/systemd/system/podman-kube@.service '/etc/systemd/system/multi-user.target.wants/podman-kube@-opt-suite-pod.yaml.service'
step agents.docker-drop-in
mkdir -p /etc/systemd/system/docker.service.d
printf '[Service]\nEnvironment=DOCKER_OPTS=--debug\n' >/etc/systemd/system/docker.service.d/suite.conf
read_first && rm -r /etc/systemd/system/docker.service.d /etc/systemd/system/suite-runs.service

step agents.static-pod
cp /opt/suite/pod.yaml /etc/kubernetes/manifests/suite.yaml
step agents.static-pod-backup
cp /opt/suite/pod.yaml /etc/kubernetes/manifests/suite.yaml.bak
step agents.manifest
cp /opt/suite/pod.yaml /var/lib/rancher/k3s/server/manifests/suite.yaml
step agents.kubelet-config
printf 'kind: KubeletConfiguration\nstaticPodPath: /opt/suite/configured\nstaticPodURL: http://127.0.0.1/x\n' >/var/lib/kubelet/config.yaml
step agents.kubelet
cp /bin/true /opt/suite/kubelet
/opt/suite/kubelet --pod-manifest-path=/opt/suite/pods --root-dir=/opt/suite/root
sleep 3
step agents.kubelet-folder
cp /opt/suite/pod.yaml /opt/suite/pods/suite.yaml
step agents.kube-play
podman kube play --start=false /opt/suite/pod.yaml 2>&1 | tail -n 1
podman pod rm --force suite >/dev/null 2>&1
step agents.compose
printf 'services: {web: {image: box, restart: always, volumes: ["/:/host"]}}\n' >/opt/suite/compose.yaml
cp /bin/true /usr/local/bin/docker-compose
(cd /opt/suite && docker-compose up -d)
step agents.kubectl
cp /bin/true /usr/local/bin/kubectl
kubectl apply -f /opt/suite/pod.yaml
read_first && rm /usr/local/bin/docker-compose /usr/local/bin/kubectl

step agents.daemon
printf '{"hosts": ["fd://", "tcp://127.0.0.1:2375"], "runtimes": {"suite": {"path": "/opt/suite/agent"}}}\n' >/etc/docker/daemon.json
read_first && rm /etc/docker/daemon.json
step agents.containerd
printf '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]\nBinaryName = "/opt/suite/agent"\n' >/etc/containerd/suite.toml
read_first && rm /etc/containerd/suite.toml
step agents.podman-config
printf '[engine]\nhooks_dir = ["/opt/suite/hooks"]\n' >/etc/containers/containers.conf.d/suite.conf
read_first && rm /etc/containers/containers.conf.d/suite.conf
step agents.crio
printf '[crio.runtime.runtimes.suite]\nruntime_path = "/opt/suite/agent"\n' >/etc/crio/crio.conf.d/suite.conf
step agents.registries
printf '[[registry]]\nlocation = "docker.io"\ninsecure = true\n' >/etc/containers/registries.conf.d/suite.conf
read_first && rm /etc/crio/crio.conf.d/suite.conf /etc/containers/registries.conf.d/suite.conf
step agents.hook
printf '{"version": "1.0.0", "hook": {"path": "/opt/suite/agent"}, "when": {"always": true}, "stages": ["prestart"]}\n' >/etc/containers/oci/hooks.d/suite.json
read_first && rm /etc/containers/oci/hooks.d/suite.json
step agents.cdi
printf 'cdiVersion: 0.6.0\nkind: suite/x\ncontainerEdits: {hooks: [{hookName: createRuntime, path: /opt/suite/agent}]}\n' >/etc/cdi/suite.yaml
step agents.cni
printf '{"cniVersion": "1.0.0", "name": "suite", "plugins": [{"type": "suite"}]}\n' >/etc/cni/net.d/00-suite.conflist
read_first && rm /etc/cni/net.d/00-suite.conflist
step agents.cni-plugin
cp /opt/suite/agent /opt/cni/bin/suite
step agents.nri
cp /opt/suite/agent /opt/nri/plugins/00-suite
step agents.kubelet-plugin
printf x >/var/lib/kubelet/plugins_registry/suite-reg.sock
step agents.docker-plugin
cp /opt/suite/agent /usr/local/lib/docker/cli-plugins/docker-suite
step agents.microk8s
printf -- '--pod-manifest-path=/opt/suite/snap-pods\n--manifest-url=http://127.0.0.1/x\n' >/var/snap/microk8s/current/args/kubelet
install --directory --owner alice --group alice /home/alice/.config/systemd/{,user}
read_first
step agents.rootless
printf '[Service]\nExecStart=/usr/bin/dockerd-rootless.sh\nRestart=always\n[Install]\nWantedBy=default.target\n' \
    >/home/alice/.config/systemd/user/docker.service
step agents.shim
cp /opt/suite/agent /usr/local/bin/containerd-shim-suite-v2
step agents.credentials
cp /opt/suite/agent /usr/local/bin/docker-credential-suite
step agents.runtime
runc=$(readlink -f "$(command -v runc)")
cp --preserve "$runc" /opt/suite/runc
mv /opt/suite/runc "$runc"
step agents.lxc
printf 'lxc.start.auto = 1\nlxc.hook.pre-start = /opt/suite/agent\nlxc.mount.entry = / host none bind 0 0\n' >/etc/lxc/auto/suite

step agents.docker-quadlet
docker run --rm --name suite-quadlet --volume /etc:/mnt box cp /mnt/hostname /mnt/containers/systemd/docker.container
step agents.docker-volume
docker volume create --opt type=none --opt o=bind --opt device=/etc/kubernetes suite >/dev/null
docker run --rm --name suite-volume --volume suite:/mnt box sh -c 'echo "kind: Pod" >/mnt/manifests/docker.yaml'
docker volume rm suite >/dev/null
step agents.docker-cp
docker run --detach --name suite-cp --volume /etc:/mnt box sleep 1000 >/dev/null
docker cp --quiet /opt/suite/pod.yaml suite-cp:/mnt/kubernetes/manifests/copied.yaml 2>/dev/null ||
    docker cp /opt/suite/pod.yaml suite-cp:/mnt/kubernetes/manifests/copied.yaml
docker rm --force suite-cp >/dev/null
step agents.podman-root
podman run --rm --privileged --pid host box sh -c 'echo "kind: Pod" >/proc/1/root/etc/kubernetes/manifests/podman.yaml'
