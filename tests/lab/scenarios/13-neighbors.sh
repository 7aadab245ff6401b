# shellcheck shell=bash
# about: an administrator uses mdevctl and virsh nodedev-* on the same parent at the same time
# deadline: 150
# takes: 20

# Makes and removes mdevs of its own without a pause, until the file /run/enough is there.
administrator() {
    local uuid=$1 node=mdev_${1//-/_}_mbochs
    until [ -e /run/enough ]; do
        mdevctl start --uuid "$uuid" --parent mbochs --type mbochs-small
        mdevctl list
        mdevctl stop --uuid "$uuid"
        # libvirt makes mdevs on parents that it knows, which are PCI functions; it knows and removes them on all.
        mdevctl start --uuid "$uuid" --parent mbochs --type mbochs-small
        until virsh nodedev-dumpxml "$node" > /dev/null 2>&1; do :; done
        virsh nodedev-list --cap mdev
        virsh nodedev-destroy "$node"
    done
}

scenario() {
    define_desktop studio
    opt_in studio attach=live profile=mbochs-medium
    start_desktop studio
    local kept=11111111-2222-4333-8444-555555555555
    expect "mdevctl defines one that it starts itself" mdevctl define --auto --uuid "$kept" --parent mbochs --type mbochs-small
    expect "and starts it" mdevctl start --uuid "$kept"
    arm << 'TOML'
[[gpu]]
address = "mbochs"
TOML
    rm -f /run/enough
    administrator 66666666-7777-4888-8999-aaaaaaaaaaaa >> "$OUT/administrator" 2>&1 &
    local helper=$! round
    for round in 1 2 3; do
        headstart request studio
        guest_sees studio "$MBOCHS" 60
        headstart release studio
        guest_lost studio "$MBOCHS" 60
        step "round $round is done"
    done
    : > /run/enough
    wait "$helper" || true
    wait_for 30 "only the administrator's own is left" same_mdevs "$kept"
    expect "mdevctl lists it" says "$kept" mdevctl list
    refuse "mdevctl saw no error" grep -i 'error' "$OUT/administrator"
}
