# What is asked of container engines: by their own tools, and by anything that can write to a socket. Run as root out of
# alice's login.
# shellcheck shell=bash

docker_socket=/run/docker.sock
json='Content-Type: application/json'
always='{"Image":"box","Cmd":["sleep","1000"],"HostConfig":{"RestartPolicy":{"Name":"always"}}}'
root='{"Image":"box","Cmd":["true"],"HostConfig":{"Binds":["/:/host"]}}'

# post SOCKET TARGET BODY [OPTION...]: says what the engine answered.
post() {
    local socket=$1 target=$2 body=$3
    shift 3
    curl --silent --max-time 20 --unix-socket "$socket" --header "$json" "$@" --data "$body" "http://engine$target"
    echo
}

# raw SOCKET PIECES: standard input, so many bytes a write; then waits for the answer's first line.
raw() {
    perl -MSocket -e '
        my ($path, $size) = @ARGV;
        socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, pack_sockaddr_un($path)) or die "$path: $!";
        local $/; my $text = <STDIN>;
        while (length $text) { syswrite S, substr($text, 0, $size, ""); }
        alarm 10; sysread(S, my $answer, 4096); print((split /\r\n/, $answer)[0], "\n");' "$1" "$2"
}

# uploaded SOCKET TARGET REQUEST: standard input as an upload in chunks, and in one write with the last of them a request.
uploaded() {
    perl -MSocket -e '
        my ($path, $target, $behind) = @ARGV;
        socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, pack_sockaddr_un($path)) or die "$path: $!";
        sub all {
            my ($text) = @_;
            while (length $text) { my $sent = syswrite(S, $text) or die "write: $!"; substr($text, 0, $sent, ""); }
        }
        all("PUT $target HTTP/1.1\r\nHost: engine\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n");
        my $last = "";
        while (sysread(STDIN, my $piece, 32768)) {
            all($last);
            $last = sprintf("%x\r\n%s\r\n", length $piece, $piece);
        }
        all("${last}0\r\n\r\n$behind");
        alarm 60;
        for (1 .. 2) { sysread(S, my $answer, 4096); print((split /\r\n/, $answer)[0], "\n"); }' "$@"
}

request() { printf 'POST %s HTTP/1.1\r\nHost: engine\r\n%s\r\nContent-Length: %d\r\n\r\n%s' "$1" "$json" "${3:-${#2}}" "$2"; }

docker create --name eng-plain box sleep 1000

step engine.docker-run
docker run --detach --restart=always --name eng-run box sleep 1000
sleep 0.4
step engine.docker-create
docker create --restart unless-stopped --name eng-create box sleep 1000
sleep 0.4
step engine.docker-update
docker update --restart=always eng-plain
sleep 0.4
step engine.docker-privileged
docker run --rm --privileged --name eng-privileged box true
sleep 0.4
step engine.docker-root
docker run --detach --restart on-failure:5 --volume /:/host --name eng-root box sleep 1000
sleep 0.4

# Another file, another name, and the socket by another path.
step engine.renamed-client
cp /usr/bin/docker /tmp/eng-kworker
: >/tmp/eng.sock
mount --bind $docker_socket /tmp/eng.sock
/tmp/eng-kworker --host unix:///tmp/eng.sock create --restart always --name eng-renamed box sleep 1000
umount /tmp/eng.sock
sleep 0.4

step engine.curl
post $docker_socket "/v1.41/containers/create?name=eng-curl" "$always"
step engine.curl-chunked
post $docker_socket "/containers/create?name=eng-chunked" "$root" --header 'Transfer-Encoding: chunked'
step engine.byte-by-byte
request "/containers/create?name=eng-bytes" "$always" | raw $docker_socket 1
step engine.pipelined
{ printf 'GET /_ping HTTP/1.1\nHost: x\n\n'; request "/containers/create?name=eng-pipelined" "$root"; } | raw $docker_socket 7
# A length that never comes: the engine acts as soon as the object has ended.
step engine.never-ending
request "/containers/create?name=eng-early" "$always" 100000 | raw $docker_socket 4096 || true
# What follows a body of which the kernel shows nothing, in one write with its end.
step engine.behind-an-upload
truncate --size 100M /tmp/eng-big
tar --create --directory /tmp eng-big |
    uploaded $docker_socket "/v1.41/containers/eng-plain/archive?path=/" "$(request "/containers/create?name=eng-behind" "$always")"
