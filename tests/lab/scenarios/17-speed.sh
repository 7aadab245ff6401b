# shellcheck shell=bash
# about: create and attach through headstart take at most 1.15 times what they take by hand
# deadline: 200
# takes: 60

# How often each is done; the median counts.
ROUNDS=7
HAND=aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee

median() { sort -n | sed -n "$((ROUNDS / 2 + 1))p"; }

by_hand() {
    make_mdev mbochs mbochs-small "$HAND" > /dev/null
    virsh --quiet attach-device studio "$(hostdev_mdev "$HAND")" --live
}
undo_by_hand() {
    kill -CONT "$(daemon_pid)"
    virsh --quiet detach-device studio "/run/hostdev-$HAND.xml" --live
    wait_for 20 "libvirt knows that it is gone" has_hostdevs 0 studio
    remove_mdev "$HAND"
}
by_headstart() { headstart request studio; }
undo_by_headstart() {
    headstart release studio
    wait_for 40 "libvirt knows that it is gone" has_hostdevs 0 studio
    wait_for 20 "no mdev is left" no_mdevs
}

# Into $took: how many milliseconds it is from the command to libvirt's word that the domain has the device. Nobody asks meanwhile:
# that would take time from what is measured.
time_until_added() {
    local began=${EPOCHREALTIME/./}
    "$@" || fail "$*: it failed"
    read -r -t 120 -u "$events" _ || fail "$*: libvirt told of no device"
    took=$(((${EPOCHREALTIME/./} - began) / 1000))
}

scenario() {
    define_desktop studio
    opt_in studio attach=live profile=mbochs-small
    start_desktop studio
    arm << 'TOML'
[[gpu]]
address = "mbochs"
TOML
    wait_for 40 "it has tried to learn" says "the model stays as it is" journalctl --quiet --boot --unit headstartd
    local events listener hand=() daemon=() round took
    exec {events}< <(exec stdbuf -oL virsh event studio device-added --loop)
    listener=$!
    # It says nothing when it has begun to listen.
    sleep 3
    # In turns: what else a host has to do changes from minute to minute.
    for ((round = 0; round < ROUNDS; round++)); do
        # What is done by hand is no news for a daemon that stands still.
        kill -STOP "$(daemon_pid)"
        time_until_added by_hand
        hand+=("$took")
        undo_by_hand
        # What the removal set off is over then.
        sleep 1
        time_until_added by_headstart
        daemon+=("$took")
        undo_by_headstart
        sleep 1
    done
    kill "$listener"
    local mine theirs
    theirs=$(printf '%s\n' "${hand[@]}" | median)
    mine=$(printf '%s\n' "${daemon[@]}" | median)
    echo "SPEED: create and attach: by hand $theirs ms (${hand[*]}), through headstart $mine ms (${daemon[*]})"
    [ $((mine * 100)) -le $((theirs * 115)) ] || fail "$mine ms through headstart, $theirs ms by hand: more than 1.15 times as much"
}
