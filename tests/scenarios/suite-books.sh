# What engines keep of containers: who a container is, files of an engine edited, containers that no engine knows.
# shellcheck shell=bash

books=/srv/books
mkdir -p "$books"
books_unit() { echo "printf '[Service]\nExecStart=/opt/suite/agent\n' >/u/$1.service"; }

step books.identity-docker
docker tag box registry.example/team/box:1.2
docker run --rm --name books-docker --label tier=front --volume /etc/systemd/system:/u registry.example/team/box:1.2 \
    sh -c "$(books_unit books-docker)"
step books.identity-podman
podman run --rm --name books-podman --volume /etc/systemd/system:/u box sh -c "$(books_unit books-podman)"

# Nobody calls docker: the engine's own file says that the container comes back.
step books.unasked
curl --silent --show-error --unix-socket /run/docker.sock -H 'Content-Type: application/json' \
    -d '{"Image":"box","Cmd":["sleep","1000"],"HostConfig":{"RestartPolicy":{"Name":"always"},"Binds":["/:/host"]}}' \
    'http://docker/containers/create?name=books-unasked'
echo
sleep 1

step books.prepare
docker create --name books-edited box sleep 1000 >/dev/null
edited=$(docker inspect --format '{{.Id}}' books-edited)
state_file=/var/lib/docker/containers/$edited/hostconfig.json
systemctl stop docker.socket docker.service
sleep 1
step books.edited
sed --in-place 's/"RestartPolicy":{"Name":"no"/"RestartPolicy":{"Name":"always"/; s/"Binds":null/"Binds":["\/:\/host"]/' "$state_file"
sleep 1
step books.started
systemctl start docker.socket docker.service
eventually 60 sh -c "docker inspect books-edited | grep -q '\"Running\": true'"
check books.edit-worked sh -c "docker inspect books-edited | grep -A1 RestartPolicy | grep -q always"
docker rm --force books-edited books-unasked >/dev/null

step books.edited-database
printf x >>/var/lib/containers/storage/libpod/bolt_state.db
truncate --size=-1 /var/lib/containers/storage/libpod/bolt_state.db
sleep 1

# A runtime called by hand, on a bundle of one's own.
bundle() {
    mkdir -p "$books/$1/rootfs"
    tar -C "$books/$1/rootfs" -xf /srv/busybox.tar
    (cd "$books/$1" && runc spec)
    sed --in-place -e 's/"terminal": true/"terminal": false/' -e 's/"readonly": true/"readonly": false/' \
        -e "s|\"sh\"|\"sh\", \"-c\", \"cp /agent.service /u/$1.service\"|" \
        -e 's|"mounts": \[|"mounts": [{"destination": "/u", "type": "bind", "source": "/etc/systemd/system", "options": ["bind"]},|' \
        -e 's|"linux": {|"annotations": {"org.opencontainers.image.ref.name": "by.example/hand:7"}, "linux": {|' \
        "$books/$1/config.json"
    printf '[Service]\nExecStart=/opt/suite/agent\n' >"$books/$1/rootfs/agent.service"
}
bundle books-runc
bundle books-crun
step books.runc
check books.runc-ran runc run --bundle "$books/books-runc" books-runc </dev/null
sleep 1
step books.crun
check books.crun-ran crun run --bundle "$books/books-crun" books-crun </dev/null
sleep 1
step books.linked
ln /usr/sbin/runc /usr/sbin/kworker
(cd "$books/books-runc" && /usr/sbin/kworker run books-linked </dev/null)
rm /usr/sbin/kworker
sleep 1
step books.unshare
unshare --mount --pid --fork sh -c 'mount --bind /srv/books/books-runc/rootfs /srv/books/books-runc/rootfs && cd /srv/books/books-runc/rootfs && mkdir -p old && pivot_root . old && exec /bin/sh -c true'
sleep 1
step books.named
systemd-run --quiet --scope --unit="docker-$(printf '%064d' 7)" sleep 4 &
sleep 5

# What is no bundle.
step books.bad-gone
timeout 5 runc run --bundle /srv/books/gone books-gone
step books.bad-fifo
mkdir -p "$books/fifo"
mkfifo "$books/fifo/config.json"
timeout 2 runc run --bundle "$books/fifo" books-fifo
step books.bad-loop
mkdir -p "$books/loop"
ln -s config.json "$books/loop/config.json"
timeout 5 runc run --bundle "$books/loop" books-loop
step books.bad-huge
mkdir -p "$books/huge"
{ printf '{"ociVersion":"1.0.2","annotations":{"a":"'; head -c 100M /dev/zero | tr '\0' a; printf '"}}'; } >"$books/huge/config.json"
timeout 20 runc run --bundle "$books/huge" books-huge
rm -r "$books/huge"
sleep 1

records() { curl --silent "$address/metrics" | awk '/^svcsensor_records_received_total\{.*kind="file_/ { sum += $2 } END { printf "%d", sum }'; }
step quiet.books
before=$(records)
check books.quiet-docker docker run --rm --name books-quiet box true
sleep 2
fact books.file-records-per-docker-run $(($(records) - before))
before=$(records)
check books.quiet-podman podman run --rm --name books-quiet box true
sleep 2
fact books.file-records-per-podman-run $(($(records) - before))
check books.quiet-create docker create --name books-quiet box sleep 1000
check books.quiet-start docker start books-quiet
check books.quiet-rename docker rename books-quiet books-quieter
check books.quiet-exec docker exec books-quieter sh -c 'echo 127.0.0.1 x >>/etc/hosts'
check books.quiet-restart docker restart --time 0 books-quieter
check books.quiet-remove docker rm --force books-quieter
check books.quiet-engine systemctl restart docker.service
unshare --mount true
unshare --user --map-root-user --mount --pid --fork true
systemctl restart systemd-logind.service
sleep 3
