# The public suites, written anew after their descriptions (Atomic Red Team, PANIX), and the ways around a watcher of
# paths and names. What each must tell is data of the host's (xtask/src/test/e2e/suites.rs).
# shellcheck shell=bash

mkdir -p /opt/suite
cp /bin/true /opt/suite/agent
# Beside units, what comes with its directory in the first milliseconds is found, not seen.
mkdir -p /usr/local/etc/rc.d /service /efi/loader/credentials /boot/loader/credentials /boot/loader/entries /boot/grub \
    /var/{service,spool/cron/atjobs} /var/lib/{portables,extensions,confexts}
su -l alice -c 'mkdir -p .config/{autostart,environment.d,user-tmpfiles.d,upstart,rc/runlevels/default} .local/share/dbus-1/services .pm2'
# Services have homes as well.
for home in /srv/cat /var/lib/cat /opt/cat /export/home/cat; do
    mkdir -p "${home%/*}"
    useradd --system --home-dir $home --create-home "cat${home//\//-}"
done
cat >"$state/call.py" <<'PYTHON'
# Calls METHOD(asbb) of a service manager for one unit, by a message put together here: call.py SOCKET METHOD UNIT.
import os, socket, struct, sys

path, method, unit = sys.argv[1:]


def padded(data, to):
    return data + bytes(-len(data) % to)


def string(text):
    return struct.pack("<I", len(text)) + text.encode() + b"\0"


def message(serial, member, of, where, to, body=b""):
    fields = [(1, "o", where), (2, "s", of), (3, "s", member), (6, "s", to)]
    array = b""
    for code, kind, value in fields:
        array = padded(array, 8) + bytes([code, 1]) + kind.encode() + b"\0" + string(value)
    if body:
        array = padded(array, 8) + bytes([8, 1]) + b"g\0" + bytes([4]) + b"asbb\0"
    head = struct.pack("<cBBBIII", b"l", 1, 0, 1, len(body), serial, len(array))
    return padded(head + array, 8) + body


manager = socket.socket(socket.AF_UNIX)
manager.settimeout(20)
manager.connect(path)
manager.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
print(manager.recv(1000))
manager.sendall(b"BEGIN\r\n")
if not path.endswith("private"):
    manager.sendall(message(1, "Hello", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"))
    print(manager.recv(1000))
units = struct.pack("<I", len(string(unit))) + string(unit)
name = "org.freedesktop.systemd1"
call = message(2, method, name + ".Manager", "/org/freedesktop/systemd1", name, padded(units, 4) + struct.pack("<II", 0, 0))
manager.sendall(call)
# Whoever is gone when the manager looks is not answered, nor obeyed.
manager.settimeout(3)
try:
    while data := manager.recv(4000):
        print(data)
except TimeoutError:
    pass
PYTHON
: >"$state/suites.out"
chmod 0666 "$state/suites.out"
login_alice 600 <<'LOGIN'
exec >>/run/e2e/suites.out 2>&1
cd /svcsensor/e2e
. ./lib.sh
. ./suite-user.sh
. ./suite-catalog-user.sh
sudo bash -c 'cd /svcsensor/e2e; for part in lib suite-atomic suite-panix suite-ways suite-catalog-units \
    suite-catalog-manager suite-catalog-others suite-catalog-dodges; do . ./$part.sh; done'
LOGIN
cat "$state/suites.out"
step suites-end
sleep 1
