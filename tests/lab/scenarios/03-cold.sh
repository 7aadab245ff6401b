# shellcheck shell=bash
# about: a shut-off desktop has its mdev, is started and sees it before the login that its history predicts; it goes after the logout
# deadline: 150
# takes: 40

scenario() {
    set_clock "2029-03-05 06:00"
    define_desktop office
    arm << 'TOML'
[[gpu]]
address = "mbochs"
[[desktop]]
name = "office"
user = "ada"
profile = "mbochs-small"
attach = "cold"
TOML
    past_logins ada office 09:00
    headstart reconcile
    becomes 10 office off
    expect "nothing is made hours before" no_mdevs

    # The quarter hour of nine o'clock comes within the lead time.
    set_clock "2029-03-05 08:58"
    headstart reconcile
    wait_for 20 "its definition has a device" has_our_device office --inactive
    guest_up office
    guest_sees office "$MBOCHS"
    becomes 20 office ready
    local uuid
    uuid=$(our_device office)
    expect "the device is an mdev of this host" has_mdev "$uuid"
    echo "PROOF: at $(date -u +%T), before the login of 09:00, the guest printed: $(guest_devices office)"

    step "the login, and the logout"
    set_clock "2029-03-05 09:01"
    tell office login ada
    becomes 20 office in-use
    headstart release office
    sleep 3
    expect "what is in use stays" guest_has office "$MBOCHS"
    set_clock "2029-03-05 18:00"
    tell office logout
    wait_for 40 "it is shut down after the grace time" is_state office "shut off"
    wait_for 20 "its definition has no device any more" lacks_our_device office --inactive
    wait_for 20 "the mdev is gone" no_mdevs
}
