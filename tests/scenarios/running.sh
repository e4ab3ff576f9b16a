# The running service as its operator sees it.
# shellcheck shell=bash

step running
check http.livez curl --silent --show-error --fail "$address/livez"
check http.readyz curl --silent --show-error --fail "$address/readyz"
check http.metrics curl --silent --show-error --fail --output "$state/metrics" "$address/metrics"
sed 's/^/metric /' "$state/metrics"

explained=$(journalctl --boot --no-pager --catalog SVCSENSOR_FILE=/etc/systemd/system/telemetry.service)
grep -q "A service manager's file was changed: systemd.unit.written" <<<"$explained"
verdict catalog.shown $? "journalctl -x shows: $(brief "$explained" 12)"

pid=$(sensor MainPID)
exits bad.port 4 '127.0.0.1:9543.*in use' svcsensor run --output pretty

cp /etc/svcsensor/config.toml "$state/config.toml"
echo 'colour = "blue"' >>/etc/svcsensor/config.toml
systemctl kill --signal=HUP svcsensor.service
eventually 5 sh -c 'journalctl --quiet --boot --unit=svcsensor.service --grep="the configuration stays as it was.*colour" | grep -q .'
verdict reload.refused $? "nothing in the journal of a refused configuration: $(brief "$(journalctl --quiet --boot --unit=svcsensor.service --lines=5)")"
cp "$state/config.toml" /etc/svcsensor/config.toml
systemctl kill --signal=HUP svcsensor.service
eventually 5 sh -c 'journalctl --quiet --boot --unit=svcsensor.service --grep="configuration read again" | grep -q .'
verdict reload.accepted $? "nothing in the journal of a new configuration: $(brief "$(journalctl --quiet --boot --unit=svcsensor.service --lines=5)")"
[ "$(sensor MainPID)" = "$pid" ]
verdict reload.same-process $? "process $pid became $(sensor MainPID)"
