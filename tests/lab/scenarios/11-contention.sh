# shellcheck shell=bash
# about: two desktops want the one vGPU that fits: the higher priority has it, the other is told why it waits
# deadline: 150
# takes: 45

scenario() {
    # Three large ones of somebody else leave room for one.
    for _ in 1 2 3; do make_mdev mbochs mbochs-large > /dev/null; done
    same "one large one fits" 1 "$(available mbochs mbochs-large)"
    set_clock "2029-03-05 06:00"
    define_desktop studio
    define_desktop clinic
    opt_in studio attach=live profile=mbochs-large priority=1
    opt_in clinic attach=live profile=mbochs-large priority=10
    start_desktop studio
    start_desktop clinic
    arm << 'TOML'
[[gpu]]
address = "mbochs"
TOML
    past_logins ada studio 09:00
    set_clock "2029-03-05 08:58"
    headstart reconcile
    guest_sees studio "$MBOCHS" 40
    becomes 10 studio ready

    step "an idle reservation gives way"
    headstart request clinic
    guest_lost studio "$MBOCHS" 40
    guest_sees clinic "$MBOCHS" 40
    becomes 20 clinic ready
    becomes 20 studio waiting
    expect "the other is told why" says "no room for mbochs-large" headstart explain studio

    step "in use, it is nobody else's"
    tell clinic login eve
    becomes 20 clinic in-use
    opt_in studio attach=live profile=mbochs-large priority=100
    headstart request studio || true
    becomes 20 studio waiting
    # There is nothing to wait for: that nothing happens is the point.
    sleep 3
    expect "the clinic has it" guest_has clinic "$MBOCHS"
    tell clinic logout
    guest_sees studio "$MBOCHS" 60
    same "the strangers' mdevs and ours" 4 "$(mdevs | wc -l)"
}
