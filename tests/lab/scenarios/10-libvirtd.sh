# shellcheck shell=bash
# about: libvirtd is restarted, and killed, in the middle of an attach; the daemon stays, and ends where it wanted to
# deadline: 150
# takes: 30

any_mdev() { [ -n "$(ls /sys/bus/mdev/devices)" ]; }
moment() { until "$@" > /dev/null 2>&1; do :; done; }

scenario() {
    define_desktop studio
    opt_in studio attach=live profile=mbochs-small
    start_desktop studio
    arm << 'TOML'
[[gpu]]
address = "mbochs"
TOML
    local pid
    pid=$(daemon_pid)

    step "restarted while attaching"
    headstart request studio
    moment any_mdev
    expect "libvirtd restarts" systemctl restart libvirtd
    guest_sees studio "$MBOCHS" 60
    becomes 20 studio ready
    same "one device" 1 "$(hostdevs studio)"

    step "killed while detaching"
    headstart release studio
    expect "libvirtd is killed" systemctl kill --signal=KILL libvirtd
    guest_lost studio "$MBOCHS" 60
    wait_for 40 "no mdev is left" no_mdevs

    step "away for a while"
    systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd
    becomes 30 studio unknown
    expect "the daemon says that libvirt is not there" says "libvirt is not there" headstart status
    # Unknown is not absent: it may be asked for all the same.
    headstart request studio
    systemctl start libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd
    guest_sees studio "$MBOCHS" 60
    same "it is still the same daemon" "$pid" "$(daemon_pid)"
}
