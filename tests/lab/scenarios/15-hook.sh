# shellcheck shell=bash
# about: with the daemon stopped, hung or slow, desktops start and stop all the same; what the hook costs, in ms
# deadline: 150
# takes: 120

HOOK=/etc/libvirt/hooks/qemu.d/50-headstart

start_and_stop() { virsh --quiet start --paused office && virsh --quiet destroy office; }

# The least of two starts and stops: what a loaded host adds is not the hook's.
least() {
    local least=999999 this
    for _ in 1 2; do
        this=$(milliseconds start_and_stop)
        [ "$this" -ge "$least" ] || least=$this
    done
    echo "$least"
}

scenario() {
    define_desktop office
    arm << 'TOML'
[[gpu]]
address = "mbochs"
[[desktop]]
name = "office"
user = "ada"
profile = "mbochs-small"
attach = "request"
TOML
    # libvirtd looks for hooks when it starts; the package told it.
    local with stopped without hung
    with=$(least)
    systemctl stop headstartd
    stopped=$(least)
    rm "$HOOK"
    without=$(least)
    ln -s /usr/sbin/headstart-qemu-hook "$HOOK"
    systemctl start headstartd
    on_the_bus
    kill -STOP "$(daemon_pid)"
    hung=$(milliseconds virsh --quiet start --paused office)
    kill -CONT "$(daemon_pid)"
    echo "COST: start and stop take $without ms without the hook, $with ms with the daemon, $stopped ms with the daemon stopped; a start with the daemon hung takes $hung ms"
    same "the desktop started all the same" paused "$(state_of office)"
    # prepare, start and started wait at most two seconds each in the worst case; none of it may be unbounded.
    [ "$hung" -lt $((without + 8000 * PATIENCE)) ] || fail "a hung daemon held the start up for $hung ms"
    [ "$stopped" -lt $((without + 500 * PATIENCE)) ] || fail "a stopped daemon costs $((stopped - without)) ms"
    refuse "AppArmor denies nothing" says 'apparmor="DENIED"' journalctl --dmesg
}
