# shellcheck shell=bash
# about: create and attach through headstart take at most 1.15 times what they take by hand
# deadline: 200
# takes: 150

# How often each is done; the median counts.
ROUNDS=7

median() { sort -n | sed -n "$((ROUNDS / 2 + 1))p"; }

by_hand() {
    local uuid=aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee
    make_mdev mbochs mbochs-small "$uuid"
    virsh --quiet attach-device studio "$(hostdev_mdev "$uuid")" --live
}
undo_by_hand() {
    virsh --quiet detach-device studio /run/hostdev-aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee.xml --live
    wait_for 20 "libvirt knows that it is gone" has_hostdevs 0 studio
    remove_mdev aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee
}
# Until libvirt has it, as `virsh attach-device` returns when libvirt has it.
by_headstart() {
    headstart request studio
    until has_our_device studio; do :; done
}
undo_by_headstart() {
    headstart release studio
    wait_for 40 "libvirt knows that it is gone" has_hostdevs 0 studio
    wait_for 20 "no mdev is left" no_mdevs
}

scenario() {
    define_desktop studio
    opt_in studio attach=live profile=mbochs-small
    start_desktop studio
    arm << 'TOML'
[[gpu]]
address = "mbochs"
TOML
    local hand=() daemon=() round
    for ((round = 0; round < ROUNDS; round++)); do
        systemctl stop headstartd
        hand+=("$(milliseconds by_hand)")
        undo_by_hand
        systemctl start headstartd
        on_the_bus
        daemon+=("$(milliseconds by_headstart)")
        undo_by_headstart
    done
    local mine theirs
    theirs=$(printf '%s\n' "${hand[@]}" | median)
    mine=$(printf '%s\n' "${daemon[@]}" | median)
    echo "SPEED: create and attach: by hand $theirs ms (${hand[*]}), through headstart $mine ms (${daemon[*]})"
    [ $((mine * 100)) -le $((theirs * 115)) ] || fail "$mine ms through headstart, $theirs ms by hand: more than 1.15 times as much"
}
