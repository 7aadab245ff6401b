# shellcheck shell=bash
# The lab itself, by hand and without headstart: if this fails, no other scenario means anything.
# about: the lab is a hypervisor: mdevs, SR-IOV, KVM guests that see devices come and go
# deadline: 120
# takes: 50

scenario() {
    step "what the machine has"
    refuse "headstart is not installed" installed
    expect "KVM is there" test -c /dev/kvm
    expect "AppArmor confines libvirt" grep -q '^libvirtd' /sys/kernel/security/apparmor/profiles
    expect "libvirt answers" virsh version
    local name
    for name in mbochs mdpy mtty; do
        expect "$name is a parent of mdevs" test -d "$(parent "$name")/mdev_supported_types"
    done
    expect "a hardware IOMMU is at work" test -n "$(ls /sys/class/iommu)"

    step "mbochs has one budget for all types, as GPUs have"
    same "a large one takes 64 MB of 256" 4 "$(available mbochs mbochs-large)"
    local uuid
    uuid=$(make_mdev mbochs mbochs-medium)
    same "one large less fits" 3 "$(available mbochs mbochs-large)"
    same "of small ones a medium takes four" 60 "$(available mbochs mbochs-small)"
    remove_mdev "$uuid"
    same "all is free again" 64 "$(available mbochs mbochs-small)"
    refuse "a type with a name that is none is not there" available mbochs mbochs-tiny

    step "virtual functions off, on, off, on"
    same "the kernel allows seven" 7 "$(cat "/sys/bus/pci/devices/$PF/sriov_totalvfs")"
    same "none at first" 0 "$(vfs)"
    set_vfs 2
    same "two" 2 "$(vfs)"
    refuse "not from two to three" bash -c "echo 3 > /sys/bus/pci/devices/$PF/sriov_numvfs"
    set_vfs 0
    same "none again" 0 "$(vfs)"
    set_vfs 3
    same "three" 3 "$(vfs)"

    step "a guest on KVM"
    define_desktop studio
    start_desktop studio
    wait_for 20 "the guest agent answers" virsh qemu-agent-command studio '{"execute":"guest-ping"}'
    guest_sees studio 1af4:1043
    tell studio login ada
    wait_for 10 "the agent tells who is logged in" guest_user_is studio ada
    tell studio logout
    wait_for 10 "the agent tells that nobody is" guest_user_is studio ''

    step "an mdev comes and goes while the guest runs"
    uuid=$(make_mdev mbochs mbochs-small)
    attach studio "$(hostdev_mdev "$uuid")"
    guest_sees studio "$MBOCHS"
    detach studio "$(hostdev_mdev "$uuid")"
    guest_lost studio "$MBOCHS"
    wait_for 10 "libvirt knows that it is gone" has_hostdevs 0 studio
    remove_mdev "$uuid"
    expect "the mdev is gone" no_mdev "$uuid"

    step "a virtual function comes and goes"
    local address
    address=$(vf 1)
    attach studio "$(hostdev_vf "$address")"
    same "libvirt gave it to vfio-pci" vfio-pci "$(driver_of "$address")"
    guest_sees studio "$IGBVF"
    detach studio "$(hostdev_vf "$address")"
    guest_lost studio "$IGBVF"

    step "a guest that never lets go"
    define_desktop stubborn stubborn=yes
    uuid=$(make_mdev mdpy mdpy-vga)
    start_desktop stubborn
    attach stubborn "$(hostdev_mdev "$uuid")"
    guest_sees stubborn "$MDPY"
    virsh --quiet detach-device stubborn "$(hostdev_mdev "$uuid")" --live || true
    # There is nothing to wait for: that nothing happens is the point.
    sleep 8
    expect "it still sees the device" guest_has stubborn "$MDPY"
    same "libvirt still names it" 1 "$(hostdevs stubborn)"
    expect "the guest goes when the power button is pressed" virsh --quiet shutdown stubborn --mode acpi
    wait_for 20 "it is off" is_state stubborn "shut off"
    remove_mdev "$uuid"
}
