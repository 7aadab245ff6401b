# shellcheck shell=bash
# about: who comes back within the grace time finds the GPU; who stays away gives it to the next
# deadline: 120
# takes: 20

scenario() {
    define_desktop studio
    opt_in studio attach=live profile=mbochs-large user=ada
    start_desktop studio
    arm "20 s" << 'TOML'
[[gpu]]
address = "mbochs"
TOML
    headstart request studio
    guest_sees studio "$MBOCHS" 40
    local uuid
    uuid=$(our_device studio)
    tell studio login ada
    becomes 20 studio in-use
    tell studio logout
    becomes 20 studio grace
    tell studio login ada
    becomes 20 studio in-use
    same "it is the same device" "$uuid" "$(our_device studio)"
    tell studio logout
    becomes 20 studio grace
    expect "the device is there in the grace time" guest_has studio "$MBOCHS"
    guest_lost studio "$MBOCHS" 60
    wait_for 20 "the mdev is gone" no_mdevs
    same "the desktop ran on" running "$(state_of studio)"
}
