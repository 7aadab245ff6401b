# shellcheck shell=bash
# about: a saved desktop is restored with a device that exists now: the hook rewrites it, and leaves strangers' XML alone
# deadline: 150
# takes: 120

scenario() {
    define_desktop studio savable=yes
    opt_in studio attach=live profile=mtty-1
    start_desktop studio
    arm << 'TOML'
[[gpu]]
address = "mtty"
TOML
    headstart request studio
    guest_sees studio "$MTTY" 40
    expect "it is saved" virsh --quiet save studio /var/lib/libvirt/studio.save
    wait_for 30 "its mdev may go" no_mdevs
    expect "it is restored" virsh --quiet restore /var/lib/libvirt/studio.save
    expect "its device is an mdev of this host" has_mdev "$(our_device studio)"
    tell studio login ada
    becomes 20 studio in-use

    step "a stranger"
    define_desktop stranger
    start_desktop stranger
    expect "it is saved" virsh --quiet save stranger /var/lib/libvirt/stranger.save
    expect "it is restored" virsh --quiet restore /var/lib/libvirt/stranger.save
    expect "it lives" virsh qemu-agent-command stranger '{"execute":"guest-ping"}'
}
