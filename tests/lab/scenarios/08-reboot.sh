# shellcheck shell=bash
# about: after a reboot, and after a power cut, a desktop that starts with the host finds its mdev made by the hook
# deadline: 240
# takes: 80
# last: its reboots end all desktops

# How many reboots are behind us.
count=/var/lib/lab/reboots

scenario() {
    echo 0 > "$count"
    set_clock "2029-03-05 06:00"
    define_desktop office autostart=yes
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
    set_clock "2029-03-05 08:58"
    headstart reconcile
    wait_for 20 "its definition has a device" has_our_device office --inactive
    guest_up office
    guest_sees office "$MBOCHS"
    our_device office > /var/lib/lab/device
    reboot_machine
}

after_reboot() {
    wait_for 60 "libvirt answers" virsh version
    wait_for 60 "the desktop runs" is_state office running
    guest_up office
    guest_sees office "$MBOCHS"
    same "with the device of its definition" "$(cat /var/lib/lab/device)" "$(our_device office)"
    same "and no other mdev exists" "$(cat /var/lib/lab/device)" "$(mdevs)"
    on_the_bus
    wait_for 20 "nothing is wrong with it" same_text 0 property desktop/office Desktop Problems
    if [ "$(cat "$count")" = 0 ]; then
        echo 1 > "$count"
        reboot_machine cut
    fi
}
