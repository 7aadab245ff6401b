# shellcheck shell=bash
# about: mdevs, virtual functions and domains of others survive all that headstart does beside them
# deadline: 150
# takes: 35

scenario() {
    set_vfs 3
    local idle used other foreign
    idle=$(make_mdev mbochs mbochs-small)
    used=$(make_mdev mbochs mbochs-small)
    other=$(make_mdev mdpy mdpy-vga)
    foreign=$(vf 2)
    define_desktop clinic
    start_desktop clinic
    attach clinic "$(hostdev_mdev "$used")"
    attach clinic "$(hostdev_vf "$foreign")"
    guest_sees clinic "$MBOCHS"
    guest_sees clinic "$IGBVF"

    define_desktop studio
    opt_in studio attach=live profile=mbochs-large
    start_desktop studio
    arm << 'TOML'
[[gpu]]
address = "mbochs"
[[gpu]]
address = "0000:01:00.0"
board = "IGB"
TOML
    local before
    before=$(mdevs)
    local round
    for round in 1 2; do
        headstart request studio
        guest_sees studio "$MBOCHS" 40
        headstart release studio
        guest_lost studio "$MBOCHS" 40
        wait_for 20 "round $round: only the strangers' are left" same_mdevs "$before"
        systemctl restart headstartd
        on_the_bus
    done
    kill_daemon
    on_the_bus

    step "the package goes, and the strangers stay"
    expect "it is purged" dpkg --purge headstart
    same "all three mdevs exist" "$before" "$(mdevs)"
    expect "the idle one" has_mdev "$idle"
    expect "the one of another parent" has_mdev "$other"
    same "all functions exist" 3 "$(vfs)"
    expect "the guest has its mdev" guest_has clinic "$MBOCHS"
    expect "the guest has its function" guest_has clinic "$IGBVF"
}
