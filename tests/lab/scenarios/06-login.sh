# shellcheck shell=bash
# about: logins are seen through the guest agent, and through a graphics client where there is no agent
# deadline: 150
# takes: 90

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
    define_desktop agent
    define_desktop screen agent=no vnc=yes
    opt_in agent attach=live profile=mbochs-small user=ada
    opt_in screen attach=live profile=mbochs-small user=bob presence=screen
    start_desktop agent
    start_desktop screen
    arm << 'TOML'
[[gpu]]
address = "mbochs"
TOML
    step "the agent"
    headstart request agent
    guest_sees agent "$MBOCHS" 40
    tell agent login ada
    becomes 20 agent in-use
    tell agent logout
    becomes 20 agent grace
    wait_for 40 "the device goes after the grace time" lacks_our_device agent
    expect "the session is in the history" says "^ada,agent," headstart export

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