rm /tmp/eng-big
sleep 0.4
step engine.volume
docker volume create --opt type=none --opt o=bind --opt device=/ eng-volume
step engine.volume-used
docker create --volume eng-volume:/x --name eng-volumed box true

step engine.podman-run
podman run --rm --privileged --name eng-podman box true
sleep 0.4
systemctl start podman.socket
# Its directory is new, and is looked at after 20 ms.
sleep 0.5
step engine.podman-api
post /run/podman/podman.sock /v4.0.0/libpod/containers/create \
    '{"name":"eng-libpod","image":"box","command":["sleep","1000"],"restart_policy":"always","privileged":true}'
step engine.podman-compatible
DOCKER_HOST=unix:///run/podman/podman.sock docker create --restart always --name eng-compatible box sleep 1000
sleep 0.4
step engine.podman-play
post /run/podman/podman.sock "/v4.0.0/libpod/play/kube?start=false" "apiVersion: v1
kind: Pod
metadata:
  name: eng-play
spec:
  hostPID: true
  containers:
  - name: main
    image: localhost/box
    imagePullPolicy: Never
    command: [sleep, '1000']"

# A container with the engine's socket: libraries and curl are the host's.
step engine.in-container
docker run --detach --volume $docker_socket:/docker.sock --volume /usr:/usr:ro --volume /lib:/lib:ro --volume /lib64:/lib64:ro \
    --name eng-agent box sleep 1000
sleep 0.4
step engine.from-container
docker exec eng-agent /usr/bin/curl --silent --unix-socket /docker.sock --header "$json" --data "$always" \
    "http://engine/containers/create?name=eng-inside"
sleep 0.4

# A second engine: its socket is known by its command line, as is what it offers to the network. In a network of its own:
# without a bridge it removes that of the first.
step engine.other-socket
unshare --net sh -c 'ip link set lo up && exec "$@"' sh dockerd --host unix:///tmp/eng-other.sock --host tcp://127.0.0.1:23750 --data-root /tmp/eng-data --exec-root /tmp/eng-exec \
    --pidfile /tmp/eng.pid --bridge none --iptables=false >/tmp/eng-dockerd.log 2>&1 &
second=$!
eventually 30 curl --silent --unix-socket /tmp/eng-other.sock http://engine/_ping
step engine.other-socket-used
post /tmp/eng-other.sock "/containers/create?name=eng-other" "$always"
kill "$second"
wait "$second"
step engine.swarm
timeout 30 docker swarm init --advertise-addr 127.0.0.1
sleep 0.4
step engine.swarm-service
timeout 30 docker service create --detach --name eng-service box sleep 1000
sleep 0.4

# An engine's everyday life.
step quiet.engine-start
docker swarm leave --force
docker start eng-plain eng-create
docker restart --time 0 eng-plain
docker stop --time 0 eng-create
step quiet.engine-exec
docker exec eng-plain true
docker logs eng-plain
docker ps --all
docker inspect eng-plain eng-run | tail -n 1
docker run --rm --memory 64m --cap-drop ALL --publish 127.0.0.1:8099:80 --volume eng-data:/data --name eng-quiet box true
echo typed | docker run --rm --interactive box cat
docker commit eng-plain eng-committed
step quiet.engine-build
printf 'FROM box\nRUN true\n' | docker build --quiet -
mkdir -p /tmp/eng-context
# What is sent of these bodies is not copied, or records would be lost.
head -c 20000000 /dev/urandom >/tmp/eng-context/data
printf 'FROM box\nCOPY data /data\n' >/tmp/eng-context/Dockerfile
docker build --quiet --tag eng-built /tmp/eng-context
docker save eng-built >/tmp/eng-saved
docker load --quiet --input /tmp/eng-saved
curl --silent --unix-socket $docker_socket --header 'Content-Type: application/x-tar' --data-binary @/tmp/eng-saved \
    'http://engine/images/load?quiet=1' | tail -c 200
docker exec --interactive eng-plain sh -c 'cat >/dev/null' </tmp/eng-saved
docker cp /tmp/eng-context/data eng-plain:/data
step quiet.engine-podman
podman ps
podman run --rm --name eng-quiet box true
curl --silent --unix-socket /run/podman/podman.sock http://engine/v4.0.0/libpod/info | head -c 60
step quiet.engine-end
docker ps --all --quiet | xargs docker rm --force >/dev/null
docker volume rm eng-volume
podman pod rm --all --force
podman rm --all --force --time 0
rm -rf /tmp/eng-*
