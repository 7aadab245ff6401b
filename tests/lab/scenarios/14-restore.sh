# shellcheck shell=bash
# about: a saved desktop is restored with a device that exists now: the hook rewrites it, and leaves strangers' XML alone
# deadline: 150
# takes: 70

scenario() {
    define_desktop archive savable=yes
    opt_in archive attach=live profile=mtty-1
    start_desktop archive
    arm << 'TOML'
[[gpu]]
address = "mtty"
TOML
    headstart request archive
    guest_sees archive "$MTTY" 40
    expect "it is saved" virsh --quiet save archive /var/lib/libvirt/archive.save
    wait_for 30 "its mdev may go" no_mdevs
    expect "it is restored" virsh --quiet restore /var/lib/libvirt/archive.save
    expect "its device is an mdev of this host" has_mdev "$(our_device archive)"
    tell archive login ada
    becomes 20 archive in-use

    step "a stranger"
    define_desktop clinic
    start_desktop clinic
    expect "it is saved" virsh --quiet save clinic /var/lib/libvirt/clinic.save
    expect "it is restored" virsh --quiet restore /var/lib/libvirt/clinic.save
    expect "it lives" virsh qemu-agent-command clinic '{"execute":"guest-ping"}'
}
