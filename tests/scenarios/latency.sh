# Changes of unit files one after another; how long each takes to its line in the journal is for the host to judge.
# shellcheck shell=bash

step latency
changes=$(cat changes)
python3 - "$changes" <<'PYTHON'
import os, sys, time

directory = "/etc/systemd/system"
aside = "/etc/latency"
wants = f"{directory}/multi-user.target.wants"
for path in aside, wants:
    os.makedirs(path, exist_ok=True)


def write(path):
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    os.write(handle, b"[Service]\nExecStart=/bin/true\n")
    return handle


# Each returns the time at which its last system call returned.
def close(path):
    handle = write(path)
    os.close(handle)
    return time.time_ns()


def rename(path):
    other = os.path.join(aside, os.path.basename(path))
    os.close(write(other))
    os.rename(other, path)
    return time.time_ns()


def symlink(path):
    os.symlink("../cron.service", path)
    return time.time_ns()


def link(path):
    other = os.path.join(aside, os.path.basename(path))
    os.close(write(other))
    os.link(other, path)
    return time.time_ns()


ways = [close, rename, symlink, link]
for number in range(int(sys.argv[1])):
    way = ways[number % len(ways)]
    path = f"{wants if way is symlink else directory}/latency-{number}.service"
    ended = way(path)
    print("change", path, ended, flush=True)
    time.sleep(0.1)
PYTHON
sleep 2
