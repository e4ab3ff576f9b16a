# The service is up, and said nothing of what every boot does.
# shellcheck shell=bash

eventually 60 curl --silent --fail "$address/readyz"
check service.ready curl --silent --show-error --fail "$address/readyz"
check service.active systemctl is-active svcsensor.service
[ "$(sensor ActiveState)" = active ] || journalctl --boot --no-pager --unit=svcsensor.service --lines=30
check catalog.update journalctl --update-catalog
fact backend "$(entries MESSAGE_ID=e1703919fb1b4dcfba190fbc0e46ebbb | grep -o '"SVCSENSOR_BACKEND":"[a-z]*"' | cut -d'"' -f4)"
fact kernel "$(uname -r)"
fact rss.start "$(awk '/^VmRSS/ { print $2 }' "/proc/$(sensor MainPID)/status")"
