# shellcheck shell=bash
# about: headstartd killed while it creates, attaches, starts, detaches and removes: each time it goes on, and nothing is left over
# deadline: 300
# takes: 50

any_mdev() { [ -n "$(ls /sys/bus/mdev/devices)" ]; }

scenario() {
    define_desktop office
    define_desktop studio
    opt_in studio attach=live profile=mbochs-small
    start_desktop studio
    arm << 'TOML'
[[gpu]]
address = "mbochs"
[[desktop]]
name = "office"
user = "ada"
profile = "mbochs-small"
attach = "cold"
TOML
    set_clock "2029-03-05 08:40"
    past_logins ada office 09:00

    step "create"
    set_clock "2029-03-05 08:59"
    headstart reconcile
    kill_when "the mdev is made" any_mdev
    step "attach to the definition"
    on_the_bus
    kill_when "the definition has the device" has_our_device office --inactive
    step "start"
    on_the_bus
    kill_when "the desktop starts" is_state office running
    on_the_bus
    guest_up office
    guest_sees office "$MBOCHS"
    becomes 30 office ready
    same "one mdev exists" "$(our_device office)" "$(mdevs)"
    same "its definition has one device" 1 "$(hostdevs office --inactive)"

    step "attach to a running desktop"
    headstart request studio
    kill_when "libvirt attaches it" has_our_device studio
    on_the_bus
    wait_for 40 "both guests have one or none, and nothing else exists" settled

    step "detach from a running desktop"
    headstart request studio
    guest_sees studio "$MBOCHS" 40
    headstart release studio
    kill_when "the guest has let go" lacks_our_device studio
    on_the_bus
    wait_for 40 "its mdev is gone" settled

    step "detach and remove after a logout"
    tell office login ada
    becomes 20 office in-use
    # So late that nobody is expected any more.
    set_clock "2029-03-05 18:00"
    tell office logout
    kill_when "the desktop is shut down" is_state office "shut off"
    on_the_bus
    kill_when "the definition has no device" lacks_our_device office --inactive
    on_the_bus
    wait_for 40 "no mdev is left" settled
    expect "no thread hung" systemctl --quiet is-active headstartd
}

# Each mdev is some domain's, and no domain names one that does not exist.
settled() {
    local named
    named=$( (our_device office --inactive; our_device studio) | sort)
    [ "$named" = "$(mdevs | sort)" ] || { echo "named: $named; existing: $(mdevs)"; return 1; }
}
