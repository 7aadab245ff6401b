# shellcheck shell=bash
# about: with the daemon stopped, hung or slow, desktops start and stop all the same; what the hook costs, in ms
# deadline: 150
# takes: 45

HOOK=/etc/libvirt/hooks/qemu.d/50-headstart

start_and_stop() { virsh --quiet start --paused office && virsh --quiet destroy office; }

# One more start and stop; the least of all counts, since what a loaded host adds is not the hook's.
least() {
    local this
    this=$(milliseconds start_and_stop)
    if [ "$this" -lt "$1" ]; then echo "$this"; else echo "$1"; fi
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
    local with=999999 stopped=999999 without=999999 hung round
    # In turns, since the host's load changes meanwhile; twice, and twice again before anything is called too slow.
    for round in 1 2 3 4; do
        with=$(least "$with")
        systemctl stop headstartd
        stopped=$(least "$stopped")
        rm "$HOOK"
        without=$(least "$without")
        ln -s /usr/sbin/headstart-qemu-hook "$HOOK"
        systemctl start headstartd
        on_the_bus
        [ "$round" = 1 ] || [ "$stopped" -ge $((without + 500 * PATIENCE)) ] || break
    done
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
