#!/usr/bin/env bash
# The demo: a simulated host of 4 GPUs and 40 desktops, three weeks of logins in about a minute, then the backtest's report.
# TRACE=file replays a trace of yours (vm001..vm040 are the desktops); SPEED sets the simulated seconds per second.
set -euo pipefail
cd "$(dirname "$0")/.."

out=demo-out
bin=${HEADSTART_BIN:-target/release}
rm -rf "$out"
mkdir -p "$out"

trace=${TRACE:-$out/trace.csv}
[ -n "${TRACE:-}" ] || "$bin/headstart" generate-trace --users 40 --days 84 --seed 1 --out "$trace"

# The last three weeks are played; everything before them is history to learn from.
last=$(zcat -f "$trace" | tail -n 1 | cut -d, -f3)
start=${START:-$(date -u -d "$last - 21 days" +%Y-%m-%dT00:00:00Z)}

export HEADSTART_BUS="unix:path=$PWD/$out/bus"
bus_pid=$(dbus-daemon --session --address="$HEADSTART_BUS" --fork --print-pid)
daemon_pid=
stop() {
    [ -z "$daemon_pid" ] || kill "$daemon_pid" 2>/dev/null || true
    kill "$bus_pid" 2>/dev/null || true
}
trap stop EXIT

"$bin/headstartd" --config config/demo.toml --simulate config/demo-host.toml --simulate-state "$out/host.json" \
    --trace "$trace" --start "$start" --speed "${SPEED:-40000}" --history "$out/history.db" --exit-at-end \
    2>"$out/daemon.log" &
daemon_pid=$!

echo "4 simulated GPUs, 40 desktops, from $start on. Meanwhile, in another terminal:"
echo "  busctl --address=$HEADSTART_BUS tree org.headstart1"
echo "  $bin/headstart --bus $HEADSTART_BUS explain vm012"
echo
while kill -0 "$daemon_pid" 2>/dev/null; do
    if [ -t 1 ]; then
        screen=$("$bin/headstart" status 2>/dev/null || true)
        [ -z "$screen" ] || printf '\033[H\033[2J%s\n\nLast decisions:\n%s\n' "$screen" \
            "$(tail -n 8 "$out/daemon.log" | sed -E 's/^[^ ]+ +INFO //; s/ desktop=.*//' | cut -c1-"${COLUMNS:-100}")"
        sleep 0.5
    else
        tail -n 1 "$out/daemon.log" | sed -E 's/^[^ ]+ +INFO //; s/ desktop=.*//'
        sleep 5
    fi
done
wait "$daemon_pid"
daemon_pid=

count() { grep -c "$1" "$out/daemon.log" || true; }
echo
echo "Logins in these three weeks:"
printf '%6d found their GPU ready\n%6d while it was being made ready\n%6d with nothing prepared\n%6d came back while it was still there\n' \
    "$(count 'login; the device was ready')" "$(count 'login; the device was being')" \
    "$(count 'login; nothing had')" "$(count 'login; the device was still')"
echo "Every decision with its reason: $out/daemon.log"
echo
echo "Replaying the whole trace against simpler policies ..."
"$bin/headstart" backtest "$trace" --report "$out/report.html" >"$out/backtest.txt"
grep -A 8 '^Hit rate' "$out/backtest.txt"
echo
echo "Report: $PWD/$out/report.html"
