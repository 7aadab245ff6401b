#!/usr/bin/env bash
# `make demo`: headstartd on a simulated host of 4 GPUs and 40 desktops, replaying weeks of logins in about a minute.
# No hardware is touched, no system bus is used, and nothing is written outside demo-out/ and target/.
#
#   TRACE=file      another trace (CSV, plain or gzip) instead of the invented one; its 40 busiest desktops come
#   DEMO_WEEKS=n    the last weeks of the trace to replay (3); what came before them is what headstart has learned
#   DEMO_SPEED=n    simulated seconds in a second (about a minute for all)
#   DEMO_OUT=dir    demo-out
#   DEMO_BIN=dir    ready-made programs, instead of a release build
set -euo pipefail
cd "$(dirname "$0")/.."

weeks=${DEMO_WEEKS:-3}
case $weeks in '' | *[!0-9]* | 0*) echo "demo: DEMO_WEEKS must be a whole number from 1, not \"$weeks\"" >&2; exit 2 ;; esac
out=${DEMO_OUT:-demo-out}
invented_weeks=12
if [ -z "${TRACE-}" ] && [ "$weeks" -gt 8 ]; then
    echo "demo: of the invented trace at most 8 weeks can be replayed: 4 are there to learn from" >&2
    exit 2
fi

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

bin=${DEMO_BIN-}
if [ -z "$bin" ]; then
    say "Building (the first time takes some minutes)"
    cargo build --locked --release -p headstartd -p headstart
    bin=${CARGO_TARGET_DIR:-target}/release
fi
headstart=$(realpath "$bin/headstart")
headstartd=$(realpath "$bin/headstartd")

mkdir -p "$out"
out=$(realpath "$out")
# A socket's path may have 107 characters, and a checkout may lie deep.
run=$(mktemp -d "${TMPDIR:-/tmp}/headstart-demo.XXXXXX")
rm -f "$out"/history.db* "$out/model" "$out/headstartd.log" "$out/decisions.log"

pids=()
cleanup() {
    local status=$?
    trap - EXIT INT TERM
    [ ! -t 1 ] || printf '\033[?25h'
    # The bus goes last.
    local i
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    rm -rf "$run"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The trace, with its people at the desktops of config/demo-host.toml.
trace=$out/trace.csv
if [ -n "${TRACE-}" ]; then
    case $TRACE in *.gz) gzip -dc "$TRACE" ;; *) cat "$TRACE" ;; esac > "$run/all.csv"
    # Times carry offsets: sorted by text they are in order of the local day, which is enough to find the last.
    tail -n +2 "$run/all.csv" | cut -d, -f2 | sort | uniq -c | sort -k1,1nr -k2 | head -n 40 | awk '{ print $2 }' > "$run/busiest"
    awk -F, -v OFS=, '
        NR == FNR { n[$1] = sprintf("%03d", FNR); next }
        FNR == 1 { print "user,vm,start,end"; next }
        $2 in n { print "u" n[$2], "vm" n[$2], $3, $4 }
    ' "$run/busiest" "$run/all.csv" > "$trace"
    zone=${TZ:-UTC}
else
    zone=Europe/Berlin
    "$headstart" generate-trace --seed 1 --users 40 --days $((invented_weeks * 7)) --time-zone "$zone" --out "$trace"
fi
last=$(tail -n +2 "$trace" | cut -d, -f3 | sort | tail -n 1)
[ -n "$last" ] || { echo "demo: ${TRACE-} has no sessions" >&2; exit 1; }
# Monday before dawn, so that the first thing to see is people coming to work.
last_day=$(TZ=$zone date -d "$last" +%F)
weekday=$(date -d "$last_day" +%u)
start=$(TZ=$zone date -d "$last_day 04:00 $((weekday - 1 + 7 * (weeks - 1))) days ago" +%s)
# When the last of them leaves the clock stands.
over=$(tail -n +2 "$trace" | cut -d, -f3,4 | tr , '\n' | grep . | date -f - +%s | sort -n | tail -n 1)
ends=$((start + weeks * 7 * 86400))
[ "$ends" -lt "$over" ] || ends=$over
speed=${DEMO_SPEED:-$((weeks * 7 * 86400 / 60))}

