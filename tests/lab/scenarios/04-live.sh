# shellcheck shell=bash
# about: a running desktop, opted in by its metadata, gets an mdev that its guest sees, and gives it back while it runs
# deadline: 120
# takes: 10

scenario() {
    define_desktop studio
    opt_in studio attach=live profile=mbochs-medium user=ada
    start_desktop studio
    arm << 'TOML'
[[gpu]]
address = "mbochs"
TOML
    becomes 10 studio running
    expect "a request is taken" headstart request studio
    guest_sees studio "$MBOCHS" 30
    becomes 10 studio ready
    has_our_device studio || fail "the device does not carry our alias"
    refuse "the definition has no device" has_our_device studio --inactive
    same "one medium is gone from the budget" 15 "$(available mbochs mbochs-medium)"

    expect "the request is taken back" headstart release studio
    guest_lost studio "$MBOCHS" 30
    wait_for 20 "libvirt knows that it is gone" has_hostdevs 0 studio
    wait_for 20 "the mdev is gone" no_mdevs
    same "the desktop ran on" running "$(state_of studio)"
    becomes 10 studio running

    step "a wrong element is a problem of that desktop, and of nothing else"
    opt_in studio attach=sideways profile=mbochs-medium
    wait_for 10 "the desktop has a problem" says sideways property desktop/studio Desktop Problems
    opt_in studio attach=live
    wait_for 10 "a desktop without a profile is a problem of the host" says studio property host Host Problems
}
