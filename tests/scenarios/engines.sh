# What container engines are asked for, keep and run.
# shellcheck shell=bash

mkdir -p /opt/suite
cp /bin/true /opt/suite/agent
# Beside units, what comes with its directory in the first milliseconds is found, not seen.
mkdir -p /etc/kubernetes/manifests /etc/containers/{systemd/users,oci/hooks.d,containers.conf.d} \
    /run/containers/systemd /var/lib/rancher/k3s/server/manifests /var/lib/kubelet/plugins_registry \
    /etc/{cdi,containerd,crio/crio.conf.d,docker} /usr/local/lib/docker/cli-plugins /var/snap/microk8s/current/args \
    /etc/cni/net.d /opt/{cni/bin,nri/plugins} /etc/lxc/auto
install --directory --owner alice --group alice /home/alice/.config/{,containers/{,systemd}}
: >"$state/engines.out"
chmod 0666 "$state/engines.out"
login_alice 500 <<'LOGIN'
exec >>/run/e2e/engines.out 2>&1
cd /svcsensor/e2e
. ./lib.sh
sudo bash -c 'cd /svcsensor/e2e; for part in lib suite-engine suite-agents; do . ./$part.sh; done'
LOGIN
cat "$state/engines.out"

# Containers are not children of whoever asks for them, so no login is needed.
for part in suite-containers suite-books; do
    # shellcheck source=/dev/null
    . "./$part.sh"
done
step engines-end
sleep 1