# A bus of its own: no root, and nothing to clean up.
address=unix:path=$run/bus
cat > "$run/bus.conf" <<EOF
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>$address</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
EOF
dbus-daemon --config-file="$run/bus.conf" --nofork --nopidfile --nosyslog &
pids+=($!)

# Waits up to a minute until a command succeeds; a daemon that ended is not waited for.
until_done() {
    local what=$1 pid=$2 tries=0
    shift 2
    until "$@" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || { echo "demo: $what ended; see $out/headstartd.log" >&2; tail -n 5 "$out/headstartd.log" >&2 || true; exit 1; }
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || { echo "demo: $what is not there after a minute" >&2; exit 1; }
        sleep 0.1
    done
}
until_done dbus-daemon "${pids[-1]}" test -S "$run/bus"

export HEADSTART_BUS=$address
say "headstartd on 4 simulated GPUs and 40 desktops: $weeks weeks at $speed times the speed of life"
"$headstartd" --config config/demo.toml --simulate config/demo-host.toml --trace "$trace" \
    --start "$(date -u -d "@$start" +%Y-%m-%dT%H:%M:%SZ)" --speed "$speed" \
    --history "$out/history.db" --bus "$address" 2> "$out/headstartd.log" &
daemon=$!
pids+=("$daemon")
until_done headstartd "$daemon" "$headstart" status
TZ=$zone "$headstart" watch > "$out/decisions.log" 2>/dev/null &
pids+=($!)

look="Meanwhile, in another terminal:
  export HEADSTART_BUS=$address
  $bin/headstart desktops        $bin/headstart explain vm001
  $bin/headstart forecast vm001  $bin/headstart request vm010
  busctl --address=$address tree org.headstart1
  busctl --address=$address call org.headstart1 /org/headstart1 org.headstart1.Manager Explain s vm001"
[ -t 1 ] || printf '%s\n\n' "$look"

# One screen. What the command prints is captured, so that the screen is overwritten and does not flicker.
draw() {
    local columns lines
    read -r lines columns < <(stty size < /dev/tty 2>/dev/null || echo 40 120)
    {
        COLUMNS=$columns CLICOLOR_FORCE=1 TZ=$zone "$headstart" status || return 0
        printf '\nLast decisions\n'
        grep -v '^$' "$out/decisions.log" | tail -n 8 | cut -c "1-$((columns - 3))" | sed 's/^/  /'
        printf '\n%s\n' "$look"
    } | head -n "$((lines - 1))" | sed 's/$/\x1b[K/' > "$run/screen"
    printf '\033[H%s\033[J' "$(cat "$run/screen")"
}
# One line, for logs.
tell() {
    TZ=$zone "$headstart" status > "$run/screen" || return 0
    awk 'NR == 1 { sub(/^.*hardware */, ""); clock = $0 } /^Desktops/ { sub(/^Desktops *[0-9]*: */, ""); now = $0 }
         /^Hit rate/ { sub(/^Hit rate */, ""); hits = $0 } END { print clock ": " now "; " hits }' "$run/screen"
}
# The daemon's clock, in seconds since 1970.
clock() { date -d "$("$headstart" status --json | sed -n 's/^ *"clock": "\(.*\)".*/\1/p')" +%s; }

[ ! -t 1 ] || printf '\033[?25l\033[2J'
while kill -0 "$daemon" 2>/dev/null; do
    if [ -t 1 ]; then draw; else tell; fi
    # It may end between two questions.
    now=$(clock) || break
    [ "$now" -lt "$ends" ] || break
    if [ -t 1 ]; then sleep 0.4; else sleep 4; fi
done
[ ! -t 1 ] || printf '\033[?25h\033[2J\033[H'
kill -0 "$daemon" 2>/dev/null || { echo "demo: headstartd ended early; see $out/headstartd.log" >&2; exit 1; }

say "After $weeks weeks"
TZ=$zone "$headstart" status | sed -n '/^Desktops/,/^$/p'

say "Would anything simpler have done? headstart and seven baselines on the same trace:"
"$headstart" backtest "$trace" --report "$out/report.html"
say "Report: file://$out/report.html"
echo "Decisions: $out/decisions.log   Log: $out/headstartd.log"
