# shellcheck shell=bash
# about: a guest that never answers the unplug keeps its device, nothing hangs, and the device goes when the guest is off
# deadline: 150
# takes: 50

# Threads that wait in the kernel and cannot be killed: what a premature write to `remove` would leave.
stuck() { grep -l '^State:.D' /proc/"$(daemon_pid)"/task/*/status; }

scenario() {
    define_desktop stubborn stubborn=yes
    define_desktop studio
    opt_in stubborn attach=live profile=mbochs-small
    opt_in studio attach=live profile=mbochs-small
    start_desktop stubborn
    # Else it would be shut down for its device after a minute.
    arm << 'TOML'
shut-down-after-logout = false
[[gpu]]
address = "mbochs"
TOML
    expect "a request is taken" headstart request stubborn
    guest_sees stubborn "$MBOCHS" 40
    becomes 20 stubborn ready
    local uuid
    uuid=$(our_device stubborn)

    expect "it is taken back" headstart release stubborn
    becomes 20 stubborn releasing
    # That nothing happens is the point.
    sleep 10
    expect "the guest still has it" guest_has stubborn "$MBOCHS"
    expect "the mdev still exists" has_mdev "$uuid"
    refuse "no thread of the daemon is stuck" stuck
    expect "explain says what it waits for" says "let the device go" headstart explain stubborn

    step "other desktops are served meanwhile"
    start_desktop studio
    expect "a request is taken" headstart request studio
    guest_sees studio "$MBOCHS" 40

    step "the guest goes off"
    stop_desktop stubborn
    wait_for 30 "the mdev is gone" no_mdev "$uuid"
    expect "the other's is not" guest_has studio "$MBOCHS"
}
