# shellcheck shell=bash
# about: two desktops want the one vGPU that fits: the higher priority has it, the other is told why it waits
# deadline: 150
# takes: 120

scenario() {
    # Three large ones of somebody else leave room for one.
    for _ in 1 2 3; do make_mdev mbochs mbochs-large > /dev/null; done
    same "one large one fits" 1 "$(available mbochs mbochs-large)"
    set_clock "2029-03-05 06:00"
    define_desktop clerk
    define_desktop surgeon
    opt_in clerk attach=live profile=mbochs-large priority=1
    opt_in surgeon attach=live profile=mbochs-large priority=10
    start_desktop clerk
    start_desktop surgeon
    arm << 'TOML'
[[gpu]]
address = "mbochs"
TOML
    past_logins ada clerk 09:00
    set_clock "2029-03-05 08:58"
    headstart reconcile
    guest_sees clerk "$MBOCHS" 40
    becomes 10 clerk ready

    step "an idle reservation gives way"
    headstart request surgeon
    guest_lost clerk "$MBOCHS" 40
    guest_sees surgeon "$MBOCHS" 40
    becomes 20 surgeon ready
    becomes 20 clerk waiting
    expect "the clerk is told why" says "no room for mbochs-large" headstart explain clerk

    step "in use, it is nobody else's"
    tell surgeon login eve
    becomes 20 surgeon in-use
    opt_in clerk attach=live profile=mbochs-large priority=100
    headstart request clerk || true
    becomes 20 clerk waiting
    # There is nothing to wait for: that nothing happens is the point.
    sleep 3
    expect "the surgeon has it" guest_has surgeon "$MBOCHS"
    tell surgeon logout
    guest_sees clerk "$MBOCHS" 60
    same "the strangers' mdevs and ours" 4 "$(mdevs | wc -l)"
}
