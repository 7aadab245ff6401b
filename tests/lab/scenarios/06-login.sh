# shellcheck shell=bash
# about: logins are seen through the guest agent, and through a graphics client where there is no agent
# deadline: 150
# takes: 45

# A VNC client as far as libvirt can see: protocol version, no authentication, shared. Leaves its connection as $vnc.
connect_vnc() {
    local port=$1 version
    exec {vnc}<> "/dev/tcp/127.0.0.1/$((5900 + port))"
    IFS= read -r -u "$vnc" version
    echo "$version" >&"$vnc"
    # One security type is offered: none.
    IFS= LC_ALL=C read -r -N 2 -u "$vnc" _
    printf '\001\001' >&"$vnc"
    sleep 1
}

scenario() {
    define_desktop studio
    define_desktop screen agent=no vnc=yes
    opt_in studio attach=live profile=mbochs-small user=ada
    opt_in screen attach=live profile=mbochs-small user=bob presence=screen
    start_desktop studio
    start_desktop screen
    arm << 'TOML'
[[gpu]]
address = "mbochs"
TOML
    step "the agent"
    headstart request studio
    guest_sees studio "$MBOCHS" 40
    tell studio login ada
    becomes 20 studio in-use
    tell studio logout
    becomes 20 studio grace
    wait_for 40 "the device goes after the grace time" lacks_our_device studio
    expect "the session is in the history" says "^ada,studio," headstart export

    step "the screen"
    headstart request screen
    guest_sees screen "$MBOCHS" 40
    connect_vnc "$(virsh vncdisplay screen | sed 's/.*://')"
    becomes 20 screen in-use
    exec {vnc}>&-
    becomes 20 screen grace
    wait_for 40 "the device goes after the grace time" lacks_our_device screen
    wait_for 20 "no mdev is left" no_mdevs
}
