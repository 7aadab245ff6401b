# shellcheck shell=bash
# about: a function is asked for while SR-IOV is off: it is switched on; switched off behind the daemon's back, it is switched on again
# deadline: 150
# takes: 20

scenario() {
    define_desktop studio
    opt_in studio attach=live profile=IGB-1/3
    start_desktop studio
    same "SR-IOV is off" 0 "$(vfs)"
    arm << 'TOML'
[[gpu]]
address = "0000:01:00.0"
board = "IGB"
vfs = 3
TOML
    headstart request studio
    guest_sees studio "$IGBVF" 60
    becomes 20 studio ready
    local address
    address=$(our_device studio)
    same "the kernel's VFIO driver has it" vfio-pci "$(driver_of "$address")"
    headstart release studio
    guest_lost studio "$IGBVF" 40
    wait_for 20 "libvirt knows that it is gone" has_hostdevs 0 studio

    step "off behind its back, and on again"
    systemctl stop headstartd
    set_vfs 0
    systemctl start headstartd
    on_the_bus
    headstart request studio
    guest_sees studio "$IGBVF" 60
    [ "$(vfs)" -gt 0 ] || fail "SR-IOV is off"
}
