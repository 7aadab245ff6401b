# shellcheck shell=bash
# about: a guest that never answers the unplug keeps its device, nothing hangs, and the device goes when the guest is off
# deadline: 150
# takes: 100

# Threads that wait in the kernel and cannot be killed: what a premature write to `remove` would leave.
stuck() { grep -l '^State:.D' /proc/"$(daemon_pid)"/task/*/status; }

scenario() {
    define_desktop studio stubborn=yes
    define_desktop other
    opt_in studio attach=live profile=mbochs-small
    opt_in other attach=live profile=mbochs-small
    start_desktop studio
    # Else it would be shut down for its device after a minute.
    arm << 'TOML'
shut-down-after-logout = false
[[gpu]]
address = "mbochs"
TOML
    expect "a request is taken" headstart request studio
    guest_sees studio "$MBOCHS" 40
    becomes 20 studio ready
    local uuid
    uuid=$(our_device studio)

    expect "it is taken back" headstart release studio
    becomes 20 studio releasing
    # That nothing happens is the point.
    sleep 10
    expect "the guest still has it" guest_has studio "$MBOCHS"
    expect "the mdev still exists" has_mdev "$uuid"
    refuse "no thread of the daemon is stuck" stuck
    expect "explain says what it waits for" says "let the device go" headstart explain studio

    step "other desktops are served meanwhile"
    start_desktop other
    expect "a request is taken" headstart request other
    guest_sees other "$MBOCHS" 40

    step "the guest goes off"
    stop_desktop studio
    wait_for 30 "the mdev is gone" no_mdev "$uuid"
    expect "the other's is not" guest_has other "$MBOCHS"
}
