# Helpers of the end-to-end scenarios; sourced by main.sh. Standard output is the result port.
#
# Lines that the host understands (xtask/src/test/e2e): `step NAME TIME`, `fact NAME VALUE`, `ok NAME`,
# `not ok NAME: EVIDENCE`, `alert JSON`, `entry JSON`, `metric LINE`, `pretty LINE`,
# `recording BASE64`, `container FILE ID NAME IMAGE` (one that wrote the file), `change PATH TIME` (a change of a file that ended then, in nanoseconds). All else is talk, shown where something fails.
# shellcheck shell=bash

state=/run/e2e
live=/var/log/svcsensor.jsonl
recording=/var/lib/svcsensor/e2e.svcrec
address=127.0.0.1:9543

# What follows belongs to step $1, until the next. The form is that of an alert's @timestamp, so that texts compare.
step() { echo "step $1 $(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)"; }

fact() { echo "fact $*"; }

# put FILE [TEXT]: written in place, with the directories above it; without a text, a service.
put() {
    mkdir -p "${1%/*}"
    printf '%b' "${2-[Service]\\nExecStart=/opt/suite/agent\\n[Install]\\nWantedBy=multi-user.target\\n}" >"$1"
}

# The last lines of a text, as one.
brief() { tail -n "${2:-4}" <<<"$1" | tr '\n' '|' | cut -c 1-800; }

# verdict NAME STATUS EVIDENCE
verdict() {
    if [ "$2" = 0 ]; then echo "ok $1"; else echo "not ok $1: $3"; fi
}

# check NAME COMMAND...: the command succeeds.
check() {
    local name=$1 said status=0
    shift
    said=$("$@" 2>&1) || status=$?
    verdict "$name" "$status" "$* gave $status: $(brief "$said")"
}

# exits NAME STATUS PATTERN COMMAND...: the command ends by itself with this status, and says so on standard error.
exits() {
    local name=$1 wanted=$2 pattern=$3 said status=0
    shift 3
    said=$(timeout 20 "$@" 2>&1 >/dev/null) || status=$?
    [ "$status" = "$wanted" ] && grep -qE -- "$pattern" <<<"$said"
    verdict "$name" $? "$* gave $status, not $wanted, or does not say '$pattern': $(brief "$said")"
}

# eventually SECONDS COMMAND...: tries until the command succeeds.
eventually() {
    local limit=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$limit" ] || return 1
        sleep 0.1
    done
}

# A login of alice at a terminal, by agetty, login and PAM: lineage, session and login user are those of a real one. Her
# .bash_profile runs the commands given on standard input, for at most $1 seconds.
login_alice() {
    cat >"$state/commands"
    systemctl start e2e-login.service
    eventually "${1:-30}" sh -c '! systemctl is-active e2e-login.service' || echo "alice is still logged in"
    rm "$state/commands"
}

# The journal's entries of the sensor that match.
entries() { journalctl --boot --quiet --output=json --all SYSLOG_IDENTIFIER=svcsensor "$@"; }

# Whether the journal has an alert about a file.
told() { entries "SVCSENSOR_FILE=$1" | grep -q .; }

sensor() { systemctl show --property="$1" --value svcsensor.service; }
